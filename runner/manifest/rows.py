"""A row, and what every source of rows has in common."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runner.contract.phrases import shown
from runner.manifest.findings import Findings, SourceText, Spot
from runner.manifest.inputs import Input, file_sha256
from runner.manifest.ordinary_files import Unreadable, read_text
from runner.manifest.yaml_tree import YamlMap
from runner.model import Json, Problem

LONGEST_AXIS: Final = 200  # characters; longer values of a row are no axis of a grid
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file of rows is read, where it does not tell by itself."""

    delimiter: str | None = None  # of a table as text; None: as the header line tells
    encoding: str | None = None  # a codec of Python's; None: UTF-8, or UTF-16 with its mark
    sheet: str | None = None  # of a workbook; None: the first that is visible
    # By column: the values of the rows that are wanted.
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Row:
    """One row: its values by column, and where it was written."""

    __slots__ = ("spot", "values")

    def __init__(self, values: Mapping[str, Any], spot: Spot) -> None:
        self.values = values
        self.spot = spot

    def spot_of(self, column: str) -> Spot:
        """Return where the value of a column is; where the row is when that cannot be told."""
        if column not in self.values:
            return self.spot
        if isinstance(self.values, YamlMap):
            return self.spot.inside(self.values.value_at(column), column)
        at = _key_column(self.spot.line, self.spot.at[1] - 1, column)
        return Spot(self.spot.source, (self.spot.at[0], at), text=self.spot.text) if at else self.spot


class Rows:
    """Where the rows of one job come from.

    `columns` are the columns that every row has, None where each row has its own; `scope` is the
    name placeholders reach them by (`row` or `file`); `input` is what they are read from.
    """

    scope = "row"

    def __init__(self, path: Path, file: str, findings: Findings, reading: Reading | None = None) -> None:
        self.path = path
        self.source = SourceText(file)
        self.findings = findings
        self.reading = reading or Reading()
        self.input = self._input()

    def _input(self) -> Input:
        return Input(kind="rows", name=str(self.path), sha256=file_sha256(self.path))

    @property
    def columns(self) -> Sequence[str] | None:
        """The columns, where they are known before the rows."""
        return None

    def read(self) -> Iterator[Row]:
        """Yield the rows that are wanted, each time from the first; what cannot be read is reported and left out."""
        try:
            for row in self._read():
                if not self.reading.where or self._is_wanted(row):
                    yield row
        except (Unreadable, OSError) as exc:  # it was there when the manifest was opened
            what = exc.what if isinstance(exc, Unreadable) else f"cannot be read ({exc.strerror})"
            self.error(1, 1, f"the file {what}", "file-unreadable")

    def _read(self) -> Iterator[Row]:
        raise NotImplementedError

    def _whole_text(self) -> str | None:
        """Return the text of the file, which is then what problems point into; None where it cannot be read."""
        text = read_text(self.path, shown=self.source.file)
        if isinstance(text, Problem):
            self.findings.add(text)
            return None
        self.source = SourceText(self.source.file, text)
        return text

    def _is_wanted(self, row: Row) -> bool:
        return all(
            _as_cell(row.values.get(column)) in values for column, values in self.reading.where.items()
        )

    def error(self, line: int, column: int, what: str, code: str, hint: str = "", text: str = "") -> None:
        """Report what is wrong at a place of this file; `text` is the line."""
        self.findings.error(self.spot(line, column, text), what, code, hint)

    def warn(self, line: int, column: int, what: str, code: str, hint: str = "", text: str = "") -> None:
        """Report what is worth a look at a place of this file; `text` is the line."""
        self.findings.warn(self.spot(line, column, text), what, code, hint)

    def spot(self, line: int, column: int, text: str = "") -> Spot:
        """Return a place of this file."""
        return Spot(self.source, (line, column), text=text.rstrip("\r\n"))


def _as_cell(value: Any) -> str:
    """Return a value as a person sees it in a table, for `where`."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)


def is_row(values: Any, spot: Spot, findings: Findings, raw: str) -> bool:
    """Return whether values can be a row; report at `spot` why not. `raw` is the JSON they come from."""
    if not isinstance(values, Mapping):
        what = f"a row must be an object with a value for each column, not {shown(values)}"
        findings.error(spot, what, "wrong-type", _row_hint(values))
        return False
    if _is_header(values):
        what = "this row is a header: it says nothing but the names of its columns"
        findings.error(spot, what, "header-again", "remove it: it would be a job of its own")
        return False
    if raw and _SURROGATE.search(raw):
        try:
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            what = "there is half a character in this row (a lone surrogate such as \\ud83d)"
            findings.error(spot, what, "lone-surrogate", "write both halves, or the character itself")
            return False
    return True


def _row_hint(values: Any) -> str:
    if isinstance(values, str):
        return "a file with one prompt a line is named .txt, and read as it is"
    if isinstance(values, list) and any(isinstance(item, Mapping) for item in values):
        return "a file that holds one list of them is named .json"
    return 'such as {"sku": "a1", "text": "a cat"} (pandas: `to_json(..., orient="records")`)'


def _is_header(values: Mapping[str, Any]) -> bool:
    for name, value in values.items():
        if type(value) is not str or value.strip().casefold() != name.strip().casefold():
            return False
    return bool(values)


def _key_column(line: str, start: int, column: str) -> int | None:
    """Return the column (from 1) where a key of a JSON object stands in its line, where that can be told."""
    found = line.find(json.dumps(column, ensure_ascii=False), start)
    if found < 0:
        found = line.find(json.dumps(column), start)
    return found + 1 if found >= 0 else None


def axes_of(row: Row) -> dict[str, Json]:
    """Return the values of a row that a report can make a grid of."""
    return {name: value for name, value in row.values.items() if _is_axis(value)}


def _is_axis(value: object) -> bool:
    if type(value) is str:
        return len(value) <= LONGEST_AXIS
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is int or type(value) is bool
