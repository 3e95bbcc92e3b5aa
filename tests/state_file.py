"""What tests of the state file share: rows to write, what another program finds, a disk that is full.

A test module takes a fixture with `file = state_file.file`.
"""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.store import sqlite
from runner.store.sqlite import StateFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "runner.db"


@pytest.fixture
def file(path: Path) -> Iterator[StateFile]:
    opened = StateFile.open(path)
    yield opened
    opened.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a locked database for a moment only."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)


def put(conn: sqlite3.Connection, key: str) -> str:
    """Write one row of the simplest table."""
    conn.execute("INSERT INTO rates (account, per_s, found_at) VALUES (?, 1.0, '')", (key,))
    return key


def kept(path: Path) -> set[str]:
    """Return what another program finds in the file."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        return {row[0] for row in conn.execute("SELECT account FROM rates")}


@contextlib.contextmanager
def disk_of(more_bytes: int, path: Path) -> Iterator[None]:
    """Let files grow by so much and no further: what the kernel says then is what a full disk says."""
    largest = max(item.stat().st_size for item in path.parent.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
