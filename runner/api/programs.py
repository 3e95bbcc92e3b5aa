"""For programs: what `import runner` offers. The functions below are reached as `runner.run` and so on.

They do what the commands do, with the same database, locks and caps, and leave the process alone: no signals, no
printing, no event loop of their own but in `run_sync` and where a task is attached. Paths may be text. `RIVYA_API_KEY`,
`RIVYA_BASE_URL` and `RIVYA_STATE` mean what they mean to the commands, so that nothing is paid twice because two programs
looked into two databases. Money is in credits, times are in seconds. All errors are `RunnerError` (`runner.errors` has the
kinds); its `hint` says what to do.

Only `run` is for an event loop. The others wait for files and databases: there, use `asyncio.to_thread(runner.plan, path)`.
What has to wait for the network (references named by url, a task to attach) refuses to do it in a thread with a loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import anyio
import anyio.from_thread

from runner.api.export import exported
from runner.api.manifests.opened import (
    InvalidManifest,
    Opened,
    Without,
    check_all,
    read_known,
    read_manifest,
    refuse_errors,
)
from runner.api.plan import Plan, planned
from runner.api.report import write_report_of
from runner.api.resolve import Choice, Resolution
from runner.api.retry import Rounds, wanted_jobs
from runner.api.run import Beside, RunRequest, run_here
from runner.api.runs.end import RunResult
from runner.api.status import Standing, look
from runner.engine import Engine, RunOptions
from runner.errors import Exit, RunnerError, UsageError
from runner.lifecycle.ways import STUCK
from runner.model import JobSpec, ObjectPath, Problem, Settings, Severity
from runner.progress.events import EventLines
from runner.service.protocol import FailureClass

__all__ = (
    "Exit",
    "InvalidManifest",
    "Manifest",
    "ObjectPath",
    "Options",
    "Plan",
    "Resolution",
    "Rounds",
    "RunResult",
    "RunnerError",
    "Standing",
    "export",
    "load_manifest",
    "plan",
    "report",
    "resolve",
    "retry",
    "run",
    "run_sync",
    "status",
)

Event = Mapping[str, Any]
DRAINED = "the program asked to stop; your jobs keep running at the service; run again to collect them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one run is asked for beyond its manifest.

    Args:
        sandbox: Rehearse against the bundled imitation: no key, no network, no cost, a database of its own.
        sandbox_arguments: Options for it: `("--duration", "0.1:0.4")`. Runs of one workspace at the same time share it.
        state: Another database file than `state/runner.db`. Of a rehearsal, all is apart then: its account and its results
            are beside that file, `a-service.db` and `a-results/` beside `a.db`.
        confirm: Takes the plan and says whether to spend; called in the event loop, so it must not wait. Without it
            nothing is spent but for `rounds`: there is no default that says yes. The sandbox asks nobody.
        rounds: What `retry` has found: begin these rounds, and nothing else. To give them here says yes to the price that
            they tell, so there is no `confirm` beside them.
        max_credits: Replaces `budget.max_credits`, in credits.
        only: Submit only jobs whose id is like this: `"cat-*"`.
        limit: Submit at most so many new jobs.
        canary: Finish so many jobs first, and go on only if none fails.
        stop_after_s: Stop after so many seconds.
        patience_s: How many seconds to keep trying while the service does not answer.
        replace: Let results take the places of another manifest's in the same folder.
        may_pay_twice: Go on although payments of earlier runs are missing from the database.
        skip_invalid: Leave out jobs with mistakes, in the place of refusing the manifest; the run then ends with 3.

    Raises:
        UsageError: A number is none, or too small, or two of these do not go together.
    """

    sandbox: bool = False
    sandbox_arguments: tuple[str, ...] = ()
    state: str | Path | None = None
    confirm: Callable[[Plan], bool] | None = None
    rounds: Rounds | None = None
    max_credits: float | None = None
    only: str | None = None
    limit: int | None = None
    canary: int | None = None
    stop_after_s: float | None = None
    patience_s: float | None = None
    replace: bool = False
    may_pay_twice: bool = False
    skip_invalid: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("max_credits", 0),
            ("limit", 0),
            ("canary", 1),
            ("stop_after_s", 0),
            ("patience_s", 0),
        ):
            value = getattr(self, name)
            # No number is greater than NaN, so NaN would be no cap at all.
            if value is not None and not least <= value <= 1e15:
                raise UsageError(f"{name} is {value!r}", hint=f"a number of at least {least}, or None")
        if self.sandbox_arguments and not self.sandbox:
            raise UsageError("sandbox_arguments are given without sandbox", hint="sandbox=True rehearses")
        if self.rounds is not None and self.confirm is not None:
            raise UsageError(
                "confirm is given beside rounds, whose price was told already",
                hint="look at rounds.credits, and leave confirm out",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest without a mistake: its head, what is odd about it all the same, and its jobs."""

    settings: Settings
    warnings: tuple[Problem, ...]
    opened: Opened = field(repr=False)

    def jobs(self) -> Iterator[JobSpec]:
        """Yield the jobs in order; each call reads the files of rows anew.

        Raises:
            InvalidManifest: At the end, when one of these files has changed, and has mistakes now.
        """
        yield from self.opened.manifest.jobs()
        refuse_errors(self.opened)


def load_manifest(manifest: str | Path, *, sandbox: bool = False) -> Manifest:
    """Read a manifest and check every job; offline.

    Raises:
        InvalidManifest: With every problem of it in `problems`.
        UsageError: The file is not there, or cannot be read.
    """
    opened = read_manifest(Path(manifest), state=None, sandbox=sandbox)
    check_all(opened)
    refuse_errors(opened)
    return Manifest(
        settings=opened.settings,
        warnings=tuple(each for each in opened.manifest.problems if each.severity is Severity.WARNING),
        opened=opened,
    )


def plan(
    manifest: str | Path,
    *,
    sandbox: bool = False,
    state: str | Path | None = None,
    max_credits: float | None = None,
    skip_invalid: bool = False,
    only: str | None = None,
) -> Plan:
    """Return what a run would do now and what it would cost, in credits; nothing is paid, and the database is only read.

    References that are named by url are fetched, and those and mended pictures are kept beside the database.
    With `skip_invalid` jobs with mistakes are left out, and named in `left_out` of what comes back. With `only`, such as
    `"cat-*"`, jobs with other ids are not submitted, and cost nothing. A rehearsal uses what was fetched before.

    Raises:
        InvalidManifest: With every problem of it.
        StateError: The database cannot be read, or the manifest's name belongs to another file or service in it.
        UsageError: A rehearsal lacks references that only the network has.
    """
    with planned(
        Path(manifest),
        state=_state(state, sandbox),
        sandbox=sandbox,
        max_credits=max_credits,
        without=Without(skip_invalid=skip_invalid, only=only),
    ) as (found, _):
        return found


async def run(
    manifest: str | Path,
    options: Options | None = None,
    on_event: Callable[[Event], None] | None = None,
    *,
    drain: anyio.Event | asyncio.Event | None = None,
) -> RunResult:
    """Run a manifest, or go on with it, in the event loop of the caller (asyncio's); every job is paid once.

    Several manifests may be run at the same time. There are two ways to stop one; after both, tasks go on at the service,
    and the next run goes on from there and pays nothing twice:

    - `drain.set()` is the first Ctrl-C of the command: nothing new is begun, open requests and downloads come home and are
      recorded, and what the run came to is returned. It takes seconds.
    - To cancel leaves at once, which is as safe as to kill the command. The next run asks about what was open.

    Args:
        manifest: Its path.
        options: What is asked for.
        on_event: Takes what happens, as `run --json` prints it (`schemas/events.schema.json`), in the event loop's own
            thread. What it raises ends the run as `drain` does, and is raised then.
        drain: Set it in the event loop's own thread; one event may be given to many runs. Of a run to which one is given
            that is set already, nothing is sent.

    Returns:
        What it came to. `ended.code` is the exit code that the command would have: 0 when all is done, 130 when it was
        drained.

    Raises:
        UsageError: Nothing was sent: mistakes in the manifest, no key, a plan that was not confirmed.
        RunLocked: Nothing was sent: another run holds this manifest.
        TemporaryTrouble: A disk, a database or the network cannot be used; run again to go on.
    """
    options = options or Options()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "runner.run wants the event loop of asyncio", hint="runner.run_sync brings one"
        ) from None
    path = Path(manifest)
    listener = _Listener(loop, on_event)
    request = RunRequest(
        path=path,
        state=_state(options.state, options.sandbox),
        sandbox=options.sandbox,
        sandbox_arguments=options.sandbox_arguments,
        command=f"runner.run {shlex.quote(str(path))}",
        max_credits=options.max_credits,
        may_pay_twice=options.may_pay_twice,
        replace=options.replace,
        skip_invalid=options.skip_invalid,
        rounds=options.rounds,
        options=RunOptions(
            only=options.only,
            rows=frozenset(options.rounds.rows) if options.rounds is not None else None,
            limit=options.limit,
            canary=options.canary,
            stop_after_s=options.stop_after_s,
            patience_s=options.patience_s,
        ),
    )
    beside: list[Beside] = [listener.stop_on_error]
    if drain is not None:
        beside.append(partial(_stop_once, drain))
    result = await run_here(
        request,
        confirm=partial(_confirmed, options),
        announce=listener.announce,
        progress=listener,
        ready=listener.begin,
        beside=beside,
    )
    listener.raise_error()
    return result


def run_sync(
    manifest: str | Path,
    options: Options | None = None,
    on_event: Callable[[Event], None] | None = None,
    *,
    drain: anyio.Event | None = None,
) -> RunResult:
    """Run a manifest as `run` does, for programs that have no event loop; `on_event` may set `drain`.

    Raises:
        RunnerError: As for `run`.
        RuntimeError: There is an event loop in this thread: await `run` there.
    """
    return anyio.run(partial(run, manifest, options, on_event, drain=drain))


def retry(
    manifest: str | Path,
    *,
    only: str | None = None,
    classes: Sequence[str] = (),
    done: bool = False,
    sandbox: bool = False,
    state: str | Path | None = None,
) -> Rounds:
    """Return what another round of failed jobs would begin, and its price; reads the database only.

    `run` begins them, and pays, when they are given to it: `Options(rounds=...)`.

    Args:
        manifest: Its path.
        only: Only jobs whose id is like this; given-up ones, and those whose result does not come home, only so.
        classes: Only what failed, or is stuck, for these: `("generation",)`.
        done: Of the jobs named by `only`, also those that are done.
        sandbox: In the sandbox's database.
        state: Another database file.

    Raises:
        UsageError: Nothing was ever run here, or there is no such class.
    """
    known = [*(each.value for each in FailureClass), STUCK]
    if isinstance(classes, str):
        raise UsageError(f"classes is the text {classes!r}", hint=f"a tuple: ({classes!r},)")
    for each in classes:
        if each not in known:
            raise UsageError(f"there is no class {each!r}", hint=", ".join(known))
    return wanted_jobs(
        Path(manifest), state=_state(state, sandbox), sandbox=sandbox, classes=classes, only=only, done=done
    )


def resolve(
    manifest: str | Path,
    job: str,
    choice: Choice,
    *,
    task_id: str | None = None,
    sandbox: bool = False,
    state: str | Path | None = None,
) -> Resolution:
    """Return what a word about a job would do, and what it may cost: one that is uncertain, or does not come home.

    `apply()` of what comes back does it, and the next `run` goes on with it. `words` and `credits` tell what may be paid.

    Args:
        manifest: Its path.
        job: The job's id.
        choice: What is to become of it.
        task_id: The task to attach.
        sandbox: In the sandbox's database.
        state: Another database file.

    Raises:
        RunLocked: A run holds this manifest.
        UsageError: There is no such job, or this cannot be said of it.
    """
    if choice not in get_args(Choice):
        raise UsageError(f"there is no choice {choice!r}", hint=", ".join(get_args(Choice)))
    if (choice == "attach") is not (task_id is not None):
        raise UsageError(
            "task_id goes with attach, and attach with it", hint="look for the task in the account's history"
        )
    return Resolution.look(
        Path(manifest), job, choice, task_id=task_id, state=_state(state, sandbox), sandbox=sandbox
    )


def status(manifest: str | Path, *, sandbox: bool = False, state: str | Path | None = None) -> Standing:
    """Return how a manifest stands: jobs by state, credits, the run that is going on; reads the database only.

    Raises:
        UsageError: It was never run here.
    """
    opened = read_known(Path(manifest), state=_state(state, sandbox), sandbox=sandbox)
    return look(opened.workspace, names=[opened.settings.name])[0]


def report(
    manifest: str | Path, *, sandbox: bool = False, state: str | Path | None = None
) -> Path | ObjectPath:
    """Write the HTML page about a manifest beside its results, and return where it is.

    Raises:
        UsageError: Nothing was ever run here, or the page cannot be written.
    """
    return write_report_of(Path(manifest), state=_state(state, sandbox), sandbox=sandbox).path


def export(
    manifest: str | Path,
    format_name: Literal["csv", "jsonl", "json", "xspf", "m3u"] = "csv",
    *,
    sandbox: bool = False,
    state: str | Path | None = None,
) -> str:
    """Return the jobs of a manifest as rows for other programs, or its results as a playlist.

    Raises:
        UsageError: Nothing was ever run here, or there is no such format.
    """
    if format_name not in ("csv", "jsonl", "json", "xspf", "m3u"):
        raise UsageError(f"there is no format {format_name!r}", hint="csv, jsonl, json, xspf or m3u")
    return "".join(
        exported(Path(manifest), format_name=format_name, state=_state(state, sandbox), sandbox=sandbox)
    )


def _state(state: str | Path | None, sandbox: bool) -> str | None:
    if state is not None:
        return str(state)
    return None if sandbox else os.environ.get("RIVYA_STATE") or None


def _confirmed(options: Options, plan: Plan) -> bool:
    """Ask the program before spending; called in a thread."""
    if options.sandbox:
        return True
    if options.confirm is None:
        raise UsageError(
            f"this would spend about {plan.to_spend:g} credits, and nobody said yes; nothing was sent",
            hint="give Options a `confirm` that looks at the plan",
        )
    return bool(anyio.from_thread.run_sync(options.confirm, plan))


async def _stop_once(drain: anyio.Event | asyncio.Event, engine: Engine) -> None:
    """Stop a run once the program asks for that."""
    await drain.wait()
    engine.stop(Exit.INTERRUPTED, DRAINED)


class _Listener(EventLines):
    """Brings what happens to the program that runs us, in the thread of its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[Event], None] | None) -> None:
        super().__init__(self._bring)
        self._loop = loop
        self._take = take
        self._error: BaseException | None = None
        self._failed = asyncio.Event()

    def write(self, kind: str, data: dict[str, Any]) -> None:
        """Make a line only where somebody takes it."""
        if self._take is not None:
            super().write(kind, data)

    def announce(self, text: str) -> None:
        """Pass on a line for people."""
        self.write("notice", {"message": text})

    def begin(self, plan: Plan) -> None:
        """Tell the plan of a run that is about to begin; nothing was sent yet."""
        self.write(
            "plan", {"manifest": plan.name, "summary": dict(plan.summary), "credits": dict(plan.credits)}
        )
        self.raise_error()

    async def stop_on_error(self, engine: Engine) -> None:
        """Stop the run once the program has failed to take something."""
        await self._failed.wait()
        engine.stop(Exit.FAULT, f"what takes the events has failed: {self._error!r}")

    def raise_error(self) -> None:
        """Raise what the program raised, once nothing is under way."""
        if self._error is not None:
            raise self._error

    def _bring(self, line: str) -> None:
        event = json.loads(line)
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._give(event)
        else:
            self._loop.call_soon_threadsafe(self._give, event)

    def _give(self, event: Event) -> None:
        if self._take is None or self._error is not None:
            return
        try:
            self._take(event)
        except Exception as exc:  # it must not fail what is being paid for
            self._error = exc
            self._failed.set()
