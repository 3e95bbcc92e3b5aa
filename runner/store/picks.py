"""What people think of results: picked or rejected, one to five stars, a few words; of each job and round.

A job that is paid for again has another result, of which nobody has said anything yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from runner.model import Opinion, Pick, PickChange
from runner.store.connection import Connection

_PUT = (
    "INSERT INTO picks (job, round, manifest, verdict, rating, word, results, serial, at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (job, round) DO UPDATE SET verdict = excluded.verdict, rating = excluded.rating,"
    " word = excluded.word, results = excluded.results, serial = excluded.serial, at = excluded.at"
)


def put(
    conn: Connection, manifest: str, changes: Mapping[tuple[int, int], PickChange], now: str
) -> dict[int, Pick]:
    """Change what is thought of results; return what is thought of them now, by row, where that is something else.

    Args:
        conn: A connection in a transaction.
        manifest: The manifest's name; what names jobs of others is left alone.
        changes: {(row of the job, round): what is to change}.
        now: RFC 3339.
    """
    serial = last(conn, manifest)
    known = _known(conn, manifest)
    rounds = {
        row["id"]: row["round"]
        for row in conn.execute("SELECT id, round FROM jobs WHERE manifest = ?", (manifest,))
    }
    changed: dict[int, Pick] = {}
    for (row, round_), change in changes.items():
        if row not in rounds or not 1 <= round_ <= rounds[row]:
            continue
        before = known.get((row, round_), Pick())
        after = replace(before, **change.values())
        if after == before:
            continue
        serial += 1
        verdict = after.verdict.value if after.verdict else ""
        results = json.dumps(after.results)
        conn.execute(_PUT, (row, round_, manifest, verdict, after.rating, after.word, results, serial, now))
        changed[row] = after
    return changed


def last(conn: Connection, manifest: str) -> int:
    """Return the number of the latest change, 0 for none."""
    found = conn.execute("SELECT max(serial) AS n FROM picks WHERE manifest = ?", (manifest,)).fetchone()
    return int(found["n"] or 0)


def changed(conn: Connection, manifest: str, since: int) -> tuple[int, ...]:
    """Return the rows of jobs of which something was said after the change `since`."""
    rows = conn.execute("SELECT job FROM picks WHERE manifest = ? AND serial > ?", (manifest, since))
    return tuple(row["job"] for row in rows)


def of_jobs(conn: Connection, manifest: str) -> dict[str, Pick]:
    """Return what is thought of the present round of the listed jobs, by their ids, in the manifest's order."""
    rows = conn.execute(
        "SELECT j.job AS id, p.verdict, p.rating, p.word, p.results FROM picks p"
        " JOIN jobs j ON j.id = p.job AND j.round = p.round"
        " WHERE p.manifest = ? AND j.listed = 1 ORDER BY j.position",
        (manifest,),
    )
    return {
        row["id"]: pick
        for row in rows
        if (pick := pick_of(row["verdict"], row["rating"], row["word"], row["results"]))
    }


def listed(conn: Connection, manifest: str) -> dict[str, tuple[int, int]]:
    """Return (row, round) of each listed job of a manifest, by id."""
    rows = conn.execute(
        "SELECT id, job, round FROM jobs WHERE manifest = ? AND listed = 1 ORDER BY position", (manifest,)
    )
    return {row["job"]: (row["id"], row["round"]) for row in rows}


def numbers_of(conn: Connection, manifest: str) -> dict[str, tuple[int, ...]]:
    """Return the numbers of the results that each listed job has made, by its id."""
    found: dict[str, tuple[int, ...]] = {}
    for row in conn.execute(
        "SELECT j.job, a.number FROM artifacts a JOIN jobs j ON j.id = a.job"
        " WHERE j.manifest = ? AND j.listed = 1 ORDER BY a.job, a.number",
        (manifest,),
    ):
        found[row["job"]] = (*found.get(row["job"], ()), row["number"])
    return found


def workspace_id(conn: Connection) -> str:
    """Return the random name of this workspace: what browsers keep of its pages is kept under it."""
    return str(conn.execute("SELECT id FROM workspace").fetchone()["id"])


def _known(conn: Connection, manifest: str) -> dict[tuple[int, int], Pick]:
    rows = conn.execute(
        "SELECT job, round, verdict, rating, word, results FROM picks WHERE manifest = ?", (manifest,)
    )
    return {
        (row["job"], row["round"]): pick_of(row["verdict"], row["rating"], row["word"], row["results"])
        for row in rows
    }


def pick_of(verdict: str | None, rating: int | None, word: str | None, results: str | None) -> Pick:
    """Return what the columns say; all are None where nothing was said."""
    return Pick(
        verdict=Opinion(verdict) if verdict else None,
        rating=rating or 0,
        word=word or "",
        results=tuple(json.loads(results)) if results else (),
    )
