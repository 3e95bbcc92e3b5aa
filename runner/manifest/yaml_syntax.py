"""Syntax that the parser of YAML refuses, in plain words; and what it takes although YAML 1.2 refuses it.

Taken would be a text that somebody wrote and nobody gets: what stands behind a `#` without a space before it, and
the rest of an anchor's name. So these are looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from runner.model import Place, Problem, Severity

TAB: Final = "a tab is used for indentation"
TAB_HINT: Final = "indent with spaces"
NO_BLANK: Final = "what follows this `#` would be a comment, and is left out"
NO_BLANK_HINT: Final = "put a space before the `#` of a comment; text that has one goes in quotes"

_SUSPECT: Final = re.compile(r"""[\]\[{}"',]#|[|>][-+0-9]{0,2}#""")
_HASH_WORD: Final = re.compile(r"[ \t]+#(?=[^\s#!])")
_MOST: Final = 200  # of each kind
_PAIRS: Final = {"[": "]", "{": "}"}
_CLOSED: Final = re.compile(
    r"""[ ]*(?:-[ ]+)*(?:["']?[\w.-]+["']?:[ ]+)?(?:(?P<open>["'\[{]).*["'\]}])[ ]*$"""
)
_GOES_ON: Final = {  # by what it begins with
    '"': """a quote inside "…" is written \\"; text that begins with a quote goes whole in '…'""",
    "'": "a quote inside '…' is written twice: ''",
    "[": "text that begins with `[` goes in quotes",
    "{": "text that begins with `{` goes in quotes",
}
_IN_ONE_LINE: Final = re.compile(
    r"\s*(?:- +)*(params|matrix|vars|budget|limits|polling|retry|idempotency|uploads|output|prices):[ ]+"
    r"(?=[\w-]+:[ ])([^{}\[\]#]*\S)"
)
_NO_SPACE: Final = re.compile(r"\s*(?:- +)*([A-Za-z_]\w*):([^\s/#].*?)\s*$")
_HEADER: Final = re.compile(r"(?:&\S+[ \t]+)?[|>][-+0-9]{0,2}(#)")


class CommentCheck:
    """Looks, event by event, for a comment that begins right behind a quote, a bracket, a comma or `|`.

    Args:
        text: What the events are read from.
    """

    def __init__(self, text: str) -> None:
        self.needed = "#" in text and _SUSPECT.search(text) is not None
        self._text = text
        self._end = 0  # of the event before

    def look(self, event: Any) -> tuple[int, int] | None:
        """Return line and column of a comment without a space before it, between the last event and the end of this."""
        start, before = event.start_mark, self._end
        self._end = max(event.end_mark.index, before)
        if getattr(event, "style", None) in ("|", ">"):
            found = _HEADER.match(self._text, start.index)
            if found:
                return start.line + 1, start.column + 1 + found.start(1) - start.index
        position = before
        while (at := self._text.find("#", position, start.index)) >= 0:
            line_start = self._text.rfind("\n", 0, at) + 1
            if at > line_start and self._text[at - 1] not in " \t\r":
                return self._text.count("\n", 0, at) + 1, at - line_start + 1
            line_end = self._text.find("\n", at)
            position = line_end if line_end >= 0 else len(self._text)
        return None


class CutTexts:
    """Looks at plain scalars for text that somebody wrote and nobody gets, though YAML allows it: tells warnings.

    So are the rest of a prompt behind a `#` that begins a word (`item #1 of two`), and an anchor that nothing repeats
    (`&co logo`).

    Args:
        text: What is read.
        line: Returns a line of it, by its number from 1.
    """

    def __init__(self, text: str, line: Callable[[int], str]) -> None:
        self.suspects = _HASH_WORD.search(text) is not None
        self._line = line
        self._comments: list[tuple[int, int]] = []
        self._anchors: dict[str, tuple[int, int]] = {}

    def look(self, event: Any, key: str | None) -> None:
        """Look at a plain scalar, which is the value of this key."""
        if event.anchor is not None and not (key or "").startswith("x-"):
            self._anchors[event.anchor] = event.start_mark.line + 1, event.start_mark.column + 1
        if self.suspects and key == "prompt":
            end = event.end_mark
            found = _HASH_WORD.match(self._line(end.line + 1), end.column)
            if found and len(self._comments) < _MOST:
                self._comments.append((end.line + 1, found.end()))

    def repeated(self, anchor: str) -> None:
        """Take notice of an alias."""
        self._anchors.pop(anchor, None)

    def problems(self, file: str) -> Iterator[Problem]:
        """Yield what was found."""
        for at in self._comments:
            what = "the prompt ends before this `#`: what follows is a comment"
            hint = "put the prompt in quotes; if it is a comment, put a space behind the `#`"
            yield self._warning(file, at, what, "cut-by-comment", hint)
        for name, at in [*self._anchors.items()][:_MOST]:
            what = f"`&{name[:60]}` is no part of this text: it names it for `*{name[:60]}`, which is nowhere"
            yield self._warning(file, at, what, "unused-anchor", "text that begins with `&` goes in quotes")

    def _warning(self, file: str, at: tuple[int, int], what: str, code: str, hint: str) -> Problem:
        place = Place(file=file, line=at[0], column=at[1])
        return Problem(
            place=place,
            what=what,
            hint=hint,
            code=code,
            source=self._line(at[0]),
            severity=Severity.WARNING,
        )


def cut_anchor(line: str, name: str) -> str | None:
    """Return the name of an anchor as it was written, where the parser took only the beginning of it for one.

    Args:
        line: What stands in its line, from the `&` on.
        name: What the parser took.

    >>> cut_anchor("&an:chor value", "an"), cut_anchor("&one, &two", "one")
    ('an:chor', None)
    """
    if not line.startswith(f"&{name}"):
        return None
    rest = line[1 + len(name) :]
    if not rest or rest[0] in " \t,]}":
        return None
    return name + re.split(r"[ \t,\]}]", rest, maxsplit=1)[0]


def plain_words(
    problem: str,
    context: str,
    line: str,
    at: tuple[int, int],
    began: tuple[int, int] | None,
    *,
    before: str = "",
) -> tuple[str, str, bool]:
    """Return what a syntax error of PyYAML means, a hint, and whether the context is the better place.

    Args:
        problem: In its words.
        context: What it was reading, in its words.
        line: The line of the problem.
        at: The place of the problem: line and column, from 1.
        began: Where what it was reading begins.
        before: The line before that of the problem.
    """
    char = line[at[1] - 1 : at[1]]
    since = f" (begun on line {began[0]})" if began else ""
    if "mapping values are not allowed" in problem and (found := _IN_ONE_LINE.match(line)):
        key, inside = found.groups()
        return "a mapping in one line needs braces", f"write `{key}: {{{inside}}}`", False
    if "mapping values are not allowed" in problem and (found := _NO_SPACE.match(before)):
        key, value = found.groups()
        what = f"the line before has no space behind its colon: `{key}:{value[:20]}`"
        return what, f"write `{key}: {value[:20]}`", False
    if "mapping values are not allowed" in problem:
        return (
            "a `: ` is not expected here",
            "put text that contains `: ` in quotes, or check the indentation",
            False,
        )
    if "expected ',' or" in problem:
        return f"a bracket{since} is not closed, or a comma is missing", "", False
    if "expected node content" in problem and char == ":":
        return "a value is missing before this `:`", "text that begins with `:` goes in quotes", False
    if "expected node content" in problem:
        return "a value is missing, or a bracket is not closed", "", False
    if char == "\t" or "tab character" in problem:
        return TAB, TAB_HINT, False
    if "cannot start any token" in problem and line.startswith("```"):
        return (
            "this line is of the page that the manifest was copied from",
            "remove the lines with ```",
            False,
        )
    if "cannot start any token" in problem and char == "`":
        return "text cannot begin with a backtick", "put the text in quotes", False
    if "cannot start any token" in problem:
        return f"text cannot begin with `{char}`", "put the text in quotes", False
    if "unexpected end of stream" in problem and "quoted" in context:
        return "the quote opened here is never closed", "", True
    if "unexpected document indicator" in problem and "quoted" in context:
        return "the quote opened here is not closed before the document ends", "", True
    if (
        "alphabetic or numeric" in problem
        or "scanning an alias" in context
        or "scanning an anchor" in context
    ):
        return "text cannot begin with `*` or `&`", "put the text in quotes", False
    if "'-' indicator" in problem:
        return (
            f"this line does not belong to the list{since}",
            "items of a list begin with `- `; check the indentation",
            False,
        )
    if "expected comment or line break" in problem:
        hint = "text that begins with `|` or `>` goes in quotes; a block of text begins in the next line"
        return "something stands behind `|` or `>`", hint, False
    if "entries are not allowed" in problem or "keys are not allowed" in problem:
        mark = "- " if "entries" in problem else "? "
        hint = (
            f"text that begins with `{mark}` goes in quotes; a list or a mapping begins in a line of its own"
        )
        return f"a `{mark}` is not expected here", hint, False
    if ("expected key" in problem or "expected <block end>" in problem) and (
        found := _CLOSED.match(line[: at[1] - 1])
    ):
        opened = found["open"]
        return f"text goes on behind the closing `{_PAIRS.get(opened, opened)}`", _GOES_ON[opened], False
    if "expected key" in problem or "expected <block end>" in problem:
        return f"this line does not fit the block{since}", "check the indentation and the quotes above", False
    if "could not find expected ':'" in problem:
        return "this line has no `: ` after its key", "write `key: value`; check the lines above too", False
    if "escape" in problem or "hexdecimal" in problem or "hexadecimal" in problem:
        hint = "in single quotes a backslash is only a backslash; in the path of a file write `/`"
        return "this escape (`\\`) is not known", hint, False
    if "document start" in problem:
        return (
            "the document ends before this line",
            "check the indentation; `...` ends a document, too",
            False,
        )
    return f"this is not YAML: {problem or context or 'unreadable'}", "", False
