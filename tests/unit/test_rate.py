"""One rate for all, one gate for all."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runner.model import Polling
from runner.pace.limits import AccountLimits
from runner.pace.rate import RATE, Rate
from runner.pace.rejections import Response
from tests.simulation import Client, Outcome, World, oracle_s, scheduler

FOR_EVER_S = 1e6


def flood(
    seconds: float, *, rate: float, given: float | None = None, found: float | None = None, **world: object
) -> Outcome:
    """Send all the time for so long, to a service that lets `rate` requests a second pass."""
    jobs = [FOR_EVER_S] * int(rate * seconds * 1.3 + 2000)
    client = Client(
        World(durations_s=jobs, rate=rate, **world),  # type: ignore[arg-type]  # one table of keywords
        scheduler(given=given, found=found),
        seed=1,
    )
    return client.run(until_s=seconds)


def times(rate: AccountLimits, number: int, *, late_s: float = 0.0) -> list[float]:
    """Send as early as allowed, or a little later, and return when."""
    now, sent = 0.0, []
    for _ in range(number):
        at = rate.next_at(now)
        if at > now:
            now = at + late_s
        rate.sent(now)
        sent.append(now)
    return sent


def refuse(
    rate: AccountLimits, now: float, *, sent_at: float, retry_after_s: float | None, draw: float = 0.5
) -> None:
    """Tell of a poll that was refused."""
    rate.answered(Response(now=now, sent_at=sent_at, rejected=True, retry_after_s=retry_after_s, draw=draw))


def test_requests_are_spread_evenly_from_the_first() -> None:
    sent = times(AccountLimits(given_per_s=10.0), 50)

    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert max(gaps) - min(gaps) < 1e-6
    assert 1 / 10.0 < gaps[0] < 1 / 9.75


def test_a_loop_that_is_always_a_little_late_loses_no_rate() -> None:
    sent = times(AccountLimits(given_per_s=20.0), 400, late_s=0.01)

    assert 399 / (sent[-1] - sent[0]) > 0.975 * 20.0


def test_a_stall_is_not_made_up_for_by_a_burst() -> None:
    rate = AccountLimits(given_per_s=20.0)
    times(rate, 5)
    now = rate.next_at(0.0) + 3.0

    rate.sent(now)

    assert rate.next_at(now) > now + 0.04


def test_idle_time_saves_up_nothing() -> None:
    rate = AccountLimits(given_per_s=20.0)
    rate.sent(0.0)

    rate.sent(60.0)

    assert rate.next_at(60.0) > 60.04


@pytest.mark.parametrize("kind", ["bucket", "window", "log"])
@pytest.mark.parametrize("window_s", [1.0, 10.0])
def test_a_given_limit_is_used_and_hardly_ever_refused(kind: str, window_s: float) -> None:
    outcome = flood(30.0, rate=40.0, given=40.0, kind=kind, window_s=window_s)

    assert outcome.use(40.0) >= 0.975
    assert outcome.per_thousand <= 1.0


@pytest.mark.parametrize(
    "retry_after", ["seconds", *(pytest.param(each, marks=pytest.mark.slow) for each in ("exact", "none"))]
)
@pytest.mark.parametrize("kind", ["bucket", "window", "log"])
def test_a_limit_found_by_an_earlier_run_is_used(kind: str, retry_after: str) -> None:
    outcome = flood(240.0, rate=20.0, found=20.0, kind=kind, window_s=1.0, retry_after=retry_after)

    # A wait rounded up to a second costs that second.
    assert outcome.use(20.0) >= (0.92 if retry_after == "seconds" else 0.94)
    assert outcome.per_thousand <= 20.0


@pytest.mark.parametrize("retry_after", [pytest.param("seconds", marks=pytest.mark.slow), "none"])
@pytest.mark.parametrize(
    ("kind", "window_s"), [("bucket", 1.0), ("window", 1.0), ("log", 1.0), ("window", 60.0)]
)
def test_an_unknown_limit_is_found_within_a_minute(kind: str, window_s: float, retry_after: str) -> None:
    outcome = flood(160.0, rate=20.0, kind=kind, window_s=window_s, retry_after=retry_after)

    assert outcome.use(20.0, after_s=60.0) >= (0.92 if retry_after == "seconds" else 0.94)
    assert outcome.per_thousand <= 20.0


@pytest.mark.parametrize("retry_after", ["seconds", "none"])
def test_a_slow_account_that_counts_the_last_ten_seconds_is_not_stormed(retry_after: str) -> None:
    """What refuses a poll is the rate, also where a submit was refused just before it."""
    world = World(durations_s=[120.0] * 500, rate=2.0, kind="log", window_s=10.0, retry_after=retry_after)
    plan = scheduler(polling=Polling(first_s=1.0, min_s=1.0, max_s=10.0))

    outcome = Client(world, plan, seed=1).run()

    assert outcome.per_thousand <= 60.0
    assert outcome.makespan_s <= 1.35 * oracle_s(world)
    assert plan.limits.rate_per_s <= 3.0


@pytest.mark.parametrize("retry_after", ["seconds", "exact", "none"])
def test_an_account_that_counts_each_gap_is_served_slower_not_in_long_waits(retry_after: str) -> None:
    """Two requests a little too close are refused, though the second in between passes."""
    world = World(durations_s=[5.0] * 100, rate=20.0, kind="bucket", burst=1, retry_after=retry_after)

    outcome = Client(world, scheduler(given=20.0, window=50), seed=1).run()

    assert outcome.makespan_s <= 25.0


def test_a_search_begins_at_ten_and_doubles_each_second() -> None:
    outcome = flood(5.0, rate=1000.0)

    assert 10 <= sum(1 for at in outcome.passed_at if at < 1.05) <= 20
    assert 200 <= len(outcome.passed_at) <= 600


def test_a_number_above_the_truth_does_no_harm() -> None:
    outcome = flood(120.0, rate=20.0, given=24.0, kind="bucket")

    assert outcome.use(20.0, after_s=30.0) >= 0.94
    assert outcome.per_thousand <= 20.0


def test_a_429_closes_the_gate_for_everyone() -> None:
    rate = AccountLimits(given_per_s=100.0)
    rate.sent(0.0)

    refuse(rate, 0.1, sent_at=0.0, retry_after_s=7.0, draw=0.5)

    assert rate.next_at(0.2) == pytest.approx(7.1)


def test_refusals_already_on_their_way_are_one_event() -> None:
    one, many = AccountLimits(rate=Rate.known(100.0)), AccountLimits(rate=Rate.known(100.0))
    for rate, refusals in ((one, 1), (many, 8)):
        times(rate, 200)
        now = rate.next_at(0.0)
        for _ in range(refusals):
            refuse(rate, now, sent_at=now - 0.05, retry_after_s=1.0, draw=0.5)

    assert many.rate_per_s == one.rate_per_s


def test_silence_about_the_wait_means_longer_waits_each_time() -> None:
    rate = AccountLimits(given_per_s=10.0)
    now, waits = 0.0, []
    for _ in range(12):
        rate.sent(now)
        refuse(rate, now, sent_at=now, retry_after_s=None, draw=0.5)
        waits.append(rate.next_at(now) - now)
        now = rate.next_at(now)

    assert waits[0] < 0.5
    assert waits == sorted(waits)
    assert waits[-1] <= 30.0


@pytest.mark.parametrize("retry_after_s", [0.0, None])
def test_no_wait_at_all_still_waits_a_little(retry_after_s: float | None) -> None:
    rate = AccountLimits(given_per_s=1000.0)
    rate.sent(0.0)

    refuse(rate, 0.0, sent_at=0.0, retry_after_s=retry_after_s, draw=0.0)

    assert rate.next_at(0.0) >= 0.05


def test_after_two_refusals_one_request_asks_for_all() -> None:
    rate = AccountLimits(given_per_s=50.0)
    rate.sent(0.0)
    refuse(rate, 0.1, sent_at=0.0, retry_after_s=1.0, draw=0.5)
    rate.sent(1.2)
    refuse(rate, 1.3, sent_at=1.2, retry_after_s=1.0, draw=0.5)

    rate.sent(2.4)
    alone_until = rate.next_at(2.4)
    rate.answered(Response(now=2.5, sent_at=2.4))

    assert alone_until > 4.0
    assert rate.next_at(2.5) == pytest.approx(2.5)


def test_a_lost_answer_does_not_keep_the_gate_half_open_for_ever() -> None:
    rate = AccountLimits(given_per_s=50.0)
    for now in (0.0, 2.0):
        rate.sent(now)
        refuse(rate, now + 0.1, sent_at=now, retry_after_s=1.0, draw=0.5)
    rate.sent(4.0)

    assert rate.next_at(4.0) <= 6.0


def test_a_share_of_the_account_is_a_share_of_the_rate() -> None:
    rate = AccountLimits(rate=Rate.known(40.0))
    rate.share_with(2)
    assert rate.rate_per_s == pytest.approx(20.0 * RATE.use)

    rate.share_with(1)

    assert rate.rate_per_s == pytest.approx(40.0 * RATE.use)
    assert rate.found_per_s == pytest.approx(40.0)


def test_nothing_is_found_until_a_limit_was_met() -> None:
    rate = AccountLimits()
    times(rate, 100)

    assert rate.found_per_s is None
