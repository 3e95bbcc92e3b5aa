"""What the service has asked us to wait for: quotas that last, told from the limits on how fast we may send.

A 429 that asks for a minute at most is about the rate, and the pacer's: it closes one gate for all. One that asks
for longer, or whose code names a quota, is about one kind of request: only that kind waits, since the others were
not refused. Whether a run waits for it, or ends, is a question of patience.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from runner.engine.gates import NO_HOLDS, Held, Holds
from runner.pace.scheduler import Call
from runner.service.protocol import Answer, Meaning

# No limit on a rate that is in common use counts over more than a minute; half of one to spare.
RATE_S = 90.0
# The shortest wait, whatever patience was given: any limit per minute has surely been reset by then.
ALWAYS_S = 120.0
# Where no time is named, or an absurd one: the first wait before it is asked again, and ever longer ones after it.
FIRST_S, LONGEST_S = 15.0, 600.0
# With a shorter wait than this, a "quota" means tasks that run at once, which `pace.concurrency` limits.
SHORT_S = 10.0
TELL_ANEW_S = 60.0


def is_quota(answer: Answer) -> bool:
    """Say whether an answer is a 429 about a quota that lasts, not about how fast or how many."""
    if answer.meaning is not Meaning.RATE_LIMITED:
        return False
    asked_s = answer.retry_after_s
    if asked_s is not None and asked_s > RATE_S:
        return True
    return answer.about_quota and not 0.0 < (asked_s or 0.0) < SHORT_S


@dataclass(slots=True, kw_only=True)
class Wait:
    """What one kind of request waits for; times are readings of the run's clock, in seconds."""

    call: Call
    words: str
    since: float  # the first refusal
    until: float = -math.inf
    named: bool = False  # the service itself says until when
    repeats: bool = False  # submits that may have been accepted before are refused as well
    refusals: int = 0  # waves of them
    refused_at: float = -math.inf
    told_until: float = -math.inf

    def again(self, answer: Answer, now: float, sent_at: float) -> None:
        """Take one more refusal; what was on its way at the last one is no new one."""
        asked_s = answer.retry_after_s
        named = asked_s is not None and 0.0 < asked_s < math.inf
        if sent_at >= self.refused_at:
            self.refusals, self.refused_at = self.refusals + 1, now
            self.words, self.named = answer.words(), named
            self.until = now + min(FIRST_S * 2.0 ** min(self.refusals - 1, 10), LONGEST_S)
            if named:
                self.until = now + (asked_s or 0.0)
        elif named:
            self.until, self.named = max(self.until, now + (asked_s or 0.0)), True

    def is_news(self) -> bool:
        """Whether people are to be told of it; only once, unless another time is named."""
        news = self.told_until == -math.inf or (
            self.named and abs(self.until - self.told_until) > TELL_ANEW_S
        )
        if news:
            self.told_until = self.until
        return news


class Waits:
    """The waits of one run, by kind of request. A kind that has waited goes one by one until one passes.

    Args:
        patience_s: How long a run waits for the service when nothing else is left to do.
    """

    def __init__(self, patience_s: float) -> None:
        self._limit_s = max(patience_s, ALWAYS_S)
        self._waits: dict[Call, Wait] = {}

    def __bool__(self) -> bool:
        return bool(self._waits)

    def refused(
        self, call: Call, answer: Answer, now: float, *, sent_at: float, repeat: bool = False
    ) -> Wait:
        """Take a 429 about a quota, `repeat`: to a submit that may have been accepted before; return the wait."""
        wait = self._waits.get(call)
        if wait is None:
            wait = self._waits[call] = Wait(call=call, words=answer.words(), since=now)
        wait.again(answer, now, sent_at)
        wait.repeats |= repeat
        return wait

    def passed(self, call: Call, *, sent_at: float) -> None:
        """A request of this kind has passed: its wait is over if it was sent after the refusal."""
        wait = self._waits.get(call)
        if wait is not None and sent_at >= wait.refused_at:
            del self._waits[call]

    def holds(self, now: float, on_their_way: Callable[[Call], int]) -> Holds:
        """Return what each kind waits for; while one of a kind that has waited is on its way, no other goes."""
        if not self._waits:
            return NO_HOLDS
        submits = self._held(Call.SUBMIT, now, on_their_way)
        repeated = self._waits.get(Call.SUBMIT)
        return Holds(
            submits=submits,
            repeats=submits if repeated is not None and repeated.repeats else Held(),
            uploads=self._held(Call.UPLOAD, now, on_their_way),
            polls=self._held(Call.POLL, now, on_their_way),
        )

    def _held(self, call: Call, now: float, on_their_way: Callable[[Call], int]) -> Held:
        wait = self._waits.get(call)
        if wait is None:
            return Held()
        return Held(math.inf if on_their_way(call) else wait.until, self._beyond(wait, now))

    def _beyond(self, wait: Wait, now: float) -> bool:
        """Whether a kind waits for longer than a run that has nothing else to do waits."""
        asked_often = wait.refusals > 1 and wait.until - wait.since > self._limit_s
        return wait.until - now > self._limit_s or asked_often

    def all(self) -> list[Wait]:
        """Return all waits."""
        return list(self._waits.values())

    def all_beyond(self, now: float) -> list[Wait]:
        """Return the waits that a run does not wait for."""
        return [wait for wait in self._waits.values() if self._beyond(wait, now)]

    def next_at(self, now: float) -> float:
        """Return when the next one is over; infinite when none is to come."""
        return min((wait.until for wait in self._waits.values() if wait.until > now), default=math.inf)
