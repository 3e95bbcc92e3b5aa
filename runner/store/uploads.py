"""Remote copies of reference files, each at the service for one kind, model and account."""

from __future__ import annotations

from runner.model import Upload
from runner.store.connection import Connection


def find(conn: Connection, *, sha256: str, kind: str, model: str, account: str, since: str) -> Upload | None:
    """Return the remote copy of a file made at or after `since` (and not in the future), if any."""
    row = conn.execute(
        "SELECT * FROM uploads WHERE sha256 = ? AND kind = ? AND model = ? AND account = ? AND uploaded_at >= ?",
        (sha256, kind, model, account, since),
    ).fetchone()
    if row is None:
        return None
    return Upload(
        url=row["url"],
        file_id=row["file_id"],
        duration_token=row["duration_token"],
        duration_s=row["duration_s"],
        uploaded_at=row["uploaded_at"],
    )


def save(
    conn: Connection, *, sha256: str, kind: str, model: str, account: str, copy: Upload, raw: str
) -> None:
    """Remember the remote copy of a file."""
    conn.execute(
        "INSERT INTO uploads (sha256, kind, model, account, url, file_id, duration_token, duration_s, raw,"
        " uploaded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sha256, kind, model, account) DO UPDATE SET"
        " url = excluded.url, file_id = excluded.file_id, duration_token = excluded.duration_token,"
        " duration_s = excluded.duration_s, raw = excluded.raw, uploaded_at = excluded.uploaded_at",
        (
            sha256,
            kind,
            model,
            account,
            copy.url,
            copy.file_id,
            copy.duration_token,
            copy.duration_s,
            raw,
            copy.uploaded_at,
        ),
    )


def forget(conn: Connection, urls: tuple[str, ...]) -> None:
    """Forget remote copies that the service no longer accepts."""
    conn.executemany("DELETE FROM uploads WHERE url = ?", [(url,) for url in urls])
