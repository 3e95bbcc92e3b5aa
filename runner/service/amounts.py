"""Numbers that others have said, read leniently. Pure."""

from __future__ import annotations

import math
import re

from runner.model import Json

_DECIMAL = re.compile(
    r"\s*\+?((?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,2})?)\s*(?:credits?\s*)?",
    re.ASCII | re.IGNORECASE,
)
_INSIDE = ("amount", "value", "credits")


def credits_of(value: Json) -> float | None:
    """Return an amount of credits, None for anything that is not a finite number of at least zero.

    Money is often sent as text, to keep its decimals, or with its unit beside it.

    >>> credits_of("12.50"), credits_of("4,000 credits"), credits_of({"amount": 40}), credits_of("1.234,5")
    (12.5, 4000.0, 40.0, None)
    """
    if isinstance(value, (int, float)):
        return number_of(value)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        named = [value[name] for name in _INSIDE if name in value]
        value = named[0] if len(named) == 1 else None
    if isinstance(value, str):
        found = _DECIMAL.fullmatch(value)
        return number_of(float(found[1].replace(",", ""))) if found else None
    return number_of(value)


def number_of(value: Json) -> float | None:
    """Return a finite number of at least zero, None for anything else a service may say."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        amount = float(value)
    except OverflowError:  # JSON integers have no largest one
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None
