"""Rows of a workbook (.xlsx), read by openpyxl."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from runner.contract.phrases import listed, shown, suggest
from runner.manifest.findings import Findings, SourceText
from runner.manifest.ordinary_files import Unreadable
from runner.manifest.rows import Reading, Row
from runner.manifest.tables import Table

LARGEST_BYTES: Final = 1_000_000_000  # unpacked; a workbook of 50,000 rows has some 20 MB
# What the libraries raise over a file that is damaged, or is something else.
_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError, IndexError, SyntaxError,
    EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip
LARGEST_CELL: Final = 10_000_000  # bytes of XML
# What has computed an empty text says that it is one: `t="str"`.
_UNSAVED: Final = re.compile(
    rb'<c(?![^>]* t="str")(?=[^>]* r="(?P<cell>[A-Z]{1,3}[0-9]{1,7})")[^>]*>'
    rb"<f[^>]*>[^<]*</f>(?:<v\s*/>|<v></v>)?</c>"
)
_HIDDEN: Final = re.compile(rb'<row(?=[^>]* r="(?P<row>[0-9]{1,7})")[^>]* hidden="(?:1|true)"[^>/]*>\s*<c')
_FILLED: Final = re.compile(r'(?:"([^"]*)")?(0{2,})')  # such as `00000`, or `"SKU-"000`
MOST_EMPTY: Final = 1000  # rows in a row: a formatted column can go on to row 1,048,576


class XlsxRows(Table):
    """A sheet with a header. Places count rows and columns as the spreadsheet does.

    Dates come as `2026-11-29` or `2026-11-29 10:05`, times as `14:30`, whole numbers without a fraction, and with
    the zeros in front that their format fills them up with. Of a formula the value that was saved with it is taken.
    """

    def __init__(self, path: Path, file: str, findings: Findings, reading: Reading | None = None) -> None:
        super().__init__(path, file, findings, reading)
        self._sheet = ""
        self.sheets: tuple[str, ...] = ()  # those that are visible
        with _opened(path) as book:
            names = [sheet.title for sheet in book.worksheets]
            visible = [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"]
            wanted = self.reading.sheet or next(iter(visible or names), "")
            if wanted not in names:
                like = suggest(wanted, names)
                hint = f"did you mean {like}?" if like else f"there are {listed(names)}"
                raise Unreadable(f"has no sheet {shown(wanted)}", "no-sheet", hint)
            self._sheet = wanted
            self.sheets = tuple(visible or names)
            self.source = SourceText(f"{file}[{wanted}]")
            unsaved, hidden = _told_by_the_xml(path, book[wanted])
            self._warn_of_unsaved(unsaved)
            for number, cells in _cells_of(book[wanted]):
                if not any(str(_plain(cell)).strip() for cell in cells):
                    continue
                self._take_header([str(_plain(cell) or "") for cell in cells], number, "")
                self._warn_of_hidden([row for row in hidden if row > number])
                return
            self.error(
                1, 1, "the first row must name the columns", "no-header", "for example: sku, text, seconds"
            )

    def _warn_of_unsaved(self, cells: Sequence[tuple[int, int]]) -> None:
        if cells:
            are = "1 formula" if len(cells) == 1 else f"{len(cells):,} formulas"
            what = f"the values of {are} in this sheet were not saved, so these cells are empty"
            hint = "open it in a spreadsheet program, and save it there"
            self.warn(*cells[0], what, "formula-unsaved", hint)

    def _warn_of_hidden(self, rows: Sequence[int]) -> None:
        if rows:
            are = (
                "1 row of this sheet is hidden, and is"
                if len(rows) == 1
                else f"{len(rows):,} rows of this sheet are hidden, and are"
            )
            what = f"{are} read like the others"
            hint = "delete what is not wanted, or name the rows that are: `rows: {file: …, where: {column: value}}`"
            self.warn(rows[0], 1, what, "hidden-rows", hint)

    def cell_column(self, line: str, index: int) -> int | None:
        """Return the number of a cell's column, from 1."""
        return index + 1

    def _read(self) -> Iterator[Row]:
        if self._names is None:
            return
        with _opened(self.path) as book:
            yield from self._rows(self._names, self._records(book[self._sheet]))

    def _records(self, sheet: Any) -> Iterator[tuple[int, str, list[Any]]]:
        width = len(self._names or ())
        for number, cells in _cells_of(sheet):
            if number <= self._header_at[0]:
                continue
            plain = [_plain(cell) for cell in cells]
            yield number, "", plain + [""] * (width - len(plain))


def _told_by_the_xml(path: Path, sheet: Any) -> tuple[list[tuple[int, int]], list[int]]:
    """Return what the library does not tell: (row, column) of formulas without a saved value, and hidden rows."""
    from openpyxl.utils.cell import coordinate_to_tuple

    unsaved: list[tuple[int, int]] = []
    hidden: list[int] = []
    with (
        suppress(*_BROKEN),
        zipfile.ZipFile(path) as packed,
        packed.open(sheet._worksheet_path.lstrip("/")) as file,
    ):
        rest = b""
        while piece := file.read(1_000_000):
            text = rest + piece
            end = text.rfind(b"</c>") + 4
            if b"</f>" in text:
                unsaved += [
                    coordinate_to_tuple(match["cell"].decode())
                    for match in _UNSAVED.finditer(text, 0, max(end, 0))
                ]
            if b"hidden=" in text:
                hidden += [int(match["row"]) for match in _HIDDEN.finditer(text, 0, max(end, 0))]
            rest = text[end:] if end > 3 else text
            if len(rest) > LARGEST_CELL:
                break
    return unsaved, hidden


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a workbook.

    Raises:
        Unreadable: It is none, is protected by a password, or unpacks to too much.
    """
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as packed:
            if sum(item.file_size for item in packed.infolist()) > LARGEST_BYTES:
                raise Unreadable(f"unpacks to more than {LARGEST_BYTES / 1e6:,.0f} MB", "too-large")
        book = load_workbook(path, read_only=True, data_only=True)
    except _BROKEN as exc:
        raise _unreadable() from exc
    try:
        yield book
    finally:
        book.close()


def _unreadable() -> Unreadable:
    hint = "save it again as .xlsx without a password, or as .csv"
    return Unreadable("is not a readable workbook", "not-a-workbook", hint)


def _cells_of(sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield (row number, cells) of a sheet, to its last row that is not empty.

    Raises:
        Unreadable: The sheet is damaged.
    """
    sheet.reset_dimensions()  # some programs write wrong ones
    empty = 0
    filled = any(_FILLED.fullmatch(known) for known in getattr(sheet.parent, "_number_formats", ()))
    rows = enumerate(map(_seen, sheet.iter_rows()) if filled else sheet.iter_rows(values_only=True), start=1)
    while True:
        try:
            number, cells = next(rows)
        except StopIteration:
            return
        except _BROKEN as exc:
            raise _unreadable() from exc
        if any(cell is not None for cell in cells):
            empty = 0
            yield number, cells
        elif (empty := empty + 1) > MOST_EMPTY:
            return


def _seen(cells: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values of cells; whole numbers whose format fills them up with zeros as the texts that are seen."""
    return tuple(
        f"{found[1] or ''}{int(cell.value):0{len(found[2])}d}"
        if type(cell.value) in (int, float)
        and cell.value >= 0
        and cell.value == int(cell.value)
        and (found := _FILLED.fullmatch(cell.number_format or ""))
        else cell.value
        for cell in cells
    )


def _plain(value: Any) -> Any:
    """Return a cell as text, a number or true/false, as a person sees it in the sheet."""
    match value:
        case None:
            return ""
        case datetime():
            midnight = value.time() == time()
            return value.date().isoformat() if midnight else value.isoformat(sep=" ", timespec="minutes")
        case date():
            return value.isoformat()
        case time():
            return value.isoformat(timespec="minutes" if not value.second else "seconds")
        case timedelta():
            return str(value)
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
