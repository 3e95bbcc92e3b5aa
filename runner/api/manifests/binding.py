"""What a manifest's name belongs to in a database: its file, its service, the folder of its results."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from runner.errors import UsageError
from runner.host.workspace import workspace_root
from runner.model import SANDBOX_URL, Settings
from runner.results.files import OutputFolder
from runner.service.account import same_service
from runner.store import manifests
from runner.store.database import StateDatabase

ARRIVING = "arriving"


def check_binding(file: StateDatabase, settings: Settings, *, base_url: str) -> str | None:
    """Check that a manifest name still means the same file and service.

    Returns:
        The first 12 hex digits of the key it was last run with; None when it is new.

    Raises:
        UsageError: It is bound to another base URL, or to another file that still exists; or this is a rehearsal, and the
            database is that of real runs.
    """
    bound = manifests.binding(file.conn, settings.name)
    if bound is None:
        _refuse_beside_payments(file, base_url)
        return None
    if not same_service(bound.base_url, base_url):
        raise UsageError(
            f"the manifest name {settings.name} belongs to {bound.base_url} in {file.place}, not to {base_url}",
            hint=f"set RIVYA_BASE_URL={bound.base_url} to continue there, or give the manifest another `name:`,"
            " or name another database with --state",
        )
    old = bound.path
    if old != settings.path and old.exists() and not _same_file(old, settings.path):
        raise UsageError(
            f"the manifest name {settings.name} belongs to {old}; a second file with the same name would share its"
            " jobs, credits and output",
            hint="give one of them another `name:`; if the file was moved, remove the old copy",
        )
    return bound.key12


def _refuse_beside_payments(file: StateDatabase, base_url: str) -> None:
    """Refuse to rehearse in a database that knows of real payments."""
    real = [each for each in manifests.bindings(file.conn) if each.base_url != SANDBOX_URL]
    if base_url == SANDBOX_URL and real:
        raise UsageError(
            f"{file.path} is for real runs: {real[0].name} belongs to {real[0].base_url} in it",
            hint="name another file for rehearsals, or leave --state out",
        )


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def results_folder(file: StateDatabase, settings: Settings) -> OutputFolder:
    """Return where the results of a manifest go.

    Raises:
        DiskTrouble: The drive they were on is not mounted: an empty folder in its place must not be filled anew.
    """
    folder = OutputFolder(settings.output_dir, owner=settings.name, scratch=_scratch(file, settings))
    bound = manifests.binding(file.conn, settings.name)
    if bound is not None and bound.output_dir == settings.output_dir:
        folder.refuse_without_drive(bound.output_mount)
    return folder


def _scratch(file: StateDatabase, settings: Settings) -> Path | None:
    return None if isinstance(settings.output_dir, Path) else _arriving(file, settings)


def _arriving(file: StateDatabase, settings: Settings) -> Path:
    """Return where results are on their way to a bucket: on the disk of the state."""
    if isinstance(file.place, Path):
        return file.place.parent / ARRIVING / file.place.name
    return workspace_root(settings.path) / "state" / ARRIVING / "server"


def clean_parts(file: StateDatabase, settings: Settings, folder: OutputFolder, keep: Collection[str]) -> None:
    """Remove half-fetched results nobody goes on with, also of a time when they went to a bucket.

    Raises:
        DiskTrouble: One cannot be removed.
    """
    folder.clean_parts(keep=keep)
    if isinstance(folder.root, Path):
        OutputFolder(folder.root, owner=settings.name, scratch=_arriving(file, settings)).clean_parts()
