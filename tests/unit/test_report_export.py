"""Rows for other programs: columns that stay, values that arrive, cells that compute nothing."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from runner.reports.job_rows import COLUMNS, Format, export_rows
from runner.store.database import StateDatabase
from tests import report_rows
from tests.report_rows import Row, add

README = Path(__file__).resolve().parents[2] / "runner" / "reports" / "README.md"

state = report_rows.state


def exported(state: StateDatabase, format: Format) -> str:
    return "".join(export_rows(state.conn, "night", format))


def test_the_columns_are_the_documented_ones(state: StateDatabase) -> None:
    table = README.read_text("utf-8").partition("## Columns of")[2].partition("\n## ")[0]
    documented = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]

    assert list(COLUMNS) == documented
    assert exported(state, Format.CSV) == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("text", ["=1+1", "+49 30", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_spreadsheet_takes_no_text_for_a_formula(state: StateDatabase, text: str) -> None:
    add(state, "night", [Row(id="a", prompt=text)])

    [row] = csv.DictReader(io.StringIO(exported(state, Format.CSV), newline=""))
    exact = json.loads(exported(state, Format.JSONL))

    assert row["prompt"] == f"'{text}"
    assert exact["prompt"] == text


def test_every_format_of_rows_holds_the_same_jobs(state: StateDatabase, tmp_path: Path) -> None:
    files = [(tmp_path / "a.mp4", "video/mp4"), (tmp_path / "a+2.mp4", "video/mp4")]
    add(
        state,
        "night",
        [
            Row(id="a", prompt='two\nlines, "quoted", 雪', files=files, charges=(10.0, 5.0)),
            Row(id="b", state="planned", prompt=None, charges=(), submitted_s=None, duration_s=None),
            Row(id="gone", listed=False),
        ],
    )

    rows = list(csv.DictReader(io.StringIO(exported(state, Format.CSV), newline="")))
    lines = [json.loads(line) for line in exported(state, Format.JSONL).splitlines()]
    whole = json.loads(exported(state, Format.JSON))

    assert whole == lines
    assert [list(row) for row in lines] == [list(COLUMNS)] * 3
    assert [row["job"] for row in rows] == [row["job"] for row in lines] == ["a", "b", "gone"]
    assert rows[0]["prompt"] == lines[0]["prompt"] == 'two\nlines, "quoted", 雪'
    assert (rows[0]["charged"], lines[0]["charged"], lines[0]["round"]) == ("15.0", 15.0, 2)
    assert (rows[1]["prompt"], lines[1]["prompt"], lines[1]["charged"]) == ("", None, None)
    assert json.loads(rows[0]["artifacts"]) == lines[0]["artifacts"] == [str(path) for path, _ in files]
    assert (rows[2]["listed"], lines[2]["listed"]) == ("0", False)


def test_no_jobs_are_still_good_json(state: StateDatabase) -> None:
    assert json.loads(exported(state, Format.JSON)) == []
    assert exported(state, Format.JSONL) == ""


def test_a_playlist_names_every_result_of_the_listed_jobs(state: StateDatabase) -> None:
    add(
        state,
        "night",
        [
            Row(id="a & b", prompt="<no> \x01 & yes", files=[(Path("/out/a & b #1.mp4"), "video/mp4")]),
            Row(id="c", files=[(Path("/out/c.mp4"), "video/mp4"), (Path("/out/c+2.mp4"), "video/mp4")]),
            Row(id="d", state="failed"),
            Row(id="gone", listed=False, files=[(Path("/out/gone.mp4"), "video/mp4")]),
        ],
    )
    where = {"x": "http://xspf.org/ns/0/"}

    xspf = ET.fromstring(exported(state, Format.XSPF))
    m3u = exported(state, Format.M3U).splitlines()

    locations = [node.text for node in xspf.iterfind(".//x:location", where)]
    assert locations == ["file:///out/a%20%26%20b%20%231.mp4", "file:///out/c.mp4", "file:///out/c%2B2.mp4"]
    assert xspf.findtext(".//x:track/x:annotation", namespaces=where) == "<no>  & yes"
    assert m3u[0] == "#EXTM3U"
    assert m3u[1::2] == ["#EXTINF:-1,a & b", "#EXTINF:-1,c", "#EXTINF:-1,c"]
    assert m3u[2::2] == locations
