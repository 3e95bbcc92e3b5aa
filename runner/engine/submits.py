"""What follows from a submit: the job waits for its task, is sent again, or goes back."""

from __future__ import annotations

from runner.engine.floor import Floor
from runner.engine.waits import is_quota
from runner.errors import Exit
from runner.lifecycle.rules import Failure
from runner.model import NEVER_SENT, Job, State
from runner.money.budget import Verdict
from runner.pace.scheduler import Call
from runner.service.protocol import FailureClass, Meaning
from runner.steps.submit import Held, Submitted, submit


async def send(floor: Floor, row: int, sent_at: float) -> None:
    """Send one job, for the first time or again, and see to what follows."""
    try:
        done = await submit(floor.desk, row)
    except BaseException:
        floor.admission.sent(row, first=False)
        _never_sent(floor, sent_at)
        raise
    floor.admission.sent(row, first=done.first_send)
    if done.answer is None:
        _never_sent(floor, sent_at)
    else:
        floor.tally.submits += 1
        floor.answered(Call.SUBMIT, done.answer, sent_at, done.job)
        floor.heed(done.stop, done.answer)
    if done.held is not None:
        await _held(floor, done)
    elif done.state is State.SUBMITTING:
        _again(floor, done)
    else:
        floor.credits_moved()
        await _decided(floor, done)
    if done.surprise is not None:
        floor.surprised(done.surprise)


def _never_sent(floor: Floor, sent_at: float) -> None:
    floor.scheduler.answered(
        floor.now(), Call.SUBMIT, sent_at=sent_at, rejected=False, retry_after_s=None, ok=False
    )


async def _held(floor: Floor, done: Submitted) -> None:
    job = done.job
    if done.state in NEVER_SENT:
        floor.admission.returned(job.row)  # it may have been sent before, and every send was refused
    match done.held:
        case Held.UPLOADS:
            await floor.backlog.prepare(job)
        case Held.TIME:
            floor.backlog.resend.appendleft(job.row)
        case Held.UNCERTAIN:
            floor.uncertain(job, done.failure.message if done.failure else "")
        case Held.BUDGET if done.verdict is Verdict.PROBE_OUT:
            floor.admission.set_aside(job.row, job.shape)
        case Held.BUDGET if done.verdict is Verdict.PROBE_ELSEWHERE:
            floor.admission.set_aside_for_another(job.row, job.shape)
        case Held.BUDGET if done.verdict is Verdict.OVER_JOB:
            floor.reasons.note(
                Exit.CREDITS, f"job {job.id} costs more than budget.max_credits_per_job and was not sent"
            )
            floor.progress.event("over_job", job=job.id)
        case Held.BUDGET if done.verdict is not None:
            floor.backlog.ready.appendleft((job.row, job.shape))
            floor.admission.has_no_room(done.verdict)
        case _:
            pass


def _again(floor: Floor, done: Submitted) -> None:
    if done.stop is Exit.CREDITS:
        return  # out of credits with an unclear send behind it: the next run asks again
    backlog = floor.backlog
    # A quota is waited for at its own gate: there the others wait as well.
    delay_s = 0.0 if done.answer is not None and is_quota(done.answer) else done.delay_s or 0.0
    # One that may have been accepted has to be asked about while its window is open; one that
    # certainly was not is like a new job, and waits behind the same gates.
    if done.job.in_doubt:
        # The send that nobody has heard of may still be worked on. A service that answers a repeat with a
        # conflict meanwhile makes no second task of it; of any other nobody knows.
        floor.holds_keys |= _is_held(done)
        open_s = 0.0 if floor.holds_keys else done.open_s
        backlog.resend_after(delay_s + open_s, done.job.row)
    else:
        backlog.after(delay_s, backlog.refused, done.job.row)


def _is_held(done: Submitted) -> bool:
    answer = done.answer
    repeated = done.job.in_doubt > 1
    return repeated and answer is not None and answer.meaning is Meaning.CONFLICT and answer.shaped


async def _decided(floor: Floor, done: Submitted) -> None:
    job = done.job
    match done.state:
        case State.WAITING | State.DOWNLOADING:
            floor.tally.accepted += 1
            floor.progress.event("submitted", job=job.id, task_id=job.task_id)
            if done.state is State.WAITING:
                floor.wait_for(job, age_s=0.0, reserved=done.reserved)
            else:
                floor.succeeded(job)
        case State.PLANNED:
            if done.failure is not None:
                floor.failed(job, done.failure, again=True)
            await floor.plan_again(job, stopped=done.stop is Exit.CREDITS)
        case State.FAILED:
            floor.failed(job, done.failure or _recorded(job))
        case State.UNCERTAIN:
            floor.uncertain(job, job.error_message or "")
        case _:
            pass


def _recorded(job: Job) -> Failure:
    cls = FailureClass(job.error_class or FailureClass.OTHER.value)
    return Failure(cls=cls, code=job.error_code or "", message=job.error_message or "")
