"""`state copy`: all that one database knows is in the other, and nothing is mixed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.api.state import copy
from runner.errors import RunLocked, UsageError
from runner.store import jobs, ledger, runs
from runner.store.database import StateDatabase, empty_database, open_database
from runner.store.server_address import ServerAddress
from runner.store.sqlite import StateFile
from runner.store.transfer import NUMBERED, REPLACED, SUMS, TABLES
from tests.databases import empty_state, of_kind, server
from tests.report_rows import Row, add, new_state

ROWS = (
    Row(id="зима ❄", charges=(10.0, 12.5)),
    Row(id="b", state="failed", error=("generation", "x", "it's gone"), charges=()),
    Row(id="c", state="planned", prompt=None, charges=(), listed=False),
)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A database file with jobs, payments, results and a run in it."""
    path = tmp_path / "known.db"
    with closing(
        new_state(path, manifest="night", manifest_path=tmp_path / "night.yaml", output_dir=tmp_path)
    ) as file:
        add(file, "night", ROWS)
        with file.transaction() as conn:
            conn.execute("UPDATE jobs SET body = ? WHERE job = 'b'", (b"\0\xff{}",))
    return path


def content(file: StateDatabase) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for table in (*TABLES, *SUMS):
        rows = [dict(row) for row in file.conn.execute(f"SELECT * FROM {table}")]
        found[table] = sorted((tuple(sorted(row.items())) for row in rows), key=repr)
    return found


def test_every_table_is_copied_or_adds_itself_up() -> None:
    file = empty_database()
    names = {
        row[0]
        for row in file.conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not row[0].startswith(("sqlite_", "_sqlite_"))
    }

    assert names == {*TABLES, *SUMS, *REPLACED}
    assert set(NUMBERED) <= set(TABLES)


@pytest.mark.parametrize("over", ["a file", pytest.param("a server", marks=pytest.mark.extra)])
def test_a_copy_and_a_copy_of_it_know_all_and_go_on(over: str, known: Path, tmp_path: Path) -> None:
    between = str(tmp_path / "between.db")
    if over == "a server":
        with of_kind("postgresql"):
            empty_state()
            between = server()

    rows = copy(str(known), between).rows
    copy(between, str(tmp_path / "back.db"))

    assert (rows["jobs"], rows["ledger"]) == (3, 2)
    with closing(StateFile.open(known)) as first, closing(StateFile.open(tmp_path / "back.db")) as last:
        assert content(last) == content(first)
        assert ledger.totals(last.conn, "night") == ledger.totals(first.conn, "night") != (0, 0)
    place = ServerAddress.parse(between) if over == "a server" else Path(between)
    with closing(open_database(place)) as file, file.transaction() as conn:
        number = runs.begin(conn, manifest="night", command="x", pid=1, host="h", version="1", now="2026")
        assert number == 2
        assert jobs.find(conn, "night", "b")[0].body == b"\0\xff{}"


def test_nothing_is_copied_into_what_is_not_empty_or_while_a_run_goes_on(known: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    new_state(other, manifest="day", manifest_path=tmp_path / "day.yaml", output_dir=tmp_path).close()

    with pytest.raises(UsageError, match=r"something in .* already"):
        copy(str(known), str(other))
    with pytest.raises(UsageError, match="both are"):
        copy(str(known), str(known))
    with pytest.raises(UsageError, match="no state database"):
        copy(str(tmp_path / "nowhere.db"), str(tmp_path / "new.db"))
    with closing(StateFile.open(known)) as file:
        lock = file.lock("night")
        lock.acquire(0.0, command="rivya-batch run night.yaml")
        with pytest.raises(RunLocked):
            copy(str(known), str(tmp_path / "new.db"))
        lock.release()

    assert not (tmp_path / "new.db").exists()
    assert copy(str(known), str(tmp_path / "new.db")).rows["jobs"] == 3
