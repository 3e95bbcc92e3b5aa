"""What a manifest lists, held against what the database knows: the diff, and its application.

All expanded jobs are staged in a temporary table first, so 100,000 of them never sit in memory and
a mistake in the last one leaves the database untouched. `plan` reads the diff; `run` applies it in
one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.fingerprint import canonical
from runner.model import Estimate, JobSpec, State
from runner.store import ledger
from runner.store.jobs import references_json

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode

NEVER_SENT_SQL = "('planned', 'uploading', 'ready')"

_STAGE = """
    CREATE TEMP TABLE incoming (
        position INTEGER PRIMARY KEY,
        job TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        model TEXT NOT NULL,
        prompt TEXT,
        params TEXT NOT NULL,
        refs TEXT NOT NULL,
        axes TEXT NOT NULL,
        shape TEXT NOT NULL,
        output TEXT NOT NULL,
        estimate REAL NOT NULL,
        reserve REAL NOT NULL,
        basis TEXT NOT NULL,
        row INTEGER,
        change TEXT NOT NULL DEFAULT 'new',
        cause TEXT NOT NULL DEFAULT '',
        was TEXT NOT NULL DEFAULT ''
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedJob:
    """A spec with what the plan knows of its price."""

    spec: JobSpec
    shape: str
    estimate: Estimate


def stage(conn: sqlite3.Connection, manifest: str, jobs: Iterable[StagedJob]) -> int:
    """Stage all jobs of a manifest and compute the diff; return how many were staged.

    Works on a read-only database too: the table is temporary.
    """
    conn.execute("DROP TABLE IF EXISTS temp.incoming")
    conn.execute(_STAGE)
    conn.execute("BEGIN")
    try:
        conn.executemany(
            "INSERT INTO incoming (position, job, fingerprint, model, prompt, params, refs, axes, shape, output, estimate,"
            " reserve, basis) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _rows(jobs),
        )
        conn.execute("CREATE INDEX temp.incoming_job ON incoming (job, fingerprint)")
        conn.execute("CREATE INDEX temp.incoming_fingerprint ON incoming (fingerprint)")
        _compare(conn, manifest)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    found = conn.execute("SELECT count(*) FROM incoming").fetchone()
    return int(found[0])


def _rows(jobs: Iterable[StagedJob]) -> Iterator[tuple[Any, ...]]:
    texts: dict[int, str] = {}
    keep: list[object] = []
    for position, item in enumerate(jobs):
        spec = item.spec
        # Most jobs of a run share one params object: dump each object once.
        params = texts.get(id(spec.params))
        if params is None:
            params = _encode(spec.params)
            if len(texts) < 10_000:
                texts[id(spec.params)] = params
                keep.append(spec.params)
        yield (
            position,
            spec.id,
            spec.fingerprint,
            spec.model,
            spec.prompt,
            params,
            references_json(spec.references) if spec.references else "[]",
            _encode(spec.axes) if spec.axes else "{}",
            item.shape,
            spec.output,
            item.estimate.credits,
            item.estimate.reserve,
            item.estimate.basis.value,
        )


def _compare(conn: sqlite3.Connection, manifest: str) -> None:
    # 1. The same id and fingerprint: the same job, wherever it stands in the file now.
    conn.execute(
        "UPDATE incoming SET row = j.id, change = CASE WHEN j.state IN ('planned', 'uploading', 'ready') THEN 'planned'"
        " WHEN j.state IN ('submitting', 'waiting', 'downloading') THEN 'running' ELSE j.state END"
        " FROM jobs j WHERE j.manifest = ? AND j.job = incoming.job AND j.fingerprint = incoming.fingerprint",
        (manifest,),
    )
    # 2. A new id with the fingerprint of a row that is no longer listed takes that row over: the one
    # that is nearest to a result, so that nothing paid is left aside while its twin is paid for again.
    # (A table of its own with a key: two subqueries would be compared row by row with row.)
    conn.execute("DROP TABLE IF EXISTS temp.free_rows")
    conn.execute(
        "CREATE TEMP TABLE free_rows (fingerprint TEXT, n INTEGER, id INTEGER, job TEXT,"
        " PRIMARY KEY (fingerprint, n)) WITHOUT ROWID"
    )
    conn.execute(
        "INSERT INTO free_rows SELECT fingerprint, row_number() OVER (PARTITION BY fingerprint ORDER BY"
        "   CASE state WHEN 'done' THEN 0 WHEN 'downloading' THEN 1 WHEN 'waiting' THEN 2 WHEN 'submitting' THEN 3"
        "   WHEN 'uncertain' THEN 4 WHEN 'failed' THEN 6 WHEN 'abandoned' THEN 7 ELSE 5 END, position, id), id, job"
        " FROM jobs WHERE manifest = ?1 AND id NOT IN (SELECT row FROM incoming WHERE row IS NOT NULL)"
        "   AND fingerprint IN (SELECT fingerprint FROM incoming WHERE row IS NULL)",
        (manifest,),
    )
    conn.execute(
        "UPDATE incoming SET row = m.id, change = 'renamed', was = m.job FROM (SELECT w.position, f.id, f.job FROM"
        "   (SELECT position, fingerprint, row_number() OVER (PARTITION BY fingerprint ORDER BY position) AS n"
        "     FROM incoming WHERE row IS NULL) w CROSS JOIN free_rows f ON f.fingerprint = w.fingerprint AND f.n = w.n) m"
        " WHERE incoming.position = m.position"
    )
    conn.execute("DROP TABLE temp.free_rows")
    # 3. A known id with another fingerprint: changed, and the cause is what differs from the row that
    # was listed until now.
    conn.create_function("params_differ", 2, _params_differ, deterministic=True)
    conn.create_function("references_differ", 2, _references_differ, deterministic=True)
    conn.execute(
        "UPDATE incoming SET change = 'changed', cause = trim("
        " iif(j.model IS NOT incoming.model, 'model ', '') || iif(j.prompt IS NOT incoming.prompt, 'prompt ', '')"
        " || iif(params_differ(j.params, incoming.params), 'params ', '')"
        " || iif(references_differ(j.refs, incoming.refs), 'reference', ''))"
        " FROM jobs j WHERE incoming.row IS NULL AND j.id = (SELECT k.id FROM jobs k WHERE k.manifest = ?1"
        "   AND k.job = incoming.job ORDER BY +k.listed DESC, k.id DESC LIMIT 1)",
        (manifest,),
    )


def _params_differ(one: str, other: str) -> bool:
    """Compare as fingerprints do: neither the order of keys nor `6.0` for `6` is a difference."""
    return one != other and canonical(json.loads(one)) != canonical(json.loads(other))


def _references_differ(one: str, other: str) -> bool:
    """Compare contents only: a file that was moved is the same reference."""
    return one != other and [item["sha256"] for item in json.loads(one)] != [
        item["sha256"] for item in json.loads(other)
    ]


def summary(conn: sqlite3.Connection, manifest: str) -> dict[str, int]:
    """Return the counts of a staged diff by change, `orphaned` included."""
    rows = conn.execute("SELECT change, count(*) AS n FROM incoming GROUP BY change")
    found = {row["change"]: int(row["n"]) for row in rows}
    found["orphaned"] = int(conn.execute(f"SELECT count(*) FROM {_ORPHANS}", (manifest,)).fetchone()[0])
    return found


# Rows no longer listed that still mean money or a result; what was never sent is just dropped.
_ORPHANS = (
    "(SELECT * FROM jobs WHERE manifest = ? AND id NOT IN (SELECT row FROM incoming WHERE row IS NOT NULL)"
    f" AND (state NOT IN {NEVER_SENT_SQL} OR EXISTS (SELECT 1 FROM ledger l WHERE l.job = jobs.id))) AS orphans"
)


def to_spend(conn: sqlite3.Connection) -> dict[str, tuple[int, float]]:
    """Return {basis: (jobs, credits)} of all that a run would submit."""
    rows = conn.execute(
        "SELECT basis, count(*) AS n, sum(estimate) AS credits FROM incoming"
        " LEFT JOIN jobs j ON j.id = incoming.row"
        " WHERE change IN ('new', 'changed', 'planned') OR (change = 'renamed' AND j.state IN"
        f" {NEVER_SENT_SQL}) GROUP BY basis"
    )
    return {row["basis"]: (row["n"], row["credits"]) for row in rows}


def lines(conn: sqlite3.Connection, manifest: str) -> Iterator[Mapping[str, Any]]:
    """Yield the plan job by job, orphans last.

    Each is `{"job", "change", "cause", "was", "state", "model", "prompt", "params", "refs", "output", "estimate",
    "basis", "sends", "charged", "reserved", "round", "error_class", "error_message", "task_id", "row",
    "fingerprint"}`.
    """
    yield from conn.execute(
        "SELECT i.position, i.job, i.change, i.cause, i.was, coalesce(j.state, 'new') AS state, i.model, i.prompt, i.params,"
        " i.refs, i.output, i.estimate, i.basis, (i.change IN ('new', 'changed', 'planned') OR (i.change = 'renamed' AND"
        f" j.state IN {NEVER_SENT_SQL})) AS sends, l.charged, iif(l.state = 'reserved', l.amount, NULL) AS reserved,"
        " coalesce(j.round, 1) AS round, j.error_class, j.error_message, j.task_id, i.row, i.fingerprint"
        " FROM incoming i LEFT JOIN jobs j ON j.id = i.row LEFT JOIN ledger l ON l.job = j.id AND l.round = j.round"
        " ORDER BY i.position"
    )
    yield from conn.execute(
        "SELECT orphans.position, orphans.job, 'orphaned' AS change, '' AS cause, '' AS was, orphans.state, orphans.model,"
        " orphans.prompt, orphans.params, orphans.refs, orphans.output, 0.0 AS estimate, '' AS basis, 0 AS sends, l.charged,"
        " iif(l.state = 'reserved', l.amount, NULL) AS reserved, orphans.round, orphans.error_class,"
        " orphans.error_message, orphans.task_id, orphans.id AS row, orphans.fingerprint"
        f" FROM {_ORPHANS} LEFT JOIN ledger l ON l.job = orphans.id AND l.round = orphans.round ORDER BY orphans.id",
        (manifest,),
    )


def adopt(conn: sqlite3.Connection, positions: Iterable[int]) -> None:
    """Mark staged jobs whose result is on disk already: they become `done`, unpaid."""
    conn.executemany(
        "UPDATE incoming SET change = 'done' WHERE position = ?", [(position,) for position in positions]
    )


def row_at(conn: sqlite3.Connection, manifest: str, position: int) -> int:
    """Return the row of a staged job, once the diff is applied."""
    found = conn.execute(
        "SELECT j.id FROM incoming i JOIN jobs j ON j.manifest = ? AND j.job = i.job AND j.fingerprint = i.fingerprint"
        " WHERE i.position = ?",
        (manifest, position),
    ).fetchone()
    return int(found["id"])


def candidates(conn: sqlite3.Connection) -> Iterator[tuple[int, str, str, str, int | None]]:
    """Yield (position, job, fingerprint, output, row) of all that would be paid for: sidecars are looked for."""
    for row in conn.execute(
        "SELECT i.position, i.job, i.fingerprint, i.output, i.row FROM incoming i LEFT JOIN jobs j ON j.id = i.row"
        f" WHERE i.change IN ('new', 'changed', 'planned') OR (i.change = 'renamed' AND j.state IN {NEVER_SENT_SQL})"
    ):
        yield row["position"], row["job"], row["fingerprint"], row["output"], row["row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying a diff has done: counts, and the rows whose files may have to move."""

    inserted: int
    dropped: int
    made_uncertain: int
    renamed: tuple[int, ...]


def apply(conn: sqlite3.Connection, manifest: str, now: str) -> Applied:
    """Make the staged jobs the listed ones; inside one write transaction.

    A row no longer listed: never sent and unpaid, dropped; `submitting`, uncertain (or dropped, its
    credits released, when every send was definitely refused); anything else is kept, unlisted.
    """
    gone = "manifest = ?1 AND id NOT IN (SELECT row FROM incoming WHERE row IS NOT NULL)"
    # A submit that was certainly never accepted owes nothing.
    refused = conn.execute(
        f"SELECT id, round FROM jobs WHERE {gone} AND listed = 1 AND state = 'submitting' AND in_doubt = 0",
        (manifest,),
    ).fetchall()
    for row in refused:
        conn.execute(
            "UPDATE ledger SET state = 'released', charged = 0, amount = 0, probe = 0, settled_at = ? WHERE job = ?"
            " AND round = ? AND state = 'reserved'",
            (now, row["id"], row["round"]),
        )
        conn.execute("UPDATE jobs SET state = 'ready', version = version + 1 WHERE id = ?", (row["id"],))
    uncertain = conn.execute(
        "UPDATE jobs SET state = 'uncertain', listed = 0, version = version + 1, updated_at = ?2, error_class = 'other',"
        " error_code = 'removed', error_message = 'it was removed from the manifest or edited while it was being"
        f" submitted' WHERE {gone} AND listed = 1 AND state = 'submitting'",
        (manifest, now),
    ).rowcount
    dropped = conn.execute(
        f"DELETE FROM jobs WHERE {gone} AND state IN {NEVER_SENT_SQL}"
        " AND NOT EXISTS (SELECT 1 FROM ledger l WHERE l.job = jobs.id)",
        (manifest,),
    ).rowcount
    # Paid before, planned for another round, and now unwanted: what is known of it stays known. One that never
    # cost anything stays planned, unlisted: should it come back, it is a job like any other, not a failed one.
    conn.execute(
        "UPDATE jobs SET state = 'failed', version = version + 1, updated_at = ?2,"
        " error_class = coalesce(error_class, 'other'), error_code = coalesce(error_code, 'removed')"
        f" WHERE {gone} AND state IN {NEVER_SENT_SQL}"
        " AND EXISTS (SELECT 1 FROM ledger l WHERE l.job = jobs.id AND l.state <> 'released')",
        (manifest, now),
    )
    conn.execute(f"UPDATE jobs SET listed = 0 WHERE {gone} AND listed = 1", (manifest,))
    renamed = tuple(row["row"] for row in conn.execute("SELECT row FROM incoming WHERE change = 'renamed'"))
    # Ids may be swapped among rows: two steps, so that no pair is ever twice there.
    conn.execute(
        "UPDATE jobs SET job = job || char(1) || id WHERE id IN (SELECT row FROM incoming WHERE change = 'renamed')"
    )
    conn.execute(
        "UPDATE jobs SET job = i.job, position = i.position, output = i.output, axes = i.axes, refs = i.refs, listed = 1"
        " FROM incoming i WHERE jobs.id = i.row AND (jobs.job IS NOT i.job OR jobs.position IS NOT i.position"
        " OR jobs.output IS NOT i.output OR jobs.axes IS NOT i.axes OR jobs.refs IS NOT i.refs OR jobs.listed = 0)"
    )
    inserted = conn.execute(
        "INSERT INTO jobs (manifest, job, fingerprint, position, origin, serial, model, prompt, params, refs, axes,"
        " shape, output, created_at, updated_at) SELECT ?1, i.job, i.fingerprint, i.position, i.job, (SELECT count(*)"
        " FROM jobs j WHERE j.manifest = ?1 AND j.origin = i.job AND j.fingerprint = i.fingerprint), i.model, i.prompt,"
        " i.params, i.refs, i.axes, i.shape, i.output, ?2, ?2 FROM incoming i WHERE i.row IS NULL ORDER BY i.position",
        (manifest, now),
    ).rowcount
    return Applied(inserted=inserted, dropped=dropped, made_uncertain=uncertain, renamed=renamed)


def references_to_send(conn: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield (model, refs) of each distinct set of references a run may have to upload."""
    for row in conn.execute(
        "SELECT DISTINCT i.model, i.refs FROM incoming i LEFT JOIN jobs j ON j.id = i.row WHERE i.refs <> '[]' AND"
        " (i.change IN ('new', 'changed', 'planned') OR (i.change = 'renamed' AND j.state IN"
        f" {NEVER_SENT_SQL}))"
    ):
        yield row["model"], row["refs"]


def shapes_to_send(conn: sqlite3.Connection, limit: int = 200) -> list[str]:
    """Return the shapes of what is staged."""
    return [row["shape"] for row in conn.execute("SELECT DISTINCT shape FROM incoming LIMIT ?", (limit,))]


def observed_estimate(conn: sqlite3.Connection, base_url: str, shape: str) -> Estimate | None:
    """Return what was seen charged for a shape (see `ledger.observed`)."""
    return ledger.observed(conn, base_url, shape)


def states_by_change(conn: sqlite3.Connection) -> dict[State, int]:
    """Return how many staged jobs have rows in each state."""
    rows = conn.execute(
        "SELECT j.state, count(*) AS n FROM incoming i JOIN jobs j ON j.id = i.row GROUP BY j.state"
    )
    return {State(row["state"]): row["n"] for row in rows}
