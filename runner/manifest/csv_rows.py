"""Rows of a table saved as text (.csv, .tsv), streamed."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from runner.manifest.findings import Findings
from runner.manifest.lines import BadLine, LineReader
from runner.manifest.ordinary_files import open_regular
from runner.manifest.rows import Reading, Row
from runner.manifest.tables import Table

DELIMITERS: Final = (",", ";", "\t", "|")  # those a header line can tell, the commonest first
_PADDING: Final = ' ,;|"\t\r\n'  # what an empty row is made of
_SEP: Final = "sep="  # Excel's own first line that names the delimiter


class CsvRows(Table):
    """A table with a header; quotes are doubled, UTF-8 unless it says otherwise.

    The delimiter is the one given, or named by a first line `sep=;`, or the one the header line has most of.
    """

    def __init__(self, path: Path, file: str, findings: Findings, reading: Reading | None = None) -> None:
        super().__init__(path, file, findings, reading)
        self._delimiter = ","
        with open_regular(path) as opened:
            lines = self._lines(opened)
            try:
                self._take_header(*self._header(lines))
            except BadLine:
                return

    def cell_column(self, line: str, index: int) -> int | None:
        """Return in which column of its line (from 1) a cell begins; None where the line has not so many."""
        start = cell_start(line, index, self._delimiter)
        return None if start is None else start + 1

    def _read(self) -> Iterator[Row]:
        if self._names is None:
            return
        with open_regular(self.path) as opened:
            lines = self._lines(opened)
            self._header(lines)
            records = self._records(lines)
            if len(self._names) == 1 and (first := next(records, None)) is not None:
                self._warn_of_one_column(self._names[0], str(first[2][0]) if first[2] else "")
                records = chain([first], records)
            yield from self._rows(self._names, records)

    def _warn_of_one_column(self, name: str, cell: str) -> None:
        """Tell that a table of one column may have more, where header and first cell have as many of a delimiter."""
        quoted = self._delimiter if 0 < name.count(self._delimiter) <= cell.count(self._delimiter) else None
        mark = quoted or next((mark for mark in DELIMITERS if name.count(mark) == cell.count(mark) > 0), None)
        if mark is None:
            return
        said, named = ("tabs", "tab") if mark == "\t" else (f"`{mark}`", f'"{mark}"')
        if mark == self._delimiter:
            what = f"the lines of this file stand in quotes, so that each is one cell with {said} in it"
            hint = "save it again with a cell for each column"
        else:
            what = f"this table has one column, and as many {said} in its first cell as in the header"
            hint = f"if they separate the cells, write `delimiter: {named}`"
        self.warn(self._header_at[0], 1, what, "one-column", hint, self._header_at[1])

    def _lines(self, opened: Any) -> LineReader:
        return LineReader(opened, self, self.reading.encoding)

    def _header(self, lines: LineReader) -> tuple[list[str], int, str]:
        """Read the header: its cells, its line and its text."""
        first = _first_written(lines, next(lines, ""))
        said = first.rstrip("\r\n").removeprefix('"').removesuffix('"')
        if said.casefold().startswith(_SEP) and len(said) == len(_SEP) + 1:
            self._delimiter = self.reading.delimiter or said[len(_SEP)]
            lines.mark()
            first = _first_written(lines, next(lines, ""))
        else:
            self._delimiter = self.reading.delimiter or sniffed_delimiter(first)
        number = lines.number
        try:
            cells = next(self._reader(_Again(first, lines)), [])
        except csv.Error as exc:
            self._broken(lines, exc)
            raise BadLine from exc
        return cells, number or 1, first

    def _reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(lines, strict=True, delimiter=self._delimiter)

    def _records(self, lines: LineReader) -> Iterator[tuple[int, str, list[Any]]]:
        records = self._reader(lines)
        while True:
            lines.mark()
            try:
                cells = next(records, None)
            except BadLine:
                continue
            except csv.Error as exc:
                self._broken(lines, exc)
                if "field limit" in str(exc):
                    return  # an open quote has swallowed what follows: nothing after this means anything
                continue
            if cells is None:
                return
            text = lines.text
            if len(text) < 10 and text.strip('"\r\n').casefold() == f"{_SEP}{self._delimiter}":
                what = "this line names the delimiter, and a header follows: tables were put together here"
                self.error(lines.first, 1, what, "header-again", "remove both lines", text)
                continue
            if (
                '"' in text
                and (odd := next((n for n in range(len(cells)) if _is_half_quoted(cells[n:])), None))
                is not None
            ):
                what = "a space before the opening quote makes the quotes part of this cell"
                at = self.cell_column(text, odd) or 1
                self.error(lines.first, at, what, "blank-before-quote", "remove the space", text)
                continue
            yield lines.first, text.rstrip("\r\n"), cells

    def _broken(self, lines: LineReader, exc: csv.Error) -> None:
        said = str(exc)
        hint = 'a quote inside a cell is written twice ("")'
        if "field limit" in said:
            what = f"a cell is longer than {csv.field_size_limit():,} characters"
            hint = "or a quote that begins a cell is never closed"
        elif "end of data" in said:
            what = "a quote is opened in this row and never closed"
        elif "new-line" in said:
            what, hint = "a line ends with a bare carriage return", "save the file with ordinary line ends"
        elif "expected after" in said:
            what = "something follows the closing quote of a cell"
        else:
            what = f"this is not CSV ({said})"
        self.error(lines.first or 1, 1, what, "csv-syntax", hint, lines.text)


class TsvRows(CsvRows):
    """A table whose cells are separated by tabs."""

    def __init__(self, path: Path, file: str, findings: Findings, reading: Reading | None = None) -> None:
        given = reading or Reading()
        super().__init__(
            path,
            file,
            findings,
            Reading(delimiter=given.delimiter or "\t", encoding=given.encoding, where=given.where),
        )


def _first_written(lines: LineReader, first: str) -> str:
    """Return the first of these lines that says something; a spreadsheet may begin with empty rows."""
    while first and not first.strip(_PADDING):
        lines.mark()
        first = next(lines, "")
    return first


class _Again:
    """A line that was read already, then those behind it."""

    def __init__(self, first: str, lines: Iterator[str]) -> None:
        self._first: str | None = first
        self._lines = lines

    def __iter__(self) -> _Again:
        return self

    def __next__(self) -> str:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._lines)


def sniffed_delimiter(header: str) -> str:
    """Return what separates the names in a header line: what it has most of, outside quotes; else a comma.

    >>> sniffed_delimiter("sku;text, long;seconds")
    ';'
    """
    counts: Counter[str] = Counter()
    quoted = False
    for char in header:
        if char == '"':
            quoted = not quoted
        elif not quoted and char in DELIMITERS:
            counts[char] += 1
    return max(DELIMITERS, key=lambda mark: counts[mark])


def cell_start(line: str, index: int, delimiter: str = ",") -> int | None:
    """Return where a cell begins in a line of a table, from 0; None where the line has not so many."""
    quoted = False
    at_start = True
    for position, char in enumerate(line):
        if index == 0 and at_start:
            return position
        if char == '"' and (quoted or at_start):
            quoted = not quoted
            at_start = False
        elif char == delimiter and not quoted:
            index -= 1
            at_start = True
        else:
            at_start = False
    return len(line) if index == 0 and at_start else None


def _is_half_quoted(cells: list[str]) -> bool:
    """Return whether a blank stands before the quote that opens the first cell; it may be closed in a later one."""
    first = cells[0]
    if first[:1] not in (" ", "\t") or not first.lstrip().startswith('"'):
        return False
    return any(cell.rstrip().endswith('"') for cell in cells)
