"""Processes that work with one database at a server: who is at work, when each was seen, who was shut out.

A worker is one process of one run; its number is never used again. It is fenced when it has not been seen for too long,
or has lost its connection: from then on nothing that it writes is committed (`store.postgres`). Times are the server's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runner.store.connection import Connection

STALL_S = 30.0  # unseen for so long, a worker is fenced
_NOW = "extract(epoch FROM clock_timestamp())"
_AT_WORK = "ended_at IS NULL AND fenced = 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process at work.

    `terms` tells by what it works, hashed; `sign` is the name of the file by which others see that they have the same
    folder of results; `sharers` is how many workers of the account it knows of; `session` is the number of the first run of
    those that it works together with.
    """

    id: int
    manifest: str
    run: int
    host: str
    pid: int
    terms: str
    sign: str
    busy: bool
    sharers: int
    in_flight: int
    session: int


def working_sql(name: str) -> str:
    """Return the condition that a row of `workers`, under this name, is one of who is at work."""
    return f"{name}.ended_at IS NULL AND {name}.fenced = 0"


def register(
    conn: Connection,
    *,
    manifest: str,
    account: str,
    run: int,
    host: str,
    pid: int,
    terms: str,
    sign: str,
    session: int = 0,
) -> int:
    """Record a process that begins to work; return its number."""
    found = conn.execute(
        "INSERT INTO workers (manifest, account, run, host, pid, terms, sign, session, seen_at)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, {_NOW}) RETURNING id",
        (manifest, account, run, host, pid, terms, sign, session),
    ).fetchall()
    return int(found[0]["id"])


def at_work(conn: Connection, *, account: str | None = None, manifest: str | None = None) -> list[Worker]:
    """Return who is at work for an account, or at a manifest, in the order in which they began."""
    found = conn.execute(
        "SELECT id, manifest, run, host, pid, terms, sign, busy, sharers, in_flight, session FROM workers"
        f" WHERE {_AT_WORK} AND (account = ?1 OR manifest = ?2) ORDER BY id",
        (account or "", manifest or ""),
    )
    return [Worker(**{**dict(row), "busy": bool(row["busy"])}) for row in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """A process that works, or has worked: `held` jobs were given to it last, `done` of them are done."""

    id: int
    manifest: str
    host: str
    pid: int
    seen_at: float
    fenced: bool
    ended_at: str | None
    in_flight: int
    held: int
    done: int


def latest(conn: Connection, *, most: int = 20) -> list[WorkerRecord]:
    """Return the last workers, the newest first."""
    found = conn.execute(
        "SELECT w.id, w.manifest, w.host, w.pid, w.seen_at, w.fenced, w.ended_at, w.in_flight,"
        " count(j.id) AS held, coalesce(sum(CASE WHEN j.state = 'done' THEN 1 ELSE 0 END), 0) AS done"
        " FROM (SELECT * FROM workers ORDER BY id DESC LIMIT ?) w"
        " LEFT JOIN shares s ON s.worker = w.id LEFT JOIN jobs j ON j.id = s.job"
        " GROUP BY w.id, w.manifest, w.host, w.pid, w.seen_at, w.fenced, w.ended_at, w.in_flight ORDER BY w.id DESC",
        (most,),
    )
    return [WorkerRecord(**{**dict(row), "fenced": bool(row["fenced"])}) for row in found]


def others_wait_for_tasks(conn: Connection, worker: int) -> bool:
    """Return whether any other worker at work has a job under way: what that costs is not known yet."""
    found = conn.execute(
        "SELECT 1 FROM jobs j JOIN shares s ON s.job = j.id JOIN workers w ON w.id = s.worker"
        f" WHERE j.state IN ('submitting', 'waiting', 'downloading') AND w.id <> ? AND {working_sql('w')} LIMIT 1",
        (worker,),
    )
    return found.fetchone() is not None


def stalled(conn: Connection, *, stall_s: float) -> list[int]:
    """Return who is at work by its own word and has not been seen for so many seconds."""
    found = conn.execute(f"SELECT id FROM workers WHERE {_AT_WORK} AND seen_at < {_NOW} - ?", (stall_s,))
    return [row["id"] for row in found]


def fence(conn: Connection, ids: Collection[int]) -> None:
    """Shut workers out: nothing that they write from now on is committed."""
    conn.executemany("UPDATE workers SET fenced = 1 WHERE id = ?", [(each,) for each in ids])


def beat(conn: Connection, worker: int, *, sharers: int, in_flight: int, busy: bool) -> float:
    """Say that a worker lives, and how it stands; return the server's time, in seconds since 1970."""
    found = conn.execute(
        f"UPDATE workers SET seen_at = {_NOW}, sharers = ?, in_flight = ?, busy = ? WHERE id = ? RETURNING seen_at",
        (sharers, in_flight, int(busy), worker),
    ).fetchall()
    return float(found[0]["seen_at"])


def end(conn: Connection, worker: int, now: str) -> None:
    """Record that a worker works no more: what it leaves is for others."""
    conn.execute("UPDATE workers SET ended_at = ?, busy = 0 WHERE id = ?", (now, worker))
