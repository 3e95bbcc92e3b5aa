"""A run that was killed goes on with the limits of the account where it was, as if there had been a pause."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import replace

import pytest

from runner.engine import RunOptions
from runner.engine.limits import as_json, resume_tasks, resumed_rate
from runner.engine.run_state import RunState
from runner.host.clock import rfc3339
from runner.pace.concurrency import ConcurrencyLimit, FixedConcurrency, LearnedConcurrency
from runner.pace.durations import Durations
from runner.pace.rate import Learned, LearnedRate, Phase, RateLimiter
from runner.pace.scheduler import Call, Scheduler
from runner.service.reply import Reply
from runner.service.rivya.answers import understand
from runner.store import rates
from runner.store.rates import KnownLimits
from tests.live_engine import Silent
from tests.world import World

WALL_S = 1_764_000_000.0
OK = understand(Reply(status=200, data={"id": "gen_1", "status": "processing"}), body=b"")
REFUSED = understand(Reply(status=429, data={"error": {"code": "rate_limited"}}), body=b"")


def known(rate: RateLimiter, held_s: float = 0.0, *, sharers: int = 1) -> KnownLimits:
    """What is in the database of it, after a kill."""
    told = json.loads(json.dumps(as_json(rate.learned(), held_s=held_s, sharers=sharers)))
    return KnownLimits(per_s=rate.found_per_s, learned=told, tasks=None, tasks_at=None)


def passed_in_lives(life_s: float, *, limit: int, chance: tuple[int, ...], total_s: float) -> tuple[int, int]:
    """Send all the time, in lives of so many seconds each; return how many requests passed, and were refused.

    The service lets `limit` requests pass in any second, and refuses those whose numbers are in `chance`.
    """
    rate: RateLimiter = LearnedRate()
    since_s, seen = 0.0, rate.learned()
    window: deque[float] = deque()
    now, life_ends, sent, refused = 0.0, life_s, 0, 0
    while True:
        now = max(now, rate.next_at(now))
        if now >= total_s:
            return sent - refused, refused
        if now >= life_ends:
            rate = resumed_rate(given_per_s=None, known=known(rate, rate.held_s - since_s), now=now)
            since_s, seen, life_ends = 0.0, rate.learned(), now + life_s
            continue
        rate.sent(now)
        sent += 1
        while window and window[0] <= now - 1.0:
            window.popleft()
        if len(window) >= limit or sent in chance:
            refused += 1
            rate.refused(now, sent_at=now, retry_after_s=None, draw=0.5)
        else:
            window.append(now)
            rate.passed(now, sent_at=now)
        if rate.learned() is not seen:
            since_s, seen = rate.held_s, rate.learned()


@pytest.mark.parametrize(
    ("limit", "chance"), [(20, (5,)), (20, (5, 30, 31, 80)), (20, ()), (4, ()), (100, (3, 40))]
)
@pytest.mark.parametrize("life_s", [0.6, 1.0, 3.0])
def test_a_search_that_is_cut_into_lives_finds_the_limit_as_an_unbroken_one_does(
    life_s: float, limit: int, chance: tuple[int, ...]
) -> None:
    """One chance refusal after five requests, and lives too short for the next step up, held it at 3.5/s for ever."""
    unbroken, refused = passed_in_lives(math.inf, limit=limit, chance=chance, total_s=90.0)

    cut, refused_cut = passed_in_lives(life_s, limit=limit, chance=chance, total_s=90.0)

    assert cut >= 0.8 * unbroken
    assert refused_cut <= 2 * refused + 10


@pytest.mark.parametrize("sharers", [1, 2, 5])
def test_what_runs_side_by_side_have_found_is_the_rate_of_the_whole_account(sharers: int) -> None:
    rate = LearnedRate(found_per_s=10.0)
    alone_per_s = rate.rate_per_s
    rate.share_with(sharers)

    after = resumed_rate(given_per_s=None, known=known(rate, sharers=sharers), now=0.0)

    assert after.rate_per_s == pytest.approx(alone_per_s)
    assert after.found_per_s == pytest.approx(10.0)


def test_a_resumed_run_sends_its_first_request_at_once_and_the_next_at_the_rate_that_was_found() -> None:
    rate = LearnedRate(found_per_s=10.0)

    after = resumed_rate(given_per_s=None, known=known(rate, held_s=5.0), now=100.0)
    first = after.next_at(100.0)
    after.sent(100.0)

    assert first < 100.001
    assert after.next_at(100.0) == pytest.approx(
        100.0 + 1.0 / rate.rate_per_s, abs=0.02
    )  # it keeps to its grid


@pytest.mark.parametrize("held_s", [0.06, 0.13, 0.149, 0.5, 1.234, 5.0])
def test_the_time_spent_at_a_rate_is_told_in_full(held_s: float) -> None:
    """Else many short lives would never come to the next step up."""
    before = known(LearnedRate(found_per_s=10.0), held_s)

    after = resumed_rate(given_per_s=None, known=before, now=100.0)

    assert after.held_s == pytest.approx(held_s)
    assert 99.9 < after.next_at(100.0) < 100.001


def test_a_rate_that_is_given_is_the_rate_whatever_was_found() -> None:
    after = resumed_rate(given_per_s=20.0, known=known(LearnedRate(found_per_s=3.0), held_s=5.0), now=0.0)

    assert after.rate_per_s > 19.0


def test_a_database_that_tells_the_limit_only_is_believed() -> None:
    old = KnownLimits(per_s=10.0, learned=None, tasks=None, tasks_at=None)

    assert resumed_rate(given_per_s=None, known=old, now=0.0).found_per_s == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("limit", "tasks", "age_s", "size"),
    [
        (LearnedConcurrency(), 12, 0.5, 12.0),
        (LearnedConcurrency(), 12, 100.0, 12.0),
        (LearnedConcurrency(), 12, 3600.0, math.inf),  # of an hour ago: it may be another by now
        (LearnedConcurrency(), None, 0.5, math.inf),
        (FixedConcurrency(30), 12, 0.5, 30.0),
    ],
)
def test_a_number_of_tasks_that_was_met_a_moment_ago_is_kept_to(
    limit: ConcurrencyLimit, tasks: int | None, age_s: float, size: float
) -> None:
    met = KnownLimits(per_s=None, learned=None, tasks=tasks, tasks_at=rfc3339(WALL_S - age_s))

    resume_tasks(limit, met, now=50.0, wall_s=WALL_S)

    assert limit.size == size
    assert limit.closed_until <= 50.0


@pytest.mark.anyio
@pytest.mark.parametrize(("answer", "found"), [(OK, False), (REFUSED, True)])
async def test_what_is_learned_is_written_while_the_run_goes_on(answer: object, found: bool) -> None:
    """A run that is killed a second later has learned it for the next one, also where no limit was met yet."""
    world = World()
    rate, tasks = LearnedRate(), LearnedConcurrency()
    at_service = Scheduler(polling=world.settings.polling, rate=rate, tasks=tasks, durations=Durations())
    async with world.context() as context:
        run_state = RunState(context, at_service, RunOptions(), Silent(), lambda: None)
        for _ in range(4):
            world.clock.pass_s(0.4)
            at_service.sent(run_state.now(), Call.POLL, 1)
            run_state.answered(Call.POLL, answer, run_state.now())  # type: ignore[arg-type]  # one of the two
        tasks.refused(run_state.now(), 7, retry_after_s=None)
        run_state.answered(Call.POLL, REFUSED, run_state.now())
        await context.writer.flush()
        kept = rates.find(world.file.conn, context.account.name)

    assert kept is not None
    assert kept.per_s == at_service.found_rate
    assert (kept.per_s is not None) or not found
    assert kept.learned is not None
    assert kept.learned["pace"] == pytest.approx(rate.rate_per_s)
    assert kept.tasks == 7


def test_all_that_is_learned_survives_the_way_through_the_database() -> None:
    learned = Learned(phase=Phase.CLIMB, pace=7.0, found=8.0, step=0.03, quiet=2, before=6.5)
    rate = LearnedRate()

    for each in (learned, replace(learned, found=None, before=math.inf)):
        rate.restore(each)
        assert resumed_rate(given_per_s=None, known=known(rate), now=0.0).learned() == each
