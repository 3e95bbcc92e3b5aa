"""Which request goes next, by the wall a run stands at."""

from __future__ import annotations

import random
import statistics

import pytest

from runner.model import Polling
from runner.pace.durations import Durations
from runner.pace.polling import Waiting
from runner.pace.scheduler import Call, Choice, Offer, Scheduler
from tests.simulation import Client, World, scheduler

POLLING = Polling(first_s=0.5, min_s=1.0, max_s=10.0)


def chosen(plan: Scheduler, now: float, *, submits: int, may_poll: bool = True) -> Choice:
    plan.offer(now, Offer(submits=submits, uploads=0, may_poll=may_poll))
    return plan.choose(now)


def requests(plan: Scheduler, seconds: float, *, submits: int) -> list[Call]:
    """Carry out what is chosen for so long, where every submit is accepted and no task ever ends."""
    now, job, sent = 0.0, 0, []
    while now < seconds:
        choice = chosen(plan, now, submits=submits)
        if choice.call is None:
            now = min(max(choice.at, now + 0.001), seconds)
            continue
        plan.sent(now, choice.call, choice.job)
        plan.answered(now, choice.call, sent_at=now, rejected=False, retry_after_s=None, ok=True)
        sent.append(choice.call)
        if choice.call is Call.SUBMIT:
            plan.waiting.add(job, shape="one", age_s=0.0, now=now)
            job += 1
        elif choice.job is not None:
            plan.waiting.still_running(choice.job, now)
    return sent


def test_while_the_rate_is_scarce_submits_go_first_and_a_poll_now_and_then() -> None:
    sent = requests(scheduler(given=10.0, polling=POLLING), 120.0, submits=10_000)

    polls = sent.count(Call.POLL) / len(sent)
    assert 0.02 <= polls <= 0.05


def test_a_full_window_leaves_the_rate_to_polls() -> None:
    plan = scheduler(given=10.0, window=5, polling=POLLING)

    sent = requests(plan, 30.0, submits=1000)

    assert sent.count(Call.SUBMIT) == 5
    assert sent.count(Call.POLL) >= 15


def test_a_task_that_outlives_all_others_is_asked_about_for_ever() -> None:
    durations = Durations()
    durations.seed("one", [5.0] * 40)
    plan = scheduler(given=10.0, window=1, polling=POLLING, durations=durations)

    sent = requests(plan, 3600.0, submits=1)

    # `max_s` is 10; at most three times that where those asked about find nothing.
    assert sent.count(Call.POLL) >= 3600 / 30


def test_where_slots_are_scarce_tasks_that_fail_at_once_are_found_at_once() -> None:
    rng = random.Random(3)
    jobs = [0.3 if rng.random() < 0.3 else 30.0 for _ in range(200)]
    world = World(durations_s=jobs, rate=50.0, in_flight=20)
    client = Client(world, scheduler(given=50.0, window=20, polling=POLLING), seed=1)

    outcome = client.run()

    late = [job for job in range(60, 200) if jobs[job] < 1.0]
    lags = [outcome.found_at[job] - client.service.ends[job] for job in late]
    assert sorted(lags)[len(lags) // 2] <= 1.0


@pytest.mark.parametrize("asked_at_s", [12.0, 20.0])
def test_a_poll_is_not_made_only_because_so_much_time_has_passed(asked_at_s: float) -> None:
    durations = Durations()
    durations.seed("one", [5.0, 100.0] * 60)
    line = Waiting(Polling(first_s=0.5, min_s=1.0, max_s=5.0), durations)
    line.add(1, shape="one", group=None, age_s=0.0, now=0.0)
    line.sent(1, asked_at_s)
    line.still_running(1, asked_at_s)

    found = line.next()

    assert found is not None
    assert found.due > 60.0


def test_where_a_task_may_end_any_time_polls_are_no_farther_apart_than_told() -> None:
    durations = Durations()
    durations.seed("one", [float(seconds) for seconds in range(2, 160, 2)])
    line = Waiting(Polling(first_s=0.5, min_s=1.0, max_s=5.0), durations)
    line.add(1, shape="one", group=None, age_s=0.0, now=0.0)
    line.sent(1, 60.0)
    line.still_running(1, 60.0)

    found = line.next()

    assert found is not None
    assert found.due <= 65.0 + 1e-6


def test_the_first_of_tasks_that_all_take_the_same_is_seen_to_end_within_a_few_hundredths_of_their_time() -> (
    None
):
    """The oldest ends first, so it is the one to look at while nothing is known."""
    late_s = []
    for seed in range(6):
        world = World(durations_s=[10.0] * 400, rate=50.0, in_flight=200)
        quick = Polling(first_s=0.2, min_s=0.2, max_s=2.0)
        outcome = Client(world, scheduler(given=50.0, window=200, polling=quick), seed=seed).run()
        late_s.append(min(outcome.found_at.values()) - 10.0)
        assert outcome.polls_a_task <= 1.8

    assert statistics.mean(late_s) <= 0.25


def test_a_job_that_is_nudged_is_asked_about_at_the_next_permit() -> None:
    plan = scheduler(given=10.0, polling=POLLING)
    for job in range(3):
        plan.waiting.add(job, shape="one", age_s=0.0, now=0.0)

    plan.nudge(1, 0.0)
    plan.nudge(9, 0.0)  # not one of ours
    choice = chosen(plan, 0.0, submits=1000)

    assert (choice.call, choice.job) == (Call.POLL, 1), "before any submit, and before `first_s`"
    assert chosen(plan, 0.0, submits=0, may_poll=False).call is None


def test_polls_of_a_nudged_job_stay_apart_and_one_is_on_its_way_at_a_time() -> None:
    plan = scheduler(given=10.0, polling=POLLING)
    plan.waiting.add(1, shape="one", age_s=0.0, now=0.0)
    plan.nudge(1, 0.0)
    plan.sent(0.0, Call.POLL, 1)

    plan.nudge(1, 0.2)
    waits = chosen(plan, 5.0, submits=0)
    plan.answered(5.0, Call.POLL, sent_at=0.0, rejected=False, retry_after_s=None, ok=True)
    plan.waiting.still_running(1, 5.0)
    again = chosen(plan, 5.0, submits=0)
    plan.sent(5.0, Call.POLL, 1)
    plan.answered(5.1, Call.POLL, sent_at=5.0, rejected=False, retry_after_s=None, ok=True)
    plan.waiting.still_running(1, 5.1)
    plan.nudge(1, 5.2)
    later = chosen(plan, 5.2, submits=0)

    assert waits.call is None
    assert (again.call, again.job) == (Call.POLL, 1)
    assert (later.call, later.at) == (None, 5.0 + POLLING.min_s)


def test_a_nudge_is_a_hint_and_is_forgotten_with_its_job() -> None:
    plan = scheduler(given=10.0, polling=POLLING)
    plan.waiting.add(1, shape="one", age_s=0.0, now=0.0)

    plan.nudge(1, 0.0)
    plan.waiting.remove(1)

    assert chosen(plan, 1.0, submits=0).call is None
