"""A plan for people who answer for a budget: its jobs by block, with what each block costs and what its jobs differ in."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from runner.model import Basis, Estimate, Json
from runner.money.price_book import number_in
from runner.store import plan_groups as store
from runner.store.connection import Connection
from runner.store.plan_groups import Edited, GroupedJob, Part

# Of more jobs, blocks are told from one in so many, and their axes are named without counting their values.
MOST_READ = 20_000
SAMPLES = 2_000
MOST_GROUPS = 12
EDITED_SHOWN = 3
TAKE, FILE = "take", "file"
ORDER = ("changed", "new", "planned", "renamed", "running", "failed", "uncertain", "abandoned", "done", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Credits: the least, what is expected, the most. `high` is None where nobody knows: a list price is the lowest."""

    low: float = 0.0
    expected: float = 0.0
    high: float | None = 0.0

    def __add__(self, other: Range) -> Range:
        high = None if self.high is None or other.high is None else self.high + other.high
        return Range(low=self.low + other.low, expected=self.expected + other.expected, high=high)

    def times(self, number: int) -> Range:
        """Return what so many jobs of this price come to."""
        high = None if self.high is None else self.high * number
        return Range(low=self.low * number, expected=self.expected * number, high=high)


def range_of(estimate: Estimate) -> Range:
    """Return between what one payment is thought to lie."""
    high = None if estimate.basis is Basis.LISTED else estimate.reserve
    return Range(low=estimate.low, expected=estimate.credits, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Jobs of one block with one change. `each` is the price of one of them, `credits` of all that would be submitted."""

    change: str
    jobs: int
    sends: int
    grid: str  # `product(10) × light(5) × 4 takes`, `250 rows`, or some ids
    each: Range
    credits: Range
    sample: GroupedJob
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """The groups of a plan; `more` counts the jobs of those that are not told.

    Of the jobs that were changed `edited` are the first, `paid_again` are so many, for so many credits; of the rows that the
    manifest no longer lists, so many are `superseded`: old versions of jobs that it lists.
    """

    groups: tuple[Group, ...]
    more: int
    edited: tuple[Edited, ...]
    paid_again: tuple[int, float]
    superseded: int


def grouped(
    conn: Connection,
    manifest: str,
    prices: Mapping[str, Estimate],
    parts: Sequence[Part],
    summary: Mapping[str, int],
) -> Grouped:
    """Group what is staged.

    Args:
        conn: The database in which a manifest is staged.
        manifest: Its name.
        prices: What each shape is expected to cost that a run would submit.
        parts: All that is staged.
        summary: How many jobs there are of each change.
    """
    groups, more = _first_groups(conn, prices, parts)
    changed, orphaned = summary["changed"], summary["orphaned"]
    return Grouped(
        groups=groups,
        more=more,
        edited=tuple(store.edited(conn, manifest, EDITED_SHOWN)) if changed else (),
        paid_again=store.paid_again(conn, manifest) if changed else (0, 0.0),
        superseded=store.superseded(conn, manifest) if orphaned else 0,
    )


def _first_groups(
    conn: Connection, prices: Mapping[str, Estimate], parts: Sequence[Part]
) -> tuple[tuple[Group, ...], int]:
    """Return the first groups, what pays before what does not, and how many jobs are in none of them."""
    if not parts:
        return (), 0
    first, last = min(part.first for part in parts), max(part.last for part in parts)
    number = sum(part.jobs for part in parts)
    found, told = list[Group](), 0
    blocks = list(_blocks(conn, first, last, number))
    for low, high in blocks[:MOST_GROUPS]:
        block = parts if len(blocks) == 1 else store.parts(conn, low, high)
        found += _groups(conn, low, high, prices, block)
    found.sort(key=lambda group: ORDER.index(group.change))
    found = found[:MOST_GROUPS]
    told = sum(group.jobs for group in found)
    return tuple(found), number - told


def _blocks(conn: Connection, first: int, last: int, number: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last position of each block: neighbours with the same axes."""
    every = 1 if number <= MOST_READ else number // SAMPLES
    names = {position: _names(text) for position, text in store.axes(conn, first, last, every=every)}
    for position in (first, last):
        names |= {at: _names(text) for at, text in store.axes(conn, position, position)}
    begin = first
    for one, other in pairwise(sorted(names)):
        if names[one] == names[other]:
            continue
        edge = _edge(conn, one, other, names[one])
        yield begin, edge - 1
        begin = edge
    yield begin, last


def _edge(conn: Connection, low: int, high: int, names: tuple[str, ...]) -> int:
    """Return where between two jobs of different blocks the second block begins."""
    while high - low > 1:
        middle = (low + high) // 2
        there = [_names(text) for _, text in store.axes(conn, middle, middle)]
        if not there or there[0] == names:
            low = middle
        else:
            high = middle
    return high


def _names(axes: str) -> tuple[str, ...]:
    return tuple(json.loads(axes)) if axes != "{}" else ()


def _groups(
    conn: Connection, first: int, last: int, prices: Mapping[str, Estimate], parts: Sequence[Part]
) -> Iterator[Group]:
    axes = [json.loads(text) for _, text in store.axes(conn, first, last)] if last - first < MOST_READ else []
    changes = list(dict.fromkeys(part.change for part in parts))
    for change in changes:
        mine = [part for part in parts if part.change == change]
        ranges = [
            (range_of(prices[part.shape]), part.sends) for part in mine if part.sends and part.shape in prices
        ]
        jobs = store.jobs(conn, first, last, change, 3)
        number = sum(part.jobs for part in mine)
        yield Group(
            change=change,
            jobs=number,
            sends=sum(part.sends for part in mine),
            grid=_grid(axes, number, jobs) if len(changes) == 1 or not axes else _some(jobs, number),
            each=_spread([each for each, _ in ranges]),
            credits=sum((each.times(sends) for each, sends in ranges), Range()),
            sample=jobs[0],
            differs=tuple(_differs(conn, first, last, mine)) if number > 1 else (),
        )


def _spread(ranges: Sequence[Range]) -> Range:
    """Return from what to what one price lies that is any of these."""
    if not ranges:
        return Range()
    highs = [each.high for each in ranges]
    return Range(
        low=min(each.low for each in ranges),
        expected=max(each.expected for each in ranges),
        high=None if None in highs else max(high for high in highs if high is not None),
    )


def _grid(axes: Sequence[Mapping[str, Json]], number: int, jobs: Sequence[GroupedJob]) -> str:
    """Return what the jobs of a whole block are made of."""
    names = [name for name in _names(jobs[0].axes) if name != TAKE]
    if not names and TAKE not in _names(jobs[0].axes):
        return _some(jobs, number)
    if not axes:
        return "for each " + ", ".join(names[:6]) if names else f"{number:,} takes"
    counts = {name: len({str(each.get(name)) for each in axes}) for name in names}
    takes = len({str(each.get(TAKE)) for each in axes}) if TAKE in axes[0] else 1
    combinations = number // takes
    product = 1
    for count in counts.values():
        product *= count
    if product == combinations:
        parts = [f"{name}({count:,})" for name, count in counts.items() if count > 1]
    elif set(names) == {FILE}:
        parts = [f"{combinations:,} files"]
    elif combinations in counts.values():
        parts = [f"{combinations:,} rows"]
    else:
        parts = [
            f"{combinations:,} of "
            + " × ".join(f"{name}({count:,})" for name, count in counts.items() if count > 1)
        ]
    if takes > 1:
        parts.append(f"{takes:,} takes")
    return " × ".join(parts) or _some(jobs, number)


def _some(jobs: Sequence[GroupedJob], number: int) -> str:
    return ", ".join(job.job for job in jobs) + (", …" if number > len(jobs) else "")


MOST_VALUES = 5
_MANY = 200  # different params that are looked at


def _differs(conn: Connection, first: int, last: int, parts: Sequence[Part]) -> Iterator[str]:
    """Yield what the jobs of a group differ in."""
    change = parts[0].change
    models = list(dict.fromkeys(part.model for part in parts))
    if len(models) > 1:
        yield f"model ({_listed(models)})"
    if len(store.values(conn, first, last, change, "prompt", 2)) > 1:
        yield "prompt"
    params = store.values(conn, first, last, change, "params", _MANY)
    if len(params) > 1 and len(models) > 1:  # each has params of its own
        yield "params"
    elif len(params) > 1:
        read = [json.loads(text or "{}") for text in params]
        for name in sorted({name for each in read for name in each}):
            values = _in_order({_said(each.get(name)) for each in read})
            if len(values) > 1:
                yield f"{name} ({_listed(values)})"
    if len(store.values(conn, first, last, change, "refs", 2)) > 1:
        yield "references"


def _in_order(values: Collection[str]) -> list[str]:
    """Return numbers in their order, and texts in theirs."""
    return sorted(values, key=lambda value: (number_in(value) is None, number_in(value) or 0.0, value))


def _said(value: Json) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _listed(values: Sequence[str | None]) -> str:
    shown = ", ".join(str(value) for value in values[:MOST_VALUES])
    return shown + (", …" if len(values) > MOST_VALUES else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a run would pay: in all, by model, by axis and its value, and how each price is known."""

    all: Range
    by_model: Mapping[str, tuple[int, Range]]
    by_axis: Mapping[str, Mapping[str, Range]]  # only axes whose values differ in what they cost
    known: Sequence[Known]
    parts: Sequence[Part]  # all that is staged


NOTHING_TO_PAY = Totals(all=Range(), by_model={}, by_axis={}, known=(), parts=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How the prices of some jobs are known: in the same words."""

    basis: Basis
    words: str
    jobs: int
    shapes: int
    each: Range
    at: str | None  # when one of them was seen last
    beyond: tuple[str, ...]  # what was paid for, where some lie outside of it


def never_seen(conn: Connection, prices: Mapping[str, Estimate]) -> list[str]:
    """Return the id of the first job of each price that was never charged here, of what a run would submit."""
    return [
        job
        for shape, job in store.first_of_each_shape(conn)
        if shape in prices and prices[shape].basis is not Basis.OBSERVED
    ]


MOST_AXIS_VALUES = 12


def totals(conn: Connection, prices: Mapping[str, Estimate]) -> Totals:
    """Add up what would be submitted."""
    everything, by_model = Range(), dict[str, tuple[int, Range]]()
    known = dict[tuple[Basis, str], dict[str, tuple[Estimate, int]]]()
    number, parts = 0, store.parts(conn)
    for part in parts:
        estimate = prices.get(part.shape)
        if estimate is None or not part.sends:
            continue
        credits = range_of(estimate).times(part.sends)
        everything += credits
        jobs, before = by_model.get(part.model, (0, Range()))
        by_model[part.model] = jobs + part.sends, before + credits
        same = known.setdefault((estimate.basis, estimate.words), {})
        same[part.shape] = estimate, same.get(part.shape, (estimate, 0))[1] + part.sends
        number += part.sends
    return Totals(
        all=everything,
        by_model=by_model,
        by_axis=_by_axis(conn, prices) if number <= MOST_READ else {},
        known=[_known(basis, words, list(found.values())) for (basis, words), found in known.items()],
        parts=parts,
    )


def _known(basis: Basis, words: str, found: Sequence[tuple[Estimate, int]]) -> Known:
    return Known(
        basis=basis,
        words=words,
        jobs=sum(jobs for _, jobs in found),
        shapes=len(found),
        each=_spread([range_of(estimate) for estimate, _ in found]),
        at=max((estimate.at for estimate, _ in found if estimate.at), default=None),
        beyond=tuple(sorted({estimate.beyond for estimate, _ in found if estimate.beyond})),
    )


def _by_axis(conn: Connection, prices: Mapping[str, Estimate]) -> dict[str, dict[str, Range]]:
    found = dict[str, dict[str, Range]]()
    counts = dict[tuple[str, str], int]()
    for text, shape in store.axes_to_send(conn):
        estimate = prices.get(shape)
        if estimate is None or text == "{}":
            continue
        price = range_of(estimate)
        for name, value in json.loads(text).items():
            sums = found.setdefault(name, {})
            if len(sums) > MOST_AXIS_VALUES:
                continue
            key = _said(value)
            sums[key] = sums.get(key, Range()) + price
            counts[name, key] = counts.get((name, key), 0) + 1
    return {
        name: sums
        for name, sums in found.items()
        if 1 < len(sums) <= MOST_AXIS_VALUES
        and len({round(total.expected / counts[name, key], 3) for key, total in sums.items()}) > 1
    }
