"""How long tasks take, learned from what polls see. Pure: ages in seconds go in, chances come out.

A poll never sees the moment a task ends, only that it ended between two polls, or is still running. So a duration here is
an interval, and what still runs counts as "longer than". Each interval is spread as the last curve says, and what ran on
is taken into account by the product-limit estimate: this is Turnbull's self-consistency, one step each time.

Source:
    E. L. Kaplan, P. Meier, "Nonparametric Estimation from Incomplete Observations", J. Am. Stat. Assoc. 53 (1958);
    B. W. Turnbull, "The Empirical Distribution Function with Arbitrarily Grouped, Censored and Truncated Data",
    J. R. Statist. Soc. B 38 (1976).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationSettings:
    """Settings of the estimate."""

    remembered: int = number(80, unit="ends", serves="the curve follows a drift: older ones are forgotten")
    anywhere: float = number(
        0.1, unit="ends", serves="a little belief in any age: a task that outlives all others is asked about"
    )
    near: float = number(
        0.4, unit="ends", off=1e-6, serves="belief that a task ends not far from where others did"
    )


DURATIONS = DurationSettings()
# Ages are kept in steps of 2 % from a twentieth of a second up to a day and a half.
SHORTEST_S = 0.05
STEP = math.log(1.02)
STEPS = 740
BEYOND = 110  # steps beyond all that was seen that a curve reaches: nearly ten times the age
FADE = math.exp(-1 / 12)  # by step: a quarter longer or shorter is an e-th as likely


def _place(age_s: float) -> float:
    """Return an age as a fractional number of steps."""
    if age_s <= SHORTEST_S:
        return 0.0
    return min(math.log(age_s / SHORTEST_S) / STEP, STEPS - 1e-6)


def _age_s(place: float) -> float:
    return SHORTEST_S * math.exp(place * STEP)


class Curve:
    """The chance that a task has ended by an age."""

    __slots__ = ("_ended", "frontier_s", "number")

    def __init__(self, ended: Sequence[float], *, frontier_s: float, number: int) -> None:
        self.number = number  # ends it rests on
        self._ended = ended  # by each step, from 0 to 1: straight lines between them
        self.frontier_s = frontier_s  # no task was seen to end later: beyond, the curve is a guess

    def parts(self) -> list[float]:
        """Return the chance of each step."""
        return [high - low for low, high in pairwise(self._ended)]

    def ended(self, age_s: float) -> float:
        """Return the chance that a task has ended by this age."""
        place = _place(age_s)
        step = int(place)
        if step + 1 >= len(self._ended):
            return 1.0
        low = self._ended[step]
        return low + (self._ended[step + 1] - low) * (place - step)

    def chance(self, running_s: float, age_s: float) -> float:
        """Return the chance that a task known to run at `running_s` has ended by `age_s`."""
        before = self.ended(running_s)
        left = 1.0 - before
        return (self.ended(age_s) - before) / left if left > 1e-9 else 1.0

    def age(self, part: float, *, running_s: float = 0.0) -> float:
        """Return the age by which `part` of the tasks still running at `running_s` have ended."""
        before = self.ended(running_s) if running_s > 0.0 else self._ended[0]
        wanted = before + part * (1.0 - before)
        at = bisect_left(self._ended, wanted, 1, len(self._ended) - 1)
        low, high = self._ended[at - 1], self._ended[at]
        inside = (wanted - low) / (high - low) if high > low else 1.0
        return max(_age_s(at - 1 + min(max(inside, 0.0), 1.0)), running_s)


class _Shape:
    """What was seen of one shape, or of all of one model."""

    def __init__(self) -> None:
        self.ends: deque[tuple[float, float]] = deque(
            maxlen=DURATIONS.remembered
        )  # first and last place of each
        self.running: dict[int, int] = {}  # step -> how many are known to have run so long
        self.news = 0.0  # how much is not yet in the curve
        self.weights: list[float] = []  # by step, of the last fit
        self.curve: Curve | None = None
        self.grouped = False  # whether its model has learned what it has


class Durations:
    """The curves of all shapes, each falling back to its model's while it has none of its own.

    A shape is what decides how long a task takes: the model and its params. `group`, where given, names
    a wider group (the model) whose durations say something about a shape never seen.
    """

    def __init__(self) -> None:
        self._shapes: defaultdict[tuple[bool, Hashable], _Shape] = defaultdict(
            _Shape
        )  # by whether it is a group

    def seed(self, shape: Hashable, seconds: Iterable[float], *, group: Hashable = None) -> None:
        """Take over the durations of earlier runs, oldest first."""
        for duration_s in seconds:
            self.ended(shape, duration_s, duration_s, group=group)

    def ended(self, shape: Hashable, after_s: float, by_s: float, *, group: Hashable = None) -> None:
        """Learn that a task was running at `after_s` and had ended by `by_s` (the same if known exactly)."""
        for place in self._both(shape, group):
            place.ends.append((_place(after_s), _place(by_s)))
            # An end beyond all others changes the picture at once.
            place.news += 9.0 if place.curve is not None and by_s > 1.05 * place.curve.frontier_s else 1.0

    def runs(self, shape: Hashable, before_s: float, age_s: float, *, group: Hashable = None) -> None:
        """Learn that a task last known to run at `before_s` (0: never asked) still runs at `age_s`."""
        self.leaves(shape, before_s, group=group)
        step = int(_place(age_s))
        for place in self._both(shape, group):
            place.running[step] = place.running.get(step, 0) + 1
            place.news += 0.2

    def leaves(self, shape: Hashable, before_s: float, *, group: Hashable = None) -> None:
        """Forget a running task last known to run at `before_s`: it ended, or nobody asks any more."""
        if before_s <= 0.0:
            return
        step = int(_place(before_s))
        for place in self._both(shape, group):
            left = place.running.get(step, 0) - 1
            if left > 0:
                place.running[step] = left
            else:
                place.running.pop(step, None)

    def curve(self, shape: Hashable, *, group: Hashable = None) -> Curve | None:
        """Return a shape's curve; None where nothing is known. As long as nothing new is known, it is the same object."""
        for known in (self._shapes.get((False, shape)), self._shapes.get((True, group))):
            if known is not None and known.ends:
                # Each of the first durations changes the picture; later ones are taken in by the handful.
                if known.curve is None or known.news >= max(1.0, len(known.ends) / 10.0):
                    _fit(known)
                return known.curve
        return None

    def _both(self, shape: Hashable, group: Hashable) -> list[_Shape]:
        own = self._shapes[False, shape]
        if group is None:
            return [own]
        like = self._shapes[True, group]
        if not own.grouped:
            # Seeds come without a group: what they taught goes to the model as well.
            own.grouped = True
            like.ends.extend(own.ends)
            like.news += len(own.ends)
        return [own, like]


def _fit(shape: _Shape) -> None:
    """Fit the curve to what was seen."""
    longest = int(max(max(last for _, last in shape.ends), max(shape.running, default=0)))
    reach = min(max(len(shape.weights), longest + BEYOND), STEPS)
    # What runs weighs no more than all we remember of what ended.
    scale = min(1.0, DURATIONS.remembered / max(sum(shape.running.values()), 1))
    ran = [0.0] * reach
    for step, count in shape.running.items():
        ran[min(step, reach - 1)] += count * scale
    belief = _belief(shape.ends, reach)
    weights = shape.weights + belief[len(shape.weights) :]
    shape.weights = weights = _survived(_spread(shape.ends, weights, belief), ran)
    below = [0.0, *accumulate(weights)]
    frontier_s = _age_s(int(max(last for _, last in shape.ends)) + 1)
    shape.curve = Curve([each / below[-1] for each in below], frontier_s=frontier_s, number=len(shape.ends))
    shape.news = 0.0


def _spread(
    ends: Iterable[tuple[float, float]], weights: Sequence[float], belief: Sequence[float]
) -> list[float]:
    """Return how many ended in each step: each end spread over its interval as the weights say, and the belief."""
    below = [0.0, *accumulate(weights)]
    parts = [0.0] * (len(weights) + 1)
    for first, last in ends:
        low, high = int(first), min(int(last), len(weights) - 1) + 1
        part = 1.0 / max(below[high] - below[low], 1e-9)
        parts[low] += part
        parts[high] -= part
    # Adding and taking away the same large part may leave a trace below zero.
    return [
        max(weight * part, 0.0) + own
        for weight, part, own in zip(weights, accumulate(parts), belief, strict=False)
    ]


def _survived(ended: Sequence[float], ran: Sequence[float]) -> list[float]:
    """Return the chance of an end in each step, where so many ended in it, and so many were seen no later: Kaplan-Meier."""
    left, at_risk, weights = 1.0, sum(ended) + sum(ran), []
    for dying, running in zip(ended, ran, strict=True):
        weight = left * min(dying / max(at_risk, 1e-9), 1.0)
        weights.append(weight)
        left -= weight
        at_risk -= dying + running
    return weights


def _belief(ends: Sequence[tuple[float, float]], reach: int) -> list[float]:
    """Return a belief in ends near those seen, and a little in any other."""
    seen = [0.0] * reach
    for first, last in ends:
        seen[int((first + last) / 2)] += DURATIONS.near * (1.0 - FADE) / (1.0 + FADE) / len(ends)
    down, up = _faded(seen), _faded(reversed(seen))
    anywhere = DURATIONS.anywhere / reach
    return [
        below + above - here + anywhere for below, above, here in zip(down, reversed(up), seen, strict=True)
    ]


def _faded(parts: Iterable[float]) -> list[float]:
    """Return the sums of parts, of which each step leaves a part."""
    sum_, sums = 0.0, []
    for part in parts:
        sum_ = sum_ * FADE + part
        sums.append(sum_)
    return sums
