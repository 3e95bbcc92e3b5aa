"""What keeps the result of an accepted job from coming: written into its row, and taken out of it again."""

from __future__ import annotations

from runner.host.clock import epoch
from runner.lifecycle.rules import has_ended_oddly
from runner.lifecycle.ways import STUCK, Trouble, is_settled
from runner.model import Job
from runner.service.protocol import Answer, Meaning, TaskView
from runner.steps.context import RunContext
from runner.store import moves
from runner.store.connection import Connection


def note(conn: Connection, context: RunContext, job: Job, trouble: Trouble, message: str) -> Job:
    """Write down that a trouble is there, since now or still; once it has lasted, also what to tell a person.

    Args:
        conn: Inside a transaction.
        context: The run.
        job: The row as it is now, `waiting` or `downloading`.
        trouble: What it is.
        message: The same for people, with the service's own words.

    Returns:
        The row as it is now.
    """
    lasted_s = _lasted_s(context, job) if job.trouble == trouble.value else None
    begins = lasted_s is None or lasted_s < 0.0  # it was another trouble until now, or the clock was set back
    told = None
    if is_settled(trouble, age_s=max(lasted_s or 0.0, 0.0)):
        if begins or (job.error_code, job.error_message) != (trouble.value, message):
            told = moves.Told(cls=STUCK, code=trouble.value, message=message)
        if job.error_code != trouble.value:
            context.event(conn, "stuck", job, code=trouble.value, message=message, task_id=job.task_id)
    return moves.trouble(conn, job, context.now(), begins=trouble.value if begins else None, told=told)


def note_end(conn: Connection, context: RunContext, job: Job, task: TaskView) -> Job:
    """Take what a task that names no end says of itself: it runs, or it has ended in a way nobody has documented."""
    if not has_ended_oddly(task):
        return forget(conn, context, job)
    error = f" ({task.error})" if task.error else ""
    message = f"the service calls its task {task.word!r}{error}, which is not documented, and names no result"
    return note(conn, context, job, Trouble.ODD_END, message)


def note_no_result(conn: Connection, context: RunContext, job: Job, task: TaskView) -> Job:
    """Take it that a task has succeeded, and names no result."""
    error = f", but an error ({task.error})" if task.error else ""
    free = ", and says that nothing was charged" if task.final == 0 else ""
    message = f"its task succeeded, and the service names no result{error}{free}"
    return note(conn, context, job, Trouble.NO_RESULT, message)


def note_unknown(conn: Connection, context: RunContext, job: Job, answer: Answer) -> Job:
    """Take it that the service was asked for a task of ours, and does not tell of it."""
    if answer.meaning is Meaning.OK:
        what = "answers, but not about its task"
    elif answer.not_found:
        what = "no longer knows its task"
    else:
        what = "refuses to tell the state of its task"
    message = f"the service {what} ({answer.words()})"
    return note(conn, context, job, Trouble.UNKNOWN_TASK, message)


def forget(conn: Connection, context: RunContext, job: Job) -> Job:
    """Take a trouble back: the service has given a better answer."""
    if job.trouble is None and job.error_code is None:
        return job
    return moves.no_trouble(conn, job, context.now())


def age_s(context: RunContext, job: Job) -> float:
    """Return for how many seconds the trouble of a job has lasted; 0 for none, or where the clock was set back."""
    return max(_lasted_s(context, job), 0.0)


def _lasted_s(context: RunContext, job: Job) -> float:
    since = epoch(job.trouble_since)
    return context.clock.wall_s() - since if since is not None else 0.0
