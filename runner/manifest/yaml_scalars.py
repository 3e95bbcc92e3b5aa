"""The plain scalars of YAML 1.2: what text without quotes stands for in the core schema. Pure.

Everything is text that is not null, a boolean or a number. Numbers with leading zeros (`0123`) stay text, because they
are article numbers.
"""

from __future__ import annotations

import re
from typing import Any

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_TEXT_STARTS = frozenset("+-.0123456789~nNtTfF")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# Longer than any number a person means; CPython refuses to convert more than 4,300 digits.
_LONGEST_NUMBER = 300


def plain_value(text: str) -> Any:
    """Return the value of a plain (unquoted) scalar in the core schema of YAML 1.2.

    >>> [plain_value(plain) for plain in ("16:9", "no", "0123", "0x1f", "6", "1e3", "~", "true")]
    ['16:9', 'no', '0123', 31, 6, 1000.0, None, True]
    """
    if text and text[0] not in _NOT_TEXT_STARTS:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
