"""What a run may begin, and that it always ends: the real loop and steps, a service in the same process."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import httpx
import pytest

from runner.engine import Engine, results
from runner.engine.admission import Admission
from runner.engine.backlog import Backlog
from runner.engine.health import MissingTaskIds
from runner.engine.view import RunOptions
from runner.errors import Exit
from runner.model import Budget, FailedRounds, Limits, State
from runner.pace.scheduler import Call, Scheduler
from runner.service.reply import Reply
from runner.service.rivya.answers import understand
from runner.steps.context import RunContext
from runner.steps.download import DownloadResult, Fetched, Settled
from runner.store import jobs
from runner.store.writer import GroupWriter
from tests.live_engine import AT_ONCE, QUICK, Home, Live, live
from tests.world import World, job, reference, refused, rows, task

pytestmark = pytest.mark.anyio


async def test_while_no_submit_is_answered_what_is_paid_comes_home() -> None:
    """Each new job that asked whether the service is back might have been paid, and nobody polled meanwhile."""
    world = live(60)
    for name in ("j0", "j1", "j2"):
        await world.submit(name)
    world.refuse = lambda body: httpx.Response(502)

    await world.run(stop_after_s=2.0)

    assert [world.state(name) for name in ("j0", "j1", "j2")] == [State.DONE] * 3
    assert len({key for key, _ in world.sent[3:]}) <= 14  # four in a row, and what was on its way


async def test_limit_counts_submits_that_are_on_their_way() -> None:
    """It paid for up to nine more than was said, as many as there are connections."""
    world = live(40)

    first = await world.run(limit=3)
    second = await world.run(limit=3)

    assert (first.code, second.code) == (Exit.OK, Exit.OK)
    assert sorted(world.prompts()) == sorted(f"j{n}" for n in range(6))


async def test_nothing_follows_a_canary_before_it_is_done() -> None:
    world = live(30)
    order: list[str] = []
    after = world.after

    def polled(task_id: str, polls: int) -> dict[str, Any]:
        order.append(f"poll {task_id}")
        return after(task_id, polls)

    world.after = polled
    world.refuse = lambda body: order.append("submit")  # type: ignore[func-returns-value]

    ended = await world.run(canary=1)

    assert ended.code is Exit.OK
    assert order[:4] == ["submit", "poll t0", "poll t0", "submit"]
    assert len(world.sent) == 30


async def test_a_canary_that_fails_gets_the_rounds_it_is_allowed() -> None:
    """The gate stayed shut for its own second round: the run ended with 0 and one job paid."""
    world = live(5, failed_rounds=FailedRounds(generation=1))
    good = world.after

    def polled(task_id: str, polls: int) -> dict[str, Any]:
        if task_id == "t0":
            return task(task_id, status="failed", final=0, code="generation_failed")
        return good(task_id, polls)

    world.after = polled

    ended = await world.run(canary=1)

    assert ended.code is Exit.OK
    assert world.prompts()[:2] == ["j0", "j0"]
    assert {world.state(f"j{n}") for n in range(5)} == {State.DONE}


async def test_a_second_round_counts_once_for_the_limit() -> None:
    world = live(5, failed_rounds=FailedRounds(generation=1))
    good = world.after
    world.after = lambda task_id, polls: (
        task(task_id, status="failed", final=0, code="generation_failed")
        if task_id == "t0"
        else good(task_id, polls)
    )

    await world.run(limit=1)

    assert world.prompts() == ["j0", "j0"]
    assert world.state("j0") is State.DONE


@pytest.mark.parametrize("only", ["nothing*", "j199"])
async def test_only_finds_its_jobs_behind_pages_of_others(only: str) -> None:
    """The loop slept for ever after a page of jobs nobody had asked for."""
    world = live(200)

    ended = await world.run(only=only)

    assert ended.code is Exit.OK
    assert world.prompts() == (["j199"] if only == "j199" else [])


async def test_a_locked_database_between_two_jobs_ends_the_run_in_good_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It tore down the requests that were open, and was called a bug of ours."""
    world = live(100)
    real = jobs.page_to_send
    pages = 0

    def locked(*args: Any, **more: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages > 1:
            raise _locked()
        return real(*args, **more)

    monkeypatch.setattr(jobs, "page_to_send", locked)

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert "locked" in ended.reasons[0]
    assert world.sent
    states = {state for (state,) in rows(world.file, "SELECT DISTINCT state FROM jobs")}
    assert "submitting" not in states  # what was open has been recorded


async def test_a_database_that_is_locked_at_the_start_ends_the_run_in_good_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = live(2)

    def locked(*args: Any, **more: Any) -> Any:
        raise _locked()

    monkeypatch.setattr(jobs, "in_states", locked)

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert world.sent == []


async def test_an_upload_that_may_not_be_used_again_is_used_once() -> None:
    """It was too old the moment it was there, and made again for ever."""
    item = reference("a.png")
    world = Live.of(job("a", references=[item]), **QUICK, reuse_uploads_within_s=0.0)
    assert isinstance(world, Live)
    world.uploaded(item, "https://files/0")

    ended = await world.run()

    assert ended.code is Exit.OK
    assert world.state("a") is State.DONE


async def test_a_page_of_jobs_with_files_is_marked_in_one_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixty-four in a row, each waiting for the disk: for so long nothing was sent."""
    world = Live.of(*(job(f"j{n}", references=[reference(f"{n}.png")]) for n in range(5)), **QUICK)
    written = 0
    write = GroupWriter.write

    def counted(self: GroupWriter, *args: Any, **options: Any) -> Any:
        nonlocal written
        written += 1
        return write(self, *args, **options)

    monkeypatch.setattr(GroupWriter, "write", counted)
    async with world.context() as context:
        backlog = Backlog(context, Admission(RunOptions()), RunOptions())
        await backlog.prepare(*(world.job(f"j{n}") for n in range(5)))

    assert written == 1
    assert {world.state(f"j{n}") for n in range(5)} == {State.UPLOADING}
    assert len(backlog.to_upload) == 5


async def test_a_price_that_is_named_late_lets_the_others_go_on() -> None:
    """Named in a poll that says nothing else new: it was not read, and the cap was filled with estimates."""
    world = live(12, budget=Budget(max_credits=100))
    named: list[int] = []

    def polled(task_id: str, polls: int) -> dict[str, Any]:
        if polls < 40:
            named.append(len(world.sent))
            return task(task_id, status="queued", reserved=40)
        return task(task_id, status="succeeded", reserved=40, final=40)

    world.first_word = lambda task_id: task(task_id, reserved=0)
    world.after = polled

    ended = await world.run()

    assert ended.code is Exit.CREDITS
    assert max(named) == 2  # the second is sent while the first still runs
    assert len(world.sent) == 2
    assert world.credits() == (80, 0)


@pytest.mark.parametrize(
    "nameless",
    [
        httpx.Response(201, json={"task": "t9", "status": "queued"}),
        httpx.Response(200, text="<html>We will be back soon.</html>"),
    ],
)
async def test_a_service_that_names_no_task_is_not_sent_all_jobs(nameless: httpx.Response) -> None:
    """Every job was sent, and perhaps paid, and of none would anybody ever know the task."""
    world = live(60)
    await world.submit("j0")  # polls are answered as ever
    world.after = lambda task_id, polls: task(task_id)
    world.refuse = lambda body: nameless

    await world.run(stop_after_s=0.5)

    assert len(set(world.keys())) <= 21, "ten in a row, and what was on its way by then"


async def test_ten_answers_in_a_row_without_a_task_are_a_reason_to_submit_no_more() -> None:
    nameless = understand(Reply(status=201, data={"status": "queued"}), body=b"")
    named = understand(Reply(status=201, data=task("t1")), body=b"")
    others = [Reply(status=429), Reply(status=502), Reply(detail="lost"), Reply(sent=False)]
    seen = MissingTaskIds()

    said = [seen.answered(answer) for answer in (*[nameless] * 9, named, *[nameless] * 9)]
    said += [seen.answered(understand(reply, body=b"")) for reply in others]

    assert said == [None] * 23
    assert "10 submits in a row were answered without a task id (HTTP 201" in (seen.answered(nameless) or "")


async def test_what_was_refused_for_sure_is_judged_anew_by_the_next_run() -> None:
    """A job that was told 429 was sent by the next run whatever its caps and options said."""
    world = live(3)
    world.refuse = lambda body: refused(429, "rate_limited", **{"Retry-After": "30"})
    for n in range(3):  # a run that is killed while they wait
        await world.submit(f"j{n}")
    before = len(world.sent)
    assert (before, world.state("j0"), world.credits()) == (3, State.SUBMITTING, (0, 30))
    world.refuse = lambda body: None

    nothing = await world.run(limit=0)
    world.settings = _with(world, max_credits=5)
    capped = await world.run()
    reserved = world.credits()
    world.settings = _with(world, max_credits=None)
    key = world.sent[0][0]
    free = await world.run()

    assert (nothing.code, capped.code, free.code) == (Exit.OK, Exit.CREDITS, Exit.OK)
    assert reserved == (0, 0)
    assert len(world.sent) == before + 3
    assert {sent for sent, body in world.sent if b"prompt of j0" in body} == {key}


async def test_what_was_refused_for_sure_keeps_no_credits_once_the_run_is_over() -> None:
    world = live(3)
    world.refuse = lambda body: refused(429, "rate_limited", **{"Retry-After": "30"})

    ended = await world.run(stop_after_s=0.2)

    assert ended.code is Exit.TIME
    assert world.sent
    assert {world.state(f"j{n}") for n in range(3)} == {State.PLANNED}
    assert world.credits() == (0, 0)


@pytest.mark.parametrize("no_more", [False, True])
async def test_what_was_refused_for_sure_is_not_sent_after_a_reason_to_submit_no_more(no_more: bool) -> None:
    """It was told to wait, then the account was empty: it was sent all the same."""
    world = live(1)
    row = world.job("j0").row

    def meanwhile(engine: Engine) -> None:
        engine._backlog.fed = True
        engine._backlog.refused.append(row)
        if no_more:
            engine._reasons.stop_submitting(Exit.CREDITS, "the account is empty")

    world.meanwhile = meanwhile

    ended = await world.run()

    assert ended.code is (Exit.CREDITS if no_more else Exit.OK)
    assert world.prompts() == ([] if no_more else ["j0"])


async def test_what_was_refused_for_sure_and_then_set_aside_counts_once_for_the_limit() -> None:
    """It had been sent, so its own place under `--limit` was taken when its turn came again."""
    world = live(2, budget=Budget(max_credits=1000))
    world.price_was(job("j0"), 10)
    refuse = world.refuse
    world.first_word = lambda task_id: task(task_id, reserved=0)
    await world.submit("j1")
    engines: list[Engine] = []
    world.meanwhile = engines.append

    def forget(body: dict[str, Any]) -> httpx.Response:
        world.refuse = refuse
        world.file.conn.execute("DELETE FROM prices")  # as if another manifest's probe had gone out meanwhile
        return refused(429, "rate_limited", **{"Retry-After": "0"})

    def after(task_id: str, polls: int) -> dict[str, Any]:
        if engines[0]._run_state.admission.aside or len(world.sent) > 2:
            return task(task_id, status="succeeded", final=10, updated_at=AT_ONCE)
        return task(task_id, reserved=0)

    world.refuse, world.after = forget, after

    ended = await world.run(limit=1)

    assert ended.code is Exit.OK
    assert world.prompts() == ["j1", "j0", "j0"]
    assert world.state("j0") is State.DONE


async def test_a_service_that_holds_its_keys_is_sent_an_unclear_one_again_without_the_wait() -> None:
    """It answered a repeat with a conflict: of a send that is still worked on it makes no second task."""
    world = live(2, resend_after_s=30.0)
    unavailable = httpx.Response(503, text="try later")
    world.refuse = lambda body: unavailable
    await world.submit("j0")
    world.file.conn.execute("UPDATE jobs SET last_unclear_at = '2025-01-01T00:00:00.000Z' WHERE job = 'j0'")
    once = {"j0": refused(409, "idempotency_conflict"), "j1": unavailable}

    def refuse(body: dict[str, Any]) -> httpx.Response | None:
        name = body["prompt"].removeprefix("prompt of ")
        if name == "j1" and "j0" in once:
            return refused(429, "rate_limited", **{"Retry-After": "0"})
        return once.pop(name, None)

    world.refuse = refuse

    ended = await world.run(within_s=15.0)

    assert ended.code is Exit.OK
    assert once == {}


async def test_a_window_of_tasks_holds_no_unclear_submit_back() -> None:
    """It may be at the service already, so it counts as a task, and it is asked about before its time is over."""
    one_at_a_time = Limits(requests_per_second=1000.0, in_flight=1)
    world = Live.of(*(job(f"j{n}") for n in range(3)), **{**QUICK, "limits": one_at_a_time})
    assert isinstance(world, Live)
    lost = [httpx.Response(503, text="try later")]
    world.refuse = lambda body: lost.pop() if body["prompt"] == "prompt of j0" and lost else None

    ended = await world.run(within_s=10.0)

    assert ended.code is Exit.OK
    assert world.prompts() == ["j0", "j0", "j1", "j2"]


async def test_a_result_that_is_too_large_is_fetched_once_in_a_run() -> None:
    class Large(Home):
        fetches = 0

        async def fetch(
            self, context: RunContext, row: int, settled: Settled | None = None, **_: Any
        ) -> DownloadResult:
            self.fetches += 1
            found = await context.writer.write(lambda conn: jobs.get(conn, row))
            return DownloadResult(job=found, fetched=Fetched.NEVER, why="it is too large")

    world = live(1)
    world.home = Large()

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert "it is too large" in " ".join(ended.reasons)
    assert (world.home.fetches, world.state("j0")) == (1, State.DOWNLOADING)


class AtTheApi(Home):
    """Results under the API's own address; so many of the first fetches are answered with 429."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.fetches = 0

    async def fetch(
        self, context: RunContext, row: int, settled: Settled | None = None, **_: Any
    ) -> DownloadResult:
        self.fetches += 1
        if self.refusals:
            self.refusals -= 1
            found = await context.writer.write(lambda conn: jobs.get(conn, row))
            return DownloadResult(job=found, fetched=Fetched.LATER, too_fast=True, retry_after_s=0.01)
        return replace(await super().fetch(context, row, settled), from_api=True)


async def test_results_at_the_api_itself_are_fetched_under_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    permits: list[Call] = []
    sent = Scheduler.sent

    def counted(self: Scheduler, now: float, call: Call, job: int | None = None) -> None:
        permits.append(call)
        sent(self, now, call, job)

    monkeypatch.setattr(Scheduler, "sent", counted)
    elsewhere, here = live(12), live(12)
    here.home = AtTheApi(0)

    await elsewhere.run()
    before = permits.count(Call.OTHER)
    await here.run()

    assert before == 0
    assert here.home.fetches == 12
    assert permits.count(Call.OTHER) >= 8  # until the first was seen to be there, they were not counted


async def test_a_result_that_is_told_to_wait_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "TRIES", 1)
    world = live(1)
    world.home = AtTheApi(2)

    ended = await world.run()

    assert ended.code is Exit.OK
    assert world.home.fetches == 3
    assert ended.stats["rejections"] == 2


class Shaky(Home):
    """The results of these jobs cannot be fetched so many times."""

    def __init__(self, **failures: int) -> None:
        self.failures = failures
        self.fetches: list[str] = []

    async def fetch(
        self, context: RunContext, row: int, settled: Settled | None = None, **_: Any
    ) -> DownloadResult:
        found = await context.writer.write(lambda conn: jobs.get(conn, row))
        self.fetches.append(found.id)
        if self.failures.get(found.id, 0):
            self.failures[found.id] -= 1
            return DownloadResult(job=found, fetched=Fetched.LATER, why="HTTP 503")
        return await super().fetch(context, row, settled)


async def test_results_given_up_are_asked_for_again_when_another_one_comes_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A result host that was away for a minute must not leave its mark on the whole night."""
    monkeypatch.setattr(results, "TRIES", 1)
    world = live(12, limits=Limits(requests_per_second=1000.0, in_flight=2))
    world.home = Shaky(j0=1, j1=1)

    ended = await world.run()

    assert (ended.code, ended.reasons) == (Exit.OK, ())
    assert sorted(world.home.fetches) == sorted(["j0", "j1", *(f"j{n}" for n in range(12))])


async def test_a_result_that_is_never_to_be_had_is_asked_for_ever_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "TRIES", 1)
    world = live(60, limits=Limits(requests_per_second=1000.0, in_flight=2))
    world.home = Shaky(j0=1_000)

    ended = await world.run()

    assert ended.code is Exit.TEMPORARY
    assert "the result of j0 cannot be fetched now (HTTP 503); the next run tries again" in ended.reasons
    assert world.home.fetches.count("j0") == 2
    assert (world.state("j0"), world.state("j59")) == (State.DOWNLOADING, State.DONE)


def _with(world: World, **budget: Any) -> Any:
    return replace(world.settings, budget=Budget(**budget))


def _locked() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error
