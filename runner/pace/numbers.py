"""The settings of a mechanism: each a number with its unit, why it is there, and the value without which it would not be.

And what a mechanism has learned, as it is written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One setting, as `tests/ablation.py` and the README know it."""

    name: str
    value: float
    unit: str
    off: float | None  # the value that takes the mechanism away; None: there is nothing to take away
    serves: str


def number(value: float, *, unit: str, serves: str, off: float | None = None) -> Any:
    """Return a field of a settings dataclass, with what a reader has to know of it."""
    return field(default=value, metadata={"unit": unit, "off": off, "serves": serves})


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
        for each in fields(settings)
    ]


def as_kept(state: Any) -> dict[str, Any]:
    """Return what of a dataclass is not as it was in the beginning."""
    new = type(state)()
    return {
        each.name: value
        for each in fields(state)
        if (value := getattr(state, each.name)) != getattr(new, each.name)
    }


def taken_up(kind: type[T], kept: Mapping[str, Any], later_s: float = 0.0) -> T:
    """Return what `as_kept` told of, as far as it is still known; its times, whose names end in `_at`, so much later."""
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    told = {name: value for name, value in kept.items() if name in names}
    return kind(**{name: value + later_s if name.endswith("_at") else value for name, value in told.items()})
