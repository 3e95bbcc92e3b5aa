"""How many tasks may be at the service at once.

A limit is asked whether there is room (`room`, `opens_at`: these change nothing) and told of what happened (`sent`,
`refused`, `lift`). There are two: one keeps to a number that was given, one finds the number. Whether a 429 is about
the number of tasks at all is not decided here (`rejections`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.pace.gate import APART_S, FORGET_S, GATE
from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencySettings:
    """Settings of the limit that is found."""

    grow_every_s: float = number(
        20.0, unit="s", serves="a number that was raised, or met by mistake, is found out"
    )


CONCURRENCY = ConcurrencySettings()


class ConcurrencyLimit:
    """How many tasks may be at the service: `size` as it is known, below a ceiling that a person or other runs may set.

    `in_flight` are the tasks there as far as we know, and submits on their way.
    """

    def __init__(self) -> None:
        self.size = math.inf  # tasks allowed at once; infinite while no limit is known
        self.closed_until = -math.inf  # when the next submit may go, whatever the number
        self._set = self._kept = math.inf
        self._grow_at = math.inf  # when one more is tried

    @property
    def given(self) -> float:
        """How many tasks the manifest, or a person, allows at once; infinite where neither says."""
        return self._set

    def set(self, tasks: int | None) -> None:
        """Allow so many tasks at once; None: as the manifest says."""
        self._set = math.inf if tasks is None else tasks

    def keep_below(self, tasks: float) -> None:
        """Have no more tasks than this part of them: others have the rest."""
        self._kept = tasks

    def room(self, now: float, in_flight: int) -> bool:
        """Whether one more task may be begun."""
        return now >= self.opens_at(in_flight)

    def opens_at(self, in_flight: int) -> float:
        """Return when one more task may be begun although none ends; infinite where that is never."""
        if in_flight >= min(self._set, self._kept):
            return math.inf
        return self.closed_until if in_flight < self.size else max(self.closed_until, self._grow_at)

    def sent(self, now: float, in_flight: int) -> None:
        """A submit goes out, with so many tasks in flight before it."""

    def refused(self, now: float, in_flight: int, *, retry_after_s: float | None) -> None:
        """A submit was refused because too many tasks are there: so many, without it."""
        self.closed_until = max(self.closed_until, now + (retry_after_s or GATE.first_wait_s))

    def lift(self) -> None:
        """What was refused was not about the number of tasks after all."""
        self.closed_until = -math.inf


def concurrency_limit(given: int | None) -> ConcurrencyLimit:
    """Return what keeps to the given number of tasks, or finds it."""
    return LearnedConcurrency() if given is None else FixedConcurrency(given)


class FixedConcurrency(ConcurrencyLimit):
    """A number that was given. Where it is refused all the same, the next submit waits as long as it was told."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._own = self.size = float(limit)

    @property
    def given(self) -> float:
        return self.size

    def set(self, tasks: int | None) -> None:
        self.size = float(tasks or self._own)


class LearnedConcurrency(ConcurrencyLimit):
    """Assumes no limit until one is met, then keeps to it, and tries a little more now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.lift()

    def lift(self) -> None:
        self.size = math.inf
        self._fits = 0.0  # so many were there for long, and none was refused
        self._doubted_at = self._refused_at = -math.inf
        self._grow_at = math.inf
        self._grow_by = 1.0
        self._every_s = self._patience_s = CONCURRENCY.grow_every_s

    def sent(self, now: float, in_flight: int) -> None:
        if in_flight < self.size:
            return
        # What passes each time was no limit at all, so go faster.
        self._fits = self.size
        self.size += self._grow_by
        self._grow_by = min(self._grow_by * 2.0, self.size)
        self._every_s = max(self._every_s / 2.0, APART_S)
        self._grow_at = now + self._every_s

    def refused(self, now: float, in_flight: int, *, retry_after_s: float | None) -> None:
        super().refused(now, in_flight, retry_after_s=retry_after_s)
        again, self._refused_at = now - self._refused_at < APART_S, now
        if in_flight < self._fits:
            # More have fitted: it was the rate, or it is fewer now, and the next refusal tells.
            first = now - self._doubted_at > FORGET_S
            self._doubted_at = now if first else self._doubted_at
            if first or again:
                return
            self._patience_s = CONCURRENCY.grow_every_s
        elif self.size < math.inf and not again:
            self._patience_s = min(self._patience_s * 2.0, 16.0 * CONCURRENCY.grow_every_s)
        self.size = max(min(float(in_flight), self.size), 1.0)
        self._fits = min(self._fits, self.size)
        self._grow_by, self._every_s = 1.0, self._patience_s
        self._grow_at = now + self._every_s
