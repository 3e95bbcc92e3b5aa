"""The limits of an account: how fast, and how many tasks at once. Asked before each request, told of each answer.

Questions change nothing. All that was learned is a few numbers (`as_kept`), which the run after this one takes up, or
another run of the same account (`shared`).

Pure: `now` is the reading of a clock in seconds, given by the caller; draws are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.pace.concurrency import ConcurrencyLimit, FoundTasks
from runner.pace.gate import RateGate
from runner.pace.numbers import as_kept, taken_up
from runner.pace.rate import RATE, Rate
from runner.pace.rejections import REJECTIONS, Cause, Evidence, Response

SLOW = 0.5  # of what is known to pass: the rate can hardly be the reason of a refusal


class AccountLimits:
    """The limits of an account, as one process keeps to them.

    Args:
        given_per_s: Requests a second that the manifest allows; None: the rate is found.
        rate: What is known of the rate; None: nothing is.
        tasks: How many tasks may be at the service.
    """

    def __init__(
        self,
        *,
        given_per_s: float | None = None,
        rate: Rate | None = None,
        tasks: ConcurrencyLimit | None = None,
    ) -> None:
        self.tasks = tasks or ConcurrencyLimit()
        self.rate = rate or (Rate() if given_per_s is None else Rate(pace_per_s=math.inf))
        self._given_per_s = given_per_s
        self.finds_rate = given_per_s is None
        self._kind = "rate found" if self.finds_rate else "rate given"
        self._set_per_s: float | None = None
        self._sharers = 1
        self._gate = RateGate(goes_on=rate is not None)
        self._before: Rate | None = None  # the refusals that are still unclear
        self._evidence = Evidence()
        self._tasks_before = FoundTasks()  # before the last refusal that was about their number

    # --- asked ---

    @property
    def rate_per_s(self) -> float:
        """Requests a second we now allow ourselves."""
        return self._all_per_s / self._sharers

    @property
    def found_per_s(self) -> float | None:
        """The limit of the whole account as it was met; None while it was not, or where one is given."""
        return self.rate.found_per_s if self.finds_rate else None

    def next_at(self, now: float) -> float:
        """Return when the next request may go; not after `now` means at once."""
        return self._gate.next_at()

    def has_permit(self, now: float) -> bool:
        """Say whether a request may go, now that its time has come; where a permit is to be had first, ask for it."""
        return True

    @property
    def counts(self) -> bool:
        """Whether it matters to how many tasks a submit passes."""
        return self._evidence.counts

    @property
    def unclear(self) -> bool:
        """Whether nobody knows what the last refusals were about: then those that may have ended are asked about first."""
        return self.finds_rate and self._evidence.unclear

    @property
    def wants_polls(self) -> bool:
        """Whether polls should go before the next submit, to see if only submits are refused."""
        return self._evidence.wants_polls

    # --- told ---

    def set(self, per_s: float | None) -> None:
        """Allow no more than so many requests a second of all runs together; None: as the manifest says."""
        self._set_per_s = per_s

    def share_with(self, sharers: int) -> None:
        """The account's rate is shared by so many runs, this one included."""
        self._sharers = sharers

    def sent(self, now: float, *, submit: bool = False, in_flight: int = 0) -> None:
        """A request goes out; a submit, with so many tasks in flight before it."""
        held_s = self._gate.sent(now, 1.0 / self.rate_per_s)
        free = self._gate.calm and self._all_per_s >= self.rate.pace_per_s
        self.rate.was_sent(held_s, number=self._sharers, free=free)
        if submit:
            self.tasks.sent(now, in_flight)

    def answered(self, what: Response) -> Cause | None:
        """An answer came. Return what it was about, where it was a 429: wait then, and learn from it."""
        if what.rejected:
            return self._refused(what)
        self._evidence.was_passed(what)
        if self._evidence.level == math.inf:
            self._before = None
        self._gate.was_passed(what.now, sent_at=what.sent_at, gap_s=1.0 / self.rate_per_s)
        return None

    def as_kept(self) -> dict[str, Any]:
        """Return all that was learned, for `take_up`; a rate that is given apart from one that is found."""
        rate = [as_kept(each) for each in (self.rate, self._before) if each is not None]
        return {
            "gate": as_kept(self._gate),
            "evidence": as_kept(self._evidence),
            "tasks": [as_kept(self.tasks.found), as_kept(self._tasks_before)],
            self._kind: rate,
        }

    def take_up(self, kept: Mapping[str, Any], later_s: float = 0.0) -> None:
        """Be as others were, on a clock that is so far ahead of theirs."""
        self._gate = taken_up(RateGate, kept.get("gate", {}), later_s)
        self._evidence = taken_up(Evidence, kept.get("evidence", {}), later_s)
        tasks = (taken_up(FoundTasks, each, later_s) for each in kept.get("tasks", ({}, {})))
        self.tasks.found, self._tasks_before = tasks
        if self._kind in kept:
            self.rate, *before = (taken_up(Rate, each) for each in kept[self._kind])
            self._before = before[0] if before else None

    @property
    def _all_per_s(self) -> float:
        """Requests a second of all runs."""
        return self._under_ceiling(self.rate)

    def _under_ceiling(self, rate: Rate) -> float:
        ceiling_per_s = self._set_per_s or self._given_per_s or math.inf
        return min(rate.pace_per_s, ceiling_per_s if self.finds_rate else ceiling_per_s * RATE.use)

    def _refused(self, what: Response) -> Cause:
        now, gate, evidence = what.now, self._gate, self._evidence
        known_per_s = max(gate.most_per_s, (self._before or self.rate).confirmed_per_s / self._sharers)
        slow = gate.lately_per_s(now) < SLOW * known_per_s and self.tasks.manifests is None
        cause = evidence.cause(
            what,
            opened_at=gate.opens_at,
            size=self.tasks.size,
            slow=slow,
            fast=self.rate.before_per_s < math.inf,
        )
        if cause is Cause.TOO_MANY:
            if self._before is not None:
                self.rate, self._before = self._before, None
                self.rate.begin_again()
            evidence.forget()
            if now - evidence.met_at >= REJECTIONS.regret_s:
                evidence.met_at, self._tasks_before = now, replace(self.tasks.found)
            self.tasks.refused(now, what.in_flight, retry_after_s=what.retry_after_s)
            return cause
        if not what.submit:
            self._before = None
            if now - evidence.met_at < REJECTIONS.regret_s:
                self.tasks.found = replace(self._tasks_before)
        elif self._before is None:
            self._before = replace(self.rate)
        first, clear = not gate.troubled, cause is Cause.TOO_FAST or self.rate.climbs
        wait_s = gate.refused(
            now,
            sent_at=what.sent_at,
            gap_s=1.0 / self.rate_per_s,
            retry_after_s=what.retry_after_s,
            draw=what.draw,
        )
        if wait_s is not None:
            self.rate.refused(wait_s, self._all_per_s, first=first, clear=clear)
        return cause
