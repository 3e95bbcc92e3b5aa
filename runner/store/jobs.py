"""Rows of jobs: read and found. What happens to one is written by `runner.store.moves`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from runner.errors import RunnerError
from runner.model import (
    Artifact,
    Frame,
    Job,
    Json,
    Kind,
    ModelId,
    Reference,
    ResultOf,
    Sha256,
    State,
    path_of,
)
from runner.store.connection import Connection, SelectedRow

NEVER_SENT_SQL = "('planned', 'uploading')"  # `model.NEVER_SENT`, as the index of jobs to send has it
UNDER_WAY_SQL = "('submitting', 'waiting', 'downloading', 'uncertain')"  # sent, and not settled
NEAREST_TO_A_RESULT = (  # what is paid is not left aside while the same is paid for again
    "CASE state WHEN 'done' THEN 0 WHEN 'downloading' THEN 1 WHEN 'waiting' THEN 2 WHEN 'submitting' THEN 3"
    " WHEN 'uncertain' THEN 4 WHEN 'failed' THEN 6 WHEN 'abandoned' THEN 7 ELSE 5 END"
)
OFF = "off"  # in the place of a state: nothing was sent, and nothing will be until it is switched on
COLUMNS = (
    "id, version, manifest, job, fingerprint, listed, position, origin, serial, state, model, prompt,"
    " params, refs, axes, shape, output, round, edition, revision, key, body, key12, base_url, first_sent_at,"
    " first_sent_boot_s, first_sent_boot_id, first_sent_service_at, last_unclear_at,"
    " in_doubt, pinned, reopened, attempts, conflicts, conflict_since, fresh_bodies, task_id, task_status, urls,"
    " submitted_at, finished_at, duration_s, polls, overdue, error_class, error_code, error_message,"
    " trouble, trouble_since, oddness"
)
_NAMES = tuple(COLUMNS.split(", "))
_OTHER_NAMES = {"id": "row", "job": "id", "refs": "references"}
_FIELDS = tuple(_OTHER_NAMES.get(name, name) for name in _NAMES)
_STATES = {state.value: state for state in State}
_SELECT = f"SELECT {COLUMNS} FROM jobs"
_SELECT_ONE = f"{_SELECT} WHERE id = ?"


class StaleJob(RunnerError):
    """The row is not as it was when this step began; whoever changed it has gone on with it."""


def references_json(references: Sequence[Reference]) -> str:
    """Return references as the column `refs` holds them."""
    return json.dumps(
        [
            {
                "path": item.path,
                "file": "" if item.is_to_come else str(item.file),
                "kind": item.kind.value,
                "mime": item.mime,
                "size_bytes": item.size_bytes,
                "sha256": item.sha256,
                **({"of": _of_json(item.result_of)} if item.result_of is not None else {}),
            }
            for item in references
        ],
        ensure_ascii=False,
    )


def _of_json(of: ResultOf) -> dict[str, Any]:
    frame = of.frame.value if of.frame is not None else None
    return {"jobs": of.jobs, "result": of.result, "frame": frame, "pick": of.pick, "undecided": of.undecided}


def _of_from_json(of: Mapping[str, Any]) -> ResultOf:
    return ResultOf(
        jobs=tuple(of["jobs"]),
        result=of["result"],
        frame=Frame(of["frame"]) if of["frame"] is not None else None,
        pick=of["pick"],
        undecided=of["undecided"],
    )


def references_from_json(text: str) -> tuple[Reference, ...]:
    """Read the column `refs`."""
    if text == "[]":
        return ()
    return tuple(
        Reference(
            path=item["path"],
            file=path_of(item["file"]),
            kind=Kind(item["kind"]),
            mime=item["mime"],
            size_bytes=item["size_bytes"],
            sha256=Sha256(item["sha256"]),
            result_of=_of_from_json(item["of"]) if "of" in item else None,
        )
        for item in json.loads(text)
    )


@lru_cache(maxsize=200)
def _params(text: str) -> Mapping[str, Json]:
    """Read the column `params`: most jobs of a manifest have the same, and nobody changes them."""
    found: Mapping[str, Json] = json.loads(text)
    return found


# How a column is read that does not hold what the field of a job does.
_READ: dict[str, Callable[[Any], Any]] = {
    "listed": bool,
    "state": _STATES.__getitem__,
    "params": _params,
    "refs": references_from_json,
    "axes": lambda text: {} if text == "{}" else json.loads(text),
    "pinned": bool,
    "reopened": bool,
    "task_id": lambda text: text or None,
    "urls": lambda text: () if text == "[]" else tuple(json.loads(text)),
    "overdue": bool,
}
_FIELD = {name: (field, _READ.get(name)) for name, field in zip(_NAMES, _FIELDS, strict=True)}
_FIELDS_TO_READ = tuple((_FIELD[name][0], read) for name, read in _READ.items())


def read_job(found: SelectedRow) -> Job:
    """Return the job of a row that holds `COLUMNS`."""
    values: dict[str, Any] = dict(zip(_FIELDS, found, strict=True))
    for field, read in _FIELDS_TO_READ:
        values[field] = read(values[field])
    return _job(values)


def changed(job: Job, columns: Mapping[str, Any]) -> Job:
    """Return what a job is once these columns of its row are written, as it would be read."""
    values = dict(vars(job))
    for name, value in columns.items():
        field, read = _FIELD[name]
        values[field] = value if read is None else read(value)
    return _job(values)


def _job(values: Mapping[str, Any]) -> Job:
    # A row is read or changed some times for each job, and a call with all of its fields takes ten times as long.
    job: Job = object.__new__(Job)
    vars(job).update(values)
    return job


def get(conn: Connection, row: int) -> Job:
    """Return the job with this row number.

    Raises:
        RunnerError: There is none.
    """
    found = conn.execute(_SELECT_ONE, (row,)).fetchone()
    if found is None:
        msg = f"there is no job in row {row}"
        raise RunnerError(msg)
    return read_job(found)


def find(conn: Connection, manifest: str, job: str) -> list[Job]:
    """Return all rows of a job id, the listed one first, then the latest."""
    rows = conn.execute(
        f"{_SELECT} WHERE manifest = ? AND job = ? ORDER BY listed DESC, id DESC",
        (manifest, job),
    )
    return [read_job(row) for row in rows]


def in_states(
    conn: Connection, manifest: str, states: Iterable[State], *, listed_only: bool = False
) -> list[Job]:
    """Return all jobs in these states, in the manifest's order."""
    names = [state.value for state in states]
    marks = ", ".join("?" * len(names))
    where = " AND listed = 1" if listed_only else ""
    rows = conn.execute(
        f"{_SELECT} WHERE manifest = ? AND state IN ({marks}){where} ORDER BY position, id",
        (manifest, *names),
    )
    return [read_job(row) for row in rows]


def page_to_send(conn: Connection, manifest: str, *, after: tuple[int, int], limit: int) -> list[Job]:
    """Return the next listed jobs to be sent, which wait for no other, in order, after `(position, row)`."""
    rows = conn.execute(
        f"{_SELECT} INDEXED BY jobs_to_send WHERE manifest = ? AND listed = 1"
        f" AND state IN {NEVER_SENT_SQL} AND blocked = 0 AND (position, id) > (?, ?) ORDER BY position, id LIMIT ?",
        (manifest, *after, limit),
    )
    return [read_job(row) for row in rows]


def count_poll(conn: Connection, row: int) -> None:
    """Count a poll that has found nothing new; no step, so no new version."""
    conn.execute("UPDATE jobs SET polls = polls + 1 WHERE id = ?", (row,))


def counts(conn: Connection, manifest: str) -> dict[tuple[State, bool], int]:
    """Return how many jobs are in each (state, listed)."""
    rows = conn.execute(
        "SELECT state, listed, count(*) AS n FROM jobs WHERE manifest = ? GROUP BY state, listed", (manifest,)
    )
    return {(State(row["state"]), bool(row["listed"])): row["n"] for row in rows}


def models_of(conn: Connection, manifest: str) -> set[ModelId]:
    """Return the models of the listed jobs of a manifest."""
    rows = conn.execute("SELECT DISTINCT model FROM jobs WHERE manifest = ? AND listed = 1", (manifest,))
    return {ModelId(row["model"]) for row in rows}


def by_state(found: Mapping[tuple[State, bool], int], off: Mapping[State, int]) -> tuple[dict[str, int], int]:
    """Return `counts` for people: the listed jobs by state, and how many are not listed any more.

    Those that are switched off (`switches.counts`) are counted as `off`.
    """
    listed = {
        state.value: number - off.get(state, 0)
        for (state, is_listed), number in found.items()
        if is_listed and number > off.get(state, 0)
    }
    if off:
        listed[OFF] = sum(off.values())
    return listed, sum(number for (_, is_listed), number in found.items() if not is_listed)


def listed_in(conn: Connection, manifest: str, states: Iterable[State]) -> list[tuple[int, str, State, bool]]:
    """Return (row, id, state, overdue) of the listed jobs in these states."""
    names = [state.value for state in states]
    rows = conn.execute(
        "SELECT id, job, state, overdue FROM jobs WHERE manifest = ? AND listed = 1"
        f" AND state IN ({', '.join('?' * len(names))}) ORDER BY position, id",
        (manifest, *names),
    )
    return [(row["id"], row["job"], State(row["state"]), bool(row["overdue"])) for row in rows]


def overdue(conn: Connection, manifest: str) -> int:
    """Return how many listed jobs wait beyond their deadline."""
    found = conn.execute(
        "SELECT count(*) FROM jobs WHERE manifest = ? AND listed = 1 AND overdue = 1 AND state = 'waiting'",
        (manifest,),
    ).fetchone()
    return int(found[0])


def shapes_to_come(conn: Connection, manifest: str, limit: int = 500) -> list[str]:
    """Return the shapes of the jobs that still have to run."""
    rows = conn.execute(
        f"SELECT shape FROM jobs WHERE manifest = ?1 AND state IN {NEVER_SENT_SQL}"
        f" UNION SELECT shape FROM jobs WHERE manifest = ?1 AND state IN {UNDER_WAY_SQL} LIMIT ?2",
        (manifest, limit),
    )
    return [row["shape"] for row in rows]


def holder_of_task(conn: Connection, base_url: str, task_id: str) -> tuple[int, int] | None:
    """Return (job row, round) of the payment that holds this task id at this service, if any."""
    found = conn.execute(
        "SELECT job, round FROM ledger WHERE base_url = ? AND task_id = ?", (base_url, task_id)
    ).fetchone()
    return (found["job"], found["round"]) if found else None


def save_artifacts(conn: Connection, job: Job, artifacts: Sequence[Artifact]) -> None:
    """Replace the list of a job's result files, which are those of its present round.

    A file of another job that stood at one of these paths has gone to `.old/`: its path is blanked, so
    that it is looked for by its content should that job be wanted again.
    """
    conn.execute("DELETE FROM artifacts WHERE job = ?", (job.row,))
    conn.executemany(
        "UPDATE artifacts SET path = '' WHERE path = ?", [(str(item.path),) for item in artifacts]
    )
    conn.executemany(
        "INSERT INTO artifacts (job, round, number, path, sha256, size_bytes, mime, warning)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                job.row,
                job.round,
                item.number,
                str(item.path),
                item.sha256,
                item.size_bytes,
                item.mime,
                item.warning,
            )
            for item in artifacts
        ],
    )


def artifacts(conn: Connection, row: int) -> list[Artifact]:
    """Return a job's result files by number."""
    rows = conn.execute("SELECT * FROM artifacts WHERE job = ? ORDER BY number", (row,))
    return [_artifact(item) for item in rows]


def artifacts_of_round(conn: Connection, job: Job) -> list[Artifact]:
    """Return the result files of a job's present round by number; while it is `downloading`, perhaps not all."""
    # 0: from before rounds were recorded, when a job had either all its results or none.
    rows = conn.execute(
        "SELECT * FROM artifacts WHERE job = ? AND round IN (?, 0) ORDER BY number", (job.row, job.round)
    )
    return [_artifact(item) for item in rows]


def _artifact(row: SelectedRow) -> Artifact:
    return Artifact(
        number=row["number"],
        path=path_of(row["path"]),
        sha256=Sha256(row["sha256"]),
        size_bytes=row["size_bytes"],
        mime=row["mime"],
        warning=row["warning"],
    )


def outputs(conn: Connection, manifest: str) -> Iterable[str]:
    """Yield the output names of the listed jobs of a manifest that have results, or may come to have some."""
    rows = conn.execute(
        "SELECT output FROM jobs WHERE manifest = ? AND listed = 1 AND state NOT IN ('failed', 'abandoned')",
        (manifest,),
    )
    return (row["output"] for row in rows)


def finished_files(conn: Connection, manifest: str) -> Iterable[tuple[int, str, str, int]]:
    """Yield (job row, wanted output, path, size) of every artifact of the listed finished jobs, in any order."""
    found = conn.execute(
        "SELECT j.id, j.output, a.path, a.size_bytes FROM jobs j JOIN artifacts a ON a.job = j.id"
        " WHERE j.manifest = ? AND j.listed = 1 AND j.state = 'done'",
        (manifest,),
    )
    return ((row, output, path, size) for row, output, path, size in found)


def warned(conn: Connection, manifest: str) -> int:
    """Return how many results of the listed jobs were kept although something is odd about them."""
    found = conn.execute(f"SELECT count(*) {_WARNED}", (manifest,)).fetchone()
    return int(found[0])


def last_warnings(conn: Connection, manifest: str, limit: int) -> list[dict[str, Any]]:
    """Return the latest of them: `{"job", "path", "warning"}`."""
    rows = conn.execute(
        f"SELECT j.job, a.path, a.warning {_WARNED} ORDER BY j.finished_at DESC, j.id DESC LIMIT ?",
        (manifest, limit),
    )
    return [dict(row) for row in rows]


_WARNED = "FROM artifacts a JOIN jobs j ON j.id = a.job WHERE a.warning IS NOT NULL AND j.manifest = ? AND j.listed = 1"


class NotComing(NamedTuple):
    """An accepted job that something keeps from coming home.

    `code` says what it is: `overdue` for a task beyond its deadline. `settled`: it is not expected to pass. Credits
    are those of the present round.
    """

    job: str
    state: str
    listed: bool
    code: str
    settled: bool
    message: str | None
    since: str | None
    charged: float
    reserved: float


def not_coming(conn: Connection, manifest: str) -> Iterator[NotComing]:
    """Yield the accepted jobs that something keeps from coming home, in the manifest's order."""
    rows = conn.execute(
        "SELECT j.job, j.state, j.listed, coalesce(j.error_code, j.trouble, 'overdue') AS code,"
        " j.error_code IS NOT NULL OR j.trouble IS NULL AS settled, j.error_message AS message,"
        " j.trouble_since AS since, coalesce(l.charged, 0) AS charged,"
        " CASE WHEN l.state = 'reserved' THEN l.amount ELSE 0 END AS reserved"
        " FROM jobs j LEFT JOIN ledger l ON l.job = j.id AND l.round = j.round"
        " WHERE j.manifest = ? AND j.state IN ('waiting', 'downloading')"
        " AND (j.error_code IS NOT NULL OR j.trouble IS NOT NULL OR j.overdue = 1) ORDER BY j.position, j.id",
        (manifest,),
    )
    for job, state, listed, code, settled, message, since, charged, reserved in rows:
        yield NotComing(job, state, bool(listed), code, bool(settled), message, since, charged, reserved)


def last_errors(conn: Connection, manifest: str, limit: int) -> list[dict[str, Any]]:
    """Return the latest failed and uncertain jobs: `{"job", "state", "class", "code", "message", "at"}`."""
    rows = conn.execute(
        "SELECT job, state, error_class AS class, error_code AS code, error_message AS message, updated_at AS at"
        " FROM jobs WHERE manifest = ? AND state IN ('uncertain', 'failed') AND (state = 'uncertain' OR listed = 1)"
        " ORDER BY updated_at DESC, id DESC LIMIT ?",
        (manifest, limit),
    )
    return [dict(row) for row in rows]
