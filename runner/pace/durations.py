"""How long tasks take, learned from what polls see. Pure: ages in seconds go in, chances come out.

A poll never sees the moment a task ends, only that it ended between two polls, or is still running. So a duration here is
an interval, and what still runs counts as "longer than". Each interval is spread as the last curve says, and what ran on
is taken into account by the product-limit estimate: this is Turnbull's self-consistency, one step each time. A little of
what ended is spread to the ages near, as in smoothed EM: a few that are alike prove nothing yet.

Source:
    E. L. Kaplan, P. Meier, "Nonparametric Estimation from Incomplete Observations", J. Am. Stat. Assoc. 53 (1958);
    B. W. Turnbull, "The Empirical Distribution Function with Arbitrarily Grouped, Censored and Truncated Data",
    J. R. Statist. Soc. B 38 (1976);
    B. W. Silverman, M. C. Jones, J. D. Wilson, D. W. Nychka, "A Smoothed EM Approach to Indirect Estimation Problems",
    J. R. Statist. Soc. B 52 (1990).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationSettings:
    """Settings of the estimate."""

    remembered: int = number(80, "ends", "the curve follows a drift: older ones are forgotten")
    anywhere: float = number(
        0.2, "ends", "a little belief in any age: a task that outlives all others is asked about"
    )
    near: float = number(
        3.0, "ends", "a task ends not far from where others did: a few alike prove little", off=1e-6
    )


DURATIONS = DurationSettings()
# Ages are kept in steps of 3 % from a twentieth of a second up to a day and a half.
SHORTEST_S = 0.05
STEP = math.log(1.03)
STEPS = 500
BEYOND = 75  # steps beyond all that was seen that a curve reaches: nearly ten times the age
FADE = math.exp(-3 / 8)  # by step: a twelfth longer or shorter is an e-th as likely


def step_of(age_s: float) -> int:
    """Return the step in which an age is."""
    return int(_place(age_s))


def _place(age_s: float) -> float:
    """Return an age as a fractional number of steps."""
    if age_s <= SHORTEST_S:
        return 0.0
    return min(math.log(age_s / SHORTEST_S) / STEP, STEPS - 1e-6)


class Curve:
    """The chance that a task has ended by an age.

    Attributes:
        frontier_s: No task was seen to end later: beyond this age the curve is a guess.
    """

    __slots__ = ("__weakref__", "_ended", "frontier_s")

    def __init__(self, ended: Sequence[float], *, frontier_s: float) -> None:
        self._ended = ended  # by each step, from 0 to 1: straight lines between them
        self.frontier_s = frontier_s

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

    def age(self, part: float) -> float:
        """Return the age by which this part of the tasks has ended, in seconds."""
        at = bisect_left(self._ended, part, 1, len(self._ended) - 1)
        low, high = self._ended[at - 1], self._ended[at]
        inside = (part - low) / (high - low) if high > low else 1.0
        return SHORTEST_S * math.exp((at - 1 + min(max(inside, 0.0), 1.0)) * STEP)


class _Learned:
    """What was seen of one shape, or of all of one model."""

    def __init__(self) -> None:
        # First and last place of each end.
        self.ends: deque[tuple[float, float]] = deque(maxlen=DURATIONS.remembered)
        self.running: dict[int, int] = {}  # step -> how many are known to have run so long
        self.news = 0.0  # how much is not yet in the curve
        self.below = [0.0]  # the part that ended before each step, by the last fit
        self.curve: Curve | None = None
        self.grouped = False  # whether its model has learned what it has


class Durations:
    """The curves of all shapes, each falling back to its model's while it has none of its own.

    A shape is what decides how long a task takes: the model and its params. `group`, where given, names
    a wider group (the model) whose durations say something about a shape never seen.
    """

    def __init__(self) -> None:
        # By whether it is a group, and which.
        self._seen: defaultdict[tuple[bool, Hashable], _Learned] = defaultdict(_Learned)

    def seed(self, shape: Hashable, seconds: Iterable[float], *, group: Hashable = None) -> None:
        """Take over the durations of earlier runs, oldest first."""
        for duration_s in seconds:
            self.ended(shape, duration_s, duration_s, group=group)

    def ended(self, shape: Hashable, after_s: float, by_s: float, *, group: Hashable = None) -> None:
        """Learn that a task was running at `after_s` and had ended by `by_s` (the same if known exactly)."""
        for seen in self._both(shape, group):
            seen.ends.append((_place(after_s), _place(by_s)))
            # An end beyond all others changes the picture at once.
            seen.news += 9.0 if seen.curve is not None and by_s > 1.05 * seen.curve.frontier_s else 1.0

    def runs(self, shape: Hashable, before_s: float, age_s: float, *, group: Hashable = None) -> None:
        """Learn that a task last known to run at `before_s` (0: never asked) still runs at `age_s`."""
        self.leaves(shape, before_s, group=group)
        step = step_of(age_s)
        for seen in self._both(shape, group):
            seen.running[step] = seen.running.get(step, 0) + 1
            seen.news += 0.2

    def leaves(self, shape: Hashable, before_s: float, *, group: Hashable = None) -> None:
        """Forget a running task last known to run at `before_s`: it ended, or nobody asks any more."""
        if before_s <= 0.0:
            return
        step = step_of(before_s)
        for seen in self._both(shape, group):
            left = seen.running.pop(step, 0) - 1
            if left > 0:
                seen.running[step] = left

    def curve(self, shape: Hashable, *, group: Hashable = None) -> Curve | None:
        """Return a shape's curve; None where nothing is known. As long as nothing new is known, it is the same object."""
        for key in ((False, shape), (True, group)):
            seen = self._seen.get(key)
            if seen is not None and seen.ends:
                # Each of the first durations changes the picture; later ones are taken in by the handful.
                if seen.curve is None or seen.news >= max(1.0, len(seen.ends) / 10.0):
                    _fit(seen)
                return seen.curve
        return None

    def _both(self, shape: Hashable, group: Hashable) -> list[_Learned]:
        own = self._seen[False, shape]
        if group is None:
            return [own]
        like = self._seen[True, group]
        if not own.grouped:
            # Seeds come without a group: what they taught goes to the model as well.
            own.grouped = True
            like.ends.extend(own.ends)
            like.news += len(own.ends)
        return [own, like]


def _fit(seen: _Learned) -> None:
    """Fit the curve to what was seen."""
    ends, below = seen.ends, seen.below
    latest = int(max(last for _, last in ends))
    reach = min(max(len(below) - 1, max(latest, *seen.running, 0) + BEYOND), STEPS)
    anywhere = DURATIONS.anywhere / reach
    below += [below[-1] + anywhere * more for more in range(1, reach - len(below) + 2)]
    rises = [0.0] * (reach + 1)
    for first, last in ends:
        low, high = int(first), int(last) + 1
        part = 1.0 / max(below[high] - below[low], 1e-9)
        rises[low] += part
        rises[high] -= part
    spread = [
        (high - low) * parts for low, high, parts in zip(below, below[1:], accumulate(rises), strict=False)
    ]
    # What runs weighs no more than all we remember of what ended.
    running = sum(seen.running.values())
    scale, ran = min(1.0, DURATIONS.remembered / max(running, 1)), [0.0] * reach
    for step, count in seen.running.items():
        ran[step] = count * scale
    at_risk = len(ends) + running * scale + DURATIONS.near + DURATIONS.anywhere
    near = DURATIONS.near / len(ends) * (1.0 - FADE) / (1.0 + FADE)
    after, before = [0.0], 0.0  # what ended about here, fading by step
    for here in reversed(spread):
        after.append(after[-1] * FADE + here)
    left, ended = 1.0, [0.0]
    for here, later, run in zip(spread, reversed(after), ran, strict=False):
        dying = here + near * (before + later) + anywhere
        before = (before + here) * FADE
        left = left * (at_risk - dying) / at_risk if dying < at_risk else 0.0
        at_risk -= dying + run
        ended.append(1.0 - left)
    seen.below = [each / ended[-1] for each in ended]
    seen.curve = Curve(seen.below, frontier_s=SHORTEST_S * math.exp((latest + 1) * STEP))
    seen.news = 0.0
