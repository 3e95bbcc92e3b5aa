"""`plan`: what `run` would do, as a diff against the database, with what it would cost."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.api.account import service_of
from runner.api.manifests.binding import check_binding
from runner.api.manifests.expansion import Prices, stage
from runner.api.manifests.opened import WITHOUT_NONE, Announce, Opened, Without, is_incomplete, read_manifest
from runner.api.plans.groups import NOTHING_TO_PAY, Totals, totals
from runner.api.plans.missing_payments import Missing, find_missing
from runner.api.plans.results_on_disk import OutcomesOnDisk, adoptable
from runner.api.plans.taken_places import Taken, places_taken
from runner.api.plans.waits import NO_CHAINS, ChainedJobs, hold
from runner.api.plans.warnings import about_other_names, about_surprises, about_the_place
from runner.errors import UsageError
from runner.host.workspace import DatabasePlace, Workspace, find_workspace
from runner.manifest import in_order
from runner.manifest.left_out import LeftOut
from runner.manifest.what_if import Change
from runner.model import Basis, Budget, Estimate, ObjectPath, Problem, Reference, Settings
from runner.money.budget import EPSILON
from runner.pace.rate import RATE
from runner.results.bucket import bucket_of
from runner.results.sidecar import Sidecar, SidecarIndex
from runner.store import diff, durations, jobs, ledger, rates, reporting, result_hosts, staging, switches
from runner.store.database import StateDatabase, empty_database, open_to_read
from runner.store.listings import ListingSource
from runner.store.marks import Mark, Marks

CHANGES = (
    "new",
    "planned",
    "changed",
    "renamed",
    "running",
    "done",
    "failed",
    "uncertain",
    "abandoned",
    "off",
    "orphaned",
)
# Weakest last: the basis of a sum is that of its weakest part.
_WEAKEST = (Basis.OBSERVED.value, Basis.GIVEN.value, Basis.FITTED.value, Basis.LISTED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A staged diff, counted. `summary` holds `total` and one count for each of `CHANGES`; `attention` is told before
    money moves.
    """

    name: str
    path: Path
    database: DatabasePlace
    folder: Path  # for what this machine notes beside it
    database_exists: bool
    settings: Settings
    source: ListingSource | None  # what its jobs were read from, where that tells them
    summary: Mapping[str, int]
    credits: Mapping[str, Any]
    uploads: int
    upload_bytes: int
    submits: int
    requests: int
    seconds: float | None
    adopted: Mapping[int, Sidecar]
    problems: list[Problem]
    attention: tuple[str, ...]
    missing: Missing | None  # payments that an earlier run has made and the database does not know
    marks: Marks | None = field(
        compare=False
    )  # where what is known of payments is written down outside the database
    result_hosts: Sequence[str]  # where results have come from before

    taken: tuple[Taken, ...]  # places of other manifests that results would take
    left_out: LeftOut = LeftOut()  # noqa: RUF009  # jobs with mistakes, which nothing is done for
    mended: tuple[Reference, ...] = ()  # copies of pictures that are sent in their place
    waits: ChainedJobs = NO_CHAINS  # jobs that take others' results
    odd: tuple[str, ...] = ()  # ids of jobs to submit with a cell such as `#REF!`
    run: int | None = None  # the number of the run that does it, once it has begun
    incomplete: bool = False  # some that were asked for are left out
    sandbox: bool = False
    now_s: float = 0.0  # when it was made
    totals: Totals = NOTHING_TO_PAY
    prices: Mapping[str, Estimate] = field(
        default_factory=dict, compare=False
    )  # by shape, as far as asked for

    @property
    def to_spend(self) -> float:
        """Credits that would be paid; a lower bound where the basis is `listed`."""
        return float(self.credits["to_spend"])

    @property
    def log(self) -> Path:
        """Where a run of it writes its log."""
        stem = self.database.stem if isinstance(self.database, Path) else "runner"
        return self.folder / f"{stem}.log"


def make_plan(opened: Opened, file: StateDatabase, *, base_url: str, now_s: float) -> Plan:
    """Stage a manifest, compare it with what is known of it anywhere, and count what a run would do.

    Args:
        opened: The manifest.
        file: The database, or an empty one where there is none; all that is written to it is temporary.
        base_url: The service it is for.
        now_s: The time, in seconds since 1970.

    Raises:
        InvalidManifest: With every problem of it.
    """
    marks = _marks_of(opened)
    # Before the database: a run that goes on writes there first, and marks it then.
    marked = marks.read() if marks is not None else []
    prices = Prices(opened, file, base_url)
    if not opened.sandbox:
        opened.manifest.outcomes = lambda _: OutcomesOnDisk(file.conn, opened.settings, base_url)
    source = stage(opened, file, prices)
    as_listed = staging.is_restaged(file.conn)
    found = compare(opened, file, marks, marked, base_url=base_url)
    if as_listed and opened.manifest.needs_results and found.editions:
        # What was made of these is another job than the one that is listed.
        source = stage(opened, file, prices, afresh=True)
        found = compare(opened, file, marks, marked, base_url=base_url)
    plan = judge(opened, file, source, found, base_url=base_url, now_s=now_s)
    sums = totals(file.conn, prices.known)
    return replace(plan, totals=sums, prices=prices.known, credits={**plan.credits, "at_least": sums.all.low})


def _marks_of(opened: Opened) -> Marks | None:
    """Return where payments are written down outside the database; rehearsals have none."""
    settings = opened.settings
    return None if opened.sandbox else Marks(opened.workspace.database, settings.output_dir, settings.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of staged jobs elsewhere than in their rows."""

    adopted: Mapping[int, Sidecar]  # results on disk that the database does not know, by position
    taken: tuple[Taken, ...]  # places of other manifests that results would take
    marks: Marks | None
    missing: Missing | None  # payments that an earlier run has made and the database does not know

    @property
    def editions(self) -> bool:
        """Whether a result on disk is not the first of its job."""
        return any(sidecar.edition for sidecar in self.adopted.values())


def compare(
    opened: Opened, file: StateDatabase, marks: Marks | None, marked: Collection[Mark], *, base_url: str
) -> Found:
    """Compare the staged jobs with what is on disk, other manifests, and what earlier runs have written down."""
    settings = opened.settings
    index = SidecarIndex(settings.output_dir)
    adopted = {} if opened.sandbox else adoptable(file, settings, base_url, index)
    taken = places_taken(file, settings, index.others)
    staging.adopt(file.conn, adopted)
    missing = None
    if marks is not None:
        missing = find_missing(
            marks,
            marked,
            file,
            database=opened.workspace.database,
            manifest=settings.name,
            base_url=base_url,
            adopted=adopted.values(),
        )
    return Found(adopted=adopted, taken=taken, marks=marks, missing=missing)


def judge(
    opened: Opened,
    file: StateDatabase,
    source: ListingSource | None,
    found: Found,
    *,
    base_url: str,
    now_s: float,
) -> Plan:
    """Count what a run would do with the staged jobs, what it would cost, and what a person should know before.

    All of them are in the summary; where only some are asked for, the rest are not submitted and cost nothing.
    """
    settings, without = opened.settings, opened.without
    staging.switch_off(file.conn, switches.off_ids(file.conn, settings.name))
    counts = diff.summary(file.conn, settings.name)
    if without.narrows:
        staging.narrow(file.conn, without.wants)
    summary = {change: counts.get(change, 0) for change in CHANGES}
    summary = {"total": sum(summary.values()), **summary}
    waits = hold(file.conn)
    spend = diff.to_spend(file.conn)
    charged, reserved = ledger.totals(file.conn, settings.name)
    submits = sum(each.jobs for each in spend.values())
    uploads, upload_bytes = diff.to_upload(file.conn)
    running = summary["running"]
    requests = submits + uploads + 2 * (submits + running)
    left_out = opened.manifest.left_out if opened.manifest.errors else LeftOut()
    return Plan(
        name=settings.name,
        path=opened.path,
        database=opened.workspace.database,
        folder=opened.workspace.folder,
        database_exists=file.place is not None,
        settings=settings,
        source=source,
        summary=summary,
        credits={
            "to_spend": sum(each.credits for each in spend.values()),
            # A list price is the lowest there is: nobody knows the highest.
            "up_to": sum(each.reserve for each in spend.values())
            if Basis.LISTED.value not in spend
            else None,
            "spent": charged,
            "reserved": reserved,
            "balance": None,
            "basis": next((basis for basis in reversed(_WEAKEST) if basis in spend), None),
            "by_basis": {basis: spend[basis].credits for basis in _WEAKEST if basis in spend},
            "margin": max((each.margin for each in spend.values()), default=0.0),
            "last_day": ledger.day_total(file.conn, now_s),
            **_caps(settings.budget),
            "jobs_above_cap": _above_cap(file, settings.budget),
        },
        uploads=uploads,
        upload_bytes=upload_bytes,
        submits=submits,
        requests=requests,
        seconds=_seconds(
            file, settings, base_url, requests=requests, tasks=submits + running, depth=waits.depth
        ),
        waits=waits,
        adopted=found.adopted,
        problems=in_order(opened.manifest.problems),
        taken=found.taken,
        missing=found.missing,
        marks=found.marks,
        attention=tuple(_attention(opened, file, found, base_url=base_url, submits=submits)),
        result_hosts=result_hosts.known(file.conn, base_url),
        left_out=left_out,
        mended=opened.manifest.mended,
        odd=_odd(opened.manifest.odd_jobs, file, settings.name),
        incomplete=is_incomplete(left_out, opened.without),
        sandbox=opened.sandbox,
        now_s=now_s,
    )


def _odd(jobs: Collection[str], file: StateDatabase, name: str) -> tuple[str, ...]:
    """Return which of these jobs would be submitted."""
    if not jobs:
        return ()
    return tuple(line.job for line in diff.lines(file.conn, name) if line.sends and line.job in jobs)


def _attention(
    opened: Opened, file: StateDatabase, found: Found, *, base_url: str, submits: int
) -> Iterator[str]:
    """Yield what a person should know before this is paid for; rehearsals cost nothing."""
    settings = opened.settings
    if found.missing is not None:
        yield f"{found.missing.in_words()}; {found.missing.way_out()}"
    if isinstance(settings.output_dir, ObjectPath):
        try:
            bucket_of(settings.output_dir)
        except UsageError as exc:
            yield f"a run will send nothing: {exc.message}" + (f"; {exc.hint}" if exc.hint else "")
    yield from about_surprises(ledger.surprises(file.conn, settings.name))
    if not opened.sandbox:
        yield from about_the_place(opened.workspace.database, file, settings.name)
        if submits:
            yield from about_other_names(file, settings.name, base_url)
    for each in found.taken:
        yield each.words(settings.name, settings.output_dir)


def _caps(budget: Budget) -> dict[str, float | None]:
    return {
        "max_credits": budget.max_credits,
        "max_credits_per_job": budget.max_credits_per_job,
        "max_credits_per_day": budget.max_credits_per_day,
    }


def _above_cap(file: StateDatabase, budget: Budget) -> int:
    """Return how many jobs `max_credits_per_job` will hold back."""
    cap = budget.max_credits_per_job
    return diff.above(file.conn, cap + EPSILON) if cap is not None else 0


def _seconds(
    file: StateDatabase, settings: Settings, base_url: str, *, requests: int, tasks: int, depth: int
) -> float | None:
    """Return a rough time: the requests at the rate we know, plus one task's length, or of so many in a row."""
    if not tasks:
        return 0.0
    known = rates.latest_of_service(file.conn, base_url)
    rate = settings.limits.requests_per_second or known or RATE.start_per_s
    shapes = {*diff.shapes_to_send(file.conn), *jobs.shapes_to_come(file.conn, settings.name)}
    lengths = [
        seconds
        for shape in sorted(shapes)
        for seconds in durations.latest(file.conn, base_url=base_url, shape=shape)[-20:]
    ]
    length_s = sum(lengths) / len(lengths) if lengths else 60.0
    waves = 1.0
    if settings.limits.in_flight:
        waves = max(1.0, tasks / settings.limits.in_flight)
    return max(requests / rate, 0.0) + max(waves, depth) * length_s


@contextmanager
def state_to_read(workspace: Workspace) -> Iterator[StateDatabase]:
    """Open the database without writing a byte; an empty one in memory where none exists yet."""
    if workspace.has_database:
        file = open_to_read(workspace.database)
    else:
        file = empty_database()
    try:
        yield file
    finally:
        file.close()


@contextmanager
def planned(
    path: Path,
    *,
    state: str | None,
    sandbox: bool,
    max_credits: float | None = None,
    without: Without = WITHOUT_NONE,
    announce: Announce = lambda _: None,
    changes: Sequence[Change] = (),
) -> Iterator[tuple[Plan, StateDatabase]]:
    """Plan a manifest; the database is open, and read only, inside the block.

    Args:
        path: The manifest's path.
        state: The database's path, if it was named.
        sandbox: Whether it is a rehearsal.
        max_credits: Replaces `budget.max_credits`, in credits.
        without: Which jobs with mistakes are left out.
        announce: Takes plain lines for people.
        changes: What it is read with as if it stood there.

    Raises:
        InvalidManifest: With every problem of it.
        StateError: The database cannot be read.
        UsageError: The manifest's name belongs to another service or file in it.
    """
    base_url = service_of(sandbox=sandbox)
    with state_to_read(find_workspace(path, state=state, sandbox=sandbox)) as file:
        opened = read_manifest(
            path,
            state=state,
            sandbox=sandbox,
            max_credits=max_credits,
            file=file,
            without=without,
            announce=announce,
            changes=changes,
        )
        check_binding(file, opened.settings, base_url=base_url)
        yield make_plan(opened, file, base_url=base_url, now_s=time.time()), file


def plan_lines(file: StateDatabase, plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield a plan job by job, as `plan --json` prints it."""
    adopted, waits = plan.adopted, plan.waits.by_job()
    for line in diff.lines(file.conn, plan.name):
        sends = bool(line.sends)
        yield {
            "id": line.job,
            "status": line.change,
            "cause": line.cause.split() if line.cause else [],
            "was": line.was or None,
            "state": line.state,
            "model": line.model,
            "prompt": line.prompt,
            "params": json.loads(line.params),
            "references": [item.path for item in reporting.references(line.refs)],
            "waits": waits.get(line.job) if line.change != "orphaned" else None,
            "output": line.output,
            "fingerprint": line.fingerprint,
            "round": line.round,
            "sends": sends,
            "credits": line.estimate if sends else 0.0,
            "basis": line.basis if sends else None,
            "charged": line.charged,
            "reserved": line.reserved,
            "task_id": line.task_id,
            "adopted": line.change == "done" and line.position in adopted,
            "error": {"class": line.error_class, "message": line.error_message} if line.error_class else None,
        }
