"""Input files of jobs, put where other machines find them: where the state is at a server, any of them may upload them."""

from __future__ import annotations

from collections.abc import Callable

from runner.errors import UsageError
from runner.manifest.reference_files import open_verified
from runner.model import Settings
from runner.progress.figures import counted
from runner.results.shared_references import SharedReferences
from runner.store import staging
from runner.store.database import StateDatabase
from runner.store.server_address import ServerAddress


def shared_references(file: StateDatabase, settings: Settings) -> SharedReferences | None:
    """Return where input files are for all machines; None where there is only this one."""
    return SharedReferences(settings.output_dir) if isinstance(file.place, ServerAddress) else None


def keep_references(file: StateDatabase, settings: Settings, announce: Callable[[str], None]) -> None:
    """Put the input files of jobs that are yet to be sent where other machines find them.

    One that cannot be read now is left to the upload to tell of.

    Raises:
        TemporaryTrouble: They cannot be put there.
    """
    shared = shared_references(file, settings)
    if shared is None:
        return
    found = {each.sha256: each for each in staging.references_listed(file.conn, settings.name, unsent=True)}
    missing = [each for each in found.values() if not shared.has(each.sha256)]
    if not missing:
        return
    size = sum(each.size_bytes for each in missing) / 1e6
    announce(
        f"putting {counted(len(missing), 'reference file')} ({size:,.1f} MB) beside the results, for other machines"
    )
    for reference in missing:
        try:
            with open_verified(reference) as content:
                shared.keep(reference, content)
        except UsageError:
            continue
