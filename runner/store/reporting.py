"""Read-only queries for those who look back: the report page and `export`."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

# Credits are sums over all rounds of a job; `round` says how many there were.
_JOBS = """
    SELECT j.id, j.manifest, j.job, j.listed, j.state, j.model, j.prompt, j.params, j.refs, j.axes, j.round,
        j.task_id, j.submitted_at, j.finished_at, j.duration_s, j.attempts, j.polls, j.overdue,
        j.error_class, j.error_code, j.error_message, j.fingerprint, l.estimated, l.reserved, l.charged
    FROM jobs j
    LEFT JOIN (
        SELECT job, sum(estimated) AS estimated, sum(iif(state = 'reserved', amount, 0)) AS reserved,
            sum(iif(state = 'reserved', 0, amount)) AS charged
        FROM ledger WHERE manifest = ?1 GROUP BY job
    ) l ON l.job = j.id
    WHERE j.manifest = ?1
    ORDER BY j.listed DESC, j.position, j.id
"""


@contextlib.contextmanager
def snapshot(conn: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Let all queries inside see one moment, also while a run goes on."""
    if conn.in_transaction:
        yield conn
        return
    conn.execute("BEGIN")
    try:
        yield conn
    finally:
        conn.execute("ROLLBACK")


def runs(conn: sqlite3.Connection, manifest: str) -> list[sqlite3.Row]:
    """Return the rows of `v_runs` of a manifest, oldest first."""
    return conn.execute("SELECT * FROM v_runs WHERE manifest = ? ORDER BY run", (manifest,)).fetchall()


def credits_by_model(conn: sqlite3.Connection, manifest: str) -> list[sqlite3.Row]:
    """Return `model, payments, estimated, reserved, charged, released` over all days and rounds."""
    return conn.execute(
        "SELECT model, sum(payments) AS payments, sum(estimated) AS estimated, sum(reserved) AS reserved,"
        " sum(charged) AS charged, sum(released) AS released FROM v_credits WHERE manifest = ?"
        " GROUP BY model ORDER BY model",
        (manifest,),
    ).fetchall()


def job_rows(conn: sqlite3.Connection, manifest: str) -> Iterator[sqlite3.Row]:
    """Yield every job of a manifest: the listed ones in its order, then those it no longer lists."""
    yield from conn.execute(_JOBS, (manifest,))


def artifact_rows(conn: sqlite3.Connection, manifest: str) -> Iterator[sqlite3.Row]:
    """Yield `job` (row number), `number`, `path`, `size_bytes`, `mime` of results that have a file."""
    yield from conn.execute(
        "SELECT a.job, a.number, a.path, a.size_bytes, a.mime FROM artifacts a JOIN jobs j ON j.id = a.job"
        " WHERE j.manifest = ? AND a.path <> '' ORDER BY a.job, a.number",
        (manifest,),
    )
