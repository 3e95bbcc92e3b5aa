"""What is not sent at all, and what a run that died or an earlier one has left."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from runner.model import Budget, State
from runner.money.budget import Verdict
from runner.steps.submit import NotSent, take_back
from runner.store import jobs, ledger
from tests.staged import changed, put
from tests.submit_answers import NO, PICTURE, TOO_FAST, A, B
from tests.world import LOST, NAME, Killed, World, accepted, job, refused, rows

pytestmark = pytest.mark.anyio


# --- what is not sent at all ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [state for state in State if state not in ("planned", "uploading", "submitting")]
)
async def test_a_job_that_is_not_to_be_sent_is_not_sent(state: State) -> None:
    world = World.of(A)
    with world.file.transaction() as conn:
        put(conn, world.job("a"), state)

    assert (await world.submit("a")).not_sent is NotSent.GONE
    assert (world.sent, world.state("a")) == ([], state)


async def test_a_job_that_left_the_manifest_is_not_begun() -> None:
    world = World.of(A)
    with world.file.transaction() as conn:
        conn.execute("UPDATE jobs SET listed = 0")

    assert (await world.submit("a")).not_sent is NotSent.GONE
    assert world.sent == []


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [
        (Budget(max_credits=9), Verdict.OVER_TOTAL),
        (Budget(max_credits_per_day=9), Verdict.OVER_DAY),
        (Budget(max_credits_per_job=9), Verdict.OVER_JOB),
    ],
)
async def test_what_does_not_fit_is_neither_sent_nor_reserved(budget: Budget, verdict: Verdict) -> None:
    world = World.of(A, budget=budget)

    done = await world.submit("a")

    assert (done.not_sent, done.verdict, done.state) == (NotSent.BUDGET, verdict, State.PLANNED)
    assert world.sent == []
    assert rows(world.file, "SELECT count(*) FROM ledger") == [(0,)]


async def test_under_a_cap_one_price_never_seen_is_out_at_a_time() -> None:
    world = World.of(A, B, budget=Budget(max_credits=1000))
    await world.submits("a", LOST)
    assert (await world.submit("b")).verdict is Verdict.PROBE_OUT
    await world.submits("a", accepted("t1", reserved=40))
    waits = await world.submit("b")

    # What was reserved is no price yet: the first end has to come in.
    assert (waits.not_sent, waits.state) == (NotSent.BUDGET, State.PLANNED)
    assert world.credits() == (0, 40)


async def test_a_surprise_stops_at_the_cap_after_one_probe() -> None:
    """The real price is four times the listed one; the cap has room for nine at the listed one."""
    world = World.of(*[job(f"j{number}") for number in range(9)], budget=Budget(max_credits=95))
    sent = 0
    for number in range(9):
        world.says(accepted(f"t{number}", reserved=40))
        done = await world.submit(f"j{number}")
        if done.not_sent is not None:
            world.script.clear()
            assert done.not_sent is NotSent.BUDGET
        else:
            sent += 1

    assert sent == 1
    assert sum(world.credits()) == 40


async def test_a_probe_that_was_sent_without_a_cap_is_a_probe_under_one() -> None:
    world = World.of(A, job("b", params={"duration": 10}))
    await world.submits("a", LOST)
    world.settings = replace(world.settings, budget=Budget(max_credits=1000))

    assert (await world.submit("b")).verdict is Verdict.PROBE_OUT


async def test_what_is_sent_again_needs_no_new_room() -> None:
    world = World.of(A, budget=Budget(max_credits=10))
    await world.submits("a", LOST)
    world.settings = replace(world.settings, budget=Budget(max_credits=0))

    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
    assert world.credits() == (0, 10)


# --- crashes --------------------------------------------------------------------------------------


def die(_: httpx.Request) -> httpx.Response:
    raise Killed


@pytest.mark.parametrize("deaths", [1, 3])
async def test_a_run_that_dies_between_intent_and_answer_sends_the_same_again(deaths: int) -> None:
    world = World.of(A)
    for _ in range(deaths):
        world.says(die)
        with pytest.raises(Killed):
            await world.submit("a")
        assert world.state("a") is State.SUBMITTING
        world.clock.pass_s(100)
    assert (world.job("a").in_doubt, world.credits()) == (deaths, (0, 10))

    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
    assert len(set(world.sent)) == 1
    assert world.credits() == (0, 10)


async def test_a_send_whose_run_died_counts_as_unclear() -> None:
    world = World.of(A)
    world.says(die)
    with pytest.raises(Killed):
        await world.submit("a")

    await world.submits("a", NO)

    assert world.state("a") is State.UNCERTAIN


async def test_a_run_that_died_before_its_intent_has_sent_nothing() -> None:
    world = World.of(A)
    with pytest.raises(ZeroDivisionError), world.file.transaction() as conn:
        conn.execute("UPDATE jobs SET state = 'submitting'")
        raise ZeroDivisionError

    await world.submits("a", accepted("t1"))

    assert len(world.sent) == 1


async def test_an_answer_that_cannot_be_written_down_is_asked_for_again(tmp_path: Path) -> None:
    """The disk is full just then: the same key, the same bytes, once there is room."""
    world = World.of(A)

    def accepted_but_locked(_: httpx.Request) -> httpx.Response:
        world.file.conn.execute("PRAGMA query_only = ON")
        return accepted("t1")

    world.says(accepted_but_locked)
    with pytest.raises(Exception, match="readonly"):
        await world.submit("a")
    world.file.conn.execute("PRAGMA query_only = OFF")
    assert world.state("a") is State.SUBMITTING

    await world.submits("a", accepted("t1"))

    assert world.state("a") is State.WAITING
    assert len(set(world.sent)) == 1


async def test_an_intent_that_cannot_be_written_down_sends_nothing() -> None:
    world = World.of(A)
    world.file.conn.execute("PRAGMA query_only = ON")

    with pytest.raises(Exception, match="readonly"):
        await world.submit("a")

    assert world.sent == []


async def test_a_row_that_was_changed_while_its_submit_was_on_the_way_is_not_overwritten() -> None:
    world = World.of(A)

    def meanwhile(_: httpx.Request) -> httpx.Response:
        with world.file.transaction() as conn:
            changed(conn, world.job("a"), "", State.UNCERTAIN)
        return accepted("t1")

    world.says(meanwhile)
    with pytest.raises(jobs.StaleJob):
        await world.submit("a")

    assert (world.state("a"), world.job("a").task_id) == (State.UNCERTAIN, None)
    assert ledger.totals(world.file.conn, NAME) == (0, 10)


# --- what an earlier run left ---------------------------------------------------------------------


async def test_what_was_refused_for_certain_is_judged_by_todays_caps_and_keeps_its_key() -> None:
    world = World.of(A, B)
    await world.submits("a", TOO_FAST)
    await world.submits("b", LOST)
    async with world.context() as context:
        await context.writer.write(lambda conn: take_back(conn, context))
    assert (world.state("a"), world.state("b")) == (State.PLANNED, State.SUBMITTING)
    assert world.credits() == (0, 10)

    await world.submits("a", accepted("t1"))

    assert world.sent[0] == world.sent[2]
    assert world.credits() == (0, 20)


async def test_what_was_told_to_wait_over_night_is_judged_by_the_day_it_is_sent_on() -> None:
    """A laptop that slept with a job told to wait by a 429; another took the room of the new day."""
    world = World.of(A, B, budget=Budget(max_credits_per_day=10))
    world.price_was(A, 10)
    await world.submits("a", TOO_FAST)
    world.clock.pass_s(90_000)
    await world.submits("b", accepted("t1"))

    held = await world.submit("a")

    assert (held.verdict, held.state) == (Verdict.OVER_DAY, State.PLANNED)
    assert world.credits() == (0, 10)
    world.clock.pass_s(90_000)
    await world.submits("a", accepted("t2"))
    assert world.sent[0] == world.sent[2]


# --- any service, any history ---------------------------------------------------------------------


class Honest:
    """A service that remembers its keys and charges each once, on a line that loses things."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.tasks: dict[str, str] = {}
        self.bodies: dict[str, bytes] = {}
        self.empty = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        key, fate = request.headers["idempotency-key"], self.draw.random()
        if fate < 0.10:
            raise httpx.ConnectError("refused")
        if fate < 0.25:
            raise httpx.ReadTimeout("lost on the way there")
        if fate < 0.35:
            return refused(429, "rate_limited")
        if fate < 0.40:
            return refused(401, "api_key_revoked")
        if key in self.tasks:
            assert self.bodies[key] == request.content, "one key, two bodies"
        elif self.empty:
            return refused(402, "insufficient_credits")
        else:
            self.tasks[key], self.bodies[key] = f"t{len(self.tasks)}", request.content
        if fate < 0.60:
            raise httpx.ReadTimeout("lost on the way back")
        if fate < 0.66:
            raise Killed
        if fate < 0.72:
            return httpx.Response(502)
        return accepted(self.tasks[key])


@pytest.mark.parametrize("seed", range(30))
async def test_an_honest_service_on_a_bad_line_is_paid_once_for_each_job(seed: int) -> None:
    draw = random.Random(seed)
    service = Honest(draw)
    picture = job("p", references=[PICTURE])
    names = ["a", "b", "p"]
    world = World.of(A, B, picture)
    for _ in range(60):
        name = draw.choice(names)
        if world.state(name) in (State.WAITING, State.UNCERTAIN):
            continue
        service.empty = draw.random() < 0.2
        if draw.random() < 0.3:
            world.uploaded(PICTURE, f"https://files/{draw.random()}")
        world.clock.pass_s(draw.choice([0, 1, 10]))
        world.says(service)
        with contextlib.suppress(Killed):
            await world.submit(name)
        world.script.clear()

        charged = len(service.tasks)
        out = rows(world.file, "SELECT count(*) FROM ledger WHERE state = 'reserved'")[0][0]
        assert charged <= out, "whatever may have been charged is reserved"

    assert len(service.tasks) <= len(names)
    for name in names:
        if world.state(name) is State.WAITING:
            found = world.job(name)
            assert found.key is not None
            assert (service.tasks[found.key], service.bodies[found.key]) == (found.task_id, found.body)
