"""The page of a plan: a frame for each job before anything is sent, and the live page as soon as a run has taken it up.

Both are one page: the frames fill where they stand. What has a row already is shown as it is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.errors import RunnerError
from runner.host.clock import rfc3339
from runner.model import ResultPath, State
from runner.reports import page
from runner.reports.data import JobPrice, Report, ReportJob, categories_of, jobs_of
from runner.store import manifests, picks, runs, switches
from runner.store.connection import Connection
from runner.store.database import open_to_read
from runner.store.error_words import trouble
from runner.store.reporting import snapshot
from runner.store.switches import Switchable
from runner.web.page_state import ControlState, Delta, PageReader, Target, dump, file_url

FIRST_FRAME = 2**40  # frames without a row have numbers from here on, by their position


@dataclass(frozen=True, slots=True, kw_only=True)
class WallFrame:
    """A job of a plan: as it is to be, and what it would cost if it were submitted.

    `sends` says that a run would submit it, were it not for the switch; `waits` that it is not sent, and not by this run: it
    needs others first. `files` are its references: (path, mime).
    """

    job: ReportJob
    known: Switchable
    sends: bool
    waits: bool
    price: JobPrice | None
    files: Sequence[tuple[Path, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """A plan as its page shows it. `inputs` tells whether the files that it was read from are as they were."""

    target: Target
    sandbox: bool
    has_database: Callable[[], bool]
    frames: Sequence[WallFrame] = field(repr=False)
    credits: Mapping[str, Any]
    warnings: Sequence[str]
    chained: bool  # its jobs take others' results: what is switched off decides about more than itself
    inputs: object


class WallReader:
    """Reads a plan and what became of it for the page. One thread at a time may use it.

    Args:
        wall: The plan.
        again: Plans the manifest as it is now. Raises RunnerError for one with mistakes.
        inputs: What differs whenever a file of the manifest may have changed; asked for at each look.
        rows: Reads what is known of its jobs; made by tests only.
    """

    def __init__(
        self,
        wall: Wall,
        *,
        again: Callable[[], Wall],
        inputs: Callable[[Wall], object],
        rows: PageReader | None = None,
    ) -> None:
        self._again, self._inputs = again, inputs
        self._rows = rows or PageReader(wall.target, priced=self._priced)
        self.piece = self._rows.piece
        self._hang(wall)

    def _hang(self, wall: Wall, *, trouble: str = "") -> None:
        """Show a plan."""
        self._wall, self._trouble = wall, trouble
        self._seen = wall.inputs
        self._by_row = {frame.job.row: frame for frame in wall.frames}
        self._prices = {frame.job.id: frame.price for frame in wall.frames if frame.sends and frame.price}
        self._categories = categories_of(sorted({frame.job.model for frame in wall.frames}))
        self._run = self._told = -1
        self._off: frozenset[str] = frozenset()
        self._said = 0  # the last thing that was said of a result
        self._is_run = False  # a run has taken it up: the rows say it all

    def look(self, control: ControlState) -> Delta | None:
        """Return what has changed since the last look; None when nothing has.

        Raises:
            RunnerError: The database cannot be read now.
        """
        if self._renew():
            return Delta()
        if not self._wall.has_database():
            self._run, first = 0, self._run < 0
            return Delta() if first else None
        run, told = self._standing()
        before, self._run = self._run, run
        if before < 0:
            self._told = told
            self._moved()
            return Delta()
        if run != before:  # a run has begun, perhaps it is over already
            self._is_run = True
            self._rows.look(control)
            return Delta()
        if self._is_run:
            return self._rows.look(control)
        if told == self._told:
            return None
        if self._wall.chained:
            self._plan_again()
            self._run, self._told = run, told
            return Delta()
        rows = self._moved()
        self._told = told
        return Delta(rows=rows, text=self.some(rows, control)) if len(rows) <= self.piece else Delta()

    def _renew(self) -> bool:
        """Plan anew where a file of the manifest was changed and no run goes on."""
        seen = self._inputs(self._wall)
        if seen == self._seen or self._is_going():
            return False
        self._plan_again()
        self._seen = seen
        return True

    def _plan_again(self) -> None:
        try:
            self._hang(self._again())
        except RunnerError as exc:
            self._trouble = exc.message

    def _is_going(self) -> bool:
        if not self._wall.has_database():
            return False
        with trouble("reading the state database"), closing(open_to_read(self._wall.target.database)) as file:
            run = runs.last(file.conn, self._wall.target.manifest)
            if run is None or run.ended_at is not None:
                return False
            return file.holder_of(run.manifest) is not None

    def _moved(self) -> tuple[int, ...]:
        """Return the numbers of the frames that were switched, or spoken of, since the last look."""
        with trouble("reading the state database"), closing(open_to_read(self._wall.target.database)) as file:
            name = self._wall.target.manifest
            before, self._off = self._off, switches.off_ids(file.conn, name)
            said, self._said = picks.changed(file.conn, name, self._said), picks.last(file.conn, name)
        return tuple(
            frame.job.row
            for frame in self._wall.frames
            if (frame.known.id in before) != (frame.known.id in self._off) or frame.job.row in said
        )

    def _standing(self) -> tuple[int, int]:
        """Return the number of the last run, and one that grows with what people say and switch."""
        with trouble("reading the state database"), closing(open_to_read(self._wall.target.database)) as file:
            name = self._wall.target.manifest
            run = runs.last(file.conn, name)
            told = picks.last(file.conn, name) + switches.last(file.conn, name)
            return (run.id if run is not None else 0), told

    def whole(self, control: ControlState) -> Iterator[str]:
        """Yield everything there is to know now, in pieces of some thousand jobs."""
        if self._is_run:
            yield from self._rows.whole(control)
            return
        jobs, head = self._now(control)
        yield dump({"v": page.VERSION, "head": head, **page.columns(jobs[: self.piece])})
        for start in range(self.piece, len(jobs), self.piece):
            yield dump({"v": page.VERSION, **page.columns(jobs[start : start + self.piece])})

    def some(self, rows: Sequence[int], control: ControlState) -> str:
        """Return what is known now of some jobs, and of the manifest as a whole."""
        if self._is_run:
            return self._rows.some(rows, control)
        jobs, head = self._now(control)
        wanted = set(rows)
        return dump(
            {"v": page.VERSION, "head": head, **page.columns([job for job in jobs if job.row in wanted])}
        )

    def find(self, kind: str, row: int, number: int) -> tuple[ResultPath, str] | None:
        """Return (path, mime) of a file of a job."""
        frame = self._by_row.get(row)
        if kind == "reference" and frame is not None and row >= FIRST_FRAME:
            return frame.files[number - 1] if 1 <= number <= len(frame.files) else None
        return self._rows.find(kind, row, number) if self._wall.has_database() else None

    def switchable(self, row: int) -> Switchable | None:
        """Return the job that a page knows by a number, where its row does not say it."""
        frame = None if self._is_run else self._by_row.get(row)
        return frame.known if frame is not None else None

    def close(self) -> None:
        """Let go of the database."""
        self._rows.close()

    def _priced(self, jobs: tuple[ReportJob, ...]) -> tuple[ReportJob, ...]:
        """Keep on its frame what a job is to cost, until something is reserved for it."""
        return tuple(
            replace(job, price=self._prices.get(job.id))
            if job.state == State.PLANNED.value and not job.reserved and job.listed
            else job
            for job in jobs
        )

    # --- the plan -----------------------------------------------------------------------------

    def _now(self, control: ControlState) -> tuple[list[ReportJob], dict[str, Any]]:
        """Return the frames as they are, with what there is of each, and the head of the page."""
        wall, name = self._wall, self._wall.target.manifest
        if not wall.has_database():
            jobs = [_framed(frame, None, off=False) for frame in wall.frames]
            return jobs, self._head(None, jobs, control, workspace="")
        with trouble("reading the state database"), closing(open_to_read(wall.target.database)) as file:
            conn = file.conn
            with snapshot(conn):
                known = [frame.known.row for frame in wall.frames if frame.known.row is not None]
                rows = {job.row: job for job in (jobs_of(conn, name, known, file_url) if known else ())}
                off = switches.off_ids(conn, name)
                jobs = [
                    _framed(frame, rows.get(frame.known.row or -1), off=frame.known.id in off)
                    for frame in wall.frames
                ]
                return jobs, self._head(conn, jobs, control, workspace=picks.workspace_id(conn))

    def _head(
        self, conn: Connection | None, jobs: Sequence[ReportJob], control: ControlState, *, workspace: str
    ) -> dict[str, Any]:
        wall, target = self._wall, self._wall.target
        counts = Counter("off" if job.off else job.state for job in jobs)
        report = None
        if conn is not None and manifests.binding(conn, target.manifest) is not None:
            report = self._rows.report(conn, ())
        if report is None:
            report = Report(
                manifest=target.manifest,
                workspace=workspace,
                sandbox=wall.sandbox,
                written_at=rfc3339(time.time()),
                output_dir=target.output_dir,
                invocation=target.invocation,
                counts={},
                orphaned=0,
                charged=0.0,
                reserved=0.0,
                credits=(),
                runs=(),
                failures=(),
                categories={},
                jobs=(),
            )
        head = page.head(replace(report, counts=counts, categories=self._categories))
        now = self._rows.now(conn, report, control) if conn is not None and report.runs else {}
        wanted = any(frame.sends for frame in wall.frames)
        return {
            **head,
            "now": {
                "rate_per_s": None, "in_flight": None, "eta_s": None, "note": "", "errors": [], "hand": False,
                "serve": target.invocation.command("plan", "--web"), "report": "", "started_at": None,
                "ended_at": None, "exit_code": None, "cap": wall.credits["max_credits"],
                **now, **({"phase": "planned"} if wanted or not now else {}),
            },
            "plan": {**wall.credits, "warnings": list(wall.warnings), "trouble": self._trouble},
        }  # fmt: skip


def _framed(frame: WallFrame, row: ReportJob | None, *, off: bool) -> ReportJob:
    """Return a job as it stands: what it is to be, with what is known of its row."""
    job = frame.job
    if row is not None:
        job = replace(row, id=job.id, listed=True, axes=job.axes)
    return replace(job, off=off and (frame.sends or frame.waits), price=frame.price if frame.sends else None)
