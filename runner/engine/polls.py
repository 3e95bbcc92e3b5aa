"""What follows from a poll: the task still runs, has ended, or was not to be heard of."""

from __future__ import annotations

from dataclasses import replace

from runner.engine.run_state import RunState
from runner.errors import Exit
from runner.lifecycle.ways import SO_FAR
from runner.model import Job, State
from runner.pace.backoff import retry_delay_s
from runner.pace.scheduler import Call
from runner.service.protocol import Meaning
from runner.steps import poll as poll_step
from runner.store import durations


async def ask(run_state: RunState, row: int, sent_at: float) -> None:
    """Ask for one task, and see to what follows."""
    waiting = run_state.waiting.get(row)
    if waiting is None:
        run_state.scheduler.waiting.remove(row)
        return
    try:
        found = await poll_step.poll(run_state.context, row, waiting)
    except BaseException:
        run_state.drop(row)
        raise
    run_state.tally.polls += 1
    run_state.answered(Call.POLL, found.answer, sent_at, found.job)
    if found.stop is Exit.REFUSED and found.answer.meaning is Meaning.REFUSED:
        _not_of_this_account(run_state, found)
    else:
        run_state.handle_stop(found.stop, found.answer, found.failure.message if found.failure else "")
    now = run_state.now()
    goes_on = found.stop is None or found.answer.meaning is Meaning.KEY_REFUSED
    if goes_on and found.state in (None, State.WAITING) and _is_given_up(run_state, found):
        _set_aside(run_state, found)
    elif found.state is State.WAITING:
        if found.word != waiting.word or found.reserved:
            waiting = replace(waiting, word=found.word, reserved=found.reserved or waiting.reserved)
        run_state.waiting[row] = replace(waiting, troubled=found.trouble is not None)
        if found.credits_moved:
            run_state.credits_moved()
        if found.surprise is not None:
            run_state.surprised(found.surprise)
        if found.trouble is None:
            _heard_of(run_state, row)
            run_state.scheduler.waiting.still_running(row, now)
        else:
            # It has ended, most likely: it tells nothing of how long such tasks take, and is asked ever less often.
            run_state.unanswered.pop(row, None)
            _unclear(run_state, row, found, now)
    elif found.state is None:
        run_state.waiting[row] = replace(
            waiting, troubled=found.job is not None and found.job.trouble is not None
        )
        _unclear(run_state, row, found, now)
    else:
        run_state.waiting.pop(row, None)
        run_state.aside.take(row)
        _heard_of(run_state, row)
        learned_s = run_state.scheduler.waiting.ended(row, now)
        await _ended(run_state, found, learned_s)


def _heard_of(run_state: RunState, row: int) -> None:
    """The next poll that tells nothing is the first one again."""
    run_state.backlog.tries.pop(("poll", row), None)
    run_state.unanswered.pop(row, None)


def _not_of_this_account(run_state: RunState, found: poll_step.Polled) -> None:
    job = found.job
    assert job is not None
    run_state.stop(
        Exit.REFUSED,
        f"the account of this key does not know task {job.task_id} of job {job.id}, which was sent with another key"
        f" ({found.answer.words()}); set that key again, or close the job with `rivya-batch resolve --abandon`",
    )


def _is_given_up(run_state: RunState, found: poll_step.Polled) -> bool:
    """Whether this run has waited long enough for a task that tells nothing good, or nothing new."""
    answer = found.answer
    about_task = answer.meaning in (Meaning.OK, Meaning.REFUSED) or poll_step.is_about_task(answer)
    if found.job is None or not about_task:
        return False
    if found.trouble is None:
        run_state.trouble_is_over(found.job.row)
        return found.overdue
    # Called in any case: it counts the calls.
    given_up = run_state.is_given_up(found.job.row, found.trouble, age_s=found.trouble_age_s)
    return given_up or found.overdue


def _set_aside(run_state: RunState, found: poll_step.Polled) -> None:
    job = found.job
    assert job is not None
    if job.row not in run_state.aside:
        if found.trouble is None:
            run_state.progress.event("overdue", job=job.id, task_id=job.task_id)
        else:
            message = job.error_message or f"{SO_FAR[found.trouble]} for some minutes"
            run_state.progress.event(
                "warning", job=job.id, message=f"{message}; this run continues without it"
            )
    run_state.set_aside(job)


def _unclear(run_state: RunState, row: int, found: poll_step.Polled, now: float) -> None:
    if found.stop is not None and found.answer.meaning is not Meaning.KEY_REFUSED:
        run_state.drop(row)
        return
    limits = run_state.context.settings.polling
    delay_s = limits.min_s
    if found.answer.meaning is not Meaning.RATE_LIMITED:
        tries = run_state.backlog.tries
        tries["poll", row] += 1
        delay_s += retry_delay_s(
            tries["poll", row], base_s=min(1.0, delay_s), cap_s=limits.max_s, draw=run_state.context.draw()
        )
    run_state.scheduler.waiting.unclear(row, now, delay_s)


async def _ended(run_state: RunState, found: poll_step.Polled, learned_s: float | None) -> None:
    job = found.job
    assert job is not None
    if found.not_named:
        run_state.not_named()
    run_state.credits_moved()
    if found.surprise is not None:
        run_state.surprised(found.surprise)
    if found.unread:
        run_state.price_unread(job, found.unread)
    if found.state is State.DOWNLOADING:
        if found.doubted is not None:
            run_state.doubted(job, found.doubted)
        run_state.progress.event(
            "succeeded",
            job=job.id,
            task_id=job.task_id,
            seconds=found.duration_s,
            request_id=found.answer.request_id,
        )
        run_state.succeeded(job, paid=found.paid)
        run_state.ask_again()
        if learned_s is not None:
            _learn(run_state, job, learned_s)
        return
    if found.failure is not None and (found.stop is None or found.state is State.FAILED):
        run_state.failed(job, found.failure, again=found.state is State.PLANNED)
    if found.state is State.PLANNED:
        await run_state.plan_again(job, stopped=found.stop is not None)


def _learn(run_state: RunState, job: Job, seconds: float) -> None:
    """Keep how long it took, as well as our polls tell it: what the service says of its times is not taken for true."""
    service = run_state.context.account.service
    run_state.context.writer.write_soon(
        lambda conn: durations.save(
            conn, base_url=service, model=job.model, shape=job.shape, seconds=seconds
        ),
        repeatable=True,
    )
