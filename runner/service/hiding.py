r"""Hiding the API key in what others say, however they spell it there.

Whatever a service says is recorded, shown and passed on, and services echo: an error that quotes the request,
a gateway that prints its headers, a url that carries the key. So the key is taken out of every text that comes
in, once it is decoded, and of every error that goes out. Known as well are its escaped spellings (`\u005f`,
`%5F`, `&#95;`, any of them doubled), base64 of any text around it, and a key that was cut off.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

MARK = "rvya_sk_…"
SECRET_CHARS = 12  # what is shorter is no key, and might be part of any word

_ESCAPES = ("%", "\\", "&")
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


class KeyHider:
    """Takes one key out of texts. A key too short to be one is left where it is.

    Args:
        key: The API key; an empty text hides nothing.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._forms = _forms(key) if len(key) >= SECRET_CHARS else ()
        self._pattern: re.Pattern[str] | None = None

    def may_hold(self, text: str) -> bool:
        """Say whether the key may be in a text, at a tenth of the price of looking: most hold nothing like it."""
        if not self._forms:
            return False
        small = text.lower()
        return any(form.start in (text if form.exact else small) for form in self._forms) or any(
            sign in text for sign in _ESCAPES
        )

    def text(self, text: str) -> str:
        """Return a text without the key: `rvya_sk_…` stands in its place.

        >>> KeyHider("rvya_sk_0123456789").text("Bearer rvya_sk_0123456789 was refused")
        'Bearer rvya_sk_… was refused'
        """
        if not self.may_hold(text):
            return text
        if self._pattern is None:
            self._pattern = re.compile("|".join(f"({form.head})" for form in self._forms))
        pieces, end = [], 0
        while (found := self._pattern.search(text, end)) is not None:
            pieces += [text[end : found.start()], MARK]
            end = self._forms[(found.lastindex or 1) - 1].end(text, found.end())
        return "".join([*pieces, text[end:]]) if pieces else text

    def everywhere(self, value: Any) -> Any:
        """Return decoded JSON without the key in any of its strings, names included."""
        return each_text(value, self.text)

    def restored(self, text: str, *, in_url: bool = False) -> str:
        """Return an id or a url with the key where it was: for a request to the very service that gave it."""
        return text.replace(MARK, quote(self._key, safe="") if in_url else self._key) if self._forms else text


@lru_cache(maxsize=8)
def hider_of(key: str) -> KeyHider:
    """Return the hider of a key; made once for each."""
    return KeyHider(key)


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return decoded JSON with every string in it changed, at any depth, names included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): each_text(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [each_text(item, change) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to spell the key: what its letters look like in order, and how many of them give it away.

    Half of a key is enough: what follows was cut off, by a limit on the length of a message.
    """

    start: str  # the first half as plain text, in small letters unless `exact`
    letters: tuple[str, ...]  # patterns
    exact: bool

    @property
    def head(self) -> str:
        return "".join(self.letters[: len(self.start)])

    def end(self, text: str, at: int) -> int:
        """Return where the key ends whose first half ends at `at`."""
        for letter in self.letters[len(self.start) :]:
            found = re.compile(letter).match(text, at)
            if found is None:
                break
            at = found.end()
        return at


def _forms(key: str) -> tuple[_Form, ...]:
    # Hosts and names of headers come in small letters.
    plain = _Form(_half(key).lower(), tuple(f"(?i:{_spellings(char)})" for char in key), exact=False)
    coded = sorted({text for text in _in_base64(key) if len(text) >= SECRET_CHARS})
    return plain, *(_Form(_half(text), tuple(map(re.escape, text)), exact=True) for text in coded)


def _half(text: str) -> str:
    return text[: max(SECRET_CHARS, (len(text) + 1) // 2)]


def _spellings(char: str) -> str:
    """Return a pattern for all spellings of one character."""
    code = f"{ord(char):02x}"
    found = [
        re.escape(char),
        f"%(?:25)*{code}",
        rf"\\+(?:u00{code}|u\{{0*{code}\}}|x{code})",
        f"&(?:amp;)*#(?:0*{ord(char)}|x0*{code});",
    ]
    if not char.isalnum():
        found.append(rf"\\+{re.escape(char)}")
    if char in _NAMED:
        found.append(f"&(?:amp;)*{_NAMED[char]};")
    return "|".join(found)


def _in_base64(key: str) -> list[str]:
    """Return what base64 makes of a key behind any text, as far as that text has no part in it."""
    found = []
    data = key.encode("utf-8", "replace")
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        mine = text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        found += [mine, mine.translate(str.maketrans("+/", "-_"))]
    return found
