"""A row, and what every source of rows has in common."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.contract.words import shown
from runner.manifest.findings import Findings, Source, Spot
from runner.manifest.inputs import Input, file_sha256
from runner.manifest.reading import Unreadable
from runner.yaml12 import YamlMap

_SURROGATE = re.compile(r"\\u[dD][89abAB]")


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
        at = (
            value_column(self.spot.line, self.spot.at[1] - 1, column, self.values)
            if column in self.values
            else None
        )
        return Spot(self.spot.source, (self.spot.at[0], at), text=self.spot.text) if at else self.spot


class Rows:
    """Where the rows of one job come from.

    `columns` are the columns that every row has, None where each row has its own; `scope` is the
    name placeholders reach them by (`row` or `file`); `input` is what they are read from.
    """

    scope = "row"

    def __init__(self, path: Path, file: str, findings: Findings) -> None:
        self.path = path
        self.source = Source(file)
        self.findings = findings
        self.input = self._input()

    def _input(self) -> Input:
        return Input(kind="rows", name=str(self.path), sha256=file_sha256(self.path))

    @property
    def columns(self) -> Sequence[str] | None:
        """The columns, where they are known before the rows."""
        return None

    def read(self) -> Iterator[Row]:
        """Yield the rows, each time from the first; what cannot be read is reported and left out."""
        try:
            yield from self._read()
        except (Unreadable, OSError) as exc:  # it was there when the manifest was opened
            what = exc.what if isinstance(exc, Unreadable) else f"cannot be read ({exc.strerror})"
            self.error(1, 1, f"the file {what}", "file-unreadable")

    def _read(self) -> Iterator[Row]:
        raise NotImplementedError

    def error(self, line: int, column: int, what: str, code: str, hint: str = "", text: str = "") -> None:
        """Report what is wrong at a place of this file; `text` is the line."""
        spot = Spot(self.source, (line, column), text=text.rstrip("\r\n"))
        self.findings.error(spot, what, code, hint)


def is_row(values: Any, spot: Spot, findings: Findings, raw: str) -> bool:
    """Return whether values can be a row; report at `spot` why not. `raw` is the JSON they come from."""
    if not isinstance(values, Mapping):
        what = f"a row has to be an object with a value for each column, not {shown(values)}"
        hint = "a file that holds one list of them is named .json" if isinstance(values, list) else ""
        findings.error(spot, what, "wrong-type", hint)
        return False
    if raw and _SURROGATE.search(raw):
        try:
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            what = "there is half a character in this row (a lone surrogate such as \\ud83d)"
            findings.error(spot, what, "lone-surrogate", "write both halves, or the character itself")
            return False
    return True


def value_column(line: str, start: int, column: str, values: Mapping[str, Any]) -> int | None:
    """Return the column (from 1) where a value begins in the line of its row, where that can be told."""
    if line[start:].lstrip().startswith("{"):
        found = line.find(json.dumps(column, ensure_ascii=False), start)
        if found < 0:
            found = line.find(json.dumps(column), start)
        return found + 1 if found >= 0 else None
    begin = cell_start(line, list(values).index(column))
    return None if begin is None else begin + 1


def cell_start(line: str, index: int) -> int | None:
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
