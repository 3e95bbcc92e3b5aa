"""Poll: ask for a task once, and commit what it says."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from runner.clock import epoch
from runner.errors import Exit
from runner.machine import Answer, Failure, Meaning, TaskView, read_task, task_failure, understand
from runner.model import Job, State
from runner.steps.desk import Desk
from runner.steps.rounds import take_task
from runner.store import jobs, ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What a poll has found.

    `state` is None when the answer was no answer (5xx, garbage, 404, 429): ask again later.
    """

    answer: Answer
    job: Job | None = None
    state: State | None = None
    word: str = ""
    stop: Exit | None = None
    overdue: bool = False
    duration_s: float | None = None
    failure: Failure | None = None
    paid: ledger.Paid | None = None  # of a job whose result is to be fetched
    reserved: float | None = None  # what the ledger holds as named by the service; None when not looked at
    credits_moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a waiting task without asking the database."""

    task_id: str
    word: str
    late_at_s: float  # wall clock: from then on it is overdue
    reserved: float | None = None  # credits the service has named; None when that is not known here
    unwatched: bool = False  # an earlier run has sent it: it may have ended long before we asked


async def poll(desk: Desk, row: int, seen: Seen) -> Polled:
    """Ask for one task; wait for a commit only when something has changed."""
    task_id = seen.task_id
    answer = understand(await desk.api.poll(task_id))
    task = read_task(answer.data) if answer.meaning is Meaning.OK else None
    if task is not None and task.id != task_id:
        task = None  # an answer about something else says nothing about this job
    if (
        task is not None
        and not task.terminal
        and task.word == seen.word
        and (not task.reserved or task.reserved == seen.reserved)
        and desk.clock.wall_s() < seen.late_at_s
    ):
        desk.writer.write_soon(lambda conn: jobs.count_poll(conn, row))
        return Polled(answer=answer, state=State.WAITING, word=seen.word)
    return await desk.writer.write(lambda conn: _record(conn, desk, row, answer, task, seen))


def _record(
    conn: sqlite3.Connection, desk: Desk, row: int, answer: Answer, task: TaskView | None, seen: Seen
) -> Polled:
    job = jobs.get(conn, row)
    if job.state is not State.WAITING or job.task_id != seen.task_id:
        return Polled(job=job, answer=answer, state=job.state)
    # Only the service's own word tells that the task still runs: a gateway's page is no answer to a poll.
    late = _is_late(desk, job) and answer.meaning in (Meaning.OK, Meaning.REFUSED)
    if task is None:
        if late and not job.overdue:
            jobs.advance(conn, job, desk.now(), overdue=1)
        stop = None
        if answer.meaning is Meaning.KEY_REFUSED:
            stop = Exit.REFUSED
        not_found = answer.status == 404 and answer.meaning is Meaning.REFUSED
        if not_found and job.key12 != desk.account.key12:
            # Another account cannot see the task: polling on would be asking for nothing for ever.
            stop = Exit.REFUSED
        return Polled(job=job, answer=answer, stop=stop, overdue=late)
    if not task.terminal:
        moved = bool(task.reserved) and ledger.note_reserved(
            conn, job, reserved=task.reserved or 0.0, now=desk.now()
        )
        if task.word != job.task_status or late != job.overdue:
            jobs.advance(
                conn,
                job,
                desk.now(),
                task_status=task.word,
                overdue=int(late),
                polls=job.polls + 1,
            )
        else:
            jobs.count_poll(conn, row)
        return Polled(
            job=job,
            answer=answer,
            state=State.WAITING,
            overdue=late,
            word=task.word,
            reserved=task.reserved,
            credits_moved=moved,
        )
    asked_at_s = desk.clock.wall_s() + (answer.skew_s or 0.0) if seen.unwatched else None
    after = take_task(conn, desk, job, task, asked_at_s=asked_at_s, polls=job.polls + 1)
    failure = task_failure(task) if after.state in (State.FAILED, State.PLANNED) else None
    stop = Exit.CREDITS if failure is not None and task.code == "insufficient_credits" else None
    return Polled(
        job=after,
        answer=answer,
        state=after.state,
        stop=stop,
        paid=ledger.paid(conn, after) if after.state is State.DOWNLOADING else None,
        duration_s=after.duration_s,
        failure=failure,
    )


def _is_late(desk: Desk, job: Job) -> bool:
    since = epoch(job.submitted_at)
    return since is not None and desk.clock.wall_s() - since > desk.settings.limits.job_deadline_s


async def renew(desk: Desk, row: int) -> tuple[Job, Answer]:
    """Ask for the task of a succeeded job once more, for fresh result urls; it never becomes failed by that."""
    job = await desk.writer.write(lambda conn: jobs.get(conn, row))
    assert job.task_id is not None
    answer = understand(await desk.api.poll(job.task_id))
    task = read_task(answer.data) if answer.meaning is Meaning.OK else None

    def record(conn: sqlite3.Connection) -> Job:
        now = jobs.get(conn, row)
        if task is not None and task.id == now.task_id and task.urls and now.state is State.DOWNLOADING:
            import json

            jobs.advance(conn, now, desk.now(), urls=json.dumps(task.urls))
        return jobs.get(conn, row)

    return await desk.writer.write(record), answer
