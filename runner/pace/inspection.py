"""At which ages to ask about a task, so that its end is seen soon and with few polls. Pure.

A poll has a price: so many seconds between an end and the poll that sees it are as bad as one poll more. The plan is the
cheapest there is, all polls of a task and the seconds that its end waits for the next one taken together; it is found from
the last age backwards.

Source:
    R. E. Barlow, L. C. Hunter, F. Proschan, "Optimum Checking Procedures", J. SIAM 11 (1963).
"""

from __future__ import annotations

from bisect import bisect_right

from runner.model import Polling
from runner.pace.durations import Curve

CELLS = 48
# Parts of the tasks that have ended by the ages considered: even ones, and a few for those far from all others.
_EVEN = [(cell + 0.5) / CELLS for cell in range(CELLS)]
_FAR = [_EVEN[0] / 3.0**fold for fold in (3, 2, 1)]
PARTS = (*_FAR, *_EVEN, *(1.0 - part for part in reversed(_FAR)))


class PollPlan:
    """The ages to ask at.

    Args:
        curve: How long such tasks take.
        limits: The least and greatest distances between polls.
        price: What a poll costs, as a part of the mean duration: an end seen so much later is as bad.
    """

    __slots__ = ("_ages", "_most_s", "_next")

    def __init__(self, curve: Curve, limits: Polling, *, price: float) -> None:
        ages, ended, areas = _cells(curve)
        self._ages, self._most_s = ages, limits.max_s
        last = len(ages) - 1
        self._next = [last] * last  # by cell, the cell to ask at next
        costs, farthest = [0.0] * (last + 1), last
        price_s = price * areas[-1]
        for at in range(last - 1, -1, -1):
            nearest_s = ages[at] + limits.min_s if at else limits.first_s
            farthest_s = ages[at] + limits.max_s if at else float("inf")
            cheapest = float("inf")
            # Who is asked later is not asked sooner the next time, so most need not be looked at.
            for to in range(at + 1, farthest + 1 if at else last + 1):
                if to < last and ages[to + 1] <= nearest_s:
                    continue
                when_s = ages[to] if ages[to] > nearest_s else nearest_s
                cost = when_s * (ended[to] - ended[at]) - areas[to] + areas[at] + costs[to]
                if cost < cheapest:
                    cheapest, self._next[at] = cost, to
                if ages[to] >= farthest_s:
                    break
            farthest = self._next[at]
            costs[at] = cheapest + price_s * (1.0 - ended[at])

    def after(self, running_s: float) -> float:
        """Return the age to ask at next, of a task known to run at `running_s`; 0: never asked."""
        at = min(bisect_right(self._ages, running_s), len(self._next)) - 1
        to = self._next[at]
        # The longest silence holds where some are likely to end meanwhile.
        most_s = running_s + self._most_s if at and to > at + 1 else float("inf")
        return min(self._ages[to], most_s)


def _cells(curve: Curve) -> tuple[list[float], list[float], list[float]]:
    """Return ages, the parts ended by them, and the sums of durations up to them."""
    ages, ended, areas = [0.0], [0.0], [0.0]
    for part in PARTS:
        age_s = curve.age(part)
        if age_s <= ages[-1]:
            ended[-1] = part
            continue
        middle_s = (ages[-1] + age_s) / 2 if ages[-1] > 0.0 else age_s
        areas.append(areas[-1] + (part - ended[-1]) * middle_s)
        ages.append(age_s)
        ended.append(part)
    ended[-1] = 1.0
    return ages, ended, areas
