"""What the runner asks of a service, and what it hears: each answer understood already.

Whatever speaks another service's dialect implements `Service`; nothing above this floor knows paths, headers, names
of fields or words of a service. A send is *definite* when it was certainly not accepted; everything else is *unclear*,
and only the same key with the same bytes may follow it (runner/README.md, rules 2 and 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Protocol, assert_never

from runner.contract.terms import Contract
from runner.host.surroundings import Finding
from runner.model import Job, Json, Kind, ModelId, TaskId, Upload
from runner.service.account import Account


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


class TaskStatus(StrEnum):
    """The service's word for its side of a job; `OTHER` is any word we do not know."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """What a service says of a task, read leniently.

    `reserved` and `final` are credits, None where absent or not a number. `under_way` says that it calls the task
    unfinished, `ended` that its word is one of an end that is neither success nor `failed`.
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
    cls: FailureClass = FailureClass.GENERATION  # of its error, should it have failed
    under_way: bool = False
    ended: bool = False
    unread: str = ""  # what it says that it charged, where that is no amount

    @property
    def error(self) -> str:
        """Its error for people, `code: message`; empty when it names none."""
        return ": ".join(part for part in (self.code, self.message) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service has answered, understood.

    `shaped` says that it is an error in the API's own shape, `bare` that its body says nothing: empty,
    or plain text. What was asked for stands in `task`, `copy`, `balance` (credits) or
    `contracts`; None, or none of them, where it does not.
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
    data: Mapping[str, Json] | None = None  # as it came, for those who keep it
    finding: Finding | None = None
    cls: FailureClass = FailureClass.OTHER  # of a refusal
    success: bool = False  # it came as a success, whatever stands in it
    not_found: bool = False  # what was asked for is not there, whoever says so
    file_refused: bool = False  # a file is too large or of the wrong type, whoever says so
    about_quota: bool = (
        False  # its code speaks of an amount for a day or a month, not of how fast or how many at once
    )
    about_key: bool = (
        False  # a refusal of our key that can be about nothing else; otherwise one task may be meant
    )
    bad_key: bool = False  # it is the key itself that is refused, not what it may do
    stale_urls: tuple[str, ...] = ()  # reference urls that it refuses, and that another upload makes anew
    task: TaskView | None = None
    copy: Upload | None = None
    balance: float | None = None
    contracts: Mapping[ModelId, Contract] = field(default_factory=dict)
    lacks: Sequence[str] | None = None  # what a description of the API lacks that we rely on, in words

    @property
    def definite(self) -> bool:
        """Whether the request that it answers was certainly not accepted."""
        match self.meaning:
            case Meaning.OK | Meaning.UNCLEAR | Meaning.DISABLED | Meaning.CONFLICT:
                return False
            case Meaning.RATE_LIMITED:
                # In the API's own shape it is a refusal. So is one with nothing to read in it, as far as waiting
                # goes: limiters decide before anything is worked on, many say no more than the number, and no
                # job may become uncertain by waiting its turn. A page proves nothing, 429 or not.
                return self.shaped or self.bare
            case Meaning.NEVER_LEFT | Meaning.KEY_REFUSED | Meaning.NO_CREDITS | Meaning.REFUSED:
                return True
            case _:
                assert_never(self.meaning)

    @property
    def hint(self) -> str:
        """What a person can do about it, where it is this machine or its network that is in the way."""
        return self.finding.do if self.finding is not None else ""

    @property
    def proper(self) -> bool:
        """Whether it could be understood, whatever it says: also one that refuses."""
        if self.meaning is Meaning.OK:
            return (self.task, self.copy, self.balance) != (None, None, None)
        return self.meaning not in (Meaning.NEVER_LEFT, Meaning.UNCLEAR)

    def words(self) -> str:
        """Return one line for people: status, code, message and the request id."""
        status = f"HTTP {self.status}" if self.status else ""
        # Where the service said nothing, our own words begin with the status.
        said = self.message.removeprefix(status).removeprefix(", ") if self.code else self.message
        parts = ["" if said.startswith(status) else status, self.code, said]
        text = " ".join(part for part in parts if part)
        return f"{text} (request {self.request_id})" if self.request_id else text


class Service(Protocol):
    """A service that makes something of prompts, for credits.

    No method raises what has to do with the network: that is an `Answer` too. None retries.
    """

    @property
    def account(self) -> Account:
        """Whom we talk to, and as whom."""
        ...

    def encode(self, job: Job, copies: Sequence[Upload], key: str) -> bytes:
        """Return the exact bytes that ask for a job under an idempotency key, with the copies of its references.

        Pure: the same arguments make the same bytes, on any day and on any machine.
        """
        ...

    def counts(self, url: str) -> bool:
        """Say whether a request for the url of a result counts under the service's own rate."""
        ...

    async def submit(
        self, body: bytes, key: str, *, still_allowed: Callable[[], bool] | None = None
    ) -> Answer:
        """Ask for a job with bytes of `encode`; `OK` brings a `task`.

        Args:
            body: The bytes.
            key: The key they were made with.
            still_allowed: Asked once there is a connection, before the body goes out: a laptop may have slept for
                hours while it connected.
        """
        ...

    async def poll(self, task_id: str) -> Answer:
        """Ask for a task; `OK` brings a `task`, unless what came speaks of none. Its id may be another one."""
        ...

    async def upload(
        self,
        content: IO[bytes],
        *,
        name: str,
        kind: Kind,
        mime: str,
        size_bytes: int,
        model: str,
        sha256: str,
    ) -> Answer:
        """Bring a file to the service, from where it is open; `OK` brings a `copy`."""
        ...

    async def credits(self) -> Answer:
        """Ask for the account's credits; `OK` may bring a `balance`."""
        ...

    async def models(self) -> Answer:
        """Ask for the list of models, without our key; `OK` brings their `contracts`, and the list as `data`."""
        ...

    async def described(self) -> Answer:
        """Ask for the service's description of its API, without our key; `OK` says what it `lacks`."""
        ...
