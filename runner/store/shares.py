"""Which job is whose, where several processes work at one manifest: each works on the rows that it has claimed.

A row belongs to whom it was given last, as long as that worker is at work; else it is free. Claims are made under the
lock of all writers, so no two ever hold one row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from runner.model import Job
from runner.store.connection import Connection
from runner.store.jobs import COLUMNS, NEVER_SENT_SQL, read_job

GIVEN_BACK = "given_back"  # the event of a run that leaves jobs to others: `rows`
_HELD = (
    "EXISTS (SELECT 1 FROM shares s JOIN workers w ON w.id = s.worker AND w.ended_at IS NULL AND w.fenced = 0"
    " WHERE s.job = jobs.id)"
)


def free_to_send(conn: Connection, manifest: str, *, after: tuple[int, int], limit: int) -> list[Job]:
    """Return the next listed jobs of which nothing was sent and that nobody holds, after `(position, row)`."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE manifest = ? AND listed = 1 AND state IN {NEVER_SENT_SQL}"
        f" AND blocked = 0 AND (position, id) > (?, ?) AND NOT {_HELD} ORDER BY position, id LIMIT ?",
        (manifest, *after, limit),
    )
    return [read_job(row) for row in rows]


def still_free(conn: Connection, rows: Sequence[int]) -> list[Job]:
    """Return those of these rows that `free_to_send` would return, in the manifest's order."""
    found = conn.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND listed = 1"
        f" AND state IN {NEVER_SENT_SQL} AND blocked = 0 AND NOT {_HELD} ORDER BY position, id",
        (json.dumps([*rows]),),
    )
    return [read_job(row) for row in found]


def free_under_way(conn: Connection, manifest: str) -> list[Job]:
    """Return the jobs under way that nobody holds, in the manifest's order."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE manifest = ? AND state IN ('submitting', 'waiting', 'downloading')"
        f" AND NOT {_HELD} ORDER BY position, id",
        (manifest,),
    )
    return [read_job(row) for row in rows]


def claim(conn: Connection, worker: int, rows: Iterable[int]) -> None:
    """Give rows that nobody holds to a worker."""
    conn.executemany(
        "INSERT INTO shares (job, worker) VALUES (?, ?) ON CONFLICT (job) DO UPDATE SET worker = excluded.worker",
        [(row, worker) for row in rows],
    )


def release(conn: Connection, rows: Iterable[int]) -> None:
    """Give rows back: whoever comes first may have them."""
    conn.executemany("DELETE FROM shares WHERE job = ?", [(row,) for row in rows])


def given_back(conn: Connection, manifest: str, *, after: int, run: int) -> list[tuple[int, int]]:
    """Return (position, row) of the jobs that other runs than this one have given back unsent, after an event."""
    told = conn.execute(
        f"SELECT data FROM events WHERE manifest = ? AND id > ? AND kind = '{GIVEN_BACK}' AND run IS NOT ?",
        (manifest, after, run),
    ).fetchall()
    rows = sorted({row for each in told for row in json.loads(each["data"])["rows"]})
    if not rows:
        return []
    found = conn.execute(
        "SELECT position, id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY position, id",
        (json.dumps(rows),),
    )
    return [(row["position"], row["id"]) for row in found]


def held(conn: Connection, worker: int, rows: Iterable[int]) -> frozenset[int]:
    """Return which of these rows a worker was given last."""
    mine = {row["job"] for row in conn.execute("SELECT job FROM shares WHERE worker = ?", (worker,))}
    return frozenset(mine.intersection(rows))


def held_by_others(conn: Connection, worker: int) -> frozenset[int]:
    """Return the rows that other workers have claimed and are at work on."""
    found = conn.execute(
        "SELECT s.job FROM shares s JOIN workers w ON w.id = s.worker AND w.ended_at IS NULL AND w.fenced = 0"
        " WHERE s.worker <> ?",
        (worker,),
    )
    return frozenset(row["job"] for row in found)


def of_others(conn: Connection, worker: int, manifest: str) -> frozenset[int]:
    """Return the rows of a manifest that were given to other workers last."""
    found = conn.execute(
        "SELECT s.job FROM shares s JOIN jobs j ON j.id = s.job WHERE j.manifest = ? AND s.worker <> ?",
        (manifest, worker),
    )
    return frozenset(row["job"] for row in found)
