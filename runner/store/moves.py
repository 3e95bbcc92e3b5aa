"""The life of a job, as the store writes it: one verb for each thing that happens to one.

Each verb changes one row by one step, inside the transaction of its caller, and returns the row as it is then. It is
checked against `runner.lifecycle.rules.may_become`, and against the version the step began with:

    StaleJob     somebody else has changed the row since
    RunnerError  no job goes from its state to that one: a bug of ours; nothing was changed

`now` is an RFC 3339 time in UTC. Money is not told here: see `runner.store.ledger`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runner.errors import RunnerError
from runner.lifecycle.rules import Failure, may_become
from runner.model import NEVER_SENT, Job, Reference, State, TaskId
from runner.store.connection import Connection
from runner.store.jobs import StaleJob, changed, references_json

_NO_ERROR: dict[str, Any] = {"error_class": None, "error_code": None, "error_message": None}
_NO_TROUBLE: dict[str, Any] = {"trouble": None, "trouble_since": None, **_NO_ERROR}
_NEVER_SENT: dict[str, Any] = {
    "first_sent_at": None,
    "first_sent_boot_s": None,
    "first_sent_boot_id": None,
    "first_sent_service_at": None,
    "last_unclear_at": None,
}
_NO_CONFLICT: dict[str, Any] = {"conflicts": 0, "conflict_since": None}
# What a row holds of one payment: cleared when another begins. What kept the last one from coming is still told.
_FRESH_ROUND: dict[str, Any] = {
    **_NEVER_SENT,
    **_NO_CONFLICT,
    "revision": 1,
    "key": None,
    "body": None,
    "in_doubt": 0,
    "pinned": 0,
    "reopened": 0,
    "attempts": 0,
    "fresh_bodies": 0,
    "task_id": None,
    "task_status": None,
    "urls": "[]",
    "submitted_at": None,
    "finished_at": None,
    "duration_s": None,
    "polls": 0,
    "overdue": 0,
    "trouble": None,
    "trouble_since": None,
    "oddness": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """What is sent: a body and the idempotency key that belongs to it."""

    revision: int
    key: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSend:
    """When bytes that may be accepted left for the first time, by each clock there is: their age is told by these.

    `boot_s` counts seconds since this machine has started, in the start that `boot_id` names; `service_at` is the
    service's own time, None where that is not known.
    """

    boot_s: float | None
    boot_id: str | None
    service_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a person is told of a trouble, once it has lasted."""

    cls: str
    code: str
    message: str


# --- before and while it is sent ---------------------------------------------------------------------------------


def bind(conn: Connection, job: Job, now: str, references: Sequence[Reference]) -> Job:
    """What it takes of other jobs is these files; of what was sent under a key, nothing changes any more.

    Raises:
        RunnerError: It may have been sent, or one of them is no file.
    """
    if job.state not in NEVER_SENT or any(each.is_to_come for each in references):
        msg = f"job {job.id} cannot be bound to the results of other jobs now"
        raise RunnerError(msg, hint="this is a bug in rivya-batch; nothing was changed")
    return _advance(conn, job, now, refs=references_json(references))


def uploading(conn: Connection, job: Job, now: str) -> Job:
    """Its reference files go to the service. It stays so until it is submitted, also once all are there."""
    return _advance(conn, job, now, State.UPLOADING)


def intend(
    conn: Connection,
    job: Job,
    now: str,
    *,
    bytes_: Bytes,
    first: FirstSend,
    key12: str,
    base_url: str,
) -> Job:
    """It is about to be sent, by the account `key12` to the service at `base_url`: from here on it may be paid."""
    return _advance(
        conn,
        job,
        now,
        State.SUBMITTING,
        revision=bytes_.revision,
        key=bytes_.key,
        body=bytes_.body,
        key12=key12,
        base_url=base_url,
        **_sent_first(first, now),
        last_unclear_at=now,
        in_doubt=1,
        attempts=job.attempts + 1,
        **_NO_CONFLICT,
    )


def send_again(conn: Connection, job: Job, now: str, *, key12: str, window: FirstSend | None = None) -> Job:
    """The same bytes are about to be sent once more; `window` where a person has opened a new one for them."""
    opened = {"reopened": 0, **_sent_first(window, now)} if window is not None else {}
    return _advance(
        conn,
        job,
        now,
        in_doubt=job.in_doubt + 1,
        last_unclear_at=now,
        attempts=job.attempts + 1,
        key12=key12,
        **opened,
    )


def refused(conn: Connection, job: Job, now: str, *, conflict: bool, pinned: bool) -> Job:
    """One send of it was surely not accepted. What was sent before it may have been.

    Args:
        conn: Inside a transaction.
        job: The row as it is now.
        now: The time.
        conflict: Whether the service says that it has the key under way.
        pinned: Whether only these very bytes may be sent from now on.
    """
    in_doubt = job.in_doubt - 1
    columns = _NEVER_SENT if in_doubt == 0 else {}
    return _advance(
        conn, job, now, in_doubt=in_doubt, **_pinned(pinned), **columns, **_conflict(job, now, conflict)
    )


def unclear(conn: Connection, job: Job, now: str, *, conflict: bool, pinned: bool) -> Job:
    """Nobody can say whether a send of it was accepted."""
    return _advance(conn, job, now, last_unclear_at=now, **_pinned(pinned), **_conflict(job, now, conflict))


def back(conn: Connection, job: Job, now: str, *, new_bytes: bool = False, fresh_body: bool = False) -> Job:
    """It was not accepted, and not for any fault of its own: it waits to be sent as if it never had been.

    Args:
        conn: Inside a transaction.
        job: The row as it is now.
        now: The time.
        new_bytes: Whether the key of the old ones is never to be used again.
        fresh_body: Whether its reference files have to be uploaded anew.
    """
    columns: dict[str, Any] = {}
    if new_bytes:
        columns |= {"revision": job.revision + 1, "key": None, "body": None, "pinned": 0}
    if fresh_body:
        columns["fresh_bodies"] = job.fresh_bodies + 1
    return _advance(conn, job, now, State.PLANNED, **columns)


def not_sent(conn: Connection, job: Job, now: str) -> Job:
    """No byte of what was intended has left: it waits as if it had not been."""
    return _advance(
        conn, job, now, State.PLANNED, in_doubt=job.in_doubt - 1, attempts=job.attempts - 1, **_NEVER_SENT
    )


def uncertain(conn: Connection, job: Job, now: str, failure: Failure) -> Job:
    """It may have been paid, and no send of ours can tell any more: a person decides."""
    return _advance(conn, job, now, State.UNCERTAIN, **_error(failure))


# --- accepted ----------------------------------------------------------------------------------------------------


def accepted(conn: Connection, job: Job, now: str, *, task_id: TaskId, word: str | None = None) -> Job:
    """The service has taken it on, as this task; `word` is its word for how a task stands that has not ended."""
    told = {"task_status": word} if word is not None else {}
    return _advance(conn, job, now, State.WAITING, task_id=task_id, submitted_at=now, **told, **_NO_ERROR)


def still_running(
    conn: Connection, job: Job, now: str, *, word: str, overdue: bool = False, polled: bool = False
) -> Job:
    """Its task has not ended: the service's word for how it stands, and whether it ought to have."""
    return _advance(
        conn,
        job,
        now,
        State.WAITING,
        task_status=word,
        overdue=int(overdue),
        polls=job.polls + int(polled),
    )


def overdue(conn: Connection, job: Job, now: str) -> Job:
    """Its task ought to have ended."""
    return _advance(conn, job, now, overdue=1)


def to_download(
    conn: Connection,
    job: Job,
    now: str,
    *,
    word: str,
    urls: Sequence[str],
    duration_s: float | None,
    oddness: str | None,
    polled: bool,
) -> Job:
    """Its task has succeeded: its results are at these urls, and whatever has kept it is over."""
    return _advance(
        conn,
        job,
        now,
        State.DOWNLOADING,
        task_status=word,
        urls=json.dumps(urls),
        duration_s=duration_s,
        overdue=0,
        oddness=oddness,
        polls=job.polls + int(polled),
        **_NO_TROUBLE,
    )


def new_urls(conn: Connection, job: Job, now: str, urls: Sequence[str]) -> Job:
    """Its results are at other urls now."""
    return _advance(conn, job, now, urls=json.dumps(urls))


def fetch_again(conn: Connection, job: Job, now: str) -> Job:
    """A file of it is gone from the disk; its task is paid and known, and can be asked for fresh urls."""
    return _advance(conn, job, now, State.DOWNLOADING, urls="[]")


def partly(conn: Connection, job: Job, now: str) -> Job:
    """Some of its results are on the disk, and others are to come."""
    return _advance(conn, job, now)


def done(conn: Connection, job: Job, now: str) -> Job:
    """Its results are on the disk."""
    return _advance(conn, job, now, State.DONE, finished_at=now, **_NO_TROUBLE)


def trouble(
    conn: Connection, job: Job, now: str, *, begins: str | None = None, told: Told | None = None
) -> Job:
    """Something keeps its result from coming.

    Args:
        conn: Inside a transaction.
        job: The row as it is now, `waiting` or `downloading`.
        now: The time.
        begins: The trouble's name where it is there from now on, None where it goes on.
        told: What a person is told of it from now on.
    """
    columns: dict[str, Any] = {}
    if begins is not None:
        columns |= {**_NO_TROUBLE, "trouble": begins, "trouble_since": now}
    if told is not None:
        columns |= {"error_class": told.cls, "error_code": told.code, "error_message": told.message}
    return _advance(conn, job, now, **columns) if columns else job


def no_trouble(conn: Connection, job: Job, now: str) -> Job:
    """What kept its result from coming is over."""
    return _advance(conn, job, now, **_NO_TROUBLE)


# --- the end of a round, and the next ----------------------------------------------------------------------------


def fail(
    conn: Connection,
    job: Job,
    now: str,
    failure: Failure,
    *,
    word: str | None = None,
    polled: bool = False,
) -> Job:
    """It has failed, or was refused for good; `word` is its task's, where there was one."""
    columns: dict[str, Any] = {"polls": job.polls + int(polled)}
    if word is not None:
        columns |= {"task_status": word, "overdue": 0}
    return _advance(conn, job, now, State.FAILED, finished_at=now, **_error(failure), **columns)


def begin_round(conn: Connection, job: Job, now: str, failure: Failure | None = None) -> Job:
    """It is to be made and paid once more; `failure` says what became of the round that has ended."""
    errors = _error(failure) if failure is not None else {}
    # A failed round has made nothing of which other jobs could have been made.
    had_result = job.finished_at is not None and job.state is not State.FAILED
    edition = {"edition": job.edition + 1} if had_result else {}
    return _advance(
        conn, job, now, State.PLANNED, **{**_FRESH_ROUND, "round": job.round + 1, **edition, **errors}
    )


def begin_unpaid(conn: Connection, job: Job, now: str) -> Job:
    """Its task has ended for want of credits, unpaid: the same round begins anew, under another key."""
    return _advance(conn, job, now, State.PLANNED, **{**_FRESH_ROUND, "revision": job.revision + 1})


# --- by a person's word ------------------------------------------------------------------------------------------


def reopen(conn: Connection, job: Job, now: str) -> Job:
    """Its bytes may be sent again, in a window that opens with the next send, under whatever key that run has."""
    return _advance(conn, job, now, State.SUBMITTING, reopened=1, **_NO_CONFLICT, **_NO_ERROR)


def attach(
    conn: Connection,
    job: Job,
    now: str,
    *,
    task_id: TaskId,
    word: str,
    created_at: str | None,
    key12: str,
) -> Job:
    """A task is its own. `key12` names the key that could see it: a 404 to that one is no sign of another account."""
    return _advance(
        conn,
        job,
        now,
        State.WAITING,
        task_id=task_id,
        task_status=word,
        key12=key12,
        submitted_at=created_at or now,
        overdue=0,
        **_NO_TROUBLE,
    )


def abandon(conn: Connection, job: Job, now: str) -> Job:
    """It is given up; its credits stay counted."""
    return _advance(conn, job, now, State.ABANDONED, overdue=0)


# --- found on the disk -------------------------------------------------------------------------------------------


def through(conn: Connection, job: Job, now: str, states: Sequence[State]) -> Job:
    """It has gone through these states while nobody looked."""
    for state in states:
        job = _advance(conn, job, now, state)
    return job


def found_round(
    conn: Connection,
    job: Job,
    now: str,
    *,
    round_: int,
    edition: int | None,
    key: str | None,
    submitted_at: str | None,
) -> Job:
    """What is on the disk is of a later round than the one its row knows."""
    columns = {**_FRESH_ROUND, "round": round_, "key": key, "submitted_at": submitted_at}
    if edition is not None:
        columns["edition"] = edition
    return _advance(conn, job, now, **columns)


def found(
    conn: Connection,
    job: Job,
    now: str,
    *,
    task_id: TaskId | None,
    finished_at: str | None,
    whole: bool,
) -> Job:
    """Its results are on the disk already, all of them or some."""
    return _advance(
        conn,
        job,
        now,
        State.DONE if whole else State.DOWNLOADING,
        task_id=task_id,
        finished_at=finished_at or now,
        **_NO_ERROR,
    )


# --- how -----------------------------------------------------------------------------------------------------------


def check(old: State, new: State, *, who: str = "a job") -> None:
    """Check a change of state against the table of all that happen.

    Raises:
        RunnerError: It is not one of them.
    """
    if not may_become(old, new):
        msg = f"{who} cannot go from {old.value} to {new.value}"
        raise RunnerError(msg, hint="this is a bug in rivya-batch; nothing was changed")


def _advance(conn: Connection, job: Job, now: str, state: State | None = None, **columns: Any) -> Job:
    if state is not None:
        check(job.state, state, who=f"job {job.id}")
        columns["state"] = state.value
    # The new row is not read back: what it holds is known, for nobody else has changed this version of it.
    found = conn.execute(_update(tuple(columns)), (*columns.values(), now, job.row, job.version))
    if found.rowcount != 1:
        msg = f"job {job.id} was changed by another step while this one ran"
        raise StaleJob(msg)
    columns["version"] = job.version + 1
    return changed(job, columns)


@lru_cache(maxsize=200)
def _update(columns: tuple[str, ...]) -> str:
    sets = "".join(f"{name} = ?, " for name in columns)
    return f"UPDATE jobs SET {sets}version = version + 1, updated_at = ? WHERE id = ? AND version = ?"


def _sent_first(first: FirstSend, now: str) -> dict[str, Any]:
    return {
        "first_sent_at": now,
        "first_sent_boot_s": first.boot_s,
        "first_sent_boot_id": first.boot_id,
        "first_sent_service_at": first.service_at,
    }


def _pinned(pinned: bool) -> dict[str, Any]:
    return {"pinned": 1} if pinned else {}


def _conflict(job: Job, now: str, conflict: bool) -> dict[str, Any]:
    return {"conflicts": job.conflicts + 1, "conflict_since": job.conflict_since or now} if conflict else {}


def _error(failure: Failure) -> dict[str, Any]:
    return {
        "error_class": failure.cls.value,
        "error_code": failure.code,
        "error_message": failure.message,
    }
