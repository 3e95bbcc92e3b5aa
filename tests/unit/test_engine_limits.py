"""A run that was killed goes on with the limits of the account where it was, as if there had been a pause."""

from __future__ import annotations

import json
import math
from collections import deque

import pytest

from runner.engine import RunOptions
from runner.engine.limits import resume_tasks, resumed_rate
from runner.engine.run_state import RunState
from runner.host.clock import rfc3339
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.durations import Durations
from runner.pace.limits import AccountLimits
from runner.pace.numbers import as_kept
from runner.pace.rate import Rate
from runner.pace.rejections import Response
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


def known(limits: AccountLimits) -> KnownLimits:
    """What is in the database of it, after a kill."""
    told = json.loads(json.dumps(as_kept(limits.rate), allow_nan=False))
    return KnownLimits(per_s=limits.found_per_s, learned=told, tasks=None, tasks_at=None)


def passed_in_lives(life_s: float, *, limit: int, chance: tuple[int, ...], total_s: float) -> tuple[int, int]:
    """Send all the time, in lives of so many seconds each; return how many requests passed, and were refused.

    The service lets `limit` requests pass in any second, and refuses those whose numbers are in `chance`.
    """
    limits = AccountLimits()
    window: deque[float] = deque()
    now, life_ends, sent, refused = 0.0, life_s, 0, 0
    while True:
        now = max(now, limits.next_at(now))
        if now >= total_s:
            return sent - refused, refused
        if now >= life_ends:
            limits = AccountLimits(rate=resumed_rate(known(limits)))
            life_ends = now + life_s
            continue
        limits.sent(now)
        sent += 1
        while window and window[0] <= now - 1.0:
            window.popleft()
        rejected = len(window) >= limit or sent in chance
        refused += rejected
        if not rejected:
            window.append(now)
        limits.answered(Response(now=now, sent_at=now, rejected=rejected))


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
    limits = AccountLimits(rate=Rate.known(10.0))
    alone_per_s = limits.rate_per_s
    limits.share_with(sharers)

    after = AccountLimits(rate=resumed_rate(known(limits)))

    assert after.rate_per_s == pytest.approx(alone_per_s)
    assert after.found_per_s == pytest.approx(10.0)


def test_a_resumed_run_sends_its_first_request_at_once_and_the_next_at_the_rate_that_was_found() -> None:
    limits = AccountLimits(rate=Rate.known(10.0))

    after = AccountLimits(rate=resumed_rate(known(limits)))
    first = after.next_at(100.0)
    after.sent(100.0)

    assert first < 100.001
    assert after.next_at(100.0) == pytest.approx(100.0 + 1.0 / limits.rate_per_s, abs=0.02)


@pytest.mark.parametrize("number", [1, 2, 50])
def test_the_time_spent_at_a_rate_is_told_in_full(number: int) -> None:
    """Else many short lives would never come to the next step up."""
    limits = AccountLimits(rate=Rate.known(10.0))
    for _ in range(number + 1):
        limits.sent(max(limits.next_at(0.0), 0.0))

    after = resumed_rate(known(limits))

    assert after is not None
    assert after.stepped_s == pytest.approx((number + 1) / limits.rate_per_s)


def test_a_rate_that_is_given_is_the_rate_whatever_was_found() -> None:
    given = AccountLimits(given_per_s=20.0)
    given.take_up(AccountLimits(rate=Rate.known(3.0)).as_kept())

    assert given.rate_per_s > 19.0


def test_a_database_that_tells_the_limit_only_is_believed() -> None:
    old = KnownLimits(per_s=10.0, learned=None, tasks=None, tasks_at=None)

    rate = resumed_rate(old)

    assert rate is not None
    assert rate.found_per_s == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("limit", "tasks", "age_s", "size"),
    [
        (ConcurrencyLimit(), 12, 0.5, 12.0),
        (ConcurrencyLimit(), 12, 100.0, 12.0),
        (ConcurrencyLimit(), 12, 3600.0, math.inf),  # of an hour ago: it may be another by now
        (ConcurrencyLimit(), None, 0.5, math.inf),
        (ConcurrencyLimit(30), 12, 0.5, 30.0),
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
    limits = AccountLimits()
    at_service = Scheduler(polling=world.settings.polling, limits=limits, durations=Durations())
    async with world.context() as context:
        run_state = RunState(context, at_service, RunOptions(), Silent(), lambda: None)
        for _ in range(4):
            world.clock.pass_s(0.4)
            at_service.sent(run_state.now(), Call.POLL, 1)
            run_state.answered(Call.POLL, answer, run_state.now())  # type: ignore[arg-type]  # one of the two
        limits.tasks.refused(run_state.now(), 7, retry_after_s=None)
        run_state.answered(Call.POLL, REFUSED, run_state.now())
        await context.writer.flush()
        kept = rates.find(world.file.conn, context.account.name)

    assert kept is not None
    assert kept.per_s == at_service.limits.found_per_s
    assert (kept.per_s is not None) or not found
    assert kept.learned is not None
    assert kept.learned["pace_per_s"] == pytest.approx(limits.rate_per_s)
    assert kept.tasks == 7


def test_all_that_is_learned_survives_the_way_through_the_database() -> None:
    rate = Rate(
        pace_per_s=7.0,
        found_per_s=8.0,
        step=0.03,
        quiet=2,
        before_per_s=6.5,
        stepped_s=1.2,
        cycle_s=3.4,
        sent=9,
    )

    for each in (rate, Rate(), Rate.known(10.0)):
        assert resumed_rate(known(AccountLimits(rate=each))) == each


def test_what_an_older_version_has_kept_tells_the_limit() -> None:
    old = {
        "phase": "cruise",
        "pace": 9.8,
        "found": 10.0,
        "step": 0.06,
        "quiet": 0,
        "before": None,
        "held_s": 1.2,
    }

    rate = resumed_rate(KnownLimits(per_s=10.0, learned=old, tasks=None, tasks_at=None))

    assert rate == Rate.known(10.0)
