"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ \t]*([kKMGT]i?)?B")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY: Final = {"k": 2**10, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LONGEST: Final = 30  # characters; a century in seconds has ten


def duration_s(text: str) -> float | None:
    """Return seconds from `<number><s|m|h|d>`, or None where the text is no duration.

    >>> [duration_s(text) for text in ("90s", "1.5h", "2d", "5", "1 h")]
    [90.0, 5400.0, 172800.0, None, None]
    """
    match = _DURATION.fullmatch(text) if len(text) <= _LONGEST else None
    return float(Decimal(match[1]) * _SECONDS[match[2]]) if match else None


def size_bytes(text: str) -> int | None:
    """Return bytes from a size such as `2GB` (decimal) or `1GiB` (binary), or None where it is none.

    >>> [size_bytes(text) for text in ("2GB", "1.5 MiB", "500B", "2G")]
    [2000000000, 1572864, 500, None]
    """
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    unit = match[2] or ""
    factor = _BINARY[unit[0]] if unit.endswith("i") else _BYTES[unit]
    return int(Decimal(match[1]) * factor)
