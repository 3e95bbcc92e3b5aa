"""Read-only queries for those who look back: the report page and `export`.

What is one of a few comes through sqlite-utils (`store.tables`). Plain SQL are those queries that a run asks, or a live page
every second, and those for jobs and results: of these there may be a hundred thousand, and they come as plain tuples.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runner.model import State
from runner.store.connection import Connection
from runner.store.tables import query

_JOBS = """
    SELECT j.id, j.manifest, j.job, j.listed, j.state, j.model, j.prompt, j.params, j.refs, j.axes, j.round,
        j.task_id, j.submitted_at, j.finished_at, j.duration_s, j.attempts, j.polls, j.overdue,
        j.error_class, j.error_code, j.error_message, j.fingerprint, l.estimated, l.reserved, l.charged,
        k.verdict, k.rating, k.word, k.results, k.at, w.off
    FROM jobs j
    LEFT JOIN picks k ON k.job = j.id AND k.round = j.round
    LEFT JOIN switches w ON w.manifest = j.manifest AND w.job = j.job
    LEFT JOIN (
        SELECT job, sum(estimated) AS estimated, sum(CASE WHEN state = 'reserved' THEN amount ELSE 0 END) AS reserved,
            sum(CASE WHEN state = 'reserved' THEN 0 ELSE amount END) AS charged
        FROM ledger WHERE manifest = ?1 {ledger} GROUP BY job
    ) l ON l.job = j.id
    WHERE j.manifest = ?1 {jobs}
    ORDER BY j.listed DESC, j.position, j.id
"""


@contextlib.contextmanager
def snapshot(conn: Connection) -> Iterator[Connection]:
    """Let all queries inside see one moment, also while a run goes on."""
    if conn.in_transaction:
        yield conn
        return
    conn.execute("BEGIN")
    try:
        yield conn
    finally:
        conn.execute("ROLLBACK")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRun:
    """One invocation. What a killed run did not come to record is None."""

    id: int
    command: str
    started_at: str
    ended_at: str | None
    exit_code: int | None
    seconds: float | None
    accepted: int | None
    done: int | None
    failed: int | None
    requests: int | None
    rejections: int | None
    rate_per_s: float | None


def runs(conn: Connection, manifest: str) -> list[ReportRun]:
    """Return the runs of a manifest, oldest first."""
    rows = query(
        conn,
        "SELECT run AS id, command, started_at, ended_at, exit_code, seconds, accepted, done, failed,"
        " CASE WHEN coalesce(submits, polls, uploads) IS NOT NULL THEN coalesce(submits, 0) + coalesce(polls, 0)"
        " + coalesce(uploads, 0) END AS requests, rejections, rate_per_s FROM v_runs WHERE manifest = ? ORDER BY run",
        (manifest,),
    )
    return [ReportRun(**row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCredits:
    """Credits of one model over all runs and rounds."""

    model: str
    payments: int
    estimated: float
    reserved: float
    charged: float
    released: float


def credits_by_model(conn: Connection, manifest: str) -> list[ModelCredits]:
    """Return the credits of each model over all days and rounds, by the model's name."""
    rows = query(
        conn,
        "SELECT model, sum(payments) AS payments, sum(estimated) AS estimated, sum(reserved) AS reserved,"
        " sum(charged) AS charged, sum(released) AS released FROM v_credits WHERE manifest = ?"
        " GROUP BY model ORDER BY model",
        (manifest,),
    )
    return [ModelCredits(**row) for row in rows]


class ReferenceRow(NamedTuple):
    """A reference of a job: its path as the manifest names it, and as the system does.

    `is_result` says that it is another job's; it has no file before that is bound.
    """

    path: str
    file: str
    mime: str
    size_bytes: int
    is_result: bool


def references(text: str) -> list[ReferenceRow]:
    """Read the column `refs`."""
    if text == "[]":
        return []
    return [
        ReferenceRow(item["path"], item["file"], item["mime"], item["size_bytes"], "of" in item)
        for item in json.loads(text)
    ]


class JobRow(NamedTuple):
    """A job, listed or not. Credits are sums over all its rounds; `round` says how many there were.

    `params` and `axes` are JSON, `refs` is read by `references`.
    """

    row: int
    manifest: str
    job: str
    listed: int  # 0 or 1
    state: str
    model: str
    prompt: str | None
    params: str
    refs: str
    axes: str
    round: int
    task_id: str | None
    submitted_at: str | None
    finished_at: str | None
    duration_s: float | None
    attempts: int
    polls: int
    overdue: int  # 0 or 1
    error_class: str | None
    error_code: str | None
    error_message: str | None
    fingerprint: str
    estimated: float | None
    reserved: float | None
    charged: float | None
    verdict: str | None  # what a person thinks of its present round; None where nobody has said
    rating: int | None
    word: str | None
    picked: str | None  # JSON: which of its results are
    marked_at: str | None
    switch: int | None  # 1: a person has switched it off

    @property
    def off(self) -> bool:
        """Whether it is switched off, and nothing was sent that this would come too late for."""
        return self.switch == 1 and self.listed == 1 and self.state in (State.PLANNED, State.UPLOADING)


def job_rows(conn: Connection, manifest: str, rows: Sequence[int] | None = None) -> Iterator[JobRow]:
    """Yield the jobs of a manifest: the listed ones in its order, then those it no longer lists.

    Args:
        conn: A connection that may be read-only.
        manifest: The manifest's name.
        rows: Row numbers of the jobs wanted; None for every job.
    """
    if rows is None:
        yield from map(JobRow._make, conn.execute(_JOBS.format(ledger="", jobs=""), (manifest,)))
        return
    chosen = "IN (SELECT value FROM json_each(?2))"
    query = _JOBS.format(ledger=f"AND job {chosen}", jobs=f"AND j.id {chosen}")
    yield from map(JobRow._make, conn.execute(query, (manifest, json.dumps(rows))))


class ArtifactRow(NamedTuple):
    """A result that has a file; `row` is its job's."""

    row: int
    number: int
    path: str
    size_bytes: int
    mime: str
    warning: str | None


def artifact_rows(
    conn: Connection, manifest: str, rows: Sequence[int] | None = None
) -> Iterator[ArtifactRow]:
    """Yield the results that have a file, by job and number."""
    chosen, given = (
        ("", ()) if rows is None else (" AND a.job IN (SELECT value FROM json_each(?2))", (json.dumps(rows),))
    )
    found = conn.execute(
        "SELECT a.job, a.number, a.path, a.size_bytes, a.mime, a.warning FROM artifacts a JOIN jobs j ON j.id = a.job"
        f" WHERE j.manifest = ?1{chosen} AND a.path <> '' ORDER BY a.job, a.number",
        (manifest, *given),
    )
    yield from map(ArtifactRow._make, found)


def models(conn: Connection, manifest: str) -> list[str]:
    """Return the models of a manifest's jobs, by name."""
    rows = query(conn, "SELECT DISTINCT model FROM jobs WHERE manifest = ? ORDER BY model", (manifest,))
    return [row["model"] for row in rows]


class Failures(NamedTuple):
    """How many jobs are in one state for one reason, in the same words."""

    state: str
    error_class: str
    message: str
    number: int


def failures(conn: Connection, manifest: str) -> list[Failures]:
    """Return what `v_failures` lists, the commonest message of each kind first.

    Tasks that are only overdue are not among them. The class of paid work that does not come home is what keeps it.
    """
    rows = conn.execute(
        "SELECT state, coalesce(CASE WHEN state IN ('waiting', 'downloading') THEN error_code ELSE error_class END,"
        " 'other') AS class,"
        " coalesce(error_message, '') AS message, count(*) AS n"
        " FROM jobs WHERE manifest = ? AND (state = 'uncertain' OR (state = 'failed' AND listed = 1)"
        "   OR (state IN ('waiting', 'downloading') AND error_code IS NOT NULL))"
        " GROUP BY state, class, message ORDER BY n DESC, min(position)",
        (manifest,),
    )
    return [Failures._make(row) for row in rows]


class FailedJobs(NamedTuple):
    """Jobs that failed, or are uncertain, for one reason: the commonest words, the first of them, and their estimates."""

    state: str
    error_class: str
    number: int
    message: str
    jobs: tuple[str, ...]
    credits: float  # what their last rounds were thought to cost


def failed_jobs(conn: Connection, manifest: str, examples: int = 3) -> list[FailedJobs]:
    """Return what failed and what is uncertain by kind, most first."""
    which = "j.manifest = ?1 AND (j.state = 'uncertain' OR (j.state = 'failed' AND j.listed = 1))"
    kind = "j.state, coalesce(j.error_class, 'other')"
    first: dict[tuple[str, str], list[str]] = {}
    for state, cls, job in conn.execute(
        "SELECT state, class, job FROM (SELECT j.state, coalesce(j.error_class, 'other') AS class, j.job,"
        f" row_number() OVER (PARTITION BY {kind} ORDER BY j.position, j.id) AS n FROM jobs j WHERE {which}) AS each"
        " WHERE n <= ?2 ORDER BY n",
        (manifest, examples),
    ):
        first.setdefault((state, cls), []).append(job)
    costs = {
        (state, cls): float(credits or 0.0)
        for state, cls, credits in conn.execute(
            "SELECT j.state, coalesce(j.error_class, 'other') AS class, sum(l.estimated) FROM jobs j"
            f" JOIN ledger l ON l.job = j.id AND l.round = j.round WHERE {which} GROUP BY 1, 2",
            (manifest,),
        )
    }
    found: dict[tuple[str, str], FailedJobs] = {}
    for each in failures(conn, manifest):  # the commonest words of a kind come first
        key = (each.state, each.error_class)
        if key not in first:
            continue
        known = found.get(key)
        if known is None:
            known = FailedJobs(*key, 0, each.message, tuple(first[key]), costs.get(key, 0.0))
        found[key] = known._replace(number=known.number + each.number)
    return sorted(found.values(), key=lambda group: -group.number)


def cost_of_failed(conn: Connection, manifest: str) -> float:
    """Return the credits that count for the failed jobs of a manifest, as far as it lists them still."""
    row = conn.execute(
        "SELECT coalesce(sum(l.amount), 0) FROM ledger l JOIN jobs j ON j.id = l.job"
        " WHERE j.manifest = ? AND j.state = 'failed' AND j.listed = 1",
        (manifest,),
    ).fetchone()
    return float(row[0])


# --- following a manifest while it runs --------------------------------------------------------


def shape(conn: Connection, manifest: str) -> tuple[int, str]:
    """Return what differs whenever the list of jobs itself may have changed: when a run takes up the manifest."""
    row = conn.execute(
        "SELECT (SELECT coalesce(max(id), 0) FROM runs WHERE manifest = ?1) AS run,"
        " (SELECT coalesce(max(updated_at), '') FROM manifests WHERE name = ?1) AS bound",
        (manifest,),
    ).fetchone()
    return row["run"], row["bound"]


def last_event(conn: Connection, manifest: str) -> int:
    """Return the number of the latest event of a manifest, 0 for none."""
    found = conn.execute("SELECT max(id) FROM events WHERE manifest = ?", (manifest,)).fetchone()
    return found[0] or 0


def versions(
    conn: Connection, manifest: str, *, since: str = "", event: int = 0
) -> tuple[dict[int, int], str]:
    """Return the version of every job that may have changed, by row number, and the latest `updated_at` of them.

    Those updated at `since` or later, and those of which an event after `event` tells: the wall clock
    can be set back, events cannot.
    """
    rows = conn.execute(
        "SELECT id, version, updated_at FROM jobs WHERE manifest = ?1 AND (updated_at >= ?2"
        " OR job IN (SELECT job FROM events WHERE manifest = ?1 AND id > ?3))",
        (manifest, since, event),
    ).fetchall()
    return {row["id"]: row["version"] for row in rows}, max(
        (row["updated_at"] for row in rows), default=since
    )


def job_order(conn: Connection, manifest: str) -> list[int]:
    """Return the row numbers of all jobs as `job_rows` yields them."""
    rows = conn.execute(
        "SELECT id FROM jobs WHERE manifest = ? ORDER BY listed DESC, position, id", (manifest,)
    )
    return [row["id"] for row in rows]


def artifact_file(conn: Connection, manifest: str, *, row: int, number: int) -> tuple[str, str] | None:
    """Return (absolute path, mime) of one result of a job of this manifest; None where there is none."""
    found = conn.execute(
        "SELECT a.path, a.mime FROM artifacts a JOIN jobs j ON j.id = a.job"
        " WHERE j.manifest = ? AND a.job = ? AND a.number = ? AND a.path <> ''",
        (manifest, row, number),
    ).fetchone()
    return (found["path"], found["mime"]) if found else None


def reference_file(conn: Connection, manifest: str, *, row: int, number: int) -> tuple[str, str] | None:
    """Return (absolute path, mime) of one reference of a job of this manifest, counted from 1."""
    found = conn.execute("SELECT refs FROM jobs WHERE manifest = ? AND id = ?", (manifest, row)).fetchone()
    named = references(found["refs"]) if found else []
    if not 1 <= number <= len(named):
        return None
    return named[number - 1].file, named[number - 1].mime


def job_ids(
    conn: Connection, manifest: str, *, prefix: str, for_a_person: bool, limit: int
) -> list[tuple[str, str]]:
    """Return (id, state) of jobs whose id begins so, in the manifest's order.

    Args:
        conn: A connection that may be read-only.
        manifest: The manifest's name.
        prefix: How the id begins.
        for_a_person: Only those that `resolve` is for: uncertain, or paid and not coming home, listed or not. Else all
            that are listed.
        limit: The most that are returned.
    """
    which = (
        "(state = 'uncertain' OR (state IN ('waiting', 'downloading') AND (error_code IS NOT NULL OR overdue = 1)))"
        if for_a_person
        else "listed = 1"
    )
    rows = conn.execute(
        f"SELECT job, state FROM jobs WHERE manifest = ?1 AND substr(job, 1, length(?2)) = ?2 AND {which}"
        " ORDER BY position, id LIMIT ?3",
        (manifest, prefix, limit),
    )
    return [(row["job"], row["state"]) for row in rows]


def name_at(conn: Connection, path: str) -> str | None:
    """Return the name of the manifest that was last run from a file, if any."""
    found = conn.execute(
        "SELECT name FROM manifests WHERE path = ? ORDER BY updated_at DESC LIMIT 1", (path,)
    ).fetchone()
    return found["name"] if found else None
