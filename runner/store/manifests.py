"""What the name of each manifest is bound to: its file, its service, its key, the folder of its results."""

from __future__ import annotations

import sqlite3


def binding(conn: sqlite3.Connection, name: str) -> sqlite3.Row | None:
    """Return the row of a manifest name: `path`, `base_url`, `key12`, `output_dir`; None if unknown."""
    found: sqlite3.Row | None = conn.execute("SELECT * FROM manifests WHERE name = ?", (name,)).fetchone()
    return found


def bind(
    conn: sqlite3.Connection,
    *,
    name: str,
    path: str,
    base_url: str,
    key12: str,
    output_dir: str,
    output_mount: str | None = None,
    now: str,
) -> None:
    """Bind a manifest name to its file, service, key and drive of its results, or renew that."""
    conn.execute(
        "INSERT INTO manifests (name, path, base_url, key12, output_dir, output_mount, created_at, updated_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (name) DO UPDATE SET path = excluded.path,"
        " base_url = excluded.base_url, key12 = excluded.key12, output_dir = excluded.output_dir,"
        " output_mount = excluded.output_mount, updated_at = excluded.updated_at",
        (name, path, base_url, key12, output_dir, output_mount, now),
    )


def bindings(conn: sqlite3.Connection) -> list[sqlite3.Row]:
    """Return all manifest names with what they are bound to."""
    return conn.execute("SELECT * FROM manifests ORDER BY name").fetchall()
