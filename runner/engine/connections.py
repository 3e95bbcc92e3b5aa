"""Which requests to the API are open, and whether there is a place for another one.

Ten are open at once, whatever the number of jobs. A poll that stays unanswered gives up its place after a moment:
tasks that the service cannot tell of must not keep submits, and polls of other tasks, from being sent. While some are
so slow, polls fill only half of the places, and tasks that were slow to be told of share these.
"""

from __future__ import annotations

import math
from collections import Counter

from runner.engine.gates import FreePlaces
from runner.pace.scheduler import Call

PLACES = 10
SLOW_PLACES = 10  # slow polls that hold no place; more of them hold one each
MOST_OPEN = PLACES + SLOW_PLACES
FOR_POLLS = PLACES // 2  # while some are slow
# A poll is slow after so many times what polls usually take, within these bounds.
SLOW, SOONEST_S, LATEST_S = 4.0, 2.0, 10.0
STEP = 1.05  # each answer moves the usual time by this much, towards the median


class Connections:
    """Keeps account of open requests. Times are readings of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._polls: dict[int, tuple[float, int | None]] = {}  # number: when sent, and for whom; oldest first
        self._open: Counter[Call] = Counter()
        self._all = 0
        self._number = 0
        self._usual_s = 0.1
        self._slow_rows: set[int] = set()  # jobs whose last poll was slow

    def begin(self, call: Call, row: int | None, now: float) -> int:
        """A request is sent; return the number to end it by."""
        self._number += 1
        self._all += 1
        self._open[call] += 1
        if call is Call.POLL:
            self._polls[self._number] = now, row
        return self._number

    def end(self, call: Call, number: int, now: float) -> None:
        """A request was answered, or is given up."""
        self._all -= 1
        self._open[call] -= 1
        if call is not Call.POLL:
            return
        sent_at, row = self._polls.pop(number)
        took_s = now - sent_at
        if row is not None:
            (self._slow_rows.add if took_s >= self._slow_s else self._slow_rows.discard)(row)
        self._usual_s *= STEP if took_s > self._usual_s else 1.0 / STEP

    def open(self, call: Call | None = None) -> int:
        """Return how many requests are open, of one kind or of all."""
        return self._all if call is None else self._open[call]

    def places(self, now: float) -> FreePlaces:
        """Return whether there is a place for one more, and when the next open poll gives up its own."""
        slow_s, slow, change_at = self._slow_s, 0, math.inf
        for sent_at, _ in self._polls.values():  # the oldest first
            if sent_at + slow_s > now:
                change_at = sent_at + slow_s
                break
            slow += 1
        apart = min(slow, SLOW_PLACES)
        return FreePlaces(
            full=self._all - apart >= PLACES,
            any_open=self._all > apart,
            room_for_polls=not slow or len(self._polls) - apart < FOR_POLLS,
            change_at=change_at,
        )

    def may_ask(self, row: int) -> bool:
        """Whether this job may be asked about where there is room for polls."""
        if row not in self._slow_rows:
            return True
        return sum(1 for _, other in self._polls.values() if other in self._slow_rows) < FOR_POLLS

    @property
    def _slow_s(self) -> float:
        return min(max(SLOW * self._usual_s, SOONEST_S), LATEST_S)
