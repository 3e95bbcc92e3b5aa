"""How manifests stand, read from the database without disturbing a run."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from runner.api.plans.warnings import about_surprises
from runner.api.stuck_jobs import Stuck, stuck
from runner.api.workers import at_work
from runner.errors import UsageError
from runner.host.workspace import Holder, Workspace
from runner.store import handovers, jobs, ledger, manifests, needs, reporting, runs, switches
from runner.store.connection import Connection
from runner.store.database import StateDatabase, open_to_read


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One manifest as the database knows it."""

    name: str
    path: str
    counts: dict[str, int]
    total: int
    orphaned: int
    charged: float
    reserved: float
    last_day: float
    running: dict[str, Any] | None
    last_run: dict[str, Any] | None
    errors: list[dict[str, Any]]
    failures: list[reporting.FailedJobs]
    warned: int  # results that were kept although something is odd about them
    warnings: list[dict[str, Any]]  # the latest of these
    stuck: list[Stuck]
    attention: list[str]  # charges that a person has yet to see
    waits: list[str]  # which jobs wait for a choice, or for one that does not come, and what to do
    eta_s: float | None
    at_work: int  # runs of it that work together at a server
    handed_over: str | None  # since when it is handed over to workers, where it has not ended


def look(workspace: Workspace, *, names: list[str] | None) -> list[Standing]:
    """Return how manifests stand now; all of the workspace's without names.

    Raises:
        UsageError: A name is not in the database.
    """
    with closing(open_to_read(workspace.database)) as file:
        return standings(file, names=names, now_s=time.time())


def standings(file: StateDatabase, *, names: list[str] | None, now_s: float) -> list[Standing]:
    """Return how manifests stand.

    Raises:
        UsageError: A name is not in the database.
    """
    for name in names or []:
        if manifests.binding(file.conn, name) is None:
            raise UsageError(
                f"{name} has never been run with {file.place}",
                hint="`rivya-batch plan` shows what it would do",
            )
    return [_standing(file, name, now_s) for name in (names or manifests.names(file.conn))]


def _standing(file: StateDatabase, name: str, now_s: float) -> Standing:
    conn = file.conn
    counts, orphaned = jobs.by_state(jobs.counts(conn, name), switches.counts(conn, name))
    charged, reserved = ledger.totals(conn, name)
    bound = manifests.binding(conn, name)
    run = runs.last(conn, name)
    last = _run(run) if run is not None else None
    holder = _holder(file, run)
    running = None
    if last is not None and holder is not None:
        running = {**last, "paused": holder.paused, "elsewhere": not holder.is_here}
    return Standing(
        name=name,
        path=str(bound.path) if bound else "",
        counts=counts,
        total=sum(counts.values()),
        orphaned=orphaned,
        charged=charged,
        reserved=reserved,
        last_day=ledger.day_total(conn, now_s),
        running=running,
        last_run=last,
        errors=jobs.last_errors(conn, name, 5),
        failures=reporting.failed_jobs(conn, name),
        warned=jobs.warned(conn, name),
        warnings=jobs.last_warnings(conn, name, 5),
        stuck=stuck(conn, name),
        attention=list(about_surprises(ledger.surprises(conn, name))),
        waits=_waits(conn, name),
        eta_s=runs.time_left_s(run, now_s) if run is not None and running and not running["paused"] else None,
        at_work=len(at_work(file, name)),
        handed_over=next(
            (each.handed_at for each in handovers.open_ones(conn) if each.manifest == name), None
        ),
    )


def _waits(conn: Connection, name: str) -> list[str]:
    if not needs.any_of(conn, name):
        return []
    from runner.engine.chained import held_of  # the engine takes a fifth of a second to import

    return list(held_of(conn, name).words())


def _holder(file: StateDatabase, run: runs.RunRecord | None) -> Holder | None:
    """Return who carries on a run; None when it has ended, or was killed."""
    if run is None or run.ended_at is not None:
        return None
    holder = file.holder_of(run.manifest)
    return holder if holder is not None and holder.is_of(pid=run.pid, host=run.host) else None


def _run(run: runs.RunRecord) -> dict[str, Any]:
    return {
        "id": run.id,
        "command": run.command,
        "pid": run.pid,
        "host": run.host,
        "started_at": run.started_at,
        "seen_at": run.seen_at,
        "ended_at": run.ended_at,
        "exit_code": run.exit_code,
        "stats": dict(run.stats),
    }
