"""Values, numbers and near misses, put in words for messages."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def shown(value: object) -> str:
    """Return a value as it may stand in a message: one line, short, nothing a terminal would obey."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:200])
    return text if len(text) <= 60 else f"{text[:57]}…"


def number_text(number: int | float) -> str:
    """Return a number as a person writes it: 6.0 is `6`."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        number = int(number)
    return repr(number)


def listed(options: Sequence[str]) -> str:
    """Return the options in one line, cut where there are very many."""
    head = ", ".join(options[:12])
    return head if len(options) <= 12 else f"{head} and {len(options) - 12} more"


_WRITTEN_OUT = re.compile(r"(\d{1,3}(?:[ _',]\d{3})+|\d+)(\.\d+)?\s*[A-Za-z]*", re.ASCII)


def number_alone(text: str) -> str | None:
    """Return the number in a text that adds a unit to it, or parts its thousands; None for any other.

    >>> number_alone("10s"), number_alone("1_000 credits"), number_alone("1,5"), number_alone("many")
    ('10', '1000', None, None)
    """
    found = _WRITTEN_OUT.fullmatch(text.strip())
    return None if found is None else re.sub(r"[ _',]", "", found[1]) + (found[2] or "")


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate nearest to a misspelt word, or None where none is near."""
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(_fold(candidate), candidate)
    # difflib is quadratic: nobody misspells a word of a megabyte.
    wanted = _fold(word[:100])
    if wanted in folded:
        return folded[wanted]
    near = get_close_matches(wanted, folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def differences_of(written: str, there: str) -> list[str]:
    """Return how two names differ that look alike, for "which differs …"; nothing for others.

    >>> differences_of("hero.png", "Hero.png"), differences_of("hero", "bottle")
    (['in capital letters'], [])
    """
    if written == there or looks(written) != looks(there):
        return []
    found = []
    if (written.strip(), there.strip()) != (written, there):
        found.append(
            "in a space at its end" if written.lstrip() == written else "in a space at its beginning"
        )
    one, other = unicodedata.normalize("NFC", written), unicodedata.normalize("NFC", there)
    if (one, other) != (written, there):
        found.append("in its Unicode form (letters with accents as one character, or as two)")
    if one.casefold().split() != other.casefold().split():
        found.append("in letters of another width")
    elif one.split() != other.split():
        found.append("in capital letters")
    return found or ["in its spaces"]


def looks(name: str) -> str:
    """Return what is equal for names that look alike: Unicode forms, capitals and blanks put aside."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _fold(word: str) -> str:
    return word.strip().casefold().replace("_", "").replace("-", "").replace(" ", "")
