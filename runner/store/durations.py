"""How long tasks took, by the shape of their jobs."""

from __future__ import annotations

from runner.store.connection import Connection

KEPT = 300


def save(conn: Connection, *, base_url: str, model: str, shape: str, seconds: float) -> None:
    """Remember how long a task took."""
    conn.execute(
        "INSERT INTO durations (base_url, model, shape, seconds) VALUES (?, ?, ?, ?)",
        (base_url, model, shape, seconds),
    )


def latest(conn: Connection, *, base_url: str, shape: str) -> list[float]:
    """Return the latest durations of a shape, oldest first."""
    rows = conn.execute(
        "SELECT seconds FROM durations WHERE base_url = ? AND shape = ? ORDER BY id DESC LIMIT ?",
        (base_url, shape, KEPT),
    ).fetchall()
    return [row["seconds"] for row in reversed(rows)]


def prune(conn: Connection) -> None:
    """Keep the newest durations only."""
    conn.execute("DELETE FROM durations WHERE id < (SELECT max(id) - 20000 FROM durations)")
