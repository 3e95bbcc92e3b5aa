"""How a round ends, and how another begins: shared by submit and poll."""

from __future__ import annotations

from dataclasses import dataclass

from runner.host.clock import epoch
from runner.lifecycle.rules import AfterTask, Failure, after_task, oddness, task_failure, wants_another_round
from runner.model import Job
from runner.service.protocol import TaskStatus, TaskView
from runner.steps import trouble
from runner.steps.context import RunContext
from runner.store import ledger, moves
from runner.store.connection import Connection

# A change this close to our asking, after a long absence, is more likely due to it than an end.
ON_ITS_WAY_S = 5.0  # what an answer's way, and times cut to whole seconds, may add to what we count ourselves
AS_ASKED_S = 3.0


def fail(
    conn: Connection,
    context: RunContext,
    job: Job,
    failure: Failure,
    *,
    task_failed: bool,
    charged: float | None = None,
    word: str | None = None,
    polled: bool = False,
) -> Job:
    """End a round as failed; begin another at once where the manifest allows to pay for it.

    Args:
        conn: Inside a transaction.
        context: The run.
        job: The row as it is now.
        failure: Why.
        task_failed: Whether a task ran and failed (not: the request was refused).
        charged: What the task says was charged for it, None where it says nothing.
        word: The task's own word for how it ended, where one ran.
        polled: Whether a poll has told so.

    Returns:
        The row, `PLANNED` when another round begins, else `FAILED`.
    """
    again = wants_another_round(
        cls=failure.cls,
        round_=job.round,
        rounds=context.settings.failed_rounds,
        task_failed=task_failed,
        charged=charged,
    )
    again = again and job.listed
    now = context.now()
    context.event(
        conn,
        "failed",
        job,
        round=job.round,
        again=again,
        task_id=job.task_id,
        error_class=failure.cls.value,
        error_code=failure.code,
        error_message=failure.message,
    )
    if again:
        return moves.begin_round(conn, job, now, failure)
    return moves.fail(conn, job, now, failure, word=word, polled=polled)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTask:
    """What became of a job whose task has ended, and of its money."""

    job: Job
    settled: ledger.Settlement


def end_task(
    conn: Connection,
    context: RunContext,
    job: Job,
    task: TaskView,
    *,
    asked_at_s: float | None = None,
    polled: bool = False,
) -> EndedTask:
    """Record the end of a task as it tells it, its money included, and advance the job accordingly.

    Args:
        conn: Inside a transaction.
        context: The run.
        job: The row as it is now.
        task: The service's answer, of a task that does not run any more.
        asked_at_s: When it was asked, by the service's clock, where nobody had watched the task till then.
        polled: Whether a poll has told so, not the answer to a submit.
    """
    now = context.now()
    verdict = after_task(task)
    fetched = verdict is AfterTask.DOWNLOADING
    succeeded = fetched and task.status is not TaskStatus.FAILED
    final = task.final
    if final is None and not succeeded and task.reserved == 0 and not ledger.paid(conn, job)[0]:
        final = 0.0  # "charged in full" would be nothing: it never named another amount
    settled = ledger.settle(conn, job, final=final, succeeded=succeeded, now=now, reserved=task.reserved)
    if fetched:
        seconds = (
            _duration_s(task, asked_at_s, sent_ago_s=_sent_ago_s(context, job))
            if context.seen.tells_ends
            else None
        )
        after = moves.to_download(
            conn,
            job,
            now,
            word=task.word,
            urls=task.urls,
            duration_s=seconds,
            oddness=oddness(task) or None,
            polled=polled,
        )
        if not task.urls:
            after = trouble.note_no_result(conn, context, after, task)
        context.event(
            conn, "succeeded", job, at=now, task_id=task.id, final_credits=task.final, seconds=seconds
        )
        return EndedTask(job=after, settled=settled)
    if verdict is AfterTask.NO_CREDITS:
        # Nothing was charged, and the same key would be answered with the same failure for ever.
        after = moves.begin_unpaid(conn, job, now)
        context.event(conn, "no_credits", job, task_id=task.id)
        return EndedTask(job=after, settled=settled)
    after = fail(
        conn,
        context,
        job,
        task_failure(task),
        task_failed=True,
        charged=task.final,
        word=task.word,
        polled=polled,
    )
    return EndedTask(job=after, settled=settled)


def _sent_ago_s(context: RunContext, job: Job) -> float:
    """Return how long ago a job was first sent, as far as its row still tells, by our own wall clock."""
    times = [at for at in (epoch(job.first_sent_at), epoch(job.submitted_at)) if at is not None]
    return context.clock.wall_s() - min(times) if times else 0.0


def _duration_s(task: TaskView, asked_at_s: float | None, *, sent_ago_s: float) -> float | None:
    """Return how long a task took by the service's own two times, if they make sense.

    No task lasts longer than it is since it was sent: of two clocks of the service one may be wrong.
    """
    began, ended = epoch(task.created_at), epoch(task.updated_at)
    if began is None or ended is None or not 0.0 <= ended - began <= sent_ago_s + ON_ITS_WAY_S:
        return None
    if asked_at_s is not None and ended > asked_at_s - AS_ASKED_S:
        # Nobody promises that `updated_at` is the end. A service that changes a task when it is asked for would
        # teach us the length of our own absence, and the next tasks would not be asked for before.
        return None
    return ended - began
