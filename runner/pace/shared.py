"""One rate for all runs of an account: one limiter, written down where all of them reach it, and permits that it gives.

Each run asks for a few permits at a time (`SharedRate.asks`). Whoever asks takes up the limiter, tells it what was
answered since, has it give permits, and writes it down again (`grant`); two never do so at once. So there is one grid of
send times, one gate that a 429 closes, and one search for the limit, however many runs there are. A run that ends has
nothing to give back, and one that comes waits for nobody.

Pure: what carries the question there and the answer back is `engine/permits.py`. Times there are the server's, in
seconds; each run turns them into those of its own clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from runner.pace.gate import GATE
from runner.pace.rate import KeptRate, rate_limiter

AHEAD_S = 0.05  # permits are given so far ahead: those who hold some learn so much later of a 429
VOID_S = 0.05  # a permit that was not used for so long is void
ASK_BEFORE_S = 0.01  # a permit that is further off is asked for so long before that
UNCLEAR = 2  # refusals in a row that are unclear
PASSES_KEPT = 200  # of those not told of yet


class Rejection(NamedTuple):
    """A 429, as `RateLimiter.refused` is told of it."""

    now: float
    sent_at: float
    retry_after_s: float | None
    draw: float
    learn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What a run asks for, and what it tells.

    `given_per_s` is what its manifest allows, `ceiling_per_s` what a person does; None: the rate is found, no ceiling.
    """

    number: int = 1
    given_per_s: float | None = None
    ceiling_per_s: float | None = None
    passed: tuple[tuple[float, float], ...] = ()  # (now, sent_at)
    refused: tuple[Rejection, ...] = ()
    restore: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """Permits, and how the account's rate stands."""

    permits: tuple[float, ...] = ()
    again_at: float = -math.inf  # where there are none: when to ask again
    opens_at: float = -math.inf
    rate_per_s: float
    found_per_s: float | None
    troubled: bool  # refused, and nothing has passed since
    is_slow: bool
    learned: Any


def grant(
    kept: Mapping[str, Any] | None, asks: Asks, *, now: float, first: Callable[[float], KeptRate]
) -> tuple[dict[str, Any], Granted]:
    """Take up the limiter of an account, tell it what is told, and have it give permits; return it and these.

    Args:
        kept: The limiter as it was written down; None: there is none yet.
        asks: What a run asks and tells.
        now: The server's clock.
        first: Makes one that knows what the run knows, at this time, where none was written down.
    """
    kind = "found" if asks.given_per_s is None else "given"
    if kept is None or kind not in kept:
        rate = first(now)
    else:
        rate = rate_limiter(given_per_s=asks.given_per_s)
        rate.take_up(kept[kind])
    if kept is not None:
        rate.gate.take_up(kept["gate"])
    last = kept["last"] if kept is not None else -math.inf  # under a ceiling: the permit given last
    unclear = kept.get("unclear", 0) if kept is not None else 0
    for refused in asks.refused:
        if refused.sent_at >= rate.opens_at:
            # One run alone sees little of what the others are refused: what is unclear to it twice is learned all the
            # same. If it was about the number of tasks, whoever finds that out puts the rate back.
            unclear = 0 if refused.learn else unclear + 1
        rate.refused(
            refused.now,
            sent_at=refused.sent_at,
            retry_after_s=refused.retry_after_s,
            draw=refused.draw,
            learn=refused.learn or unclear >= UNCLEAR,
        )
    if asks.restore is not None:
        rate.restore(asks.restore)
    for at, sent_at in asks.passed:
        rate.passed(at, sent_at=sent_at)
    gap_s = 0.0 if asks.ceiling_per_s is None else 1.0 / asks.ceiling_per_s
    permits: list[float] = []
    again_at = now
    for _ in range(asks.number):
        at = max(rate.next_at(now), last + gap_s, now)
        if at > now + AHEAD_S:
            again_at = at - ASK_BEFORE_S
            break
        rate.sent(at)
        permits.append(at)
        # On the average: one that is a little late makes no other late.
        last = at if at > last + gap_s + GATE.late_s else last + gap_s
    told = Granted(
        permits=tuple(permits),
        again_at=again_at,
        opens_at=rate.opens_at,
        rate_per_s=min(rate.rate_per_s, asks.ceiling_per_s or math.inf),
        found_per_s=rate.found_per_s,
        troubled=rate.gate.in_a_row > 0,
        is_slow=rate.is_slow(now),
        learned=rate.learned(),
    )
    kinds = {name: kept[name] for name in ("found", "given") if kept is not None and name in kept}
    return {
        **kinds,
        kind: rate.as_kept(),
        "gate": rate.gate.as_kept(),
        "last": last,
        "unclear": unclear,
    }, told


@dataclass(slots=True)
class _ServersTime:
    """How far the server's clock is ahead of ours, by the best look at it of late."""

    ahead_s: float = 0.0
    took_s: float = math.inf
    looked_at: float = -math.inf

    def told(self, server_s: float, *, asked_at: float, answered_at: float) -> None:
        took_s = answered_at - asked_at
        if took_s <= 2.0 * self.took_s or answered_at - self.looked_at > 10.0:
            self.ahead_s = server_s - (asked_at + answered_at) / 2
            self.took_s, self.looked_at = took_s, answered_at


@dataclass(slots=True)
class _Told:
    """What is to be told at the next question, by our own clock."""

    passed: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=PASSES_KEPT))
    refused: list[Rejection] = field(default_factory=list)
    restore: object = None


class SharedRate:
    """A `RateLimiter` that sends by permits, and has what is refused learned for all.

    Args:
        given_per_s: What the manifest allows; None: the rate is found.
        first: Makes a limiter that knows what this run knows, at a time: the account's, where none was written down.
        now: The run's clock.
    """

    def __init__(
        self, *, given_per_s: float | None, first: Callable[[float], KeptRate], now: float = 0.0
    ) -> None:
        self.first = first
        self._given_per_s = given_per_s
        self._set_per_s: float | None = None
        self._stands = _so_far(first(now))
        self._time = _ServersTime()
        self._permits: deque[float] = deque()
        self._again_at = self._opens_at = self._sent_at = self._wanted_at = -math.inf
        self._told = _Told()
        self._asking = False
        self.sharers = 1
        self.held_s = 0.0
        self.wake: Callable[[], None] = lambda: None

    # --- what the run asks ---

    @property
    def rate_per_s(self) -> float:
        return self._stands.rate_per_s

    @property
    def found_per_s(self) -> float | None:
        return self._stands.found_per_s

    @property
    def opens_at(self) -> float:
        return self._opens_at

    def next_at(self, now: float) -> float:
        """Return when the next request may go; infinite while permits are asked for."""
        for at in self._permits:
            if at + VOID_S >= now:
                return max(at, self._opens_at)
        return math.inf if self._asking else max(self._again_at, self._opens_at)

    def is_slow(self, now: float) -> bool:
        return self._stands.is_slow

    def has_permit(self, now: float) -> bool:
        """Say whether a request may go now; where there is no permit, some are asked for."""
        while self._permits and self._permits[0] + VOID_S < now:
            self._permits.popleft()
        if self._permits:
            return self._permits[0] <= now
        if not self._asking:
            self._asking, self._wanted_at = True, now
            self.wake()
        return False

    # --- what the run tells ---

    def set(self, per_s: float | None) -> None:
        """Allow so many requests a second; None: as the manifest says."""
        self._set_per_s = per_s

    def share_with(self, sharers: int) -> None:
        """Permits are asked for so many at once that all who share them have their turn."""
        self.sharers = sharers

    def sent(self, now: float) -> None:
        at = self._permits.popleft() if self._permits else now
        if now - at <= max(GATE.late_s, 0.5 / self.rate_per_s):
            self.held_s += now - max(self._sent_at, self._wanted_at)
        self._sent_at = now

    def passed(self, now: float, *, sent_at: float) -> None:
        self._told.passed.append((now, sent_at))
        if self._stands.troubled:
            self.wake()

    def refused(
        self, now: float, *, sent_at: float, retry_after_s: float | None, draw: float, learn: bool = True
    ) -> None:
        self._told.refused.append(Rejection(now, sent_at, retry_after_s, draw, learn))
        # Until all have been told, and it is known for how long.
        self._opens_at = max(self._opens_at, now + (retry_after_s or GATE.first_wait_s / 2))
        self._permits.clear()
        self.wake()

    def learned(self) -> object:
        return self._stands.learned

    def restore(self, learned: object) -> None:
        self._told.restore = learned
        self.wake()

    # --- the way there and back ---

    def asks(self) -> Asks | None:
        """Return what is to be asked and told now; None: nothing."""
        told, urgent = self._told, self._stands.troubled and bool(self._told.passed)
        if not (self._asking or told.refused or told.restore is not None or urgent):
            return None
        self._told = _Told()
        ahead_s = self._time.ahead_s
        given = self._given_per_s
        return Asks(
            number=max(math.ceil(AHEAD_S * self.rate_per_s / self.sharers), 1) if self._asking else 0,
            given_per_s=given if given is None else self._set_per_s or given,
            ceiling_per_s=self._set_per_s if given is None else None,
            passed=tuple((at + ahead_s, sent_at + ahead_s) for at, sent_at in told.passed),
            refused=tuple(
                each._replace(now=each.now + ahead_s, sent_at=each.sent_at + ahead_s) for each in told.refused
            ),
            restore=told.restore,
        )

    def granted(self, told: Granted, *, server_s: float, asked_at: float, answered_at: float) -> None:
        """Take what was answered, at these times of our own clock."""
        self._time.told(server_s, asked_at=asked_at, answered_at=answered_at)
        ahead_s = self._time.ahead_s
        if told.learned == self._stands.learned:
            told = replace(told, learned=self._stands.learned)  # the same object: nothing new was learned
        self._stands = told
        self._again_at = told.again_at - ahead_s
        self._asking = False
        if self._told.refused:  # since the question: the answer knows nothing of that
            self._opens_at = max(self._opens_at, told.opens_at - ahead_s)
            return
        self._opens_at = told.opens_at - ahead_s
        self._permits.extend(at - ahead_s for at in told.permits)


def _so_far(rate: KeptRate) -> Granted:
    """Return how a limiter stands before anybody was asked."""
    return Granted(
        rate_per_s=rate.rate_per_s,
        found_per_s=rate.found_per_s,
        troubled=False,
        is_slow=False,
        learned=rate.learned(),
    )
