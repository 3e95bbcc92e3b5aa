"""Everything a report says of one manifest, read from the database at one moment.

The page and its numbers are made from a `Report` alone; nothing else asks the database.
"""

from __future__ import annotations

import json
import math
import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

from runner.errors import UsageError
from runner.host.clock import epoch
from runner.model import SANDBOX_URL, Json, ObjectPath, Pick, ResultPath, State, is_in_bucket
from runner.schemas import load_contracts
from runner.store import jobs, manifests, picks, reporting, switches
from runner.store.connection import Connection
from runner.words import LONGEST_WORDS, harmless

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """How a person names the manifest on the command line, so that a page can say what to type."""

    manifest: str
    options: tuple[str, ...] = ()

    def command(self, *words: str) -> str:
        """Return a line for a shell: `command("retry", "--class", "generation")`."""
        first, *rest = words
        return shlex.join(["rivya-batch", first, self.manifest, *rest, *self.options])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A file a page shows. `url` is relative to the page and percent-encoded; `name` is for people.

    `warning` says what is odd about a result that was kept all the same. `again` is how a new manifest beside the old one
    names a reference, where that is not `name`; an empty text where it cannot name it.
    """

    url: str
    name: str
    mime: str
    size_bytes: int
    warning: str | None = None
    again: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlace:
    """Where a file is: by its path, and by the row that names it (`number` counts from 1)."""

    kind: str  # "result" or "reference"
    row: int
    number: int
    path: str


UrlOf = Callable[[FilePlace], str]


class JobPrice(NamedTuple):
    """Credits of one payment: the least, what is expected, and the most; None where nobody knows that."""

    low: float
    expected: float
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportJob:
    """One job as a report knows it. Credits are sums over its rounds, None where nothing was begun."""

    row: int
    id: str
    listed: bool
    state: str
    model: str
    prompt: str | None
    params: Mapping[str, Json]
    references: tuple[ReportFile, ...]
    axes: Mapping[str, Json]
    round: int
    task_id: str | None
    estimated: float | None
    reserved: float | None
    charged: float | None
    submitted_s: float | None
    finished_s: float | None
    duration_s: float | None
    attempts: int
    polls: int
    overdue: bool
    error_class: str | None
    error_code: str | None
    error_message: str | None
    files: tuple[ReportFile, ...]
    pick: Pick
    marked_s: float | None  # when that was said
    off: bool = False  # switched off by a person
    price: JobPrice | None = None  # what it is thought to cost, where that is known before it is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Jobs that ended in one kind of trouble, and the command that does something about it."""

    state: str  # "failed" or "uncertain"
    error_class: str
    count: int
    message: str  # the commonest
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One manifest, as the database knew it at `written_at`."""

    manifest: str
    workspace: str  # its random name
    sandbox: bool
    written_at: str
    output_dir: ResultPath
    invocation: Invocation
    counts: Mapping[str, int]  # of the listed jobs, by state
    orphaned: int  # jobs the manifest no longer lists
    charged: float
    reserved: float
    credits: tuple[reporting.ModelCredits, ...]
    runs: tuple[reporting.ReportRun, ...]
    failures: tuple[FailureGroup, ...]
    categories: Mapping[str, str]  # of each model: image, video, audio
    jobs: tuple[ReportJob, ...] = field(repr=False)


class _Once(Generic[Value]):
    """Reads each distinct text once: most jobs of a run share their params."""

    def __init__(self, read: Callable[[str], Value]) -> None:
        self._read = read
        self._known: dict[str, Value] = {}

    def __call__(self, text: str) -> Value:
        if text not in self._known:
            self._known[text] = self._read(text)
        return self._known[text]


def collect(
    conn: Connection,
    manifest: str,
    *,
    output_dir: ResultPath,
    written_at: str,
    invocation: Invocation | None = None,
    rows: Sequence[int] | None = None,
    url_of: UrlOf | None = None,
) -> Report:
    """Read everything a report says of a manifest.

    Args:
        conn: A connection that may be read-only; a run may be going on.
        manifest: The manifest's name.
        output_dir: The folder the page will stand in; urls are relative to it.
        written_at: RFC 3339 time the page will show.
        invocation: How to name the manifest in commands; None names its path.
        rows: Read these jobs only. Counts, credits, runs and failures are of all of them nevertheless.
        url_of: Names files in another way than by their paths from `output_dir`.

    Raises:
        UsageError: The database does not know this manifest.
    """
    with reporting.snapshot(conn):
        bound = manifests.binding(conn, manifest)
        if bound is None:
            raise UsageError(
                f"{manifest} has never been run with this database",
                hint="`rivya-batch plan` shows what a run would do",
            )
        sandbox = bound.base_url == SANDBOX_URL
        invocation = invocation or Invocation(
            manifest=str(bound.path), options=("--sandbox",) if sandbox else ()
        )
        found = jobs_of(conn, manifest, rows, url_of or (lambda place: relative_url(place.path, output_dir)))
        counts, orphaned = jobs.by_state(jobs.counts(conn, manifest), switches.counts(conn, manifest))
        failures = _failures(reporting.failures(conn, manifest), invocation)
        models = reporting.models(conn, manifest) if rows is None else sorted({job.model for job in found})
        credits = tuple(reporting.credits_by_model(conn, manifest))
        runs = tuple(reporting.runs(conn, manifest))
        workspace = picks.workspace_id(conn)
    return Report(
        manifest=manifest,
        workspace=workspace,
        sandbox=sandbox,
        written_at=written_at,
        output_dir=output_dir,
        invocation=invocation,
        counts=counts,
        orphaned=orphaned,
        charged=sum(line.charged for line in credits),
        reserved=sum(line.reserved for line in credits),
        credits=credits,
        runs=runs,
        failures=failures,
        categories=categories_of(models),
        jobs=found,
    )


def relative_url(path: str, folder: ResultPath) -> str:
    """Return the url of a file as a page in `folder` names it; safe for any character of a name.

    >>> relative_url("/out/a b/50%:#1.mp4", Path("/out"))
    'a%20b/50%25%3A%231.mp4'
    """
    inside = f"{folder}/"
    # The usual case, without asking the system where it stands: thousands of results lie beside their page.
    if path.startswith(inside):
        return quote(path[len(inside) :], safe="/")
    if isinstance(folder, ObjectPath) or is_in_bucket(path):
        return ""  # nothing leads from a bucket to a disk, or back
    return quote(os.path.relpath(path, folder), safe="/")


def jobs_of(
    conn: Connection, manifest: str, rows: Sequence[int] | None, url_of: UrlOf
) -> tuple[ReportJob, ...]:
    """Read some jobs, or all of them, in the order in which a report shows them."""
    files: dict[int, list[ReportFile]] = {}
    for item in reporting.artifact_rows(conn, manifest, rows):
        place = FilePlace(kind="result", row=item.row, number=item.number, path=item.path)
        files.setdefault(item.row, []).append(
            ReportFile(
                url=url_of(place),
                name=Path(item.path).name,
                mime=item.mime,
                size_bytes=item.size_bytes,
                warning=item.warning,
            )
        )
    params: _Once[dict[str, Json]] = _Once(_json_for_browsers)
    axes: _Once[dict[str, Json]] = _Once(_json_for_browsers)
    references: dict[str, tuple[ReportFile, ...]] = {}
    bound = manifests.binding(conn, manifest)
    folder = os.path.realpath(bound.path.parent) if bound is not None else None

    def references_of(job: reporting.JobRow) -> tuple[ReportFile, ...]:
        # Jobs with the same references share them, also the row by which they are named.
        if job.refs not in references:
            references[job.refs] = _references(reporting.references(job.refs), job.row, url_of, folder)
        return references[job.refs]

    return tuple(
        ReportJob(
            row=job.row,
            id=job.job,
            listed=bool(job.listed),
            state=job.state,
            model=job.model,
            prompt=job.prompt,
            params=params(job.params),
            references=references_of(job),
            axes=axes(job.axes),
            round=job.round,
            task_id=_said(job.task_id),
            estimated=job.estimated,
            reserved=job.reserved,
            charged=job.charged,
            submitted_s=epoch(job.submitted_at),
            finished_s=epoch(job.finished_at),
            duration_s=job.duration_s,
            attempts=job.attempts,
            polls=job.polls,
            overdue=bool(job.overdue),
            error_class=job.error_class,
            error_code=_said(job.error_code),
            error_message=_said(job.error_message),
            files=tuple(files.get(job.row, ())),
            pick=picks.pick_of(job.verdict, job.rating, job.word, job.picked),
            marked_s=epoch(job.marked_at),
            off=job.off,
        )
        for job in reporting.job_rows(conn, manifest, rows)
    )


def _said(words: str | None) -> str | None:
    """Return the service's words as they may stand beside ours: nothing in them turns the line round."""
    return harmless(words, limit=LONGEST_WORDS) if words is not None else None


def _json_for_browsers(text: str) -> Any:
    """Read JSON; a number that a browser would change or refuse (a long seed, NaN) becomes text."""
    return json.loads(
        text,
        parse_int=lambda digits: int(digits) if len(digits) < 16 else digits,
        parse_float=lambda digits: value if math.isfinite(value := float(digits)) else digits,
        parse_constant=str,
    )


def _references(
    items: Sequence[reporting.ReferenceRow], row: int, url_of: UrlOf, folder: str | None
) -> tuple[ReportFile, ...]:
    return tuple(
        ReportFile(
            url=url_of(FilePlace(kind="reference", row=row, number=number, path=item.file))
            if item.file
            else "",
            name=item.path,
            mime=item.mime,
            size_bytes=item.size_bytes,
            again=_named_again(item, folder) if folder is not None else None,
        )
        for number, item in enumerate(items, start=1)
    )


def _named_again(item: reporting.ReferenceRow, folder: str) -> Json | None:
    """Return how a new manifest in this folder names a reference, where that is not as the old one does."""
    if item.is_result:  # which is a file now: the new manifest does not list the job that has made it
        return os.path.relpath(item.file, folder) if item.file and "://" not in item.file else ""
    if "://" in item.path or not item.file:
        return None
    is_mended = os.path.realpath(os.path.join(folder, item.path)) != os.path.realpath(item.file)  # noqa: PTH118
    return {"file": item.path, "mend": True} if is_mended else None


def _failures(told: Sequence[reporting.Failures], invocation: Invocation) -> tuple[FailureGroup, ...]:
    """Group what needs attention: the same jobs as the view `v_failures`."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for each in told:
        groups.setdefault((each.state, each.error_class), Counter())[_said(each.message) or ""] += each.number
    found = [
        FailureGroup(
            state=state,
            error_class=cls,
            count=messages.total(),
            message=messages.most_common(1)[0][0],
            command=_command(state, cls, invocation),
        )
        for (state, cls), messages in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: (-group.count, group.state, group.error_class)))


def _command(state: str, cls: str, invocation: Invocation) -> str:
    if state == State.FAILED.value:
        return invocation.command("retry", "--class", cls)
    resolve = invocation.command("resolve", "JOB")
    if state == State.UNCERTAIN.value:
        return f"{resolve} --resend | --attach TASK_ID | --abandon"
    run = invocation.command("run")
    accept = "--accept | " if state == State.DOWNLOADING.value else ""
    return f"{run}, or {resolve} {accept}--abandon, or {invocation.command('retry', '--only', 'JOB')}"


def categories_of(models: Sequence[str]) -> dict[str, str]:
    """Return what each model makes: image, video, audio; an empty text for one without a contract."""
    contracts: Mapping[Any, Any] = load_contracts()
    return {model: contracts[model].category if model in contracts else "" for model in models}
