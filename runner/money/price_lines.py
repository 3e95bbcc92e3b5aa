"""Amounts that grow along a line, and how they are rounded: all lines that agree with some charges, as one.

A charge that was rounded stands for all amounts between two; so a few charges leave a region of lines, of which the
corners are kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from typing import assert_never

# Prices that differ by less are the same: a service may round what it charges.
ALIKE = 0.005
UNITS = (1.0, 0.1, 0.01)  # what charges may be rounded to

DURATION = "duration"  # counted in seconds, as the documentation of the models says
SLACK, EXACTLY = 1e-7, 1e-9  # of the arithmetic

Span = tuple[float, float, float]  # low, expected, high


class Way(Enum):
    """How a service rounds, in words."""

    NOT = ""
    UP = ", rounded up"
    NEAREST = ", rounded"
    DOWN = ", rounded down"


@dataclass(frozen=True, slots=True)
class Rounding:
    """A way of rounding to whole multiples of `unit`; without it, charges that differ by no more than `alike` of them
    are the same.
    """

    way: Way
    unit: float = 1.0
    alike: float = 0.0

    @property
    def words(self) -> str:
        """It for people."""
        return self.way.value + (f" to {self.unit:g}" if self.way is not Way.NOT and self.unit < 1 else "")

    def bounds(self, charge: float) -> tuple[float, float]:
        """Return the lowest and the highest amount that may have been rounded to a charge."""
        match self.way:
            case Way.NOT:
                return charge * (1 - self.alike), charge * (1 + self.alike)
            case Way.UP:  # the lowest itself excepted
                return charge - self.unit, charge
            case Way.NEAREST:
                return charge - self.unit / 2, charge + self.unit / 2
            case Way.DOWN:  # the highest itself excepted
                return charge, charge + self.unit
            case _:
                assert_never(self.way)

    def leaves_room(
        self, bounds: Sequence[tuple[float, float, float]], corners: Sequence[tuple[float, float]]
    ) -> bool:
        """Whether some line between these corners lies within all (x, lowest, highest), and not on an edge excepted."""
        if self.way not in (Way.UP, Way.DOWN):
            return True
        for x, low, high in bounds:
            amounts = [a + b * x for a, b in corners]
            if max(amounts) <= low + SLACK if self.way is Way.UP else min(amounts) >= high - SLACK:
                return False
        return True

    def charges(self, lowest: float, likely: float, highest: float) -> Span:
        """Return what is charged for amounts from `lowest` to `highest`, each at the edge of what may be."""
        low, middle, high = (amount / self.unit for amount in (lowest, likely, highest))
        match self.way:
            case Way.NOT:
                return lowest, likely, highest
            case Way.UP:
                whole = math.floor(low + SLACK) + 1, math.ceil(middle - SLACK), math.ceil(high - SLACK)
            case Way.NEAREST:
                whole = (
                    math.ceil(low - 0.5 - SLACK),
                    math.floor(middle + 0.5),
                    math.floor(high + 0.5 + SLACK),
                )
            case Way.DOWN:
                whole = math.floor(low + SLACK), math.floor(middle + SLACK), math.ceil(high - SLACK) - 1
            case _:
                assert_never(self.way)
        return whole[0] * self.unit, whole[1] * self.unit, whole[2] * self.unit


def roundings(charges: Collection[float]) -> Sequence[Rounding]:
    """Return the ways in which these charges may have been rounded, the likeliest first."""
    found = [Rounding(Way.NOT, alike=EXACTLY)]
    for unit in UNITS:
        if all(abs(charge / unit - round(charge / unit)) < SLACK for charge in charges):
            found += [Rounding(way, unit) for way in (Way.UP, Way.NEAREST, Way.DOWN)]
            break
    return found


ALMOST = Rounding(Way.NOT, alike=ALIKE)


class Line:
    """`a + b x` with `a` and `b` of at least 0: all lines that agree with some charges, by their corners (a, b)."""

    def __init__(
        self,
        corners: Sequence[tuple[float, float]],
        rounding: Rounding,
        points: Sequence[tuple[float, float]] = (),
    ) -> None:
        self._corners = corners
        self._rounding = rounding
        self._points = points if rounding.way is not Way.NOT else ()

    @classmethod
    def through(
        cls, points: Sequence[tuple[float, float]], rounding: Rounding, *, numbers: str
    ) -> Line | None:
        """Return the lines that agree with all these (x, credits); `numbers` are those that are free: a, b or ab."""
        if rounding.way is not Way.NOT and len(set(points)) > len({x for x, _ in points}):
            return None
        bounds = [(x, *rounding.bounds(credits)) for x, credits in points]
        if numbers == "a":
            low, high = max(low for _, low, _ in bounds), min(high for _, _, high in bounds)
            if rounding.way is Way.NOT and len({credits for _, credits in points}) == 1:
                low = high = points[0][1]
            corners = [(low, 0.0), (high, 0.0)]
        elif numbers == "b":
            if any(x <= 0 for x, _, _ in bounds):
                return None
            low, high = max(low / x for x, low, _ in bounds), min(high / x for x, _, high in bounds)
            corners = [(0.0, low), (0.0, high)]
        else:
            corners = _corners(bounds)
            low, high = (0.0, 0.0) if corners else (1.0, 0.0)
        if low > high or not rounding.leaves_room(bounds, corners):
            return None
        return cls(corners, rounding, points)

    def at(self, x: float) -> Span:
        """Return what is charged for `x`: the least of all these lines, what is likely, the most."""
        amounts = sorted(a + b * x for a, b in self._corners)
        low, likely, high = self._rounding.charges(amounts[0], sum(amounts) / len(amounts), amounts[-1])
        # More never costs less.
        low = max(low, *(paid for paid_x, paid in self._points if paid_x <= x), 0.0)
        high = min(high, *(paid for paid_x, paid in self._points if paid_x >= x), math.inf)
        return low, min(max(low, likely), high), high

    def words(self, x: str | None) -> str:
        """Return it for people."""
        a = sum(a for a, _ in self._corners) / len(self._corners)
        b = sum(b for _, b in self._corners) / len(self._corners)
        if x is None:
            return f"{a:.4g} a job{self._rounding.words}"
        parts = [f"{a:.4g}"] if a > 0 else []
        if b > 0 or not parts:
            parts.append(f"{b:.3g} a second" if x == DURATION else f"{b:.3g} x {x}")
        return " + ".join(parts) + self._rounding.words


def _corners(bounds: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the area of all (a, b) whose line lies within all bounds; none where there is no line."""
    within: dict[float, tuple[float, float]] = {}
    for x, low, high in bounds:
        lowest, highest = within.get(x, (-math.inf, math.inf))
        within[x] = max(low, lowest), min(high, highest)
    if len(within) < 2:
        return []
    taken = {x: within[x] for x in (min(within), max(within))}
    while True:  # bound after bound, the one first that is missed by most
        corners = _corners_of(taken)
        missed = max(
            within, key=lambda x: max((_beyond(within[x], a + b * x) for a, b in corners), default=0.0)
        )
        if not corners or missed in taken:
            return corners
        taken[missed] = within[missed]


def _corners_of(within: Mapping[float, tuple[float, float]]) -> list[tuple[float, float]]:
    edges = [(x, edge) for x, (low, high) in within.items() for edge in (low, high)]
    found = [(y, 0.0) for _, y in edges]
    for (x1, y1), (x2, y2) in combinations([(0.0, 0.0), *edges], 2):
        if x1 != x2:
            b = (y2 - y1) / (x2 - x1)
            found.append((y1 - b * x1, b))
    return [
        (max(a, 0.0), max(b, 0.0))
        for a, b in found
        if min(a, b) >= -SLACK and all(_beyond(bound, a + b * x) <= SLACK for x, bound in within.items())
    ]


def _beyond(bound: tuple[float, float], amount: float) -> float:
    """Return by how much an amount is outside of its bounds; 0 within."""
    return max(bound[0] - amount, amount - bound[1], 0.0)
