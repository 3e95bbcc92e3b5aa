"""Everything the workspace knows that is not a job: bindings, runs, uploads, rates, durations, events."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from runner.host.clock import epoch
from runner.model import Json, Upload

DURATIONS_KEPT = 300


# --- what a manifest name is bound to -------------------------------------------------------


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


def manifests(conn: sqlite3.Connection) -> list[sqlite3.Row]:
    """Return all manifest names with what they are bound to."""
    return conn.execute("SELECT * FROM manifests ORDER BY name").fetchall()


# --- what the jobs of a manifest were read from ---------------------------------------------


def listing(conn: sqlite3.Connection, manifest: str) -> tuple[str, str] | None:
    """Return (basis, inputs) of what the listed jobs of a manifest were read from (see `api.unchanged`).

    None where that is not known, or where rows were put in or taken out by hand since.
    """
    row = conn.execute("SELECT basis, inputs, jobs FROM listings WHERE manifest = ?", (manifest,)).fetchone()
    return (row["basis"], row["inputs"]) if row and row["jobs"] == _listed(conn, manifest) else None


def save_listing(conn: sqlite3.Connection, manifest: str, *, basis: str, inputs: str) -> None:
    """Remember what the jobs listed now were read from."""
    conn.execute(
        "INSERT OR REPLACE INTO listings (manifest, basis, inputs, jobs) VALUES (?, ?, ?, ?)",
        (manifest, basis, inputs, _listed(conn, manifest)),
    )


def forget_listing(conn: sqlite3.Connection, manifest: str) -> None:
    """Forget what the jobs of a manifest were read from."""
    conn.execute("DELETE FROM listings WHERE manifest = ?", (manifest,))


def _listed(conn: sqlite3.Connection, manifest: str) -> int:
    found = conn.execute(
        "SELECT count(*) FROM jobs WHERE manifest = ? AND listed = 1", (manifest,)
    ).fetchone()
    return int(found[0])


# --- runs -----------------------------------------------------------------------------------


def begin_run(
    conn: sqlite3.Connection, *, manifest: str, command: str, pid: int, host: str, version: str, now: str
) -> int:
    """Record the start of a run and return its number."""
    cursor = conn.execute(
        "INSERT INTO runs (manifest, command, pid, host, version, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (manifest, command, pid, host, version, now, now),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def touch_run(conn: sqlite3.Connection, run: int, *, stats: Mapping[str, Json], now: str) -> None:
    """Say that a run is alive, and how it goes."""
    conn.execute("UPDATE runs SET seen_at = ?, stats = ? WHERE id = ?", (now, json.dumps(stats), run))


def end_run(
    conn: sqlite3.Connection, run: int, *, exit_code: int, stats: Mapping[str, Json], now: str
) -> None:
    """Record the end of a run."""
    conn.execute(
        "UPDATE runs SET ended_at = ?, seen_at = ?, exit_code = ?, stats = ? WHERE id = ?",
        (now, now, exit_code, json.dumps(stats), run),
    )


def last_run(conn: sqlite3.Connection, manifest: str) -> sqlite3.Row | None:
    """Return the latest run of a manifest."""
    found: sqlite3.Row | None = conn.execute(
        "SELECT * FROM runs WHERE manifest = ? ORDER BY id DESC LIMIT 1", (manifest,)
    ).fetchone()
    return found


def latest_manifest(conn: sqlite3.Connection) -> str | None:
    """Return the name of the manifest that was run last."""
    row = conn.execute("SELECT manifest FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    return row["manifest"] if row else None


def unended_runs(conn: sqlite3.Connection, *, base_url: str, key12: str) -> list[str]:
    """Return the manifests with a run of this account whose end is not recorded: it goes on, or was killed."""
    rows = conn.execute(
        "SELECT DISTINCT r.manifest FROM runs r JOIN manifests m ON m.name = r.manifest WHERE r.ended_at IS NULL"
        " AND m.base_url = ? AND m.key12 = ?",
        (base_url, key12),
    )
    return [row["manifest"] for row in rows]


def time_left_s(run: sqlite3.Row, now_s: float) -> float | None:
    """Return what a run has last recorded of its time left, in seconds, brought up to now; None if nothing."""
    told = json.loads(run["stats"]).get("eta_s")
    if told is None:
        return None
    age_s = max(now_s - (epoch(run["seen_at"]) or now_s), 0.0)
    return max(float(told) - age_s, 0.0)


# --- uploads ---------------------------------------------------------------------------------


def upload(
    conn: sqlite3.Connection, *, sha256: str, kind: str, model: str, account: str, since: str
) -> Upload | None:
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


def save_upload(
    conn: sqlite3.Connection, *, sha256: str, kind: str, model: str, account: str, copy: Upload, raw: str
) -> None:
    """Remember the remote copy of a file."""
    conn.execute(
        "INSERT OR REPLACE INTO uploads (sha256, kind, model, account, url, file_id, duration_token, duration_s, raw,"
        " uploaded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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


def forget_uploads(conn: sqlite3.Connection, urls: tuple[str, ...]) -> None:
    """Forget remote copies that the service no longer accepts."""
    conn.executemany("DELETE FROM uploads WHERE url = ?", [(url,) for url in urls])


# --- what was learned of the service ----------------------------------------------------------


def save_duration(conn: sqlite3.Connection, *, base_url: str, model: str, shape: str, seconds: float) -> None:
    """Remember how long a task took."""
    conn.execute(
        "INSERT INTO durations (base_url, model, shape, seconds) VALUES (?, ?, ?, ?)",
        (base_url, model, shape, seconds),
    )


def durations(conn: sqlite3.Connection, *, base_url: str, shape: str) -> list[float]:
    """Return the latest durations of a shape, oldest first."""
    rows = conn.execute(
        "SELECT seconds FROM durations WHERE base_url = ? AND shape = ? ORDER BY id DESC LIMIT ?",
        (base_url, shape, DURATIONS_KEPT),
    ).fetchall()
    return [row["seconds"] for row in reversed(rows)]


def shapes_to_come(conn: sqlite3.Connection, manifest: str, limit: int = 500) -> list[str]:
    """Return the shapes of the jobs that still have to run."""
    rows = conn.execute(
        "SELECT DISTINCT shape FROM jobs WHERE manifest = ? AND state IN ('planned', 'uploading', 'submitting',"
        " 'uncertain', 'waiting', 'downloading') LIMIT ?",
        (manifest, limit),
    )
    return [row["shape"] for row in rows]


def prune_durations(conn: sqlite3.Connection) -> None:
    """Keep the newest durations only."""
    conn.execute("DELETE FROM durations WHERE id < (SELECT max(id) - 20000 FROM durations)")


def rate(conn: sqlite3.Connection, account: str) -> float | None:
    """Return the rate an earlier run has found for an account, in requests per second."""
    row = conn.execute("SELECT per_s FROM rates WHERE account = ?", (account,)).fetchone()
    return row["per_s"] if row else None


def any_rate(conn: sqlite3.Connection, base_url: str) -> float | None:
    """Return the latest rate found for any key of a service."""
    row = conn.execute(
        "SELECT per_s FROM rates WHERE substr(account, 1, length(?1) + 1) = ?1 || ' ' ORDER BY found_at DESC LIMIT 1",
        (base_url,),
    ).fetchone()
    return row["per_s"] if row else None


def save_rate(conn: sqlite3.Connection, account: str, per_s: float, now: str) -> None:
    """Remember the rate found for an account."""
    conn.execute(
        "INSERT INTO rates (account, per_s, found_at) VALUES (?, ?, ?) ON CONFLICT (account) DO UPDATE SET"
        " per_s = excluded.per_s, found_at = excluded.found_at",
        (account, per_s, now),
    )


# --- files already hashed ----------------------------------------------------------------------


def result_hosts(conn: sqlite3.Connection, base_url: str) -> list[str]:
    """Return the hosts that have delivered results of a service, the latest first; a port is part of its name."""
    rows = conn.execute(
        "SELECT host FROM result_hosts WHERE base_url = ? ORDER BY seen_at DESC, host", (base_url,)
    )
    return [row["host"] for row in rows]


def save_result_host(conn: sqlite3.Connection, *, base_url: str, host: str, now: str) -> None:
    """Remember that a host has delivered a result."""
    conn.execute(
        "INSERT INTO result_hosts (base_url, host, seen_at) VALUES (?, ?, ?)"
        " ON CONFLICT (base_url, host) DO UPDATE SET seen_at = excluded.seen_at",
        (base_url, host, now),
    )


def hashed(conn: sqlite3.Connection, path: str, *, size: int, mtime_ns: int, inode: int) -> str | None:
    """Return the SHA-256 of a file that looks just as it did when it was hashed."""
    row = conn.execute(
        "SELECT sha256 FROM hashes WHERE path = ? AND size_bytes = ? AND mtime_ns = ? AND inode = ?",
        (path, size, mtime_ns, inode),
    ).fetchone()
    return row["sha256"] if row else None


def save_hashes(conn: sqlite3.Connection, rows: list[tuple[str, int, int, int, str]]) -> None:
    """Remember (path, size, mtime_ns, inode, sha256) of files."""
    conn.executemany(
        "INSERT OR REPLACE INTO hashes (path, size_bytes, mtime_ns, inode, sha256) VALUES (?, ?, ?, ?, ?)",
        rows,
    )


# --- events ------------------------------------------------------------------------------------


def event(
    conn: sqlite3.Connection,
    *,
    at: str,
    run: int | None,
    manifest: str | None,
    job: str | None,
    kind: str,
    data: Mapping[str, Any],
) -> None:
    """Append one row to the story of the workspace."""
    conn.execute(
        "INSERT INTO events (at, run, manifest, job, kind, data) VALUES (?, ?, ?, ?, ?, ?)",
        (at, run, manifest, job, kind, json.dumps(data, ensure_ascii=False)),
    )
