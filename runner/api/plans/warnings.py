"""What a person should know before money moves, beside the plan itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.host.workspace import DatabasePlace
from runner.progress.figures import counted
from runner.store import diff, ledger
from runner.store.copies import is_backup, payments_of, strays
from runner.store.database import StateDatabase
from runner.store.place import synced_by

NAMES_SHOWN = 3
SURPRISES_SHOWN = 5


def about_surprises(surprises: Sequence[ledger.Surprise]) -> Iterator[str]:
    """Yield which charges were many times what was expected; a run that goes on accepts them."""
    for each in surprises[:SURPRISES_SHOWN]:
        yield f"many times what was expected: {each}; continuing accepts it"
    if len(surprises) > SURPRISES_SHOWN:
        yield f"{len(surprises) - SURPRISES_SHOWN:,} more charges like these"


def about_the_place(database: DatabasePlace, file: StateDatabase, manifest: str) -> Iterator[str]:
    """Yield what is odd about where the database lies, where it is a file."""
    if not isinstance(database, Path):
        return
    if (program := synced_by(database)) is not None:
        yield (
            f"{database} is in a folder that {program} syncs with other machines: the database can be"
            " replaced or duplicated during a run; keep it elsewhere with --state FILE (results may stay)"
        )
    copies = strays(database)
    ours = ledger.tasks(file.conn, manifest) if copies else frozenset()
    for copy in copies:
        theirs = payments_of(copy, manifest)
        missing = len(theirs - ours) if theirs is not None else 0
        if is_backup(copy) and not missing:
            continue
        more = (
            f", which knows {counted(missing, 'payment')} of {manifest} that are unknown here: check which is right"
            if missing
            else ""
        )
        yield f"another version of the database is beside it: {copy.name}{more}"


def about_other_names(file: StateDatabase, manifest: str, base_url: str) -> Iterator[str]:
    """Yield what of the work to be paid for was done under another `name:` of this workspace."""
    for name, done, open_ in diff.paid_under_other_names(file.conn, manifest, base_url)[:NAMES_SHOWN]:
        parts = [f"{done:,} of these {'is' if done == 1 else 'are'} finished"] if done else []
        parts += [f"{open_:,} {'is' if open_ == 1 else 'are'} under way"] if open_ else []
        yield (
            f"{' and '.join(parts)} under the name `{name}` and would be paid again; if only the name was changed, put"
            f" `name: {name}` back"
        )
