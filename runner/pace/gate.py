"""When the next request may go: evenly spaced permits, and one gate that a 429 closes for all.

Pure: `now` is the reading of a monotonic clock in seconds, given by the caller; draws are passed in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Settings of the gate."""

    late_s: float = number(
        0.02, unit="s", off=0.0,
        serves="a loop that is a little late keeps to the grid of send times and so loses no rate",
    )  # fmt: skip
    first_wait_s: float = number(
        0.25,
        unit="s",
        serves="a 429 that does not say how long: the first wait, half as long again each time",
    )
    longest_wait_s: float = number(
        30.0, unit="s", serves="the same: half a minute, so that a minute's window is met twice"
    )
    calm_passes: int = number(
        10, unit="requests", off=1,
        serves="a limiter that lets a request pass now and then: the waits grow until so many pass in a row",
    )  # fmt: skip


GATE = GateSettings()
LATELY_S = 2.0  # what happened within this time tells of now; so long one request alone may be on its way
APART_S = 1.0  # refusals closer than this are one
FORGET_S = 60.0  # what was refused longer ago says nothing of now
_KEPT = ("_free_at", "_sent_at", "_passed", "_streak", "in_a_row", "half_open", "opens_at")


class RateGate:
    """The grid of send times and the gate. It is open, shut until a time, or half open.

    Half open (two refusals in a row): one request goes and asks for all; the next goes when it has passed.
    """

    def __init__(self) -> None:
        self._free_at = -math.inf  # when the grid allows the next request
        self._sent_at = -math.inf
        self._recent: deque[float] = deque(maxlen=64)
        self._passed = 0  # in a row
        self._streak = 0  # refusals; a pass or two does not end it
        self.in_a_row = 0  # refusals with nothing that passed in between
        self.half_open = False
        self.opens_at = -math.inf  # what was sent before this knows nothing of the last 429

    def as_kept(self) -> dict[str, Any]:
        """Return all that it knows, for `take_up`."""
        recent = [at for at in self._recent if at > self._sent_at - LATELY_S]
        return {**{name: getattr(self, name) for name in _KEPT}, "recent": recent}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Be as another was."""
        for name in _KEPT:
            setattr(self, name, kept[name])
        self._recent.extend(kept["recent"])

    def next_at(self) -> float:
        """Return when the next request may go; at once if that is past."""
        return max(self._free_at, self.opens_at)

    def lately_per_s(self, now: float) -> float:
        """Return the requests a second of the last two seconds."""
        times = [at for at in self._recent if at > now - LATELY_S]
        full = len(times) == self._recent.maxlen
        return len(times) / max(now - times[0], 1e-3) if full else len(times) / LATELY_S

    @property
    def calm(self) -> bool:
        """Whether the last refusals are over."""
        return self._streak == 0

    def sent(self, now: float, gap_s: float) -> float:
        """Use a permit; the next comes `gap_s` later. Return for how long this one was held back by us.

        That is the time since the last one, if it went as soon as it might; else nothing is known of it: 0.
        """
        allowed_at = self.next_at()
        late_s = now - allowed_at
        held_s = now - self._sent_at if late_s <= max(GATE.late_s, gap_s / 2) else 0.0
        base = allowed_at if late_s <= GATE.late_s else now
        self._free_at = max(base + gap_s, now + LATELY_S if self.half_open else -math.inf)
        self._sent_at = now
        self._recent.append(now)
        return held_s if held_s < math.inf else 0.0

    def passed(self, now: float, *, sent_at: float, gap_s: float) -> None:
        """An answer that was no 429 came."""
        if sent_at < self.opens_at:
            return
        self.in_a_row = 0
        self._passed += 1
        if self._passed >= GATE.calm_passes:
            self._streak = 0
        if self.half_open:
            self.half_open = False
            self._free_at = min(self._free_at, max(now, sent_at + gap_s))

    def refused(
        self, now: float, *, sent_at: float, retry_after_s: float | None, gap_s: float, draw: float
    ) -> float | None:
        """A 429 came: close. Return for how long; None where it belongs to a refusal that is known already."""
        if sent_at < self.opens_at:
            if retry_after_s:
                self.opens_at = max(self.opens_at, now + retry_after_s)
            return None
        self.in_a_row += 1
        self._streak += 1
        self._passed = 0
        self.half_open = self.in_a_row > 1
        # Zero, a time in the past and silence mean the same: wait a little. Refused again right after a short wait, it
        # meant one request, not all of us: longer each time.
        again = max(self.in_a_row, min(self._streak, 6)) - 1
        wait_s = retry_after_s or max(GATE.first_wait_s, gap_s) * (0.5 + draw / 2)
        if wait_s < 1.0 or not retry_after_s:
            wait_s = min(wait_s * 1.5 ** min(again, 50), GATE.longest_wait_s)
        self.opens_at = now + wait_s
        return wait_s
