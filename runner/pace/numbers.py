"""The settings of a mechanism, and what it has learned, as it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

T = TypeVar("T")


def number(value: float, unit: str, serves: str, *, off: float | None = None) -> Any:
    """Return a field of a settings dataclass: its unit, what it serves, and the value that takes the mechanism away."""
    return field(default=value, metadata={"unit": unit, "serves": serves, "off": off})


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
