"""Rows: one job for each record of a CSV, JSON Lines, JSON or YAML file, or for each file of a glob.

CSV and JSON Lines are streamed, a line at a time. Every row knows its file and line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from runner.contract.words import listed, shown
from runner.manifest.findings import Findings, Source, Spot
from runner.manifest.reading import Unreadable, open_regular, read_text
from runner.model import Problem
from runner.yaml12 import YamlList, YamlMap, read_yaml

LONGEST_LINE: Final = 4_000_000  # bytes
MOST_FILES: Final = 1_000_000  # of one glob
FILE_NAMES: Final = ("name", "stem", "path")  # what `${file.…}` knows
_SURROGATE = re.compile(r"\\u[dD][89abAB]")
_SPACE = re.compile(r"[ \t\n\r]*")


class Row:
    """One row: its values by column, and where it was written."""

    __slots__ = ("spot", "values")

    def __init__(self, values: Mapping[str, Any], spot: Spot) -> None:
        self.values = values
        self.spot = spot

    def spot_of(self, column: str) -> Spot:
        """Return where the value of a column is; where the row is when that cannot be told."""
        if isinstance(self.values, YamlMap) and column in self.values:
            return self.spot.inside(self.values.value_at(column), column)
        at = _cell(self.spot.line, column, self.values) if column in self.values else None
        return Spot(self.spot.source, (self.spot.at[0], at), text=self.spot.text) if at else self.spot


class Rows:
    """Where the rows of one job come from.

    `columns` are the columns that every row has, None where each row has its own; `scope` is the
    name placeholders reach them by (`row` or `file`).
    """

    scope = "row"

    def __init__(self, path: Path, file: str, findings: Findings) -> None:
        self.path = path
        self.source = Source(file)
        self.findings = findings

    @property
    def columns(self) -> Sequence[str] | None:
        """The columns, where they are known before the rows."""
        return None

    def read(self) -> Iterator[Row]:
        """Yield the rows; what cannot be read is reported and left out."""
        raise NotImplementedError

    def _error(self, line: int, column: int, what: str, code: str, hint: str = "", text: str = "") -> None:
        spot = Spot(self.source, (line, column), text=text.rstrip("\r\n"))
        self.findings.error(spot, what, code, hint)


class _BadLine(Exception):
    """A line that is not text; the reason is already reported."""


class _Lines:
    """The lines of a file as text, counted; remembers the first line since `mark`."""

    def __init__(self, file: BinaryIO, rows: Rows) -> None:
        self._file = file
        self._rows = rows
        self.number = 0
        self.first = 0
        self.text = ""

    def mark(self) -> None:
        self.first = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        data = self._file.readline(LONGEST_LINE + 1)
        if not data:
            raise StopIteration
        self.number += 1
        if len(data) > LONGEST_LINE:
            what = f"this line is longer than {LONGEST_LINE // 1_000_000} MB"
            self._rows._error(
                self.number, 1, what, "line-too-long", text=data[:80].decode("utf-8", "replace")
            )
            raise _BadLine
        if self.number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as exc:
            seen = data.decode("utf-8", "replace")
            column = len(data[: exc.start].decode("utf-8", "replace")) + 1
            what = f"this is not UTF-8 text (byte 0x{data[exc.start]:02x})"
            self._rows._error(self.number, column, what, "not-utf8", "save the file as UTF-8", seen)
            raise _BadLine from None
        if "\0" in text:
            what = "there is a NUL character in this line"
            hint = "save the file as UTF-8 text"
            self._rows._error(self.number, text.index("\0") + 1, what, "control-character", hint, text)
            raise _BadLine
        if not self.first:
            self.first = self.number
            self.text = text
        return text


class CsvRows(Rows):
    """A table with a header: comma separated, quotes doubled, UTF-8 with or without byte order mark."""

    def __init__(self, path: Path, file: str, findings: Findings) -> None:
        super().__init__(path, file, findings)
        with open_regular(path) as opened:
            lines = _Lines(opened, self)
            self._columns = self._header(lines, csv.reader(lines, strict=True))

    @property
    def columns(self) -> Sequence[str] | None:
        """The names in the header."""
        return self._columns

    def read(self) -> Iterator[Row]:
        """Yield the rows; rows with too few or too many cells are reported."""
        columns = self._columns
        if columns is None:
            return
        with open_regular(self.path) as opened:
            lines = _Lines(opened, self)
            records = csv.reader(lines, strict=True)
            try:
                next(records, None)
                yield from self._records(columns, lines, records)
            except _BadLine:
                return
            except csv.Error as exc:
                self._broken(lines, exc)

    def _records(self, columns: Sequence[str], lines: _Lines, records: Any) -> Iterator[Row]:
        width = len(columns)
        count = 0
        while True:
            lines.mark()
            cells = next(records, None)
            if cells is None:
                break
            if not cells or (len(cells) == 1 and width > 1 and not cells[0].strip()):
                continue  # an empty line
            count += 1
            text = lines.text.rstrip("\r\n")
            if len(cells) != width:
                what = f"this row has {_cells(len(cells))}; the header has {width}"
                hint = "a comma inside a cell needs quotes round the cell" if len(cells) > width else ""
                self._error(lines.first, 1, what, "ragged-row", hint or "add the missing commas", text)
                continue
            yield Row(dict(zip(columns, cells, strict=True)), Spot(self.source, (lines.first, 1), text=text))
        if not count:
            self.findings.warn(
                Spot(self.source, (1, 1), text=""), "there are no rows below the header", "no-rows"
            )

    def _header(self, lines: _Lines, records: Any) -> list[str] | None:
        try:
            cells = next(records, None)
        except _BadLine:
            return None
        except csv.Error as exc:
            self._broken(lines, exc)
            return None
        if not cells:
            what = "the first line has to name the columns"
            self._error(1, 1, what, "no-header", "for example: sku,text,seconds", lines.text)
            return None
        columns = [cell.strip() for cell in cells]
        fine = True
        for index, name in enumerate(columns):
            column = (_cell_start(lines.text, index) or 0) + 1
            if not name:
                self._error(1, column, f"column {index + 1} has no name", "empty-column", text=lines.text)
                fine = False
            elif name in columns[:index]:
                what = f"two columns are named {shown(name)}"
                self._error(1, column, what, "duplicate-column", text=lines.text)
                fine = False
        if len(columns) == 1 and (other := next((mark for mark in ";\t" if mark in columns[0]), None)):
            what = f"the columns are separated by {'semicolons' if other == ';' else 'tabs'}"
            self._error(1, 1, what, "not-comma-separated", "save the table with commas", lines.text)
            fine = False
        return columns if fine else None

    def _broken(self, lines: _Lines, exc: csv.Error) -> None:
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
        self._error(lines.first or 1, 1, what, "csv-syntax", hint, lines.text)


class JsonLinesRows(Rows):
    """One JSON object on each line."""

    def read(self) -> Iterator[Row]:
        """Yield the rows; lines that are no JSON object are reported."""
        count = 0
        with open_regular(self.path) as opened:
            lines = _Lines(opened, self)
            decode = _decoder().decode
            while True:
                lines.mark()
                try:
                    text = next(lines, None)
                except _BadLine:
                    continue
                if text is None:
                    break
                text = text.rstrip("\r\n")
                if not text or text.isspace():
                    continue
                count += 1
                try:
                    values = decode(text)
                except (ValueError, RecursionError) as exc:
                    what, column = _json_trouble(exc)
                    self._error(lines.number, column, what, "json-syntax", text=text)
                    continue
                spot = Spot(self.source, (lines.number, 1), text=text)
                if _is_row(values, spot, self.findings, text):
                    yield Row(values, spot)
        if not count:
            self.findings.warn(
                Spot(self.source, (1, 1), text=""), "there are no rows in this file", "no-rows"
            )


class JsonRows(Rows):
    """A JSON array of objects."""

    def read(self) -> Iterator[Row]:
        """Yield the rows; items that are no objects are reported."""
        text = read_text(self.path, shown=self.source.file)
        if isinstance(text, Problem):
            self.findings.add(text)
            return
        self.source = Source(self.source.file, text)
        position = _SPACE.match(text, 0).end()  # type: ignore[union-attr]  # matches the empty text too
        if text[position : position + 1] != "[":
            what = "the file has to be a JSON array of objects"
            self._error(
                *_line_column(text, 0, 1, position),
                what,
                "json-syntax",
                "a .jsonl file has one object on each line",
            )
            return
        decoder = _decoder()
        line, line_from, first = 1, 0, True
        position += 1
        while True:
            position = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # as above
            char = text[position : position + 1]
            if char == "]" and (first or not text[position + 1 :].strip()):
                break
            if not first:
                if char != ",":
                    self._stop(text, position, "a comma or the end of the array is missing")
                    return
                position = _SPACE.match(text, position + 1).end()  # type: ignore[union-attr]  # as above
            first = False
            line += text.count("\n", line_from, position)
            line_from = position
            column = position - text.rfind("\n", 0, position)
            try:
                values, position = decoder.raw_decode(text, position)
            except (ValueError, RecursionError) as exc:
                what, _ = _json_trouble(exc)
                self._stop(text, getattr(exc, "pos", position), what)
                return
            spot = Spot(self.source, (line, column))
            if _is_row(values, spot, self.findings, text[line_from:position]):
                yield Row(values, spot)
        if first:
            self.findings.warn(Spot(self.source, (1, 1)), "there are no rows in this file", "no-rows")

    def _stop(self, text: str, position: int, what: str) -> None:
        line, column = _line_column(text, 0, 1, position)
        self.findings.error(Spot(self.source, (line, column)), what, "json-syntax")


class YamlRows(Rows):
    """A YAML list of mappings."""

    def read(self) -> Iterator[Row]:
        """Yield the rows; items that are no mappings are reported."""
        text = read_text(self.path, shown=self.source.file)
        if isinstance(text, Problem):
            self.findings.add(text)
            return
        self.source = Source(self.source.file, text)
        document = read_yaml(text, file=self.source.file)
        for problem in document.problems:
            self.findings.add(problem)
        root = document.value
        if not isinstance(root, YamlList):
            if document.complete:
                spot = Spot(self.source, document.at)
                self.findings.error(spot, "the file has to be a list of mappings", "wrong-type")
            return
        for index, item in enumerate(root):
            spot = Spot(self.source, root.item_at(index), f"[{index}]")
            if _is_row(item, spot, self.findings, ""):
                yield Row(item, spot)
        if not root:
            self.findings.warn(Spot(self.source, document.at), "there are no rows in this file", "no-rows")


class GlobRows(Rows):
    """One row for each file that matches a pattern, sorted by path."""

    scope = "file"

    def __init__(self, folder: Path, pattern: str, spot: Spot, findings: Findings) -> None:
        super().__init__(folder, spot.source.file, findings)
        self._spot = spot
        self._paths = _matches(folder, pattern)

    @property
    def columns(self) -> Sequence[str] | None:
        """What is known of a file."""
        return FILE_NAMES

    def read(self) -> Iterator[Row]:
        """Yield one row for each file."""
        for path in self._paths:
            name = PurePosixPath(path)
            yield Row({"name": name.name, "stem": name.stem, "path": path}, self._spot)


_FORMATS: Final[Mapping[str, type[Rows]]] = {
    ".csv": CsvRows,
    ".jsonl": JsonLinesRows,
    ".ndjson": JsonLinesRows,
    ".json": JsonRows,
    ".yaml": YamlRows,
    ".yml": YamlRows,
}


def open_rows(folder: Path, name: str, spot: Spot, findings: Findings) -> Rows | None:
    """Open a file of rows, or report at `spot` why not.

    Args:
        folder: The manifest's folder, which `name` is relative to.
        name: The path as written.
        spot: Where it was written.
        findings: Takes what is wrong, now and while the rows are read.
    """
    rows = _FORMATS.get(PurePosixPath(name).suffix.lower())
    if rows is None:
        known = ".csv, .jsonl, .json, .yaml"
        findings.error(
            spot, f"rows are read from {known} files; {shown(name)} is none", "unknown-format",
            'for a folder of files write {glob: "assets/*.png"}',
        )  # fmt: skip
        return None
    # The manifest may have been named by a relative path; so are the files beside it.
    beside = str(Path(spot.source.file).parent / name)
    try:
        path = folder / name
        open_regular(path).close()
        return rows(path, beside, findings)
    except (Unreadable, ValueError, OSError) as exc:
        what = exc.what if isinstance(exc, Unreadable) else f"cannot be read ({exc})"
        code = exc.code if isinstance(exc, Unreadable) else "file-unreadable"
        hint = exc.hint if isinstance(exc, Unreadable) else ""
        findings.error(spot, f"the file of rows {shown(name)} {what}", code, hint or _nearby(folder, name))
        return None


def open_glob(folder: Path, pattern: str, spot: Spot, findings: Findings) -> Rows | None:
    """Find the files of a pattern, or report at `spot` why there are none."""
    try:
        rows = GlobRows(folder, pattern, spot, findings)
    except (ValueError, NotImplementedError, OSError, re.error) as exc:
        hint = "write a pattern relative to the manifest's folder, such as assets/*.png"
        findings.error(
            spot, f"{shown(pattern)} is not a pattern that can be searched for ({exc})", "bad-glob", hint
        )
        return None
    if not rows._paths:
        hint = "patterns are relative to the manifest's folder"
        findings.error(spot, f"no file matches {shown(pattern)}", "no-files", hint)
        return None
    return rows


def _matches(folder: Path, pattern: str) -> list[str]:
    if "\0" in pattern:
        raise ValueError("it has a NUL character in it")
    hidden = any(part.startswith(".") and part != ".." for part in PurePosixPath(pattern).parts)
    found = []
    for path in folder.glob(pattern):
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
        if not path.is_file() or (path.name.startswith(".") and not hidden):
            continue
        name.encode(
            "utf-8"
        )  # a name that is no text (UnicodeEncodeError is a ValueError) cannot be written anywhere
        found.append(name)
        if len(found) > MOST_FILES:
            raise ValueError(f"more than {MOST_FILES:,} files match")
    return sorted(found)


def _nearby(folder: Path, name: str) -> str:
    try:
        there = sorted(
            path.name for path in (folder / name).parent.iterdir() if path.suffix.lower() in _FORMATS
        )
    except (OSError, ValueError):
        return ""
    return f"there are {listed(there)}" if there else ""


def _cells(count: int) -> str:
    return f"{count} cell" + ("" if count == 1 else "s")


def _is_row(values: Any, spot: Spot, findings: Findings, raw: str) -> bool:
    if not isinstance(values, Mapping):
        findings.error(
            spot, f"a row has to be an object with a value for each column, not {shown(values)}", "wrong-type"
        )
        return False
    if raw and _SURROGATE.search(raw):
        try:
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            what = "there is half a character in this row (a lone surrogate such as \\ud83d)"
            findings.error(spot, what, "lone-surrogate", "write both halves, or the character itself")
            return False
    return True


class _DuplicateKey(ValueError):
    """A JSON object has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _DuplicateKey(f"the key {shown(twice)} is here twice")
    return values


def _no_constant(name: str) -> Any:
    raise _DuplicateKey(f"{name} is not a value of JSON")


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _json_trouble(exc: Exception) -> tuple[str, int]:
    if isinstance(exc, json.JSONDecodeError):
        return f"this is not JSON: {exc.msg[:1].lower()}{exc.msg[1:]}", exc.colno
    if isinstance(exc, _DuplicateKey):
        return str(exc), 1
    if isinstance(exc, RecursionError):
        return "this is nested too deeply", 1
    return "a number here is too long", 1


def _line_column(text: str, start: int, line: int, position: int) -> tuple[int, int]:
    return line + text.count("\n", start, position), position - text.rfind("\n", 0, position)


def _cell(line: str, column: str, values: Mapping[str, Any]) -> int | None:
    """Return the column (from 1) where a value begins in the line of its row, where that can be told."""
    if line.lstrip().startswith("{"):
        found = line.find(json.dumps(column, ensure_ascii=False))
        if found < 0:
            found = line.find(json.dumps(column))
        return found + 1 if found >= 0 else None
    start = _cell_start(line, list(values).index(column))
    return None if start is None else start + 1


def _cell_start(line: str, index: int) -> int | None:
    """Return where a cell begins in a line of CSV, from 0; None where the line has not so many."""
    quoted = False
    at_start = True
    for position, char in enumerate(line):
        if index == 0 and at_start:
            return position
        if char == '"' and (quoted or at_start):
            quoted = not quoted
            at_start = False
        elif char == "," and not quoted:
            index -= 1
            at_start = True
        else:
            at_start = False
    return None
