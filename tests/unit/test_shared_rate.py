"""One rate for all runs of an account: permits from one limiter that is written down, in virtual time."""

from __future__ import annotations

import json
import math
import random

import pytest

from runner.pace.limits import AccountLimits
from runner.pace.rate import Rate
from runner.pace.rejections import Response
from runner.pace.shared import VOID_S, Asks, SharedLimits, grant
from tests.bench.several import most_in_a_second
from tests.simulation import Outcome, Timeline, World, run_several, shared_by

HOUR = 3600.0


def world(rate: float, *, jobs: int = 300, kind: str = "log") -> World:
    return World(durations_s=[5.0] * jobs, rate=rate, kind=kind)


def use(outcome: Outcome, rate: float, since_s: float, until_s: float) -> float:
    """Return the part of the limit that was used between two times."""
    return sum(since_s <= at < until_s for at in outcome.passed_at) / ((until_s - since_s) * rate)


@pytest.mark.parametrize("rate", [20.0, 60.0])
def test_three_keep_to_a_given_limit_in_every_second_and_use_it(rate: float) -> None:
    outcome = run_several(world(rate * 1.1, jobs=int(rate * 15)), 3, given=rate)

    assert outcome.rejected == 0
    assert most_in_a_second(outcome.passed_at) <= 1.1 * rate
    assert use(outcome, rate, 1.0, 20.0) >= 0.95


def test_what_one_that_dies_has_had_is_the_others_at_once() -> None:
    outcome = run_several(world(22.0, jobs=400), 3, given=20.0, dies=(1, 10.0))

    assert use(outcome, 20.0, 10.5, 20.0) >= 0.95
    assert most_in_a_second(outcome.passed_at) <= 22


def test_one_that_comes_later_waits_for_nobody_and_passes_no_limit() -> None:
    outcome = run_several(world(22.0, jobs=400), 3, given=20.0, begin_apart_s=4.0)

    assert outcome.rejected == 0
    assert most_in_a_second(outcome.passed_at) <= 22
    assert use(outcome, 20.0, 9.0, 20.0) >= 0.95


@pytest.mark.slow
def test_all_look_for_the_limit_as_one() -> None:
    """Three governors of their own would each look for a third, and be refused thrice as often each time."""
    worlds = [world(20.0, jobs=240, kind=kind) for kind in ("bucket", "log")]
    several = [run_several(each, 3) for each in worlds]
    alone = [run_several(each, 1) for each in worlds]

    assert sum(each.rejected for each in several) <= 1.6 * sum(each.rejected for each in alone)
    assert sum(each.makespan_s for each in several) <= 1.1 * sum(each.makespan_s for each in alone)


def test_a_refusal_that_one_was_told_of_holds_up_all() -> None:
    timeline = Timeline()
    one, two = shared_by(2, given=20.0, timeline=timeline)

    def until(at: float) -> None:
        while timeline.coming <= at:
            timeline.now = timeline.coming
            timeline.happen()
        timeline.now = at

    assert not one.has_permit(0.0)
    until(0.02)
    assert one.has_permit(0.02)
    one.sent(0.02)
    one.answered(Response(now=0.2, sent_at=0.02, rejected=True, retry_after_s=30.0))
    timeline.now = 0.2
    until(0.3)
    assert one.next_at(0.3) > 30.0
    assert not two.has_permit(0.3)
    until(0.4)
    assert two.next_at(0.4) > 30.0
    assert not two.has_permit(0.4)


def test_a_permit_that_was_not_used_in_time_is_void() -> None:
    timeline = Timeline()
    (rate,) = shared_by(1, given=20.0, timeline=timeline)
    assert not rate.has_permit(0.0)
    while timeline.coming < 1.0:
        timeline.now = timeline.coming
        timeline.happen()
    assert rate.has_permit(timeline.now)
    assert not rate.has_permit(timeline.now + 2 * VOID_S)


def test_a_person_sets_the_rate_of_one_manifest_and_that_of_another_stays() -> None:
    known = AccountLimits(rate=Rate.known(50.0)).as_kept()

    kept, told = grant(None, Asks(ceiling_per_s=10.0, number=5, known=known), now=0.0)
    assert len(told.permits) == 1
    kept, told = grant(kept, Asks(ceiling_per_s=10.0, number=5), now=0.05)
    assert told.again_at > 0.08
    _, told = grant(kept, Asks(number=5), now=1.0)
    assert len(told.permits) > 1


def refused(now: float, in_flight: int) -> Response:
    return Response(
        now=now, sent_at=now, rejected=True, submit=True, in_flight=in_flight, running=float(in_flight)
    )


@pytest.mark.parametrize(("later_s", "tasks"), [(1.0, 20.0), (60.0, math.inf)])
def test_a_refusal_is_judged_by_what_all_have_at_the_service(later_s: float, tasks: float) -> None:
    """Twenty were met as the most. One has fifteen there, another is refused with five; later the first is gone."""
    kept, _ = grant(None, Asks(run="one", in_flight=15, number=0, known_tasks=20), now=0.0)

    kept, _ = grant(kept, Asks(run="two", in_flight=5, number=0, told=(refused(later_s, 5),)), now=later_s)

    limits = AccountLimits()
    limits.take_up(kept)
    assert limits.tasks.size == tasks


def test_a_number_of_tasks_that_one_run_meets_is_that_of_all_and_each_has_a_part_of_it() -> None:
    kept, _ = grant(None, Asks(run="1", in_flight=6, number=0, known_tasks=8), now=0.0)
    kept, told = grant(kept, Asks(run="2", in_flight=2, number=0, told=(refused(5.0, 2),)), now=5.0)
    one, two, three = (SharedLimits(run=run) for run in ("1", "2", "3"))
    for each in (one, two, three):
        each.granted(told, server_s=5.0, asked_at=5.0, answered_at=5.0)
    now = one.tasks.closed_until + 0.1

    assert one.tasks.size == two.tasks.size == 8
    assert two.next_at(5.0) <= 5.0, "polls go on"
    assert one.tasks.room(now, 5)
    assert not one.tasks.room(now, 6)
    assert not two.tasks.room(now, 2)
    assert three.tasks.room(now, 1), "one that comes when all have their tasks finds room for some"
    assert not three.tasks.room(now, 2)


@pytest.mark.parametrize("given", [None, 20.0])
def test_a_limiter_that_is_written_down_and_taken_up_goes_on_as_if_it_were_the_same(
    given: float | None,
) -> None:
    dice = random.Random(7)
    whole, other, now = AccountLimits(given_per_s=given), AccountLimits(given_per_s=given), 1000.0
    for _ in range(600):
        text = json.dumps(other.as_kept())
        assert len(text) < 20_000
        other = AccountLimits(given_per_s=given)
        other.take_up(json.loads(text))
        now = max(now, whole.next_at(now)) + dice.choice((0.0, 0.0, 0.004, 0.3))
        draw, refused = dice.random(), dice.random() < 0.02
        for each in (whole, other):
            each.sent(now)
            each.answered(
                Response(now=now + 0.03, sent_at=now, rejected=refused, retry_after_s=1.0, draw=draw)
            )
        assert other.next_at(now) == pytest.approx(whole.next_at(now), abs=1e-3)
        assert other.rate_per_s == pytest.approx(whole.rate_per_s, rel=0.02)


def test_nothing_is_asked_for_before_something_is_to_be_sent() -> None:
    rate = SharedLimits(run="1", given_per_s=20.0)
    assert rate.asks() is None
    assert rate.next_at(5.0) <= 5.0
    assert not rate.has_permit(5.0)
    assert rate.next_at(5.0) == float("inf")
    asks = rate.asks()
    assert asks is not None
    assert asks.number >= 1
