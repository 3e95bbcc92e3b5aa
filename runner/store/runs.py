"""Runs: when each began, how it goes, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.host.clock import epoch
from runner.model import Json
from runner.store.connection import Connection
from runner.store.workers import working_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of a manifest. Times are RFC 3339; `ended_at` and `exit_code` are None until its end is recorded.

    `stats` is what it has last recorded of how it goes, at `seen_at`.
    """

    id: int
    manifest: str
    command: str
    pid: int
    host: str
    started_at: str
    seen_at: str
    ended_at: str | None
    exit_code: int | None
    stats: Mapping[str, Any]


def begin(
    conn: Connection, *, manifest: str, command: str, pid: int, host: str, version: str, now: str
) -> int:
    """Record the start of a run and return its number."""
    begun = conn.execute(
        "INSERT INTO runs (manifest, command, pid, host, version, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " RETURNING id",
        (manifest, command, pid, host, version, now, now),
    ).fetchall()
    return int(begun[0]["id"])


def touch(conn: Connection, run: int, *, stats: Mapping[str, Json], now: str) -> None:
    """Say that a run is alive, and how it goes."""
    conn.execute("UPDATE runs SET seen_at = ?, stats = ? WHERE id = ?", (now, json.dumps(stats), run))


def end(conn: Connection, run: int, *, exit_code: int, stats: Mapping[str, Json], now: str) -> None:
    """Record the end of a run."""
    conn.execute(
        "UPDATE runs SET ended_at = ?, seen_at = ?, exit_code = ?, stats = ? WHERE id = ?",
        (now, now, exit_code, json.dumps(stats), run),
    )


def last(conn: Connection, manifest: str) -> RunRecord | None:
    """Return the latest run of a manifest, if any; where several worked at it together, the latest that still does."""
    found = conn.execute(
        "SELECT id, manifest, command, pid, host, started_at, seen_at, ended_at, exit_code, stats FROM runs"
        f" WHERE manifest = ? ORDER BY id IN (SELECT w.run FROM workers w WHERE {working_sql('w')}) DESC, id DESC LIMIT 1",
        (manifest,),
    ).fetchone()
    return RunRecord(**{**dict(found), "stats": json.loads(found["stats"])}) if found else None


def latest_manifest(conn: Connection) -> str | None:
    """Return the name of the manifest that was run last."""
    row = conn.execute("SELECT manifest FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    return row["manifest"] if row else None


def unended(conn: Connection, *, base_url: str, key12: str) -> list[str]:
    """Return the manifests with a run of this account whose end is not recorded: it goes on, or was killed."""
    rows = conn.execute(
        "SELECT DISTINCT r.manifest FROM runs r JOIN manifests m ON m.name = r.manifest WHERE r.ended_at IS NULL"
        " AND m.base_url = ? AND m.key12 = ?",
        (base_url, key12),
    )
    return [row["manifest"] for row in rows]


def time_left_s(run: RunRecord, now_s: float) -> float | None:
    """Return what a run has last recorded of its time left, in seconds, brought up to now; None if nothing."""
    told = run.stats.get("eta_s")
    if told is None:
        return None
    age_s = max(now_s - (epoch(run.seen_at) or now_s), 0.0)
    return max(float(told) - age_s, 0.0)
