"""At which ages to ask about a task, so that its end is seen soon and with few polls. Pure.

Each poll costs something, each second between a task's end and the poll that sees it costs something. From
the curve of durations follows the cheapest series of polls.

Source:
    R. E. Barlow, L. C. Hunter, F. Proschan, "Optimum Checking Procedures", J. SIAM 11 (1963).
"""

from __future__ import annotations

from bisect import bisect_right

from runner.model import Polling
from runner.pace.durations import Curve

CELLS = 48  # ages considered, each with the same part of the tasks ending before it
DEAREST, CHEAPEST = 3.0, 0.006  # cost of a poll, in mean durations
TRIES, CLOSE_ENOUGH = 6, 0.06


class PollPlan:
    """A series of ages to ask at."""

    __slots__ = ("_ages", "_next", "cost", "polls")

    def __init__(self, ages: list[float], following: list[int], *, polls: float, cost: float) -> None:
        self._ages = ages  # [0] is the start
        self._next = following
        self.polls = polls  # expected until the end is seen
        self.cost = cost  # of a poll, in mean durations

    def after(self, running_s: float) -> float:
        """Return the age to ask at next, of a task known to run at `running_s`; 0: never asked."""
        at = min(bisect_right(self._ages, running_s) - 1, len(self._ages) - 2)
        return self._ages[self._next[at]]


def plan_for(curve: Curve, *, polls: float, limits: Polling, cost: float = 0.05) -> PollPlan:
    """Return the plan that needs about so many polls a task.

    Args:
        curve: How long such tasks take.
        polls: Polls a task wanted, the one that finds the end included. Fewer come out where a task's
            end is well known.
        limits: The least and greatest distances between polls.
        cost: Where to begin looking for the right cost of a poll, in mean durations: the last plan's.

    Returns:
        The plan.
    """
    ages, ended, areas = _cells(curve)
    mean_s = max(areas[-1], 1e-6)
    best, least = None, float("inf")
    for _ in range(TRIES):
        plan = _cheapest(ages, ended, areas, cost * mean_s, limits)
        plan.cost = cost
        wrong = plan.polls / polls
        if abs(wrong - 1.0) < least:
            best, least = plan, abs(wrong - 1.0)
        if least <= CLOSE_ENOUGH or (wrong < 1.0 and cost <= CHEAPEST):
            break
        cost = min(max(cost * wrong**2, CHEAPEST), DEAREST)
    assert best is not None
    return best


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


def _cheapest(
    ages: list[float], ended: list[float], areas: list[float], cost_s: float, limits: Polling
) -> PollPlan:
    last = len(ages) - 1
    total = [0.0] * (last + 1)
    polls = [0.0] * (last + 1)
    following = [last] * (last + 1)
    for at in range(last - 1, -1, -1):
        from_s, from_ended, from_area = ages[at], ended[at], areas[at]
        nearest_s = from_s + limits.min_s if at else limits.first_s
        farthest_s = from_s + limits.max_s if at else float("inf")
        best, choice = float("inf"), last
        for to in range(at + 1, last + 1):
            if to < last and ages[to + 1] <= nearest_s:
                continue
            # Lag of those that end in between, then all that follows.
            then_s = max(ages[to], nearest_s)
            price = then_s * (ended[to] - from_ended) - (areas[to] - from_area) + total[to]
            if price < best:
                best, choice = price, to
            if ages[to] >= farthest_s:
                break
        alive = 1.0 - from_ended
        total[at] = best + cost_s * alive
        polls[at] = polls[choice] + alive
        following[at] = choice
    return PollPlan(ages, following, polls=polls[0], cost=0.0)
