"""The story of the workspace: one row for each thing that happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.model import Job
from runner.store.connection import Connection

_encode = json.JSONEncoder(ensure_ascii=False).encode


def append(
    conn: Connection,
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
        (at, run, manifest, job, kind, _encode(data)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """The end of a round: `succeeded`, or `failed` with why in `data` (JSON)."""

    kind: str
    data: str


def last(conn: Connection) -> int:
    """Return the number of what happened last."""
    return int(conn.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])


def ends(conn: Connection, manifest: str, *, after: int, most: int = 10) -> list[JobEnd]:
    """Return the last rounds of a manifest that have ended after an event, the oldest first."""
    found = conn.execute(
        "SELECT kind, data FROM events WHERE manifest = ? AND id > ? AND kind IN ('succeeded', 'failed')"
        " ORDER BY id DESC LIMIT ?",
        (manifest, after, most),
    ).fetchall()
    return [JobEnd(kind=row["kind"], data=row["data"]) for row in reversed(found)]


LATEST = 5_000  # events among which one of a job is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Unaccepted:
    """How a submit was answered that was not accepted."""

    status: int | None
    code: str
    message: str


def last_unaccepted(conn: Connection, job: Job) -> Unaccepted | None:
    """Return how the last submit of a job was answered that was not accepted; None where that was long ago."""
    found = conn.execute(
        "SELECT data FROM events WHERE manifest = ? AND id > ? AND job = ? AND kind = 'not_accepted'"
        " ORDER BY id DESC LIMIT 1",
        (job.manifest, last(conn) - LATEST, job.id),
    ).fetchone()
    if not found:
        return None
    said = json.loads(found["data"])
    return Unaccepted(
        status=said.get("status"), code=said.get("code") or "", message=said.get("message") or ""
    )


def outside_runs(conn: Connection, job: Job, now: str, kind: str, **data: object) -> None:
    """Append what happened to a job that no run has done: a person's word, or what was found before one began."""
    append(conn, at=now, run=None, manifest=job.manifest, job=job.id, kind=kind, data=data)
