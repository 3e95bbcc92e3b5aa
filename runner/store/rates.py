"""The rate of requests that was found to pass, for each account."""

from __future__ import annotations

from runner.store.connection import Connection


def find(conn: Connection, account: str) -> float | None:
    """Return the rate an earlier run has found for an account, in requests per second."""
    row = conn.execute("SELECT per_s FROM rates WHERE account = ?", (account,)).fetchone()
    return row["per_s"] if row else None


def latest_of_service(conn: Connection, base_url: str) -> float | None:
    """Return the latest rate found for any key of a service."""
    row = conn.execute(
        "SELECT per_s FROM rates WHERE substr(account, 1, length(?1) + 1) = ?1 || ' ' ORDER BY found_at DESC LIMIT 1",
        (base_url,),
    ).fetchone()
    return row["per_s"] if row else None


def save(conn: Connection, account: str, per_s: float, now: str) -> None:
    """Remember the rate found for an account."""
    conn.execute(
        "INSERT INTO rates (account, per_s, found_at) VALUES (?, ?, ?) ON CONFLICT (account) DO UPDATE SET"
        " per_s = excluded.per_s, found_at = excluded.found_at",
        (account, per_s, now),
    )
