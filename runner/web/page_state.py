"""What the live page is told, read from the state database on a connection of its own.

Nothing here writes, and nothing here is known to the run: it may be in this process or another.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.host.clock import epoch, rfc3339
from runner.host.workspace import DatabasePlace, Holder
from runner.model import ResultPath, path_of
from runner.reports import page
from runner.reports.data import FilePlace, Invocation, Report, ReportJob, categories_of, collect, jobs_of
from runner.store import jobs, picks, reporting, runs, switches
from runner.store.connection import Connection
from runner.store.database import StateDatabase, open_to_read
from runner.store.error_words import trouble

ERRORS = 5
AT_THE_SERVICE = ("submitting", "waiting")
# A step takes its time before its transaction is committed: what looks older may come later.
OVERLAP_S = 5.0
LARGEST_ROW = 2**63 - 1
PIECE = 4000  # jobs told at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a live page is about."""

    database: DatabasePlace
    folder: Path  # for what this machine notes beside it
    manifest: str
    output_dir: ResultPath
    invocation: Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """How a run goes, as its own process knows it: the database is told of it only now and then."""

    rate_per_s: float | None
    in_flight: int
    eta_s: float | None
    cap: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlState:
    """What a person has done to the run of this process, and may do: None of it for a run elsewhere."""

    on_it: bool = False  # this page can hold and stop the run
    held: bool = False
    stopping: bool = False
    over: bool = False  # the run of this process has ended
    numbers: Numbers | None = None  # of the run of this process


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What is new since the last look; `text` is None when everything should be told anew."""

    rows: tuple[int, ...] = ()
    text: str | None = None


def file_url(place: FilePlace) -> str:
    """Return how the live page names a file: by its row, so that no path is ever asked for."""
    return f"{place.kind}/{place.row}/{place.number}/{quote(Path(place.path).name, safe='')}"


class PageReader:
    """Reads one manifest for the page. One thread at a time may use it.

    Args:
        target: What to read.
        holder: Says who holds a manifest now; None to ask the database.
        wall_s: The wall clock.
        piece: How many jobs are told at once.
        priced: Gives jobs the prices that somebody has asked for, where there are any.
    """

    def __init__(
        self,
        target: Target,
        *,
        holder: Callable[[str], Holder | None] | None = None,
        wall_s: Callable[[], float] = time.time,
        piece: int = PIECE,
        priced: Callable[[tuple[ReportJob, ...]], tuple[ReportJob, ...]] = lambda jobs: jobs,
    ) -> None:
        self.piece = piece
        self._priced = priced
        self.target = target
        self._doing = f"reading the state database {target.database}"
        self._holder = holder
        self._wall_s = wall_s
        self._file: StateDatabase | None = None
        self._data_version: int | None = None
        self._shape: tuple[int, str] | None = None
        self._event = 0
        self._said = 0  # the last thing that was said of a result
        self._switched = 0  # the last job that was switched off or on
        self._updated_at = ""
        self._categories: Mapping[str, str] = {}
        self._versions: dict[int, int] = {}
        self._heartbeat: object = None
        self._head: Mapping[str, Any] | None = None

    def look(self, control: ControlState) -> Delta | None:
        """Return what has changed since the last look; None when nothing has.

        Raises:
            RunnerError: The database cannot be read now.
        """
        with trouble(self._doing):
            conn = self._conn()
            # Asked before the reading begins: what is committed in between is found again next time.
            version = self._opened().data_version()
            heartbeat = (self._phase(conn, control), control)
            if version == self._data_version and heartbeat == self._heartbeat:
                return None
            with reporting.snapshot(conn):
                delta = self._delta(conn, control)
            self._data_version, self._heartbeat = version, heartbeat
            return delta

    def _delta(self, conn: Connection, control: ControlState) -> Delta | None:
        name = self.target.manifest
        shape, event = reporting.shape(conn, name), reporting.last_event(conn, name)
        if shape != self._shape:
            self._versions, self._updated_at = reporting.versions(conn, name)
            self._categories = categories_of(reporting.models(conn, name))
            self._shape, self._event, self._said = shape, event, picks.last(conn, name)
            self._switched = switches.last(conn, name)
            self._head = _lasting(self._head_of(conn, self.report(conn, ()), control))
            return Delta()
        since = rfc3339(max((epoch(self._updated_at) or 0.0) - OVERLAP_S, 0.0))
        found, updated_at = reporting.versions(conn, name, since=since, event=self._event)
        moved = {row for row, version in found.items() if self._versions.get(row) != version}
        moved.update(picks.changed(conn, name, self._said), switches.changed(conn, name, self._switched))
        rows = sorted(moved)
        self._versions.update(found)
        self._updated_at, self._event = max(updated_at, self._updated_at), event
        self._said, self._switched = picks.last(conn, name), switches.last(conn, name)
        if len(rows) > self.piece:
            return Delta()
        report = self.report(conn, rows)
        head = self._head_of(conn, report, control)
        same = _lasting(head) == self._head
        self._head = _lasting(head)
        if not rows:
            return None if same else Delta(text=dump({"head": head}))
        return Delta(rows=tuple(rows), text=dump({**page.payload(report), "head": head}))

    def whole(self, control: ControlState) -> Iterator[str]:
        """Yield everything there is to know now, in pieces of some thousand jobs; each piece is a reading of its own.

        Nobody should have to wait for all of a huge manifest before the first of it, neither the browser nor
        a run in this process.
        """
        with trouble(self._doing):
            rows = reporting.job_order(self._conn(), self.target.manifest)
        yield self.some(rows[: self.piece], control)
        for start in range(self.piece, len(rows), self.piece):
            with trouble(self._doing):
                jobs_now = jobs_of(
                    self._conn(), self.target.manifest, rows[start : start + self.piece], file_url
                )
            yield dump({"v": page.VERSION, **page.columns(self._priced(jobs_now))})

    def some(self, rows: Sequence[int], control: ControlState) -> str:
        """Return what is known now of some jobs, and of the manifest as a whole."""
        with trouble(self._doing):
            conn = self._conn()
            with reporting.snapshot(conn):
                report = self.report(conn, rows)
                head = self._head_of(conn, report, control)
        return dump({**page.payload(report), "head": head})

    def find(self, kind: str, row: int, number: int) -> tuple[ResultPath, str] | None:
        """Return (path, mime) of a file that the database names for a job of this manifest."""
        if max(row, number) > LARGEST_ROW:
            return None
        look_up = reporting.artifact_file if kind == "result" else reporting.reference_file
        with trouble(self._doing):
            found = look_up(self._conn(), self.target.manifest, row=row, number=number)
        return (path_of(found[0]), found[1]) if found else None

    def close(self) -> None:
        """Let go of the database; the next use opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = self._data_version = None

    def _conn(self) -> Connection:
        return self._opened().conn

    def _opened(self) -> StateDatabase:
        if self._file is None:
            self._file = open_to_read(self.target.database)
        return self._file

    def report(self, conn: Connection, rows: Sequence[int]) -> Report:
        """Return what is known of the manifest, and of some of its jobs."""
        target = self.target
        report = collect(
            conn,
            target.manifest,
            output_dir=target.output_dir,
            written_at=rfc3339(self._wall_s()),
            invocation=target.invocation,
            rows=rows,
            url_of=file_url,
        )
        return replace(report, jobs=self._priced(report.jobs)) if rows else report

    def _head_of(self, conn: Connection, report: Report, control: ControlState) -> dict[str, Any]:
        return {**page.head(report), "categories": self._categories, "now": self.now(conn, report, control)}

    def now(self, conn: Connection, report: Report, control: ControlState) -> dict[str, Any]:
        """Return what is happening now: `{"phase": "running", "rate_per_s": 9.8, …}`."""
        run = runs.last(conn, self.target.manifest)
        stats = run.stats if run is not None else {}
        return {
            "phase": self._phase(conn, control),
            "hand": control.on_it,
            "serve": self.target.invocation.command("serve"),
            "report": str(page.page_path(self.target.output_dir, self.target.manifest, look=False)),
            "started_at": run.started_at if run is not None else None,
            "ended_at": run.ended_at if run is not None else None,
            "exit_code": run.exit_code if run is not None else None,
            **(asdict(control.numbers) if control.numbers else self._recorded(stats, run, report)),
            "errors": jobs.last_errors(conn, self.target.manifest, ERRORS),
        }

    def _recorded(
        self, stats: Mapping[str, Any], run: runs.RunRecord | None, report: Report
    ) -> Mapping[str, Any]:
        """Return the numbers of a run elsewhere; what it recorded some seconds ago is brought up to now."""
        told = {name: stats.get(name) for name in ("rate_per_s", "in_flight", "eta_s", "cap", "note")}
        if run is None or run.ended_at is not None:
            return told
        told["in_flight"] = sum(report.counts.get(state, 0) for state in AT_THE_SERVICE)
        told["eta_s"] = runs.time_left_s(run, self._wall_s())
        return told

    def _phase(self, conn: Connection, control: ControlState) -> str:
        """Return `none`, `running`, `held`, `stopping`, `paused` (Ctrl-Z), `ended` or `killed`."""
        run = runs.last(conn, self.target.manifest)
        if run is None:
            return "none"
        if run.ended_at is not None or control.over:
            return "ended"
        holder = (self._holder or self._opened().holder_of)(run.manifest)
        if holder is None or not holder.is_of(pid=run.pid, host=run.host):
            return "killed"
        if holder.paused is not None:
            return "paused"
        stats = run.stats
        if control.stopping or (not control.on_it and stats.get("stopping")):
            return "stopping"
        if control.held or (not control.on_it and stats.get("held")):
            return "held"
        return "running"


def _lasting(head: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a head is worth telling again when it changes."""
    return {name: value for name, value in head.items() if name != "written_at"}


def dump(value: Mapping[str, Any]) -> str:
    """Return what is told as text on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
