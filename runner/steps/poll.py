"""Poll: ask for a task once, and commit what it says."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner.errors import Exit
from runner.host.clock import epoch
from runner.lifecycle.rules import AfterTask, Failure, after_task, has_ended_oddly, task_failure
from runner.lifecycle.ways import Trouble
from runner.model import Job, State
from runner.service.protocol import Answer, FailureClass, Meaning, TaskView
from runner.steps import trouble
from runner.steps.context import RunContext
from runner.steps.rounds import end_task
from runner.store import jobs, ledger, moves
from runner.store.connection import Connection


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
    trouble: Trouble | None = None
    trouble_age_s: float = 0.0
    surprise: ledger.Surprise | None = None  # its credits are many times what was expected
    unread: str = ""  # what the service says that it charged, where that is no amount
    not_named: bool = False  # it has succeeded, and the service has named no amount for it at any time
    doubted: float | None = None  # what it counts with, though the service says that it cost nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingTask:
    """What is known of a waiting task without asking the database."""

    task_id: str
    word: str
    late_at_s: float  # wall clock: from then on it is overdue
    reserved: float | None = None  # credits the service has named; None when that is not known here
    unwatched: bool = False  # an earlier run has sent it: it may have ended long before we asked
    job: str = ""  # its id
    model: str = ""
    shape: str = ""
    since_s: float = 0.0  # wall clock: when it was submitted
    troubled: bool = False  # its row tells of a trouble, which a better answer ends


async def poll(context: RunContext, row: int, waiting: WaitingTask) -> Polled:
    """Ask for one task; wait for a commit only when something has changed."""
    task_id = waiting.task_id
    answer = await context.service.poll(task_id)
    task = answer.task
    if task is not None and task.id != task_id:
        task = None  # an answer about something else says nothing about this job
    if (
        task is not None
        and not waiting.troubled
        and after_task(task) is AfterTask.RUNNING
        and not has_ended_oddly(task)
        and task.word == waiting.word
        and (not task.reserved or task.reserved == waiting.reserved)
        and context.clock.wall_s() < waiting.late_at_s
    ):
        context.writer.write_soon(lambda conn: jobs.count_poll(conn, row), repeatable=True)
        return Polled(answer=answer, state=State.WAITING, word=waiting.word)
    return await context.writer.write(
        lambda conn: _record(conn, context, row, answer, task, waiting), can_wait=True, repeatable=True
    )


def _record(
    conn: Connection,
    context: RunContext,
    row: int,
    answer: Answer,
    task: TaskView | None,
    waiting: WaitingTask,
) -> Polled:
    job = jobs.get(conn, row)
    if job.state is not State.WAITING or job.task_id != waiting.task_id:
        return Polled(job=job, answer=answer, state=job.state)
    # Only the service's own word tells that the task still runs: a gateway's page is no answer to a poll.
    late = _is_late(context, job) and answer.meaning in (Meaning.OK, Meaning.REFUSED)
    if task is None:
        if late and not job.overdue:
            job = moves.overdue(conn, job, context.now())
        stop = None
        if answer.meaning is Meaning.KEY_REFUSED:
            stop = Exit.REFUSED
        not_found = answer.not_found and answer.meaning is Meaning.REFUSED
        if not_found and job.key12 != context.account.key12:
            # Another account cannot see the task: polling on would never bring an answer.
            stop = Exit.REFUSED
        elif answer.meaning in (Meaning.OK, Meaning.REFUSED) or is_about_task(answer):
            job = trouble.note_unknown(conn, context, job, answer)
        return _with_trouble(context, Polled(job=job, answer=answer, stop=stop, overdue=late))
    if after_task(task) is AfterTask.RUNNING:
        moved = bool(task.reserved) and ledger.note_reserved(
            conn, job, reserved=task.reserved or 0.0, now=context.now()
        )
        if task.word != job.task_status or late != job.overdue:
            job = moves.still_running(conn, job, context.now(), word=task.word, overdue=late, polled=True)
        else:
            jobs.count_poll(conn, row)
        found = Polled(
            job=trouble.note_end(conn, context, job, task),
            answer=answer,
            state=State.WAITING,
            overdue=late,
            word=task.word,
            reserved=task.reserved,
            credits_moved=moved,
            surprise=ledger.surprise_of(conn, job) if moved else None,
        )
        return _with_trouble(context, found)
    asked_at_s = context.clock.wall_s() + (answer.skew_s or 0.0) if waiting.unwatched else None
    ended = end_task(conn, context, job, task, asked_at_s=asked_at_s, polled=True)
    after, settled = ended.job, ended.settled
    failure = task_failure(task) if after.state in (State.FAILED, State.PLANNED) else None
    stop = Exit.CREDITS if failure is not None and task.cls is FailureClass.CREDITS else None
    paid = settled.paid if after.state is State.DOWNLOADING else None
    return Polled(
        job=after,
        answer=answer,
        state=after.state,
        stop=stop,
        paid=paid,
        duration_s=after.duration_s,
        failure=failure,
        surprise=settled.surprise,  # of the round that has ended
        unread=task.unread,
        not_named=paid is not None and paid[0] is None and not task.final,
        doubted=paid[1] if paid and task.final == 0 and paid[1] else None,
    )


def is_about_task(answer: Answer) -> bool:
    """Say whether a refusal that looks like one of our key may be about this task alone."""
    return answer.meaning is Meaning.KEY_REFUSED and not answer.about_key


def _with_trouble(context: RunContext, found: Polled) -> Polled:
    job = found.job
    assert job is not None
    if job.trouble is None:
        return found
    return replace(found, trouble=Trouble(job.trouble), trouble_age_s=trouble.age_s(context, job))


def _is_late(context: RunContext, job: Job) -> bool:
    since = epoch(job.submitted_at)
    return since is not None and context.clock.wall_s() - since > context.settings.limits.job_deadline_s


async def renew(context: RunContext, row: int) -> tuple[Job, Answer]:
    """Ask for the task of a succeeded job once more, for fresh result urls; it never becomes failed by that."""
    job = await context.writer.write(lambda conn: jobs.get(conn, row))
    assert job.task_id is not None
    answer = await context.service.poll(job.task_id)
    task = answer.task

    def record(conn: Connection) -> Job:
        now = jobs.get(conn, row)
        if now.state is not State.DOWNLOADING:
            return now
        if task is not None and task.id == now.task_id and task.urls:
            return trouble.forget(conn, context, moves.new_urls(conn, now, context.now(), task.urls))
        if now.urls:
            return now  # those it has may still be good
        if task is not None and task.id == now.task_id and after_task(task) is AfterTask.DOWNLOADING:
            return trouble.note_no_result(conn, context, now, task)
        if answer.meaning is Meaning.REFUSED and now.key12 == context.account.key12:
            return trouble.note_unknown(conn, context, now, answer)
        return now

    return await context.writer.write(record), answer
