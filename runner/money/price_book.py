"""What a job would cost that was never paid for, told from what others of its model were charged.

Simple laws are tried, and the one is kept that explains the charges with the fewest numbers of its own:

```text
 constant       10
 proportional   1.67 x duration                   each also rounded: up, down, or to the nearest
 affine         5 + 1.2 x duration
```

each of them once for all, or once for each value of the options that matter (`resolution`); and, for combinations of two
options that were never paid for, a factor for each of their values. An option that was seen with
several values and changes nothing does not matter. A law counts only if it explains clearly more charges than it has
numbers, and it says nothing of a value that was never paid for. Charges that were rounded leave room for many laws of
one kind, and for more than one way of rounding: `low` and `high` are the least and the most that any of them says.
Where no law fits, the answer is None: then a list price is all there is.

All amounts are credits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

from runner.fingerprint import canonical
from runner.model import Json
from runner.money.price_factors import Factors
from runner.money.price_lines import ALMOST, DURATION, Line, Rounding, Way, roundings

MOST_POINTS = 100  # the newest prices: older ones tell nothing new, and each costs time
MOST_OPTIONS = 3  # so many options at once may matter
# Charges that follow no law exactly (dearer hours, a currency behind them) are fitted if none is off by more.
ROUGHLY = 0.2
FEWEST_ROUGH = 4  # charges for that
# One charge so many times what the others tell is an accident, where all others agree; the highest few are looked at.
ACCIDENT, MOST_ODD = 3.0, 3

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
    at: str = ""  # when it was charged last, RFC 3339


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
    of: str = ""  # how many different numbers the law stands on, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerBound:
    """The least that a price can be, if more of anything never costs less; in words why no more is known."""

    credits: float
    words: str


class PriceBook:
    """What is known of the prices of one model.

    >>> points = [PricePoint(params={"duration": n}, credits=math.ceil(1.67 * n)) for n in (6, 10, 15)]
    >>> found = PriceBook(points).price({"duration": 8})
    >>> found.low, found.expected, found.high
    (14.0, 14.0, 14.0)
    >>> found.words
    '1.68 a second, rounded up, from 3 payments of 3 durations'

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
        self.changed_at = ""  # when the present prices were seen first, where older ones were others
        if len(self._rows) > 1:
            self._laws, self._note, newest = _explain(self._rows)
            if newest < len(self._rows):
                self.changed_at = self._points[-newest].at

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
        return self._price(_Row(_features(params, kinds, length), 0.0))

    def at_least(
        self, params: Mapping[str, Json], kinds: Sequence[str] = (), length: int = 0
    ) -> LowerBound | None:
        """Return the least that a job can cost, where `price` says nothing; None where nothing tells that either.

        It costs no less than what was paid for with the same options, or with less of what can be less: a shorter
        clip, 480p in the place of 720p.
        """
        wanted = _Row(_features(params, kinds, length), 0.0)
        found = [
            (row.credits, row)
            for row in self._rows
            if all(_is_no_more(row, wanted, name) for name in {*row.texts, *wanted.texts})
        ]
        # As long a clip, in a smaller picture: what the law says of that.
        by_size = {tuple((name, row.values[name]) for name in sorted(row.sizes)): row for row in self._rows}
        for sizes, row in by_size.items():
            if sizes and all(_is_no_more(row, wanted, name) for name in row.sizes):
                price = self._price(_Row({**wanted.values, **dict(sizes)}, 0.0))
                found += [(price.low, row)] if price is not None and price.low else []
        if not found:
            return None
        credits, row = max(found, key=lambda each: each[0])
        return LowerBound(credits=credits, words=self._never(row, wanted))

    def _price(self, row: _Row) -> FittedPrice | None:
        found = _agreed(self._laws, row)
        if found is None and self._laws:
            found = _agreed(self._factored, row)
        if found is None:
            return None
        payments = sum(point.times for point in self._points)
        words = f"{found.words}, from {payments:,} payments{found.of}{self._note}"
        return replace(found, words=words)

    @cached_property
    def _factored(self) -> Sequence[_Law]:
        return _by_factors(self._rows)

    def _never(self, row: _Row, wanted: _Row) -> str:
        """Return which values were never paid for, between those that were."""
        parts = []
        for name in sorted(wanted.texts):
            seen = {each.texts.get(name) for each in self._rows}
            if wanted.texts[name] in seen or name in wanted.numbers:
                continue
            above = [each for each in self._rows if _size_of(each, name) > _size_of(wanted, name)]
            value, less = _plain(wanted.texts[name]), _plain(row.texts.get(name, "none"))
            if above:
                more = min(above, key=lambda each: _size_of(each, name))
                parts.append(f"{value}, between {less} and {_plain(more.texts[name])}, was never paid for")
            else:
                parts.append(f"{value} was never paid for, {less} was")
        return ", ".join(parts) or "nothing like it was paid for, less was"


def _features(params: Mapping[str, Json], kinds: Sequence[str], length: int) -> dict[str, Json]:
    features = dict(params)
    if kinds:
        features[REFERENCES] = " ".join(kinds)
    if length:
        features[LENGTH] = length
    return features


# --- laws of a model --------------------------------------------------------------------------------------------------


class _Row:
    """A price and what it was for; the values of options as texts, numbers and sizes (`720p`) as numbers."""

    __slots__ = ("credits", "numbers", "sizes", "texts", "values")

    def __init__(self, features: Mapping[str, Json], credits: float) -> None:
        self.credits = credits
        self.values = features
        self.texts = {name: canonical(value) for name, value in features.items()}
        self.numbers = {
            name: number for name, value in features.items() if (number := number_in(value)) is not None
        }
        self.sizes = {
            name: (float(found[1]), found[2])
            for name, value in features.items()
            if isinstance(value, str) and (found := _SIZE.fullmatch(value))
        }


_MISSING = "null"
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,12})?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")  # 480p, 4k, 10s
_NO_MEASURE = frozenset({"seed"})  # numbers of which more is not more


def number_in(value: Json) -> float | None:
    """Return a number, also where it is an option and so sent as text (`"10"`); None for what is none."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _size_of(row: _Row, name: str) -> float:
    return row.sizes[name][0] if name in row.sizes else row.numbers.get(name, -math.inf)


def _is_no_more(row: _Row, wanted: _Row, name: str) -> bool:
    """Whether an option is the same in both, or less in the first."""
    if row.texts.get(name) == wanted.texts.get(name) or name in _NO_MEASURE:
        return True
    if name in row.sizes and name in wanted.sizes:
        return row.sizes[name][1] == wanted.sizes[name][1] and row.sizes[name][0] <= wanted.sizes[name][0]
    return name in row.numbers and name in wanted.numbers and row.numbers[name] <= wanted.numbers[name]


def _plain(text: str) -> str:
    return text.strip('"')


Lines = Mapping[tuple[str, ...], Line]  # by the values of options


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
        self._paid = _paid(rows)

    def price(self, row: _Row) -> FittedPrice | None:
        """Return what a job would cost; None where it differs from all that was paid for."""
        x = row.numbers.get(self._x) if self._x is not None else 1.0
        lines = self._lines_of(_cell(row, self._options))
        if x is None or not lines or not all(self._knows(name, row) for name in {*row.texts, *self._values}):
            return None
        spans = [line.at(x) for line in lines]
        expected = spans[0][1]
        low = min(expected, *(low for low, _, _ in spans))
        high = max(expected, *(high for _, _, high in spans))
        words = lines[0].words(self._x)
        words += ("," if "," in words and self._options else "") + self._where(row)
        if self._off:
            low, high = low * (1 - self._off), high * (1 + self._off)
            words += f", off by up to {math.ceil(self._off * 100)} % so far"
        # What changed nothing so far may grow with the price beyond what was paid for.
        for name, (_, most) in self._beyond(row).items():
            if name != self._x and 0 < most < row.numbers[name]:
                high *= row.numbers[name] / most
        return FittedPrice(
            low=round(low, 6),
            expected=round(expected, 6),
            high=round(high, 6),
            words=words,
            beyond=", ".join(
                f"{name} {least:g} to {most:g}" for name, (least, most) in self._beyond(row).items()
            ),
            of=_of(self._x, len(set(self._paid[self._x]))) if self._x is not None else "",
        )

    def _lines_of(self, cell: tuple[str, ...]) -> Sequence[Line]:
        """Return the lines for these values of the options, the likeliest first."""
        return [each[cell] for each in self._lines if cell in each]

    def _where(self, row: _Row) -> str:
        """Return for which values of the options it holds: ` at 480p, mode fun`."""
        values = [_plain(row.texts.get(name, "left out")) for name in self._options]
        told = [
            value if _SIZE.fullmatch(value) else f"{name} {value}"
            for name, value in zip(self._options, values, strict=True)
        ]
        return f" at {', '.join(told)}" if told else ""

    def _beyond(self, row: _Row) -> dict[str, tuple[float, float]]:
        """Return between which numbers was paid for, by name, where one of the job lies outside of them."""
        found = {}
        for name, number in row.numbers.items():
            paid = self._paid.get(name)
            if paid and name not in (*self._options, *_NO_MEASURE) and not paid[0] <= number <= paid[-1]:
                found[name] = paid[0], paid[-1]
        return found

    def _knows(self, name: str, row: _Row) -> bool:
        """Whether the value of an option was paid for, or is one more of several that change nothing."""
        if name == self._x or name in self._options:
            return True
        seen, value = self._values.get(name, {_MISSING}), row.texts.get(name, _MISSING)
        return value in seen or (len(seen) > 1 and value != _MISSING and name != REFERENCES)


class _FactorLaw(_Law):
    """A law of two options with a factor for each of their values, for combinations that were never paid for.

    Args:
        options: The names of the two.
        x: The number it grows with in proportion, None where it does not.
        factors: By the way of rounding; all that explain the charges, the likeliest first.
        rows: What it explains.
    """

    def __init__(
        self,
        options: Sequence[str],
        x: str | None,
        factors: Mapping[Rounding, Factors],
        rows: Sequence[_Row],
    ) -> None:
        super().__init__(options, x, [], rows)
        self._factors = factors

    def _lines_of(self, cell: tuple[str, ...]) -> Sequence[Line]:
        one, other = cell
        rates = {rounding: factors.rates(one, other) for rounding, factors in self._factors.items()}
        return [
            Line([(rate, 0.0) if self._x is None else (0.0, rate) for rate in found], rounding)
            for rounding, found in rates.items()
            if found is not None
        ]

    def _where(self, row: _Row) -> str:
        return super()._where(row) + " (a factor for each)"


def _of(x: str, number: int) -> str:
    return f" of {number} durations" if x == DURATION else f" of {number} values of {x}"


def _agreed(laws: Sequence[_Law], row: _Row) -> FittedPrice | None:
    """Return what all laws say that explain the charges equally well; None where one of them says nothing."""
    said = [found for law in laws if (found := law.price(row)) is not None]
    if not said or len(said) < len(laws):
        return None
    dearest = max(said, key=lambda each: each.expected)
    return replace(dearest, low=min(each.low for each in said), high=max(each.high for each in said))


def _paid(rows: Sequence[_Row]) -> dict[str, list[float]]:
    """Return the numbers that were paid for, by their names, in order."""
    return {
        name: sorted(row.numbers[name] for row in rows if name in row.numbers)
        for name in {name for row in rows for name in row.numbers}
    }


def _values(rows: Sequence[_Row]) -> dict[str, set[str]]:
    names = {name for row in rows for name in row.texts}
    return {name: {row.texts.get(name, _MISSING) for row in rows} for name in names}


def _cell(row: _Row, options: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.texts.get(name, _MISSING) for name in options)


def _explain(rows: Sequence[_Row]) -> tuple[Sequence[_Law], str, int]:
    """Return the laws that explain the charges best, what to add to their words, and how many of the newest they explain."""
    laws = _simplest(rows)
    if laws:
        return laws, "", len(rows)
    if len(rows) > FEWEST_ROUGH:
        for odd in sorted(rows, key=lambda row: -row.credits)[:MOST_ODD]:
            laws = _simplest([row for row in rows if row is not odd])
            found = [law.price(odd) for law in laws]
            if found and all(each is not None and odd.credits > each.expected * ACCIDENT for each in found):
                return laws, f"; one charge of {odd.credits:g} is left out", len(rows)
    size = len(rows) // 2
    while size > 2:  # a price list that has changed: the newest charges alone
        laws = _simplest(rows[-size:])
        if laws:
            return laws, "; older ones were other prices", size
        size //= 2
    return _roughly(rows), "", len(rows)


def _simplest(rows: Sequence[_Row]) -> list[_Law]:
    """Return the laws with the fewest numbers that agree with all charges; none where that takes too many."""
    ways = roundings({row.credits for row in rows})
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
            lines = _all_lines(cells, kind, ways) or _all_lines(cells, kind, [ALMOST])
            if lines:
                found = found if rank == best else []
                if kind == "b":  # each may have a fixed part as well that is too small to be seen
                    lines += _all_lines(cells, "ab", ways) or _all_lines(cells, "ab", [ALMOST])
                found.append(_Law(options, x, lines, rows))
                best = rank
    return found


def _by_factors(rows: Sequence[_Row]) -> list[_Law]:
    """Return the laws with a factor for each value of two options that agree with all charges."""
    found = list[_Law]()
    ways = roundings({row.credits for row in rows})
    for options, x in _hypotheses(rows):
        cells = _cells(rows, options, x)
        if len(options) != 2 or any(number <= 0 for points in cells.values() for number, _ in points):
            continue
        numbers = sum(len({cell[place] for cell in cells}) for place in (0, 1)) - 1
        if numbers >= len(rows):  # with as many numbers as charges, anything is explained
            continue
        factors = {way: rates for way in ways if (rates := _factors(cells, way)) is not None}
        if factors:
            found.append(_FactorLaw(options, x, factors, rows))
    return found


def _factors(cells: Cells, way: Rounding) -> Factors | None:
    """Return the factors that agree with all charges, rounded in this way; None where there are none."""
    rates = {}
    for (one, other), points in cells.items():
        bounds = [(x, *way.bounds(credits)) for x, credits in points]
        low, high = max(low / x for x, low, _ in bounds), min(high / x for x, _, high in bounds)
        if low > high:
            return None
        rates[one, other] = low, high
    found = Factors(rates)
    return found if found.agree else None


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


def _all_lines(cells: Cells, kind: str, ways: Iterable[Rounding]) -> list[Lines]:
    """Return the lines of this kind that explain the charges of all cells: a set for each way of rounding that can."""
    found = list[Lines]()
    for rounding in ways:
        lines = {
            cell: Line.through(points, rounding, numbers=kind if _differ(points) else kind[-1])
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
            lines[cell] = Line([(middle, 0.0) if x is None else (0.0, middle)], Rounding(Way.NOT))
        # A further number has to be worth it.
        if off <= ROUGHLY and (best is None or off < best[0] / 2):
            best = off, _Law(options, x, [lines], rows, off=off)
    return [best[1]] if best is not None else []
