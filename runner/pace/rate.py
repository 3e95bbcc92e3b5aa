"""How many requests a second we may send: one rate, and one gate that a 429 closes, for all requests of the account.

A limiter is asked when the next request may go (`next_at`, which changes nothing) and told of what happened
(`sent`, `passed`, `refused`). There are two: one keeps to a number that was given, one finds the number.
Whether a 429 is about the rate at all is not decided here (`rejections`).

The phases of the one that learns:

    ```text
                 429                the gate's time is over
      CLIMB ───────────▶ SHUT ─────────────────────────────▶ CRUISE ─┐
                         ▲  ▲ └── it was the second in a row         │ so much time has passed:
                         │  │       ▼                                │ a step up
                         │  └──── HALF OPEN ── one passed ──▶ CRUISE │
                         └────────────────── 429 ──────────── PROBE ◀┘ (one that passes is the new CRUISE)
    ```

Measure what passes, stay just under it, look a little higher now and then.

Pure: `now` is the reading of a monotonic clock in seconds, given by the caller; draws are passed in.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import accumulate, groupby
from typing import Any, Protocol

from runner.pace.gate import APART_S, RateGate
from runner.pace.numbers import number


class Phase(StrEnum):
    """What a limiter that learns is doing while its gate is open."""

    CLIMB = "climb"  # no limit was met yet: faster all the time
    CRUISE = "cruise"  # just under the limit as it was found
    PROBE = "probe"  # a step above what has passed for long


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSettings:
    """Settings of both limiters."""

    use_of_given: float = number(
        0.98, unit="of the limit", off=1.0,
        serves="requests arrive up to 20 ms early or late, at a service that counts by the second",
    )  # fmt: skip
    use_of_found: float = number(
        0.985, unit="of the limit", off=1.0,
        serves="the same, and what was found is known to a hundredth or so",
    )  # fmt: skip
    start_per_s: float = number(5.0, unit="requests/s", serves="where the search for a limit begins")
    first_step: float = number(
        0.06, unit="of the rate",
        serves="just after the first refusal the limit is known badly: larger steps up",
    )  # fmt: skip
    least_step: float = number(0.01, unit="of the rate", serves="few refusals where the limit stays as it is")
    patience: float = number(
        0.15, unit="s times the step",
        serves="few refusals: a step of 1 % is taken after 15 s without one, a step of 6 % after 2.5 s",
    )  # fmt: skip
    most_cut: float = number(
        0.88, unit="of the rate", off=0.0,
        serves="a gate that was shut for a moment: what would have passed meanwhile is not known, so cut in steps",
    )  # fmt: skip
    measured_s: float = number(15.0, unit="s", serves="what passes is measured over so long")


RATE = RateSettings()
SLOW = 0.35  # of the rate: it can hardly be the reason of a refusal
LONG_WAIT_S = 1.5  # a wait longer than this is the end of a window of time, not the next free place


class RateLimiter(Protocol):
    """How fast requests may go.

    An implementation may share the rate with others outside of this process (`pace/shared.py`): then `next_at` answers
    from the permits it holds, and `sent` uses one of them.
    """

    @property
    def rate_per_s(self) -> float:
        """Requests a second we now allow ourselves."""

    @property
    def found_per_s(self) -> float | None:
        """The limit of the whole account as it was met; None while it was not."""

    @property
    def held_s(self) -> float:
        """Seconds so far in which only the rate held requests back."""

    @property
    def opens_at(self) -> float:
        """What was sent before this belongs to a refusal that is known already."""

    def set(self, per_s: float | None) -> None:
        """Allow no more than so many requests a second of all runs together; None: as the manifest says."""

    def next_at(self, now: float) -> float:
        """Return when the next request may go; not after `now` means at once."""

    def has_permit(self, now: float) -> bool:
        """Say whether a request may go, now that its time has come; where a permit is to be had first, ask for it."""

    def is_slow(self, now: float) -> bool:
        """Whether we have lately sent so far below the rate that it can hardly be the reason of a refusal."""

    def share_with(self, sharers: int) -> None:
        """The account's rate is shared by so many runs, this one included."""

    def sent(self, now: float) -> None:
        """Use a permit."""

    def passed(self, now: float, *, sent_at: float) -> None:
        """An answer that was no 429 came to a request sent at `sent_at`."""

    def refused(
        self, now: float, *, sent_at: float, retry_after_s: float | None, draw: float, learn: bool = True
    ) -> None:
        """A 429 came to a request sent at `sent_at`: wait, and learn from it.

        Args:
            now: When the answer came.
            sent_at: When its request went; all that went before the gate last closed is one event.
            retry_after_s: What the answer asked for, made sane by `backoff`; None when absent.
            draw: A number from [0, 1) for the jitter where it did not say.
            learn: False while it is unclear whether the rate was meant: obey, and take back no more than the last step up.
        """

    def learned(self) -> object:
        """Return what was learned so far, for `restore`."""

    def restore(self, learned: object) -> None:
        """What was learned since was not about the rate: go back."""


class KeptRate(ABC):
    """A `RateLimiter` of one process, which another can take up: what both kinds have, a gate and a ceiling."""

    def __init__(self) -> None:
        self.gate = RateGate()
        self.held_s = 0.0
        self._sharers = 1
        self._set_per_s = math.inf  # the ceiling of all runs of the account together

    @property
    @abstractmethod
    def pace_per_s(self) -> float:
        """Requests a second of our share, were there no ceiling."""

    @property
    def rate_per_s(self) -> float:
        return min(self.pace_per_s, self._set_per_s / self._sharers)

    @property
    @abstractmethod
    def found_per_s(self) -> float | None: ...

    @property
    def opens_at(self) -> float:
        return self.gate.opens_at

    def set(self, per_s: float | None) -> None:
        self._set_per_s = math.inf if per_s is None else per_s

    def next_at(self, now: float) -> float:
        return self.gate.next_at()

    def has_permit(self, now: float) -> bool:
        return True

    def is_slow(self, now: float) -> bool:
        known_per_s = max((self.found_per_s or 0.0) / self._sharers, self.rate_per_s)
        return self.gate.lately_per_s(now) < SLOW * known_per_s

    def share_with(self, sharers: int) -> None:
        self._sharers = sharers

    def sent(self, now: float) -> None:
        held_s = self.gate.sent(now, 1.0 / self.rate_per_s)
        self.held_s += held_s
        self._after_sent(held_s)

    def passed(self, now: float, *, sent_at: float) -> None:
        self.gate.passed(now, sent_at=sent_at, gap_s=1.0 / self.rate_per_s)

    def refused(
        self, now: float, *, sent_at: float, retry_after_s: float | None, draw: float, learn: bool = True
    ) -> None:
        gap_s, opened_at = 1.0 / self.rate_per_s, self.gate.opens_at
        wait_s = self.gate.refused(now, sent_at=sent_at, retry_after_s=retry_after_s, gap_s=gap_s, draw=draw)
        if wait_s is not None:
            self._after_refused(now, wait_s, opened_at=opened_at, learn=learn)

    @abstractmethod
    def learned(self) -> object: ...

    @abstractmethod
    def restore(self, learned: object) -> None: ...

    @abstractmethod
    def as_kept(self) -> dict[str, Any]:
        """Return all that it knows, its gate apart, for `take_up`."""

    @abstractmethod
    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Be as another was."""

    @abstractmethod
    def _after_sent(self, held_s: float) -> None:
        """A request went, held back by us for so long."""

    @abstractmethod
    def _after_refused(self, now: float, wait_s: float, *, opened_at: float, learn: bool) -> None:
        """The gate, open since `opened_at`, closes for so long."""


def rate_limiter(*, given_per_s: float | None, found_per_s: float | None = None) -> KeptRate:
    """Return what keeps to the given rate, or finds it, beginning at what an earlier run has found."""
    return LearnedRate(found_per_s=found_per_s) if given_per_s is None else FixedRate(given_per_s)


class FixedRate(KeptRate):
    """A number that was given, for the whole account. Where it is refused all the same, a little slower for a while."""

    def __init__(self, per_s: float) -> None:
        super().__init__()
        self._given_per_s = per_s
        self._slower = 1.0  # times the gap
        self._slower_until_s = 0.0  # of `held_s`

    @property
    def pace_per_s(self) -> float:
        per_s = self._given_per_s if self._set_per_s == math.inf else self._set_per_s
        return per_s * RATE.use_of_given / self._sharers / self._slower

    @property
    def found_per_s(self) -> float | None:
        return None

    def as_kept(self) -> dict[str, Any]:
        return {"slower": self._slower, "until_s": self._slower_until_s, "held_s": self.held_s}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        self._slower, self._slower_until_s, self.held_s = kept["slower"], kept["until_s"], kept["held_s"]

    def learned(self) -> object:
        return self._slower

    def restore(self, learned: object) -> None:
        assert isinstance(learned, float)
        self._slower = learned

    def _after_sent(self, held_s: float) -> None:
        if self._slower > 1.0 and self.held_s >= self._slower_until_s:
            self._faster(RATE.most_cut)

    def _after_refused(self, now: float, wait_s: float, *, opened_at: float, learn: bool) -> None:
        if learn:
            self._faster(1.0 / RATE.most_cut)

    def _faster(self, gap: float) -> None:
        self._slower = max(self._slower * gap, 1.0)
        self._slower_until_s = self.held_s + RATE.patience / RATE.first_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What is known of a limit: rates in requests a second, of our share."""

    phase: Phase
    pace: float
    found: float | None = None
    step: float = RATE.first_step  # the next one up
    quiet: int = 0  # steps up that passed, in a row
    before: float = math.inf  # the pace before the last step up


_KEPT = ("held_s", "_stepped_s", "_began_s", "_shut_s", "_sent", "_unclear", "_refused_at", "_told")


class LearnedRate(KeptRate):
    """Finds the limit.

    Args:
        found_per_s: The account's limit as an earlier run found it; None if it never met one.
    """

    def __init__(self, *, found_per_s: float | None = None) -> None:
        super().__init__()
        self._now = Learned(phase=Phase.CLIMB, pace=RATE.start_per_s)
        if found_per_s:
            # Known as after three refusals that have confirmed it.
            pace, step = found_per_s * RATE.use_of_found, RATE.first_step / 8
            self._now = Learned(phase=Phase.CRUISE, pace=pace, found=found_per_s, step=step)
        self._refused_at = -math.inf
        self._told = False  # whether the refusals of this row have been learned from
        self._log: deque[float] = deque()  # `held_s` at each request of the last seconds
        self._begin_cycle()

    @property
    def pace_per_s(self) -> float:
        return self._now.pace

    @property
    def found_per_s(self) -> float | None:
        return None if self._now.found is None else self._now.found * self._sharers

    def share_with(self, sharers: int) -> None:
        factor, was = self._sharers / sharers, self._now
        super().share_with(sharers)
        self._now = replace(
            was, pace=was.pace * factor, found=was.found and was.found * factor, before=was.before * factor
        )

    def as_kept(self) -> dict[str, Any]:
        gaps = [round(at - before, 4) for before, at in zip(self._log, list(self._log)[1:], strict=False)]
        return {
            **{name: getattr(self, name) for name in _KEPT},
            "now": asdict(self._now),
            # Requests at even distances, which most are, take little room.
            "log": [self._log[0] if self._log else 0.0, len(self._log)],
            "gaps": [(gap_s, len(list(same))) for gap_s, same in groupby(gaps)],
        }

    def take_up(self, kept: Mapping[str, Any]) -> None:
        for name in _KEPT:
            setattr(self, name, kept[name])
        self._now = Learned(**{**kept["now"], "phase": Phase(kept["now"]["phase"])})
        first, number = kept["log"]
        gaps = (gap_s for gap_s, times in kept["gaps"] for _ in range(times))
        self._log = deque(accumulate(gaps, initial=first) if number else ())

    def learned(self) -> object:
        return self._now

    def restore(self, learned: object) -> None:
        assert isinstance(learned, Learned)
        self._now = learned
        self._refused_at = -math.inf  # the gate's time before this is none of the rate's
        self._begin_cycle()

    def _begin_cycle(self) -> None:
        self._began_s = self._stepped_s = (
            self.held_s
        )  # at the last refusal that told something; at the last step up
        self._shut_s = 0.0  # of what passed since then the gate was shut
        self._sent = self._unclear = 0  # requests; refusals too close to the last to tell anything
        self._log.clear()

    def _after_sent(self, held_s: float) -> None:
        """Climb while no limit was met; take a step up now and then after that."""
        self._sent += 1
        self._log.append(self.held_s)
        while self._log[0] < self.held_s - RATE.measured_s:
            self._log.popleft()
        was = self._now
        if not self.gate.calm or self.rate_per_s < was.pace:
            return
        if was.phase is Phase.CLIMB:
            self._now = replace(was, pace=was.pace * 2.0 ** min(held_s, 1.0))
        elif self.held_s - self._stepped_s >= RATE.patience / was.step:
            self._stepped_s = self.held_s
            # Nothing refused for long: the limit may have been raised, so look further each time.
            step = min(was.step * 1.5, 0.1) if was.quiet > 1 else was.step
            pace = was.pace * (1.0 + step)
            self._now = replace(
                was, phase=Phase.PROBE, pace=pace, step=step, quiet=was.quiet + 1, before=was.pace
            )

    def _after_refused(self, now: float, wait_s: float, *, opened_at: float, learn: bool) -> None:
        if self.gate.in_a_row == 1:
            self._shut_s += max(opened_at - self._refused_at, 0.0) if self._refused_at > -math.inf else 0.0
            self._refused_at = now
            self._told = False
        if learn and not self._told:  # the first of a row that is clear
            self._told = True
            self._learn(wait_s)
        elif not learn and (was := self._now).phase is Phase.PROBE:
            # It may be the step up: at the pace before, the next refusals tell.
            self._now = replace(was, phase=Phase.CRUISE, pace=was.before, before=math.inf, quiet=0)

    def _learn(self, wait_s: float) -> None:
        """Take what passed up to a refusal for the limit."""
        was, pace = self._now, self.rate_per_s
        cycle_s = self.held_s - self._began_s
        climbing = was.phase is Phase.CLIMB
        if not climbing and cycle_s - self._shut_s < APART_S:
            self._unclear += 1
            if self._unclear < 3:
                return
        found = measured = min(self._measured(cycle_s, wait_s), pace)
        if not climbing and max(wait_s, self._shut_s) <= LONG_WAIT_S:
            found = max(measured, pace * RATE.most_cut)
        if was.phase is Phase.PROBE and measured >= RATE.most_cut * was.before:
            found = min(was.before, pace)  # what we did before the step passed for long
        known = was.found is not None and abs(found / was.found - 1.0) <= 1.0 - RATE.most_cut
        # A few requests prove no rate: then no more than half is cut away at once.
        least = pace / 2 if not climbing and self._sent < 30 else 0.02
        self._now = Learned(
            phase=Phase.CRUISE,
            pace=max(found * RATE.use_of_found, least),
            found=max(found, 0.02),
            step=max(min(was.step, RATE.first_step) / 2, RATE.least_step) if known else RATE.first_step,
        )
        self._begin_cycle()

    def _measured(self, cycle_s: float, wait_s: float) -> float:
        """Return requests a second that passed, of late and (where the gate closes for long) over all."""
        if cycle_s <= 0.0:
            return self._now.pace
        span_s = min(1.0 if self._now.phase is Phase.CLIMB else RATE.measured_s, cycle_s)
        lately = max(sum(1 for at in self._log if at > self.held_s - span_s) - 1, 1) / span_s
        if wait_s > LONG_WAIT_S and wait_s > 0.1 * cycle_s:
            return min(lately, max(self._sent - 1, 1) / (cycle_s + wait_s))
        return lately
