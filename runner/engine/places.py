"""Which downloads are open, and what is done with slow ones while others wait.

`limits.downloads` says how many are fetched at once. One that hardly brings anything wastes its place, so while others
wait it is moved to one of as many further places for slow ones; where those are taken, it lets go, and is begun again
when nothing else waits (what has come of it is kept where its host takes ranges). Slow is what brings little and has
held its place for many times as long as others needed it: on a slow line all are equal, and all go on.

No clock and no connections of its own: the engine says what time it is.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

from runner.steps.download import DownloadHandle

WINDOW_S = 5.0  # how long a download is watched before it is judged
SLOW_BYTES_PER_S = 100_000.0  # a place that brings more is no waste: a film of some MB takes under a minute
SLOW_TIMES = 8.0  # so many others could have had the place of a slow one
TRIAL_EVERY_S = 15.0  # while nobody knows how long others take, one lets go so often, to see


@dataclass(slots=True, kw_only=True)
class _Open:
    handle: DownloadHandle
    began_s: float
    slow: bool
    mark_s: float
    mark_bytes: int = 0
    lets_go: bool = False

    def rate(self, now: float) -> float:
        return (self.handle.meter.size_bytes - self.mark_bytes) / max(now - self.mark_s, 1e-3)


class Places:
    """The places of one run.

    Args:
        ordinary: How many are fetched at once.
        slow: How many slow ones besides.
    """

    def __init__(self, ordinary: int, slow: int) -> None:
        self._ordinary = ordinary
        self._slow = slow
        self._open: dict[int, _Open] = {}
        self._took_s: deque[float] = deque(maxlen=20)  # those that ended well
        self._trial_s = -math.inf
        self.let_go: deque[int] = deque()  # rows that wait until nothing else does

    def __len__(self) -> int:
        return len(self._open)

    def take(self, waiting: deque[int]) -> tuple[int, bool] | None:
        """Return the next row to fetch and whether it takes a place for slow ones; None when no place is free."""
        slow = sum(each.slow for each in self._open.values())
        free = len(self._open) - slow < self._ordinary
        if waiting and free:
            return waiting.popleft(), False
        if self.let_go and (slow < self._slow or free):
            return self.let_go.popleft(), slow < self._slow
        return None

    def begin(self, row: int, handle: DownloadHandle, now: float, *, slow: bool) -> None:
        """A download begins."""
        self._open[row] = _Open(handle=handle, began_s=now, slow=slow, mark_s=now)

    def over(self, row: int, now: float, *, well: bool) -> None:
        """A download has ended; `well`: how long it took is how long one may take, unless it was a slow one."""
        each = self._open.pop(row)
        if well and not each.slow:
            self._took_s.append(now - each.began_s)

    def judge(self, now: float, *, waiting: bool) -> float:
        """Move slow downloads aside, or have them let go, while others wait; return when to look again."""
        if not waiting or len(self._open) < self._ordinary:
            return math.inf
        ordinary = [each for each in self._open.values() if not each.slow and not each.lets_go]
        if len(ordinary) < self._ordinary:
            return math.inf
        for each in ordinary:
            if now - each.mark_s < WINDOW_S:
                continue
            if (
                not each.handle.meter.judged
                and each.rate(now) < SLOW_BYTES_PER_S
                and self._too_long(each, now)
            ):
                self._move(each, now)
            each.mark_s, each.mark_bytes = now, each.handle.meter.size_bytes
        return min(each.mark_s for each in ordinary) + WINDOW_S

    def _too_long(self, each: _Open, now: float) -> bool:
        return not self._took_s or now - each.began_s > SLOW_TIMES * median(self._took_s)

    def _move(self, each: _Open, now: float) -> None:
        if sum(other.slow for other in self._open.values()) < self._slow:
            each.slow = True
        elif self._took_s or now - self._trial_s >= TRIAL_EVERY_S:
            self._trial_s = now
            each.lets_go = True
            each.handle.scope.cancel()

    def stop(self) -> None:
        """Have all let go."""
        for each in self._open.values():
            each.handle.scope.cancel()
