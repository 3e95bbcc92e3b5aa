"""The story of the workspace: one row for each thing that happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner.model import Job
from runner.store.connection import Connection


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
        (at, run, manifest, job, kind, json.dumps(data, ensure_ascii=False)),
    )


def outside_runs(conn: Connection, job: Job, now: str, kind: str, **data: object) -> None:
    """Append what happened to a job that no run has done: a person's word, or what was found before one began."""
    append(conn, at=now, run=None, manifest=job.manifest, job=job.id, kind=kind, data=data)
