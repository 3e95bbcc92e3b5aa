"""What tests of the state file share: rows to write, what another program finds, a disk that is full."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path


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
