"""Asking the pacer changes nothing: a run in which it is asked all the time is the same run."""

from __future__ import annotations

import random

import pytest

from runner.pace.scheduler import Choice, Offer, Scheduler
from tests.simulation import Client, World, draw_durations, scheduler


class Asked(Scheduler):
    """A scheduler of which every question is asked, at odd times, before each of its answers."""

    def choose(self, now: float) -> Choice:
        for later_s in (0.0, 0.3, 7.0, 1000.0):
            at = now + later_s
            super().choose(at)
            self.limits.next_at(at)
            self.limits.as_kept()
            _ = (self.limits.wants_polls, self.limits.counts, self.limits.has_permit(at))
            waiting = self.waiting
            waiting.next()
            waiting.nudged()
            waiting.any_allowed(at)
            for entry in list(waiting._jobs.values())[:3]:
                waiting.likely(entry, at)
            for tasks in (0, 5, 500):
                self.tasks.room(at, tasks)
                self.tasks.opens_at(tasks)
            _ = (self.in_flight, self.limits.rate_per_s, self.limits.found_per_s)
        return super().choose(now)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("kind", ["bimodal", "failing"])
def test_asking_changes_nothing(given: bool, kind: str) -> None:
    durations_s = draw_durations(kind, 80, 12.0, random.Random(4))
    world = World(durations_s=durations_s, rate=8.0, in_flight=25, kind="log", lost=0.05)
    limits = (8.0, 25) if given else (None, None)
    plain, asked = (scheduler(given=limits[0], window=limits[1]) for _ in range(2))
    asked.__class__ = Asked

    outcomes = [Client(world, plan, seed=3).run() for plan in (plain, asked)]

    assert outcomes[0] == outcomes[1]


def test_what_is_offered_is_not_taken() -> None:
    plan = scheduler(given=10.0)
    plan.offer(0.0, Offer(submits=1, uploads=0))

    assert plan.choose(0.0) == plan.choose(0.0)
