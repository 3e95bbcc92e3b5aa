"""When the next request may go: evenly spaced permits, and one gate that a 429 closes for all.

Pure: `now` is the reading of a clock in seconds, given by the caller; draws are passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Settings of the gate."""

    late_s: float = number(
        0.02, "s", "a loop a little late keeps to the grid of send times and loses no rate", off=0.0
    )
    first_wait_s: float = number(
        0.25, "s", "a 429 that does not say how long: the first wait, half as long again each time"
    )
    longest_wait_s: float = number(
        30.0, "s", "the same: half a minute, so that a minute's window is met twice"
    )
    calm_passes: int = number(
        10, "requests", "one passes now and then: the waits grow until so many pass in a row", off=1
    )


GATE = GateSettings()
LATELY_S = 2.0  # what happened within this time tells of now; so long one request alone may be on its way
APART_S = 1.0  # refusals closer than this are one
FORGET_S = 60.0  # what was refused longer ago says nothing of now


@dataclass(slots=True)
class RateGate:
    """The grid of send times and the gate. It is open, shut until a time, or half open.

    Half open (two refusals in a row): one request goes and asks for all; the next goes when it has passed.
    """

    free_at: float = -math.inf  # when the grid allows the next request
    sent_at: float = -math.inf
    opens_at: float = -math.inf  # what was sent before this knows nothing of the last 429
    half_open: bool = False
    goes_on: bool = False  # the first goes as if another had gone before it: there was an earlier run
    refusals: int = 0  # a pass or two does not end their row
    passed: int = 0  # since the last of them
    lately: float = 0.0  # requests, each of which counts less and less
    through: float = 0.0  # the same, those that passed
    through_at: float = -math.inf
    most_per_s: float = 0.0  # the most of them a second, ever

    @property
    def calm(self) -> bool:
        """Whether the last refusals are over."""
        return self.refusals == 0

    @property
    def troubled(self) -> bool:
        """Whether nothing has passed since a refusal."""
        return self.refusals > 0 and self.passed == 0

    def next_at(self) -> float:
        """Return when the next request may go; at once if that is past."""
        return max(self.free_at, self.opens_at)

    def lately_per_s(self, now: float) -> float:
        """Return the requests a second of the last seconds."""
        return _faded(self.lately, now - self.sent_at) / LATELY_S

    def sent(self, now: float, gap_s: float) -> float:
        """Use a permit; the next comes `gap_s` later. Return for how long this one was held back by us.

        That is the time since the last one, if it went as soon as it might; else nothing is known of it: 0.
        """
        if self.goes_on:
            self.sent_at, self.free_at, self.goes_on = now - gap_s, now, False
        allowed_at = self.next_at()
        late_s, since_s = now - allowed_at, now - self.sent_at
        base = allowed_at if late_s <= GATE.late_s else now
        self.free_at = max(base + gap_s, now + LATELY_S if self.half_open else -math.inf)
        self.lately = _faded(self.lately, since_s) + 1.0
        self.sent_at = now
        return since_s if late_s <= max(GATE.late_s, gap_s / 2) and since_s < math.inf else 0.0

    def was_passed(self, now: float, *, sent_at: float, gap_s: float) -> None:
        """An answer that was no 429 came."""
        self.through = _faded(self.through, now - self.through_at) + 1.0
        self.through_at = now
        self.most_per_s = max(self.most_per_s, self.through / LATELY_S)
        if sent_at < self.opens_at:
            return
        self.passed += 1
        if self.passed >= GATE.calm_passes:
            self.refusals = 0
        if self.half_open:
            self.half_open = False
            self.free_at = min(self.free_at, max(now, sent_at + gap_s))

    def refused(
        self, now: float, *, sent_at: float, gap_s: float, retry_after_s: float | None, draw: float
    ) -> float | None:
        """A 429 came: close. Return for how long; None where it belongs to a refusal that is known already."""
        if sent_at < self.opens_at:
            if retry_after_s:
                self.opens_at = max(self.opens_at, now + retry_after_s)
            return None
        self.half_open = self.troubled
        again = self.refusals if self.troubled else min(self.refusals, 5)
        self.refusals, self.passed = again + 1, 0
        # Zero, a time in the past and silence mean the same: wait a little. Refused again right after a short wait, it
        # meant one request, not all of us: longer each time.
        wait_s = retry_after_s or max(GATE.first_wait_s, gap_s) * (0.5 + draw / 2)
        if wait_s < 1.0 or not retry_after_s:
            wait_s = min(wait_s * 1.5 ** min(again, 50), GATE.longest_wait_s)
        self.opens_at = now + wait_s
        return wait_s


def _faded(count: float, since_s: float) -> float:
    return count * math.exp(-since_s / LATELY_S)
