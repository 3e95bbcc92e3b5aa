"""Payments in the ledger of a database that knows six jobs, `a` to `f`: reserved, accepted, settled or released."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runner.host.clock import rfc3339
from runner.model import Basis, Estimate, Job, TaskId
from runner.money.budget import Committed
from runner.money.pricing import Seen
from runner.store import jobs, ledger
from runner.store.database import StateDatabase
from tests.databases import close, empty_state
from tests.staged import changed
from tests.world import BEGINNING, NAME, apply, bind, job

URL = "https://rivya.ai"
NOW = rfc3339(BEGINNING)
DAY_S = 86_400.0


@pytest.fixture
def file(each_database: str) -> Iterator[StateDatabase]:
    """Such a database; a test module takes it with `file = payments.file`."""
    opened = empty_state()
    bind(opened)
    apply(opened, *[job(name, params={"duration": number}) for number, name in enumerate("abcdef")])
    yield opened
    close(opened)


def the(file: StateDatabase, name: str, manifest: str = NAME) -> Job:
    return jobs.find(file.conn, manifest, name)[0]


def reserve(
    file: StateDatabase,
    name: str,
    credits: float = 10,
    *,
    at_s: float = BEGINNING,
    manifest: str = NAME,
    most: float | None = None,
) -> None:
    estimate = Estimate(credits=credits, reserve=credits, basis=Basis.LISTED, most=most)
    with file.transaction() as conn:
        ledger.reserve(conn, the(file, name, manifest), estimate=estimate, base_url=URL, now=rfc3339(at_s))


def accept(file: StateDatabase, name: str, reserved: float | None, task_id: str | None = None) -> None:
    with file.transaction() as conn:
        ledger.accept(
            conn, the(file, name), task_id=TaskId(task_id or f"t-{name}"), reserved=reserved, now=NOW
        )


def settle(file: StateDatabase, name: str, final: float | None, *, succeeded: bool = True) -> None:
    with file.transaction() as conn:
        ledger.settle(conn, the(file, name), final=final, succeeded=succeeded, now=NOW)


def release(file: StateDatabase, name: str) -> None:
    with file.transaction() as conn:
        ledger.release(conn, the(file, name), now=NOW)


def next_round(file: StateDatabase, name: str) -> None:
    found = the(file, name)
    with file.transaction() as conn:
        changed(conn, found, NOW, round=found.round + 1)


def row(file: StateDatabase, name: str) -> dict[str, Any]:
    found = the(file, name)
    return dict(
        file.conn.execute(
            "SELECT * FROM ledger WHERE job = ? AND round = ?", (found.row, found.round)
        ).fetchone()
    )


def committed(file: StateDatabase, name: str = "a", *, at_s: float = BEGINNING) -> Committed:
    return ledger.grounds(file.conn, the(file, name), base_url=URL, now_s=at_s).committed


def seen(file: StateDatabase, name: str = "a") -> Seen | None:
    return ledger.price_seen(file.conn, URL, the(file, name).shape)
