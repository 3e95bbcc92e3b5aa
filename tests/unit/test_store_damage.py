"""What is told of a database that is damaged, half gone or none at all: nothing that leads to paying again."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import Exit, RunnerError, StateError, TemporaryTrouble
from runner.store.copies import may_be_copy
from runner.store.error_words import as_trouble, trouble
from runner.store.sqlite import StateFile
from tests.world import apply, bind, job

Change = Callable[[Path], object]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """What a killed run leaves: a file, and a log that knows more than the file."""
    live = tmp_path / "live" / "runner.db"
    file = StateFile.open(live)
    bind(file)
    apply(file, *(job(f"j{number}") for number in range(300)))
    file.checkpoint(force=True)
    with file.transaction() as conn:
        conn.execute("UPDATE jobs SET prompt = ''")
    shutil.copytree(live.parent, tmp_path / "state")
    file.close()
    return tmp_path / "state" / "runner.db"


def cut(size: int, name: str = "runner.db") -> Change:
    return lambda path: os.truncate(path.with_name(name), size)


def overwrite(data: bytes, at: int = 0, name: str = "runner.db") -> Change:
    def change(path: Path) -> None:
        with path.with_name(name).open("r+b") as file:
            file.seek(at)
            file.write(data)

    return change


def without_log(change: Change) -> Change:
    def both(path: Path) -> None:
        path.with_name("runner.db-wal").unlink()
        change(path)

    return both


def log_of_another(path: Path) -> None:
    """The log of a database that had other pages at the same places."""
    other = StateFile.open(path.parent.parent / "other" / "runner.db")
    bind(other)
    apply(other, *(job(f"other-{number}", "x" * 900) for number in range(200)))
    other.checkpoint(force=True)
    with other.transaction() as conn:
        conn.execute("UPDATE jobs SET prompt = ''")
    shutil.copy(f"{other.path}-wal", f"{path}-wal")
    other.close()


def contents(folder: Path) -> dict[str, bytes]:
    """What is in the files of a folder, but for what SQLite makes of the others."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if "-shm" not in path.name}
    return {name: data for name, data in found.items() if data}


@pytest.mark.parametrize(
    "change",
    [
        cut(0),
        lambda path: path.unlink(),
        cut(100),
        cut(4096),
        cut(5000),
        cut(40 * 4096),
        overwrite(b"x" * 100),
        overwrite(bytes(4096)),
        overwrite(bytes(40_960), at=40_960),
        log_of_another,
        without_log(overwrite(b"x" * 100)),
        without_log(overwrite(bytes(84), at=16)),
        without_log(overwrite(bytes(3996), at=100)),
        without_log(cut(100)),
        without_log(lambda path: path.write_text("hello\n" * 1000, encoding="utf-8")),
    ],
)
def test_a_damaged_database_is_not_begun_anew(killed: Path, change: Change) -> None:
    shutil.copy(killed, f"{killed}.before-20260101T000000Z")
    shutil.copy(killed, killed.with_name("runner (conflicted copy).db"))
    change(killed)
    before = contents(killed.parent)

    with pytest.raises(StateError, match="damaged") as found:
        StateFile.open(killed)

    assert found.value.exit_code is Exit.USAGE
    assert found.value.hint.startswith("do not start a new one")
    assert ".recover" in found.value.hint
    assert "runner.db.before-20260101T000000Z" in found.value.hint
    assert "runner (conflicted copy).db" in found.value.hint
    assert contents(killed.parent) == before


@pytest.mark.parametrize(
    ("change", "prompt"),
    [
        (lambda path: None, ""),
        (lambda path: path.with_name("runner.db-shm").unlink(), ""),
        (lambda path: os.utime(path), ""),  # it looks newer than its log, and fits it all the same
    ],
)
def test_what_a_kill_leaves_is_not_damaged(killed: Path, change: Change, prompt: str) -> None:
    change(killed)

    with contextlib.closing(StateFile.open(killed)) as file:
        found = [row[0] for row in file.conn.execute("SELECT DISTINCT prompt FROM jobs")]

    assert found == [prompt]
    assert not file.created


def test_a_file_whose_making_was_killed_is_new(tmp_path: Path) -> None:
    """A log was wanted, and nothing was written yet: what is made of it is announced as new."""
    path = tmp_path / "runner.db"
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")

    with contextlib.closing(StateFile.open(path)) as file:
        assert file.created


def test_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "runner.db").mkdir()

    for opened in (StateFile.open, StateFile.open_readonly):
        with pytest.raises(StateError, match="is a folder"):
            opened(tmp_path / "runner.db")


def of_sqlite(code: int, words: str = "some words") -> sqlite3.DatabaseError:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (of_sqlite(sqlite3.SQLITE_FULL), Exit.TEMPORARY),
        (of_sqlite(sqlite3.SQLITE_IOERR_SHORT_READ), Exit.TEMPORARY),
        (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), Exit.TEMPORARY),
        (of_sqlite(sqlite3.SQLITE_LOCKED_SHAREDCACHE), Exit.TEMPORARY),
        (of_sqlite(sqlite3.SQLITE_CANTOPEN), Exit.TEMPORARY),
        (of_sqlite(sqlite3.SQLITE_CORRUPT_VTAB), Exit.USAGE),
        (of_sqlite(sqlite3.SQLITE_NOTADB), Exit.USAGE),
        (of_sqlite(sqlite3.SQLITE_READONLY_DBMOVED), Exit.USAGE),
        # Words in the names of things mean nothing.
        (of_sqlite(sqlite3.SQLITE_ERROR, "no such column: full"), Exit.FAULT),
        (of_sqlite(sqlite3.SQLITE_CONSTRAINT, "UNIQUE constraint failed: locked.busy"), Exit.FAULT),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), Exit.FAULT),
        (OSError(errno.ENOSPC, "No space left on device", "/a"), Exit.TEMPORARY),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected", "/a"), Exit.TEMPORARY),
        (OSError(errno.EIO, "Input/output error", "/a"), Exit.TEMPORARY),
        (OSError(errno.ESTALE, "Stale file handle"), Exit.TEMPORARY),
        (OSError(errno.ENOENT, "No such file or directory", "/a"), Exit.TEMPORARY),
        (OSError(errno.EMFILE, "Too many open files", "/a"), Exit.TEMPORARY),
        (OSError(errno.EACCES, "Permission denied", "/a"), Exit.USAGE),
        (OSError(errno.EROFS, "Read-only file system", "/a"), Exit.USAGE),
        (OSError(errno.ENOTDIR, "Not a directory", "/a"), Exit.USAGE),
    ],
    ids=str,
)
def test_errors_are_told_apart_by_their_number(error: Exception, exit_code: Exit) -> None:
    found = as_trouble(error)

    assert found is not None
    assert found.exit_code is exit_code
    assert found.hint or exit_code is Exit.FAULT
    with pytest.raises(RunnerError) as raised, trouble("doing it"):
        raise error
    assert raised.value.exit_code is exit_code


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.EBADF, "Bad file descriptor")])
def test_what_is_neither_of_a_database_nor_of_a_disk_is_a_fault(error: Exception) -> None:
    assert as_trouble(error) is None


def test_a_database_that_cannot_be_opened_is_no_temporary_trouble() -> None:
    with pytest.raises(StateError), trouble("opening it", opening=True):
        raise of_sqlite(sqlite3.SQLITE_CANTOPEN)
    with pytest.raises(TemporaryTrouble), trouble("opening it", opening=True):
        raise of_sqlite(sqlite3.SQLITE_BUSY)


@pytest.mark.parametrize(
    "name",
    [
        "runner (conflicted copy).db",
        "runner (Anna's conflicted copy 2026-01-01).db",  # Dropbox
        "runner (conflicted copy 2026-01-01 120000).db",  # Nextcloud
        "runner-LAPTOP.db",  # OneDrive
        "runner.sync-conflict-20260101-120000-ABCDEFG.db",  # Syncthing
        "runner (1).db",  # Google Drive
        "runner 2.db",  # iCloud
        "runner_conflict-20260101-120000.db",  # ownCloud
        "runner - Copy.db",
        "Copy of runner.db",
        "runner.db.orig",
        "runner.db.bak",
        "runner.db~",
        "runner.db (1)",
    ],
)
def test_the_names_of_copies(name: str) -> None:
    assert may_be_copy(name, "runner.db")


@pytest.mark.parametrize(
    "name",
    [
        "runner.db",
        "runner.db-wal",
        "runner.db-shm",
        "runner.db-journal",
        "runner.db.checkpoint",
        "runner.db.night.lock",
        "runner.db.night.mark",
        "runner (1).db-wal",
        "runner.log",
        "runners.db",
        "sandbox.db",
        "datasette.json",
    ],
)
def test_what_is_no_copy(name: str) -> None:
    assert not may_be_copy(name, "runner.db")
