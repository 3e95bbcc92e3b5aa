"""What a 429 means: "too fast" or "too many". The one owner of that question; both limits are told from here.

"Too fast" is refused whatever is asked. "Too many" refuses submits only, at any speed, until a task ends. Each refused
submit is evidence: how much likelier is what we saw if it was "too many"? By chance a rate would have refused a poll
as well, or a submit that came to fewer tasks. The logarithms are added up (a CUSUM test): above a bound it is "too
many". One refused poll, or one submit that passes to more tasks than were there, takes all of it back: it was the rate.

While that is open the gate closes as it was told, but the rate is not lowered. Where it was, before there was any
evidence, it goes back.

Source:
    E. S. Page, "Continuous Inspection Schemes", Biometrika 41 (1954).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.gate import APART_S, FORGET_S
from runner.pace.numbers import number
from runner.pace.rate import LONG_WAIT_S, RateLimiter


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
        4.0,
        unit="logarithm of odds",
        serves="a rate is taken for a number of tasks once in fifty times at most",
    )
    drift: float = number(
        0.6, unit="the same, a refusal", off=0.0, serves="what chance adds over many refusals is not evidence"
    )
    slow: float = number(
        4.5,
        unit="the same, a refusal",
        off=0.0,
        serves="a submit refused again while we send at a third of the rate and polls pass: that alone is enough",
    )
    polls_first: int = number(
        2,
        unit="polls",
        off=0,
        serves="after a refused submit so many polls have to pass: they are the other witness",
    )
    near: float = number(
        0.8, unit="of the number", serves="a submit refused near a number that was met: it is that number"
    )
    regret_s: float = number(
        5.0, unit="s", off=0.0, serves="a poll refused so soon after a number was met: it was the rate"
    )


REJECTIONS = RejectionSettings()


class Rejections:
    """Says what each 429 means, and tells the limits.

    Args:
        rate: The rate of the account.
        tasks: How many tasks may be at the service.
    """

    def __init__(self, rate: RateLimiter, tasks: ConcurrencyLimit) -> None:
        self._rate = rate
        self._tasks = tasks
        self._evidence = 0.0
        self._before: object = None  # what the rate had learned before the refusals that are still unclear
        self._polls = 0  # that passed since
        self._unclear = False
        self._asked_s = 0.0  # what the last refused submit was asked to wait
        self._cleared_s = -1.0  # the same of the last that was about the rate; negative: none of late
        self._refused_at = self._poll_refused_at = self._met_at = -math.inf
        self._level = math.inf  # more than ran at the last refusal
        # What passed since the last refused submit: the number of tasks a submit came to, -1 for all else.
        self._passed: deque[float] = deque(maxlen=512)

    @property
    def counts(self) -> bool:
        """Whether it matters to how many tasks a submit passes."""
        return self._refused_at > -math.inf

    @property
    def wants_polls(self) -> bool:
        """Whether polls should go before the next submit, to see if only submits are refused."""
        return self._unclear and self._polls < REJECTIONS.polls_first

    def passed(self, now: float, *, sent_at: float, submit: bool, running: float) -> None:
        """An answer that was no 429 came; to a submit, with so many tasks `running` by our best guess."""
        self._passed.append(running if submit else -1.0)
        self._polls += not submit
        if submit and running >= self._level:
            self._clear()
        self._rate.passed(now, sent_at=sent_at)

    def refused(
        self,
        now: float,
        *,
        sent_at: float,
        submit: bool,
        in_flight: int,
        running: tuple[float, float],
        retry_after_s: float | None,
        draw: float,
    ) -> Cause:
        """A 429 came.

        Args:
            now: When.
            sent_at: When its request was sent.
            submit: Whether that was a submit.
            in_flight: Tasks at the service and submits on their way, as we know, without this one.
            running: So many of them most likely still run, and the standard deviation of that.
            retry_after_s: What it asked for; None when absent.
            draw: For the jitter where it did not say.
        """
        cause = self._cause(now, sent_at, submit, in_flight, running, retry_after_s or 0.0)
        if cause is Cause.TOO_MANY:
            if self._before is not None:
                self._rate.restore(self._before)
            self._forget()
            if math.isinf(self._tasks.size):
                self._met_at = now
            self._tasks.refused(now, in_flight, retry_after_s=retry_after_s)
            return cause
        if submit and self._before is None:
            self._before = self._rate.learned()
        learn = cause is Cause.TOO_FAST
        self._rate.refused(now, sent_at=sent_at, retry_after_s=retry_after_s, draw=draw, learn=learn)
        return cause

    def _cause(
        self,
        now: float,
        sent_at: float,
        submit: bool,
        in_flight: int,
        running: tuple[float, float],
        asked_s: float,
    ) -> Cause:
        if not submit:
            self._poll_refused_at = now
            self._clear()
            if now - self._met_at < REJECTIONS.regret_s:
                self._tasks.lift()
            return Cause.TOO_FAST
        if sent_at < self._rate.opens_at:
            return Cause.KNOWN
        if in_flight == 0:
            return Cause.TOO_FAST
        if in_flight >= REJECTIONS.near * self._tasks.size and now - self._poll_refused_at > APART_S:
            return Cause.TOO_MANY
        if now - max(self._refused_at, self._rate.opens_at) > FORGET_S:
            self._forget()
            self._cleared_s = -1.0
        if now - self._refused_at > APART_S or not self.counts:
            self._weigh(*running, slow=self._rate.is_slow(now))
        self._refused_at, self._polls, self._asked_s = now, 0, asked_s
        if self._evidence >= REJECTIONS.convinced:
            return Cause.TOO_MANY
        # Of late it was the rate, and nothing speaks against that now.
        usual = self._cleared_s >= 0.0 and asked_s <= max(self._cleared_s, LONG_WAIT_S)
        self._unclear = self._evidence > 0.0 or not usual
        return Cause.UNCLEAR if self._unclear else Cause.TOO_FAST

    def _weigh(self, running: float, apart: float, *, slow: bool) -> None:
        """Take a refused submit as evidence.

        If it was about the number of tasks, hardly any submit has passed to as many of them since the last refusal;
        if it was about the rate, any request could have been refused. Less what chance would add each time. Where more
        fitted since the last one, or a poll was refused, this is the first.
        """
        if self.counts and self._level < math.inf:
            as_many, all_ = sum(1 for at in self._passed if at >= running) + 1, len(self._passed) + 1
            chance = math.log(all_) - math.lgamma(all_ + 1) / all_
            said = math.log(all_ / as_many) - chance - REJECTIONS.drift + REJECTIONS.slow * slow
            self._evidence = max(self._evidence + said, 0.0)
        self._level = running + 2.0 * apart
        self._passed.clear()

    def _clear(self) -> None:
        """The last refusals were about the rate."""
        if self.counts:
            self._cleared_s = self._asked_s
        self._forget()

    def _forget(self) -> None:
        self._evidence, self._before, self._level, self._unclear = 0.0, None, math.inf, False
