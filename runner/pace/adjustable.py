"""Limits that a person may change while a run goes on: one of the rate, one of the tasks at once.

Each wraps the limit of the run. A number that the manifest gave is replaced; of one that is found, the number is a
ceiling, and what is found is kept for later runs as it is.
"""

from __future__ import annotations

import math

from runner.pace.concurrency import ConcurrencyLimit, FixedConcurrency
from runner.pace.rate import FixedRate, RateLimiter


class AdjustableRate:
    """A `RateLimiter` with a ceiling that may change; None: none."""

    def __init__(self, inner: RateLimiter) -> None:
        self._inner = inner
        self._ceiling_per_s = math.inf  # of all runs of the account together
        self._set_per_s = self._kept_per_s = math.inf  # the lower of the two is that
        self._sharers = 1
        self._last = -math.inf

    def set(self, per_s: float | None) -> None:
        """Allow so many requests a second; None: as the manifest says."""
        if isinstance(self._inner, FixedRate):
            self._inner.give(per_s)
        else:
            self._set_per_s = math.inf if per_s is None else per_s
            self._ceiling_per_s = min(self._set_per_s, self._kept_per_s)

    def keep_below(self, per_s: float | None) -> None:
        """Look for no higher rate than so many requests a second, and never for a higher one than before; None: do."""
        self._kept_per_s = math.inf if per_s is None else min(per_s, self._kept_per_s)
        self._ceiling_per_s = min(self._set_per_s, self._kept_per_s)

    @property
    def _gap_s(self) -> float:
        return self._sharers / self._ceiling_per_s

    @property
    def rate_per_s(self) -> float:
        return min(self._inner.rate_per_s, self._ceiling_per_s / self._sharers)

    @property
    def found_per_s(self) -> float | None:
        return self._inner.found_per_s

    @property
    def held_s(self) -> float:
        return self._inner.held_s

    @property
    def opens_at(self) -> float:
        return self._inner.opens_at

    def next_at(self, now: float) -> float:
        at = self._inner.next_at(now)
        return at if self._ceiling_per_s == math.inf else max(at, self._last + self._gap_s)

    def is_slow(self, now: float) -> bool:
        return self._inner.is_slow(now)

    def share_with(self, sharers: int) -> None:
        self._sharers = sharers
        self._inner.share_with(sharers)

    def sent(self, now: float) -> None:
        # Kept to on the average: a request that went a little late does not make all later ones late.
        self._last = (
            now if self._ceiling_per_s == math.inf else max(now - self._gap_s, self._last + self._gap_s)
        )
        self._inner.sent(now)

    def passed(self, now: float, *, sent_at: float) -> None:
        self._inner.passed(now, sent_at=sent_at)

    def refused(
        self, now: float, *, sent_at: float, retry_after_s: float | None, draw: float, learn: bool = True
    ) -> None:
        self._inner.refused(now, sent_at=sent_at, retry_after_s=retry_after_s, draw=draw, learn=learn)

    def learned(self) -> object:
        return self._inner.learned()

    def restore(self, learned: object) -> None:
        self._inner.restore(learned)


class AdjustableConcurrency:
    """A `ConcurrencyLimit` with a ceiling that may change; None: none. `size` is what the service is known to take."""

    def __init__(self, inner: ConcurrencyLimit) -> None:
        self._inner = inner
        self._ceiling = self._set = self._kept = math.inf

    @property
    def given(self) -> float:
        """How many tasks the manifest, or a person, allows at once; infinite where neither says."""
        fixed = self._inner.size if isinstance(self._inner, FixedConcurrency) else math.inf
        return min(fixed, self._set)

    def keep_below(self, tasks: float) -> None:
        """Have no more tasks than this part of them: others have the rest."""
        self._kept = tasks
        self._ceiling = min(self._set, self._kept)

    def set(self, tasks: int | None) -> None:
        """Allow so many tasks at once; None: as the manifest says."""
        if isinstance(self._inner, FixedConcurrency):
            self._inner.give(tasks)
        else:
            self._set = math.inf if tasks is None else tasks
            self._ceiling = min(self._set, self._kept)

    @property
    def size(self) -> float:
        return self._inner.size

    @property
    def closed_until(self) -> float:
        return self._inner.closed_until

    def room(self, now: float, in_flight: int) -> bool:
        return in_flight < self._ceiling and self._inner.room(now, in_flight)

    def opens_at(self, in_flight: int) -> float:
        return self._inner.opens_at(in_flight) if in_flight < self._ceiling else math.inf

    def sent(self, now: float, in_flight: int) -> None:
        self._inner.sent(now, in_flight)

    def refused(self, now: float, in_flight: int, *, retry_after_s: float | None) -> None:
        self._inner.refused(now, in_flight, retry_after_s=retry_after_s)

    def lift(self) -> None:
        self._inner.lift()
