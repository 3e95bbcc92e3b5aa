"""Several workers on one database at a server: who is shut out writes nothing, and who goes on has what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from runner.engine.admission import Admission
from runner.engine.backlog import LOOKAHEAD, Backlog
from runner.engine.run_state import RunState
from runner.engine.share import ClaimedJobs
from runner.engine.view import RunOptions
from runner.errors import Fenced
from runner.host.clock import ServerClock, SystemClock
from runner.model import Job, State
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.durations import Durations
from runner.pace.limits import AccountLimits
from runner.pace.scheduler import Scheduler
from runner.steps.context import RunContext
from runner.steps.submit import submit
from runner.store import events, jobs, late_answers, needs, pacers, rates, shares, workers
from runner.store.database import open_database
from runner.store.server_address import ServerAddress
from runner.store.writer import GroupWriter
from tests.databases import of_kind, server
from tests.live_engine import Silent
from tests.state_file import put
from tests.world import NAME, World, accepted, job, rows

pytestmark = [pytest.mark.anyio]
at_a_server = pytest.mark.extra


@pytest.fixture
def world() -> Iterator[World]:
    """A manifest of six jobs in a database at a server."""
    with of_kind("postgresql"):
        yield World.of(*(job(f"j{number}") for number in range(6)))


Open = Callable[[], Any]


@pytest.fixture
def open_() -> Iterator[Open]:
    """Open the database once more, as another process does."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(open_database(ServerAddress.parse(server()))))


def begin(file: Any, **more: Any) -> int:
    """Have a connection write as a worker."""
    told = {"account": "a", "manifest": NAME, "host": "h", "pid": 1, "terms": "", "sign": "", **more}
    with file.transaction() as conn:
        run = conn.execute(
            "INSERT INTO runs (manifest, command, pid, host, version, started_at, seen_at)"
            " VALUES (?, '', 1, '', '', '', '') RETURNING id",
            (NAME,),
        ).fetchone()[0]
        worker = workers.register(conn, run=run, **told)
        file.write_as(worker)
    return worker


def lease_of(file: Any, **more: Any) -> Any:
    from runner.store.lease import Lease

    return Lease(file, ServerClock(SystemClock()), file.worker, **more)


@at_a_server
def test_who_was_shut_out_commits_nothing_more(world: World, open_: Open) -> None:
    old, new = open_(), open_()
    worker = begin(old)
    begin(new)
    with old.transaction() as conn:
        put(conn, "before")
    with new.transaction() as conn:
        workers.fence(conn, [worker])

    with pytest.raises(Fenced), old.transaction() as conn:
        put(conn, "after")

    assert rates.find(new.conn, "before") is not None
    assert rates.find(new.conn, "after") is None
    assert [each.id for each in workers.at_work(new.conn, manifest=NAME)] == [new.worker]


@at_a_server
def test_a_transaction_that_is_open_ends_before_its_worker_is_shut_out(world: World, open_: Open) -> None:
    """Shutting out waits for the lock of all writers: no commit comes after it."""
    old, new = open_(), open_()
    worker = begin(old)
    new.server.say("SET lock_timeout = '100ms'")
    with old.transaction() as conn:
        put(conn, "open")
        with pytest.raises(Exception, match="locked"), new.transaction() as other:
            workers.fence(other, [worker])

    assert rates.find(new.conn, "open") is not None


@at_a_server
def test_no_two_workers_have_one_job_and_what_a_dead_one_held_is_free(world: World, open_: Open) -> None:
    one, two = open_(), open_()
    first, second = begin(one), begin(two)

    def take(file: Any, number: int) -> list[str]:
        with file.transaction() as conn:
            page = shares.free_to_send(conn, NAME, after=(-1, -1), limit=number)
            shares.claim(conn, file.worker, [each.row for each in page])
        return [each.id for each in page]

    assert (take(one, 4), take(two, 4)) == (["j0", "j1", "j2", "j3"], ["j4", "j5"])
    assert take(two, 4) == []
    assert two.without_connection([first, second]) == []

    one.close()
    while not two.without_connection([first, second]):  # a server takes a moment to see it
        pass
    assert two.without_connection([first, second]) == [first]
    with two.transaction() as conn:
        workers.fence(conn, [first])
    assert take(two, 4) == ["j0", "j1", "j2", "j3"]


@at_a_server
def test_who_has_not_been_seen_for_long_is_stalled_by_the_clock_of_the_server(
    world: World, open_: Open
) -> None:
    file, other = open_(), open_()
    worker = begin(file)
    begin(other)
    with file.transaction() as conn:
        conn.execute("UPDATE workers SET seen_at = seen_at - 31 WHERE id = ?", (worker,))
        assert workers.stalled(conn, stall_s=30.0) == [worker]
        workers.beat(conn, worker, sharers=2, in_flight=3, busy=False)
        assert workers.stalled(conn, stall_s=30.0) == []
    found = workers.at_work(other.conn, account="a")
    assert [(each.sharers, each.in_flight, each.busy) for each in found] == [(2, 3, False), (0, 0, True)]


@at_a_server
async def test_nothing_leaves_once_others_may_have_taken_over(world: World, open_: Open) -> None:
    """The key is committed, and then the process stands still until its lease is over."""
    file = open_()
    begin(file)
    lease = lease_of(file)
    lease.renewed(lease.clock.steady_s() - 0.75 * lease.stall_s - 0.1)
    async with world.context() as context:
        done = await submit(replace(context, lease=lease), world.job("j0").row)

    assert world.sent == []
    assert done.state is State.SUBMITTING


@at_a_server
async def test_an_answer_that_comes_too_late_is_taken_by_whoever_goes_on(world: World, open_: Open) -> None:
    """Its worker was shut out while the request was on its way: the task is not asked for twice, nor lost."""
    old: Any = world.file
    new = open_()
    begin(old)
    begin(new)

    def shut_out(request: httpx.Request) -> httpx.Response:
        with new.transaction() as conn:
            workers.fence(conn, [old.worker])
        return accepted("t7")

    world.says(shut_out)
    async with world.context() as context:
        lease = lease_of(old)
        with pytest.raises(Fenced):
            await submit(replace(context, lease=lease), world.job("j0").row)
    found = jobs.get(new.conn, world.job("j0").row)
    assert found.state is State.SUBMITTING
    assert late_answers.find(new.conn, base_url=world.account.service, key=found.key or "") == "t7"

    old.worker = None  # the database of this test is written by the other one from here on
    async with world.context() as context:
        done = await submit(replace(context, lease=lease_of(new)), found.row)
    assert (done.state, done.job.task_id) == (State.WAITING, "t7")
    assert len(world.sent) == 1


async def test_alone_with_a_file_a_step_makes_not_one_statement_more() -> None:
    """What several machines need is asked for where there are several."""
    world = World.of(job("a"))
    world.says(accepted("t1"))
    told: list[str] = []
    conn: Any = world.file.conn
    conn.set_trace_callback(told.append)
    done = await world.submit("a")
    conn.set_trace_callback(None)

    assert done.state is State.WAITING
    assert not [
        each
        for each in told
        if any(name in each for name in ("workers", "shares", "late_answers", "pacers", "begun_jobs"))
    ]


@at_a_server
def test_a_limiter_at_a_server_is_changed_by_one_at_a_time(world: World, open_: Open) -> None:
    """Who finds that another was faster does it again, with what that one has written."""
    one, two = open_(), open_()
    seen: list[Any] = []

    def add(kept: Any, now_s: float) -> tuple[dict[str, int], int]:
        seen.append(kept)
        if len(seen) == 2:
            pacers.change(two.beside(), "a", lambda inner, _: ({"n": (inner or {})["n"] + 10}, 0))
        number = (kept["n"] if kept else 0) + 1
        return {"n": number}, number

    assert pacers.change(one.beside(), "a", add)[0] == 1
    told, now_s = pacers.change(one.beside(), "a", add)
    assert (told, seen) == (12, [None, {"n": 1}, {"n": 11}])
    assert abs(now_s - one.clock_of(SystemClock()).wall_s()) < 5.0


def test_a_part_of_the_tasks_at_once_is_kept_to() -> None:
    tasks = ConcurrencyLimit(10)
    assert tasks.given == 10
    tasks.keep_below(3)
    assert tasks.room(0.0, 2)
    assert not tasks.room(0.0, 3)
    tasks.set(2)
    assert tasks.given == 2
    assert not tasks.room(0.0, 2)
    assert ConcurrencyLimit().given == float("inf")


@at_a_server
def test_the_time_of_the_server_is_that_of_all(world: World, open_: Open) -> None:
    class Wrong(SystemClock):
        def wall_s(self) -> float:
            return super().wall_s() + 7200.0

    file = open_()
    clock = file.clock_of(Wrong())
    (now_s,) = file.conn.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    assert abs(clock.wall_s() - float(now_s)) < 5.0
    assert clock.boot_id() == "server"


@at_a_server
async def test_who_waits_is_woken_by_a_commit_and_by_what_is_handed_over(world: World, open_: Open) -> None:
    from runner.api.news import on_news

    file = open_()
    place = ServerAddress.parse(server())
    news: list[str] = []

    async def until(told: list[str]) -> None:
        with anyio.fail_after(10.0):
            while news != told:
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(on_news, place, lambda: news.append("commit"))
        await until(["commit"])  # what was there before
        group.start_soon(partial(on_news, place, lambda: news.append("work"), work=True))
        await until(["commit", "work"])
        with file.transaction() as conn:
            put(conn, "something")
        await until(["commit", "work", "commit"])
        with file.transaction() as conn:
            conn.execute("SELECT pg_notify('rivya_batch_work', '')")
        with anyio.fail_after(10.0):
            while "work" not in news[3:]:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


def happens(file: Any, kind: str, *, run: int, name: str | None = None, **data: Any) -> int:
    """Append an event of a run; return its number."""
    with file.transaction() as conn:
        events.append(conn, at="", run=run, manifest=NAME, job=name, kind=kind, data=data)
        return events.last(conn)


def need(file: Any, world: World, wanting: str, *sources: str) -> None:
    """Have a job wait for others."""
    with file.transaction() as conn:
        for place, source in enumerate(sources):
            conn.execute(
                "INSERT INTO needs (manifest, job, place, source, undecided) VALUES (?, ?, ?, ?, 0)",
                (NAME, world.job(wanting).row, place, world.job(source).row),
            )
        needs.count(conn, NAME)


def done(file: Any, world: World, name: str, *, run: int) -> int:
    with file.transaction() as conn:
        conn.execute("UPDATE jobs SET state = 'done' WHERE id = ?", (world.job(name).row,))
    return happens(file, "done", run=run, name=name)


@at_a_server
def test_only_what_others_have_made_since_is_looked_at(world: World, open_: Open) -> None:
    """Also where who has made it was killed before it came to counting who waits for that."""
    file = open_()
    need(file, world, "j2", "j0")
    need(file, world, "j3", "j0", "j1")
    need(file, world, "j4", "j5")
    before = done(file, world, "j5", run=1)
    mine, others = 1, 2

    def freed(*, after: int, run: int) -> list[int]:
        with file.transaction() as conn:
            return [row for _, row in needs.made_by_others(conn, NAME, after=after, run=run)]

    assert freed(after=before, run=mine) == []
    first = done(file, world, "j0", run=others)
    assert freed(after=before, run=others) == []
    assert freed(after=before, run=mine) == [world.job("j2").row]
    assert freed(after=first, run=mine) == []
    done(file, world, "j1", run=others)
    assert freed(after=first, run=mine) == [world.job("j3").row]
    assert rows(file, "SELECT job FROM jobs WHERE blocked > 0 ORDER BY job") == [("j4",)]


@at_a_server
async def test_jobs_that_are_given_back_are_had_by_whoever_comes_first_and_once(
    world: World, open_: Open
) -> None:
    one, two = open_(), open_()
    first, second = begin(one), begin(two)
    rows_ = [world.job(f"j{number}").row for number in range(4)]
    async with world.context() as context:
        giver = ClaimedJobs(replace(context, run=7), first)
        takers = [ClaimedJobs(replace(context, run=8), second), ClaimedJobs(replace(context, run=7), first)]
        with one.transaction() as conn:
            giver.chosen(conn, rows_)
        before = happens(one, "begun", run=7)
        with one.transaction() as conn:
            assert giver.freed(conn, rows_) == []
            giver.give_back(conn, rows_[2:])
            assert giver.news(conn, after=before) == []
        with two.transaction() as conn:
            news = takers[0].news(conn, after=before)
            assert [row for _, row in news] == rows_[2:]
            found = takers[0].freed(conn, rows_)
            takers[0].chosen(conn, [job.row for job in found])
        with one.transaction() as conn:
            again = takers[1].freed(conn, rows_)

    assert [job.row for job in found] == rows_[2:]
    assert again == []


@at_a_server
async def test_no_more_jobs_are_claimed_than_can_be_sent_soon(world: World, open_: Open) -> None:
    """And what was claimed when there was more room is left to others, and taken back where nobody wants it."""
    file: Any = world.file
    begin(file)
    async with world.context() as context:
        share = ClaimedJobs(context, file.worker)
        backlog = Backlog(context, Admission(RunOptions()), RunOptions(), share)

        def claimed() -> int:
            return int(rows(file, "SELECT count(*) FROM shares")[0][0])

        backlog.ahead = lambda: 0
        assert not backlog.runs_low
        await backlog.refill()
        assert claimed() == 0
        backlog.ahead = lambda: 2
        await backlog.refill()
        assert [row for row, _ in backlog.ready] == [world.job("j0").row, world.job("j1").row]
        assert claimed() == 2
        assert backlog.surplus() == []
        backlog.ahead = lambda: LOOKAHEAD
        await backlog.refill()
        assert len(backlog.ready) == claimed() == 6
        backlog.ahead = lambda: 2
        extra = backlog.surplus()
        assert extra == [world.job(f"j{number}").row for number in range(2, 6)]
        with file.transaction() as conn:
            share.give_back(conn, extra)
        backlog.freed([(row, True) for row in extra])
        backlog.ready.clear()
        while backlog.runs_low:
            await backlog.refill()
            backlog.ready.clear()
        assert claimed() == 6
        assert backlog.fed


def together_of(
    context: RunContext, file: Any, take_up: Callable[[Sequence[Job]], None]
) -> tuple[Any, RunState]:
    """Return what keeps a run in step with others that writes by a connection of its own; its writer is to be served."""
    from runner.engine.together import Together  # it wants psycopg, which not everybody has

    scheduler = Scheduler(
        polling=context.settings.polling,
        limits=AccountLimits(given_per_s=10.0, tasks=ConcurrencyLimit(4)),
        durations=Durations(),
    )
    own = replace(context, lease=lease_of(file), writer=GroupWriter(file, inline=True), run=7)
    run_state = RunState(own, scheduler, RunOptions(), Silent(), lambda: None)
    assert own.lease is not None
    assert isinstance(run_state.share, ClaimedJobs)
    return Together(run_state, run_state.share, own.lease, take_up), run_state


@at_a_server
async def test_tasks_that_are_taken_over_have_their_places_at_once(
    world: World, open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other may begin tasks in the places of one that was killed: they run at the service."""
    file, mate = open_(), open_()
    mine = begin(file)
    theirs = begin(mate, account=world.account.name)
    rows_ = [world.job(f"j{number}").row for number in range(3)]
    with mate.transaction() as conn:
        shares.claim(conn, theirs, rows_)
        for row in rows_:
            conn.execute("UPDATE jobs SET state = 'waiting', task_id = ? WHERE id = ?", (f"t{row}", row))
        workers.beat(conn, theirs, sharers=2, in_flight=3, busy=True)
    monkeypatch.setattr("runner.engine.together.BEAT_S", 0.01)
    taken: list[tuple[int, int]] = []
    took = anyio.Event()

    def take_up(found: Sequence[Job]) -> None:
        told = rows(file, "SELECT in_flight FROM workers WHERE id = ?", mine)
        taken.append((len(found), told[0][0]))
        took.set()

    async with world.context() as context:
        together, run_state = together_of(context, file, take_up)
        async with anyio.create_task_group() as group:
            group.start_soon(run_state.context.writer.serve)
            await together.begin()
            group.start_soon(together.keep)
            mate.close()
            with anyio.fail_after(10.0):
                await took.wait()
            group.cancel_scope.cancel()

    assert taken == [(3, 3)]


@at_a_server
async def test_a_beat_looks_at_what_others_have_set_free_and_at_nothing_else(
    world: World, open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to claim here but what others hold, or are to make the result for; beat follows beat."""
    file, mate = open_(), open_()
    need(file, world, "j5", "j0")
    begin(file)
    theirs = begin(mate, account=world.account.name)
    with mate.transaction() as conn:
        shares.claim(conn, theirs, [world.job(f"j{number}").row for number in range(5)])
        workers.beat(conn, theirs, sharers=2, in_flight=1, busy=True)
    monkeypatch.setattr("runner.engine.together.BEAT_S", 0.01)
    beats, pages = 0, 0
    beat, page = workers.beat, shares.free_to_send

    def counted_beat(*args: Any, **more: Any) -> float:
        nonlocal beats
        beats += 1
        return beat(*args, **more)

    def counted_page(*args: Any, **more: Any) -> Any:
        nonlocal pages
        pages += 1
        return page(*args, **more)

    monkeypatch.setattr(workers, "beat", counted_beat)
    monkeypatch.setattr(shares, "free_to_send", counted_page)
    async with world.context() as context:
        together, run_state = together_of(context, file, lambda found: None)
        run_state.chained = True
        backlog = run_state.backlog

        async def until(what: Callable[[], object]) -> None:
            with anyio.fail_after(10.0):
                while not what():
                    if backlog.runs_low:
                        await backlog.refill()
                    await anyio.sleep(0.005)

        async with anyio.create_task_group() as group:
            group.start_soon(run_state.context.writer.serve)
            await together.begin()
            group.start_soon(together.keep)
            await until(lambda: backlog.fed)
            looked, before = pages, beats
            await until(lambda: beats > before + 10)
            assert pages == looked
            assert not backlog.ready
            done(mate, world, "j0", run=8)
            await until(lambda: backlog.ready)
            assert [row for row, _ in backlog.ready] == [world.job("j5").row]
            group.cancel_scope.cancel()
