"""What each number of `runner/pace/` is good for: halved and doubled, one at a time, over all regimes.

`python -m tests.regimes --ablate` prints the table. Each variant runs the same worlds with the same draws as the numbers
that stand in the code, once with the limits given and once with the limits to be found.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

MODULES = ("scheduler", "polling", "inspection", "durations", "concurrency", "rate", "gate", "rejections")
FACTORS = (0.5, 2.0)
MOVES = 0.01  # a number that changes no regime's mean makespan by so much may go
POLLS_MOVE = 0.05  # nor its polls a task by so much
KINDS = ("uniform", "lognormal", "bimodal", "failing")
PACE = Path(__file__).resolve().parents[1] / "runner" / "pace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One named number: of a module, or of a field of a constant of it."""

    module: str
    name: str
    field: str | None
    value: float

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" + (f".{self.field}" if self.field else "")

    def times(self, factor: float) -> float:
        """Return its value times a factor; a whole number stays one, and at least 1."""
        if isinstance(self.value, int):
            return max(round(self.value * factor), 1)
        return self.value * factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one regime came to: means over the worlds."""

    ratio: float
    polls: float
    rejected: float


def numbers() -> list[Number]:
    """Return every number that has a name in capitals in `runner/pace/`."""
    found = []
    for module in MODULES:
        there = importlib.import_module(f"runner.pace.{module}")
        for name in _assigned(PACE / f"{module}.py"):
            value = getattr(there, name, None)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                found += [
                    Number(module=module, name=name, field=field.name, value=number)
                    for field in dataclasses.fields(value)
                    if _is_number(number := getattr(value, field.name))
                ]
            elif _is_number(value):
                found.append(Number(module=module, name=name, field=None, value=value))
    return found


def _assigned(path: Path) -> list[str]:
    return [
        target.id
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for each in node.targets
        for target in (each.elts if isinstance(each, ast.Tuple) else [each])
        if isinstance(target, ast.Name) and target.id.isupper()
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _put(number: Number, value: float) -> Callable[[], None]:
    """Give a number another value wherever it was imported; return how to take that back."""
    home = importlib.import_module(f"runner.pace.{number.module}")
    before = getattr(home, number.name)
    after: Any = dataclasses.replace(before, **{number.field: value}) if number.field else value
    there = [
        module
        for module in (importlib.import_module(f"runner.pace.{name}") for name in MODULES)
        if getattr(module, number.name, None) is before
    ]
    for module in there:
        setattr(module, number.name, after)

    def back() -> None:
        for module in there:
            setattr(module, number.name, before)

    return back


Worlds = Callable[[str, int, bool], tuple[float, float, float]]


def effects(
    variant: tuple[Number, float] | None, *, run: Worlds, regimes: Sequence[str], seeds: int
) -> Mapping[tuple[str, bool], Effect]:
    """Run all regimes with one number changed (None: with none); a run that comes to nothing is infinite."""
    back = _put(variant[0], variant[0].times(variant[1])) if variant else (lambda: None)
    try:
        found = {}
        for regime in regimes:
            for given in (True, False):
                runs = [run(regime, seed, given) for seed in range(seeds)]
                ratio, polls, rejected = (statistics.mean(each) for each in zip(*runs, strict=True))
                found[regime, given] = Effect(ratio=ratio, polls=polls, rejected=rejected)
        return found
    except (AssertionError, ArithmeticError, ValueError, IndexError):
        return {}
    finally:
        back()


def table(*, run: Worlds, regimes: Sequence[str], seeds: int) -> Iterator[str]:
    """Yield the table, a line for each number and factor, then which numbers move nothing."""
    chosen = [(number, factor) for number in numbers() for factor in FACTORS]
    work = partial(effects, run=run, regimes=regimes, seeds=seeds)
    yield "| number | value | times | makespan, most changed | polls a task, most changed | 429 per 1,000, most changed |"
    yield "| --- | --- | --- | --- | --- | --- |"
    moved: set[str] = set()
    with ProcessPoolExecutor() as workers:
        results = workers.map(work, [None, *chosen])
        plain = next(results)
        for (number, factor), changed in zip(chosen, results, strict=True):
            if not changed:
                moved.add(str(number))
                yield f"| `{number}` | {number.value:g} | {factor:g} | does not work | | |"
                continue
            ratio, ratio_at = _most({key: changed[key].ratio / one.ratio - 1.0 for key, one in plain.items()})
            polls, polls_at = _most({key: changed[key].polls / one.polls - 1.0 for key, one in plain.items()})
            refused, refused_at = _most(
                {key: changed[key].rejected - one.rejected for key, one in plain.items()}
            )
            if abs(ratio) >= MOVES or abs(polls) >= POLLS_MOVE:
                moved.add(str(number))
            yield (
                f"| `{number}` | {number.value:g} | {factor:g} | {ratio:+.1%} {ratio_at} | {polls:+.1%} {polls_at}"
                f" | {refused:+.1f} {refused_at} |"
            )
    yield ""
    yield "Moves nothing: " + ", ".join(sorted({f"`{one}`" for one, _ in chosen if str(one) not in moved}))


def _most(changes: Mapping[tuple[str, bool], float]) -> tuple[float, str]:
    """Return the largest change, and the name of its regime."""
    (regime, given), change = max(changes.items(), key=lambda item: abs(item[1]))
    return change, regime + ("" if given else ", limits to be found")
