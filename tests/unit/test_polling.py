"""Which waiting job to ask about, and when; how long tasks take."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise

import pytest

from runner.model import Polling
from runner.pace.durations import Durations
from runner.pace.inspection import PollPlan
from runner.pace.polling import Waiting

POLLING = Polling(first_s=2.5, min_s=5.0, max_s=60.0)


def waiting(*seconds: float) -> Waiting:
    durations = Durations()
    durations.seed("video", seconds)
    return Waiting(POLLING, durations)


def test_the_first_poll_is_near_the_likely_end() -> None:
    line = waiting(*[90.0] * 40)
    line.add(1, shape="video", group=None, age_s=0.0, now=100.0)

    found = line.next()

    assert found is not None
    assert 180.0 <= found.due <= 200.0


def test_a_resumed_job_is_as_old_as_it_is() -> None:
    line = waiting(*[90.0] * 40)
    line.add(1, shape="video", group=None, age_s=600.0, now=100.0)

    found = line.next()

    assert found is not None
    assert found.due <= 100.0


def test_a_poll_on_its_way_is_not_chosen_again() -> None:
    line = waiting(10.0)
    line.add(1, shape="video", group=None, age_s=60.0, now=0.0)
    line.sent(1, 0.0)

    assert line.next() is None


def test_an_unclear_poll_waits_as_told_and_never_less_than_the_polling_limits() -> None:
    line = waiting(10.0)
    line.add(1, shape="video", group=None, age_s=60.0, now=0.0)
    line.sent(1, 0.0)
    line.unclear(1, 0.1, 0.0)

    found = line.next()

    assert found is not None
    assert found.due == pytest.approx(5.0)


def test_an_unanswered_look_is_taken_over_by_another_job() -> None:
    """Tasks that the service cannot tell of took the turns of all others."""
    line = Waiting(POLLING, Durations())
    for job in range(20):
        line.add(job, shape="video", group=None, age_s=0.0, now=0.0)
    line.sent(0, 100.0)
    before = line.next()
    line.unclear(0, 101.0, 60.0)

    after = line.next()

    assert before is not None
    assert before.due > 101.0
    assert after is not None
    assert (after.job != 0, after.due <= 101.0) == (True, True)


def test_a_job_that_cannot_be_asked_now_makes_room_for_the_next() -> None:
    """The engine puts off whom it has no connection for, and asks again who is next."""
    line = waiting(10.0)
    for job in range(3):
        line.add(job, shape="video", group=None, age_s=60.0 - job, now=100.0)
    first = line.next()
    line.unclear(0, 100.0, 1.0)
    line.unclear(1, 100.0, 1.0)

    second = line.next()

    assert (first and first.job, second and second.job) == (0, 2)


def test_what_is_learned_moves_a_job_that_has_to_wait() -> None:
    line = Waiting(POLLING, Durations())
    for job in range(2):
        line.add(job, shape="video", group=None, age_s=0.0, now=0.0)
    line.sent(1, 30.0)
    line.still_running(1, 30.1)
    line.sent(0, 40.0)
    line.unclear(0, 40.1, 5.0)
    line.remove(1)
    line.add(2, shape="video", group=None, age_s=0.0, now=40.1)
    line.sent(2, 190.0)
    line.ended(2, 190.1)

    found = line.next()

    assert found is not None
    assert found.job == 0
    assert found.due <= 190.1


def test_a_job_may_come_again() -> None:
    line = waiting(10.0)
    for now in (0.0, 0.0, 1.0):
        line.add(1, shape="video", group=None, age_s=now, now=now)
        line.add(2, shape="video", group=None, age_s=now, now=now)
        line.remove(2)

    found = line.next()

    assert found is not None
    assert (found.job, len(line)) == (1, 1)


def test_a_forgotten_job_is_never_chosen() -> None:
    line = waiting(10.0)
    line.add(1, shape="video", group=None, age_s=60.0, now=0.0)
    line.remove(1)

    assert line.next() is None
    assert len(line) == 0


def test_a_new_shape_learns_from_others_of_its_model() -> None:
    durations = Durations()
    for _ in range(40):
        durations.ended("480p", 29.0, 30.0, group="grok")

    curve = durations.curve("720p", group="grok")

    assert curve is not None
    assert 27.0 <= curve.age(0.5) <= 33.0


def test_what_still_runs_moves_the_curve() -> None:
    """Ten ended at 10 s; thirty are known to run at 60 s."""
    durations = Durations()
    for _ in range(10):
        durations.ended("a", 9.5, 10.0)
    for _ in range(30):
        durations.runs("a", 0.0, 60.0)

    curve = durations.curve("a")

    assert curve is not None
    assert 0.15 <= curve.ended(30.0) <= 0.4


def test_a_curve_follows_a_drift() -> None:
    durations = Durations()
    durations.seed("a", [10.0] * 300 + [30.0] * 300)

    curve = durations.curve("a")

    assert curve is not None
    assert curve.age(0.5) == pytest.approx(30.0, rel=0.05)


def test_a_plan_asks_after_each_heap_of_ends_and_not_between() -> None:
    durations = Durations()
    durations.seed("a", [4.0] * 60 + [16.0] * 60)
    curve = durations.curve("a")
    assert curve is not None

    plan = PollPlan(curve, Polling(first_s=0.2, min_s=0.2, max_s=60.0), price=0.05)

    assert plan.after(0.0) == pytest.approx(4.0, rel=0.1)
    assert plan.after(5.0) == pytest.approx(16.0, rel=0.1)


def test_ten_thousand_waiting_jobs_are_small() -> None:
    line = waiting(90.0)
    tracemalloc.start()
    for job in range(10_000):
        line.add(job, shape="video", group=None, age_s=0.0, now=float(job))
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert used_bytes / 10_000 <= 300


def test_a_thousand_resumed_jobs_are_asked_oldest_first() -> None:
    line = waiting(*[90.0] * 40)
    ages = random.Random(1).sample(range(1000, 100_000), 1000)
    for job, age_s in enumerate(ages):
        line.add(job, shape="video", group=None, age_s=float(age_s), now=0.0)
    asked = []
    for step in range(20):
        found = line.next()
        assert found is not None
        asked.append(ages[found.job])
        line.sent(found.job, step * 0.05)

    assert asked == sorted(ages, reverse=True)[:20]


def test_tasks_that_an_earlier_run_left_a_day_ago_are_each_asked_within_minutes() -> None:
    """One of them that never ends kept the others from being asked for a quarter of their age: six hours."""
    waiting = Waiting(Polling(), Durations())
    for job in range(4):
        waiting.add(job, shape="a", group="m", age_s=86_400.0 + job, now=0.0)

    asked: dict[int, float] = {}
    now = 0.0
    while len(asked) < 4 and now < 7_200.0:
        due = waiting.next()
        assert due is not None
        now = max(now, due.due)
        asked.setdefault(due.job, now)
        waiting.sent(due.job, now)
        waiting.still_running(due.job, now)

    assert sorted(asked) == [0, 1, 2, 3]
    assert max(asked.values()) <= 600.0


def test_the_few_that_take_far_longer_than_most_are_not_left_alone_for_minutes() -> None:
    durations = Durations()
    durations.seed("video", [90.0 + number for number in range(70)] + [350.0, 390.0, 470.0, 700.0])
    curve = durations.curve("video")
    assert curve is not None
    plan = PollPlan(curve, POLLING, price=0.006)

    ages = [170.0]
    while ages[-1] < 600.0:
        ages.append(plan.after(ages[-1]))

    # The longest silence, or a step of the plan.
    assert max(later - sooner for sooner, later in pairwise(ages)) <= 60.0 + 0.15 * 600.0
