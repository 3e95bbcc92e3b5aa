"""What sqlite-utils is given is our connection, set up as we left it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.store.sqlite import StateFile
from runner.store.tables import tables

SET_UP = ("recursive_triggers", "synchronous", "foreign_keys", "wal_autocheckpoint", "journal_mode")


def pragmas(file: StateFile) -> dict[str, object]:
    return {name: file.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in SET_UP}


def test_a_new_database_is_set_up_as_one_that_is_opened_again(tmp_path: Path) -> None:
    new = StateFile.open(tmp_path / "runner.db")
    as_new = pragmas(new)
    new.close()
    again = StateFile.open(tmp_path / "runner.db")

    assert (new.created, again.created) == (True, False)
    assert pragmas(again) == as_new
    tables(again.conn)
    assert pragmas(again) == as_new
    again.close()


def test_its_tables_and_views_are_there_and_a_reader_cannot_write(tmp_path: Path) -> None:
    StateFile.open(tmp_path / "runner.db").close()
    file = StateFile.open_readonly(tmp_path / "runner.db")
    db = tables(file.conn)

    assert {"jobs", "ledger", "manifests", "runs"} <= set(db.table_names())
    assert {"v_jobs", "v_runs", "v_credits", "v_failures"} <= set(db.view_names())
    assert list(db.view("v_credits").rows) == []
    with pytest.raises(Exception, match="readonly"):
        db.table("manifests").insert({"name": "x"})
    assert not file.conn.in_transaction
    file.close()
