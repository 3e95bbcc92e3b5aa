"""What a 429 means: "too fast" or "too many". The one owner of that question (`limits`).

"Too fast" is refused whatever is asked. "Too many" refuses submits only, at any speed, until a task ends. Each refused
submit is evidence: how much likelier is what we saw if it was "too many"? By chance a rate would have refused a poll
as well, or a submit that came to fewer tasks. The logarithms are added up (a CUSUM test): above a bound it is "too
many". One refused poll, or one submit that passes to more tasks than were there, takes all of it back: it was the rate.

Source:
    E. S. Page, "Continuous Inspection Schemes", Biometrika 41 (1954).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from runner.pace.gate import APART_S, FORGET_S
from runner.pace.numbers import number
from runner.pace.rate import LONG_WAIT_S


class Cause(Enum):
    """What a refusal was about."""

    TOO_FAST = auto()
    TOO_MANY = auto()
    UNCLEAR = auto()  # the next refusals will tell
    KNOWN = auto()  # sent before the last refusal was known: nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionSettings:
    """Settings of the test."""

    convinced: float = number(
        4.0, "logarithm of odds", "a rate is taken for a number of tasks once in fifty times at most"
    )
    drift: float = number(
        0.6, "the same, a refusal", "what chance adds over many refusals is not evidence", off=0.0
    )
    slow: float = number(
        4.5, "the same, a refusal", "a submit refused at half of the rate while polls pass is enough", off=0.0
    )
    polls_first: int = number(
        2, "polls", "after a refused submit so many polls have to pass: they are the other witness", off=0
    )
    near: float = number(
        0.8, "of the number", "a submit refused near a number that was met: it is that number"
    )
    regret_s: float = number(
        5.0, "s", "a poll refused so soon after a number was met: it was the rate", off=0.0
    )


REJECTIONS = RejectionSettings()
FULL = 0.95  # of the number: a refusal there is hardly one of the rate, even after a step up


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer to a request, and what was known when it came.

    Attributes:
        now: When.
        sent_at: When its request was sent.
        rejected: Whether it was a 429.
        submit: Whether it was one to a submit.
        in_flight: Tasks at the service and submits on their way, as we know, without this one.
        running: So many of them most likely still run.
        apart: The standard deviation of that.
        retry_after_s: What a 429 asked for, made sane by `backoff`; None when absent.
        draw: A number from [0, 1) for the jitter where it did not say.
    """

    now: float
    sent_at: float
    rejected: bool = False
    submit: bool = False
    in_flight: int = 0
    running: float = 0.0
    apart: float = 0.0
    retry_after_s: float | None = None
    draw: float = 0.5


@dataclass(slots=True)
class Evidence:
    """What speaks for a number of tasks."""

    odds: float = 0.0  # their logarithm
    level: float = math.inf  # more than ran at the last refusal; infinite: there is none to compare with
    ran: float = math.inf  # so many did
    passed: int = 0  # requests since the last refused submit
    as_many: int = 0  # of these submits to as many tasks
    polls: int = 0  # of these polls
    unclear: bool = False
    asked_s: float = 0.0  # what the last refused submit was asked to wait
    cleared_s: float = -1.0  # the same of the last that was about the rate; negative: none of late
    refused_at: float = -math.inf
    poll_refused_at: float = -math.inf
    met_at: float = -math.inf  # when a number was met

    @property
    def counts(self) -> bool:
        """Whether it matters to how many tasks a submit passes."""
        return self.refused_at > -math.inf

    @property
    def wants_polls(self) -> bool:
        """Whether polls should go before the next submit, to see if only submits are refused."""
        return self.unclear and self.polls < REJECTIONS.polls_first

    def was_passed(self, what: Response) -> None:
        """An answer that was no 429 came."""
        self.passed += 1
        self.polls += not what.submit
        self.as_many += what.submit and what.running >= self.ran
        if what.submit and what.running >= self.level:
            self.clear()

    def cause(self, what: Response, *, opened_at: float, size: float, slow: bool, fast: bool) -> Cause:
        """Return what a refusal was about, and take it as evidence.

        Args:
            what: The 429.
            opened_at: When the gate opened last.
            size: How many tasks are allowed at once, as far as is known.
            slow: Whether we have lately sent so far below the rate that it can hardly be the reason.
            fast: Whether the rate is a step above what has passed for long.
        """
        now, asked_s = what.now, what.retry_after_s or 0.0
        if not what.submit:
            self.poll_refused_at = now
            self.clear()
            return Cause.TOO_FAST
        if what.sent_at < opened_at:
            return Cause.KNOWN
        if what.in_flight == 0:
            return Cause.TOO_FAST
        if what.in_flight >= REJECTIONS.near * size and now - self.poll_refused_at > APART_S:
            return Cause.UNCLEAR if fast and what.in_flight < FULL * size else Cause.TOO_MANY
        if now - max(self.refused_at, opened_at) > FORGET_S:
            self.forget()
            self.cleared_s = -1.0
        if now - self.refused_at > APART_S:
            self._weigh(what, slow=slow)
        self.refused_at, self.polls, self.asked_s = now, 0, asked_s
        if self.odds >= REJECTIONS.convinced:
            return Cause.TOO_MANY
        # Of late it was the rate, and nothing speaks against that now.
        usual = self.cleared_s >= 0.0 and asked_s <= max(self.cleared_s, LONG_WAIT_S)
        self.unclear = math.isinf(size) and (self.odds > 0.0 or not usual)
        return Cause.UNCLEAR if self.unclear else Cause.TOO_FAST

    def clear(self) -> None:
        """The last refusals were about the rate."""
        if self.counts:
            self.cleared_s = self.asked_s
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.odds, self.level, self.unclear = 0.0, math.inf, False

    def _weigh(self, what: Response, *, slow: bool) -> None:
        """Take a refused submit as evidence.

        If it was about the number of tasks, hardly any submit has passed to as many of them since the last refusal;
        if it was about the rate, any request could have been refused. Less what chance would add each time. Where more
        fitted since the last one, or a poll was refused, this is the first.
        """
        if self.level < math.inf:
            all_ = self.passed + 1
            chance = math.log(all_) - math.lgamma(all_ + 1) / all_
            said = math.log(all_ / (self.as_many + 1)) - chance - REJECTIONS.drift + REJECTIONS.slow * slow
            self.odds = max(self.odds + said, 0.0)
        self.ran = what.running
        self.level = what.running + 2.0 * what.apart
        self.passed = self.as_many = 0
