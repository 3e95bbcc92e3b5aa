"""`workers`: who works with a state database that several runs share, and what each has done."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from runner.host.clock import SystemClock
from runner.host.workspace import find_workspace, no_database
from runner.store import handovers, workers
from runner.store.database import StateDatabase, open_to_read
from runner.store.handovers import Handover
from runner.store.workers import Worker, WorkerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersSeen:
    """The last workers, the newest first, and the time by the clock that they go by, in seconds since 1970.

    `gone` are those that have ended without a word: killed, or cut off.
    """

    now_s: float
    workers: list[WorkerRecord]
    gone: frozenset[int]
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
        latest = workers.latest(file.conn)
        unended = [each.id for each in latest if not each.fenced and each.ended_at is None]
        return WorkersSeen(
            now_s=file.clock_of(SystemClock()).wall_s(),
            workers=latest,
            gone=frozenset(file.without_connection(unended)),
            handed=handovers.open_ones(file.conn),
        )


def at_work(file: StateDatabase, name: str) -> list[Worker]:
    """Return who works at a manifest together with others, or could, and has not lost its connection."""
    found = workers.at_work(file.conn, manifest=name)
    lost = file.without_connection([each.id for each in found]) if found else ()
    return [each for each in found if each.id not in lost]
