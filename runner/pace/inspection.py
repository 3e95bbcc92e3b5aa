"""At which ages to ask about a task, so that its end is seen soon and with few polls. Pure.

A poll has a price: so many seconds between an end and the poll that sees it are as bad as one poll more. The next poll is
where the price of an end that is seen is lowest: the poll's, and the seconds that those ended by then have waited for it.

Source:
    R. E. Barlow, L. C. Hunter, F. Proschan, "Optimum Checking Procedures", J. SIAM 11 (1963); one poll ahead here.
"""

from __future__ import annotations

from bisect import bisect_right

from runner.model import Polling
from runner.pace.durations import Curve

CELLS = 48  # ages considered, each with the same part of the tasks ending before it
DEAREST, CHEAPEST = 3.0, 0.001  # price of a poll, in mean durations
TRIES, CLOSE_ENOUGH = 6, 0.06  # to find the price at which about so many polls are spent


class PollPlan:
    """The ages to ask at, where about so many polls are spent on a task.

    Args:
        curve: How long such tasks take.
        limits: The least and greatest distances between polls.
        polls: Polls a task, the one that finds the end included. Fewer are spent where a task's end is well known.
    """

    __slots__ = ("_ages", "_areas", "_ended", "_limits", "_next", "_price_s")

    def __init__(self, curve: Curve, limits: Polling, *, polls: float) -> None:
        self._limits = limits
        self._ages, self._ended, self._areas = _cells(curve)
        price = 0.05
        for _ in range(TRIES):
            self._price_s, self._next = price * self._areas[-1], dict[int, int]()
            wrong = self.polls() / polls
            if abs(wrong - 1.0) < CLOSE_ENOUGH:
                break
            price = min(max(price * wrong**2, CHEAPEST), DEAREST)

    def polls(self) -> float:
        """Return how many polls are expected until a task's end is seen."""
        polls, at, last = 1.0, self._after(0), len(self._ages) - 1
        while at < last:
            polls += 1.0 - self._ended[at]
            at = self._after(at)
        return polls

    def after(self, running_s: float) -> float:
        """Return the age to ask at next, of a task known to run at `running_s`; 0: never asked."""
        return self._ages[self._after(min(bisect_right(self._ages, running_s) - 1, len(self._ages) - 2))]

    def _after(self, at: int) -> int:
        if at in self._next:
            return self._next[at]
        ages, ended, areas, limits = self._ages, self._ended, self._areas, self._limits
        from_s, from_ended, from_area, last = ages[at], ended[at], areas[at], len(ages) - 1
        nearest_s = from_s + limits.min_s if at else limits.first_s
        farthest_s = from_s + limits.max_s if at else float("inf")
        price = self._price_s * (1.0 - from_ended)
        best, choice = float("inf"), last
        for to in range(at + 1, last + 1):
            if to < last and ages[to + 1] <= nearest_s:
                continue
            found = ended[to] - from_ended
            lag = max(ages[to], nearest_s) * found - (areas[to] - from_area)
            if lag + price < best * found:
                best, choice = (lag + price) / found, to
            if ages[to] >= farthest_s:
                break
        self._next[at] = choice
        return choice


def _cells(curve: Curve) -> tuple[list[float], list[float], list[float]]:
    """Return ages, the parts ended by them, and the sums of durations up to them."""
    ages, ended, areas = [0.0], [0.0], [0.0]
    for cell in range(1, CELLS + 4):
        # The last few cells follow the tail.
        part = cell / CELLS - 0.5 / CELLS if cell <= CELLS else 1.0 - 0.5 / CELLS / 3.0 ** (cell - CELLS)
        age_s = curve.age(part)
        if age_s <= ages[-1]:
            ended[-1] = max(ended[-1], part)
            continue
        middle_s = (ages[-1] + age_s) / 2 if ages[-1] > 0.0 else age_s
        areas.append(areas[-1] + (part - ended[-1]) * middle_s)
        ages.append(age_s)
        ended.append(part)
    ended[-1] = 1.0
    return ages, ended, areas
