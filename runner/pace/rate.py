"""How many requests a second may be sent: a number that was given, or one that is found.

No limit was met yet: faster all the time. Once a request was refused, stay just under what has passed, and look a
little higher now and then; a step that is refused is taken back. A rate that is given is the same with a ceiling,
and begins there. Whether a 429 is about the rate at all is not decided here (`rejections`).

Pure: no clock; seconds are handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSettings:
    """Settings of the rate."""

    use: float = number(
        0.98, "of the limit", "requests arrive early or late, at a service that counts by the second", off=1.0
    )
    start_per_s: float = number(10.0, "requests/s", "where the search for a limit begins")
    first_step: float = number(
        0.04, "of the rate", "just after the first refusal the limit is known badly: larger steps up"
    )
    least_step: float = number(0.01, "of the rate", "few refusals where the limit stays as it is")
    patience: float = number(
        0.15, "s times the step", "few refusals: a step of 1 % after 15 s without one, of 4 % after 4 s"
    )
    most_cut: float = number(
        0.85, "of the rate", "what would have passed a gate that was shut is not known: cut in steps", off=0.0
    )


RATE = RateSettings()
LONG_WAIT_S = 1.5  # a wait longer than this is the end of a window of time, not the next free place
BRIEF_S = 0.3
LEAST_PER_S = 0.02
IN_A_CLIMB = 0.6  # of the rate: what was sent in the last second, while it doubles


@dataclass(slots=True)
class Rate:
    """The rate of an account, and how well it is known. Seconds are such in which only the rate held requests back."""

    pace_per_s: float = field(
        default_factory=lambda: RATE.start_per_s
    )  # infinite: none but the one that is given
    found_per_s: float | None = None  # the limit as it was met; None: it was not
    step: float = field(default_factory=lambda: RATE.first_step)  # the next one up
    quiet: int = 0  # steps up that passed, in a row
    before_per_s: float = math.inf  # before the last step up; infinite: there was none since a refusal
    stepped_s: float = 0.0  # since the last step up
    cycle_s: float = 0.0  # since the last refusal that told something
    shut_s: float = 0.0  # of these the gate was shut
    sent: int = 0  # requests in this time
    brief: int = 0  # refusals in this time that came too soon to tell anything
    told: bool = False  # whether this row of refusals has told something

    @classmethod
    def known(cls, found_per_s: float) -> Rate:
        """Return a rate known as after three refusals that have confirmed it."""
        return cls(pace_per_s=found_per_s * RATE.use, found_per_s=found_per_s, step=RATE.first_step / 8)

    @property
    def climbs(self) -> bool:
        """Whether no limit is known at all."""
        return self.found_per_s is None and self.pace_per_s < math.inf

    @property
    def confirmed_per_s(self) -> float:
        """The limit as it was met more than once; 0 where it was not."""
        return self.found_per_s or 0.0 if self.step < RATE.first_step else 0.0

    def was_sent(self, held_s: float, *, number: int = 1, free: bool) -> None:
        """A request went, held back by us for so long; `free`: neither refusals nor a ceiling keep the rate down."""
        self.sent += number
        self.stepped_s += held_s
        self.cycle_s += held_s
        if not free:
            return
        if self.climbs:
            self.pace_per_s *= 2.0 ** min(held_s, 1.0)
        elif self.stepped_s >= RATE.patience / self.step:
            # Nothing refused for long: the limit may have been raised, so look further each time.
            self.step = min(self.step * 1.5, 0.1) if self.quiet > 1 else self.step
            self.before_per_s = self.pace_per_s
            self.pace_per_s *= 1.0 + self.step
            self.quiet += 1
            self.stepped_s = 0.0

    def refused(self, wait_s: float, now_per_s: float, *, first: bool, clear: bool) -> None:
        """A request was refused, and the gate closes.

        Args:
            wait_s: For how long.
            now_per_s: The rate, under its ceiling.
            first: Whether something has passed since the last refusal.
            clear: Whether this is about the rate; False: take back the last step up, in case it was.
        """
        self.told = self.told and not first
        if not clear and self.before_per_s < math.inf:
            self.pace_per_s, self.before_per_s, self.quiet = self.before_per_s, math.inf, 0
        elif clear and not self.told:
            self.told = True
            self._learn(wait_s, now_per_s)
        self.shut_s += wait_s

    def begin_again(self) -> None:
        """Count anew."""
        self.stepped_s = self.cycle_s = self.shut_s = 0.0
        self.sent = self.brief = 0

    def _learn(self, wait_s: float, now_per_s: float) -> None:
        """Take what passed up to a refusal for the limit."""
        if not self.climbs and self.cycle_s - self.shut_s < BRIEF_S:
            self.brief += 1
            if self.brief < 3:
                return
        found = passed = self._passed(wait_s, now_per_s)
        brief = max(2.0 * wait_s, self.shut_s) <= 2.0 * LONG_WAIT_S
        if not self.climbs and (brief or self.found_per_s is None):  # a number that was given is not far off
            found = max(passed, now_per_s * RATE.most_cut)
        if passed >= RATE.most_cut * self.before_per_s:
            found = min(self.before_per_s, now_per_s)  # what we did before the step passed for long
        known = self.found_per_s is not None and abs(found / self.found_per_s - 1.0) <= 1.0 - RATE.most_cut
        climbs = self.climbs
        self.found_per_s = max(found, LEAST_PER_S)
        least = now_per_s / 2 if not climbs and self.sent < 30 else LEAST_PER_S
        self.pace_per_s = max(self.found_per_s * RATE.use, least)
        self.step = max(min(self.step, RATE.first_step) / 2, RATE.least_step) if known else RATE.first_step
        self.before_per_s, self.quiet = math.inf, 0
        self.begin_again()

    def _passed(self, wait_s: float, now_per_s: float) -> float:
        """Return requests a second that passed: of late while we climb; else, where the gate closes for long, over all."""
        if self.climbs:
            return now_per_s * IN_A_CLIMB
        over_s = self.cycle_s + (wait_s if wait_s > LONG_WAIT_S and wait_s > 0.1 * self.cycle_s else 0.0)
        return min(max(self.sent - 1, 1) / over_s, now_per_s) if over_s > 0.0 else now_per_s
