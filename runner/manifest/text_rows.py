"""Rows of a text file: one prompt a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from runner.manifest.lines import BadLine, LineReader
from runner.manifest.ordinary_files import open_regular
from runner.manifest.rows import Row, Rows

COMMENT = "#"
_LISTED: Final = re.compile(r"(?:[-*•·–+]|\(?\d{1,4}[.):]|\d{1,4}\ufe0f?\u20e3)\s+\S")
_TITLES: Final = ("prompt", "prompts", "text", "texts", "description", "title", "name")


class TextRows(Rows):
    """One row for each line: `${row.text}` is the line, `${row.line}` its number. Blank and `#` lines are skipped."""

    delimiter: str | None = None  # what separates cells, where the lines that were read look like a table

    @property
    def columns(self) -> Sequence[str] | None:
        """What is known of a line."""
        return ("text", "line")

    def _read(self) -> Iterator[Row]:
        count = skipped = 0
        before = self.findings.reported
        shape = _Lines()
        first = (1, "")
        with open_regular(self.path) as opened:
            lines = LineReader(opened, self, self.reading.encoding)
            while True:
                lines.mark()
                try:
                    line = next(lines, None)
                except BadLine:
                    continue
                if line is None:
                    break
                text = line.strip()
                if text.startswith(COMMENT):
                    skipped += 1
                    first = first if skipped > 1 else (lines.number, text)
                elif text:
                    count += 1
                    shape.take(line, lines.number)
                    yield Row({"text": text, "line": lines.number}, self.spot(lines.number, 1, line))
        if skipped:
            plural = "s that begin" if skipped > 1 else " that begins"
            what = f"{skipped} line{plural} with `#` in this file: a comment, and no job"
            self.warn(
                first[0],
                1,
                what,
                "comment-line",
                "put a prompt that begins with `#` into a .csv file",
                first[1],
            )
        if (odd := shape.told(PurePath(self.source.file).name)) is not None:
            self.warn(*odd)
            self.delimiter = shape.delimiter
        if not count and self.findings.reported == before:
            self.warn(1, 1, "this file has no rows", "no-rows")


class _Lines:
    """What the lines of a text have in common, where that tells that they are something else than prompts."""

    def __init__(self) -> None:
        self._count = 0
        self._first = (1, "")
        self._listed = 0
        self._first_listed = (1, "")
        self._quoted = self._objects = True  # so far
        self.delimiter: str | None = None
        self._marks: dict[str, int | None] = {
            "\t": 0,
            ";": 0,
            "|": 0,
        }  # how many each line has; None: it differs

    def take(self, line: str, number: int) -> None:
        """Take a line, not a blank one."""
        text = line.strip()
        self._count += 1
        if self._count == 1:
            self._first = number, text
            self._marks = {mark: text.count(mark) or None for mark in self._marks}
            self._marks["\t"] = line.count("\t") or None
        for mark, many in self._marks.items():
            if many is not None and line.count(mark) != many:
                self._marks[mark] = None
        if _LISTED.match(text):
            self._listed += 1
            self._first_listed = (number, text) if self._listed == 1 else self._first_listed
        self._quoted = self._quoted and text[0] == '"' and text.rstrip(",")[-1:] == '"'
        self._objects = self._objects and text[0] == "{" and text.rstrip(",")[-1] == "}"

    def told(self, name: str) -> tuple[int, int, str, str, str, str] | None:
        """Return what is worth a look, as `Rows.warn` takes it; None for what looks like prompts."""
        number, text = self._first
        if not self._count:
            return None
        if self._objects:
            what = "each line of this file is an object of JSON, and would be one prompt"
            return number, 1, what, "table-as-text", "name the file .jsonl", text
        for mark, said in (("\t", "tab"), (";", '";"'), ("|", '"|"')):
            if self._count > 1 and self._marks[mark]:
                self.delimiter = mark
                many = "tabs" if said == "tab" else f"`{mark}`"
                what = f"all lines of this file have as many {many}: it looks like a table, and each line is one prompt"
                hint = f"for a table write `rows: {{file: {name}, delimiter: {said}}}`"
                return number, 1, what, "table-as-text", hint, text
        if self._quoted and self._count > 1:
            what = "all lines of this file stand in quotes, which become a part of the prompts"
            return number, 1, what, "quoted-lines", "remove them, and commas behind them", text
        if self._listed > 1 and self._listed * 2 >= self._count:
            number, text = self._first_listed
            what = f"{self._listed:,} lines begin like those of a list, which becomes a part of the prompts"
            return number, 1, what, "list-marks", "remove the marks or numbers before the prompts", text
        if self._count > 1 and text.casefold() in _TITLES:
            self.delimiter = "\t"
            what = f"the first line is {text}, as in a table; here it is a prompt of its own"
            hint = f"remove it, or write `rows: {{file: {name}, delimiter: tab}}`, and ${{row.{text}}} for the cells"
            return number, 1, what, "table-as-text", hint, text
        return None
