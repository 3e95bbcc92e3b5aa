"""Too many at the service, told from too fast."""

from __future__ import annotations

import pytest

from runner.model import Polling
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.limits import AccountLimits
from runner.pace.rejections import Cause, Response
from tests.simulation import Client, World, oracle_s, scheduler

POLLING = Polling(first_s=0.2, min_s=0.2, max_s=2.0)


def test_a_given_number_is_never_passed() -> None:
    world = World(durations_s=[3.0] * 200, rate=50.0)

    outcome = Client(world, scheduler(given=50.0, window=30, polling=POLLING)).run()

    assert outcome.most_in_flight == 30
    assert outcome.rejected == 0


@pytest.mark.parametrize("retry_after", ["seconds", "exact", "none"])
@pytest.mark.parametrize("given", [20.0, None])
def test_a_hidden_number_is_found_with_few_refusals(given: float | None, retry_after: str) -> None:
    """100 tasks of 5 s, at most 50 at once and 20 requests a second, nobody tells."""
    world = World(durations_s=[5.0] * 100, rate=20.0, in_flight=50, retry_after=retry_after)

    outcome = Client(world, scheduler(given=given, polling=POLLING), seed=2).run()

    assert outcome.makespan_s <= 25.0
    assert outcome.rejected <= 40


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_long_tasks_behind_a_hidden_number_keep_the_rate(seed: int) -> None:
    """The wait asked for is as long as a task: taken for a rate, it would be one request a minute.

    120 tasks fill 20 slots six times: a slot that is empty for a moment too long costs a seventh time.
    """
    world = World(durations_s=[60.0] * 120, rate=20.0, in_flight=20)
    plan = scheduler(polling=Polling(first_s=1.0, min_s=1.0, max_s=10.0))

    outcome = Client(world, plan, seed=seed).run()

    assert outcome.makespan_s <= 1.05 * 6 * 60.0
    assert plan.limits.rate_per_s > 10.0
    assert plan.tasks.size <= 22


def test_a_rate_is_not_taken_for_a_number() -> None:
    """Polls pass now and then while the limit of the rate refuses submits."""
    world = World(durations_s=[4.0] * 600, rate=20.0, kind="log", window_s=10.0, retry_after="exact")
    plan = scheduler(polling=POLLING)

    outcome = Client(world, plan, seed=3).run()

    assert outcome.makespan_s <= 1.3 * 1200 / 20.0


@pytest.mark.parametrize("tasks", [(300, 20.0, 30, 20.0), (300, 10.0, 100, 50.0)])
def test_refusals_that_are_only_ever_about_submits_are_not_the_rate(
    tasks: tuple[int, float, int, float],
) -> None:
    """Each of them could be: it is brief, or not the first. All of them together could not."""
    jobs, typical_s, in_flight, rate = tasks
    world = World(durations_s=[typical_s] * jobs, rate=rate, in_flight=in_flight)
    polling = POLLING if typical_s < 15 else Polling(first_s=1.0, min_s=1.0, max_s=10.0)

    took_s = [Client(world, scheduler(polling=polling), seed=seed).run().makespan_s for seed in range(3)]

    # Three waves of tasks: one slot that is empty for a moment too long makes it four.
    assert max(took_s) <= 1.25 * oracle_s(world)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tasks_that_have_ended_unseen_are_not_counted_against_a_number(seed: int) -> None:
    """The wait asked for is the end of the first task, and a window of the rate would look the same at first."""
    world = World(durations_s=[10.0] * 500, rate=50.0, in_flight=200)

    outcome = Client(world, scheduler(given=50.0, polling=POLLING), seed=seed).run()

    assert outcome.makespan_s <= 1.2 * oracle_s(world)


def test_a_number_that_is_lowered_is_believed_in_the_end() -> None:
    window = ConcurrencyLimit()
    window.refused(0.0, 30, retry_after_s=None)
    now, refused = 1.0, 0
    while now < 600.0:
        if window.room(now, 20):
            window.refused(now, 20, retry_after_s=1.0)
            refused += 1
        now += 0.1

    assert refused <= 15
    assert window.size <= 21


def test_what_is_full_says_when_it_is_tried_again() -> None:
    window = ConcurrencyLimit()
    window.refused(0.0, 10, retry_after_s=5.0)

    assert window.opens_at(9) == 5.0
    assert not window.room(window.opens_at(10) - 0.1, 10)
    assert window.room(window.opens_at(10), 10)
    assert ConcurrencyLimit(10).opens_at(10) == float("inf")


def test_a_number_that_is_raised_is_found_out() -> None:
    window = ConcurrencyLimit()
    window.refused(0.0, 10, retry_after_s=None)
    now, in_flight = 1.0, 10
    while now < 120.0:
        if window.room(now, in_flight):
            in_flight += 1
            window.sent(now, in_flight - 1)
        now += 0.1

    assert in_flight >= 40


def test_a_number_that_stays_is_tried_ever_more_seldom() -> None:
    window = ConcurrencyLimit()
    window.refused(0.0, 10, retry_after_s=None)
    now, tries = 1.0, []
    while now < 1000.0:
        if window.room(now, 10):
            tries.append(now)
            window.refused(now, 10, retry_after_s=None)
        now += 0.1

    assert len(tries) <= 15
    assert tries[-1] - tries[-2] > 3 * tries[0]


def test_a_refused_poll_takes_back_a_hasty_conclusion() -> None:
    """Twenty were met long ago; two refusals at fewer look like a smaller number, until a poll is refused as well."""
    limits = AccountLimits(given_per_s=10.0)
    limits.tasks.refused(0.0, 20, retry_after_s=None)
    causes = [
        limits.answered(
            Response(now=now, sent_at=now, rejected=True, submit=True, in_flight=there, running=there)
        )
        for now, there in ((100.0, 18), (101.5, 17))
    ]
    lowered = limits.tasks.size

    limits.answered(Response(now=102.0, sent_at=102.0, rejected=True))

    assert causes == [Cause.TOO_MANY, Cause.TOO_MANY]
    assert (lowered, limits.tasks.size) == (17, 20)
