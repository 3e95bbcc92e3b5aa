"""What follows from a poll: the task still runs, has ended, or was not to be heard of."""

from __future__ import annotations

from dataclasses import replace

from runner.engine.floor import Floor
from runner.errors import Exit
from runner.lifecycle.ways import SO_FAR
from runner.model import Job, State
from runner.pace.backoff import retry_delay_s
from runner.pace.scheduler import Call
from runner.service.protocol import Meaning
from runner.steps import poll as polling
from runner.store import durations


async def ask(floor: Floor, row: int, sent_at: float) -> None:
    """Ask for one task, and see to what follows."""
    seen = floor.seen.get(row)
    if seen is None:
        floor.scheduler.forget(row)
        return
    try:
        found = await polling.poll(floor.desk, row, seen)
    except BaseException:
        floor.drop(row)
        raise
    floor.tally.polls += 1
    floor.answered(Call.POLL, found.answer, sent_at, found.job)
    if found.stop is Exit.REFUSED and found.answer.meaning is Meaning.REFUSED:
        _not_of_this_account(floor, found)
    else:
        floor.heed(found.stop, found.answer, found.failure.message if found.failure else "")
    now = floor.now()
    goes_on = found.stop is None or found.answer.meaning is Meaning.KEY_REFUSED
    if goes_on and found.state in (None, State.WAITING) and _is_given_up(floor, found):
        _set_aside(floor, found)
    elif found.state is State.WAITING:
        _heard_of(floor, row)
        if found.word != seen.word or found.reserved:
            seen = replace(seen, word=found.word, reserved=found.reserved or seen.reserved)
        floor.seen[row] = replace(seen, troubled=found.trouble is not None)
        if found.credits_moved:
            floor.credits_moved()
        if found.surprise is not None:
            floor.surprised(found.surprise)
        floor.scheduler.still_running(row, now)
    elif found.state is None:
        floor.seen[row] = replace(seen, troubled=found.job is not None and found.job.trouble is not None)
        _unclear(floor, row, found, now)
    else:
        floor.seen.pop(row, None)
        floor.aside.take(row)
        _heard_of(floor, row)
        learned_s = floor.scheduler.finished(row, now, duration_s=found.duration_s)
        await _ended(floor, found, learned_s)


def _heard_of(floor: Floor, row: int) -> None:
    """The next poll that tells nothing is the first one again."""
    floor.backlog.tries.pop(("poll", row), None)
    floor.unanswered.pop(row, None)


def _not_of_this_account(floor: Floor, found: polling.Polled) -> None:
    job = found.job
    assert job is not None
    floor.stop(
        Exit.REFUSED,
        f"the account of this key does not know task {job.task_id} of job {job.id}, which was sent with another key"
        f" ({found.answer.words()}); set that key again, or close the job with `rivya-batch resolve --abandon`",
    )


def _is_given_up(floor: Floor, found: polling.Polled) -> bool:
    """Whether this run has waited long enough for a task that tells nothing good, or nothing new."""
    answer = found.answer
    about_task = answer.meaning in (Meaning.OK, Meaning.REFUSED) or polling.is_about_task(answer)
    if found.job is None or not about_task:
        return False
    if found.trouble is None:
        floor.trouble_is_over(found.job.row)
        return found.overdue
    # Asked in any case: it counts how often.
    given_up = floor.is_given_up(found.job.row, found.trouble, age_s=found.trouble_age_s)
    return given_up or found.overdue


def _set_aside(floor: Floor, found: polling.Polled) -> None:
    job = found.job
    assert job is not None
    if job.row not in floor.aside:
        if found.trouble is None:
            floor.progress.event("overdue", job=job.id, task_id=job.task_id)
        else:
            message = job.error_message or f"{SO_FAR[found.trouble]} for some minutes"
            floor.progress.event("warning", job=job.id, message=f"{message}; this run goes on without it")
    floor.set_aside(job)


def _unclear(floor: Floor, row: int, found: polling.Polled, now: float) -> None:
    if found.stop is not None and found.answer.meaning is not Meaning.KEY_REFUSED:
        floor.drop(row)
        return
    manners = floor.desk.settings.polling
    delay_s = manners.min_s
    if found.answer.meaning is not Meaning.RATE_LIMITED:
        tries = floor.backlog.tries
        tries["poll", row] += 1
        delay_s += retry_delay_s(
            tries["poll", row], base_s=min(1.0, delay_s), cap_s=manners.max_s, draw=floor.desk.draw()
        )
    floor.scheduler.poll_unclear(row, now, delay_s)


async def _ended(floor: Floor, found: polling.Polled, learned_s: float | None) -> None:
    job = found.job
    assert job is not None
    floor.credits_moved()
    if found.surprise is not None:
        floor.surprised(found.surprise)
    if found.state is State.DOWNLOADING:
        if found.doubted is not None:
            floor.doubted(job, found.doubted)
        floor.progress.event("succeeded", job=job.id, task_id=job.task_id, seconds=found.duration_s)
        floor.succeeded(job, paid=found.paid)
        floor.ask_again()
        if found.duration_s is None and learned_s is not None:
            _learn(floor, job, learned_s)
        return
    if found.failure is not None and (found.stop is None or found.state is State.FAILED):
        floor.failed(job, found.failure, again=found.state is State.PLANNED)
    if found.state is State.PLANNED:
        await floor.plan_again(job, stopped=found.stop is not None)


def _learn(floor: Floor, job: Job, seconds: float) -> None:
    """Keep a duration the service did not name, as well as our polls tell it."""
    service = floor.desk.account.service
    floor.desk.writer.write_soon(
        lambda conn: durations.save(conn, base_url=service, model=job.model, shape=job.shape, seconds=seconds)
    )
