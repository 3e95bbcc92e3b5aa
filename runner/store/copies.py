"""Copies of a database that lie beside it: our own, those a person made, and those a sync program leaves."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from runner.store.marks import PaymentsBegun

_MAGIC = b"SQLite format 3\0"
_OURS = re.compile(r"\.(before|rescued)-[0-9TZ]+(-\d+)?")
_SIDE = re.compile(r".*(-wal|-shm|-journal|\.checkpoint|\.lock|\.mark)", re.DOTALL)


def beside(path: Path) -> list[Path]:
    """Return what looks like a copy of a database, newest first; each begins as an SQLite file does."""
    found = []
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if may_be_copy(entry.name, path.name) and _is_sqlite(entry.path, but=path):
                found.append((entry.stat().st_mtime, Path(entry.path)))
    return [copy for _, copy in sorted(found, reverse=True)]


def strays(path: Path) -> list[Path]:
    """Return the copies that are not ours: a person made them, or a sync program that met two versions."""
    return [copy for copy in beside(path) if not _OURS.fullmatch(copy.name.removeprefix(path.name))]


def is_backup(copy: Path) -> bool:
    """Say whether a person made a copy to keep it: that it is there is nothing to tell."""
    return copy.name.endswith((".bak", ".backup", ".old", "~"))


def may_be_copy(name: str, of: str) -> bool:
    """Say whether a file has a name that is given to a copy of another one.

    >>> [may_be_copy(name, "runner.db") for name in ("runner (conflicted copy).db", "runner.db.orig", "Copy of runner.db")]
    [True, True, True]
    >>> [may_be_copy(name, "runner.db") for name in ("runner.db", "runner.db-wal", "runner.db.night.lock", "runners.db")]
    [False, False, False, False]
    """
    if name == of or _SIDE.fullmatch(name):
        return False
    if name.startswith(of) or name.removeprefix("Copy of ").startswith(of):
        return not name.removeprefix("Copy of ")[len(of) :][:1].isalnum()
    stem, dot, ending = of.rpartition(".")
    # `runner (1).db`, `runner 2.db`, `runner-HOST.db`, `runner.sync-conflict-….db`
    return (
        bool(dot) and name.startswith(stem) and name.endswith(dot + ending) and not name[len(stem)].isalnum()
    )


def payments_of(copy: Path, manifest: str) -> frozenset[tuple[str, str]] | None:
    """Return (base_url, task id) of what a copy knows to be paid for a manifest; None if it cannot be read.

    It is read as it lies there, without its log, and nothing is written beside it.
    """
    try:
        with _as_it_lies(copy) as conn:
            rows = conn.execute(
                "SELECT base_url, task_id FROM ledger WHERE manifest = ? AND task_id IS NOT NULL", (manifest,)
            )
            return frozenset((base_url, task) for base_url, task in rows)
    except (sqlite3.Error, OSError):
        return None


def knows(copy: Path, begun: PaymentsBegun) -> bool:
    """Say whether a copy knows of all payments that were written down."""
    try:
        with _as_it_lies(copy) as conn:
            (last,) = conn.execute("SELECT coalesce(max(id), 0) FROM ledger").fetchone()
            task = conn.execute("SELECT 1 FROM ledger WHERE task_id = ?", (begun.task_id,)).fetchone()
            return last >= begun.row and (begun.task_id is None or task is not None)
    except (sqlite3.Error, OSError):
        return False


@contextlib.contextmanager
def _as_it_lies(copy: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(f"{copy.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    ) as conn:
        yield conn


def _is_sqlite(path: str, *, but: Path) -> bool:
    try:
        # Another name of the same file is no copy, and closing it would drop SQLite's locks on the database.
        if os.path.exists(but) and os.path.samefile(path, but):  # noqa: PTH110, PTH121
            return False
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
