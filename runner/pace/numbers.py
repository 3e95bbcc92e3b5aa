"""The settings of a mechanism: each a number with its unit, why it is there, and the value without which it would not be."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


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
