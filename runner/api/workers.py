"""`workers`: who works with a state database that several runs share, and what each has done."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from runner.host.clock import SystemClock
from runner.host.workspace import find_workspace, no_database
from runner.store import handovers, workers
from runner.store.database import open_to_read
from runner.store.handovers import Handover
from runner.store.workers import WorkerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersSeen:
    """The last workers, the newest first, and the time by the clock that they go by, in seconds since 1970."""

    now_s: float
    workers: list[WorkerRecord]
    handed: list[Handover]  # what was handed over and has not ended


def seen(state: str | None) -> WorkersSeen:
    """Return who works with a state database, or did.

    Raises:
        UsageError: There is none.
        TemporaryTrouble: Its server cannot be reached.
    """
    workspace = find_workspace(None, state=state, sandbox=False)
    if not workspace.has_database:
        raise no_database(workspace, sandbox=False, may_rehearse=False)
    with closing(open_to_read(workspace.database)) as file:
        return WorkersSeen(
            now_s=file.clock_of(SystemClock()).wall_s(),
            workers=workers.latest(file.conn),
            handed=handovers.open_ones(file.conn),
        )
