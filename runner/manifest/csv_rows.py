"""Rows of a CSV file, streamed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.contract.words import shown
from runner.manifest.findings import Findings, Spot
from runner.manifest.lines import BadLine, Lines
from runner.manifest.reading import open_regular
from runner.manifest.rows import Row, Rows, cell_start


class CsvRows(Rows):
    """A table with a header: comma separated, quotes doubled, UTF-8 with or without byte order mark."""

    def __init__(self, path: Path, file: str, findings: Findings) -> None:
        super().__init__(path, file, findings)
        with open_regular(path) as opened:
            lines = Lines(opened, self)
            self._columns = self._header(lines, csv.reader(lines, strict=True))

    @property
    def columns(self) -> Sequence[str] | None:
        """The names in the header."""
        return self._columns

    def _read(self) -> Iterator[Row]:
        columns = self._columns
        if columns is None:
            return
        with open_regular(self.path) as opened:
            lines = Lines(opened, self)
            records = csv.reader(lines, strict=True)
            next(records, None)
            yield from self._records(columns, lines, records)

    def _records(self, columns: Sequence[str], lines: Lines, records: Any) -> Iterator[Row]:
        width = len(columns)
        count = 0
        while True:
            lines.mark()
            try:
                cells = next(records, None)
            except BadLine:
                count += 1
                continue
            except csv.Error as exc:
                count += 1
                self._broken(lines, exc)
                if "field limit" in str(exc):
                    break  # an open quote has swallowed what follows: nothing after this means anything
                continue
            if cells is None:
                break
            if not cells or (len(cells) == 1 and width > 1 and not cells[0].strip()):
                continue  # an empty line
            count += 1
            text = lines.text.rstrip("\r\n")
            if len(cells) != width:
                what = f"this row has {_cells(len(cells))}; the header has {width}"
                hint = "a comma inside a cell needs quotes round the cell" if len(cells) > width else ""
                self.error(lines.first, 1, what, "ragged-row", hint or "add the missing commas", text)
                continue
            yield Row(dict(zip(columns, cells, strict=True)), Spot(self.source, (lines.first, 1), text=text))
        if not count:
            self.findings.warn(
                Spot(self.source, (1, 1), text=""), "there are no rows below the header", "no-rows"
            )

    def _header(self, lines: Lines, records: Any) -> list[str] | None:
        try:
            cells = next(records, None)
        except BadLine:
            return None
        except csv.Error as exc:
            self._broken(lines, exc)
            return None
        if not cells:
            what = "the first line has to name the columns"
            self.error(1, 1, what, "no-header", "for example: sku,text,seconds", lines.text)
            return None
        columns = [cell.strip() for cell in cells]
        fine = True
        for index, name in enumerate(columns):
            column = (cell_start(lines.text, index) or 0) + 1
            if not name:
                self.error(1, column, f"column {index + 1} has no name", "empty-column", text=lines.text)
                fine = False
            elif name in columns[:index]:
                what = f"two columns are named {shown(name)}"
                self.error(1, column, what, "duplicate-column", "rename one of them", lines.text)
                fine = False
        if len(columns) == 1 and (other := next((mark for mark in ";\t" if mark in columns[0]), None)):
            what = f"the columns are separated by {'semicolons' if other == ';' else 'tabs'}"
            self.error(1, 1, what, "not-comma-separated", "save the table with commas", lines.text)
            fine = False
        return columns if fine else None

    def _broken(self, lines: Lines, exc: csv.Error) -> None:
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


def _cells(count: int) -> str:
    return f"{count} cell" + ("" if count == 1 else "s")
