"""What a manifest lists, compared with what the database knows: the diff, and its application.

All expanded jobs are staged in a temporary table first, so 100,000 of them never sit in memory and
a mistake in the last one leaves the database untouched. `plan` reads the diff (`diff.py`); `run` applies it in
one transaction. Where it is known that a manifest lists just what it listed when it was last applied
(`api.manifests.listing`), `restage` puts a view of the listed rows in the table's place: the same diff, in no time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from runner.contract.once import OncePerObject
from runner.model import NEVER_SENT, Estimate, Job, JobSpec, Reference, State
from runner.store import ledger, listings, moves, needs
from runner.store.causes import causes, only_chosen
from runner.store.connection import Connection
from runner.store.error_words import trouble
from runner.store.jobs import (
    NEAREST_TO_A_RESULT,
    NEVER_SENT_SQL,
    UNDER_WAY_SQL,
    get,
    references_from_json,
    references_json,
)
from runner.store.listings import ListingSource

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


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
        sends INTEGER NOT NULL DEFAULT 1,
        cause TEXT NOT NULL DEFAULT '',
        was TEXT NOT NULL DEFAULT ''
    )
"""

# Which of them, by its position, needs which others' results; of rows already listed the same, where they are in its place.
_STAGE_NEEDS = (
    "CREATE TEMP TABLE incoming_needs (position INTEGER NOT NULL, place INTEGER NOT NULL, source INTEGER NOT NULL,"
    " undecided INTEGER NOT NULL)"
)
_RESTAGE_NEEDS = (
    "INSERT INTO incoming_needs (position, place, source, undecided) SELECT j.position, n.place, s.position, n.undecided"
    " FROM needs n JOIN jobs j ON j.id = n.job JOIN jobs s ON s.id = n.source WHERE n.manifest = ?"
)

CHANGE = (
    f"CASE WHEN j.state IN {NEVER_SENT_SQL} THEN 'planned'"
    " WHEN j.state IN ('submitting', 'waiting', 'downloading') THEN 'running' ELSE j.state END"
)

# The same columns, read from the rows themselves. The price of what will not be sent is asked for by nobody.
_RESTAGE = f"""
    CREATE TEMP VIEW incoming AS
        SELECT j.position, j.job, j.fingerprint, j.model, j.prompt, j.params, j.refs, j.axes, j.shape, j.output,
            (SELECT p.estimate FROM priced p WHERE p.shape = j.shape) AS estimate,
            (SELECT p.reserve FROM priced p WHERE p.shape = j.shape) AS reserve,
            (SELECT p.basis FROM priced p WHERE p.shape = j.shape) AS basis,
            j.id AS row, {CHANGE} AS change, CASE WHEN j.state IN {NEVER_SENT_SQL}
                AND j.job NOT IN (SELECT job FROM unwanted) THEN 1 ELSE 0 END AS sends, '' AS cause, '' AS was
        FROM jobs j WHERE j.manifest = {{manifest}} AND j.listed = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedJob:
    """A spec with what the plan knows of its price."""

    spec: JobSpec
    shape: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class NotStaged:
    """Jobs of a manifest that are not staged, though it lists them: their rows stay as they are."""

    ids: Collection[str] = ()
    others: bool = False  # there are some whose ids are not known, so that no row is known to be removed


ALL_STAGED = NotStaged()


def stage(
    conn: Connection,
    manifest: str,
    jobs: Iterable[StagedJob],
    *,
    not_staged: Callable[[], NotStaged] = lambda: ALL_STAGED,
) -> int:
    """Stage all jobs of a manifest and compute the diff; return how many were staged.

    Works on a read-only database too: the table is temporary.

    Args:
        conn: The connection; it may be read-only.
        manifest: The manifest's name.
        jobs: The jobs.
        not_staged: Asked once all jobs are staged.

    Raises:
        TemporaryTrouble: There is no room for the table.
    """
    with trouble("staging the jobs of the manifest in a temporary file"):
        _clear(conn)
        conn.execute(_STAGE)
        found = _StagedNeeds()
        with _temporary(conn):
            conn.executemany(
                "INSERT INTO incoming (position, job, fingerprint, model, prompt, params, refs, axes, shape, output,"
                " estimate, reserve, basis) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                _rows(jobs, found),
            )
            if found.of:
                conn.executemany(
                    "INSERT INTO incoming_needs (position, place, source, undecided) VALUES (?, ?, ?, ?)",
                    found.by_position(),
                )
            _leave(conn, not_staged().ids)
            _compare(conn, manifest)
            if found.of:
                _keep_results(conn)
            if not_staged().others:
                _leave_all(conn, manifest)
        number = conn.execute("SELECT count(*) FROM incoming").fetchone()
    return int(number[0])


def carry(source: Connection, target: Connection) -> None:
    """Stage in a database that has just been made what was staged in an empty one."""
    with trouble("staging the jobs of the manifest in a temporary file"):
        _clear(target)
        target.execute(_STAGE)
        with _temporary(target):
            target.executemany(
                f"INSERT INTO incoming VALUES ({', '.join('?' * 18)})",
                (tuple(row) for row in source.execute("SELECT * FROM incoming ORDER BY position")),
            )
            target.executemany(
                "INSERT INTO incoming_needs (position, place, source, undecided) VALUES (?, ?, ?, ?)",
                (tuple(row) for row in source.execute("SELECT * FROM incoming_needs")),
            )


def restage(conn: Connection, manifest: str, prices: Mapping[str, Estimate]) -> None:
    """Stage what is listed already, as the diff of a manifest that lists the same.

    Args:
        conn: The connection; it may be read-only.
        manifest: The manifest's name.
        prices: What each shape of `to_price` is expected to cost.
    """
    _clear(conn)
    conn.execute(
        "CREATE TEMP TABLE priced (shape TEXT PRIMARY KEY, estimate REAL, reserve REAL, basis TEXT) WITHOUT ROWID"
    )
    conn.executemany(
        "INSERT INTO priced (shape, estimate, reserve, basis) VALUES (?, ?, ?, ?)",
        [(shape, found.credits, found.reserve, found.basis.value) for shape, found in prices.items()],
    )
    # A view takes no parameters.
    quoted = manifest.replace("'", "''")
    conn.execute(_RESTAGE.format(manifest=f"'{quoted}'"))
    conn.execute("INSERT INTO restaged (view) VALUES (1)")
    if needs.any_of(conn, manifest):
        conn.execute(_RESTAGE_NEEDS, (manifest,))


def to_price(conn: Connection, manifest: str) -> list[Job]:
    """Return one job of each shape that is listed and would be sent."""
    rows = conn.execute(
        f"SELECT min(id) AS id FROM jobs WHERE manifest = ? AND listed = 1 AND state IN {NEVER_SENT_SQL} GROUP BY shape",
        (manifest,),
    ).fetchall()
    return [get(conn, row["id"]) for row in rows]


def references_listed(conn: Connection, manifest: str, *, unsent: bool = False) -> Iterator[Reference]:
    """Yield the input files of what is listed, each once; with `unsent`, of what nothing was sent of yet."""
    seen: set[str] = set()
    only = f" AND state IN {NEVER_SENT_SQL}" if unsent else ""
    for row in conn.execute(
        f"SELECT DISTINCT refs FROM jobs WHERE manifest = ? AND listed = 1 AND refs <> '[]'{only}",
        (manifest,),
    ):
        for reference in references_from_json(row["refs"]):
            if reference.result_of is None and reference.path not in seen:
                seen.add(reference.path)
                yield reference


def _clear(conn: Connection) -> None:
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS restaged (view INTEGER PRIMARY KEY)")
    conn.execute(f"DROP {'VIEW' if is_restaged(conn) else 'TABLE'} IF EXISTS incoming")
    conn.execute("DELETE FROM restaged")
    for table in ("priced", "not_staged", "unwanted", "switched", "incoming_needs"):
        conn.execute(f"DROP TABLE IF EXISTS {table}")
    for table in ("not_staged", "unwanted", "switched"):
        conn.execute(f"CREATE TEMP TABLE {table} (job TEXT PRIMARY KEY) WITHOUT ROWID")
    conn.execute(_STAGE_NEEDS)


def _leave(conn: Connection, ids: Iterable[str]) -> None:
    conn.executemany(
        "INSERT INTO not_staged (job) VALUES (?) ON CONFLICT DO NOTHING", ((job,) for job in ids)
    )
    # An id that is used twice: the first of the two is staged.
    conn.execute("DELETE FROM not_staged WHERE job IN (SELECT job FROM incoming)")


def _leave_all(conn: Connection, manifest: str) -> None:
    """Leave every listed row as it is that is neither staged nor known to have been edited or renamed."""
    conn.execute(
        "INSERT INTO not_staged (job) SELECT job FROM jobs WHERE manifest = ? AND listed = 1"
        " AND id NOT IN (SELECT row FROM incoming WHERE row IS NOT NULL) AND job NOT IN (SELECT job FROM incoming)"
        " ON CONFLICT DO NOTHING",
        (manifest,),
    )


_NOT_STAGED = "(listed = 1 AND job IN (SELECT job FROM not_staged))"


def rows_not_staged(conn: Connection, manifest: str) -> frozenset[int]:
    """Return the rows of jobs that are listed as before, though they are not staged."""
    found = conn.execute(f"SELECT id FROM jobs WHERE manifest = ? AND {_NOT_STAGED}", (manifest,))
    return frozenset(row["id"] for row in found)


def is_restaged(conn: Connection) -> bool:
    """Return whether a view of the listed rows is in the place of a staged list."""
    return conn.execute("SELECT 1 FROM restaged").fetchone() is not None


@contextmanager
def _temporary(conn: Connection) -> Iterator[None]:
    """Write temporary tables in one transaction; the database itself is not locked."""
    conn.execute("BEGIN")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


class _StagedNeeds:
    """What jobs need of each other, as they come: by ids, since one may need what comes later."""

    def __init__(self) -> None:
        self.of: list[tuple[int, int, str, int]] = []  # position, place, id of the source, whether undecided
        self._positions: dict[str, int] = {}

    def add(self, position: int, spec: JobSpec) -> None:
        self._positions[spec.id] = position
        for place, reference in enumerate(spec.references):
            if (result_of := reference.result_of) is not None:
                self.of += ((position, place, source, int(result_of.undecided)) for source in result_of.jobs)

    def by_position(self) -> Iterator[tuple[int, int, int, int]]:
        for position, place, source, undecided in self.of:
            yield position, place, self._positions[source], undecided


def _rows(jobs: Iterable[StagedJob], needs: _StagedNeeds) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of jobs as they are staged; what they need of each other is added to `needs`."""
    texts = OncePerObject[str]()
    for order, item in enumerate(jobs):
        spec = item.spec
        position = order
        if spec.number is not None:
            position = spec.number
            needs.add(position, spec)
        yield (
            position,
            spec.id,
            spec.fingerprint,
            spec.model,
            spec.prompt,
            texts.get(spec.params, partial(_encode, spec.params)),
            references_json(spec.references) if spec.references else "[]",
            _encode(spec.axes) if spec.axes else "{}",
            item.shape,
            spec.output,
            item.estimate.credits,
            item.estimate.reserve,
            item.estimate.basis.value,
        )


def _compare(conn: Connection, manifest: str) -> None:
    if not conn.execute("SELECT 1 FROM jobs WHERE manifest = ? LIMIT 1", (manifest,)).fetchone():
        return
    # 1. The same id and fingerprint: the same job, wherever it stands in the file now.
    conn.execute(
        f"UPDATE incoming SET row = j.id, change = {CHANGE}, sends = CASE WHEN j.state IN {NEVER_SENT_SQL} THEN 1 ELSE 0 END"
        " FROM jobs j WHERE j.manifest = ? AND j.job = incoming.job AND j.fingerprint = incoming.fingerprint",
        (manifest,),
    )
    if not conn.execute("SELECT 1 FROM incoming WHERE row IS NULL LIMIT 1").fetchone():
        return
    # 2. A new id with the fingerprint of a row that is no longer listed takes that row over: the one
    # that is nearest to a result, so that nothing paid is left aside while its twin is paid for again.
    # (A table of its own with a key: two subqueries would be compared row by row with row.)
    conn.execute("DROP TABLE IF EXISTS free_rows")
    conn.execute(
        "CREATE TEMP TABLE free_rows (fingerprint TEXT, n INTEGER, id INTEGER, job TEXT, sends INTEGER,"
        " PRIMARY KEY (fingerprint, n)) WITHOUT ROWID"
    )
    conn.execute(
        "INSERT INTO free_rows SELECT fingerprint, row_number() OVER (PARTITION BY fingerprint"
        f"   ORDER BY {NEAREST_TO_A_RESULT}, position, id), id, job,"
        f"   CASE WHEN state IN {NEVER_SENT_SQL} THEN 1 ELSE 0 END"
        " FROM jobs WHERE manifest = ?1 AND id NOT IN (SELECT row FROM incoming WHERE row IS NOT NULL)"
        f"   AND NOT {_NOT_STAGED}"
        "   AND fingerprint IN (SELECT fingerprint FROM incoming WHERE row IS NULL)",
        (manifest,),
    )
    conn.execute(
        "UPDATE incoming SET row = m.id, change = 'renamed', was = m.job, sends = m.sends FROM"
        "   (SELECT w.position, f.id, f.job, f.sends FROM"
        "   (SELECT position, fingerprint, row_number() OVER (PARTITION BY fingerprint ORDER BY position) AS n"
        "     FROM incoming WHERE row IS NULL) w CROSS JOIN free_rows f ON f.fingerprint = w.fingerprint AND f.n = w.n) m"
        " WHERE incoming.position = m.position"
    )
    conn.execute("DROP TABLE free_rows")
    # 3. A known id with another fingerprint: changed, and the cause is what differs from the row that
    # was listed until now.
    known = conn.execute(
        "SELECT i.position, i.job, i.model AS model, i.prompt AS prompt, i.params AS params, i.refs AS refs,"
        " j.model AS old_model, j.prompt AS old_prompt, j.params AS old_params, j.refs AS old_refs,"
        f" j.state IN {NEVER_SENT_SQL} AND j.round = 1 AS unsent"
        " FROM incoming i JOIN jobs j ON j.id = (SELECT k.id FROM jobs k WHERE k.manifest = ?"
        "   AND k.job = i.job ORDER BY +k.listed DESC, k.id DESC LIMIT 1) WHERE i.row IS NULL",
        (manifest,),
    )
    rows = list(known)
    chosen = only_chosen(rows)
    changed = [
        (
            "planned" if row["job"] in chosen else "changed",
            "" if row["job"] in chosen else " ".join(causes(row)),
            row["position"],
        )
        for row in rows
    ]
    conn.executemany("UPDATE incoming SET change = ?, cause = ? WHERE position = ?", changed)


def _keep_results(conn: Connection) -> None:
    """Of a job that was sent, keep which results of other jobs were; another is sent of one that was not."""
    conn.execute(
        "UPDATE incoming SET refs = j.refs FROM jobs j WHERE j.id = incoming.row AND incoming.refs <> j.refs"
        f" AND j.state NOT IN {NEVER_SENT_SQL} AND incoming.position IN (SELECT position FROM incoming_needs)"
    )


def gone_sql(conn: Connection) -> str:
    """Return the condition for rows of manifest ?1 that what is staged does not list."""
    if is_restaged(conn):
        return "manifest = ?1 AND listed = 0"
    return (
        f"manifest = ?1 AND id NOT IN (SELECT row FROM incoming WHERE row IS NOT NULL) AND NOT {_NOT_STAGED}"
    )


def adopt(conn: Connection, positions: Iterable[int]) -> None:
    """Mark staged jobs whose result is on disk already: they become `done`, unpaid."""
    found = [(position,) for position in positions]
    if not found:
        return
    if is_restaged(conn):  # what is not as the rows say needs a table of its own
        with trouble("staging the jobs of the manifest in a temporary file"), _temporary(conn):
            conn.execute("CREATE TEMP TABLE copied AS SELECT * FROM incoming")
            conn.execute("DROP VIEW incoming")
            conn.execute("ALTER TABLE copied RENAME TO incoming")
            conn.execute("CREATE INDEX incoming_position ON incoming (position)")
            conn.execute("DELETE FROM restaged")
    conn.executemany("UPDATE incoming SET change = 'done', sends = 0 WHERE position = ?", found)


def narrow(conn: Connection, wanted: Callable[[str], bool]) -> None:
    """Count none as submitted but staged jobs with an id that is wanted; what is known of the others stays."""
    with trouble("staging the jobs of the manifest in a temporary file"):
        _want_none_of(conn, [id_ for id_ in _to_send(conn) if not wanted(id_)])


def switch_off(conn: Connection, ids: Collection[str]) -> None:
    """Count staged jobs with these ids as switched off, as far as they would be submitted."""
    if not ids:
        return
    with trouble("staging the jobs of the manifest in a temporary file"):
        off = [id_ for id_ in _to_send(conn) if id_ in ids]
        conn.executemany("INSERT INTO switched (job) VALUES (?)", [(id_,) for id_ in off])
        _want_none_of(conn, off)


def switched(conn: Connection) -> frozenset[str]:
    """Return the ids of the staged jobs that are counted as switched off."""
    return frozenset(row["job"] for row in conn.execute("SELECT job FROM switched"))


def shown_change(conn: Connection, table: str = "incoming") -> str:
    """Return the column `change` as it is told: `off` for what is switched off, whatever it would be."""
    if conn.execute("SELECT 1 FROM switched LIMIT 1").fetchone() is None:
        return f"{table}.change"
    return f"CASE WHEN {table}.job IN (SELECT job FROM switched) THEN 'off' ELSE {table}.change END"


def _to_send(conn: Connection) -> list[str]:
    return [row["job"] for row in conn.execute("SELECT job FROM incoming WHERE sends = 1")]


def _want_none_of(conn: Connection, ids: Iterable[str]) -> None:
    conn.executemany("INSERT INTO unwanted (job) VALUES (?) ON CONFLICT DO NOTHING", [(id_,) for id_ in ids])
    if not is_restaged(conn):
        conn.execute("UPDATE incoming SET sends = 0 WHERE job IN (SELECT job FROM unwanted)")


def row_at(conn: Connection, manifest: str, position: int) -> int:
    """Return the row of a staged job, once the diff is applied."""
    found = conn.execute(
        "SELECT j.id FROM incoming i JOIN jobs j ON j.manifest = ? AND j.job = i.job AND j.fingerprint = i.fingerprint"
        " WHERE i.position = ?",
        (manifest, position),
    ).fetchone()
    return int(found["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying a diff has done: counts, and the rows whose files may have to move."""

    inserted: int
    dropped: int
    made_uncertain: int
    renamed: tuple[int, ...]


def apply(conn: Connection, manifest: str, now: str, *, source: ListingSource | None = None) -> Applied:
    """Make the staged jobs the listed ones, and remember what they were read from; inside one write transaction.

    A row no longer listed: never sent and unpaid, dropped; `submitting`, uncertain (or dropped, its
    credits released, when every send was definitely refused); anything else is kept, unlisted.
    """
    gone = gone_sql(conn)
    # What changes many rows by one statement below.
    for old, new in ((State.SUBMITTING, State.UNCERTAIN), *((old, State.FAILED) for old in NEVER_SENT)):
        moves.check(old, new)
    # A submit that was certainly never accepted owes nothing.
    refused = conn.execute(
        f"SELECT id FROM jobs WHERE {gone} AND listed = 1 AND state = 'submitting' AND in_doubt = 0",
        (manifest,),
    ).fetchall()
    for row in refused:
        job = get(conn, row["id"])
        ledger.release(conn, job, now=now)
        moves.back(conn, job, now)
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
    renamed, inserted = ((), 0) if is_restaged(conn) else _list(conn, manifest, now)
    if is_restaged(conn):
        needs.count(conn, manifest)
    else:
        needs.replace(conn, manifest)
    _remember(conn, manifest, source)
    return Applied(inserted=inserted, dropped=dropped, made_uncertain=uncertain, renamed=renamed)


def _list(conn: Connection, manifest: str, now: str) -> tuple[tuple[int, ...], int]:
    """Make rows of the staged jobs; return the rows that got another name, and how many are new."""
    renamed = tuple(row["row"] for row in conn.execute("SELECT row FROM incoming WHERE change = 'renamed'"))
    # Ids may be swapped among rows: two steps, so that no pair is ever twice there.
    conn.execute(
        "UPDATE jobs SET job = job || ? || id WHERE id IN (SELECT row FROM incoming WHERE change = 'renamed')",
        ("\x01",),
    )
    # A payment under way keeps the shape it was reserved under; what comes next is priced as of today.
    shape = f"CASE WHEN jobs.state IN {UNDER_WAY_SQL} THEN jobs.shape ELSE i.shape END"
    conn.execute(
        "UPDATE jobs SET job = i.job, position = i.position, output = i.output, axes = i.axes, refs = i.refs,"
        f" shape = {shape}, listed = 1 FROM incoming i WHERE jobs.id = i.row AND (jobs.job IS NOT i.job"
        " OR jobs.position IS NOT i.position OR jobs.output IS NOT i.output OR jobs.axes IS NOT i.axes"
        f" OR jobs.refs IS NOT i.refs OR jobs.shape IS NOT {shape} OR jobs.listed = 0)"
    )
    inserted = conn.execute(
        "INSERT INTO jobs (manifest, job, fingerprint, position, origin, serial, model, prompt, params, refs, axes,"
        " shape, output, created_at, updated_at) SELECT ?1, i.job, i.fingerprint, i.position, i.job,"
        # Not their number: a row that was never sent is dropped, and one that was may have a later number.
        " (SELECT coalesce(max(j.serial) + 1, 0) FROM jobs j WHERE j.manifest = ?1 AND j.origin = i.job"
        " AND j.fingerprint = i.fingerprint), i.model, i.prompt,"
        " i.params, i.refs, i.axes, i.shape, i.output, ?2, ?2 FROM incoming i WHERE i.row IS NULL ORDER BY i.position",
        (manifest, now),
    ).rowcount
    return renamed, inserted


def _remember(conn: Connection, manifest: str, source: ListingSource | None) -> None:
    """Remember what the listed rows were read from; forget what an earlier list was read from."""
    if is_restaged(conn):
        return
    listings.forget(conn, manifest)
    if source is None:
        return
    # A row with the shape of another day could not be priced without its manifest.
    odd = conn.execute(
        "SELECT 1 FROM jobs j CROSS JOIN incoming i ON i.row = j.id WHERE j.manifest = ? AND j.listed = 1"
        f" AND j.state IN {UNDER_WAY_SQL} AND j.shape IS NOT i.shape LIMIT 1",
        (manifest,),
    ).fetchone()
    if not odd:
        listings.save(conn, manifest, source)
