"""What a run knows of the account's limits, kept as it learns, and taken up by the run after it.

A run may be killed at any moment, and the next one is to go on as if there had been a pause only: at the same rate, and
with the time already spent there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from runner.host.clock import epoch
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.numbers import as_kept, taken_up
from runner.pace.rate import Rate
from runner.pace.scheduler import Scheduler
from runner.steps.context import RunContext
from runner.store import rates
from runner.store.connection import Connection
from runner.store.rates import KnownLimits

KEEP_EVERY_S = 0.5  # the time spent at a rate is written so often; a refusal, or another rate, at once
ANOTHER = 0.1  # of the rate: so much faster or slower is another one
TASKS_FOR_S = 120.0  # so long after it was met a number of tasks is taken up


class LimitsKept:
    """Keeps in the database what a scheduler learns of the account's limits.

    Args:
        context: Of the run.
        scheduler: Whose limits they are.
    """

    def __init__(self, context: RunContext, scheduler: Scheduler) -> None:
        self._context = context
        self._limits = scheduler.limits
        self._kept: object = None
        self._kept_at = -math.inf
        self._kept_per_s = self._limits.rate_per_s
        self._size = self._limits.tasks.found.size

    def answered(self, now: float, *, refused: bool) -> None:
        """An answer came: keep what it has taught, at once where that is much.

        Args:
            now: The run's monotonic clock, in seconds.
            refused: Whether it was a 429.
        """
        per_s = self._limits.rate_per_s
        another = abs(per_s / self._kept_per_s - 1.0) >= ANOTHER
        if refused or another or now - self._kept_at >= KEEP_EVERY_S:
            self._kept_at, self._kept_per_s = now, per_s
            self._context.writer.write_soon(self.news())

    def news(self) -> Callable[[Connection], None]:
        """Return what writes down, in any transaction, what is new since it was asked for last."""
        account, now = self._context.account.name, self._context.now()
        limits, size = self._limits, self._limits.tasks.found.size
        found, told = limits.found_per_s, as_kept(limits.rate) if limits.finds_rate else None
        rate_is_new, size_is_new = told is not None and told != self._kept, size != self._size
        self._kept, self._size = told, size

        def write(conn: Connection) -> None:
            if rate_is_new:
                rates.save(conn, account, found, now, learned=told)
            if size_is_new:
                rates.save_tasks(conn, account, None if math.isinf(size) else int(size), now)

        return write


def resumed_rate(known: KnownLimits | None) -> Rate | None:
    """Return the rate as those before this run have left it; None where none has met it."""
    if known is None:
        return None
    if known.learned is not None and "phase" not in known.learned:  # as older versions have written it
        return taken_up(Rate, known.learned)
    return Rate.known(known.per_s) if known.per_s else None


def resume_tasks(tasks: ConcurrencyLimit, known: KnownLimits | None, *, now: float, wall_s: float) -> None:
    """Tell a limit of tasks what those before this run have met, if that was not long ago.

    Args:
        tasks: The limit; one that was given stays as it is.
        known: What those before knew.
        now: The run's monotonic clock, in seconds.
        wall_s: The clock on the wall, in seconds since 1970.
    """
    if known is None or known.tasks is None or not math.isinf(tasks.size):
        return
    age_s = max(wall_s - (epoch(known.tasks_at) or -math.inf), 0.0)
    if age_s <= TASKS_FOR_S:
        tasks.refused(now - age_s, known.tasks, retry_after_s=None)
