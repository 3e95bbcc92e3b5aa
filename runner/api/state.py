"""`state copy`: all that is known of a workspace, from one state database into another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass

from runner.errors import UsageError
from runner.host.workspace import DatabasePlace, find_workspace, no_database
from runner.store import manifests
from runner.store.database import open_database, open_to_read
from runner.store.transfer import transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCopy:
    """What was copied: `rows` is a number for each table."""

    source: DatabasePlace
    target: DatabasePlace
    rows: Mapping[str, int]


def copy(source: str | None, target: str | None) -> StateCopy:
    """Copy a state database into an empty one. No run goes on meanwhile.

    Args:
        source: A file or `postgresql://…`; None for that of this workspace.
        target: The same.

    Raises:
        UsageError: There is no source, something is in the target, or both are one.
        RunLocked: A run is going.
        TemporaryTrouble: One of them cannot be reached.
    """
    old, new = (find_workspace(None, state=each, sandbox=False) for each in (source, target))
    if old.database == new.database:
        raise UsageError(f"both are {old.database}", hint="name another database with --to")
    if not old.has_database:
        raise no_database(old, sandbox=False, may_rehearse=False)
    with ExitStack() as stack:
        file = stack.enter_context(closing(open_to_read(old.database)))
        for name in manifests.names(file.conn):
            lock = file.lock(name)
            lock.acquire(time.time(), command="rivya-batch state copy")
            stack.callback(lock.release)
        into = stack.enter_context(closing(open_database(new.database)))
        return StateCopy(source=old.database, target=new.database, rows=transfer(file, into))
