"""The diff between what a manifest lists and what the database knows, as `plan` reads it once it is staged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from runner.lifecycle.selection import Only, fits
from runner.store.connection import Connection
from runner.store.jobs import NEVER_SENT_SQL, UNDER_WAY_SQL
from runner.store.staging import CHANGE, gone_sql, is_restaged, shown_change
from runner.store.switches import Switchable


def summary(conn: Connection, manifest: str) -> dict[str, int]:
    """Return the counts of a staged diff by change, `orphaned` included."""
    if is_restaged(conn):  # the index alone answers this
        rows = conn.execute(
            f"SELECT {CHANGE} AS change, count(*) AS n FROM jobs j INDEXED BY jobs_by_state"
            " WHERE manifest = ? AND listed = 1 GROUP BY change",
            (manifest,),
        )
    else:
        rows = conn.execute("SELECT change, count(*) AS n FROM incoming GROUP BY change")
    found = {row["change"]: int(row["n"]) for row in rows}
    off = conn.execute(
        "SELECT change, count(*) AS n FROM incoming WHERE job IN (SELECT job FROM switched) GROUP BY change"
    )
    for row in off.fetchall():
        found[row["change"]] -= int(row["n"])
        found["off"] = found.get("off", 0) + int(row["n"])
    found["orphaned"] = int(
        conn.execute(f"SELECT count(*) FROM {orphans_sql(conn)}", (manifest,)).fetchone()[0]
    )
    return found


def orphans_sql(conn: Connection) -> str:
    """Rows no longer listed that still mean money or a result; what was never sent is just dropped."""
    return (
        f"(SELECT * FROM jobs WHERE {gone_sql(conn)}"
        f" AND (state NOT IN {NEVER_SENT_SQL} OR EXISTS (SELECT 1 FROM ledger l WHERE l.job = jobs.id))) AS orphans"
    )


def off_and_changed(conn: Connection) -> bool:
    """Return whether something that is switched off would be new, edited or renamed."""
    found = conn.execute(
        "SELECT 1 FROM incoming WHERE job IN (SELECT job FROM switched) AND change <> 'planned' LIMIT 1"
    )
    return found.fetchone() is not None


class ToSpend(NamedTuple):
    """What jobs come to that a run would submit, in credits."""

    jobs: int
    credits: float  # expected
    reserve: float  # set aside
    margin: float  # how much more than its estimate is set aside for one of them, at most


def to_spend(conn: Connection) -> dict[str, ToSpend]:
    """Return what all that a run would submit comes to, by the basis of its estimates."""
    rows = conn.execute(
        "SELECT basis, count(*) AS n, sum(estimate) AS credits, sum(reserve) AS reserve,"
        " max(reserve - estimate) AS margin FROM incoming WHERE sends = 1 GROUP BY basis"
    )
    return {row["basis"]: ToSpend(row["n"], row["credits"], row["reserve"], row["margin"]) for row in rows}


def paid_under_other_names(conn: Connection, manifest: str, base_url: str) -> list[tuple[str, int, int]]:
    """Return (name, jobs done, jobs under way) for each other manifest that has paid for what a run would submit."""
    rows = conn.execute(
        "SELECT j.manifest, count(DISTINCT CASE WHEN j.state = 'done' THEN i.position END) AS done,"
        f" count(DISTINCT CASE WHEN j.state IN {UNDER_WAY_SQL} THEN i.position END) AS under_way"
        " FROM incoming i CROSS JOIN jobs j INDEXED BY jobs_by_fingerprint ON j.fingerprint = i.fingerprint"
        f" CROSS JOIN manifests m ON m.name = j.manifest WHERE i.sends = 1 AND j.manifest <> ?1 AND m.base_url = ?2"
        f" AND (j.state = 'done' OR j.state IN {UNDER_WAY_SQL}) GROUP BY j.manifest ORDER BY j.manifest",
        (manifest, base_url),
    )
    found = [(row["manifest"], row["done"], row["under_way"]) for row in rows]
    return sorted(found, key=lambda each: -each[1] - each[2])


def above(conn: Connection, credits: float) -> int:
    """Return how many of the jobs that a run would submit come to more than this, earlier rounds included."""
    found = conn.execute(
        "SELECT count(*) FROM incoming i WHERE i.sends = 1"
        " AND i.reserve + (SELECT coalesce(sum(amount), 0) FROM ledger WHERE job = i.row) > ?",
        (credits,),
    ).fetchone()
    return int(found[0])


def names_any(conn: Connection, only: Only) -> bool:
    """Say whether a job of the manifest is one of these."""
    return any(fits(only, row["job"]) for row in conn.execute("SELECT job FROM incoming"))


def switchable(conn: Connection) -> list[Switchable]:
    """Return all staged jobs as they can be switched off, in order."""
    rows = conn.execute("SELECT job, fingerprint, row FROM incoming ORDER BY position")
    return [Switchable(row["job"], row["fingerprint"], row["row"]) for row in rows]


class PlannedFrame(NamedTuple):
    """A staged job as the page of a plan shows it before there is a row of it; `axes`, `params` and `refs` are JSON."""

    position: int
    job: str
    fingerprint: str
    model: str
    prompt: str | None
    params: str
    refs: str
    axes: str
    shape: str
    row: int | None
    sends: int
    off: int
    state: str  # `planned` for one without a row


def frames(conn: Connection) -> list[PlannedFrame]:
    """Return all staged jobs, in order."""
    rows = conn.execute(
        "SELECT i.position, i.job, i.fingerprint, i.model, i.prompt, i.params, i.refs, i.axes, i.shape, i.row, i.sends,"
        " i.job IN (SELECT job FROM switched) AS off, coalesce(j.state, 'planned') AS state"
        " FROM incoming i LEFT JOIN jobs j ON j.id = i.row ORDER BY i.position"
    )
    return [PlannedFrame._make(row) for row in rows]


class PlanLine(NamedTuple):
    """One job of the plan, as it is staged; `state` and what follows from payments are the database's.

    `params` is JSON, `refs` is read by `reporting.references`. A plain tuple: there may be a hundred thousand.
    """

    position: int
    job: str
    change: str
    cause: str  # what has changed, with spaces between: "prompt params"
    was: str  # the name it had, where it is renamed
    state: str
    model: str
    prompt: str | None
    params: str
    refs: str
    output: str
    estimate: float | None  # this and `basis`: of what a run would submit
    basis: str | None
    sends: int  # 1 where a run would submit it
    charged: float | None
    reserved: float | None
    round: int
    error_class: str | None
    error_message: str | None
    task_id: str | None
    fingerprint: str


def lines(conn: Connection, manifest: str) -> Iterator[PlanLine]:
    """Yield the plan job by job, orphans last."""
    staged = conn.execute(
        f"SELECT i.position, i.job, {shown_change(conn, 'i')} AS change,"
        " i.cause, i.was, coalesce(j.state, 'new') AS state, i.model, i.prompt, i.params,"
        " i.refs, i.output, i.estimate, i.basis, i.sends, l.charged,"
        " CASE WHEN l.state = 'reserved' THEN l.amount END AS reserved,"
        " coalesce(j.round, 1) AS round, j.error_class, j.error_message, j.task_id, i.fingerprint"
        " FROM incoming i LEFT JOIN jobs j ON j.id = i.row LEFT JOIN ledger l ON l.job = j.id AND l.round = j.round"
        " ORDER BY i.position"
    )
    yield from map(PlanLine._make, staged)
    orphaned = conn.execute(
        "SELECT orphans.position, orphans.job, 'orphaned' AS change, '' AS cause, '' AS was, orphans.state, orphans.model,"
        " orphans.prompt, orphans.params, orphans.refs, orphans.output, 0.0 AS estimate, '' AS basis, 0 AS sends, l.charged,"
        " CASE WHEN l.state = 'reserved' THEN l.amount END AS reserved, orphans.round, orphans.error_class,"
        " orphans.error_message, orphans.task_id, orphans.fingerprint"
        f" FROM {orphans_sql(conn)} LEFT JOIN ledger l ON l.job = orphans.id AND l.round = orphans.round"
        " ORDER BY orphans.id",
        (manifest,),
    )
    yield from map(PlanLine._make, orphaned)


class Candidate(NamedTuple):
    """A staged job that has no result as far as the database knows, and how far it has come.

    A plain tuple: there may be a hundred thousand.
    """

    position: int
    job: str
    fingerprint: str
    output: str
    state: str
    round: int
    key: str | None
    edition: int


def candidates(conn: Connection) -> Iterator[Candidate]:
    """Yield all that would be paid for, or may come to be paid for again: sidecars are looked for."""
    rows = conn.execute(
        "SELECT i.position, i.job, i.fingerprint, i.output, coalesce(j.state, 'planned'), coalesce(j.round, 1), j.key,"
        " coalesce(j.edition, 0)"
        " FROM incoming i LEFT JOIN jobs j ON j.id = i.row"
        " WHERE i.sends = 1 OR i.change NOT IN ('new', 'planned', 'changed', 'renamed', 'done') ORDER BY i.position"
    )
    return map(Candidate._make, rows)


def to_be_written(conn: Connection) -> Iterator[str]:
    """Yield the output names of the staged jobs whose results are not in their places yet."""
    rows = conn.execute(
        "SELECT i.output FROM incoming i LEFT JOIN jobs j ON j.id = i.row"
        " WHERE j.id IS NULL OR NOT (j.state = 'abandoned' OR (j.state = 'done' AND j.output = i.output"
        " AND EXISTS (SELECT 1 FROM artifacts a WHERE a.job = j.id AND a.path <> '')))"
    )
    return (row["output"] for row in rows)


def to_upload(conn: Connection) -> tuple[int, int]:
    """Return how many distinct files a run would upload, at most, and their bytes."""
    files: dict[tuple[str, str], int] = {}
    for row in conn.execute("SELECT DISTINCT model, refs FROM incoming WHERE sends = 1 AND refs <> '[]'"):
        for item in json.loads(row["refs"]):
            files[item["sha256"] or item["path"], row["model"]] = item["size_bytes"]
    return len(files), sum(files.values())


def shapes_to_send(conn: Connection, limit: int = 200) -> list[str]:
    """Return the shapes of what a run would send."""
    rows = conn.execute("SELECT DISTINCT shape FROM incoming WHERE sends = 1 LIMIT ?", (limit,))
    return [row["shape"] for row in rows]
