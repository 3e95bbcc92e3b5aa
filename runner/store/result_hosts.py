"""The hosts that have delivered results of a service."""

from __future__ import annotations

from runner.store.connection import Connection


def known(conn: Connection, base_url: str) -> list[str]:
    """Return the hosts that have delivered results of a service, the latest first; a port is part of its name."""
    rows = conn.execute(
        "SELECT host FROM result_hosts WHERE base_url = ? ORDER BY seen_at DESC, host", (base_url,)
    )
    return [row["host"] for row in rows]


def save(conn: Connection, *, base_url: str, host: str, now: str) -> None:
    """Remember that a host has delivered a result."""
    conn.execute(
        "INSERT INTO result_hosts (base_url, host, seen_at) VALUES (?, ?, ?)"
        " ON CONFLICT (base_url, host) DO UPDATE SET seen_at = excluded.seen_at",
        (base_url, host, now),
    )
