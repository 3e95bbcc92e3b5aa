"""Answers to submits that came when their worker could no longer write them into its rows: none is thrown away."""

from __future__ import annotations

from runner.model import TaskId
from runner.store.connection import Connection


def keep(conn: Connection, *, base_url: str, key: str, task_id: str, at: str) -> None:
    """Keep what task a service has made of an idempotency key."""
    conn.execute(
        "INSERT INTO late_answers (base_url, key, task_id, at) VALUES (?, ?, ?, ?)",
        (base_url, key, task_id, at),
    )


def find(conn: Connection, *, base_url: str, key: str) -> TaskId | None:
    """Return the task that a service has made of a key, where its answer came late."""
    found = conn.execute(
        "SELECT task_id FROM late_answers WHERE base_url = ? AND key = ? ORDER BY id DESC LIMIT 1",
        (base_url, key),
    ).fetchone()
    return TaskId(found["task_id"]) if found else None
