"""Manifests that were handed over: whoever waits for work takes part in them until they have ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.store.connection import Connection
from runner.store.workers import working_sql

WORK = "rivya_batch_work"
_COLUMNS = "id, manifest, path, base_url, asked, terms, sign, session, host, handed_at, ended_at, exit_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A manifest that was handed over.

    `asked` is what was asked for beyond the manifest; `terms` by what it is worked at, hashed; `sign` is the name of a
    file in its folder of results; `session` is that of all who work at it; `host` is where it was handed over.
    """

    id: int
    manifest: str
    path: str
    base_url: str
    asked: Mapping[str, Any]
    terms: str
    sign: str
    session: int
    host: str
    handed_at: str
    ended_at: str | None
    exit_code: int | None


def put(conn: Connection, handed: Handover) -> int:
    """Hand a manifest over, in the place of what was handed over of it before; return its number."""
    conn.execute(
        "UPDATE handovers SET ended_at = ? WHERE manifest = ? AND ended_at IS NULL",
        (handed.handed_at, handed.manifest),
    )
    found = conn.execute(
        "INSERT INTO handovers (manifest, path, base_url, asked, terms, sign, session, host, handed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            handed.manifest,
            handed.path,
            handed.base_url,
            json.dumps(dict(handed.asked)),
            handed.terms,
            handed.sign,
            handed.session,
            handed.host,
            handed.handed_at,
        ),
    ).fetchall()
    conn.execute(f"SELECT pg_notify('{WORK}', '')")  # who waits for work is woken when this is committed
    return int(found[0]["id"])


def open_ones(conn: Connection) -> list[Handover]:
    """Return what was handed over and has not ended, in that order."""
    rows = conn.execute(f"SELECT {_COLUMNS} FROM handovers WHERE ended_at IS NULL ORDER BY id")
    return [_read(row) for row in rows]


def find(conn: Connection, number: int) -> Handover:
    """Return one by its number."""
    row = conn.execute(f"SELECT {_COLUMNS} FROM handovers WHERE id = ?", (number,)).fetchone()
    return _read(row)


def end(conn: Connection, number: int, *, exit_code: int, now: str) -> bool:
    """Record that one has ended, if nobody works at its manifest any more; return whether that is so."""
    rows = conn.execute(
        "UPDATE handovers SET ended_at = ?, exit_code = ? WHERE id = ? AND ended_at IS NULL AND NOT EXISTS"
        f" (SELECT 1 FROM workers w WHERE w.manifest = handovers.manifest AND {working_sql('w')}) RETURNING id",
        (now, exit_code, number),
    ).fetchall()
    return bool(rows)


def _read(row: Any) -> Handover:
    return Handover(**{**dict(row), "asked": json.loads(row["asked"])})
