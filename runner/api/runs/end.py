"""The end of a run: what is got ready for it, what a run came to, and what is recorded where it ends otherwise."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from runner.api.manifests.binding import clean_parts
from runner.api.runs.begun import BegunRun
from runner.api.stuck_jobs import Stuck, stuck
from runner.engine import Ended
from runner.engine.chained import HeldJobs, held_of
from runner.errors import Exit, RunnerError, TemporaryTrouble, Terminated, UsageError
from runner.host.clock import Clock, rfc3339
from runner.host.workspace import DatabasePlace
from runner.model import Estimate, ResultPath, Settings, State
from runner.results.files import OutputFolder
from runner.results.parts import DiskTrouble
from runner.results.storage import storage_of
from runner.steps.download import stem_of
from runner.store import jobs, ledger, needs, reporting, runs, switches, workers
from runner.store.database import StateDatabase
from runner.store.error_words import as_trouble
from runner.store.price_books import Charged, charged_in_run

END_IMPORTS = ("runner.api.report", "runner.reports.page", "sqlite_utils")
END_IMPORTS_AFTER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to, as people and programs are told."""

    ended: Ended
    name: str
    database: DatabasePlace
    output_dir: ResultPath
    counts: Mapping[str, int]
    orphans: int
    charged: float
    reserved: float
    failures: list[reporting.FailedJobs]
    stuck: list[Stuck]
    choices: int  # jobs that wait for a person's choice
    held: int  # jobs that wait for one, or for a job that does not come by itself
    surprises: int  # charges many times their estimates that a person has yet to see
    ended_for: frozenset[tuple[str, str]]  # (`failed` or `uncertain`, its class) of all there are
    failed_cost: float  # credits that count for failed jobs, whatever round they were for
    prices: Sequence[
        Charged
    ]  # what was expected and charged in this run, by price; the largest difference first
    silent: bool  # the service names no amounts: what is charged is what was expected
    report: ResultPath | None  # the page to look through, where there is one
    no_report: str = ""  # why it could not be written
    replaced: bool = False  # the database, under this run
    rescued: Path | None = None  # what this run knows, where that could be kept whole


async def get_ready_for_the_end() -> None:
    """Import what only the end of a run needs while its tasks run; one that is over sooner does so then."""
    await anyio.sleep(END_IMPORTS_AFTER_S)

    def get() -> None:
        with suppress(Exception):  # the end tries again, and says what is wrong
            for name in END_IMPORTS:
                importlib.import_module(name)

    await anyio.to_thread.run_sync(get, abandon_on_cancel=True)


def finish(known: BegunRun, ended: Ended, clock: Clock, *, moved: int = 0) -> RunResult:
    """Record the end of a run, write its page, and return what it came to.

    Args:
        known: The run.
        ended: How it ended.
        clock: Tells the time.
        moved: How many files of earlier runs have other names now, and so other links.
    """
    with _of_a_file_that_is_ours(known.file):
        _clean(known.file, known.plan.settings, known.folder)
        return _finish(known, ended, clock, moved)


@contextmanager
def _of_a_file_that_is_ours(file: StateDatabase) -> Iterator[None]:
    """What cannot be read of a file that was overwritten is no error of its own: that it was is what to tell."""
    try:
        yield
    except Exception as exc:
        if (replaced := file.error_if_replaced()) is not None:
            raise replaced from exc
        raise


def _clean(file: StateDatabase, settings: Settings, folder: OutputFolder) -> None:
    """Remove half-fetched results nobody goes on with; one that cannot be removed is no reason to fail."""
    if workers.at_work(file.conn, manifest=settings.name):
        return  # whoever ends last does
    open_jobs = jobs.in_states(file.conn, settings.name, (State.DOWNLOADING,))
    with suppress(RunnerError):
        clean_parts(file, settings, folder, {stem_of(job) for job in open_jobs})


def _against_the_plan(found: Sequence[Charged], prices: Mapping[str, Estimate]) -> Sequence[Charged]:
    """Return what was charged beside what the plan expected, the largest difference first.

    What was expected when each was sent is better by what the first of them came to.
    """
    planned = [
        each._replace(expected=prices[each.shape].credits * each.jobs) if each.shape in prices else each
        for each in found
    ]
    return sorted(planned, key=lambda each: -abs(each.charged - each.expected))


def _finish(known: BegunRun, ended: Ended, clock: Clock, moved: int) -> RunResult:
    file, settings, run_id = known.file, known.plan.settings, known.run_id
    with file.transaction() as conn:
        runs.end(conn, run_id, exit_code=int(ended.code), stats=ended.stats, now=rfc3339(clock.wall_s()))
    news = moved or any(ended.stats[what] for what in ("accepted", "done", "failed"))
    report, no_report = _page(file, settings, anew=bool(news))
    counts, orphans = jobs.by_state(
        jobs.counts(file.conn, settings.name), switches.counts(file.conn, settings.name)
    )
    charged, reserved = ledger.totals(file.conn, settings.name)
    assert file.place is not None
    held = held_of(file.conn, settings.name) if needs.any_of(file.conn, settings.name) else HeldJobs()
    return RunResult(
        ended=ended,
        name=settings.name,
        database=file.place,
        output_dir=settings.output_dir,
        counts=counts,
        orphans=orphans,
        charged=charged,
        reserved=reserved,
        surprises=len(ledger.surprises(file.conn, settings.name)),
        failures=reporting.failed_jobs(file.conn, settings.name),
        stuck=stuck(file.conn, settings.name),
        choices=len(held.choices),
        held=len(held.rows),
        ended_for=frozenset(
            (each.state, each.error_class) for each in reporting.failures(file.conn, settings.name)
        ),
        failed_cost=reporting.cost_of_failed(file.conn, settings.name),
        prices=_against_the_plan(charged_in_run(file.conn, settings.name, run_id), known.plan.prices),
        silent=ledger.names_no_amounts(file.conn, known.account.service),
        report=report,
        no_report=no_report,
        replaced=file.is_replaced,
        rescued=file.rescued_copy,
    )


def _page(file: StateDatabase, settings: Settings, *, anew: bool) -> tuple[ResultPath | None, str]:
    """Return the page of a run, written if there is news; or why there is none.

    It is part of a run's result, but nothing that happens to it changes how the run ended.
    """
    # What only the end needs is not imported before the first request.
    from runner.api.report import write_report_for
    from runner.reports.page import page_path

    try:
        page = page_path(settings.output_dir, settings.name)
        if not anew and storage_of(page).exists(page):
            return page, ""
    except DiskTrouble as exc:
        return None, exc.message
    return write_report_for(file, settings)


@contextmanager
def ended_in_any_case(file: StateDatabase, run_id: int, clock: Clock) -> Iterator[None]:
    """Record the end of a run that does not come to its own: while it waits to start, or by a fault."""
    try:
        yield
    except BaseException as exc:
        with suppress(Exception), file.transaction() as conn:
            runs.end(conn, run_id, exit_code=_exit_code(exc), stats={}, now=rfc3339(clock.wall_s()))
        raise


@contextmanager
def once_begun() -> Iterator[None]:
    """Whatever can no longer be used once a run has begun is trouble to be mended: something may have been sent."""
    try:
        yield
    except Exception as exc:
        found = exc if isinstance(exc, RunnerError) else as_trouble(exc)
        if isinstance(found, UsageError):
            raise TemporaryTrouble(found.message, hint=found.hint) from exc
        raise


def _exit_code(exc: BaseException) -> int:
    match exc:
        case Terminated():
            return int(Exit.TERMINATED)
        case KeyboardInterrupt() | asyncio.CancelledError():
            return int(Exit.INTERRUPTED)
        case RunnerError():
            return int(exc.exit_code)
        case _:
            return int(Exit.FAULT)
