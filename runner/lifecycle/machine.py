"""The life of a job: what an answer of the service means, and what follows from it.

Pure rules, tested as tables. The words: a send is *definite* when it was certainly not accepted;
everything else is *unclear*, and only the same key with the same bytes may follow it (runner/README.md, rules 2 and 4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from runner.errors import Exit
from runner.host.surroundings import Finding
from runner.model import FailedRounds, Json, State, TaskId
from runner.words import harmless

LONGEST_WORDS = 1000  # of a message, in characters: a reason fits, a page that somebody put in does not
CONFLICT_TRIES = 8
CONFLICT_SPAN_S = 600.0


class Meaning(StrEnum):
    """What one answer to an API request tells us."""

    OK = "ok"  # 2xx with what was asked for
    NEVER_LEFT = "never_left"  # no connection: not one byte arrived
    UNCLEAR = "unclear"  # timeouts, resets, 5xx, garbage, redirects, 2xx without an id
    DISABLED = "disabled"  # the service says the whole API is off
    RATE_LIMITED = "rate_limited"  # 429
    CONFLICT = "conflict"  # 409
    KEY_REFUSED = "key_refused"  # 401, 403 in the API's own error shape
    NO_CREDITS = "no_credits"  # insufficient_credits, with any status
    REFUSED = "refused"  # in the API's own error shape: this request will never be accepted as it is


class FailureClass(StrEnum):
    """Why a job failed, coarse enough to retry by (`retry --class`)."""

    VALIDATION = "validation"  # the request was wrong; changing the job is the cure
    POLICY = "policy"  # moderation; the same content will be refused again
    GENERATION = "generation"  # the task ran and failed; another round may work
    CREDITS = "credits"  # the account was empty
    NOT_FOUND = "not_found"
    OTHER = "other"


# 4xx that speak of a request under way, or of what was behind it: not of what it asked for.
_MAY_HAVE_WORKED = frozenset({408, 423, 424, 425, 499})

MODERATION_LIKE = frozenset({FailureClass.VALIDATION, FailureClass.POLICY})

_POLICY_WORDS = (
    "moderat",
    "policy",
    "safety",
    "nsfw",
    "prohibited",
    "sensitive",
    "blocked_content",
    "content_filter",
)
_REFERENCE_WORDS = ("url", "reference", "file", "media", "upload")
_GONE_WORDS = (
    "expired",
    "expire",
    "not found",
    "no longer",
    "fetch",
    "download",
    "unreachable",
    "inaccessible",
    "gone",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP exchange, as the client saw it.

    `status` is None when no complete answer came. `sent` is False only when certainly no byte of
    the request reached the service. `data` is the parsed JSON object, None for anything else; `page`
    says that the body was neither that nor empty nor plain text.
    """

    status: int | None = None
    data: Mapping[str, Json] | None = None
    page: bool = False
    retry_after_s: float | None = None
    request_id: str | None = None
    skew_s: float | None = None  # by how much the service's clock is ahead of ours, to the second
    sent: bool = True
    detail: str = ""  # for people: "timed out after 30 s", "HTTP 502, text/html"
    finding: Finding | None = None  # what a failure to connect says of this machine and its network


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply, understood.

    `shaped` says that it is an error in the API's own shape, `bare` that its body says nothing: empty,
    or plain text.
    """

    meaning: Meaning
    shaped: bool = False
    bare: bool = False
    code: str = ""
    message: str = ""
    status: int | None = None
    retry_after_s: float | None = None
    request_id: str | None = None
    skew_s: float | None = None
    data: Mapping[str, Json] | None = None
    finding: Finding | None = None

    @property
    def hint(self) -> str:
        """What a person can do about it, where it is this machine or its network that is in the way."""
        return self.finding.do if self.finding is not None else ""

    @property
    def about_key(self) -> bool:
        """Whether a refusal of our key can be about nothing else; with any other code one task may be meant."""
        return self.status == 401 or self.code.startswith(("api_key", "api_scope"))

    def words(self) -> str:
        """Return one line for people: status, code, message and the request id."""
        status = f"HTTP {self.status}" if self.status else ""
        # Where the service said nothing, our own words begin with the status.
        parts = ["" if self.message.startswith(status) else status, self.code, self.message]
        text = " ".join(part for part in parts if part)
        return f"{text} (request {self.request_id})" if self.request_id else text


# The documented codes are words in small letters. What stands in front of an API may wrap its errors alike, but
# says "403", "Forbidden" or "FUNCTION_TIMEOUT" there.
_CODE = re.compile(r"[a-z][a-z0-9_.-]*(\s|$)", re.ASCII)


def understand(reply: Reply, *, to_submit: bool = False) -> Answer:
    """Say what a reply means, `to_submit` a request that is to bring a task's id.

    Nothing but an error in the API's own shape, `{"error": {"code": …}}`, speaks for the API. A page, or JSON
    of another shape, comes from something in between, which may well have passed the request on: whatever
    its status, it proves nothing. Statuses decide then, but `insufficient_credits` is known by its code
    only, and the documented codes of a conflict and of a limit hold for any 4xx.
    """
    said = reply.data.get("error") if reply.data else None
    error: Mapping[str, Json] = said if isinstance(said, Mapping) else {}
    code = error.get("code")
    code = _said(code) if isinstance(code, str) and _CODE.match(code) else ""

    def answer(meaning: Meaning, words: str = "") -> Answer:
        return Answer(
            meaning=meaning,
            shaped=bool(code),
            bare=reply.status is not None and reply.data is None and not reply.page,
            code=code,
            message=_said(error.get("message")) or words or reply.detail,
            status=reply.status,
            retry_after_s=reply.retry_after_s,
            request_id=_said(error.get("requestId")) or reply.request_id,
            skew_s=reply.skew_s,
            finding=reply.finding,
            data=reply.data,
        )

    status = reply.status
    if status is None:
        return answer(Meaning.UNCLEAR if reply.sent else Meaning.NEVER_LEFT)
    if 200 <= status < 300:
        if to_submit and read_task(reply.data) is None:
            return answer(Meaning.UNCLEAR, "and no task id in the answer")
        return answer(Meaning.OK if reply.data is not None else Meaning.UNCLEAR)
    if status < 400:
        return answer(Meaning.UNCLEAR)
    if code == "insufficient_credits":
        return answer(Meaning.NO_CREDITS)
    if status == 429 or (code == "rate_limited" and status < 500):
        return answer(Meaning.RATE_LIMITED)
    if status == 409 or (code == "idempotency_conflict" and status < 500):
        return answer(Meaning.CONFLICT)
    if code == "public_api_disabled":
        return answer(Meaning.DISABLED)
    if not code or status >= 500 or status in _MAY_HAVE_WORKED:
        return answer(Meaning.UNCLEAR)
    return answer(Meaning.KEY_REFUSED if status in (401, 403) else Meaning.REFUSED)


def failure_class(*, code: str, status: int | None) -> FailureClass:
    """Return the class of a refusal (`status` set) or of a failed task (`status` None)."""
    lowered = code.lower()
    if any(word in lowered for word in _POLICY_WORDS):
        return FailureClass.POLICY
    if lowered == "insufficient_credits":
        return FailureClass.CREDITS
    if "validation" in lowered or "invalid" in lowered:
        return FailureClass.VALIDATION
    if status is None:
        return FailureClass.GENERATION
    if status == 404 or lowered == "not_found":
        return FailureClass.NOT_FOUND
    if status in (400, 413, 415, 422):
        return FailureClass.VALIDATION
    return FailureClass.OTHER


def names_a_reference(answer: Answer, urls: tuple[str, ...]) -> bool:
    """Say whether a refusal is about a reference url that can be made anew by another upload."""
    text = f"{answer.code} {answer.message}".lower()
    if any(url and url.lower() in text for url in urls):
        return True
    return any(word in text for word in _REFERENCE_WORDS) and any(word in text for word in _GONE_WORDS)


class TaskStatus(StrEnum):
    """The service's word for its side of a job; `OTHER` is any word we do not know."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OTHER = "other"


_STATUS_WORDS = {status.value: status for status in TaskStatus}
# The lifecycle page calls the end SUCCESS where the API says `succeeded`; the others mean the same in plain English.
_SUCCESS_WORDS = frozenset({"success", "successful", "complete", "completed", "done", "finished"})
# Words of an end without a result, none of them documented. None is taken for `failed`: that may be paid for again.
_ENDED_WORDS = frozenset(
    {"cancelled", "canceled", "expired", "error", "errored", "failure", "aborted", "rejected", "timeout",
     "timedout", "deleted", "dead", "killed"}
)  # fmt: skip
# Words of a task under way: what it names meanwhile may be a preview.
_UNDER_WAY_WORDS = frozenset(
    {"queued", "pending", "waiting", "running", "progress", "started", "created", "submitted", "accepted",
     "scheduled", "partial", "preview", "paused", "retry"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """What a generation object says, read leniently.

    `reserved` and `final` are credits, None where absent or not a number.
    """

    id: TaskId
    status: TaskStatus
    word: str  # the status as the service spelled it
    model: str | None
    reserved: float | None
    final: float | None
    urls: tuple[str, ...]
    code: str
    message: str
    created_at: str | None
    updated_at: str | None

    @property
    def error(self) -> str:
        """Its error for people, `code: message`; empty when it names none."""
        return ": ".join(part for part in (self.code, self.message) if part)


def read_task(data: Mapping[str, Json] | None) -> TaskView | None:
    """Read a generation object, as it is or wrapped; None when there is none with a usable id."""
    found = _task_in(data, deep=3)
    if found is None:
        return None
    data, task_id = found
    word = _word_of(data)
    error = data.get("error")
    if not isinstance(error, Mapping):
        error = {"message": error} if isinstance(error, str) else {}
    return TaskView(
        id=TaskId(task_id),
        status=_status_of(word),
        word=_said(word),
        model=_text(data.get("model")),
        reserved=credits_of(data.get("reserved_credits")),
        final=credits_of(data.get("final_credits")),
        urls=_urls(data.get("result")),
        code=_said(error.get("code")),
        message=_said(error.get("message")),
        created_at=_text(data.get("created_at")),
        updated_at=_text(data.get("updated_at")),
    )


_OTHER_ID_NAMES = ("task_id", "taskId", "generation_id", "generationId")
_WRAPPERS = ("data", "generation", "task", "result", "response")
_TASK_FIELDS = ("object", "model", "reserved_credits", "final_credits", "created_at", "result")


def _task_in(value: Json, *, deep: int) -> tuple[Mapping[str, Json], str] | None:
    """Return the generation object inside an answer, and its id.

    An answer may be wrapped: `{"data": {…}}`, `{"data": {"task": {…}}}`, a list of one. The wrapping may have
    an id of its own, which is that of the request then: what has a task's fields or names its id a task's
    comes first.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Mapping):
        return None
    own = _id_of(value)
    if own is not None and _is_generation(value):
        return value, own
    for name in _WRAPPERS:
        if name == "result" and own is not None:
            continue  # the results of a task; they may have ids too
        inner = _task_in(value.get(name), deep=deep - 1) if deep else None
        if inner is not None and (own is None or _speaks_of_a_task(inner[0])):
            return inner
    return None if own is None else (value, own)


def _is_generation(value: Mapping[str, Json]) -> bool:
    return _known_status(value) and any(name in value for name in _TASK_FIELDS)


def _speaks_of_a_task(value: Mapping[str, Json]) -> bool:
    return _known_status(value) or any(_usable(value.get(name)) for name in _OTHER_ID_NAMES)


def _known_status(value: Mapping[str, Json]) -> bool:
    return _status_of(_word_of(value)) is not TaskStatus.OTHER


def _id_of(value: Mapping[str, Json]) -> str | None:
    """Return the task's id that an object names itself, None when it names none."""
    plain = _usable(value.get("id"))
    if plain is not None and _is_generation(value):
        return plain
    named = next((found for name in _OTHER_ID_NAMES if (found := _usable(value.get(name)))), None)
    if named is not None or plain is None:
        return named
    # `req_…` is what ids of requests look like in the documentation.
    of_request = plain.startswith("req_") or plain in (value.get("requestId"), value.get("request_id"))
    return None if of_request else plain


def _usable(task_id: Json) -> str | None:
    if isinstance(task_id, int) and not isinstance(task_id, bool) and task_id > 0:
        task_id = str(task_id)  # accepted is accepted, whatever the type of the id
    if not isinstance(task_id, str) or not task_id.strip(" \t\n\r.") or len(task_id) > 500:
        return None
    return task_id


def _said(value: Json) -> str:
    """Return words of the service's as they are recorded: one line, not endless, obeyed by no terminal."""
    return harmless(str(value or ""), limit=LONGEST_WORDS)


def _word_of(data: Mapping[str, Json]) -> str:
    return next(
        (said for name in ("status", "state") if isinstance(said := data.get(name), str) and said), ""
    )


def _status_of(word: str) -> TaskStatus:
    plain = word.strip().lower()
    if plain in _SUCCESS_WORDS:
        return TaskStatus.SUCCEEDED
    return _STATUS_WORDS.get(plain, TaskStatus.OTHER)


_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def credits_of(value: Json) -> float | None:
    """Return an amount of credits, None for anything that is not a finite number of at least zero.

    Money is often sent as text, to keep its decimals: a plain decimal is read as well.

    >>> credits_of("12.50")
    12.5
    """
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
    return number_of(value)


def number_of(value: Json) -> float | None:
    """Return a finite number of at least zero, None for anything else a service may say."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        amount = float(value)
    except OverflowError:  # JSON integers have no largest one
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None


def _text(value: Json) -> str | None:
    return _said(value) if isinstance(value, str) else None


def _urls(result: Json) -> tuple[str, ...]:
    if not isinstance(result, Mapping):
        return ()
    listed = result.get("urls")
    found: list[str] = []
    primary = result.get("primary_url")
    for url in [primary, *(listed if isinstance(listed, (list, tuple)) else [])]:
        if isinstance(url, str) and url.strip() and url not in found:
            found.append(url)
    return tuple(found)


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
    reference_urls: tuple[str, ...] = (),
    fresh_bodies_left: bool = True,
) -> SubmitOutcome:
    """Decide what a submit's answer makes of its job.

    Args:
        answer: The answer to the send just made.
        earlier_unclear: How many earlier sends of this very body were not definitely refused.
        conflicts: How many 409 this body has had, this one included.
        conflict_age_s: Seconds since the first of them.
        reference_urls: The urls inside the body.
        fresh_bodies_left: Whether a refused reference url may lead to another upload.

    Returns:
        The state that follows, and whether this send was definitely refused.
    """
    meaning = answer.meaning
    proven = earlier_unclear == 0
    match meaning:
        case Meaning.OK:
            task = read_task(answer.data)
            if task is None:
                return SubmitOutcome(after=After.AGAIN, definite=False)
            return SubmitOutcome(after=After.WAITING, definite=False, task=task)
        case Meaning.NEVER_LEFT:
            return SubmitOutcome(after=After.AGAIN, definite=True)
        case Meaning.UNCLEAR | Meaning.DISABLED:
            return SubmitOutcome(after=After.AGAIN, definite=False, retry_after_s=answer.retry_after_s)
        case Meaning.RATE_LIMITED:
            # In the API's own shape it is a refusal. So is one with nothing to read in it, as far as waiting
            # goes: limiters decide before anything is worked on, many say no more than the number, and no
            # job may become uncertain by waiting its turn. But it does not speak for the API: the key and
            # the bytes stay until the API itself has refused them. A page proves nothing, 429 or not.
            return SubmitOutcome(
                after=After.AGAIN,
                definite=answer.shaped or answer.bare,
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
                cls=failure_class(code=answer.code, status=answer.status),
                code=answer.code,
                message=answer.words(),
            )
            if not proven:
                return SubmitOutcome(after=After.UNCERTAIN, definite=False, failure=failure)
            if fresh_bodies_left and reference_urls and names_a_reference(answer, reference_urls):
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
    """
    if sent_wall_s is None:
        return math.inf
    ages = [now_wall_s - sent_wall_s]
    if sent_boot_id and sent_boot_id == boot_id and sent_boot_s is not None and now_boot_s is not None:
        ages.append(now_boot_s - sent_boot_s)
    if min(ages) < 0:
        return math.inf
    if sent_service_s is not None and now_service_s is not None:
        ages.append(now_service_s - sent_service_s)
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
            nothing = task.code == "insufficient_credits" and task.final == 0
            return AfterTask.NO_CREDITS if nothing else AfterTask.FAILED
        case TaskStatus.OTHER if task.urls and not _is_under_way(task.word):
            return AfterTask.DOWNLOADING
        case _:
            return AfterTask.RUNNING


def _is_under_way(word: str) -> bool:
    parts = re.findall(r"[a-z]+", word.lower())
    return any(part.endswith("ing") or part in _UNDER_WAY_WORDS for part in parts)


def has_ended_oddly(task: TaskView) -> bool:
    """Say whether a task that names no result looks as if it had ended in a way nobody has documented."""
    if task.status is not TaskStatus.OTHER or after_task(task) is not AfterTask.RUNNING:
        return False
    return _is_an_end(task.word) or (bool(task.error) and not _is_under_way(task.word))


def _is_an_end(word: str) -> bool:
    return "".join(re.findall(r"[a-z]+", word.lower())) in _ENDED_WORDS


def oddness(task: TaskView) -> str:
    """Return why the result of a task may not be what was asked for; empty where nothing speaks against it."""
    error = f" ({task.error})" if task.error else ""
    if task.status is TaskStatus.FAILED:
        return f"the service says that its task failed{error}, yet it names a result and charges for it"
    if error or _is_an_end(task.word):
        return f"the service calls its task {task.word!r}{error}, and names a result all the same"
    return ""


def task_failure(task: TaskView) -> Failure:
    """Return why a failed task failed; the service may say nothing at all."""
    code = task.code or "unknown"
    return Failure(
        cls=failure_class(code=task.code, status=None),
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


# Every change of state that happens, and no other: the store holds each step against it.
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
    State.DONE: frozenset({State.DOWNLOADING}),  # its file is gone from the disk
    State.FAILED: frozenset({State.PLANNED}),
    State.ABANDONED: frozenset({State.PLANNED}),
}


def may_become(old: State, new: State) -> bool:
    """Say whether a job may go from one state to another in a single step."""
    return old is new or new in _NEXT[old]
