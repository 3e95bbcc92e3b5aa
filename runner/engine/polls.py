"""What follows from a poll: the task still runs, has ended, or was not to be heard of."""

from __future__ import annotations

from dataclasses import replace

from runner.backoff import retry_delay_s
from runner.engine.floor import Floor
from runner.errors import Exit
from runner.machine import Meaning
from runner.model import Job, State
from runner.scheduler import Call
from runner.steps import poll as polling
from runner.store import catalogue


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
    floor.heed(found.stop, found.answer, found.failure.message if found.failure else "")
    now = floor.now()
    if found.overdue and found.state in (None, State.WAITING):
        floor.drop(row)
        floor.reasons.note(
            Exit.INCOMPLETE, "a task runs longer than limits.job_deadline; the next run asks for it again"
        )
        floor.progress.event("overdue", job=found.job.id if found.job else "", task_id=seen.task_id)
    elif found.state is State.WAITING:
        _heard_of(floor, row)
        if found.word != seen.word or found.reserved:
            floor.seen[row] = replace(seen, word=found.word, reserved=found.reserved or seen.reserved)
        if found.credits_moved:
            floor.credits_moved()
        floor.scheduler.still_running(row, now)
    elif found.state is None:
        _unclear(floor, row, found, now)
    else:
        floor.seen.pop(row, None)
        _heard_of(floor, row)
        learned_s = floor.scheduler.finished(row, now, duration_s=found.duration_s)
        await _ended(floor, found, learned_s)


def _heard_of(floor: Floor, row: int) -> None:
    """The next poll that tells nothing is the first one again."""
    floor.backlog.tries.pop(("poll", row), None)
    floor.unanswered.pop(row, None)


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
    if found.state is State.DOWNLOADING:
        floor.progress.event("succeeded", job=job.id, task_id=job.task_id, seconds=found.duration_s)
        floor.succeeded(job, paid=found.paid)
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
        lambda conn: catalogue.save_duration(
            conn, base_url=service, model=job.model, shape=job.shape, seconds=seconds
        )
    )
