"""Characters as people see them: which code points of a text belong together."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

_JOINER: Final = "\u200d"
_VIRAMA: Final = 9  # the combining class of signs that join two consonants
# Vowel signs that stand behind their letter and are letters to Unicode, and the joiner's opposite.
_ALWAYS_INSIDE: Final = frozenset({_JOINER, "\u200c", "\u0e33", "\u0eb3"})


def graphemes(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each character begins and ends: letters with their marks, emoji with what is joined to them.

    >>> [text[a:b] for text in ("e\u0301a",) for a, b in graphemes(text)] == ["e\u0301", "a"]
    True
    """
    start = flags = 0
    for index in range(1, len(text)):
        flags = flags + 1 if _is_flag(text[index - 1]) else 0
        if not _belong_together(text[index - 1], text[index], flags):
            yield start, index
            start = index
    if text:
        yield start, len(text)


def _belong_together(before: str, char: str, flags: int) -> bool:
    """Return whether two code points are of one character; `flags` letters of flags come before the second."""
    if char in _ALWAYS_INSIDE or before == _JOINER or (before, char) == ("\r", "\n"):
        return True
    category = unicodedata.category(char)
    if category[0] == "M" or "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f":
        return True
    if unicodedata.combining(before) == _VIRAMA:
        return category[0] == "L"
    return (_is_flag(char) and flags % 2 == 1) or _is_one_syllable(before, char)


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _is_one_syllable(before: str, char: str) -> bool:
    """Return whether two parts of a Korean syllable follow each other in one."""
    lead, vowel, tail = (
        "\u1100" <= before <= "\u115f",
        "\u1160" <= before <= "\u11a7",
        "\u11a8" <= before <= "\u11ff",
    )
    whole = "\uac00" <= before <= "\ud7a3"
    if "\u1100" <= char <= "\u115f" or "\uac00" <= char <= "\ud7a3":
        return lead
    if "\u1160" <= char <= "\u11a7":
        return lead or vowel or (whole and (ord(before) - 0xAC00) % 28 == 0)
    return "\u11a8" <= char <= "\u11ff" and (vowel or tail or whole)
