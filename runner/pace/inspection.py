"""At which ages to ask about a task, so that its end is seen soon and with few polls. Pure.

A poll has a price: so many seconds between an end and the poll that sees it are as bad as one poll more. The plan is the
cheapest there is, all polls of a task and the seconds that its end waits for the next one taken together; it is found from
the last age backwards.

Source:
    R. E. Barlow, L. C. Hunter, F. Proschan, "Optimum Checking Procedures", J. SIAM 11 (1963).
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf

from runner.model import Polling
from runner.pace.durations import Curve

PARTS = 48  # ages are considered by which another one of so many parts of the tasks has ended
LIKELY = 0.03  # a chance: the longest silence holds where one ends meanwhile more often than that
MOST = 0.95  # of the tasks have ended: how long the last few take is known badly, so it holds for them too
WIDEST = 1.15  # and between those far apart some more: else the few that take longest would be asked about very late


class PollPlan:
    """The ages to ask at.

    Args:
        curve: How long such tasks take.
        limits: The least and greatest distances between polls.
        price: What a poll costs, as a part of the mean duration: an end seen so much later is as bad.
    """

    __slots__ = ("_ages", "_curve", "_most_s", "_next")

    def __init__(self, curve: Curve, limits: Polling, *, price: float) -> None:
        ages, ended, areas = _cells(curve)
        last = len(ages) - 1
        self._curve, self._ages, self._most_s = curve, ages, limits.max_s
        self._next = [last] * last  # by cell, the cell to ask at next
        costs, farthest = [0.0] * (last + 1), last
        price_s = price * areas[-1]
        for at in range(last - 1, -1, -1):
            nearest_s = ages[at] + limits.min_s if at else limits.first_s
            cheapest = inf
            # Who is asked later is not asked sooner the next time, so most need not be looked at.
            for to in range(at + 1, farthest + 1 if at else last + 1):
                if to < last and ages[to + 1] <= nearest_s:
                    continue
                when_s = max(ages[to], nearest_s)
                cost = when_s * (ended[to] - ended[at]) - areas[to] + areas[at] + costs[to]
                if cost < cheapest:
                    cheapest, self._next[at] = cost, to
            farthest = self._next[at]
            costs[at] = cheapest + price_s * (1.0 - ended[at])

    def after(self, running_s: float) -> float:
        """Return the age to ask at next, of a task known to run at `running_s`; 0: never asked."""
        at = min(bisect_right(self._ages, running_s), len(self._next)) - 1
        age_s, most_s = self._ages[self._next[at]], running_s + self._most_s
        if not at or age_s <= most_s:
            return age_s
        ended = self._curve.ended
        likely = ended(most_s) - ended(running_s) > LIKELY * (1.0 - ended(running_s))
        return most_s if likely or ended(running_s) > MOST else age_s


def _cells(curve: Curve) -> tuple[list[float], list[float], list[float]]:
    """Return ages, the parts ended by them, and the sums of durations up to them."""
    ages, ended, areas = [0.0], [0.0], [0.0]
    for cell in range(PARTS):
        part = (cell + 0.5) / PARTS
        age_s = curve.age(part)
        while ages[-1] < age_s:
            wide = 0.0 < ages[-1] * WIDEST < age_s
            by_s = ages[-1] * WIDEST if wide else age_s
            by = curve.ended(by_s) if wide else part
            middle_s = (ages[-1] + by_s) / 2 if ages[-1] > 0.0 else by_s
            areas.append(areas[-1] + (by - ended[-1]) * middle_s)
            ages.append(by_s)
            ended.append(by)
        ended[-1] = part
    ended[-1] = 1.0
    return ages, ended, areas
