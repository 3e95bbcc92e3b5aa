"""Group commit answers every caller, also those who come while it is being stopped."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from runner.store.database import StateFile
from runner.store.writer import GroupWriter

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    """A caller who is never answered waits under a shield: only a signal ends that."""

    def give_up(*_: object) -> None:
        raise AssertionError("a caller was never answered")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 5.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateFile]:
    opened = StateFile.open(tmp_path / "state.db")
    yield opened
    opened.close()


def one(conn: sqlite3.Connection) -> int:
    return conn.execute("SELECT 1").fetchone()[0]


@pytest.mark.parametrize("ticks", range(6))
async def test_a_caller_is_answered_although_serving_is_cancelled_at_that_moment(
    file: StateFile, ticks: int
) -> None:
    writer = GroupWriter(file)
    answers = []

    async def caller() -> None:
        for _ in range(ticks):
            await anyio.lowlevel.cancel_shielded_checkpoint()
        answers.append(await writer.write(one))

    async with anyio.create_task_group() as background:
        background.start_soon(writer.serve)
        await anyio.lowlevel.checkpoint()
        background.start_soon(caller)
        await anyio.lowlevel.checkpoint()
        background.cancel_scope.cancel()

    assert answers == [1]


async def test_what_nobody_waits_for_is_committed_although_serving_is_cancelled(file: StateFile) -> None:
    writer = GroupWriter(file)
    seen = []

    async with anyio.create_task_group() as background:
        background.start_soon(writer.serve)
        await anyio.lowlevel.checkpoint()
        writer.write_soon(lambda conn: seen.append(one(conn)))
        background.cancel_scope.cancel()

    assert seen == [1]
