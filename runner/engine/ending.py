"""A run that is to be over at a time: it submits nothing that would not be home by then."""

from __future__ import annotations

import math

from runner.engine.backlog import Backlog
from runner.pace.scheduler import Scheduler
from runner.steps.context import RunContext

LATE, MOST = 0.98, 0.9  # of the tasks like it have ended by then: one odd task does not end a night early
HOME_S = 2.0  # for its result, once the task has ended


class Ending:
    """Judges by the clock on the wall: a machine that slept through the time is late.

    Args:
        stop_at_s: When all is to be home, in seconds since 1970; None: never.
        context: Of the run.
        scheduler: Knows how long tasks take.
    """

    def __init__(self, stop_at_s: float | None, context: RunContext, scheduler: Scheduler) -> None:
        self._stop_at_s = stop_at_s
        self._context = context
        self._scheduler = scheduler

    def over(self, now: float) -> str | None:
        """Return why nothing more is begun: the time has come, and one wait between two polls more."""
        if self._left_s() > -self._context.settings.polling.min_s:
            return None
        return "the time of --stop-at has come; what still runs at the service is collected by the next run"

    def too_late(self, now: float, backlog: Backlog) -> str | None:
        """Return why nothing more is submitted: the next job would not be home in time; None where there is none."""
        if self._stop_at_s is None or (shape := backlog.next_shape) is None:
            return None
        takes_s = self.takes_s(shape, backlog)
        if takes_s <= self._left_s():
            return None
        if takes_s == 0.0:
            return "the time of --stop-at has come; the other jobs are for the next run"
        return (
            f"--stop-at: a job like the next one takes up to {takes_s:.0f} s, and would not be home in time;"
            " the others are for the next run"
        )

    def takes_s(self, shape: str, backlog: Backlog) -> float:
        """Return how long a job of a shape takes until it is home, as far as is known; 0 where nothing is."""
        curve = self._scheduler.durations.curve(shape, group=backlog.models.get(shape))
        if curve is None:
            return 0.0
        # Few ends leave a little belief in any age: no later than any was seen to end, then.
        late_s = min(max(curve.frontier_s, curve.age(MOST)), curve.age(LATE))
        return late_s + self._context.settings.polling.min_s + HOME_S

    def next_at(self, now: float) -> float:
        """Return when this is to be judged again, by the run's clock: the more often the nearer the end is."""
        if self._stop_at_s is None:
            return math.inf
        return now + min(max(self._left_s() / 10.0, 0.2), 60.0)

    def _left_s(self) -> float:
        return math.inf if self._stop_at_s is None else self._stop_at_s - self._context.clock.wall_s()
