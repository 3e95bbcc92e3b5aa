"""The nouns. Frozen records and closed sets that every other module speaks in.

Nothing here computes, reads a clock or touches a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NewType, TypeAlias
from urllib.parse import quote

JobId = NewType("JobId", str)
TaskId = NewType("TaskId", str)
ModelId = NewType("ModelId", str)
Sha256 = NewType("Sha256", str)  # 64 lower-case hex digits
Fingerprint = NewType("Fingerprint", str)  # "fp1:" and 64 hex digits

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


class Kind(StrEnum):
    """Kind of a media file, as the service names it."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


SANDBOX_URL = "sandbox:"  # what the sandbox's rows are bound to: its port is another each time


class State(StrEnum):
    """Where a job stands. The comment says what is then true."""

    PLANNED = "planned"  # nothing was sent
    UPLOADING = "uploading"  # no submit was sent; its references are on their way, or all there
    SUBMITTING = "submitting"  # key and body are committed; the request may have arrived
    UNCERTAIN = "uncertain"  # it may or may not have been accepted; a person decides
    WAITING = "waiting"  # the task id is committed
    DOWNLOADING = "downloading"  # the task succeeded; its results are remote
    DONE = "done"  # artifacts are on disk, whole
    FAILED = "failed"  # the task ended failed, or the request was definitely refused
    ABANDONED = "abandoned"  # a person gave it up


NEVER_SENT = frozenset({State.PLANNED, State.UPLOADING})


class Basis(StrEnum):
    """Where an estimate of credits comes from, best first."""

    OBSERVED = "observed"  # this workspace has seen this charged
    GIVEN = "given"  # the user wrote it under `prices:`
    FITTED = "fitted"  # a law that explains what other jobs of the model were charged
    LISTED = "listed"  # `base_credits` of the contract: a lower bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a file a person wrote; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(StrEnum):
    """Whether a finding stops a run."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding in a manifest or a file it names.

    `code` is a stable kebab-case name such as `unknown-key`; `path` is the JSON path inside the
    document (`jobs[3].params.duration`), empty where there is none; `source` is the line of text
    the place points at, without its newline.
    """

    place: Place
    what: str
    code: str
    hint: str = ""
    path: str = ""
    job: str = ""
    source: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.place}: {self.what}{hint}"


class Frame(StrEnum):
    """A picture of a film."""

    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOf:
    """Which result of another job a reference is.

    `jobs` are whose: one, or, while it is `undecided`, the takes of which a person has to pick one.
    """

    jobs: tuple[JobId, ...]
    result: int = 1
    frame: Frame | None = None  # of a film, sent as a picture
    pick: bool = False
    undecided: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An input file of a job, already looked at: `sha256` is of its whole content.

    One that is another job's result has no file, and an empty hash, before it is bound to what that job has made.
    """

    path: str  # as written in the manifest, after expansion; of a result: `job: still-1, result: 2`
    file: ResultPath  # absolute
    kind: Kind
    mime: str
    size_bytes: int
    sha256: Sha256
    odd: tuple[str, ...] = field(
        default=(), compare=False
    )  # what models may refuse or turn: kinds of warnings
    result_of: ResultOf | None = None

    @property
    def is_to_come(self) -> bool:
        """Whether it is another job's result, and not bound to a file yet."""
        return self.result_of is not None and not self.sha256

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.path if self.result_of is None else self.file.name


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One expanded unit of work: what the user asks for, in canonical values.

    `params` holds what the user wrote, in the types the contract wants, without
    `referenceMediaItems` and without contract defaults. `output` is a relative POSIX path without
    extension, inside the output folder. `axes` are the values a report can make a grid of
    (matrix axes, columns of a row, `take`).
    """

    id: JobId
    model: ModelId
    prompt: str | None
    params: Mapping[str, Json]
    references: tuple[Reference, ...] = ()
    output: str
    fingerprint: Fingerprint
    axes: Mapping[str, Json] = field(default_factory=dict)
    place: Place
    number: int | None = None  # its place among all, where it is not the order in which they come


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Credit caps; None means no cap."""

    max_credits: float | None = None
    max_credits_per_job: float | None = None
    max_credits_per_day: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be done at once. None means `auto`."""

    requests_per_second: float | None = None
    in_flight: int | None = None
    uploads: int = 4
    downloads: int = 4
    job_deadline_s: float = 6 * 3600.0
    max_result_bytes: int = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """The limits of polling, in seconds."""

    first_s: float = 2.5
    min_s: float = 5.0
    max_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRule:
    """A price the user gives: for a model, and only where all of `params` match.

    `credits`, and `per` for each of a number (a second of `duration`), times the factor of each option. `factors` are by
    the name of the option, then by its value as `fingerprint.canonical` writes it; a value without one has 1. `defaults`
    are what a job has that leaves an option out. `shared` rules hold where the manifest's own say nothing.
    """

    model: ModelId
    credits: float
    params: Mapping[str, Json] = field(default_factory=dict)
    per: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rounding: str = ""  # up, nearest, down; empty for none
    defaults: Mapping[str, Json] = field(default_factory=dict)
    shared: bool = False


BUCKET_SCHEMES = ("s3", "gs", "az")


class ObjectPath(PurePosixPath):
    """Where an object is in a bucket, `s3://bucket/shots/hero.mp4`: named as a path is, and on no disk."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return it as people write it."""
        text = super().__str__()
        scheme, _, rest = text.partition(":/")
        return f"{scheme}://{rest}" if rest and scheme in BUCKET_SCHEMES else text

    def __fspath__(self) -> str:
        """Refuse to be looked for on a disk."""
        raise TypeError(f"{self} is not on a disk")

    def as_uri(self) -> str:
        """Return it as a link, for who has a way to the bucket."""
        return quote(str(self), safe=":/")

    @property
    def bucket(self) -> ObjectPath:
        """The bucket that it is in."""
        return ObjectPath(*self.parts[:2])

    @property
    def key(self) -> str:
        """Its name in the bucket."""
        return "/".join(self.parts[2:])


ResultPath: TypeAlias = Path | ObjectPath
"""Where a result is: on a disk, absolute, or in a bucket."""


def is_in_bucket(text: str) -> bool:
    """Say whether a text names a place in a bucket."""
    return text.partition("://")[0] in BUCKET_SCHEMES and "://" in text


def path_of(text: str) -> ResultPath:
    """Return the path that a text names.

    >>> str(path_of("s3://films/night/hero.mp4").with_suffix(".json"))
    's3://films/night/hero.json'
    """
    return ObjectPath(text) if is_in_bucket(text) else Path(text)


# How long a service remembers a key is undocumented, and so is whether it holds one while it works on a submit. What
# somebody on the way has given up on may still be worked on: 20 s later it has ended, also in a bad hour.
RESEND_WITHIN_S, RESEND_AFTER_S = 3600.0, 20.0
REUSE_UPLOADS_WITHIN_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRounds:
    """How many more times a job whose task failed may be paid for without a person's word, by why it failed."""

    generation: int = 0  # the task ran and failed
    policy: int = 0  # what it made was refused, and nothing was charged


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The head of a manifest: everything but its jobs, with defaults filled in."""

    path: Path  # absolute path of the manifest file
    name: str
    output_dir: ResultPath  # absolute
    budget: Budget = Budget()
    limits: Limits = Limits()
    polling: Polling = Polling()
    failed_rounds: FailedRounds = FailedRounds()
    resend_within_s: float = RESEND_WITHIN_S
    resend_after_s: float = RESEND_AFTER_S
    reuse_uploads_within_s: float = REUSE_UPLOADS_WITHIN_S
    prices: tuple[PriceRule, ...] = ()


@dataclass(frozen=True, kw_only=True)  # without slots: its fields are copied at once (`store.jobs.changed`)
class Job:
    """One row of the ledger's `jobs`: a job as far as it has come.

    `row` is the database's number of it, `version` grows with each change. Times are RFC 3339 UTC.
    `edition` counts its earlier rounds that had a result, which other jobs may have been made of.
    `origin` is the id the row began with and `serial` counts earlier rows that began with the same id and
    fingerprint: together they keep idempotency keys apart when a renamed job's old id is used again.
    `in_doubt` counts the sends of `body` that were not definitely refused, one on its way included; `pinned` says
    that only the same key and bytes may follow although none is in doubt; `reopened` that a person has allowed one
    more window for them, which begins with the next send. `first_sent_service_at` is `first_sent_at` by the service's
    clock; `last_unclear_at` is when the last send in doubt began, or ended.
    `trouble` is what keeps the result of an accepted job from coming (`ways.Trouble`), since `trouble_since` without
    one better answer; once it counts as settled it is told in `error_code` and its neighbours. `oddness` says in
    what way a task did not plainly succeed whose result is fetched all the same.
    """

    row: int
    version: int
    manifest: str
    id: JobId
    fingerprint: Fingerprint
    listed: bool
    position: int
    origin: JobId
    serial: int
    state: State
    model: ModelId
    prompt: str | None
    params: Mapping[str, Json]
    references: tuple[Reference, ...]
    axes: Mapping[str, Json]
    shape: str
    output: str
    round: int
    edition: int
    revision: int
    key: str | None
    body: bytes | None
    key12: str | None
    base_url: str | None
    first_sent_at: str | None
    first_sent_boot_s: float | None
    first_sent_boot_id: str | None
    first_sent_service_at: str | None
    last_unclear_at: str | None
    in_doubt: int
    pinned: bool
    reopened: bool
    attempts: int
    conflicts: int
    conflict_since: str | None
    fresh_bodies: int
    task_id: TaskId | None
    task_status: str | None
    urls: tuple[str, ...]
    submitted_at: str | None
    finished_at: str | None
    duration_s: float | None
    polls: int
    overdue: bool
    error_class: str | None
    error_code: str | None
    error_message: str | None
    trouble: str | None
    trouble_since: str | None
    oddness: str | None

    @property
    def is_stuck(self) -> bool:
        """Whether paid work of it does not come home, as far as anybody can tell."""
        return self.state in (State.WAITING, State.DOWNLOADING) and (
            self.error_code is not None or (self.overdue and self.trouble is None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One result file of a job. `number` counts the urls from 1; `path` is absolute; `warning` says what is odd."""

    number: int
    path: ResultPath
    sha256: Sha256
    size_bytes: int
    mime: str
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The remote copy of a reference."""

    url: str
    file_id: str | None = None
    duration_token: str | None = None
    duration_s: float | None = None
    uploaded_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a payment is expected to cost, and how well that is known.

    `reserve` is what is set aside at the intent: never below `credits`. A charge above `most` is so many times
    what is known that a person has to see it; None where nothing is known. `words` tell how it is known, `at` when it was
    seen last, `beyond` what was paid for, if this lies outside of it. `at_least` is None where it is `credits`.
    """

    credits: float
    reserve: float
    basis: Basis
    most: float | None = None
    words: str = ""
    beyond: str = ""
    at: str | None = None
    at_least: float | None = None

    @property
    def low(self) -> float:
        """The least that it is thought to be, in credits."""
        return self.credits if self.at_least is None else min(self.at_least, self.credits)


class OrderKind(StrEnum):
    """What a run may be told."""

    HOLD = "hold"  # submit nothing new
    GO = "go"  # go on with that
    STOP = "stop"  # drain and end
    RATE = "rate"  # requests a second; no value: as the manifest says
    IN_FLIGHT = "in_flight"  # tasks at once; no value: as the manifest says
    MAX_CREDITS = "max_credits"  # the cap of this run


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One thing a person wants of a run."""

    kind: OrderKind
    value: float | None = None


class Opinion(StrEnum):
    """What a person has decided about a result."""

    PICKED = "picked"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What a person thinks of a job's result: `rating` is 1 to 5, 0 for none; `word` is theirs, empty for none.

    `results` are the numbers of those that are picked of several; empty where all are meant.
    """

    verdict: Opinion | None = None
    rating: int = 0
    word: str = ""
    results: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self != Pick()


@dataclass(frozen=True, slots=True, kw_only=True)
class PickChange:
    """What of a pick is to change; None leaves it as it is. A `verdict` of "" takes it back.

    A verdict without `results` is about all that the job has made.
    """

    verdict: Opinion | Literal[""] | None = None
    rating: int | None = None
    word: str | None = None
    results: tuple[int, ...] | None = None

    def values(self) -> dict[str, Any]:
        """Return the fields that change, as `Pick` has them."""
        results = self.results
        if self.verdict is not None and (results is None or self.verdict is not Opinion.PICKED):
            results = ()
        changed = {"verdict": self.verdict, "rating": self.rating, "word": self.word, "results": results}
        return {
            name: (value or None) if name == "verdict" else value
            for name, value in changed.items()
            if value is not None
        }
