"""What follows from a submit: the job waits for its task, is sent again, or goes back."""

from __future__ import annotations

from runner.engine.run_state import RunState
from runner.engine.waits import is_quota
from runner.errors import Exit
from runner.lifecycle.rules import Failure
from runner.model import NEVER_SENT, Job, State
from runner.money.budget import Verdict
from runner.pace.scheduler import Call
from runner.service.protocol import FailureClass, Meaning
from runner.steps.submit import NotSent, Submitted, submit
from runner.steps.submit import send as send_step


async def send(run_state: RunState, ready: Submitted, sent_at: float) -> None:
    """Send one job whose intent is committed, and see to what follows."""
    try:
        done = await send_step(run_state.context, ready)
    except BaseException:
        _never_sent(run_state, sent_at)
        raise
    await _answered(run_state, done, sent_at)


async def repeat(run_state: RunState, row: int, sent_at: float) -> None:
    """Send once more what may have been accepted, if that is still allowed, and see to what follows."""
    try:
        done = await submit(run_state.context, row)
    except BaseException:
        _never_sent(run_state, sent_at)
        raise
    run_state.admission.sent(row, first=done.first_send)
    await _answered(run_state, done, sent_at)


async def _answered(run_state: RunState, done: Submitted, sent_at: float) -> None:
    if done.answer is None:
        _never_sent(run_state, sent_at)
        if done.not_sent is not None:
            await not_sent(run_state, done)
            return
    else:
        run_state.tally.submits += 1
        run_state.answered(Call.SUBMIT, done.answer, sent_at, done.job)
        run_state.handle_stop(done.stop, done.answer)
    if done.state is State.SUBMITTING:
        _again(run_state, done)
    else:
        if done.not_named:
            run_state.not_named()
        run_state.credits_moved()
        await _decided(run_state, done)
    if done.surprise is not None:
        run_state.surprised(done.surprise)


def _never_sent(run_state: RunState, sent_at: float) -> None:
    run_state.scheduler.answered(
        run_state.now(), Call.SUBMIT, sent_at=sent_at, rejected=False, retry_after_s=None, ok=False
    )


async def not_sent(run_state: RunState, done: Submitted) -> None:
    """See to a job that cannot be sent now."""
    job = done.job
    if done.state in NEVER_SENT:
        run_state.admission.returned(job.row)  # it may have been sent before, and every send was refused
    match done.not_sent:
        case NotSent.UPLOADS:
            await run_state.backlog.prepare(job)
        case NotSent.OFF:
            run_state.backlog.switched_off.leave(job.row, job.id)
        case NotSent.TIME:
            run_state.backlog.resend.appendleft(job.row)
        case NotSent.UNCERTAIN:
            run_state.uncertain(job, done.failure.message if done.failure else "")
        case NotSent.QUOTA:
            run_state.backlog.ready.appendleft((job.row, job.shape))
            run_state.admission.shared_room = 0
        case NotSent.BUDGET if done.verdict is Verdict.PROBE_OUT and run_state.context.lease is None:
            run_state.admission.set_aside(job.row, job.shape)
        case NotSent.BUDGET if done.verdict in (Verdict.PROBE_OUT, Verdict.PROBE_ELSEWHERE):
            run_state.admission.set_aside_for_another(job.row, job.shape)
        case NotSent.BUDGET if done.verdict is Verdict.OVER_JOB:
            run_state.reasons.note(
                Exit.CREDITS, f"job {job.id} costs more than budget.max_credits_per_job and was not sent"
            )
            run_state.progress.event("over_job", job=job.id)
        case NotSent.BUDGET if done.verdict is not None:
            run_state.backlog.ready.appendleft((job.row, job.shape))
            run_state.admission.has_no_room(done.verdict, shared=run_state.context.lease is not None)
        case _:
            pass


def _again(run_state: RunState, done: Submitted) -> None:
    if done.stop is Exit.CREDITS or (done.stop is Exit.REFUSED and run_state.reasons.no_new):
        return  # out of credits, or refused to this key, with an unclear send behind it: the next run asks again
    backlog = run_state.backlog
    # A quota is waited for at its own gate: there the others wait as well.
    delay_s = 0.0 if done.answer is not None and is_quota(done.answer) else done.delay_s or 0.0
    # One that may have been accepted has to be asked about while its window is open; one that
    # certainly was not is like a new job, and waits behind the same gates.
    if done.job.in_doubt:
        # The send that nobody has heard of may still be worked on. A service that answers a repeat with a
        # conflict meanwhile makes no second task; of any other, nobody knows.
        run_state.holds_keys |= _is_held(done)
        open_s = 0.0 if run_state.holds_keys else done.open_s
        backlog.resend_after(delay_s + open_s, done.job.row)
    else:
        backlog.after(delay_s, backlog.refused, done.job.row)


def _is_held(done: Submitted) -> bool:
    answer = done.answer
    repeated = done.job.in_doubt > 1
    return repeated and answer is not None and answer.meaning is Meaning.CONFLICT and answer.shaped


async def _decided(run_state: RunState, done: Submitted) -> None:
    job = done.job
    match done.state:
        case State.WAITING | State.DOWNLOADING:
            run_state.tally.accepted += 1
            run_state.progress.event(
                "submitted",
                job=job.id,
                task_id=job.task_id,
                attempt=job.attempts,
                request_id=done.answer.request_id if done.answer is not None else None,
            )
            if done.state is State.WAITING:
                run_state.wait_for(job, age_s=0.0, reserved=done.reserved)
            else:
                run_state.succeeded(job)
        case State.PLANNED:
            if done.failure is not None:
                run_state.failed(job, done.failure, again=True)
            await run_state.plan_again(job, stopped=done.stop is Exit.CREDITS)
        case State.FAILED:
            run_state.failed(job, done.failure or _recorded(job))
        case State.UNCERTAIN:
            run_state.uncertain(job, job.error_message or "")
        case _:
            pass


def _recorded(job: Job) -> Failure:
    cls = FailureClass(job.error_class or FailureClass.OTHER.value)
    return Failure(cls=cls, code=job.error_code or "", message=job.error_message or "")
