"""A staged diff by stretches of positions: what each changes and costs, and what its jobs differ in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from runner.store.connection import Connection
from runner.store.diff import orphans_sql
from runner.store.staging import shown_change

# What jobs may differ in, as columns of what is staged.
DIFFERING = ("prompt", "params", "refs")


def axes(conn: Connection, first: int, last: int, *, every: int = 1) -> Iterator[tuple[int, str]]:
    """Yield (position, axes as JSON) of the jobs between two positions, or of one in so many, in order."""
    rows = conn.execute(
        "SELECT position, axes FROM incoming WHERE position BETWEEN ? AND ? AND (position / ?) * ? = position"
        " ORDER BY position",
        (first, last, every, every),
    )
    return ((row["position"], row["axes"]) for row in rows)


class Part(NamedTuple):
    """The jobs of a stretch that have one change and one shape."""

    change: str
    shape: str
    model: str
    jobs: int
    sends: int
    first: int
    last: int


def parts(conn: Connection, first: int | None = None, last: int | None = None) -> list[Part]:
    """Return what lies between two positions, or all of it."""
    where = "" if first is None else " WHERE position BETWEEN ? AND ?"
    rows = conn.execute(
        f"SELECT {shown_change(conn)} AS change, shape, model,"
        " count(*) AS jobs, sum(sends) AS sends, min(position) AS first, max(position) AS last"
        f" FROM incoming{where} GROUP BY 1, shape, model ORDER BY first",
        () if first is None else (first, last),
    )
    return [
        Part(
            row["change"],
            row["shape"],
            row["model"],
            *(int(row[name]) for name in ("jobs", "sends", "first", "last")),
        )
        for row in rows
    ]


class GroupedJob(NamedTuple):
    """A job as an example of its group; `params` and `refs` are JSON."""

    position: int
    job: str
    axes: str
    shape: str
    model: str
    prompt: str | None
    params: str
    refs: str


_JOB = "position, job, axes, shape, model, prompt, params, refs"


def jobs(conn: Connection, first: int, last: int, change: str, limit: int) -> list[GroupedJob]:
    """Return the first jobs with a change between two positions."""
    rows = conn.execute(
        f"SELECT {_JOB} FROM incoming WHERE position BETWEEN ? AND ? AND {shown_change(conn)} = ?"
        " ORDER BY position LIMIT ?",
        (first, last, change, limit),
    )
    return [GroupedJob(*row) for row in rows]


def values(conn: Connection, first: int, last: int, change: str, column: str, limit: int) -> list[str | None]:
    """Return different values of a column of `DIFFERING` among such jobs, so many of them at most."""
    assert column in DIFFERING
    rows = conn.execute(
        f"SELECT DISTINCT {column} AS value FROM incoming WHERE position BETWEEN ? AND ?"
        f" AND {shown_change(conn)} = ? LIMIT ?",
        (first, last, change, limit),
    )
    return [row["value"] for row in rows]


def to_send(conn: Connection) -> Iterator[GroupedJob]:
    """Yield the jobs that a run would submit, in order."""
    rows = conn.execute(f"SELECT {_JOB} FROM incoming WHERE sends = 1 ORDER BY position")
    return (GroupedJob(*row) for row in rows)


class StagedRow(NamedTuple):
    """A staged job as it is told from others: what it is made of, and which payment for it comes next."""

    job: str
    fingerprint: str
    shape: str
    sends: bool
    round: int
    off: bool


def staged(conn: Connection) -> Iterator[StagedRow]:
    """Yield all staged jobs, in order."""
    rows = conn.execute(
        "SELECT i.job, i.fingerprint, i.shape, i.sends, coalesce(j.round, 1) AS round,"
        " i.job IN (SELECT job FROM switched) AS off"
        " FROM incoming i LEFT JOIN jobs j ON j.id = i.row ORDER BY i.position"
    )
    return (
        StagedRow(
            row["job"],
            row["fingerprint"],
            row["shape"],
            bool(row["sends"]),
            int(row["round"]),
            bool(row["off"]),
        )
        for row in rows
    )


def first_of_each_shape(conn: Connection) -> list[tuple[str, str]]:
    """Return (shape, id of its first job) of what a run would submit, in order."""
    rows = conn.execute(
        "SELECT i.shape, i.job FROM (SELECT min(position) AS position FROM incoming WHERE sends = 1 GROUP BY shape) g"
        " JOIN incoming i ON i.position = g.position ORDER BY g.position"
    )
    return [(row["shape"], row["job"]) for row in rows]


def axes_to_send(conn: Connection) -> Iterator[tuple[str, str]]:
    """Yield (axes as JSON, shape) of the jobs that a run would submit."""
    rows = conn.execute("SELECT axes, shape FROM incoming WHERE sends = 1")
    return ((row["axes"], row["shape"]) for row in rows)


class Edited(NamedTuple):
    """A job whose content was changed: as it is now, and as it was."""

    job: str
    cause: str
    model: str
    prompt: str | None
    params: str
    refs: str
    old_model: str
    old_prompt: str | None
    old_params: str
    old_refs: str


_OLD = (
    "jobs j ON j.id = (SELECT k.id FROM jobs k WHERE k.manifest = ?1 AND k.job = i.job"
    " ORDER BY +k.listed DESC, k.id DESC LIMIT 1)"
)


def edited(conn: Connection, manifest: str, limit: int) -> list[Edited]:
    """Return the first of the jobs that were changed."""
    rows = conn.execute(
        "SELECT i.job, i.cause, i.model, i.prompt, i.params, i.refs, j.model AS old_model, j.prompt AS old_prompt,"
        f" j.params AS old_params, j.refs AS old_refs FROM incoming i JOIN {_OLD}"
        " WHERE i.change = 'changed' AND i.job NOT IN (SELECT job FROM switched) ORDER BY i.position LIMIT ?2",
        (manifest, limit),
    )
    return [Edited(*row) for row in rows]


def paid_again(conn: Connection, manifest: str) -> tuple[int, float]:
    """Return how many changed jobs would be paid for again, and what they come to, in credits."""
    found = conn.execute(
        f"SELECT count(*) AS n, sum(i.estimate) AS credits FROM incoming i JOIN {_OLD} WHERE i.change = 'changed'"
        " AND i.sends = 1 AND EXISTS (SELECT 1 FROM ledger l WHERE l.job = j.id AND l.amount > 0)",
        (manifest,),
    ).fetchone()
    return int(found["n"]), float(found["credits"] or 0.0)


def superseded(conn: Connection, manifest: str) -> int:
    """Return how many of the orphaned rows are old versions of jobs that are listed."""
    found = conn.execute(
        f"SELECT count(*) AS n FROM {orphans_sql(conn)} WHERE job IN (SELECT job FROM incoming)", (manifest,)
    ).fetchone()
    return int(found["n"])
