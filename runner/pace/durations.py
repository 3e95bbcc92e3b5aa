"""How long tasks take, learned from what polls see. Pure: ages in seconds go in, chances come out.

A poll never sees the moment a task ends, only that it ended between two polls, or is still running.
So a duration here is an interval, what still runs counts as "longer than", and the curve is fitted
to both by self-consistency.

Source:
    B. W. Turnbull, "The Empirical Distribution Function with Arbitrarily Grouped, Censored and
    Truncated Data", J. R. Statist. Soc. B 38 (1976).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
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
    wide: int = number(
        20,
        unit="steps of 2 %",
        off=10**6,
        serves="an interval so wide does not say that tasks end as late as its end",
    )


DURATIONS = DurationSettings()
# Ages are kept in steps of 2 % from a twentieth of a second up to a day and a half.
SHORTEST_S = 0.05
STEP = math.log(1.02)
STEPS = 740
FADE = math.exp(-1 / 12)  # by step: a quarter longer or shorter is an e-th as likely
BEYOND = 110  # steps beyond all that was seen that a curve reaches: nearly ten times the age
ROUNDS = 4  # of a fit that begins at the last one
BLUR = 7.0  # steps either way, for a single end: one end alone is known to some 15 %


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
    """What was seen of one shape."""

    __slots__ = (
        "curve",
        "group",
        "narrow",
        "reach",
        "running",
        "surprised",
        "unfitted",
        "version",
        "weights",
        "wide",
    )

    def __init__(self) -> None:
        self.group: _Shape | None = None
        # The first and the last step an end was in; those that say little are kept apart, lest they push out
        # those that say much.
        self.narrow: deque[tuple[int, int]] = deque(maxlen=DURATIONS.remembered)
        self.wide: deque[tuple[int, int]] = deque(maxlen=DURATIONS.remembered * 2 // 5)
        self.running: dict[int, int] = {}  # step -> how many are known to have run so long
        self.surprised = False  # by an end beyond all others
        self.unfitted = 0.0  # how much is not yet in the curve
        self.version = 0
        self.reach = 0  # steps the curve covers
        self.weights: list[float] = []
        self.curve: Curve | None = None

    @property
    def number(self) -> int:
        """How many ends are remembered."""
        return len(self.narrow) + len(self.wide)


class Durations:
    """The curves of all shapes, each falling back to its model's while it has little of its own.

    A shape is what decides how long a task takes: the model and its params. `group`, where given, names
    a wider group (the model) whose durations say something about a shape never seen.
    """

    def __init__(self) -> None:
        self._shapes: dict[Hashable, _Shape] = {}
        self._kin: dict[Hashable, _Shape] = {}

    def seed(self, shape: Hashable, seconds: Iterable[float], *, group: Hashable = None) -> None:
        """Take over the durations of earlier runs, oldest first."""
        for duration_s in seconds:
            self.ended(shape, duration_s, duration_s, group=group)

    def ended(self, shape: Hashable, after_s: float, by_s: float, *, group: Hashable = None) -> None:
        """Learn that a task was running at `after_s` and had ended by `by_s` (the same if known exactly)."""
        after, by = _place(after_s), _place(by_s)
        wide, steps = by - after > DURATIONS.wide, (int(after), max(math.ceil(by) - 1, int(after)))
        for place in self._both(shape, group):
            (place.wide if wide else place.narrow).append(steps)
            # An end beyond all others changes the picture at once.
            late = place.curve is not None and (after_s if wide else by_s) > 1.05 * place.curve.frontier_s
            place.unfitted += 1.0 + (place.number / 5.0 if late else 0.0)
            place.surprised = place.surprised or late

    def runs(self, shape: Hashable, before_s: float, age_s: float, *, group: Hashable = None) -> None:
        """Learn that a task last known to run at `before_s` (0: never asked) still runs at `age_s`."""
        self.leaves(shape, before_s, group=group)
        step = int(_place(age_s))
        for place in self._both(shape, group):
            place.running[step] = place.running.get(step, 0) + 1
            place.unfitted += 0.2

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

    def curve(self, shape: Hashable, *, group: Hashable = None) -> tuple[Curve | None, int]:
        """Return a shape's curve, None where nothing is known, and a version that changes with it."""
        own = self._shapes.get(shape)
        if own is not None and own.number:
            return _refreshed(own), own.version
        like = self._kin.get(group)
        if like is not None and like.number:
            return _refreshed(like), -like.version
        return None, 0

    def _both(self, shape: Hashable, group: Hashable) -> tuple[_Shape, ...]:
        own = self._shapes.get(shape)
        if own is None:
            own = self._shapes[shape] = _Shape()
        if own.group is None and group is not None:
            # Seeds come without a group: what they taught goes to the model as well.
            own.group = self._kin.setdefault(group, _Shape())
            own.group.narrow.extend(own.narrow)
            own.group.unfitted += len(own.narrow)
        return (own,) if own.group is None else (own, own.group)


def _refreshed(shape: _Shape) -> Curve | None:
    # Each of the first durations changes the picture; later ones are taken in by the handful.
    if shape.curve is None or shape.unfitted >= max(1.0, shape.number / 10.0):
        _fit(shape)
    return shape.curve


def _fit(shape: _Shape) -> None:
    running, seen = _scaled(shape), Counter(shape.narrow) + Counter(shape.wide)
    # An interval that says little does not say that tasks end as late as its end.
    latest = max(last if last - first <= DURATIONS.wide else first for first, last in seen)
    longest = max(max(last for _, last in seen), max(running, default=0))
    shape.reach = min(max(shape.reach, longest + BEYOND), STEPS)
    belief = _belief(shape)
    weights = shape.weights + belief[len(shape.weights) :]
    if shape.surprised:
        # Begin anew with what has ended: the rounds are slow to take back where they thought the others are.
        weights = _consistent(belief, seen, {}, belief)
    for _ in range(4 * ROUNDS if shape.surprised or shape.number <= 12 else ROUNDS):
        weights = _consistent(weights, seen, running, belief)
    whole = sum(weights)
    shape.weights = weights = [weight / whole for weight in weights]
    number = shape.number
    below = _blurred(weights, round(BLUR / math.sqrt(max(number, 1))))
    shape.curve = Curve([each / below[-1] for each in below], frontier_s=_age_s(latest + 1), number=number)
    shape.unfitted, shape.surprised = 0.0, False
    shape.version += 1


def _belief(shape: _Shape) -> list[float]:
    """Return a belief in ends near those seen, and a little in any other."""
    ends = [0.0] * shape.reach
    seen = shape.narrow or shape.wide
    part = DURATIONS.near * (1.0 - FADE) / (1.0 + FADE) / len(seen)
    for first, last in seen:
        ends[last if last - first > DURATIONS.wide else (first + last) // 2] += part
    anywhere = DURATIONS.anywhere / shape.reach
    down, up = _faded(ends), _faded(reversed(ends))
    return [
        below + above - here + anywhere for below, above, here in zip(down, reversed(up), ends, strict=True)
    ]


def _faded(parts: Iterable[float]) -> list[float]:
    """Return the sums of parts, of which each step leaves a part."""
    sum_, sums = 0.0, []
    for part in parts:
        sum_ = sum_ * FADE + part
        sums.append(sum_)
    return sums


def _scaled(shape: _Shape) -> dict[int, float]:
    """Return the running ones by step, together no heavier than all we remember of what ended."""
    number = sum(shape.running.values())
    if not number:
        return {}
    scale = min(1.0, DURATIONS.remembered / number)
    return {step: count * scale for step, count in shape.running.items()}


def _consistent(
    weights: Sequence[float],
    seen: Mapping[tuple[int, int], int],
    running: dict[int, float],
    belief: Sequence[float],
) -> list[float]:
    """Return the weights after one round: each observation spread as the weights before say.

    Only their proportions count, so they need no sum of one.
    """
    last_step = len(weights) - 1
    below = [0.0, *accumulate(weights)]
    least = 1e-9 * below[-1]
    change = [0.0] * (len(weights) + 1)
    for (first, last), count in seen.items():
        part = count / max(below[last + 1] - below[first], least)
        change[first] += part
        change[last + 1] -= part
    for step, scaled in running.items():
        after = min(step + 1, last_step)
        change[after] += scaled / max(below[-1] - below[after], least)
    # Adding and taking away the same large part may leave a trace below zero.
    return [
        (weight * factor if factor > 0.0 else 0.0) + own
        for weight, factor, own in zip(weights, accumulate(change), belief, strict=False)
    ]


def _blurred(weights: Sequence[float], reach: int) -> list[float]:
    """Return the running sum of the weights, each spread over so many steps either way."""
    below = [0.0, *accumulate(weights)]
    if reach:
        top, width = len(weights), 2 * reach + 1
        ahead = below[reach + 1 :] + [below[-1]] * (reach + 1)
        behind = [0.0] * reach + below
        blurred = [(high - low) / width for high, low in zip(ahead[:top], behind[:top], strict=True)]
        below = [0.0, *accumulate(blurred)]
    return below
