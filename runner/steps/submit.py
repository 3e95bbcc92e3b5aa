"""Submit: commit key and bytes, send, commit the answer. The most careful module of all.

See `runner/README.md`, rules 1 and 2. Nothing here makes a new key but `_intent`, and it does so only where every send
of the old bytes was definitely refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

import anyio
import anyio.to_thread

from runner.errors import Exit, TemporaryTrouble
from runner.fingerprint import idempotency_key
from runner.host.clock import epoch, rfc3339
from runner.lifecycle.rules import (
    After,
    AfterTask,
    Failure,
    SubmitOutcome,
    after_submit,
    after_task,
    may_send,
    send_age_s,
    still_open_s,
)
from runner.model import NEVER_SENT, Job, State, Upload
from runner.money.budget import Verdict
from runner.pace.backoff import retry_delay_s
from runner.service.protocol import Answer, FailureClass, Meaning
from runner.steps import trouble
from runner.steps.context import RunContext
from runner.steps.rounds import end_task, fail
from runner.steps.upload import fresh_copies
from runner.store import begun_jobs, events, jobs, late_answers, ledger, moves, switches, uploads
from runner.store.connection import Connection

RETRY_BASE_S = 1.0
RETRY_CAP_S = 60.0
# A refused reference url is made anew this often for one round; then it is a refusal like any other.
FRESH_BODIES = 2


class NotSent(StrEnum):
    """Why a job was not sent."""

    GONE = "gone"  # it is not ours to send any more
    UPLOADS = "uploads"  # some references have no fresh remote copy
    BUDGET = "budget"
    QUOTA = "quota"  # no more may be begun now, by all who work at the manifest together
    UNCERTAIN = "uncertain"  # its window is over: a person decides
    OFF = "off"  # a person has switched it off
    TIME = "time"  # the service's time is to be asked for first


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What a submit step has done.

    `delay_s` is set when the job is to be sent again; `open_s` is for how long the send just made may still be
    worked on at the service, counted from its end. `answer` is None when nothing was sent.
    """

    job: Job
    state: State
    not_sent: NotSent | None = None
    verdict: Verdict | None = None
    answer: Answer | None = None
    stop: Exit | None = None
    delay_s: float | None = None
    open_s: float = 0.0
    failure: Failure | None = None
    first_send: bool = False
    reserved: float | None = None  # credits the service has named
    surprise: ledger.Surprise | None = None  # they are many times what was expected
    not_named: bool = False  # it has succeeded at once, and the service has named no amount for it

    @property
    def may_leave(self) -> bool:
        """Whether its bytes are committed and may be sent now."""
        return self.not_sent is None and self.state is State.SUBMITTING and self.answer is None


async def submit(context: RunContext, row: int) -> Submitted:
    """Advance one job through its submit: commit what is sent, then send; sends at most once."""
    ready = await context.writer.write(
        partial(_intent, context=context, row=row), to_send=True, repeatable=True
    )
    return await send(context, ready) if ready.may_leave else ready


async def intend(context: RunContext, rows: Sequence[int], *, soon: bool) -> list[Submitted | BaseException]:
    """Commit what is sent of these jobs, in one transaction; what becomes of each.

    From here on each may be paid, as far as a crash leaves anybody to know: `send` it within a moment, or `withdraw` it.

    Args:
        context: One run's view of the world.
        rows: Jobs of which nothing is sent that may have been accepted.
        soon: Nothing waits for it: it may be committed together with what comes next.
    """
    operations = [partial(_intent, context=context, row=row) for row in rows]
    return await context.writer.write_each(operations, to_send=True, can_wait=soon, repeatable=True)


async def withdraw(context: RunContext, ready: Sequence[Submitted]) -> None:
    """Put back what was to be sent, and of which no byte has left: a later run, or this one, begins it anew."""

    def back(conn: Connection) -> None:
        for each in ready:
            job = jobs.get(conn, each.job.row)
            if job.version != each.job.version:
                raise jobs.StaleJob(f"job {job.id} was changed before it was sent")
            ledger.release(conn, job, now=context.now())
            moves.not_sent(conn, job, context.now())
            context.event(conn, "not_sent", job, key=job.key)

    await context.writer.write(back)


async def send(context: RunContext, ready: Submitted) -> Submitted:
    """Send what is committed, and commit the answer."""
    job = ready.job
    assert job.body is not None
    assert job.key is not None
    asks = job.in_doubt > 1 or context.lease is not None
    still_allowed = (lambda: _may_leave(context, job)) if asks else None
    answer = await context.service.submit(job.body, job.key, still_allowed=still_allowed)
    if answer.meaning is not Meaning.OK:
        context.service_clock.ended(job.row)
    try:
        done = await context.writer.write(
            lambda conn: _record(conn, context, job, answer), can_wait=True, repeatable=True
        )
    except (TemporaryTrouble, jobs.StaleJob):
        await _keep_late(context, job, answer)
        raise
    return Submitted(
        job=done.job,
        state=done.state,
        answer=answer,
        stop=done.stop,
        delay_s=done.delay_s,
        open_s=done.open_s,
        failure=done.failure,
        first_send=ready.first_send,
        reserved=done.reserved,
        surprise=done.surprise,
        not_named=done.not_named,
    )


def take_back(conn: Connection, context: RunContext) -> None:
    """Put back what an earlier run left with every send definitely refused (429, no connection).

    Nothing was accepted, so it is a new job like any other: the caps, prices, options and the day of
    now decide about it, not those of then. Its key and bytes stay its own.
    """
    take_back_of(conn, context, jobs.in_states(conn, context.settings.name, (State.SUBMITTING,)))


def take_back_of(conn: Connection, context: RunContext, found: Iterable[Job]) -> list[int]:
    """Do so with those of these jobs that it is true of; return their rows."""
    back = [job for job in found if job.state is State.SUBMITTING and job.in_doubt == 0]
    for job in back:
        _as_new(conn, context, job)
    return [job.row for job in back]


def wait_to_resend_s(context: RunContext, job: Job) -> float:
    """Return how long to wait before the bytes of a job that an earlier run has sent may go out again.

    One whose window is over is not sent again, so it need not wait to be told so.
    """
    if not job.reopened and not may_send(
        in_doubt=job.in_doubt, age_s=age_of(context, job), resend_within_s=context.settings.resend_within_s
    ):
        return 0.0
    return still_open_s(
        last_unclear_s=epoch(job.last_unclear_at),
        now_s=context.clock.wall_s(),
        resend_after_s=context.settings.resend_after_s,
    )


def _as_new(conn: Connection, context: RunContext, job: Job) -> Job:
    ledger.release(conn, job, now=context.now())
    return moves.back(conn, job, context.now())


def _intent(conn: Connection, *, context: RunContext, row: int) -> Submitted:
    job = jobs.get(conn, row)
    if job.state is State.SUBMITTING and job.in_doubt == 0:
        job = _as_new(conn, context, job)  # it may have waited for hours: what fitted then may not fit now
    if job.state is State.SUBMITTING:
        return _again(conn, context, job)
    if job.state not in NEVER_SENT or not job.listed:
        return Submitted(job=job, state=job.state, not_sent=NotSent.GONE)
    is_off = switches.ask(conn, job.manifest, job.id)
    copies = () if job.pinned else fresh_copies(conn, context, job)
    if copies is None:
        not_sent = NotSent.OFF if is_off() else NotSent.UPLOADS
        return Submitted(job=job, state=job.state, not_sent=not_sent)
    estimate, verdict = context.judge(conn, job)
    if is_off():
        return Submitted(job=job, state=job.state, not_sent=NotSent.OFF)
    if verdict is not Verdict.YES:
        return Submitted(job=job, state=job.state, not_sent=NotSent.BUDGET, verdict=verdict)
    if context.quota is not None and not begun_jobs.may_begin(conn, context.quota, job.row):
        return Submitted(job=job, state=job.state, not_sent=NotSent.QUOTA)
    now = context.now()
    reserving = ledger.ask_to_reserve(conn, job, estimate=estimate, base_url=context.account.service, now=now)
    bytes_ = _bytes(context, job, copies)
    after = moves.intend(
        conn,
        job,
        now,
        bytes_=bytes_,
        first=_first_send(context, job),
        key12=context.account.key12,
        base_url=context.account.service,
    )
    reserving.refuse_twice()
    context.event(
        conn,
        "intent",
        job,
        at=now,
        key=bytes_.key,
        round=job.round,
        revision=bytes_.revision,
        credits=estimate.reserve,
    )
    return Submitted(job=after, state=after.state, first_send=True)


def _first_send(context: RunContext, job: Job) -> moves.FirstSend:
    service_s = context.service_clock.begins(job.row)
    return moves.FirstSend(
        boot_s=context.clock.boot_s(),
        boot_id=context.clock.boot_id(),
        service_at=rfc3339(service_s) if service_s is not None else None,
    )


def _bytes(context: RunContext, job: Job, copies: tuple[Upload, ...]) -> moves.Bytes:
    """Return what to send: under the old key only the very same bytes, and those while they are pinned."""

    def make(revision: int) -> moves.Bytes:
        key = idempotency_key(
            manifest=job.manifest,
            job=job.origin,
            fingerprint=job.fingerprint,
            round_=job.round,
            revision=revision,
            serial=job.serial,
        )
        return moves.Bytes(revision=revision, key=key, body=context.service.encode(job, copies, key))

    if job.key is not None and job.body is not None:
        # The id may have changed by a rename since; what was sent keeps its own key.
        if job.pinned or context.service.encode(job, copies, job.key) == job.body:
            return moves.Bytes(revision=job.revision, key=job.key, body=job.body)
        return make(job.revision + 1)
    return make(job.revision)


async def _keep_late(context: RunContext, job: Job, answer: Answer) -> None:
    """Where others may go on with a job, keep what we know of its task for them."""
    lease, task = context.lease, answer.task
    if lease is None or task is None or job.key is None:
        return
    keep = partial(lease.keep_late_answer, base_url=context.account.service, key=job.key, task_id=task.id)
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(keep)


def _take_late(conn: Connection, context: RunContext, job: Job) -> Job | None:
    """Take the task that another worker had an answer of, and could not write into the row; None: there is none."""
    service = context.account.service
    task_id = late_answers.find(conn, base_url=service, key=job.key or "")
    if task_id is None or jobs.holder_of_task(conn, service, task_id) not in (None, (job.row, job.round)):
        return None
    now = context.now()
    ledger.accept(conn, job, task_id=task_id, reserved=None, now=now)
    context.event(conn, "accepted", job, task_id=task_id, late=True, key=job.key)
    return moves.accepted(conn, job, now, task_id=task_id)


def _again(conn: Connection, context: RunContext, job: Job) -> Submitted:
    """Prepare to send bytes that may have been accepted once more, if that is allowed."""
    if context.lease is not None and (taken := _take_late(conn, context, job)) is not None:
        return Submitted(job=taken, state=taken.state)
    now = context.now()
    # After `resolve --resend` any key will do: a person has decided, and was told what it may cost.
    if not job.reopened and job.key12 != context.account.key12:
        failure = Failure(
            cls=FailureClass.OTHER,
            code="key_changed",
            message="its submit is unclear, and it was made with another API key: the same idempotency key may mean"
            " something else to another account",
        )
        return _give_up(conn, context, job, failure)
    if not job.reopened and job.in_doubt and context.seen.repeats_are_paid:
        failure = Failure(
            cls=FailureClass.OTHER,
            code="repeats_are_paid",
            message="its submit is unclear, and this service was seen to make another task of the same key and bytes"
            " (`rivya-batch doctor`)",
        )
        return _give_up(conn, context, job, failure)
    if job.first_sent_service_at is not None:
        context.service_clock.told_before(job.row)
    known = job.reopened or context.service_clock.is_known(job.row)
    age_s = 0.0 if job.reopened else age_of(context, job)
    if not known and context.service_clock.is_silent:
        age_s = math.inf
    if not may_send(in_doubt=job.in_doubt, age_s=age_s, resend_within_s=context.settings.resend_within_s):
        since = "for an unknown time" if math.isinf(age_s) else f"for {age_s:.0f} s"
        since += _last_words(conn, job)
        failure = Failure(
            cls=FailureClass.OTHER,
            code="window_over",
            message=f"its submit has been unclear {since}; the same key may be sent again only within"
            f" {context.settings.resend_within_s:.0f} s (idempotency.resend_within)",
        )
        return _give_up(conn, context, job, failure)
    if not known:
        return Submitted(job=job, state=job.state, not_sent=NotSent.TIME)
    ledger.move_to(conn, job, now=now)  # it may come to be charged from now on: the rolling day has to know
    window = _first_send(context, job) if job.reopened else None
    job = moves.send_again(conn, job, now, key12=context.account.key12, window=window)
    return Submitted(job=job, state=job.state)


def _last_words(conn: Connection, job: Job) -> str:
    """Return how the last send was answered, as a part of a sentence; empty where nobody knows."""
    said = events.last_unaccepted(conn, job)
    if said is None:
        return ""
    named = said.status is None or said.message.startswith("HTTP ")
    words = " ".join(filter(None, ("" if named else f"HTTP {said.status}", said.code, said.message)))
    return f" (last: {words})" if words else ""


def age_of(context: RunContext, job: Job) -> float:
    """Return how long ago the committed bytes of a job were first sent, in seconds."""
    return send_age_s(
        sent_wall_s=epoch(job.first_sent_at),
        sent_boot_s=job.first_sent_boot_s,
        sent_boot_id=job.first_sent_boot_id,
        now_wall_s=context.clock.wall_s(),
        now_boot_s=context.clock.boot_s(),
        boot_id=context.clock.boot_id(),
        sent_service_s=epoch(job.first_sent_service_at),
        now_service_s=context.service_clock.now_s(job.row),
    )


def _may_leave(context: RunContext, job: Job) -> bool:
    """Say whether the bytes of a job may leave at this moment: they are ours to send, and it is not too late."""
    if context.lease is not None and not context.lease.is_good():
        return False
    return job.in_doubt <= 1 or may_send(
        in_doubt=job.in_doubt - 1,
        age_s=age_of(context, job),
        resend_within_s=context.settings.resend_within_s,
    )


def _give_up(conn: Connection, context: RunContext, job: Job, failure: Failure) -> Submitted:
    moves.uncertain(conn, job, context.now(), failure)
    context.event(conn, "uncertain", job, code=failure.code, message=failure.message)
    return Submitted(job=job, state=State.UNCERTAIN, not_sent=NotSent.UNCERTAIN, failure=failure)


def _record(conn: Connection, context: RunContext, job: Job, answer: Answer) -> Submitted:
    """Record what came of a send, in the row as it was when it left: the first write refuses one that was changed."""
    answer = _about_this_job(conn, context, job, answer)
    conflict = answer.meaning is Meaning.CONFLICT
    since = epoch(job.conflict_since)
    outcome = after_submit(
        answer,
        earlier_unclear=job.in_doubt - 1,
        conflicts=job.conflicts + int(conflict),
        conflict_age_s=context.clock.wall_s() - since if since is not None else 0.0,
        fresh_bodies_left=job.fresh_bodies < FRESH_BODIES,
    )
    if outcome.after is After.WAITING:
        return _accepted(conn, context, job, outcome, answer)
    return _not_accepted(conn, context, job, outcome, answer)


def _about_this_job(conn: Connection, context: RunContext, job: Job, answer: Answer) -> Answer:
    """Return an answer, as a plain conflict where it is a refusal that shows the task of another job."""
    if answer.task is None or answer.success:
        return answer
    holder = jobs.holder_of_task(conn, context.account.service, answer.task.id)
    if holder in (None, (job.row, job.round)):
        return answer
    message = f"{answer.message}; it shows task {answer.task.id}, which another job holds"
    return replace(answer, meaning=Meaning.CONFLICT, task=None, message=message)


def _accepted(
    conn: Connection, context: RunContext, job: Job, outcome: SubmitOutcome, answer: Answer
) -> Submitted:
    task = outcome.task
    assert task is not None
    holder = jobs.holder_of_task(conn, context.account.service, task.id)
    if holder is not None and holder != (job.row, job.round):
        other = jobs.get(conn, holder[0])
        failure = Failure(
            cls=FailureClass.OTHER,
            code="task_held",
            message=f"the service answered with task {task.id}, which job {other.id} holds already",
        )
        return _give_up(conn, context, job, failure)
    now = context.now()
    # Two steps in one transaction: it was accepted, and then whatever its first word says.
    runs = after_task(task) is AfterTask.RUNNING
    after = moves.accepted(conn, job, now, task_id=task.id, word=task.word if runs else None)
    surprise = ledger.accept(conn, job, task_id=task.id, reserved=task.reserved, now=now)
    context.event(
        conn,
        "accepted",
        job,
        at=now,
        task_id=task.id,
        reserved_credits=task.reserved,
        status=answer.status,
        key=job.key,
    )
    if runs:
        after = trouble.note_end(conn, context, after, task)
    else:
        asked_at_s = context.clock.wall_s() + (answer.skew_s or 0.0) if job.attempts > 1 else None
        ended = end_task(conn, context, after, task, asked_at_s=asked_at_s)
        after, surprise = ended.job, ended.settled.surprise
    ended_badly = after.state in (State.PLANNED, State.FAILED)
    stop = Exit.CREDITS if ended_badly and task.cls is FailureClass.CREDITS else None
    return Submitted(
        job=after,
        state=after.state,
        stop=stop,
        reserved=task.reserved,
        surprise=surprise,
        not_named=after.state is State.DOWNLOADING and not (task.reserved or task.final),
    )


def _not_accepted(
    conn: Connection, context: RunContext, job: Job, outcome: SubmitOutcome, answer: Answer
) -> Submitted:
    now = context.now()
    conflict = answer.meaning is Meaning.CONFLICT
    if outcome.definite:
        job = moves.refused(conn, job, now, conflict=conflict, pinned=outcome.pinned)
    else:
        job = moves.unclear(conn, job, now, conflict=conflict, pinned=outcome.pinned)
    context.event(
        conn,
        "not_accepted",
        job,
        meaning=answer.meaning.value,
        definite=outcome.definite,
        status=answer.status,
        code=answer.code,
        message=answer.message,
        request_id=answer.request_id,
    )
    match outcome.after:
        case After.AGAIN:
            delay_s, open_s = outcome.retry_after_s, 0.0
            if answer.meaning is not Meaning.RATE_LIMITED:
                open_s = 0.0 if outcome.definite else context.settings.resend_after_s
                backoff_s = retry_delay_s(
                    max(job.attempts, 1),
                    base_s=RETRY_BASE_S,
                    cap_s=RETRY_CAP_S,
                    draw=0.5 + context.draw() / 2,
                )
                delay_s = max(backoff_s, min(outcome.retry_after_s or 0.0, RETRY_CAP_S))
            return Submitted(
                job=job, state=State.SUBMITTING, stop=outcome.stop, delay_s=delay_s or 0.0, open_s=open_s
            )
        case After.UNCERTAIN:
            assert outcome.failure is not None
            return _give_up(conn, context, job, outcome.failure)
        case After.FAILED:
            assert outcome.failure is not None
            ledger.release(conn, job, now=now)
            after = fail(conn, context, job, outcome.failure, task_failed=False)
            return Submitted(job=after, state=State.FAILED, failure=outcome.failure)
        case After.BACK | After.NEW_BODY:
            ledger.release(conn, job, now=now)
            fresh = outcome.after is After.NEW_BODY
            if fresh:
                uploads.forget(conn, answer.stale_urls)
            after = moves.back(conn, job, now, new_bytes=outcome.new_revision, fresh_body=fresh)
            return Submitted(job=after, state=State.PLANNED, stop=outcome.stop)
        case After.WAITING:
            raise AssertionError("an accepted submit is recorded elsewhere")
