"""Tables, whatever file they come from: a header that names the columns, and a row below it for each job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from runner.contract.phrases import shown
from runner.manifest.findings import Spot
from runner.manifest.rows import Row, Rows

_UNSEEN: Final = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"
_TITLE: Final = "if the first line is a title, delete it: the names of the columns come first"


class TableRow(Row):
    """A row that knows its table, which knows where its cells are."""

    __slots__ = ("_table",)

    def __init__(self, values: dict[str, Any], spot: Spot, table: Table) -> None:
        super().__init__(values, spot)
        self._table = table

    def spot_of(self, column: str) -> Spot:
        """Return where the cell of a column is; where the row is when that cannot be told."""
        index = self._table.index_of(column)
        at = None if index is None else self._table.cell_column(self.spot.line, index)
        return Spot(self.spot.source, (self.spot.at[0], at), text=self.spot.text) if at else self.spot


class Table(Rows):
    """What holds for every table.

    A column without a name is nothing as long as all its cells are empty, and so is a row of empty cells: this is
    how spreadsheets pad what they save.
    """

    _names: list[str] | None = None  # of the columns as they stand, empty where one has no name
    _header_at: tuple[int, str] = (1, "")  # its line, and the text of it

    @property
    def columns(self) -> Sequence[str] | None:
        """The names in the header."""
        return None if self._names is None else [name for name in self._names if name]

    def index_of(self, column: str) -> int | None:
        """Return which cell of a row a column is, from 0."""
        names = self._names or []
        return names.index(column) if column in names else None

    def cell_column(self, line: str, index: int) -> int | None:
        """Return in which column of its line (from 1) a cell begins; None where that cannot be told."""
        raise NotImplementedError

    def _take_header(self, cells: Sequence[str], line: int, text: str) -> None:
        """Take the names of the columns, or report why they are none."""
        names = [_name(cell) for cell in cells]
        self._header_at = line, text
        if not any(names):
            what = "the first line must name the columns"
            self.error(line, 1, what, "no-header", "for example: sku,text,seconds", text)
            return
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name and name in seen:
                what = f"two columns are named {shown(name)}"
                at = self.cell_column(text, index) or 1
                self.error(line, at, what, "duplicate-column", "rename one of them", text)
                return
            seen.add(name)
        self._names = names

    def _rows(self, names: Sequence[str], records: Iterator[tuple[int, str, list[Any]]]) -> Iterator[Row]:
        """Turn records (line, its text, cells) into rows; report and leave out those that are none."""
        width = len(names)
        least = max(index for index, name in enumerate(names, start=1) if name)
        nameless = [index for index, name in enumerate(names) if not name]
        outside: dict[
            int, tuple[int, int, Any]
        ] = {}  # by column without a name: count of values, line and first
        source, count, before = self.source, 0, self.findings.reported
        known = {name.casefold() for name in names if name}
        longest = max(map(len, known)) + 4  # with a mark and blanks
        initials = {name[0] for name in known}
        named = next(index for index, name in enumerate(names) if name)
        for line, text, cells in records:
            if not _has_value(cells):
                continue  # an empty line, or what spreadsheets fill the end of a table with
            count += 1
            if len(cells) != width and not self._fits(cells, least, width, line, text):
                continue
            start = cells[named]
            if type(start) is str and len(start) <= longest:
                initial = start[:1].casefold()[:1]
                likely = initial in initials or not initial.isalnum()  # behind a mark or blanks
                if likely and _folded(start) in known and self._is_header(cells, names, line, text):
                    continue
            for index in nameless:
                if index < len(cells) and _has_value((cells[index],)):
                    number, first, cell = outside.get(index, (0, line, cells[index]))
                    outside[index] = number + 1, first, cell
            values = dict(zip(names, cells, strict=False))
            if nameless:
                values.pop("", None)
            yield TableRow(values, Spot(source, (line, 1), text=text), self)
        self._report_nameless(outside)
        if not count and self.findings.reported == before:
            self.warn(1, 1, "there are no rows below the header", "no-rows")

    def _fits(self, cells: list[Any], least: int, most: int, line: int, text: str) -> bool:
        """Return whether cells are as many as columns, once empty ones at the end are gone; report it if not.

        Columns without a name at the end of the header (from `least` to `most`) need no cells.
        """
        while len(cells) > most and not _has_value(cells[-1:]):
            cells.pop()
        if least <= len(cells) <= most:
            return True
        what = f"this row has {_cells(len(cells))}; the header has {least}"
        hint = "add the missing ones"
        if len(cells) > most:
            hint = _TITLE if least == 1 else "a comma inside a cell needs quotes round the cell"
        self.error(line, 1, what, "ragged-row", hint, text)
        return False

    def _is_header(self, cells: Sequence[Any], names: Sequence[str], line: int, text: str) -> bool:
        """Return whether a row is a header once more, as in tables that were put together; report it if so.

        Capital letters and blanks do not count, nor does the order: a header is a row of nothing but names of columns.
        """
        header = [_folded(name) for name in names]
        found = [_folded(cell) for cell in cells]
        said = [name for name in found if name]
        if not set(said) <= set(header) or len(set(said)) < len(said):
            return False
        if found == header[: len(found)] or len(said) == len(list(filter(None, header))) == 1:
            what, hint = "this row is the header again", "remove it: it would be a job of its own"
        elif len(said) > 1:
            what = "this row is a header of the same columns in another order"
            hint = "make a file of its own of what follows: its cells stand below other names"
        else:
            return False
        self.error(line, 1, what, "header-again", hint, text)
        return True

    def _report_nameless(self, outside: Mapping[int, tuple[int, int, Any]]) -> None:
        """Report values below no name, once for each column, at the header: by column (count, line of the first, it)."""
        line, text = self._header_at
        for index, (count, first, cell) in outside.items():
            at = self.cell_column(text, index) or 1
            many = f"{count:,} values below, the first" if count > 1 else "a value below,"
            what = f"column {index + 1} has no name here, and {many} on line {first} ({shown(cell)})"
            hint = "name the column, or delete it"
            if sum(map(bool, self._names or ())) == 1:
                hint = _TITLE
            elif index == 0:
                hint += " (pandas: `to_csv(..., index=False)`)"
            self.error(line, at, what, "empty-column", hint, text)


def _name(cell: Any) -> str:
    """Return a cell of a header as a name, without blanks and what nobody sees at its ends, such as a mark."""
    return str(cell).strip().strip(_UNSEEN).strip()


def _folded(cell: Any) -> str:
    return _name(cell).casefold()


def _has_value(cells: Sequence[Any]) -> bool:
    """Return whether any cell holds something."""
    for cell in cells:
        if type(cell) is not str:
            if cell is not None:
                return True
        elif cell and not cell.isspace():
            return True
    return False


def _cells(count: int) -> str:
    return f"{count} cell" + ("" if count == 1 else "s")
