"""state/README.md names every table, view and column that is there, and none that is not."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database

from runner.store.migrations import migrations

README = Path(__file__).resolve().parents[2] / "state" / "README.md"


@pytest.fixture(scope="module")
def columns() -> dict[str, set[str]]:
    """The columns of each table and view of a new database."""
    database = Database(sqlite3.connect(":memory:"))
    migrations().apply(database)
    names = [
        row[0]
        for row in database.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%migrations%'"
        )
    ]
    found = {name: {row[1] for row in database.execute(f"PRAGMA table_info({name})")} for name in names}
    database.close()
    return found


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """The text below each heading that names tables, by table."""
    found = {}
    for section in README.read_text(encoding="utf-8").split("\n### ")[1:]:
        heading, _, text = section.partition("\n")
        for name in re.findall(r"`(\w+)`", heading):
            found[name] = text.partition("\n## ")[0]
    return found


def test_every_table_and_view_has_a_section(columns: dict[str, set[str]], sections: dict[str, str]) -> None:
    assert sections.keys() == columns.keys()


@pytest.mark.parametrize("view", ["v_jobs", "v_credits", "v_runs", "v_failures"])
def test_a_view_is_documented_column_by_column(
    columns: dict[str, set[str]], sections: dict[str, str], view: str
) -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", sections[view], re.M)) == columns[view]


DATABASES = json.loads((README.parent / "datasette.json").read_text(encoding="utf-8"))["databases"]
QUERIES = DATABASES["runner"]


@pytest.mark.parametrize("name", QUERIES["queries"])
def test_a_canned_query_works(name: str) -> None:
    database = Database(sqlite3.connect(":memory:"))
    migrations().apply(database)
    sql = QUERIES["queries"][name]["sql"]

    found = database.conn.execute(sql, dict.fromkeys(re.findall(r":(\w+)", sql), ""))

    assert found.description
    assert QUERIES["queries"][name]["title"]
    database.close()


def test_rehearsals_have_the_same_queries() -> None:
    """Datasette knows a database by the name of its file."""
    assert DATABASES["sandbox"] == QUERIES


def test_the_canned_queries_are_about_tables_that_are_there(columns: dict[str, set[str]]) -> None:
    assert QUERIES["tables"].keys() <= columns.keys()


@pytest.mark.parametrize(
    "line", re.findall(r'^sqlite3 -readonly \S+ "(.+)"', README.read_text("utf-8"), re.M)
)
def test_a_line_to_copy_works(line: str) -> None:
    database = Database(sqlite3.connect(":memory:"))
    migrations().apply(database)

    assert database.conn.execute(line).description
    database.close()


def test_every_column_of_a_table_is_named(columns: dict[str, set[str]], sections: dict[str, str]) -> None:
    missing = {
        table: sorted(lost)
        for table, names in columns.items()
        if (lost := names - set(re.findall(r"`(\w+)`", sections[table])))
    }

    assert not missing


def test_no_column_is_named_that_is_not_there(columns: dict[str, set[str]], sections: dict[str, str]) -> None:
    # Where one section holds several tables, any of them will do; `values` are of columns.
    values = {"reserved", "charged", "released", "observed", "given", "fitted", "listed"}
    for text in set(sections.values()):
        tables = [table for table, own in sections.items() if own == text]
        known = set().union(*(columns[table] for table in tables)) | set(tables) | values | {"jobs"}
        if not tables[0].startswith("v_"):
            assert not set(re.findall(r"`(\w+)`", text)) - known
