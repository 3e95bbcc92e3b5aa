"""Group commit: one transaction for many, and every caller is answered, also while it is being stopped."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from runner.errors import RunnerError, TemporaryTrouble
from runner.store.sqlite import StateFile
from runner.store.writer import GroupWriter
from tests import state_file
from tests.state_file import disk_of, kept, put

pytestmark = pytest.mark.anyio

path, file, impatient = state_file.path, state_file.file, state_file.impatient


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


@contextlib.asynccontextmanager
async def writing(file: StateFile, inline: bool) -> AsyncIterator[GroupWriter]:
    writer = GroupWriter(file, inline=inline)
    async with anyio.create_task_group() as group:
        group.start_soon(writer.serve)
        await anyio.wait_all_tasks_blocked()
        yield writer
        group.cancel_scope.cancel()


@pytest.fixture(params=[True, False], ids=["inline", "thread"])
def inline(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def collect(
    writer: GroupWriter, found: dict[str, Any], name: str, operation: Callable[..., Any]
) -> None:
    try:
        found[name] = await writer.write(operation)
    except Exception as exc:
        found[name] = exc


def boom(conn: sqlite3.Connection) -> None:
    put(conn, "half done")
    raise ZeroDivisionError


def again(conn: sqlite3.Connection) -> None:
    put(conn, "twice")
    put(conn, "twice")


async def test_one_failing_operation_does_not_hurt_its_neighbours(
    path: Path, file: StateFile, inline: bool
) -> None:
    found: dict[str, Any] = {}
    async with writing(file, inline) as writer, anyio.create_task_group() as group:
        for name, operation in (
            ("a", lambda conn: put(conn, "a")),
            ("boom", boom),
            ("b", lambda conn: put(conn, "b")),
            ("again", again),
            ("c", lambda conn: put(conn, "c")),
        ):
            group.start_soon(collect, writer, found, name, operation)

    assert (found["a"], found["b"], found["c"]) == ("a", "b", "c")
    assert isinstance(found["boom"], ZeroDivisionError)
    assert isinstance(found["again"], RunnerError)
    assert kept(path) == {"a", "b", "c"}
    assert writer.transactions == 1


async def test_an_awaited_write_is_on_the_disk(path: Path, file: StateFile, inline: bool) -> None:
    async with writing(file, inline) as writer:
        for number in range(5):
            await writer.write(partial(put, key=str(number)))
            assert str(number) in kept(path)


async def test_what_many_write_at_one_moment_is_one_transaction(file: StateFile, inline: bool) -> None:
    async with writing(file, inline) as writer, anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(writer.write, partial(put, key=str(number)))

    assert file.conn.execute("SELECT count(*) FROM rates").fetchone()[0] == 200
    assert writer.operations == 200
    assert writer.transactions <= 3


async def test_operations_run_in_the_order_they_were_asked_for(file: StateFile, inline: bool) -> None:
    writer = GroupWriter(file, inline=inline)
    for number in range(20):
        writer.write_soon(partial(put, key=f"{number:02}"))
    await writer.flush()

    assert [row[0] for row in file.conn.execute("SELECT account FROM rates ORDER BY rowid")] == [
        f"{number:02}" for number in range(20)
    ]


async def test_when_the_commit_fails_nobody_is_told_that_it_worked(path: Path, inline: bool) -> None:
    file = StateFile.open(path)
    found: dict[str, Any] = {}
    async with writing(file, inline) as writer:
        with disk_of(1_000, path):
            async with anyio.create_task_group() as group:
                for name in "abc":
                    group.start_soon(collect, writer, found, name, partial(put, key=name + "x" * 20_000))
        assert kept(path) == set()
        await writer.write(lambda conn: put(conn, "later"))

    assert {type(error) for error in found.values()} == {TemporaryTrouble}
    assert kept(path) == {"later"}
    file.close()


@pytest.mark.usefixtures("impatient")
async def test_a_locked_file_is_told_to_whoever_waits_and_goes_on_later(path: Path, inline: bool) -> None:
    file = StateFile.open(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(file, inline) as writer:
            with pytest.raises(TemporaryTrouble, match="locked"):
                await writer.write(lambda conn: put(conn, "a"))
            other.execute("ROLLBACK")
            await writer.write(lambda conn: put(conn, "b"))

    assert kept(path) == {"b"}
    file.close()


async def test_a_caller_that_is_cancelled_while_it_waits_has_still_written(
    file: StateFile, inline: bool
) -> None:
    async with writing(file, inline) as writer, anyio.create_task_group() as group:
        group.start_soon(writer.write, lambda conn: put(conn, "a"))
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    assert file.conn.execute("SELECT count(*) FROM rates").fetchone()[0] == 1


async def test_whoever_writes_while_everything_is_cancelled_gets_an_answer(
    file: StateFile, inline: bool
) -> None:
    """A run that ends by an error takes the task that commits with it."""
    found: dict[str, Any] = {}
    writer = GroupWriter(file, inline=inline)
    async with anyio.create_task_group() as group:
        group.start_soon(writer.serve)
        await anyio.wait_all_tasks_blocked()
        for name in ("a", "b"):
            group.start_soon(collect, writer, found, name, partial(put, key=name))
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    await collect(writer, found, "c", lambda conn: put(conn, "c"))

    assert found == {"a": "a", "b": "b", "c": "c"}


async def test_the_error_of_a_write_nobody_waits_for_is_dropped_alone(file: StateFile) -> None:
    writer = GroupWriter(file, inline=True)
    writer.write_soon(boom)
    writer.write_soon(lambda conn: put(conn, "a"))
    await writer.flush()

    assert [row[0] for row in file.conn.execute("SELECT account FROM rates")] == ["a"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_serving_twice_is_serving_once_and_leaves_no_thread(
    path: Path, file: StateFile, order: tuple[int, int]
) -> None:
    """A second `serve` leaves the work to the first; whichever ends first, everyone is answered."""
    threads = threading.active_count()
    writer = GroupWriter(file)
    scopes = (anyio.CancelScope(), anyio.CancelScope())

    async def serve(number: int) -> None:
        with scopes[number]:
            await writer.serve()

    async with anyio.create_task_group() as group:
        for number in (0, 1):
            group.start_soon(serve, number)
            await anyio.wait_all_tasks_blocked()
        await writer.write(lambda conn: put(conn, "both"))
        assert threading.active_count() == threads + 1
        for number in order:
            scopes[number].cancel()
            await anyio.wait_all_tasks_blocked()
            await writer.write(partial(put, key=str(number)))

    assert kept(path) == {"both", "0", "1"}
    assert not [thread for thread in threading.enumerate() if "_commit_what_comes" in thread.name]


async def test_what_comes_while_a_batch_is_committed_is_the_next_batch(file: StateFile) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(conn: sqlite3.Connection) -> None:
        began.set()
        assert go_on.wait(4.0)

    async with writing(file, inline=False) as writer, anyio.create_task_group() as group:
        group.start_soon(writer.write, slow)
        while not began.is_set():
            await anyio.lowlevel.checkpoint()
        for number in range(50):
            group.start_soon(writer.write, partial(put, key=str(number)))
        await anyio.wait_all_tasks_blocked()
        go_on.set()

    assert (writer.operations, writer.transactions) == (51, 2)


async def test_what_is_written_while_serving_begins_keeps_its_turn(file: StateFile) -> None:
    """The first write of a run begins before anybody serves, and is committed elsewhere."""
    writer = GroupWriter(file)
    found: dict[str, Any] = {}
    go_on = threading.Event()

    def slow(conn: sqlite3.Connection) -> str:
        assert go_on.wait(4.0)
        return put(conn, "slow")

    async with anyio.create_task_group() as background:
        async with anyio.create_task_group() as callers:
            callers.start_soon(collect, writer, found, "slow", slow)
            await anyio.wait_all_tasks_blocked()
            background.start_soon(writer.serve)
            callers.start_soon(collect, writer, found, "quick", lambda conn: put(conn, "quick"))
            await anyio.wait_all_tasks_blocked()
            go_on.set()
        background.cancel_scope.cancel()

    assert found == {"slow": "slow", "quick": "quick"}


async def test_what_may_be_run_again_is_run_again_apart_where_one_fails(
    path: Path, file: StateFile, inline: bool
) -> None:
    ran = list[str]()

    def noted(name: str) -> Callable[[Any], str]:
        def operation(conn: Any) -> str:
            ran.append(name)
            put(conn, name)
            if name == "boom":
                boom(conn)
            return name

        return operation

    async with writing(file, inline) as writer:
        first = await writer.write_each([noted("a"), noted("b")], repeatable=True)
        second = await writer.write_each([noted("c"), noted("boom"), noted("d")], repeatable=True)
        async with anyio.create_task_group() as group:  # one that may not be: none is
            group.start_soon(partial(writer.write, noted("e"), repeatable=True))
            group.start_soon(collect, writer, {}, "boom", noted("boom"))
            group.start_soon(partial(writer.write, noted("f"), repeatable=True))

    assert first == ["a", "b"]
    assert second[::2] == ["c", "d"]
    assert isinstance(second[1], ZeroDivisionError)
    assert ran == ["a", "b", "c", "boom", "c", "boom", "d", "e", "boom", "f"]
    assert kept(path) == {"a", "b", "c", "d", "e", "f"}
    assert writer.transactions == 3


class Odd(BaseException):
    """What no `except Exception` catches."""


async def test_nothing_an_operation_raises_ends_the_writing(
    path: Path, file: StateFile, inline: bool
) -> None:
    def odd(conn: sqlite3.Connection) -> None:
        put(conn, "odd")
        raise Odd

    async with writing(file, inline) as writer:
        with pytest.raises(Odd):
            await writer.write(odd)
        await writer.write(lambda conn: put(conn, "a"))

    assert kept(path) == {"a"}


async def test_what_can_wait_is_committed_with_what_cannot(file: StateFile, inline: bool) -> None:
    async with writing(file, inline) as writer, anyio.create_task_group() as group:
        group.start_soon(partial(writer.write, one, can_wait=True))
        writer.write_soon(one)
        await anyio.wait_all_tasks_blocked()
        before = writer.transactions
        await writer.write(one)
        after = writer.transactions, writer.operations

    assert before == 0
    assert after == (1, 3)


async def test_what_can_wait_does_not_wait_for_others(file: StateFile, inline: bool) -> None:
    async with writing(file, inline) as writer:
        assert await writer.write(one, can_wait=True) == 1
        assert await writer.write(one, can_wait=True) == 1
        assert writer.transactions == 2
