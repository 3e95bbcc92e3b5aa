"""A database with jobs in it, and a manifest that is staged against them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from runner.host.clock import rfc3339
from runner.model import Basis, Estimate, Job, JobSpec, State
from runner.store import diff, jobs, ledger, moves, staging
from runner.store.connection import Connection
from runner.store.database import StateDatabase
from tests.databases import close, empty_state
from tests.world import BEGINNING, NAME, bind, job, rows, staged

NOW = rfc3339(BEGINNING)
A, B, C = job("a"), job("b"), job("c")


@pytest.fixture
def file(each_database: str) -> Iterator[StateDatabase]:
    """An empty database that knows the manifest; a test module takes it with `file = staged.file`."""
    opened = empty_state()
    bind(opened)
    yield opened
    close(opened)


def changed(conn: Connection, found: Job, now: str, state: State | None = None, **columns: Any) -> Job:
    """Change a row in any way its state allows, where no verb of the store says what a test wants."""
    return moves._advance(conn, found, now, state, **columns)


def put(conn: Connection, found: Job, state: State | str, now: str = NOW, **columns: Any) -> Job:
    """Put a row into a state without the steps that lead there."""
    conn.execute("UPDATE jobs SET state = ? WHERE id = ?", (State(state).value, found.row))
    return changed(conn, replace(found, state=State(state)), now, **columns)


def set_state(file: StateDatabase, name: str, state: State | str, **columns: Any) -> int:
    """Put a job where a run would have brought it; return its row."""
    found = jobs.find(file.conn, NAME, name)[0]
    with file.transaction() as conn:
        put(conn, found, state, **columns)
    return found.row


def pay(
    file: StateDatabase, name: str, state: State | str = State.DONE, amount: float = 10.0, **columns: Any
) -> int:
    """Submit a job for so many credits; leave it in a state; return its row."""
    found = jobs.find(file.conn, NAME, name)[0]
    with file.transaction() as conn:
        estimate = Estimate(credits=amount, reserve=amount, basis=Basis.LISTED)
        ledger.reserve(conn, found, estimate=estimate, base_url="https://rivya.ai", now=NOW)
    return set_state(file, name, state, **columns)


def plan(file: StateDatabase, *specs: JobSpec) -> dict[str, str]:
    """Stage a manifest without applying it; return what becomes of each job."""
    staging.stage(file.conn, NAME, (staged(spec, file) for spec in specs))
    counts = diff.summary(file.conn, NAME)
    lines = list(diff.lines(file.conn, NAME))
    assert sum(counts.values()) == len(lines)
    assert sum(counts.values()) == len(specs) + counts["orphaned"]
    spent = diff.to_spend(file.conn)
    assert sum(each.jobs for each in spent.values()) == sum(bool(line.sends) for line in lines)
    assert [line.job for line in lines[: len(specs)]] == [spec.id for spec in specs]
    return {line.job if line.change != "orphaned" else f"({line.job})": line.change for line in lines}


def table(file: StateDatabase) -> dict[tuple[str, int], str]:
    """Return {(job, listed): state} of all rows."""
    return {
        (name, listed): state for name, listed, state in rows(file, "SELECT job, listed, state FROM jobs")
    }


def row_of(file: StateDatabase, name: str) -> int:
    return jobs.find(file.conn, NAME, name)[0].row


def sends(file: StateDatabase) -> float:
    """Return the credits that a run would spend on what is staged."""
    return sum(each.credits for each in diff.to_spend(file.conn).values())
