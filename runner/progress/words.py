"""Numbers and times as people read them; text of others made harmless for a terminal."""

from __future__ import annotations

import unicodedata

from runner.model import Basis


def credits_in_words(amount: float | None) -> str:
    """Return an amount of credits: `1,234`, `0.5`; a dash for none."""
    if amount is None:
        return "-"
    return f"{amount:,.0f}" if float(amount).is_integer() else f"{amount:,.2f}"


def span(seconds: float | None) -> str:
    """Return a time in words: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Return a number of bytes in words: `12 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def harmless(text: str, *, limit: int = 300) -> str:
    """Return somebody's text on one line, without what a terminal would obey or reorder."""
    shown = "".join(_shown(char) for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _shown(char: str) -> str:
    if char in "\n\r\t":
        return " "
    category = unicodedata.category(char)
    if category in ("Cc", "Cs"):
        return "\N{REPLACEMENT CHARACTER}"
    # Marks that reorder what follows them could make a line say something else.
    return "" if category == "Cf" and char != "\N{ZERO WIDTH JOINER}" else char


def basis_in_words(basis: str | None) -> str:
    """Return what an estimate's basis means, for people."""
    if basis == Basis.LISTED.value:
        return "listed: a lower bound"
    return basis or ""
