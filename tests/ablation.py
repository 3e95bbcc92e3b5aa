"""What each number of `runner/pace/` is good for: halved, doubled and taken away, one at a time, over all regimes.

`python -m tests.regimes --ablate 2` prints the table of 2 seeds; with `--write` it goes into runner/pace/README.md. Each
variant runs the same worlds with the same draws as the numbers that stand in the code. Numbers of a limit that is found
are tried where the limits are to be found, all others where they are given.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

PACE = Path(__file__).resolve().parents[1] / "runner" / "pace"
README = PACE / "README.md"
# Module, and whether its numbers are about limits that are to be found.
MODULES = {
    "gate": True,
    "rate": True,
    "concurrency": True,
    "rejections": True,
    "durations": False,
    "inspection": False,
    "polling": False,
    "scheduler": False,
    "limits": True,
}
# Of the others, those that decide how soon a limit is found.
OF_FOUND_LIMITS = {"polling.unknown"}
VARIANTS = ("half", "double", "without")
KINDS = ("uniform", "bimodal", "failing", "constant", "lognormal", "wide")
PART = re.compile(r"(<!-- generated: numbers -->\n).*?(<!-- end -->)", re.S)
# A world's ratio moves by so much when only its draws change: what moves less is not shown.
NOISE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One setting."""

    name: str
    value: float
    unit: str
    off: float | None  # the value that takes the mechanism away; None: there is nothing to take away
    serves: str


def numbers(settings: Any) -> list[Number]:
    """Return the numbers of a settings dataclass, in order."""
    return [
        Number(
            name=each.name,
            value=getattr(settings, each.name),
            unit=each.metadata["unit"],
            off=each.metadata["off"],
            serves=each.metadata["serves"],
        )
        for each in dataclasses.fields(settings)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One number of a module's settings."""

    module: str
    constant: str  # the name of the settings in the module
    number: Number

    def __str__(self) -> str:
        return f"{self.module}.{self.number.name}"

    @property
    def given(self) -> bool:
        """Whether it is tried where the limits are given."""
        return not MODULES[self.module] and str(self) not in OF_FOUND_LIMITS

    def value(self, variant: str) -> float | None:
        """Return the value of a variant; None where the number has none such."""
        now = self.number.value
        if variant == "without":
            return self.number.off
        other = now * (0.5 if variant == "half" else 2.0)
        return max(round(other), 1) if isinstance(now, int) else other


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one regime came to: means over the worlds."""

    ratio: float
    polls: float
    rejected: float


def settings() -> list[Setting]:
    """Return every number of `runner/pace/`."""
    found = []
    for module in MODULES:
        there = vars(importlib.import_module(f"runner.pace.{module}"))
        for constant, value in there.items():
            if type(value).__module__ == f"runner.pace.{module}" and type(value).__name__.endswith(
                "Settings"
            ):
                found += [Setting(module=module, constant=constant, number=one) for one in numbers(value)]
    return found


def _put(setting: Setting, value: float) -> Callable[[], None]:
    """Give a number another value wherever it was imported; return how to take that back."""
    before = getattr(importlib.import_module(f"runner.pace.{setting.module}"), setting.constant)
    after: Any = dataclasses.replace(before, **{setting.number.name: value})
    there = [
        module
        for module in (importlib.import_module(f"runner.pace.{name}") for name in MODULES)
        if getattr(module, setting.constant, None) is before
    ]
    for module in there:
        setattr(module, setting.constant, after)

    def back() -> None:
        for module in there:
            setattr(module, setting.constant, before)

    return back


Worlds = Callable[[str, int, bool], tuple[float, float, float]]


def effects(
    variant: tuple[Setting, float] | None, given: bool, *, run: Worlds, regimes: Sequence[str], seeds: int
) -> Mapping[str, Effect]:
    """Run all regimes with one number changed (None: with none); empty where a run comes to nothing."""
    back = _put(*variant) if variant else (lambda: None)
    try:
        found = {}
        for regime in regimes:
            runs = [run(regime, seed, given) for seed in range(seeds)]
            ratio, polls, rejected = (statistics.mean(each) for each in zip(*runs, strict=True))
            found[regime] = Effect(ratio=ratio, polls=polls, rejected=rejected)
        return found
    except (AssertionError, ArithmeticError, ValueError, IndexError):
        return {}
    finally:
        back()


def table(
    *, run: Worlds, regimes: Sequence[str], seeds: int, only: Sequence[str] = (), workers: int | None = None
) -> Iterator[str]:
    """Yield the table, a line for each number.

    Args:
        run: Runs one world: regime, seed, whether the limits are given; returns ratio, polls a task, 429 per 1,000.
        regimes: Their names.
        seeds: Worlds of each.
        only: Modules; all where there is none.
        workers: Processes.
    """
    chosen = [one for one in settings() if not only or one.module in only]
    work = partial(effects, run=run, regimes=regimes, seeds=seeds)
    yield f"| number | value | serves | {' | '.join(VARIANTS)} |"
    yield "| --- | --- | --- |" + " --- |" * len(VARIANTS)
    with ProcessPoolExecutor(workers) as pool:
        plain = {given: pool.submit(work, None, given) for given in (True, False)}
        tried = {
            (str(one), variant): pool.submit(work, (one, value), one.given)
            for one in chosen
            for variant in VARIANTS
            if (value := one.value(variant)) is not None
        }
        for one in chosen:
            base = plain[one.given].result()
            cells = [
                _cell(base, tried[str(one), variant].result()) if (str(one), variant) in tried else "-"
                for variant in VARIANTS
            ]
            yield (
                f"| `{one}` | {one.number.value:g} {one.number.unit} | {one.number.serves} | {' | '.join(cells)} |"
            )


def _cell(base: Mapping[str, Effect], changed: Mapping[str, Effect]) -> str:
    """Say what changed most: makespan, then polls a task, then answers 429."""
    if not changed:
        return "does not work"
    ratio = {regime: changed[regime].ratio / one.ratio - 1.0 for regime, one in base.items()}
    polls = {regime: changed[regime].polls / one.polls - 1.0 for regime, one in base.items()}
    rejected = {regime: changed[regime].rejected - one.rejected for regime, one in base.items()}
    said = []
    for name, changes, least, form in (
        ("time", ratio, NOISE, "+.1%"),
        ("polls", polls, 0.05, "+.0%"),
        ("429", rejected, 3.0, "+.0f"),
    ):
        regime, change = max(changes.items(), key=lambda item: abs(item[1]))
        if abs(change) >= least:
            said.append(f"{name} {change:{form}} ({regime})")
    return "; ".join(said) or "nothing"


def write(lines: Sequence[str]) -> None:
    """Put the table into the README."""
    text = README.read_text(encoding="utf-8")
    README.write_text(PART.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text), encoding="utf-8")


def named() -> dict[str, str]:
    """Return the numbers that the README names, with value and unit."""
    part = PART.search(README.read_text(encoding="utf-8"))
    return dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*?) \|", part[0] if part else "", re.M))
