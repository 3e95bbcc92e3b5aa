"""Which jobs were begun by the runs that began together, where a number of them is all that may be: `--limit`, `--canary`.

A session is the runs that work at one manifest by one word; its number is that of its first run. What counts is rows,
so it holds whoever begins a job, and whoever dies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.store.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many new jobs a session may begin: `limit` in all, and no more than `canary` before so many are done."""

    session: int
    limit: int | None = None
    canary: int | None = None

    @property
    def counts(self) -> bool:
        """Whether there is anything to count."""
        return self.limit is not None or self.canary is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a session has begun: how many jobs, and how many more it may begin now.

    `canaries` says how many are done of those the rest waits for: None once it waits no more. `failed` says that one
    of them never will be.
    """

    jobs: int
    room: float
    canaries: int | None
    failed: str | None


def stand(conn: Connection, quota: Quota) -> Begun:
    """Return what the runs of a session have begun."""
    row = conn.execute(
        "SELECT count(*) AS begun, coalesce(sum(CASE WHEN j.state = 'done' THEN 1 ELSE 0 END), 0) AS done,"
        " min(CASE WHEN j.state IN ('failed', 'abandoned') THEN 'failed' WHEN j.state = 'uncertain' THEN 'is uncertain' END)"
        " AS failed FROM begun_jobs b JOIN jobs j ON j.id = b.job WHERE b.session = ?",
        (quota.session,),
    ).fetchone()
    begun, done = int(row["begun"]), int(row["done"])
    most = math.inf if quota.limit is None else quota.limit
    waits = quota.canary is not None and done < quota.canary
    if waits and quota.canary is not None:
        most = min(most, quota.canary)
    return Begun(
        jobs=begun,
        room=max(most - begun, 0),
        canaries=done if waits else None,
        failed=row["failed"] if waits else None,
    )


def may_begin(conn: Connection, quota: Quota, job: int) -> bool:
    """Say whether a job may be begun, and count it; one that was counted may in any case."""
    known = conn.execute(
        "SELECT 1 FROM begun_jobs WHERE session = ? AND job = ?", (quota.session, job)
    ).fetchone()
    if known is not None:
        return True
    now = stand(conn, quota)
    if now.room <= 0 or now.failed:
        return False
    conn.execute("INSERT INTO begun_jobs (session, job) VALUES (?, ?)", (quota.session, job))
    return True
