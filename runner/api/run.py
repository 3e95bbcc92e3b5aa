"""`run`: do what the plan says, or go on with it. There is no second way to recover."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from runner.api.account import service_of
from runner.api.manifests.binding import check_binding, results_folder
from runner.api.manifests.contracts import contracts_for
from runner.api.manifests.opened import Opened, Without, no_file, read_manifest
from runner.api.plan import Plan, make_plan
from runner.api.plans.taken_places import refuse_taken
from runner.api.runs.begun import BegunRun, apply
from runner.api.runs.end import RunResult, ended_in_any_case, finish, get_ready_for_the_end, once_begun
from runner.api.runs.joining import (
    JOIN_WAIT_S,
    Agreed,
    cannot_join,
    join,
    refuse_other,
    taking_part,
    terms_of,
)
from runner.api.runs.preflight import TRY_ONE, Looked, look
from runner.api.runs.reference_sharing import keep_references, shared_references
from runner.api.runs.room import look_at_room
from runner.engine import Ended, Engine, Progress, RunOptions
from runner.engine.connections import MOST_OPEN
from runner.engine.limits import resume_tasks, resumed_rate
from runner.errors import Exit, RunLocked, TemporaryTrouble, UsageError
from runner.host.clock import Clock, ServerClock, ServiceClock, SystemClock, rfc3339
from runner.host.environment import descriptors_left, get_key
from runner.host.surroundings import Weight
from runner.host.workspace import DatabasePlace, RunLock, find_workspace
from runner.lifecycle.selection import JobIds
from runner.manifest import problem_line
from runner.model import SANDBOX_URL, Json, Settings, State
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.durations import Durations
from runner.pace.limits import AccountLimits
from runner.pace.scheduler import Scheduler
from runner.progress.figures import counted
from runner.results.files import OutputFolder
from runner.service import seen
from runner.service.account import Account
from runner.service.protocol import Service
from runner.service.rivya.endpoints import open_service
from runner.service.transports import ResultTransport, check, get_ready, open_result_transport
from runner.steps.context import RunContext
from runner.steps.download import Downloads
from runner.store import diff, durations, jobs, ledger, rates, result_hosts, staging
from runner.store.begun_jobs import Quota
from runner.store.database import StateDatabase, empty_database, open_database
from runner.store.writer import GroupWriter

if TYPE_CHECKING:
    from runner.api.plans.saved import SavedPlan
    from runner.api.retry import Rounds
    from runner.store.handovers import Handover
    from runner.store.lease import Lease

SANDBOX_KEY = "rvya_sk_sandbox"
ASK_THE_SERVICE = (State.PLANNED, State.UPLOADING, State.SUBMITTING, State.WAITING)
PROBLEMS_TOLD = 10
SPARE_DESCRIPTORS = 8  # for the database's own files, folders that are synced


class Watching(Protocol):
    """Whoever looks at what a run asks, and what it is answered."""

    def service(self, inner: Service) -> Service:
        """Return a service that does what this one does, and is watched."""
        ...

    def results(self, way: ResultTransport) -> ResultTransport:
        """Return a way to hosts of results that is watched."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One invocation of `run`."""

    path: Path
    state: str | None = None
    sandbox: bool = False
    sandbox_arguments: tuple[str, ...] = ()
    command: str = "run"
    max_credits: float | None = None
    may_pay_twice: bool = False  # though payments of earlier runs are missing from the database
    replace: bool = False  # its results may take the places of another manifest's
    skip_invalid: bool = False  # jobs with mistakes are left out, in the place of refusing the manifest
    rounds: Rounds | None = None  # other rounds of these jobs, agreed to already (`retry`)
    saved: SavedPlan | None = None  # do exactly this, or nothing
    options: RunOptions = field(default_factory=RunOptions)
    descriptors_kept: int = 0  # for who runs beside: a page and its visitors
    watch: Watching | None = None
    handed: Handover | None = None  # what was handed over, as which this is done: agreed to already

    @property
    def alone(self) -> str:
        """What is asked for that one run alone can keep to, in words; empty: others may take part."""
        if self.sandbox:
            return "a rehearsal"
        if self.rounds is not None:
            return "`retry`"
        if self.watch is not None:
            return "what `doctor` tries"
        return "what tries prices (`--probe`)" if self.options.ids or self.options.rows else ""

    @property
    def asked(self) -> dict[str, Json]:
        """What is asked for beyond the manifest and has to be the same for all who take part."""
        only = self.options.only
        return {
            "limit": self.options.limit,
            "canary": self.options.canary,
            "only": sorted(only.ids) if isinstance(only, JobIds) else only,
            "skip_invalid": self.skip_invalid,
        }


Confirm = Callable[[Plan], bool]
Announce = Callable[[str], None]
Beside = Callable[[Engine], Coroutine[Any, Any, None]]


class Run:
    """One run of a manifest, step by step: `begin`, `make_ready`, `go`, `end`, and `close` whatever happened.

    Nothing here is the process's: no signals, no printing, no event loop. `go` is awaited in the loop of whoever runs
    it; the other steps read and write files, and may be made in a thread.

    Args:
        request: What is asked for.
        confirm: Asked before anything is spent; False ends with nothing sent.
        announce: Takes plain lines for people.
        clock: For tests.
    """

    def __init__(
        self,
        request: RunRequest,
        *,
        confirm: Confirm,
        announce: Announce,
        clock: Clock | None = None,
    ) -> None:
        self._request = request
        self._confirm = confirm
        self._announce = announce
        self._clock = clock or SystemClock()
        self._stack = ExitStack()
        self._begun: BegunRun | None = None
        self._manifest_lock: RunLock | None = None
        self._joins = False  # others work at the manifest already
        self._moved = 0  # files of earlier runs

    def begin(self) -> None:
        """Read, plan, have the plan agreed to, and apply it.

        Raises:
            RunnerError: Before anything was sent.
        """
        request, announce = self._request, self._announce
        if not request.path.exists():
            raise no_file(request.path)
        file, plan = self._plan(service_of(sandbox=request.sandbox))
        only = request.options.only
        if request.rounds is None and only is not None and not diff.names_any(file.conn, only):
            announce(
                f"{only if isinstance(only, JobIds) else f'--only {only}'}: no job id matches, so no new jobs are submitted"
            )
        account = self._account()
        folder = results_folder(file, plan.settings)
        folder.prepare()
        _look_at_room(folder, file, announce)
        last_key = check_binding(file, plan.settings, base_url=account.service)
        if last_key is not None and last_key != account.key12:
            announce(
                "this API key is not the one used last time: its account must own the tasks at the service"
            )
        terms = terms_of(plan, request.asked)
        if (handed := request.handed) is not None:
            agreed = Agreed(handed.host, handed.terms, handed.sign)
            refuse_other(plan, file, account, folder, agreed, terms, begun="handed over")
        if self._joins:
            now = _now(self._clock)
            self._begun = join(
                plan, file, account, folder, asked=request.asked, command=request.command, now=now
            )
            announce(f"taking part in the run of {plan.name}")
            return
        self._begun = apply(
            plan,
            file,
            account,
            folder,
            rounds=request.rounds,
            may_pay_twice=request.may_pay_twice,
            command=request.command,
            now=_now(self._clock),
            terms=terms,
            session=handed.session if handed is not None else None,
        )
        if plan.adopted:
            announce(
                f"already on disk, taken over for free: the results of {counted(len(plan.adopted), 'job')}"
            )
        if uncertain := self._begun.applied.made_uncertain:
            announce(f"removed or edited while being submitted, now uncertain: {counted(uncertain, 'job')}")

    def make_ready(self) -> Plan:
        """Put the files of earlier runs in their places; return the plan, with nothing in its way any more."""
        known = self.begun
        if not self._joins:
            self._moved = _put_files_in_place(
                known.file, known.plan.settings, known.folder, self._announce, known.now
            )
            keep_references(known.file, known.plan.settings, self._announce)
        return replace(known.plan, run=known.run_id)

    async def go(self, progress: Progress, beside: Sequence[Beside]) -> Ended:
        """Run to the end, or to a reason to stop. Wants asyncio's event loop.

        Args:
            progress: Takes what happens.
            beside: Run beside the engine until that has ended, then are cancelled; they must not raise.
        """
        with once_begun(), ExitStack() as stack:
            known, lease = self.begun, None
            if isinstance(self._clock, ServerClock):
                known, lease = stack.enter_context(taking_part(known, self._clock))
                if not self._request.alone and self._manifest_lock is not None and not self._joins:
                    self._manifest_lock.share()
            ended = await _go(known, self._request, self._clock, progress, self._announce, beside, lease)
        plan = self.begun.plan
        if not plan.incomplete:
            return ended
        return ended.and_also(Exit.INCOMPLETE, f"left out for mistakes: {plan.left_out.words()}")

    def end(self, ended: Ended) -> RunResult:
        """Record the end, and write the page."""
        with once_begun():
            result = finish(self.begun, ended, self._clock, moved=self._moved)
            if self._request.handed is not None and ended.code is not Exit.TERMINATED:
                self._end_handed(self._request.handed, ended)
            return result

    def _end_handed(self, handed: Handover, ended: Ended) -> None:
        """Record the end of what was handed over, unless others still work at it."""
        from runner.store import handovers

        known = self.begun
        with known.file.transaction() as conn:
            over = handovers.end(conn, handed.id, exit_code=int(ended.code), now=_now(self._clock))
        if over:
            known.folder.remove_sign(handed.sign)

    def ended_in_any_case(self) -> AbstractContextManager[None]:
        """Record the end of a run that does not come to its own inside the block."""
        known = self.begun
        return ended_in_any_case(known.file, known.run_id, self._clock)

    def close(self) -> None:
        """Give back the lock, the database and the sandbox."""
        self._stack.close()

    @property
    def begun(self) -> BegunRun:
        """The run, as it was recorded as begun."""
        assert self._begun is not None, "begin comes first"
        return self._begun

    def _plan(self, service: str) -> tuple[StateDatabase, Plan]:
        """Lock the manifest, open the database, plan, and have the plan agreed to."""
        request, announce = self._request, self._announce
        workspace = find_workspace(request.path, state=request.state, sandbox=request.sandbox)
        database = workspace.database
        if workspace.has_database:
            file = self._open(database)
            opened = self._read(file)
            self._lock(file, opened.settings.name)
        else:
            # None is made for a manifest with mistakes in it, nor for a plan that nobody wants.
            nothing = empty_database()
            self._stack.callback(nothing.close)
            opened = self._read(nothing)
            plan = make_plan(opened, nothing, base_url=service, now_s=self._clock.wall_s())
            announce(f"first run with a new database: {database}")
            self._agree(plan, nothing)
            file = self._open(database)
            self._lock(file, plan.name)
            if file.created and not self._joins:
                staging.carry(nothing.conn, file.conn)
                nothing.close()
                opened.hashes.save(file)
                return file, plan
        check_binding(file, opened.settings, base_url=service)
        plan = make_plan(opened, file, base_url=service, now_s=self._clock.wall_s())
        opened.hashes.save(file)
        announce(
            f"first run with a new database: {database}" if file.created else f"state database {database}"
        )
        self._agree(plan, file)
        return file, plan

    def _open(self, database: DatabasePlace) -> StateDatabase:
        file = open_database(database)
        self._stack.callback(file.close)
        self._clock = file.clock_of(self._clock)
        return file

    def _read(self, file: StateDatabase) -> Opened:
        request = self._request
        return read_manifest(
            request.path,
            state=request.state,
            sandbox=request.sandbox,
            max_credits=request.max_credits,
            file=file,
            without=Without(
                skip_invalid=request.skip_invalid, only=request.options.only, ids=request.options.ids
            ),
            announce=self._announce,
        )

    def _lock(self, file: StateDatabase, name: str) -> None:
        lock, now_s, command = file.lock(name), self._clock.wall_s(), self._request.command
        if not self._request.alone:
            self._joins = lock.join(now_s, command=command, wait_s=JOIN_WAIT_S)
        else:
            try:
                lock.acquire(now_s, command=command)
            except RunLocked:
                if lock.is_shared():
                    raise cannot_join(file, name, self._request.alone) from None
                raise
        self._manifest_lock = lock
        self._stack.callback(lock.release)

    def _agree(self, plan: Plan, file: StateDatabase) -> None:
        """Refuse what must not be run as it is, and ask before anything is spent."""
        request = self._request
        if request.saved is not None:
            request.saved.refuse_changes(file.conn, plan.prices)
        _tell_problems(plan, self._announce)
        if request.rounds is not None:
            request.rounds.refuse_elsewhere(plan.name, plan.database)
        if not request.sandbox:
            self._account()  # no key: said after all mistakes of the manifest, before anything is asked or made
        pays = plan.submits or request.rounds is not None
        if plan.missing is not None and not request.may_pay_twice and pays:
            raise plan.missing.error()
        if not request.replace:
            refuse_taken(plan.taken, plan.settings)
        if not request.sandbox:
            check(service_of(sandbox=request.sandbox))
        for line in plan.attention:
            self._announce(f"warning: {line}")
        # Not `to_spend > 0`: what is thought to be free may cost all the same.
        if request.rounds is None and plan.submits and not self._confirm(plan):
            raise UsageError("nothing was sent: the plan was not confirmed")

    def _account(self) -> Account:
        """Return who pays; for a rehearsal, start the service that takes nothing."""
        request = self._request
        if not request.sandbox:
            return Account(service_of(sandbox=request.sandbox), get_key())
        workspace = find_workspace(request.path, state=request.state, sandbox=True)
        if "--credits" in request.sandbox_arguments and workspace.service_database.exists():
            self._announce(
                "the sandbox's account exists already and keeps its balance: --credits is of a new one; remove"
                f" {workspace.service_database} to begin anew"
            )
        from runner.api.runs.sandbox_process import sandbox_child

        child = self._stack.enter_context(
            sandbox_child(workspace.service_database, request.sandbox_arguments)
        )
        return Account(child.base_url, SANDBOX_KEY, alias=SANDBOX_URL)


async def run_here(
    request: RunRequest,
    *,
    confirm: Confirm,
    announce: Announce,
    progress: Progress,
    ready: Callable[[Plan], None],
    beside: Sequence[Beside] = (),
) -> RunResult:
    """Run a manifest in the event loop of somebody else; what reads and writes files is done in threads.

    Args:
        request: What is asked for.
        confirm: As for `Run`; called in a thread.
        announce: As for `Run`; called in any thread.
        progress: Takes what happens.
        ready: Called with the plan once nothing stands in the way any more.
        beside: As for `Run.go`.

    Raises:
        RunnerError: Before anything was sent.
    """
    run = Run(request, confirm=confirm, announce=announce)
    try:
        await anyio.to_thread.run_sync(run.begin)
        with run.ended_in_any_case():
            await anyio.to_thread.run_sync(get_ready)
            ready(await anyio.to_thread.run_sync(run.make_ready))
            ended = await run.go(progress, beside)
        return await anyio.to_thread.run_sync(run.end, ended)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(run.close)


def _now(clock: Clock) -> str:
    return rfc3339(clock.wall_s())


def _tell_problems(plan: Plan, announce: Announce) -> None:
    """Tell what is wrong with the manifest, and which jobs nothing is done for."""
    for problem in plan.problems[:PROBLEMS_TOLD]:
        announce(problem_line(problem))
    if len(plan.problems) > PROBLEMS_TOLD:
        announce(f"and {len(plan.problems) - PROBLEMS_TOLD:,} more; `rivya-batch validate` shows them")
    if off := plan.summary["off"]:
        announce(f"switched off, so not submitted: {counted(off, 'job')} (`rivya-batch switch` lists them)")
    if plan.left_out:
        announce(f"left out for mistakes: {plan.left_out.words()}")


def _look_at_room(folder: OutputFolder, file: StateDatabase, announce: Announce) -> None:
    assert file.place is not None
    for finding in look_at_room(folder.scratch, file.place):
        if finding.weight is Weight.STOP:
            raise TemporaryTrouble(finding.found, hint=finding.do)
        if finding.weight is Weight.WARNING:
            announce(f"warning: {finding.words()}")


def _put_files_in_place(
    file: StateDatabase, settings: Settings, folder: OutputFolder, announce: Announce, now: str
) -> int:
    """Move the files of renamed jobs, and fetch again what is gone from the disk; return how many were moved."""
    from runner.api.plans.file_moves import relocate_finished

    found = relocate_finished(file, settings, folder, now)
    if found.moved:
        announce(f"{counted(found.moved, 'file')} moved to where the manifest wants them now")
    if found.changed:
        some = ", ".join(found.changed[:3]) + (", …" if len(found.changed) > 3 else "")
        announce(
            f"edited since they were fetched, and kept as they are: files of {counted(len(found.changed), 'job')} ({some})"
        )
    if found.fetched_again:
        announce(
            f"missing on disk: the files of {counted(found.fetched_again, 'finished job')};"
            " they are fetched again for free"
        )
    if found.gone:
        announce(
            f"missing on disk, and their tasks are unknown: the files of {counted(found.gone, 'finished job')};"
            " they cannot be fetched again"
        )
    return found.moved


async def _go(
    known: BegunRun,
    request: RunRequest,
    clock: Clock,
    progress: Progress,
    announce: Announce,
    beside: Sequence[Beside],
    lease: Lease | None,
) -> Ended:
    file, settings, account = known.file, known.plan.settings, known.account
    writer = GroupWriter(file)
    draws = random.Random()
    workspace = find_workspace(request.path, state=request.state, sandbox=request.sandbox)
    contracts = contracts_for(workspace, sandbox=request.sandbox)
    scheduler = _scheduler(file, settings, account, clock, lease)
    settings, slow_places = _with_descriptors(
        settings, descriptors_left(), announce, kept=request.descriptors_kept
    )
    service_clock = ServiceClock(clock)
    quota = Quota(session=known.session, limit=request.options.limit, canary=request.options.canary)
    async with (
        open_service(account, now=clock.wall_s, connections=MOST_OPEN, heard=service_clock.heard) as service,
        open_result_transport(account.base_url, settings.limits.downloads + slow_places) as results,
    ):
        if request.watch is not None:
            service, results = request.watch.service(service), request.watch.results(results)
        context = RunContext(
            run=known.run_id,
            settings=settings,
            account=account,
            service=service,
            writer=writer,
            clock=clock,
            service_clock=service_clock,
            contracts=contracts,
            draw=draws.random,
            sandbox=request.sandbox,
            marks=known.marks,
            is_run=lambda name: file.holder_of(name) is not None,
            seen=seen.read(workspace.folder, account.service),
            lease=lease,
            shared_references=shared_references(file, settings),
            frames=workspace.folder / "frames",
            quota=quota if lease is not None and quota.counts else None,
        )
        downloads = Downloads.create(context, known.folder, results, slow_places=slow_places)
        left_out = staging.rows_not_staged(file.conn, settings.name)
        engine = Engine(context, scheduler, downloads, replace(request.options, left_out=left_out), progress)
        if any(jobs.counts(file.conn, settings.name).get((state, True)) for state in ASK_THE_SERVICE):
            charged, _ = ledger.all_totals(file.conn)
            looked = await look(service, results, result_hosts.known(file.conn, account.service))
            silent = ledger.names_no_amounts(file.conn, account.service)
            engine.balance_is(looked.balance, charged=charged, silent=silent)
            _handle_findings(looked, engine, request.options, announce)
        async with anyio.create_task_group() as group:
            group.start_soon(get_ready_for_the_end)
            for each in beside:
                group.start_soon(each, engine)
            ended = await engine.run()
            group.cancel_scope.cancel()
        return ended


def _handle_findings(looked: Looked, engine: Engine, options: RunOptions, announce: Announce) -> None:
    """Tell what was found before the first payment, and do without that payment where it says so."""
    for finding in looked.told:
        announce(f"warning: {finding.words()}")
    if looked.answers:
        engine.service_answers()
    if looked.stop is not None:
        engine.stop(*looked.stop)
    elif looked.no_way_home and options.canary is None:
        engine.submit_nothing(f"{looked.no_way_home}; {TRY_ONE}")
    elif looked.no_way_home:
        announce(f"warning: {looked.no_way_home}")


def _with_descriptors(
    settings: Settings, left: int | None, announce: Announce, *, kept: int
) -> tuple[Settings, int]:
    """Return settings that never fetch more at once than this process may open: two descriptors each.

    And how many slow downloads may go on besides: as many again, where there is room for them.
    """
    limits = settings.limits
    if left is None:
        return settings, limits.downloads
    calls = MOST_OPEN + min(limits.uploads, MOST_OPEN)
    most = max((left - calls - SPARE_DESCRIPTORS - kept) // 2, 1)
    if most >= limits.downloads:
        return settings, min(limits.downloads, most - limits.downloads)
    announce(
        f"limits.downloads is {limits.downloads}, but this process may open only {left} more files:"
        f" {most} are fetched at once (`ulimit -n` says how many it may)"
    )
    return replace(settings, limits=replace(limits, downloads=most)), 0


def _scheduler(
    file: StateDatabase, settings: Settings, account: Account, clock: Clock, lease: Lease | None
) -> Scheduler:
    learned = Durations()
    for shape in jobs.shapes_to_come(file.conn, settings.name):
        seen = durations.latest(file.conn, base_url=account.service, shape=shape)
        if seen:
            learned.seed(shape, seen)
    known = rates.find(file.conn, account.name)
    tasks = ConcurrencyLimit(settings.limits.in_flight)
    resume_tasks(tasks, known, now=clock.mono_s(), wall_s=clock.wall_s())
    given_per_s = settings.limits.requests_per_second
    rate = None if given_per_s is not None else resumed_rate(known)
    limits = AccountLimits(given_per_s=given_per_s, rate=rate, tasks=tasks)
    if lease is not None:
        from runner.pace.shared import SharedLimits

        limits = SharedLimits(run=str(lease.worker), given_per_s=given_per_s, rate=rate, tasks=tasks)
    return Scheduler(
        polling=settings.polling,
        limits=limits,
        durations=learned,
    )
