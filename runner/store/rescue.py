"""What a run knows, kept in files of their own where its database was replaced under it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

from runner.store.jobs import NEVER_SENT_SQL
from runner.store.place import sync_folder

# Pages of another file may have come in between. What each payment has changed in three places tells.
_CONTRADICTIONS = (
    "SELECT 1 FROM ledger l LEFT JOIN jobs j ON j.id = l.job WHERE j.id IS NULL OR (j.round = l.round AND"
    " (j.task_id IS NOT l.task_id AND l.task_id IS NOT NULL"
    f" OR l.state = 'reserved' AND j.state IN {NEVER_SENT_SQL}))",
    "SELECT 1 FROM credit_totals t WHERE abs(t.charged + t.reserved - (SELECT total(amount) FROM ledger l"
    " WHERE l.manifest = t.manifest AND l.state <> 'released')) > 0.001",
    "SELECT 1 FROM jobs WHERE task_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ledger l WHERE l.job = jobs.id)",
)


def keep_copy(conn: sqlite3.Connection, copy: Path) -> bool:
    """Write all that a connection knows to a database of its own; return whether that is whole.

    Safe to repeat: what is there is replaced by what is known by then.
    """
    new = copy.with_name(f"{copy.name}.new")
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(new)) as target:
            conn.backup(target)
            whole = _is_whole(target)
        if whole:
            new.replace(copy)
            sync_folder(copy.parent)
        return whole
    except (sqlite3.Error, OSError):
        return False
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def keep_tasks(conn: sqlite3.Connection, file: Path) -> bool:
    """List the tasks that are known to be under way, as far as they can be read; return whether that was written."""
    lines = []
    with contextlib.suppress(sqlite3.Error):
        for row in conn.execute(
            "SELECT manifest, job, key, task_id FROM jobs WHERE state IN ('submitting', 'waiting', 'downloading')"
        ):
            lines.append(json.dumps(dict(zip(("manifest", "job", "key", "task_id"), row, strict=True))))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in lines)
            out.flush()
            os.fsync(out.fileno())
    except OSError:
        return False
    return True


def _is_whole(conn: sqlite3.Connection) -> bool:
    (found,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    return found == "ok" and not any(conn.execute(query).fetchone() for query in _CONTRADICTIONS)
