"""The life of a job: what follows from an answer, and which state may follow which.

Pure rules, tested as tables. What an answer means is the service's to say (`runner.service.protocol`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from runner.errors import Exit
from runner.model import FailedRounds, State
from runner.service.protocol import Answer, FailureClass, Meaning, TaskStatus, TaskView

CONFLICT_TRIES = 8
CONFLICT_SPAN_S = 600.0
AGREE_S = 60.0  # two clocks that differ by no more say the same


MODERATION_LIKE = frozenset({FailureClass.VALIDATION, FailureClass.POLICY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job is failed or uncertain, as it is recorded and shown."""

    cls: FailureClass
    code: str
    message: str


class After(StrEnum):
    """What a submit's answer makes of the job."""

    WAITING = "waiting"  # accepted: the task id is to be committed
    AGAIN = "again"  # same key, same bytes, after a delay
    UNCERTAIN = "uncertain"  # nobody can know; a person decides
    FAILED = "failed"  # definitely refused for ever
    BACK = "back"  # definitely not accepted, and not the job's fault: back to planned
    NEW_BODY = "new_body"  # definitely refused because a reference url is gone: new revision


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOutcome:
    """What follows from an answer to a submit.

    `definite` says that this very send was not accepted; `pinned` that only the same key and bytes may follow
    it all the same; `new_revision` that the next send is to have another key. `stop` is the exit code that ends
    submitting for this run, None to go on.
    """

    after: After
    definite: bool
    pinned: bool = False
    task: TaskView | None = None
    failure: Failure | None = None
    stop: Exit | None = None
    new_revision: bool = False
    retry_after_s: float | None = None


def after_submit(
    answer: Answer,
    *,
    earlier_unclear: int,
    conflicts: int,
    conflict_age_s: float,
    fresh_bodies_left: bool = True,
) -> SubmitOutcome:
    """Decide what a submit's answer makes of its job.

    Args:
        answer: The answer to the send just made.
        earlier_unclear: How many earlier sends of this very body were not definitely refused.
        conflicts: How many 409 this body has had, this one included.
        conflict_age_s: Seconds since the first of them.
        fresh_bodies_left: Whether a refused reference url may lead to another upload.

    Returns:
        The state that follows, and whether this send was definitely refused.
    """
    meaning = answer.meaning
    proven = earlier_unclear == 0
    match meaning:
        case Meaning.OK:
            if answer.task is None:
                return SubmitOutcome(after=After.AGAIN, definite=False)
            return SubmitOutcome(after=After.WAITING, definite=False, task=answer.task)
        case Meaning.NEVER_LEFT:
            return SubmitOutcome(after=After.AGAIN, definite=True)
        case Meaning.UNCLEAR | Meaning.DISABLED:
            return SubmitOutcome(after=After.AGAIN, definite=False, retry_after_s=answer.retry_after_s)
        case Meaning.RATE_LIMITED:
            # One that says nothing does not speak for the API: the key and the bytes stay until the API itself has
            # refused them.
            return SubmitOutcome(
                after=After.AGAIN,
                definite=answer.definite,
                pinned=answer.bare,
                retry_after_s=answer.retry_after_s,
            )
        case Meaning.CONFLICT:
            if conflicts >= CONFLICT_TRIES or conflict_age_s > CONFLICT_SPAN_S:
                failure = Failure(
                    cls=FailureClass.OTHER, code=answer.code or "conflict", message=answer.words()
                )
                return SubmitOutcome(after=After.UNCERTAIN, definite=False, failure=failure)
            return SubmitOutcome(after=After.AGAIN, definite=False, retry_after_s=answer.retry_after_s)
        case Meaning.KEY_REFUSED:
            after = After.BACK if proven else After.AGAIN
            return SubmitOutcome(after=after, definite=True, stop=Exit.REFUSED)
        case Meaning.NO_CREDITS:
            after = After.BACK if proven else After.AGAIN
            return SubmitOutcome(after=after, definite=proven, stop=Exit.CREDITS, new_revision=proven)
        case Meaning.REFUSED:
            failure = Failure(
                cls=answer.cls,
                code=answer.code,
                message=answer.words(),
            )
            if not proven:
                return SubmitOutcome(after=After.UNCERTAIN, definite=False, failure=failure)
            if fresh_bodies_left and answer.stale_urls:
                return SubmitOutcome(after=After.NEW_BODY, definite=True, failure=failure, new_revision=True)
            return SubmitOutcome(after=After.FAILED, definite=True, failure=failure)
        case _:
            assert_never(meaning)


def send_age_s(
    *,
    sent_wall_s: float | None,
    sent_boot_s: float | None,
    sent_boot_id: str | None,
    now_wall_s: float,
    now_boot_s: float | None,
    boot_id: str | None,
    sent_service_s: float | None = None,
    now_service_s: float | None = None,
) -> float:
    """Return how long ago a body was first sent: infinite when that cannot be known.

    The largest of what three clocks say: the wall clock, the boot clock (which counts a suspended laptop's
    sleep, and no one can set back), the service's own (which goes on while a whole machine stands still). A
    clock of ours that runs backwards knows nothing; the service's may, where several answer for it.

    Where the service had told no time before the send, its time now is compared with our own of the send: how much
    of the difference is their clocks' and how much has passed nobody knows, so all of it counts; nothing is known
    where its clock is behind.
    """
    if sent_wall_s is None:
        return math.inf
    ages = [now_wall_s - sent_wall_s]
    if sent_boot_id and sent_boot_id == boot_id and sent_boot_s is not None and now_boot_s is not None:
        ages.append(now_boot_s - sent_boot_s)
    if min(ages) < 0:
        return math.inf
    if now_service_s is not None:
        if sent_service_s is None and now_service_s < sent_wall_s - AGREE_S:
            return math.inf
        ages.append(now_service_s - (sent_wall_s if sent_service_s is None else sent_service_s))
    return max(ages)


def may_send(*, in_doubt: int, age_s: float, resend_within_s: float) -> bool:
    """Say whether a job in `submitting` may be sent (again) with its key and bytes."""
    return in_doubt == 0 or age_s <= resend_within_s


def still_open_s(*, last_unclear_s: float | None, now_s: float, resend_after_s: float) -> float:
    """Return for how many seconds more a send that never ended clearly may be worked on at the service.

    Args:
        last_unclear_s: When it began, or ended without a clear answer, by our wall clock; None where nobody
            has noted it.
        now_s: The same clock now. One that was set back knows nothing: all of the time is waited.
        resend_after_s: How long to leave to it.
    """
    if last_unclear_s is None or now_s < last_unclear_s:
        return resend_after_s
    return max(last_unclear_s + resend_after_s - now_s, 0.0)


class AfterTask(StrEnum):
    """What a task's answer makes of its job."""

    RUNNING = "running"
    DOWNLOADING = "downloading"  # it has ended, and what it was paid for is to be fetched
    FAILED = "failed"
    NO_CREDITS = "no_credits"  # it failed at once for want of credits, and nothing was charged


def after_task(task: TaskView) -> AfterTask:
    """Decide what a generation object makes of its job.

    A result that is named and paid for is fetched, whatever the service calls the task, unless it calls it under
    way. Only the documented word makes a job `failed`: another round may follow that without a person's word.
    """
    match task.status:
        case TaskStatus.SUCCEEDED:
            return AfterTask.DOWNLOADING
        case TaskStatus.FAILED if task.urls and task.final != 0:
            return AfterTask.DOWNLOADING
        case TaskStatus.FAILED:
            nothing = task.cls is FailureClass.CREDITS and task.final == 0
            return AfterTask.NO_CREDITS if nothing else AfterTask.FAILED
        case TaskStatus.OTHER if task.urls and not task.under_way:
            return AfterTask.DOWNLOADING
        case _:
            return AfterTask.RUNNING


def has_ended_oddly(task: TaskView) -> bool:
    """Say whether a task that names no result looks as if it had ended in a way nobody has documented."""
    if task.status is not TaskStatus.OTHER or after_task(task) is not AfterTask.RUNNING:
        return False
    return task.ended or (bool(task.error) and not task.under_way)


def oddness(task: TaskView) -> str:
    """Return why the result of a task may not be what was asked for; empty where nothing speaks against it."""
    error = f" ({task.error})" if task.error else ""
    if task.status is TaskStatus.FAILED:
        return f"the service says that its task failed{error}, yet it names a result and charges for it"
    if error or task.ended:
        return f"the service calls its task {task.word!r}{error}, yet names a result"
    return ""


def task_failure(task: TaskView) -> Failure:
    """Return why a failed task failed; the service may say nothing at all."""
    code = task.code or "unknown"
    return Failure(
        cls=task.cls,
        code=code,
        message=task.message or "the service gave no reason",
    )


def wants_another_round(
    *, cls: FailureClass, round_: int, rounds: FailedRounds, task_failed: bool, charged: float | None
) -> bool:
    """Say whether the manifest itself allows to pay for another round of a failed job.

    A refusal of what a task has made, for which nothing was charged, is a matter of chance; one that was charged for,
    and one of the request, say that the next one will be too.

    Args:
        cls: Why it failed.
        round_: The round that failed, counting from 1.
        rounds: `retry.failed_rounds` of the manifest.
        task_failed: Whether a task ran and failed (not: the request was refused).
        charged: What the task says was charged for it, None where it says nothing.
    """
    if not task_failed:
        return False
    if cls is FailureClass.POLICY:
        return charged == 0 and round_ <= rounds.policy
    return cls not in MODERATION_LIKE and round_ <= rounds.generation


def counts_for_breaker(cls: FailureClass) -> bool:
    """Say whether a failed job counts towards the circuit breaker."""
    return cls not in MODERATION_LIKE and cls is not FailureClass.CREDITS


# Every change of state that happens, and no other: the store checks each step against it.
_NEXT: Mapping[State, frozenset[State]] = {
    # Sent; found on disk already, whole or in part; a reference that is gone; paid for before, and no longer listed.
    State.PLANNED: frozenset(
        {State.UPLOADING, State.SUBMITTING, State.DOWNLOADING, State.DONE, State.FAILED}
    ),
    State.UPLOADING: frozenset({State.SUBMITTING, State.DOWNLOADING, State.DONE, State.FAILED}),
    # Accepted; nobody knows; refused for good; refused, and not for the job's fault.
    State.SUBMITTING: frozenset({State.WAITING, State.UNCERTAIN, State.FAILED, State.PLANNED}),
    # By a person's word only.
    State.UNCERTAIN: frozenset({State.SUBMITTING, State.WAITING, State.ABANDONED}),
    # By its task's word; the last by a person's. `planned`: another round, or an account that was empty.
    State.WAITING: frozenset({State.DOWNLOADING, State.FAILED, State.PLANNED, State.ABANDONED}),
    # Home; or, by a person's word only, given up or begun again.
    State.DOWNLOADING: frozenset({State.DONE, State.ABANDONED, State.PLANNED}),
    # Its file is gone from the disk; or, by a person's word only, to be made again.
    State.DONE: frozenset({State.DOWNLOADING, State.PLANNED}),
    State.FAILED: frozenset({State.PLANNED}),
    State.ABANDONED: frozenset({State.PLANNED}),
}


def may_become(old: State, new: State) -> bool:
    """Say whether a job may go from one state to another in a single step."""
    return old is new or new in _NEXT[old]
