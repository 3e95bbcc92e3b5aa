"""Three kinds of rate limit. Pure: the caller brings the clock."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol


class Limiter(Protocol):
    """Lets a request pass, or says how long it has to wait. A refused request uses nothing up."""

    def wait_s(self, now: float) -> float:
        """Return 0 and count the request, or the seconds until one would pass."""


@dataclass(slots=True, kw_only=True)
class Bucket:
    """A token bucket: `rate` tokens a second, at most `size` of them."""

    rate: float
    size: float
    _tokens: float = field(init=False)
    _at: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        self._tokens = self.size

    def wait_s(self, now: float) -> float:
        """See `Limiter`."""
        if self._at > -math.inf:
            self._tokens = min(self.size, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return (1 - self._tokens) / self.rate


@dataclass(slots=True, kw_only=True)
class FixedWindow:
    """A fixed window: so many requests until the clock passes the next multiple of `window_s`."""

    most: float
    window_s: float
    _index: int | None = field(init=False, default=None)
    _used: int = field(init=False, default=0)

    def wait_s(self, now: float) -> float:
        """See `Limiter`."""
        index = math.floor(now / self.window_s)
        if index != self._index:
            self._index, self._used = index, 0
        if self._used < self.most:
            self._used += 1
            return 0
        return max((index + 1) * self.window_s - now, 1e-9)


@dataclass(slots=True, kw_only=True)
class Log:
    """A sliding log: so many requests in any stretch of `window_s`."""

    most: float
    window_s: float
    _times: deque[float] = field(init=False, default_factory=deque)

    def wait_s(self, now: float) -> float:
        """See `Limiter`."""
        # The same sum as below, lest rounding let a request pass that nobody counts.
        while self._times and self._times[0] + self.window_s <= now:
            self._times.popleft()
        if len(self._times) < self.most:
            self._times.append(now)
            return 0
        return self._times[0] + self.window_s - now


def make_limiter(kind: str, *, rate: float, window_s: float, burst: int | None) -> Limiter | None:
    """Return a limiter of `rate` requests a second, or None where the rate is 0."""
    if rate <= 0:
        return None
    match kind:
        case "bucket":
            return Bucket(rate=rate, size=max(1.0, rate if burst is None else burst))
        case "window":
            return FixedWindow(most=max(1.0, round(rate * window_s, 9)), window_s=window_s)
        case "log":
            return Log(most=max(1.0, round(rate * window_s, 9)), window_s=window_s)
        case _:
            raise ValueError(f"unknown kind of rate limit: {kind}")
