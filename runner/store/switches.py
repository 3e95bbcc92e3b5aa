"""Which jobs a person has switched off: they are not submitted until they are switched on again.

A switch belongs to an id, so that a job stays off when its prompt is edited. It means something only while nothing was
sent: what was sent is paid for, and cannot be switched off any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from runner.model import State
from runner.store.connection import Connection
from runner.store.jobs import NEVER_SENT_SQL

_PUT = (
    "INSERT INTO switches (manifest, job, off, serial, at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (manifest, job) DO UPDATE SET off = excluded.off, serial = excluded.serial, at = excluded.at"
)


class Switchable(NamedTuple):
    """A job as a person sees it: what it is made of, and its row where it has one (under another id, perhaps)."""

    id: str
    fingerprint: str
    row: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """The ids that are switched the other way now, and those that were sent already, so that they were left alone."""

    changed: tuple[str, ...]
    sent: tuple[str, ...]


def put(conn: Connection, manifest: str, jobs: Iterable[Switchable], *, off: bool, now: str) -> Switched:
    """Switch jobs off, or on again.

    Args:
        conn: A connection in a transaction that writes: a submit commits its intent before or after it, never between.
        manifest: The manifest's name.
        jobs: Which.
        off: Whether they are not to be submitted.
        now: RFC 3339.
    """
    known, serial = off_ids(conn, manifest), last(conn, manifest)
    changed, sent = list[str](), list[str]()
    for job in jobs:
        if (job.id in known) == off:
            continue
        if off and _is_sent(conn, manifest, job):
            sent.append(job.id)
            continue
        serial += 1
        conn.execute(_PUT, (manifest, job.id, int(off), serial, now))
        changed.append(job.id)
    return Switched(changed=tuple(changed), sent=tuple(sent))


def _is_sent(conn: Connection, manifest: str, job: Switchable) -> bool:
    return (
        conn.execute(
            "SELECT 1 FROM jobs WHERE manifest = ? AND fingerprint = ? AND listed = 1 AND (job = ? OR id = ?)"
            f" AND state NOT IN {NEVER_SENT_SQL} LIMIT 1",
            (manifest, job.fingerprint, job.id, -1 if job.row is None else job.row),
        ).fetchone()
        is not None
    )


def listed(conn: Connection, manifest: str, rows: Collection[int]) -> list[Switchable]:
    """Return the jobs of these rows that are listed."""
    found = conn.execute(
        "SELECT id, job, fingerprint FROM jobs WHERE manifest = ?1 AND listed = 1"
        " AND id IN (SELECT value FROM json_each(?2))",
        (manifest, json.dumps(sorted(rows))),
    )
    return [Switchable(row["job"], row["fingerprint"], row["id"]) for row in found]


def off_ids(conn: Connection, manifest: str) -> frozenset[str]:
    """Return the ids that are switched off, whether the manifest lists them or not."""
    rows = conn.execute("SELECT job FROM switches WHERE manifest = ? AND off = 1", (manifest,))
    return frozenset(row["job"] for row in rows)


def ask(conn: Connection, manifest: str, job: str) -> Callable[[], bool]:
    """Ask whether an id is switched off; a server is asked together with what is asked of it before the answer is."""
    cursor = conn.execute("SELECT off FROM switches WHERE manifest = ? AND job = ?", (manifest, job))

    def is_off() -> bool:
        found = cursor.fetchone()
        return found is not None and bool(found["off"])

    return is_off


def last(conn: Connection, manifest: str) -> int:
    """Return the number of the latest change, 0 for none."""
    found = conn.execute("SELECT max(serial) AS n FROM switches WHERE manifest = ?", (manifest,)).fetchone()
    return int(found["n"] or 0)


def changed(conn: Connection, manifest: str, since: int) -> tuple[int, ...]:
    """Return the rows of listed jobs that were switched after the change `since`."""
    rows = conn.execute(
        "SELECT j.id FROM switches s JOIN jobs j ON j.manifest = s.manifest AND j.job = s.job AND j.listed = 1"
        " WHERE s.manifest = ? AND s.serial > ?",
        (manifest, since),
    )
    return tuple(row["id"] for row in rows)


def counts(conn: Connection, manifest: str) -> Mapping[State, int]:
    """Return how many listed jobs are switched off, by the states in which that means something."""
    rows = conn.execute(
        "SELECT j.state, count(*) AS n FROM switches s JOIN jobs j ON j.manifest = s.manifest AND j.job = s.job"
        f" WHERE s.manifest = ? AND s.off = 1 AND j.listed = 1 AND j.state IN {NEVER_SENT_SQL} GROUP BY j.state",
        (manifest,),
    )
    return {State(row["state"]): int(row["n"]) for row in rows}
