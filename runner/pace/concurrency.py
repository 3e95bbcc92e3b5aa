"""How many tasks may be at the service at once: a number that was given, or one that is found.

No number is assumed until one is met; then it is kept to, and a little more is tried now and then. A limit is asked
whether there is room (`room`, `opens_at`: these change nothing) and told of what happened (`sent`, `refused`).
Whether a 429 is about the number of tasks at all is not decided here (`rejections`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from runner.pace.gate import APART_S, FORGET_S, GATE
from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencySettings:
    """Settings of the limit that is found."""

    grow_every_s: float = number(20.0, "s", "a number that was raised, or met by mistake, is found out")


CONCURRENCY = ConcurrencySettings()


@dataclass(slots=True)
class FoundTasks:
    """What was found of the number of tasks at the service."""

    size: float = math.inf  # tasks allowed at once; infinite while no limit is known
    fits: float = 0.0  # so many were there for long, and none was refused
    grow_by: float = 1.0
    every_s: float = field(default_factory=lambda: CONCURRENCY.grow_every_s)  # one more is tried so often
    patience_s: float = field(
        default_factory=lambda: CONCURRENCY.grow_every_s
    )  # the same, after the next refusal
    grow_at: float = math.inf
    closed_at: float = -math.inf  # no submit before, whatever the number
    doubted_at: float = -math.inf
    refused_at: float = -math.inf


class ConcurrencyLimit:
    """How many tasks may be at the service, below a ceiling that a person or other runs may set.

    `in_flight` are the tasks there as far as we know, and submits on their way.

    Args:
        given: What the manifest allows; None: the number is found.
    """

    def __init__(self, given: int | None = None) -> None:
        self.manifests = given  # what the manifest allows; None: the number is found
        self.found = FoundTasks()
        self._set: int | None = None
        self._kept = math.inf
        self._others, self._other_runs = 0, 0

    @property
    def given(self) -> float:
        """How many tasks the manifest, or a person, allows at once; infinite where neither says."""
        return self._set or self.manifests or math.inf

    @property
    def size(self) -> float:
        """How many the service allows, as far as is known."""
        return self.found.size if self.manifests is None else self.given

    @property
    def closed_until(self) -> float:
        """When the next submit may go, whatever the number."""
        return self.found.closed_at

    def set(self, tasks: int | None) -> None:
        """Allow so many tasks at once; None: as the manifest says."""
        self._set = tasks

    def keep_below(self, tasks: float) -> None:
        """Have no more tasks than this part of them: others have the rest."""
        self._kept = tasks

    def beside(self, tasks: int, runs: int) -> None:
        """So many other runs have so many tasks; of a number that is found all have their part."""
        self._others, self._other_runs = tasks, runs

    def room(self, now: float, in_flight: int) -> bool:
        """Whether one more task may be begun."""
        return now >= self.opens_at(in_flight)

    def opens_at(self, in_flight: int) -> float:
        """Return when one more task may be begun although none ends; infinite where that is never."""
        found = self.found
        if in_flight >= min(self.given, self._kept):
            return math.inf
        if in_flight + self._of_others < self.size:
            return found.closed_at
        return max(found.closed_at, found.grow_at)

    def sent(self, now: float, in_flight: int) -> None:
        """A submit goes out, with so many tasks in flight before it."""
        found = self.found
        if self.manifests is not None or in_flight + self._of_others < found.size:
            return
        # What passes each time was no limit at all, so go faster.
        found.fits = found.size
        found.size += found.grow_by
        found.grow_by = min(found.grow_by * 2.0, found.size)
        found.every_s = max(found.every_s / 2.0, APART_S)
        found.grow_at = now + found.every_s

    def refused(self, now: float, in_flight: int, *, retry_after_s: float | None) -> None:
        """A submit was refused because too many tasks are there: so many, without it."""
        found = self.found
        found.closed_at = max(found.closed_at, now + (retry_after_s or GATE.first_wait_s))
        if self.manifests is not None:
            return
        again, found.refused_at = now - found.refused_at < APART_S, now
        if in_flight < found.fits:
            # More have fitted: it was the rate, or it is fewer now, and the next refusal tells.
            first = now - found.doubted_at > FORGET_S
            found.doubted_at = now if first else found.doubted_at
            if first or again:
                return
            found.patience_s = CONCURRENCY.grow_every_s
        elif found.size < math.inf and not again:
            found.patience_s = min(found.patience_s * 2.0, 16.0 * CONCURRENCY.grow_every_s)
        found.size = max(min(float(in_flight), found.size), 1.0)
        found.fits = min(found.fits, found.size)
        found.grow_by, found.every_s = 1.0, found.patience_s
        found.grow_at = now + found.every_s

    @property
    def _of_others(self) -> float:
        """Tasks of others; half of what would be our part, were all alike, is left to us."""
        if self.manifests is not None or not self._other_runs:
            return 0
        return min(self._others, self.found.size * (1 - 0.5 / (self._other_runs + 1)))
