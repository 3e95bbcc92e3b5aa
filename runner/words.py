"""Text of others, made fit to be printed: what a service or a file says never speaks to the terminal.

Everything that this package prints, logs or puts on a page and that somebody else has written goes through
`harmless` (one line of it), `harmless_lines` (whole text) or `json_text` (a document for programs).
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # emoji and some scripts cannot do without
LONGEST_WORDS = 1000  # of a message, in characters: a reason fits, a page that somebody put in does not
LINE_CHARS = 300  # of somebody's words, where a line is to hold more than them

_SPACES = frozenset("\n\r\t\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029")
# What JSON leaves as it is, and a terminal or a program that reads lines does not.
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def harmless(text: str, *, limit: int = LINE_CHARS) -> str:
    r"""Return somebody's text on one line, without what a terminal would obey or reorder.

    Args:
        text: Whatever it is.
        limit: The most characters that are shown; a longer text ends in `…`.

    >>> harmless("done\x1b[2J\nall paid") == "done\N{REPLACEMENT CHARACTER}[2J all paid"
    True
    """
    head = text[: limit + 1]
    shown = head if head.isprintable() else "".join(map(_shown, head))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def harmless_lines(text: str) -> str:
    """Return text of several lines, ours with others' in it, without what a terminal would obey."""
    if text.isprintable():
        return text
    return "\n".join(line if line.isprintable() else "".join(map(_shown, line)) for line in text.split("\n"))


def json_text(value: Any, **options: Any) -> str:
    """Return a value as JSON for programs, which may stand on a terminal too.

    Letters of all scripts stay as they are; what is invisible or obeyed is written as its code, which is the
    same JSON.

    Args:
        value: What to write.
        **options: More for `json.dumps`: `indent`, `default`.
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    return text if text.isascii() and "\x7f" not in text else _UNSEEN.sub(_code, text)


def _code(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _shown(char: str) -> str:
    if char in _SPACES:
        return " "
    category = unicodedata.category(char)
    if category in ("Cc", "Cs"):
        return "\N{REPLACEMENT CHARACTER}"
    # Marks that reorder what follows them could make a line say something else.
    return "" if category == "Cf" and char not in _JOINERS else char
