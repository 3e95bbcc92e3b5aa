r"""Hiding the API key in what others say, however they spell it there.

Whatever a service says is recorded, shown and passed on, and services echo: an error that quotes the request,
a gateway that prints its headers, a url that carries the key. So the key is taken out of every text that comes
in, once it is decoded, and of every error that goes out.

A text is compared by its letters and digits alone, small ones: what stands between them (spaces, line breaks,
punctuation, signs that nobody sees, accents) takes nothing away from a key, and is no part of the comparison.
Twelve characters of the key's secret part in a row (a third of a long one) are as good as all of it, and so is its
first half, cut off.

Covered, in any mixture: upper and lower case, full-width and other styled letters; the escapes `%5F`, `%u005f`,
`\u005f`, `\U0000005f`, `\u{5f}`, `\x5f`, `\137`, `\5f`, `&#95;`, `&#x5f;` with and without `;`, `&lowbar;`, `=5F`,
all of them up to four times over; the codes of its characters in a row (hexadecimal, decimal, octal, binary), as
UTF-16 too; base64 and base32 of any text around it, base64 of UTF-16, of hexadecimal and of base64; backwards;
rotated by 13. Not covered: letters of other alphabets that look alike, other encodings, compression, any other order
of the letters, and pieces shorter than that.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html.entities import html5
from math import ceil
from typing import Any
from urllib.parse import quote

MARK = "rvya_sk_…"
SECRET_CHARS = 12  # what is shorter is no key, and might be part of any word

_PUBLIC = ("rvya_sk_live_", "rvya_sk_test_", "rvya_sk_", "")  # how many keys begin
# A run of HEAD_CHARS, and so one of SECRET_CHARS, holds a piece of _PIECE characters, wherever it begins, if one is
# looked at every STRIDE characters.
_PIECE, _STRIDE = 6, 5
_HEAD_CHARS = _PIECE + _STRIDE - 1
_OFFSETS = 3  # of one piece in one form: only a key that repeats itself has more
_ROUNDS = 4  # of escapes within escapes


class KeyHider:
    """Takes one key out of texts. A key too short to be one is left where it is.

    Args:
        key: The API key; an empty text hides nothing.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._pieces: dict[bytes, list[tuple[_Form, int]]] = {}
        # After its last letter: these are compared by themselves, so that an id can be put together again.
        self._tail = re.sub(r"^.*[A-Za-z0-9]", "", key, flags=re.DOTALL)
        if len(key) < SECRET_CHARS:
            return
        for form in _forms(key):
            for offset in range(len(form.text) - _PIECE + 1):
                if form.text[offset : offset + _PIECE] in _MARK_FOLDED:
                    continue
                found = self._pieces.setdefault(form.text[offset : offset + _PIECE], [])
                if sum(known is form for known, _ in found) < _OFFSETS:
                    found.append((form, offset))

    def may_hold(self, text: str) -> bool:
        """Say whether the key may be in a text, at a small part of the price of finding it: most hold nothing."""
        if not self._pieces:
            return False
        if self._key in text or self._is_like(text):
            return True
        before = text
        for _ in range(_ROUNDS):
            after = _decoded(before)
            if after is before:
                return False
            if self._is_like(after):
                return True
            before = after
        return False

    def text(self, text: str) -> str:
        """Return a text without the key: `rvya_sk_…` stands in its place.

        >>> KeyHider("rvya_sk_0123456789").text("Bearer rvya_sk_0123456789 was refused")
        'Bearer rvya_sk_… was refused'
        """
        if not self.may_hold(text):
            return text
        text = text.replace(self._key, MARK)
        pieces, end = [], 0
        for begin, after in _merged(self._places(text)):
            pieces += [text[end:begin], MARK]
            end = after
        return "".join([*pieces, text[end:]]) if pieces else text

    def everywhere(self, value: Any) -> Any:
        """Return decoded JSON without the key in any of its strings, names included.

        A list that spells it, letter by letter or code by code, becomes `["rvya_sk_…"]`.
        """
        hidden = each_text(value, self.text)
        return self._without_lists(hidden)

    def restored(self, text: str, *, in_url: bool = False) -> str:
        """Return an id or a url with the key where it was: for a request to the very service that gave it."""
        return (
            text.replace(MARK, quote(self._key, safe="") if in_url else self._key) if self._pieces else text
        )

    def _is_like(self, text: str) -> bool:
        folded = _folded(text)
        return not self._pieces.keys().isdisjoint(
            [folded[at : at + _PIECE] for at in range(0, len(folded) - _PIECE + 1, _STRIDE)]
        )

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the key is, from and to, in a text and in each of what it is decoded to."""
        layer = _Layer(text, None)
        for _ in range(_ROUNDS + 1):
            folded, origin = _folded_from(layer.text)
            for begin, end in self._runs(folded):
                first, last = origin[begin], origin[end - 1]
                if self._tail and layer.text.startswith(self._tail, last + 1):
                    last += len(self._tail)
                yield layer.span(first, last)
            after = layer.decoded()
            if after is None:
                return
            layer = after

    def _runs(self, folded: bytes) -> Iterator[tuple[int, int]]:
        at = 0
        while at <= len(folded) - _PIECE:
            for form, offset in self._pieces.get(folded[at : at + _PIECE], ()):
                run = form.run(folded, at, offset)
                if run is not None:
                    yield run
                    at = run[1] - _STRIDE
                    break
            at += _STRIDE

    def _without_lists(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._without_lists(item) for key, item in value.items()}
        if not isinstance(value, list):
            return value
        flat = [str(item) for item in value if isinstance(item, str | int | float)]
        if len(flat) == len(value) > 1 and self.text(joined := " ".join(flat)) != joined:
            return [MARK]
        return [self._without_lists(item) for item in value]


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


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """One way to write the key, folded, and how much of it gives the key away."""

    text: bytes
    secret: range  # where its secret part is
    least: int  # so many characters of that part in a row
    head: int  # so many from its beginning

    def run(self, folded: bytes, at: int, offset: int) -> tuple[int, int] | None:
        """Return from where to where a text follows this form, given one place; None if too little of it."""
        mine = self.text
        begin = offset
        while begin and at > offset - begin and mine[begin - 1] == folded[at - (offset - begin) - 1]:
            begin -= 1
        end, most = offset, min(len(mine), offset + len(folded) - at)
        while end < most and mine[end] == folded[at + end - offset]:
            end += 1
        shared = min(end, self.secret.stop) - max(begin, self.secret.start)
        if shared < self.least and (begin or end < self.head):
            return None
        return at + begin - offset, at + end - offset


@dataclass(frozen=True, slots=True)
class _Layer:
    """A text, and from where to where each of its characters was in the one it was decoded from; None: there."""

    text: str
    spans: list[tuple[int, int]] | None

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return where some characters were at the beginning, the last included."""
        return (first, last + 1) if self.spans is None else (self.spans[first][0], self.spans[last][1])

    def decoded(self) -> _Layer | None:
        """Return this text with its escapes decoded once; None where it has none."""
        pieces: list[str] = []
        spans: list[tuple[int, int]] = []
        end, changed = 0, False
        for found in _ESCAPED.finditer(self.text):
            char = _char(found)
            if char == found[0]:
                continue
            changed = True
            spans += [self.span(at, at) for at in range(end, found.start())]
            spans += [self.span(found.start(), found.end() - 1)] * len(char)
            pieces += [self.text[end : found.start()], char]
            end = found.end()
        if not changed:
            return None
        spans += [self.span(at, at) for at in range(end, len(self.text))]
        return _Layer("".join([*pieces, self.text[end:]]), spans)


def _merged(places: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin, end = -1, -1
    for first, after in sorted(places):
        if first > end:
            if end > 0:
                yield begin, end
            begin = first
        end = max(end, after)
    if end > 0:
        yield begin, end


# --- what is the same to a reader ---

_DROPPED = bytes(code for code in range(128) if not chr(code).isalnum())
_LOWER = bytes(range(128)).lower() + bytes(range(128, 256))
_MOST_KNOWN = 10_000  # characters


class _Plain(dict[int, str]):
    """The ASCII letters and digits in each character, for `str.translate`; none in most."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        found = "".join(
            each for each in unicodedata.normalize("NFKD", char) if each.isascii() and each.isalnum()
        )
        if len(self) < _MOST_KNOWN:
            self[code] = found
        return found


_PLAIN = _Plain()


def _folded(text: str) -> bytes:
    plain = text if text.isascii() else text.translate(_PLAIN)
    return plain.encode("ascii").translate(_LOWER, _DROPPED)


def _folded_from(text: str) -> tuple[bytes, list[int]]:
    """Return a text folded, and where each character of that is from."""
    origin: list[int] = []
    for at, char in enumerate(text):
        origin += [at] * (char.isalnum() if char.isascii() else len(_PLAIN[ord(char)]))
    return _folded(text), origin


_MARK_FOLDED = _folded(MARK)  # a text without the key does not look like one with it


# --- escapes ---

_HEX = "[0-9a-fA-F]"
_ESCAPED = re.compile(
    rf"%(?:25)*(?:u(?P<a>{_HEX}{{4}})|(?P<b>{_HEX}{{2}}))"
    rf"|\\(?<!\\\\)\\*(?:u(?P<c>{_HEX}{{4}})|U(?P<d>{_HEX}{{8}})|[ux]\{{0*(?P<e>{_HEX}{{1,6}})\}}|x(?P<f>{_HEX}{{2}})"
    rf"|0000(?P<g>{_HEX}{{2}})|(?P<octal>[01][0-7]{{2}})|(?P<h>[2-7]{_HEX})|(?P<space>[nrt]))"
    rf"|&(?:amp;)*(?:\#[xX]0*(?P<i>{_HEX}{{1,6}});?|\#0*(?P<decimal>[0-9]{{1,7}});?|(?P<name>[A-Za-z]{{2,31}};))"
    rf"|=(?P<j>{_HEX}{{2}})"
)
_SIGNS = ("%", "\\", "&", "=")


def _decoded(text: str) -> str:
    """Return a text with its escapes decoded once; the very same where it has none."""
    if not any(sign in text for sign in _SIGNS):
        return text
    after = _ESCAPED.sub(_char, text)
    return text if after == text else after


def _char(found: re.Match[str]) -> str:
    kind = found.lastgroup or ""
    said = found[kind]
    if kind == "name":
        return html5.get(said, found[0])
    if kind == "space":
        return " "
    code = int(said, {"octal": 8, "decimal": 10}.get(kind, 16))
    return chr(code) if code <= 0x10FFFF else found[0]


# --- what a key may be written as ---


def _forms(key: str) -> list[_Form]:
    """Return all that is looked for."""
    plain, public = _folded(key), _folded(next(begin for begin in _PUBLIC if key.startswith(begin)))
    if not plain:
        return []
    least = max(SECRET_CHARS, (len(plain) - len(public)) // 3)
    half = _folded(key[: max(SECRET_CHARS, (len(key) + 1) // 2)])
    head = min(max(_HEAD_CHARS + 1, len(half), len(public) + 2), len(plain))
    whole = len(plain)

    def form(text: bytes) -> _Form:
        part = len(text) / whole
        return _Form(text, range(ceil(len(public) * part), len(text)), ceil(least * part), ceil(head * part))

    backwards = _Form(plain[::-1], range(whole - len(public)), least, whole)
    return [form(plain), backwards, *(form(text) for text in sorted(_coded(key)) if len(text) > _HEAD_CHARS)]


_NUMBERS = ("02x", "#04x", "d", "03d", "o", "03o", "04o", "#o", "07b", "08b")


def _coded(key: str) -> set[bytes]:
    """Return what the codes make of a key, folded."""
    data = key.encode("utf-8", "replace")
    found = {"".join(format(code, number) for code in data) for number in _NUMBERS}
    found |= {"".join(f"{before}{code:02x}" for code in data) for before in ("x", "u00", "00")}
    inner = {*_in_base64(data), *(text.translate(_FOR_URLS) for text in _in_base64(data))}
    found |= inner
    for other in (
        *(text.encode() for text in inner),
        data.hex().encode(),
        key.encode("utf-16-le", "replace"),
    ):
        found |= {*_in_base64(other)}
    for before in range(5):
        text = base64.b32encode(bytes(before) + data).decode()
        found.add(text[ceil(before * 8 / 5) : (before + len(data)) * 8 // 5])
    found.add(codecs.encode(key, "rot13"))
    return {_folded(text) for text in found}


_FOR_URLS = str.maketrans("+/", "-_")


def _in_base64(data: bytes) -> list[str]:
    """Return what base64 makes of some bytes behind any others, as far as those have no part in it."""
    found = []
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        found.append(text[ceil(before * 8 / 6) : (before + len(data)) * 8 // 6])
    return found
