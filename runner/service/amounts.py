"""Numbers that others have said, read leniently. Pure."""

from __future__ import annotations

import math
import re

from runner.model import Json

_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def credits_of(value: Json) -> float | None:
    """Return an amount of credits, None for anything that is not a finite number of at least zero.

    Money is often sent as text, to keep its decimals: a plain decimal is read as well.

    >>> credits_of("12.50")
    12.5
    """
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
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
