"""Which jobs need which others' results: `jobs.blocked` counts what one of them still waits for, 0 for all others.

Rows of `needs` are those of listed jobs, written when a manifest is applied. A job that waits is on no page of jobs to
send; what it waits for is counted anew whenever that may have changed, so a kill between two steps loses nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace as replace_fields
from typing import NamedTuple

from runner.lifecycle.chains import Need
from runner.model import Artifact, Job, State
from runner.store.connection import Connection
from runner.store.jobs import (
    COLUMNS,
    NEAREST_TO_A_RESULT,
    NEVER_SENT_SQL,
    read_job,
    references_from_json,
    references_json,
)

_AT_ONCE = 500
_WAITS = (
    "(SELECT count(*) FROM needs n JOIN jobs s ON s.id = n.source WHERE n.job = jobs.id"
    " AND (n.undecided = 1 OR s.state <> 'done'))"
)


def any_of(conn: Connection, manifest: str) -> bool:
    """Return whether any job of a manifest needs another one."""
    return conn.execute("SELECT 1 FROM needs WHERE manifest = ? LIMIT 1", (manifest,)).fetchone() is not None


def count(conn: Connection, manifest: str) -> None:
    """Count anew what each job that was not sent waits for."""
    conn.execute(
        f"UPDATE jobs SET blocked = {_WAITS} WHERE manifest = ?1 AND state IN {NEVER_SENT_SQL}"
        f" AND id IN (SELECT job FROM needs WHERE manifest = ?1) AND blocked <> {_WAITS}",
        (manifest,),
    )


def made(conn: Connection, source: int) -> list[tuple[int, int]]:
    """A job has a result: return (position, row) of those that wait for nothing any more."""
    freed = conn.execute(
        f"UPDATE jobs SET blocked = {_WAITS} WHERE id IN (SELECT job FROM needs WHERE source = ?) AND listed = 1"
        f" AND state IN {NEVER_SENT_SQL} RETURNING position, id, blocked",
        (source,),
    ).fetchall()
    return sorted((row["position"], row["id"]) for row in freed if not row["blocked"])


def made_by_others(conn: Connection, manifest: str, *, after: int, run: int) -> list[tuple[int, int]]:
    """Return (position, row) of those that wait for nothing any more, now that other runs have made results.

    Args:
        conn: Inside a transaction.
        manifest: Of which manifest.
        after: Only what was made after the event of this number.
        run: The run that asks; of its own results it knows.
    """
    sources = conn.execute(
        "SELECT DISTINCT n.source FROM events e JOIN jobs s ON s.manifest = e.manifest AND s.job = e.job"
        " JOIN needs n ON n.source = s.id"
        " WHERE e.manifest = ? AND e.id > ? AND e.kind = 'done' AND e.run IS NOT ? AND s.state = 'done'",
        (manifest, after, run),
    ).fetchall()
    if not sources:
        return []
    waiting = (
        "id IN (SELECT job FROM needs WHERE source IN (SELECT value FROM json_each(?))) AND listed = 1"
        f" AND state IN {NEVER_SENT_SQL}"
    )
    parameters = (json.dumps([row["source"] for row in sources]),)
    # Whoever has made one counts as well; but it may not have come to that yet.
    conn.execute(f"UPDATE jobs SET blocked = {_WAITS} WHERE {waiting} AND blocked <> {_WAITS}", parameters)
    found = conn.execute(
        f"SELECT position, id FROM jobs WHERE {waiting} AND blocked = 0 ORDER BY position, id", parameters
    )
    return [(row["position"], row["id"]) for row in found]


def sent_with(conn: Connection, sources: Iterable[int]) -> int:
    """Return how many listed jobs were sent with a result of one of these rows, or of a job that was."""
    found: set[int] = set()
    waiting = list(sources)
    while waiting:
        rows = conn.execute(
            "SELECT n.job FROM needs n JOIN jobs j ON j.id = n.job WHERE n.source = ? AND n.undecided = 0 AND j.listed = 1"
            f" AND j.state NOT IN {NEVER_SENT_SQL}",
            (waiting.pop(),),
        )
        new = {row["job"] for row in rows} - found
        found |= new
        waiting += new
    return len(found)


def replace(conn: Connection, manifest: str) -> None:
    """Make the needs of a manifest those that are staged, once its rows are listed."""
    conn.execute("DELETE FROM needs WHERE manifest = ?", (manifest,))
    if conn.execute("SELECT 1 FROM incoming_needs LIMIT 1").fetchone() is None:
        return
    conn.execute(
        "INSERT INTO needs (manifest, job, place, source, undecided)"
        " SELECT ?1, r.id, n.place, s.id, n.undecided FROM incoming_needs n"
        # Not by the positions of rows: those of jobs with mistakes stay listed where they were, beside others.
        " CROSS JOIN incoming i ON i.position = n.position CROSS JOIN incoming o ON o.position = n.source"
        " CROSS JOIN jobs r ON r.manifest = ?1 AND r.job = i.job AND r.fingerprint = i.fingerprint"
        " CROSS JOIN jobs s ON s.manifest = ?1 AND s.job = o.job AND s.fingerprint = o.fingerprint",
        (manifest,),
    )
    count(conn, manifest)


def moved(conn: Connection, source: int, artifacts: Iterable[Artifact]) -> None:
    """The files of a job have other places now: jobs that were sent with them name them there."""
    places = {each.sha256: each.path for each in artifacts}
    rows = conn.execute(
        "SELECT id, refs FROM jobs WHERE id IN (SELECT job FROM needs WHERE source = ?)", (source,)
    ).fetchall()
    for row in rows:
        before = references_from_json(row["refs"])
        after = [
            replace_fields(each, file=places[each.sha256])
            if each.result_of is not None and each.sha256 in places
            else each
            for each in before
        ]
        if after != list(before):
            conn.execute("UPDATE jobs SET refs = ? WHERE id = ?", (references_json(after), row["id"]))


def any_staged(conn: Connection) -> bool:
    """Return whether any staged job needs another one."""
    return conn.execute("SELECT 1 FROM incoming_needs LIMIT 1").fetchone() is not None


class StagedNeed(NamedTuple):
    """What one staged job needs at one place of its references: the job at another position."""

    position: int
    need: Need[int]


def staged(conn: Connection) -> list[StagedNeed]:
    """Return what the staged jobs need, by the positions of both."""
    rows = conn.execute(
        "SELECT position, place, source, undecided FROM incoming_needs ORDER BY position, place, source"
    )
    return [
        StagedNeed(row["position"], Need(row["source"], row["place"], bool(row["undecided"]))) for row in rows
    ]


class StagedStand(NamedTuple):
    """A staged job that needs another, or is needed, and what a run would do with it; its row's state, if it has one."""

    job: str
    change: str
    sends: bool
    state: State
    estimate: float


def stands(conn: Connection) -> dict[int, StagedStand]:
    """Return those that need or are needed, by position."""
    rows = conn.execute(
        "SELECT i.position, i.job, i.change, i.sends, coalesce(j.state, 'planned') AS state,"
        " coalesce(i.estimate, 0) AS estimate FROM incoming i LEFT JOIN jobs j ON j.id = i.row"
        " WHERE i.position IN (SELECT position FROM incoming_needs) OR i.position IN (SELECT source FROM incoming_needs)"
    )
    return {
        row["position"]: StagedStand(
            row["job"], row["change"], bool(row["sends"]), State(row["state"]), row["estimate"]
        )
        for row in rows
    }


class WaitingNeed(NamedTuple):
    """A listed job that was not sent and needs one that is not done, or a choice."""

    row: int
    job: str
    need: Need[int]
    source: str
    state: State
    error_class: str  # of it, where it has failed
    source_waits: bool  # for others, too


def waiting(conn: Connection, manifest: str) -> list[WaitingNeed]:
    """Return what the jobs of a manifest that are not sent wait for, in its order."""
    rows = conn.execute(
        "SELECT j.id, j.job, n.place, n.source, n.undecided, s.job AS source_job, s.state, s.error_class, s.blocked"
        " FROM needs n JOIN jobs j ON j.id = n.job JOIN jobs s ON s.id = n.source"
        f" WHERE n.manifest = ? AND j.listed = 1 AND j.blocked > 0 AND j.state IN {NEVER_SENT_SQL}"
        " AND (n.undecided = 1 OR s.state <> 'done') ORDER BY j.position, n.place, s.position",
        (manifest,),
    )
    return [
        WaitingNeed(
            row["id"],
            row["job"],
            Need(row["source"], row["place"], bool(row["undecided"])),
            row["source_job"],
            State(row["state"]),
            row["error_class"] or "",
            row["blocked"] > 0,
        )
        for row in rows
    ]


def sources(conn: Connection, rows: Sequence[int]) -> dict[tuple[int, int], Job]:
    """Return the job behind each decided reference of these rows, by (row, place)."""
    wanted: dict[tuple[int, int], int] = {}
    for marks, some in _in_parts(rows):
        for need in conn.execute(
            f"SELECT job, place, source FROM needs WHERE undecided = 0 AND job IN ({marks})", some
        ):
            wanted[need["job"], need["place"]] = need["source"]
    found: dict[int, Job] = {}
    for marks, some in _in_parts([*dict.fromkeys(wanted.values())]):
        for row in conn.execute(f"SELECT {COLUMNS} FROM jobs WHERE id IN ({marks})", some):
            found[row["id"]] = read_job(row)
    return {place: found[source] for place, source in wanted.items()}


def _in_parts(rows: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield rows a few hundred at a time, each time with the marks of a statement for them."""
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        yield ", ".join("?" * len(some)), some


class StoredOutcomes:
    """What is known of the jobs of one manifest that were run, read from the database when it is first asked for.

    See `runner.manifest.chains.Outcomes`.
    """

    def __init__(self, conn: Connection, manifest: str) -> None:
        self._conn = conn
        self._manifest = manifest
        self._names: dict[str, list[str]] | None = None
        self._editions: dict[tuple[str, str], int] | None = None
        self._picked: dict[tuple[str, str], tuple[int, ...]] | None = None
        self._sent: set[tuple[str, str]] | None = None
        self._results: dict[tuple[str, str], int] | None = None

    def names(self, fingerprint: str) -> Sequence[str]:
        """Return the ids of all known jobs of this fingerprint if an edition or a pick is known of one.

        In the order in which jobs with another id take them over.
        """
        if self._names is None:
            self._names = {}
            for row in self._conn.execute(
                "SELECT job, fingerprint FROM jobs WHERE manifest = ?1 AND fingerprint IN"
                " (SELECT fingerprint FROM jobs WHERE manifest = ?1 AND edition > 0 UNION SELECT j.fingerprint FROM picks p"
                " JOIN jobs j ON j.id = p.job AND j.round = p.round WHERE p.manifest = ?1 AND p.verdict = 'picked')"
                f" ORDER BY {NEAREST_TO_A_RESULT}, position, id",
                (self._manifest,),
            ):
                self._names.setdefault(row["fingerprint"], []).append(row["job"])
        return self._names.get(fingerprint, ())

    def edition(self, job: str, fingerprint: str, output: str) -> int:
        """Return how many of its earlier rounds had a result."""
        if self._editions is None:
            rows = self._conn.execute(
                "SELECT job, fingerprint, edition FROM jobs WHERE manifest = ? AND edition > 0",
                (self._manifest,),
            )
            self._editions = {(row["job"], row["fingerprint"]): int(row["edition"]) for row in rows}
        return self._editions.get((job, fingerprint), 0)

    def picked(self, job: str, fingerprint: str) -> tuple[int, ...] | None:
        """Return which results of its last round a person has picked, empty for all of it; None if it is not picked."""
        if self._picked is None:
            rows = self._conn.execute(
                "SELECT j.job, j.fingerprint, p.results FROM picks p JOIN jobs j ON j.id = p.job AND j.round = p.round"
                " WHERE p.manifest = ? AND p.verdict = 'picked'",
                (self._manifest,),
            )
            self._picked = {
                (row["job"], row["fingerprint"]): tuple(json.loads(row["results"])) for row in rows
            }
        return self._picked.get((job, fingerprint))

    def was_sent(self, job: str, fingerprint: str) -> bool:
        """Return whether the job that is listed under this id is this one, and was submitted."""
        if self._sent is None:
            rows = self._conn.execute(
                f"SELECT job, fingerprint FROM jobs WHERE manifest = ?1 AND listed = 1 AND state NOT IN {NEVER_SENT_SQL}"
                " AND id IN (SELECT job FROM needs WHERE manifest = ?1)",
                (self._manifest,),
            )
            self._sent = {(row["job"], row["fingerprint"]) for row in rows}
        return (job, fingerprint) in self._sent

    def results(self, job: str, fingerprint: str) -> int | None:
        """Return how many results it has made; None where that is not known."""
        if self._results is None:
            rows = self._conn.execute(
                "SELECT j.job, j.fingerprint, count(*) AS n FROM jobs j JOIN artifacts a ON a.job = j.id"
                " WHERE j.manifest = ? AND j.state = 'done' GROUP BY j.job, j.fingerprint",
                (self._manifest,),
            )
            self._results = {(row["job"], row["fingerprint"]): int(row["n"]) for row in rows}
        return self._results.get((job, fingerprint))


class Stood(NamedTuple):
    """How far a job has come, as far as its row knows."""

    state: State
    round: int
    key: str | None
    edition: int = 0


def stood(conn: Connection, manifest: str) -> dict[tuple[str, str], Stood]:
    """Return how far each job of a manifest has come, by id and fingerprint."""
    rows = conn.execute(
        "SELECT job, fingerprint, state, round, key, edition FROM jobs WHERE manifest = ?", (manifest,)
    )
    return {
        (row["job"], row["fingerprint"]): Stood(State(row["state"]), row["round"], row["key"], row["edition"])
        for row in rows
    }


def outcome(conn: Connection, manifest: str) -> str:
    """Return a hash of all of `StoredOutcomes` that a fingerprint depends on."""
    found = hashlib.sha256()
    for sql in (
        "SELECT id, edition FROM jobs WHERE manifest = ? AND edition > 0 ORDER BY id",
        "SELECT job, round, results FROM picks WHERE manifest = ? AND verdict = 'picked' ORDER BY job, round",
    ):
        for row in conn.execute(sql, (manifest,)):
            found.update(f"{tuple(row)}\n".encode())
        found.update(b"\n")
    return found.hexdigest()
