"""What a job would cost that was never paid for, told from what others of its model were charged.

Simple laws are tried, and the one is kept that explains the charges with the fewest numbers of its own:

```text
 constant       10
 proportional   1.67 x duration                   each also rounded: up, down, or to the nearest
 affine         5 + 1.2 x duration
```

each of them once for all, or once for each value of the options that matter (`resolution`). An option that was seen with
several values and changes nothing does not matter. A law counts only if it explains clearly more charges than it has
numbers, and it says nothing of a value that was never paid for. Charges that were rounded leave room for many laws of
one kind, and for more than one way of rounding: `low` and `high` are the least and the most that any of them says.
Where no law fits, the answer is None: then a list price is all there is.

All amounts are credits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations
from typing import assert_never

from runner.fingerprint import canonical
from runner.model import Json

MOST_POINTS = 100  # the newest prices: older ones tell nothing new, and each costs time
MOST_OPTIONS = 3  # so many options at once may matter
# Prices that differ by less are the same: a service may round what it charges.
ALIKE = 0.005
# Charges that follow no law exactly (dearer hours, a currency behind them) are fitted if none is off by more.
ROUGHLY = 0.2
FEWEST_ROUGH = 4  # charges for that
# One charge so many times what the others tell is an accident, where all others agree; the highest few are looked at.
ACCIDENT, MOST_ODD = 3.0, 3

UNITS = (1.0, 0.1, 0.01)  # what charges may be rounded to

SLACK, EXACTLY = 1e-7, 1e-9  # of the arithmetic

REFERENCES, LENGTH = "references", "length of the prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """One price that was charged, and what for.

    `kinds` are those of the references; `length` is that of the prompt where the model may charge by it, else 0.
    """

    params: Mapping[str, Json]
    credits: float
    kinds: Sequence[str] = ()
    length: int = 0
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPrice:
    """What a law says of one price: between `low` and `high`, most likely `expected`; the law in words.

    `beyond` names the numbers that were paid for, where this one lies outside of them.
    """

    low: float
    expected: float
    high: float
    words: str
    beyond: str = ""


class PriceBook:
    """What is known of the prices of one model.

    >>> points = [PricePoint(params={"duration": n}, credits=math.ceil(1.67 * n)) for n in (6, 10, 15)]
    >>> found = PriceBook(points).price({"duration": 8})
    >>> found.low, found.expected, found.high
    (14.0, 14.0, 14.0)

    Args:
        points: What was charged, the oldest first.
    """

    def __init__(self, points: Iterable[PricePoint]) -> None:
        self._points = [each for each in points if each.credits > 0][-MOST_POINTS:]
        self._rows = [
            _Row(_features(each.params, each.kinds, each.length), each.credits) for each in self._points
        ]
        self._laws: Sequence[_Law] = ()
        self._note = ""
        if len(self._rows) > 1:
            self._laws, self._note = _explain(self._rows)

    def __len__(self) -> int:
        return len(self._points)

    def price(
        self, params: Mapping[str, Json], kinds: Sequence[str] = (), length: int = 0
    ) -> FittedPrice | None:
        """Return what a job would cost; None where nothing that was paid for tells.

        Args:
            params: As they are sent.
            kinds: Of its references, in their order.
            length: Of its prompt, where the model may charge by it, else 0.
        """
        found = _agreed(self._laws, _features(params, kinds, length))
        if found is None:
            return None
        times = sum(point.times for point in self._points)
        return replace(found, words=f"{found.words} (from {times:,} payments{self._note})")


def _features(params: Mapping[str, Json], kinds: Sequence[str], length: int) -> dict[str, Json]:
    features = dict(params)
    if kinds:
        features[REFERENCES] = " ".join(kinds)
    if length:
        features[LENGTH] = length
    return features


# --- laws of one amount -----------------------------------------------------------------------------------------------

Span = tuple[float, float, float]  # low, expected, high


class _Way(Enum):
    """How a service rounds, in words."""

    NOT = ""
    UP = ", rounded up"
    NEAREST = ", rounded"
    DOWN = ", rounded down"


@dataclass(frozen=True, slots=True)
class _Rounding:
    """A way of rounding to whole multiples of `unit`; without it, charges that differ by no more than `alike` of them
    are the same.
    """

    way: _Way
    unit: float = 1.0
    alike: float = 0.0

    @property
    def words(self) -> str:
        return self.way.value + (f" to {self.unit:g}" if self.way is not _Way.NOT and self.unit < 1 else "")

    def bounds(self, charge: float) -> tuple[float, float]:
        """Return the lowest and the highest amount that may have been rounded to a charge."""
        match self.way:
            case _Way.NOT:
                return charge * (1 - self.alike), charge * (1 + self.alike)
            case _Way.UP:  # the lowest itself excepted
                return charge - self.unit, charge
            case _Way.NEAREST:
                return charge - self.unit / 2, charge + self.unit / 2
            case _Way.DOWN:  # the highest itself excepted
                return charge, charge + self.unit
            case _:
                assert_never(self.way)

    def leaves_room(
        self, bounds: Sequence[tuple[float, float, float]], corners: Sequence[tuple[float, float]]
    ) -> bool:
        """Whether some line between these corners lies within all (x, lowest, highest), and not on an edge excepted."""
        if self.way not in (_Way.UP, _Way.DOWN):
            return True
        for x, low, high in bounds:
            amounts = [a + b * x for a, b in corners]
            if max(amounts) <= low + SLACK if self.way is _Way.UP else min(amounts) >= high - SLACK:
                return False
        return True

    def charges(self, lowest: float, likely: float, highest: float) -> Span:
        """Return what is charged for amounts from `lowest` to `highest`, each at the edge of what may be."""
        low, middle, high = (amount / self.unit for amount in (lowest, likely, highest))
        match self.way:
            case _Way.NOT:
                return lowest, likely, highest
            case _Way.UP:
                whole = math.floor(low + SLACK) + 1, math.ceil(middle - SLACK), math.ceil(high - SLACK)
            case _Way.NEAREST:
                whole = (
                    math.ceil(low - 0.5 - SLACK),
                    math.floor(middle + 0.5),
                    math.floor(high + 0.5 + SLACK),
                )
            case _Way.DOWN:
                whole = math.floor(low + SLACK), math.floor(middle + SLACK), math.ceil(high - SLACK) - 1
            case _:
                assert_never(self.way)
        return whole[0] * self.unit, whole[1] * self.unit, whole[2] * self.unit


def _roundings(rows: Sequence[_Row]) -> Sequence[_Rounding]:
    """Return the ways in which these charges may have been rounded, the likeliest first."""
    found = [_Rounding(_Way.NOT, alike=EXACTLY)]
    for unit in UNITS:
        if all(abs(row.credits / unit - round(row.credits / unit)) < SLACK for row in rows):
            found += [_Rounding(way, unit) for way in (_Way.UP, _Way.NEAREST, _Way.DOWN)]
            break
    return found


_ALIKE = _Rounding(_Way.NOT, alike=ALIKE)


class _Line:
    """`a + b x` with `a` and `b` of at least 0: all lines that agree with some charges, by their corners (a, b)."""

    def __init__(
        self,
        corners: Sequence[tuple[float, float]],
        rounding: _Rounding,
        points: Sequence[tuple[float, float]] = (),
    ) -> None:
        self._corners = corners
        self._rounding = rounding
        self._points = points if rounding.way is not _Way.NOT else ()

    @classmethod
    def through(
        cls, points: Sequence[tuple[float, float]], rounding: _Rounding, *, numbers: str
    ) -> _Line | None:
        """Return the lines that agree with all these (x, credits); `numbers` are those that are free: a, b or ab."""
        if rounding.way is not _Way.NOT and len(set(points)) > len({x for x, _ in points}):
            return None
        bounds = [(x, *rounding.bounds(credits)) for x, credits in points]
        if numbers == "a":
            low, high = max(low for _, low, _ in bounds), min(high for _, _, high in bounds)
            if rounding.way is _Way.NOT and len({credits for _, credits in points}) == 1:
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
        parts = [f"{a:.4g}"] if a > 0 or x is None else []
        if x is not None:
            parts.append(f"{b:.3g} x {x}")
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


# --- laws of a model --------------------------------------------------------------------------------------------------


class _Row:
    """A price and what it was for; the values of options as texts, numbers as numbers."""

    __slots__ = ("credits", "numbers", "texts")

    def __init__(self, features: Mapping[str, Json], credits: float) -> None:
        self.credits = credits
        self.texts = {name: canonical(value) for name, value in features.items()}
        self.numbers = {
            name: float(value)
            for name, value in features.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }


_MISSING = "null"


Lines = Mapping[tuple[str, ...], _Line]  # by the values of options


class _Law:
    """A line for each value of the options that matter, and which values were paid for at all.

    Args:
        options: The names of the options that matter.
        x: The number it grows with, None where it does not.
        lines: By the values of the options; all that explain the charges, the likeliest first.
        rows: What it explains.
        off: By how much it is off at most, as a part of the charge.
    """

    def __init__(
        self,
        options: Sequence[str],
        x: str | None,
        lines: Sequence[Lines],
        rows: Sequence[_Row],
        *,
        off: float = 0.0,
    ) -> None:
        self._options = options
        self._x = x
        self._lines = lines
        self._off = off
        self._values = _values(rows)
        self._paid = sorted(row.numbers[x] for row in rows) if x is not None else []

    def price(self, row: _Row) -> FittedPrice | None:
        """Return what a job would cost; None where it differs from all that was paid for."""
        x = row.numbers.get(self._x) if self._x is not None else 1.0
        cell = _cell(row, self._options)
        lines = [each[cell] for each in self._lines if cell in each]
        if x is None or not lines or not all(self._knows(name, row) for name in {*row.texts, *self._values}):
            return None
        spans = [line.at(x) for line in lines]
        expected = spans[0][1]
        low = min(expected, *(low for low, _, _ in spans))
        high = max(expected, *(high for _, _, high in spans))
        words = lines[0].words(self._x)
        if self._options:
            values = (row.texts.get(name, "left out").strip('"') for name in self._options)
            pairs = ", ".join(map(" ".join, zip(self._options, values, strict=True)))
            words += f"{',' if ',' in words else ''} at {pairs}"
        if self._off:
            low, high = low * (1 - self._off), high * (1 + self._off)
            words += f", off by up to {math.ceil(self._off * 100)} % so far"
        outside = self._x is not None and not self._paid[0] <= x <= self._paid[-1]
        return FittedPrice(
            low=round(low, 6),
            expected=round(expected, 6),
            high=round(high, 6),
            words=words,
            beyond=f"{self._x} {self._paid[0]:g} to {self._paid[-1]:g}" if outside else "",
        )

    def _knows(self, name: str, row: _Row) -> bool:
        """Whether the value of an option was paid for, or is one more of several that change nothing."""
        if name == self._x or name in self._options:
            return True
        seen, value = self._values.get(name, {_MISSING}), row.texts.get(name, _MISSING)
        return value in seen or (len(seen) > 1 and value != _MISSING and name != REFERENCES)


def _agreed(laws: Sequence[_Law], features: Mapping[str, Json]) -> FittedPrice | None:
    """Return what all laws say that explain the charges equally well; None where one of them says nothing."""
    row = _Row(features, 0.0)
    said = [found for law in laws if (found := law.price(row)) is not None]
    if not said or len(said) < len(laws):
        return None
    dearest = max(said, key=lambda each: each.expected)
    return replace(dearest, low=min(each.low for each in said), high=max(each.high for each in said))


def _values(rows: Sequence[_Row]) -> dict[str, set[str]]:
    names = {name for row in rows for name in row.texts}
    return {name: {row.texts.get(name, _MISSING) for row in rows} for name in names}


def _cell(row: _Row, options: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.texts.get(name, _MISSING) for name in options)


def _explain(rows: Sequence[_Row]) -> tuple[Sequence[_Law], str]:
    """Return the laws that explain the charges best, and what to add to their words."""
    laws = _simplest(rows)
    if laws:
        return laws, ""
    if len(rows) > FEWEST_ROUGH:
        for odd in sorted(rows, key=lambda row: -row.credits)[:MOST_ODD]:
            laws = _simplest([row for row in rows if row is not odd])
            found = [law.price(odd) for law in laws]
            if found and all(each is not None and odd.credits > each.expected * ACCIDENT for each in found):
                return laws, f"; one charge of {odd.credits:g} is left out"
    size = len(rows) // 2
    while size > 2:  # a price list that has changed: the newest charges alone
        laws = _simplest(rows[-size:])
        if laws:
            return laws, "; older ones were other prices"
        size //= 2
    return _roughly(rows), ""


def _simplest(rows: Sequence[_Row]) -> list[_Law]:
    """Return the laws with the fewest numbers that agree with all charges; none where that takes too many."""
    roundings = _roundings(rows)
    best, found = len(rows), list[_Law]()
    for options, x in _hypotheses(rows):
        if 2 * len(options) + 1 > best:
            break  # each further option brings a number or more
        cells = _cells(rows, options, x)
        for kind in ("a",) if x is None else ("b", "ab"):
            numbers = len(kind) * len(cells)
            # With as many numbers as charges, anything is explained.
            if 2 * numbers > len(rows) if x is None else 3 * numbers > 2 * len(rows):
                continue
            rank = numbers + len(options)
            if rank > best:
                continue
            lines = _all_lines(cells, kind, roundings) or _all_lines(cells, kind, [_ALIKE])
            if lines:
                found = found if rank == best else []
                if kind == "b":  # each may have a fixed part as well that is too small to be seen
                    lines += _all_lines(cells, "ab", roundings) or _all_lines(cells, "ab", [_ALIKE])
                found.append(_Law(options, x, lines, rows))
                best = rank
    return found


def _hypotheses(rows: Sequence[_Row]) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """Yield (options that matter, number it grows with), of all that differ between the charges; few options first."""
    values = _values(rows)
    numbers = sorted(
        name for name in values if len(values[name]) > 1 and all(name in row.numbers for row in rows)
    )
    differ = sorted(name for name in values if 1 < len(values[name]) < len(rows))
    for size in range(min(MOST_OPTIONS, len(differ)) + 1):
        for options in combinations(differ, size):
            yield options, None
            for x in numbers:
                if x not in options:
                    yield options, x


Cells = Mapping[tuple[str, ...], list[tuple[float, float]]]


def _cells(rows: Sequence[_Row], options: Sequence[str], x: str | None) -> Cells:
    cells: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for row in rows:
        cells.setdefault(_cell(row, options), []).append(
            (row.numbers[x] if x is not None else 1.0, row.credits)
        )
    return cells


def _all_lines(cells: Cells, kind: str, roundings: Iterable[_Rounding]) -> list[Lines]:
    """Return the lines of this kind that explain the charges of all cells: a set for each way of rounding that can."""
    found = list[Lines]()
    for rounding in roundings:
        lines = {
            cell: _Line.through(points, rounding, numbers=kind if _differ(points) else kind[-1])
            for cell, points in cells.items()
        }
        whole = {cell: line for cell, line in lines.items() if line is not None}
        if len(whole) == len(cells):
            found.append(whole)
    return found


def _differ(points: Sequence[tuple[float, float]]) -> bool:
    """Whether there are several numbers: one alone tells nothing of a part that is fixed."""
    return len({x for x, _ in points}) > 1


def _roughly(rows: Sequence[_Row]) -> list[_Law]:
    """Return the law that is least off, where no charge is off by more than a fifth; none where there is none."""
    best: tuple[float, _Law] | None = None
    if len(rows) < FEWEST_ROUGH:
        return []
    for options, x in _hypotheses(rows):
        cells = _cells(rows, options, x)
        if 2 * len(cells) > len(rows) or any(
            number <= 0 for points in cells.values() for number, _ in points
        ):
            continue
        off, lines = 0.0, {}
        for cell, points in cells.items():
            each = sorted(credits / number for number, credits in points)
            middle = math.sqrt(each[0] * each[-1])
            off = max(off, each[-1] / middle - 1, 1 - each[0] / middle)
            lines[cell] = _Line([(middle, 0.0) if x is None else (0.0, middle)], _Rounding(_Way.NOT))
        # A further number has to be worth it.
        if off <= ROUGHLY and (best is None or off < best[0] / 2):
            best = off, _Law(options, x, [lines], rows, off=off)
    return [best[1]] if best is not None else []
