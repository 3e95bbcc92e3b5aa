"""Files that were hashed already, known again by their size, time and inode."""

from __future__ import annotations

from runner.store.connection import Connection


def find(conn: Connection, path: str, *, size: int, mtime_ns: int, inode: int) -> str | None:
    """Return the SHA-256 of a file that looks just as it did when it was hashed."""
    row = conn.execute(
        "SELECT sha256 FROM hashes WHERE path = ? AND size_bytes = ? AND mtime_ns = ? AND inode = ?",
        (path, size, mtime_ns, inode),
    ).fetchone()
    return row["sha256"] if row else None


def save(conn: Connection, rows: list[tuple[str, int, int, int, str]]) -> None:
    """Remember (path, size, mtime_ns, inode, sha256) of files."""
    conn.executemany(
        "INSERT INTO hashes (path, size_bytes, mtime_ns, inode, sha256) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (path) DO UPDATE SET size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns,"
        " inode = excluded.inode, sha256 = excluded.sha256",
        rows,
    )
