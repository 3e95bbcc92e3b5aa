"""What a run knows of the account's limits, kept as it learns, and taken up by the run after it.

A run may be killed at any moment, and the next one is to go on as if there had been a pause only: at the same rate, in the
same phase, and with the time already spent there. That time is told to the new limiter as what it was: requests
sent at even distances, none of them refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from runner.host.clock import epoch
from runner.model import Json
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.rate import KeptRate, Learned, Phase, RateLimiter, rate_limiter
from runner.pace.scheduler import Scheduler
from runner.steps.context import RunContext
from runner.store import rates
from runner.store.connection import Connection
from runner.store.rates import KnownLimits

KEEP_EVERY_S = 0.5  # the time spent at a rate is written so often; a refusal, or another rate, at once
ANOTHER = 0.1  # of the rate: so much faster or slower is another one
TASKS_FOR_S = 120.0  # so long after it was met a number of tasks is taken up
MOST_RETOLD = 2000  # requests: 15 s at more than a hundred a second


class LimitsKept:
    """Keeps in the database what a scheduler learns of the account's limits.

    Args:
        context: Of the run.
        scheduler: Whose limits they are.
    """

    def __init__(self, context: RunContext, scheduler: Scheduler) -> None:
        self._context = context
        self._scheduler, self._rate = scheduler, scheduler.rate
        self._sharers = 1
        self._learned = self._rate.learned()
        self._since_s = 0.0  # `held_s` of the rate when it came to know that; what was retold counts
        self._kept: object = None
        self._kept_at = -math.inf
        self._kept_per_s = self._rate.rate_per_s
        self._size = scheduler.tasks.size

    def share_with(self, sharers: int) -> None:
        """So many runs share the account's rate, this one included."""
        self._look()
        self._sharers = sharers
        self._rate.share_with(sharers)
        self._learned = self._rate.learned()  # the same in other numbers

    def answered(self, now: float, *, refused: bool) -> None:
        """An answer came: keep what it has taught, at once where that is much.

        Args:
            now: The run's monotonic clock, in seconds.
            refused: Whether it was a 429.
        """
        self._look()
        another = abs(self._rate.rate_per_s / self._kept_per_s - 1.0) >= ANOTHER
        if refused or another or now - self._kept_at >= KEEP_EVERY_S:
            self._kept_at, self._kept_per_s = now, self._rate.rate_per_s
            self._context.writer.write_soon(self.news())

    def news(self) -> Callable[[Connection], None]:
        """Return what writes down, in any transaction, what is new since it was asked for last."""
        account, now = self._context.account.name, self._context.now()
        found, size = self._scheduler.found_rate, self._scheduler.tasks.size
        told = as_json(self._learned, held_s=self._rate.held_s - self._since_s, sharers=self._sharers)
        rate_is_new, size_is_new = told is not None and told != self._kept, size != self._size
        self._kept, self._size = told, size

        def write(conn: Connection) -> None:
            if rate_is_new:
                rates.save(conn, account, found, now, learned=told)
            if size_is_new:
                rates.save_tasks(conn, account, None if math.isinf(size) else int(size), now)

        return write

    def _look(self) -> None:
        learned = self._rate.learned()
        if learned is not self._learned:
            self._learned, self._since_s = learned, self._rate.held_s


def resumed_rate(*, given_per_s: float | None, known: KnownLimits | None, now: float) -> KeptRate:
    """Return the limiter of a run that goes on from where those before it were.

    Args:
        given_per_s: The rate the manifest names, in requests a second; None: it is found.
        known: What those before it knew.
        now: The run's monotonic clock, in seconds.
    """
    rate = rate_limiter(given_per_s=given_per_s, found_per_s=known.per_s if known is not None else None)
    if given_per_s is None and known is not None and known.learned is not None:
        _retell(rate, known.learned, now)
    return rate


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


def as_json(learned: object, *, held_s: float, sharers: int) -> dict[str, Json] | None:
    """Return what a limiter has learned as it is kept: rates of the whole account. None: there is nothing to keep.

    Args:
        learned: What it said.
        held_s: For how long it has known just that while only the rate held requests back, in seconds.
        sharers: Runs among which the rate is shared.
    """
    if not isinstance(learned, Learned):
        return None
    whole = asdict(_times(learned, sharers))
    return {**whole, "before": None if math.isinf(learned.before) else whole["before"], "held_s": held_s}


def _retell(rate: RateLimiter, told: Mapping[str, Any], now: float) -> None:
    parts = {**told, "phase": Phase(told["phase"])}
    held_s = float(parts.pop("held_s"))
    parts["before"] = math.inf if parts["before"] is None else parts["before"]
    learned = Learned(**parts)
    rate.restore(learned)
    gap_s = 1.0 / learned.pace
    held_s = min(held_s, MOST_RETOLD * gap_s)
    number = round(held_s / gap_s)
    if number:
        # The last of them so long ago that the next may go now.
        last_at = now - gap_s - max(number * gap_s - held_s, 0.0)
        for back in range(number, -1, -1):
            rate.sent(last_at - back * held_s / number)


def _times(learned: Learned, factor: float) -> Learned:
    return replace(
        learned,
        pace=learned.pace * factor,
        found=None if learned.found is None else learned.found * factor,
        before=learned.before * factor,
    )
