"""`doctor --spend N`: the cheapest job of all, run like any other, then asked for again in ways that should be free.

The job is a manifest of its own with N as its cap, so that intent, key, ledger and resuming are those of every run. What
follows may be paid for by the worst reading of what nobody has documented, so each try is set aside first, within N.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import anyio

from runner.api.checks import verdicts
from runner.api.checks.pixel import PICTURE, PICTURE_SHA256
from runner.api.checks.watch import JobWatch
from runner.api.run import RunRequest
from runner.api.runs.end import RunResult
from runner.contract import Contract, minimal_job
from runner.errors import Exit, RunnerError, UsageError
from runner.host.clock import SystemClock, epoch, rfc3339
from runner.host.workspace import Workspace
from runner.model import Basis, Estimate, Job, Kind, ModelId, State
from runner.results.fetch import ResultFetcher
from runner.service.account import Account, same_service
from runner.service.protocol import Answer, Meaning, Service
from runner.service.rivya.endpoints import open_service
from runner.service.seen import Fact, save
from runner.service.transports import open_result_transport
from runner.store import jobs, ledger, manifests, trials
from runner.store.database import StateDatabase, open_database, open_to_read

PREFIX = "doctor-"
FOLDER = "doctor"  # below the state folder
OTHER_PROMPT = "A blue kite over a green hill"
LATE_POLLS = {
    "first_s": 8,
    "min_s": 8,
}  # so that an end is asked for late: only then `updated_at` says something
AGAIN_AFTER_S = 2.2  # a time cut to seconds that moves has moved by then
SENT_WITHIN_S = 3600.0  # as long as a run sends an unclear request again
SAME_KEY, OTHER_BODY = 0, 1  # the tries
_ENDED = (State.DONE, State.FAILED, State.ABANDONED)
SENDS, WAIT_S, LONGEST_WAIT_S = 3, 2.0, 10.0  # where a try meets a 429

RunIt = Callable[[RunRequest], RunResult]


@dataclass(slots=True, kw_only=True)
class Tried:
    """What a try has come to. `credits` is what counts for it in the ledger; `notes` are lines for people."""

    name: str
    code: Exit = Exit.OK
    credits: float = 0.0
    facts: dict[str, Fact] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kept: Path | None = None


def cheapest(contracts: Mapping[ModelId, Contract], credits: float) -> Contract:
    """Return the model whose starting price is the lowest, of those that the API can be asked for.

    Raises:
        UsageError: None is known to begin at so few credits.
    """
    known = [
        each
        for each in contracts.values()
        if each.callable
        and each.complete
        and each.category in ("image", "video", "audio")
        and each.base_credits
    ]
    best = min(known, key=lambda each: (each.base_credits or 0.0, each.id), default=None)
    if best is None or (best.base_credits or 0.0) > credits:
        price = f"costs {best.base_credits:g}" if best is not None else "is not known"
        raise UsageError(
            f"--spend {credits:g} is too little for any job: the cheapest {price}",
            hint="allow more, or leave it out",
        )
    return best


def takes_pictures(contracts: Mapping[ModelId, Contract], model: ModelId) -> ModelId:
    """Return a model that an upload of a picture can be for; `model` itself where none is known."""
    found = (
        each.id for each in contracts.values() if any(one.kind is Kind.IMAGE for one in each.uploads.kinds)
    )
    return min(found, default=model)


def unfinished(workspace: Workspace, service: str) -> Path | None:
    """Return the manifest of an earlier try of this service that did not come to its end."""
    if not workspace.has_database:
        return None
    with closing(open_to_read(workspace.database)) as file:
        for bound in reversed(manifests.bindings(file.conn)):
            if not bound.name.startswith(PREFIX) or not same_service(bound.base_url, service):
                continue
            counts = jobs.counts(file.conn, bound.name)
            open_ = any(number and state not in _ENDED for (state, _), number in counts.items())
            if (open_ or trials.unfinished(file.conn, bound.name)) and Path(bound.path).is_file():
                return Path(bound.path)
    return None


def model_of(workspace: Workspace, path: Path) -> ModelId | None:
    """Return the model of a job that an earlier try has begun."""
    with closing(open_to_read(workspace.database)) as file:
        for bound in manifests.bindings(file.conn):
            if Path(bound.path) == path:
                return next(iter(jobs.models_of(file.conn, bound.name)), None)
    return None


def write_manifest(workspace: Workspace, contract: Contract, credits: float, *, now_s: float) -> Path:
    """Write the manifest of one job, which may cost so many credits, and return its path.

    Raises:
        OSError: It cannot be written.
    """
    name = f"{PREFIX}{datetime.fromtimestamp(now_s, UTC):%Y%m%d-%H%M%S-%f}"
    folder = workspace.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "version": 1,
        "name": name,
        "budget": {"max_credits": credits},
        "output": {"dir": name},
        "polling": LATE_POLLS,
        "jobs": [{"id": "first", **minimal_job(contract)}],
    }
    path = folder / f"{name}.yaml"
    with path.open("x", encoding="utf-8") as file:
        file.write("# Written by `rivya-batch doctor --spend`.\n" + json.dumps(document, indent=1) + "\n")
    return path


def try_one(
    path: Path,
    workspace: Workspace,
    account: Account,
    contract: Contract,
    credits: float,
    *,
    uploader: ModelId,
    state: str | None,
    sandbox: bool,
    sandbox_arguments: tuple[str, ...],
    run_it: RunIt,
) -> Tried:
    """Run the job of a manifest, ask for it again, and keep what was seen.

    Args:
        path: The manifest.
        workspace: Where it is remembered, and what was seen.
        account: Who pays.
        contract: Its model.
        credits: What all of it may cost.
        uploader: A model that takes pictures.
        state: As for a run.
        sandbox: As for a run.
        sandbox_arguments: As for a run.
        run_it: Runs a request, and heeds signals.

    Raises:
        RunnerError: As for a run.
    """
    watch = JobWatch(SystemClock().wall_s)
    request = RunRequest(
        path=path,
        state=state,
        sandbox=sandbox,
        sandbox_arguments=sandbox_arguments,
        command="rivya-batch doctor --spend",
        max_credits=credits,
        watch=watch,
    )
    result = run_it(request)
    tried = Tried(name=result.name, code=result.ended.code)
    for failure in result.failures:
        tried.notes.append(f"the job is {failure.state}: {failure.message or failure.error_class}")
        if failure.state == State.UNCERTAIN.value:
            flag = " --sandbox" if sandbox else ""
            words = f"rivya-batch resolve {shlex.quote(str(path))} {failure.jobs[0]}{flag}"
            tried.notes.append(f"before another try: {words} --resend | --attach TASK | --abandon")
    _note(tried, verdicts.facts_of_run(watch.exchanges, watch.heads, listed=contract.base_credits))
    _keep(tried, workspace, account)
    if result.counts.get("done") and not result.orphans:
        anyio.run(_ask_again, tried, watch, workspace, account, contract, credits, uploader)
        _keep(tried, workspace, account)
    with closing(open_to_read(workspace.database)) as file:
        tried.credits = sum(ledger.totals(file.conn, tried.name))
    return tried


def _note(tried: Tried, told: Mapping[str, verdicts.Told | None]) -> None:
    now = rfc3339(SystemClock().wall_s())
    for key, found in told.items():
        if found is not None:
            tried.facts[key] = Fact(key=key, value=found[0], words=found[1], at=now)


def _keep(tried: Tried, workspace: Workspace, account: Account) -> None:
    try:
        tried.kept = save(workspace.folder, account.service, tried.facts.values())
    except OSError as exc:
        tried.notes.append(f"what was seen could not be kept: {exc.strerror or exc}")


async def _ask_again(
    tried: Tried,
    watch: JobWatch,
    workspace: Workspace,
    account: Account,
    contract: Contract,
    credits: float,
    uploader: ModelId,
) -> None:
    file = open_database(workspace.database)
    lock = file.lock(tried.name)
    try:
        lock.acquire(SystemClock().wall_s(), command="rivya-batch doctor --spend")
        try:
            async with open_service(account, now=SystemClock().wall_s, connections=2) as inner:
                again = _Repeats(tried, watch, file, watch.service(inner), contract, credits, uploader)
                await again.look_later()
                await again.look_at_result()
                await again.repeat()
                await again.upload()
        finally:
            lock.release()
    finally:
        file.close()


class _Repeats:
    """What is asked once the job is done."""

    def __init__(
        self,
        tried: Tried,
        watch: JobWatch,
        file: StateDatabase,
        service: Service,
        contract: Contract,
        credits: float,
        uploader: ModelId,
    ) -> None:
        self._uploader = uploader
        self._tried = tried
        self._watch = watch
        self._file = file
        self._service = service
        self._contract = contract
        self._credits = credits
        self._job = jobs.in_states(file.conn, tried.name, (State.DONE,))[0]
        self._ended = list(watch.exchanges)

    async def look_later(self) -> None:
        """Ask for the task once more: what of it moves, though it has ended?"""
        assert self._job.task_id is not None
        found = verdicts.ended(self._ended)
        if found is not None:
            await anyio.sleep(max(found[0].ended_s + AGAIN_AFTER_S - self._watch.now(), 0.0))
        answer = await self._service.poll(self._job.task_id)
        if answer.task is None:
            self._tried.notes.append(f"the task could not be asked for again: {answer.words()}")
            return
        exchanges = self._watch.exchanges
        _note(self._tried, {"url_life": verdicts.url_life(exchanges)})
        _note(self._tried, {"updated_at": verdicts.updated_at(self._ended, exchanges[-1])})

    async def look_at_result(self) -> None:
        """Ask the host of the result for its first byte only."""
        task = self._watch.exchanges[-1].answer.task
        if task is None or not task.urls:
            return
        account = self._service.account
        async with open_result_transport(account.base_url, 1) as way:
            watched = self._watch.results(way)
            fetcher = ResultFetcher(
                watched.http,
                allow_loopback=account.loopback,
                max_bytes=1,
                clock=SystemClock(),
                proxied=way.proxied,
                gives_away=account.gives_away,
            )
            try:
                await fetcher.first_byte(account.absolute(task.urls[0]))
            except RunnerError as exc:
                self._tried.notes.append(f"the result could not be asked for again: {exc.message}")
                return
            _note(self._tried, {"ranges": verdicts.ranges(self._watch.heads[-1])})

    async def repeat(self) -> None:
        """Send the same key and bytes again; where that brings the task that is there, other bytes under that key."""
        job = self._job
        assert job.body is not None
        assert job.key is not None
        assert job.task_id is not None
        answer = await self._try(SAME_KEY, job.body)
        if answer is None:
            return
        sent_s = epoch(job.first_sent_at or job.submitted_at) or self._watch.now()
        found = verdicts.same_key(answer, job.task_id, after_s=max(self._watch.now() - sent_s, 0.0))
        _note(self._tried, found)
        if found.get("same_key", ("",))[0] != "same task":
            return
        other = self._service.encode(replace(job, prompt=OTHER_PROMPT), (), job.key)
        if (answer := await self._try(OTHER_BODY, other)) is not None:
            _note(self._tried, {"other_body": verdicts.other_body(answer, job.task_id)})

    async def _try(self, number: int, body: bytes) -> Answer | None:
        """Send bytes under the key of the job, with what that may cost set aside before; None: not sent."""
        job = self._job
        assert job.key is not None
        trial = trials.as_trial(job, number)
        why = self._set_aside(trial)
        if why:
            self._tried.notes.append(
                f"{'the same key' if number == SAME_KEY else 'another body'} was not tried: {why}"
            )
            return None
        answer = await self._service.submit(body, job.key)
        for _ in range(SENDS - 1):
            if answer.meaning is not Meaning.RATE_LIMITED or not answer.definite:
                break
            await anyio.sleep(min(answer.retry_after_s or WAIT_S, LONGEST_WAIT_S))
            answer = await self._service.submit(body, job.key)
        with self._file.transaction() as conn:
            now = rfc3339(self._watch.now())
            if answer.meaning is Meaning.OK and answer.task is not None:
                if answer.task.id == job.task_id:
                    ledger.release(conn, trial, now=now)
                    return answer
                if jobs.holder_of_task(conn, self._service.account.service, answer.task.id) is None:
                    ledger.accept(conn, trial, task_id=answer.task.id, reserved=answer.task.reserved, now=now)
                ledger.settle(conn, trial, final=None, succeeded=False, now=now)
                self._tried.notes.append(
                    f"another task was made, {answer.task.id}, and is paid for; its result is in the account's history"
                )
            elif answer.definite or (answer.meaning is Meaning.CONFLICT and answer.shaped):
                ledger.release(conn, trial, now=now)
            else:
                trials.leave(conn, trial)
                self._tried.notes.append(
                    f"a repeat got no clear answer ({answer.words()}); its credits stay counted"
                )
        return answer

    def _set_aside(self, trial: Job) -> str:
        """Set aside what a try may cost; return why it is not made, empty where it is."""
        job, now_s = self._job, self._watch.now()
        sent_s = epoch(job.submitted_at) or 0.0
        if not 0.0 <= now_s - sent_s <= SENT_WITHIN_S:
            return "its key is too old by now"
        if job.key12 != self._service.account.key12:
            return "the API key is another one by now"
        with self._file.transaction() as conn:
            line = trials.line_of(conn, trial)
            if line is not None and line.state == "charged":
                return "it was tried before, and paid for"
            if line is not None and line.state == "reserved":
                return ""  # begun by a run of ours that was killed: the same key and bytes go out again
            price = max(*(each or 0.0 for each in ledger.paid(conn, job)), self._contract.base_credits or 0.0)
            counted = sum(ledger.totals(conn, job.manifest))
            if counted + price > self._credits:
                return (
                    f"by the worst reading it costs {price:g} credits more, and --spend allows"
                    f" {self._credits:g}, of which {counted:g} are spent"
                )
            estimate = Estimate(credits=price, reserve=price, basis=Basis.OBSERVED, most=None)
            service = self._service.account.service
            ledger.reserve(conn, trial, estimate=estimate, base_url=service, now=rfc3339(now_s))
        return ""

    async def upload(self) -> None:
        """Bring a small picture to the service: no page names a price for that, and the balance shows one."""
        before = (await self._service.credits()).balance
        answer = await self._service.upload(
            BytesIO(PICTURE),
            name="doctor.png",
            kind=Kind.IMAGE,
            mime="image/png",
            size_bytes=len(PICTURE),
            model=self._uploader,
            sha256=PICTURE_SHA256,
        )
        after = (await self._service.credits()).balance
        if answer.copy is None:
            self._tried.notes.append(f"an upload was refused: {answer.words()}")
        _note(self._tried, {"upload": verdicts.upload(answer, before, after)})
