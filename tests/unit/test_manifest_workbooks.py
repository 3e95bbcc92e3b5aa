"""Workbooks as people have them: what a person sees in a sheet is read, and what is odd has its sheet, row and column."""

from __future__ import annotations

from datetime import date, datetime
from datetime import time as clock_time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from openpyxl import Workbook

from tests.manifest_reading import HEAD, load, prompts
from tests.manifest_reading import load_rows as read


def workbook(path: Path, sheets: dict[str, list[list[Any]]], hidden: tuple[str, ...] = ()) -> None:
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        if name in hidden:
            sheet.sheet_state = "hidden"
    book.save(path)


def test_a_workbook_is_read_as_people_see_it(tmp_path: Path) -> None:
    rows = [
        ["id", "text", "seconds", "day", "at", "hour", None],
        ["a", "a cat", 6.0, date(2026, 11, 29), datetime(2026, 11, 29, 10, 5), clock_time(14, 30), None],
        [101, "a dog", "8", None, None, None, None],
        [None, None, None, None, None, None, None],
    ]
    workbook(tmp_path / "r.xlsx", {"Notes": [["nothing"]], "Shots": rows}, hidden=("Notes",))
    text = HEAD + (
        "jobs:\n  - id: ${row.id}\n    rows: r.xlsx\n    params: {duration: '${row.seconds}'}\n"
        "    prompt: ${row.text} ${row.seconds} ${row.day} ${row.at} ${row.hour}\n"
    )

    loaded = load(tmp_path, text)

    assert {job.id: job.prompt for job in loaded.jobs} == {
        "a": "a cat 6 2026-11-29 2026-11-29 10:05 14:30",
        "101": "a dog 8   ",
    }
    assert [job.params["duration"] for job in loaded.jobs] == [6, 8]
    assert loaded.problems == []


def test_what_is_wrong_in_a_workbook_has_its_sheet_row_and_column(tmp_path: Path) -> None:
    workbook(
        tmp_path / "r.xlsx",
        {
            "S": [
                ["id", "text", "s"],
                ["a", "x", 99],
                ["id", "text", "s"],
                ["c/d", "y", 6],
                ["e", "z", 6, "?"],
            ]
        },
    )
    text = HEAD + "jobs: [{id: '${row.id}', rows: r.xlsx, params: {duration: '${row.s}'}}]\n"

    loaded = load(tmp_path, text)

    assert [(Path(p.place.file).name, p.code, p.place.line, p.place.column) for p in loaded.problems] == [
        ("r.xlsx[S]", "out-of-range", 2, 3),
        ("r.xlsx[S]", "header-again", 3, 1),
        ("r.xlsx[S]", "bad-id", 4, 1),
        ("r.xlsx[S]", "ragged-row", 5, 1),
    ]


def test_a_sheet_may_be_named(tmp_path: Path) -> None:
    workbook(tmp_path / "r.xlsx", {"A": [["id", "text"], ["a", "x"]], "B": [["id", "text"], ["b", "y"]]})

    assert prompts(read(tmp_path, "{file: r.xlsx, sheet: B}", {})) == {"b": "y"}
    refused = read(tmp_path, "{file: r.xlsx, sheet: C}", {})
    assert "there are A, B" in refused.only("no-sheet").hint


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0 an old .xls"])
def test_what_is_no_workbook_is_told(tmp_path: Path, content: bytes) -> None:
    problem = read(tmp_path, "r.xlsx", {"r.xlsx": content}).only("not-a-workbook")

    assert "save it again as .xlsx" in problem.hint


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_workbook_with_a_damaged_sheet_is_told(tmp_path: Path, cut: float) -> None:
    """It opens, and only its rows cannot be read."""
    workbook(
        tmp_path / "whole.xlsx", {"S": [["id", "text"], ["a", "x"], *([f"b{n}", "y"] for n in range(50))]}
    )
    with ZipFile(tmp_path / "whole.xlsx") as whole, ZipFile(tmp_path / "r.xlsx", "w") as damaged:
        for name in whole.namelist():
            content = whole.read(name)
            damaged.writestr(name, content[: int(len(content) * cut)] if "sheet1" in name else content)

    loaded = read(tmp_path, "r.xlsx", {})

    assert "is not a readable workbook" in loaded.errors[-1].what


def test_a_formula_that_is_broken_in_a_workbook_is_seen(tmp_path: Path) -> None:
    workbook(tmp_path / "r.xlsx", {"S": [["id", "text"], ["a", "#REF!"]]})

    assert read(tmp_path, "r.xlsx", {}).only("odd-cell").place.line == 2


def test_a_formula_that_no_program_has_computed_is_told(tmp_path: Path) -> None:
    rows = [["id", "text", "n"], ["a", "x", "=1+1"], ["b", "y", None], ["c", "z", "=A2&B2"]]
    workbook(tmp_path / "r.xlsx", {"S": rows})

    problem = read(tmp_path, "r.xlsx", {}).only("formula-unsaved")

    assert (problem.severity, problem.place.line, problem.place.column) == ("warning", 2, 3)
    assert "the values of 2 formulas in this sheet were not saved" in problem.what


def test_hidden_rows_are_a_warning_and_rows_before_the_header_are_nothing(tmp_path: Path) -> None:
    book = Workbook()
    for row in ([None], [" "], ["id", "text"], ["a", "x"], ["b", "y"], ["c", "z"]):
        book.active.append(row)
    book.active.row_dimensions[5].hidden = book.active.row_dimensions[6].hidden = True
    book.save(tmp_path / "r.xlsx")

    loaded = read(tmp_path, "r.xlsx", {})

    assert loaded.only("hidden-rows").what.startswith("2 rows of this sheet are hidden")
    assert (loaded.problems[0].place.line, list(prompts(loaded))) == (5, ["a", "b", "c"])


def test_numbers_of_a_workbook_have_the_zeros_that_their_format_shows(tmp_path: Path) -> None:
    book = Workbook()
    cells: list[list[Any]] = [["id", "text"], [7, 12], [12.0, "x"], ["a", 1.5], [123456, 3]]
    for each in cells:
        book.active.append(each)
    for row, known in ((2, "00000"), (3, '"SKU-"000'), (5, "000")):
        book.active.cell(row, 1).number_format = known
    book.save(tmp_path / "r.xlsx")

    assert prompts(read(tmp_path, "r.xlsx", {})) == {"00007": "12", "SKU-012": "x", "a": "1.5", "123456": "3"}
