"""YAML text as people and programs write it, where the parser reads it otherwise than YAML 1.2, or at all.

`fitted` rewrites what the parser refuses and YAML 1.2 allows: tabs in blank lines, and characters as two escapes.
`slip_of` and `slip_in` find what a keyboard or an office program put in the place of a blank, a colon or a quote.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def lines_of(text: str) -> list[str]:
    r"""Return the lines of a text, without their ends. A line ends at CR, LF or both, and nowhere else.

    >>> lines_of("a\u2028b\nc\n")
    ['a\u2028b', 'c']
    """
    lines = _LINE_END.split(text)
    if not lines[-1]:
        lines.pop()
    return lines


# --- what the parser refuses, rewritten ---

_PAIR: Final = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ESCAPED: Final = re.compile(rf"\\\\|{_PAIR.pattern}")  # a backslash behind a backslash begins nothing
_STANDS_FOR: Final = re.compile(r"\\U000F([0-9A-F]{4})\\e")  # as long as a pair, so that columns stay
_READ_AS: Final = re.compile("[\U000f0000-\U000fffff]\x1b")
_ESCAPE_CHARACTER: Final = re.compile(r"\\e|\\x1b|\\u001b|\\U0000001b", re.IGNORECASE)
_BLOCK: Final = re.compile(r"(?:^|[ \t:?-])([|>])(?:[-+]?([1-9])?[-+]?)[ \t]*(?:[ \t]#.*)?$")
_DASH_TAB: Final = re.compile(r"( *(?:- +)*-)(\t+)(?=[^\t\r\n])(?!-[ \t\r\n])")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text that the parser reads, with the lines and columns of the one it stands for.

    `tab` is the character that stands for a tab at the beginning of a block of text; `pairs` are the pairs of
    escapes, as they were written.
    """

    text: str
    tab: str
    pairs: tuple[str, ...]

    def restored(self, value: str, style: str) -> str | None:
        """Return what a scalar of the text says; None where it has a tab that may not be there.

        Args:
            value: As the parser read it.
            style: `"`, `'`, `|`, `>`, or nothing for a plain one.
        """
        if self.pairs and style == '"':
            value = _READ_AS.sub(lambda found: _character(self.pairs[ord(found[0][0]) - 0xF0000]), value)
        elif self.pairs:
            value = _STANDS_FOR.sub(lambda found: self.pairs[int(found[1], 16)], value)
        if not self.tab or self.tab not in value:
            return value
        if style in ("|", ">"):
            return value.replace(self.tab, "\t")
        # Between the lines of a quoted text blanks and tabs are nothing.
        return re.sub(f"{self.tab}[ \t]*", "", value) if style else None


def fitted(text: str, *, dashes: bool = False) -> Fitted | None:
    """Return a text that the parser reads, in the place of one it refuses; None where nothing is to be rewritten.

    Rewritten are pairs of escapes for one character (what JSON writes for an emoji), tabs in lines that are
    otherwise blank, a comment or closing brackets, and one at the beginning of a block of text.

    Args:
        text: What the parser refused.
        dashes: Tabs behind the dash of an item as well: inside a text of several lines they may be text.
    """
    pairs: dict[str, int] = {}

    def stand_in(found: re.Match[str]) -> str:
        if found[1] is None or len(pairs) > 0xFFFF:
            return found[0]
        return f"\\U000F{pairs.setdefault(found[0], len(pairs)):04X}\\e"

    changed, tab = text, ""
    if not _ESCAPE_CHARACTER.search(text) and not _READ_AS.search(text):
        changed = _ESCAPED.sub(stand_in, text)
    if "\t" in text:
        tab = next((char for char in map(chr, range(0xE000, 0xE100)) if char not in text), "")
        changed = _without_tabs(changed, tab, dashes=dashes)
    return None if changed == text else Fitted(changed, tab, tuple(pairs))


def _character(pair: str) -> str:
    """Return the character that a pair of escapes stands for."""
    high, low = int(pair[2:6], 16), int(pair[8:12], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)


def _without_tabs(text: str, tab: str, *, dashes: bool) -> str:
    """Return a text without the tabs that the parser refuses and YAML 1.2 allows."""
    lines = []
    least: int | None = None  # columns by which the block of text at hand is indented; None outside of one
    literal = False  # whether it began with `|`
    begun = False  # whether its first line was seen
    all_lines = text.splitlines(keepends=True)
    for number, line in enumerate(all_lines, start=1):
        body = line.lstrip(" \t")
        blank = not body.strip("\r\n")
        spaces = len(line) - len(line.lstrip(" "))
        if least is not None and not blank:
            if spaces < least:
                least = None
            elif not begun:
                least, begun = spaces, True
                if tab and line[spaces] == "\t":
                    line = line[:spaces] + tab + line[spaces + 1 :]
        if least is None:
            if blank or body[0] in "#]}":
                line = line[: len(line) - len(body)].replace("\t", " ") + body
            elif dashes and (found := _DASH_TAB.match(line)):
                line = found[1] + " " * len(found[2]) + line[found.end() :]
            if "|" in line or ">" in line:
                header = _BLOCK.search(line.rstrip("\r\n"))
                if header is not None:
                    least, begun, literal = spaces + int(header[2] or 1), False, header[1] == "|"
        elif blank and "\t" in line and (not begun or spaces < least):
            if tab and literal and least <= spaces and _begins_block(all_lines, number, spaces, least):
                least, begun = spaces, True
                line = line[:spaces] + tab + line[spaces + 1 :]
            else:
                line = line[: min(spaces, least)] + body
        lines.append(line)
    return "".join(lines)


def _begins_block(lines: list[str], number: int, spaces: int, least: int) -> bool:
    """Return whether a line of tabs is the first of a block of text, since the next one is indented as much or ends it."""
    following = next((line for line in lines[number:] if line.strip()), "")
    indent = len(following) - len(following.lstrip(" "))
    return indent >= spaces or indent < least


# --- what a keyboard or an office program put in the place of a blank, a colon or a quote ---

_BLANKS: Final = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_UNSEEN: Final = "\u00ad\u180e\u200b\u2060"
_OPENING: Final = "“„‟＂"
_DOUBLE: Final = "“”„‟＂"
_SINGLE: Final = "‘’‚‛"
_COLON: Final = "\uff1a"
_DASHES: Final = "–—•"  # written for a list by what corrects as one types
SUSPECTS: Final = re.compile(
    f"[{_BLANKS}{_UNSEEN}{_DOUBLE}{_SINGLE}{_COLON}]|^[ \t]*[{_DASHES}] ", re.MULTILINE
)

_STRANGE: Final = f"[{_BLANKS}{_UNSEEN}]"
_INVISIBLE: Final = re.compile(f"[{_UNSEEN}]")
_STRANGE_START: Final = re.compile(f"{_STRANGE}+")
_ODD_INDENT: Final = re.compile(f"^[ \t]*{_STRANGE}[ \t{_BLANKS}{_UNSEEN}]*", re.MULTILINE)
_LEADING: Final = re.compile(_STRANGE)
_TRAILING: Final = re.compile(f"{_STRANGE}+$")
_DASHED: Final = re.compile(f"-({_STRANGE})")
_KEY: Final = r"[A-Za-z_][\w.-]{0,60}"
_KEYED: Final = re.compile(f"{_KEY}(?::(?P<blank>{_STRANGE})|(?P<colon>{_COLON}))")
_BEFORE_COMMENT: Final = re.compile(f"({_STRANGE})#[ \t]")
_IN_LINE: Final = re.compile(
    rf"""[ \t]*(?:-[ ]+)*(?:
        (?P<leading>{_STRANGE}) | (?P<dash>[{_DASHES}])[ ] | ---(?P<start>{_STRANGE}) | -(?P<dashed>{_STRANGE}) |
        (?P<quoted_key>[{_DOUBLE}{_SINGLE}])[^:]*: |
        ["']?{_KEY}["']?(?::(?P<blank>{_STRANGE})|(?P<colon>{_COLON}))
    )""",
    re.VERBOSE,
)
_BEGINS_CURLY: Final = re.compile(rf"(?:[:,-][ ]+|[\[{{][ ]*)(?P<quote>[{_OPENING}‘])")
_INSIDE_FLOW: Final = re.compile(rf"[{{,][ ]*{_KEY}(?::(?P<blank>{_STRANGE})|(?P<colon>{_COLON}))")


@dataclass(frozen=True, slots=True)
class Slip:
    """One such character: where it stands (from 0), what is wrong, what to type, and what was probably meant."""

    offset: int
    what: str
    hint: str
    code: str
    meant: str | None = None


def slip_of(text: str, *, role: Literal["key", "value", "alone"], in_brackets: bool) -> Slip | None:
    """Return what is wrong with the text of a plain scalar, or None.

    Args:
        text: Without quotes, as it was written.
        role: A key, a value behind its key, or a text that stands alone: an item, or in a line of its own.
        in_brackets: It stands inside `[…]` or `{…}`.
    """
    if text.isascii():
        return None
    if _LEADING.match(text) and (role != "value" or text[0] not in _UNSEEN):
        return _blank(text[0], 0, meant=_STRANGE_START.sub("", text) if role == "key" else None)
    if role == "key" and text[0] in _DASHES and text[1:2] == " ":
        return _odd_dash(text[0], 0)
    if role != "value":
        if found := _DASHED.match(text):
            return _blank(found[1], 1)
        if found := _KEYED.match(text):
            return _blank_or_colon(found)
    if found := _BEFORE_COMMENT.search(text):
        return _blank(found[1], found.start())
    if found := _TRAILING.search(text):
        rest = text[: found.start()]
        # At the end of a sentence it changes nothing; of a number or a name it makes something else.
        if role == "key" or not any(char.isspace() for char in rest):
            return _blank(found[0][0], found.start(), meant=rest)
    return _curly(text, in_brackets=in_brackets, role=role)


def ordinary_indents(text: str) -> tuple[str, int]:
    """Return a text whose lines are indented with ordinary blanks only, and how many lines were not."""
    return _ODD_INDENT.subn(
        lambda found: "".join(
            char if char in " \t" else "" if _INVISIBLE.match(char) else " " for char in found[0]
        ),
        text,
    )


def slip_in(line: str) -> Slip | None:
    """Return what is probably wrong with a line that the parser did not understand, or None."""
    if line.isascii():
        return None
    if found := _IN_LINE.match(line):
        if found["leading"]:
            return _blank(found["leading"], found.start("leading"))
        if found["dash"]:
            return _odd_dash(found["dash"], found.start("dash"))
        for name in ("dashed", "start"):
            if found[name]:
                return _blank(found[name], found.start(name))
        if found["quoted_key"]:
            return _curly_quote(found.start("quoted_key"))
        return _blank_or_colon(found)
    if found := _INSIDE_FLOW.search(line):
        return _blank_or_colon(found)
    if found := _BEGINS_CURLY.search(line):
        return _curly_quote(found.start("quote"))
    return None


def ends_curly(line: str) -> bool:
    """Return whether a line holds a curly quote that could have been meant to close a straight one."""
    return any(char in line for char in "”’“")


def _blank_or_colon(found: re.Match[str]) -> Slip:
    if found["blank"]:
        return _blank(found["blank"], found.start("blank"))
    return _wide_colon(found.start("colon"))


def _blank(char: str, offset: int, meant: str | None = None) -> Slip:
    name = f"{unicodedata.name(char, 'unnamed').lower()} (U+{ord(char):04X})"
    if unicodedata.category(char) == "Zs":
        what = f"there is {with_article(name)} here, not an ordinary space"
        hint = "type an ordinary space instead; text that needs it goes in quotes"
    else:
        what, hint = f"there is an invisible {name} here", "delete it; text that needs it goes in quotes"
    return Slip(offset, what, hint, "odd-blank", meant)


def with_article(name: str) -> str:
    """Return a noun with `a` or `an` before it.

    >>> with_article("en dash"), with_article("thin space")
    ('an en dash', 'a thin space')
    """
    return f"{'an' if name[:1] in 'aeio' else 'a'} {name}"


def strange_at(line: str, offset: int) -> Slip | None:
    """Return what is wrong with the character at a place where the parser stopped, or None."""
    found = _LEADING.match(line, offset)
    return _blank(found[0], offset) if found else None


def _odd_dash(char: str, offset: int) -> Slip:
    name = with_article(unicodedata.name(char).lower())
    what = f"this is no `-` but {name} (U+{ord(char):04X}), which YAML takes as text"
    return Slip(offset, what, "type `- `, a hyphen and a space", "odd-dash")


def _wide_colon(offset: int) -> Slip:
    what = "this colon is a full-width one (U+FF1A), which YAML takes as text"
    return Slip(offset, what, "type `: `, a colon and a space", "odd-colon")


def _curly(text: str, *, in_brackets: bool, role: str) -> Slip | None:
    """Return what is wrong where a text stands in curly quotes, or begins with one that is never closed."""
    first, last, inside = text[0], text[-1], text[1:-1]
    for quotes, straight in ((_DOUBLE, '"'), (_SINGLE, "'")):
        if first in quotes and len(text) > 1:
            if inside and last in quotes + straight and not any(char in quotes for char in inside):
                return _curly_quote(0, inside, role)
            if (
                first in _OPENING + "‘"
                and (in_brackets or role == "key")
                and not any(char in quotes for char in inside + last)
            ):
                return _curly_quote(0)
    return None


def _curly_quote(offset: int, inside: str | None = None, role: str = "value") -> Slip:
    if inside is None:
        what = "this quote is a curly one, which YAML takes as text"
        return Slip(offset, what, 'type straight quotes: "…"', "curly-quotes")
    what = f"the quotes round this {'key' if role == 'key' else 'value'} are curly ones, which YAML takes as text"
    if role == "key":
        return Slip(offset, what, f"type {_short(inside)} without quotes", "curly-quotes", inside)
    quote = "'" if '"' in inside else '"'
    hint = f"type straight ones: {quote}{_short(inside)}{quote}; if they belong to the text, put straight ones round them"
    return Slip(offset, what, hint, "curly-quotes", inside)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
