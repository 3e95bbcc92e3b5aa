"""Runs against the sandbox: how long, how many requests, what they cost."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.ideal import ideal_s
from tests.bench.manifests import write_small
from tests.bench.process import Command, TooLong, Used, done, environment, runner, use
from tests.bench.rivals.known import Rival, rivals_for
from tests.bench.service import Seen, Service, sandbox
from tests.bench.table import Line, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """So many tasks of such a length under such limits. `window` is `limits.in_flight`."""

    work: str
    jobs: int
    duration: str  # as the sandbox takes it: "5", "8:16"
    rate: float
    window: int | None = None
    given: bool = True  # whether the manifest names the rate
    targets: tuple[Target, ...] = ()
    rivals: bool = False
    note: str = ""

    def run(self, folder: Path, say: Callable[[str], None], rivals_python: str) -> list[Line]:
        """Measure our run, and the same work done by others."""
        lines = [self._ours(folder)]
        for rival in rivals_for(rivals_python, window=self.window) if self.rivals else []:
            if rival.missing:
                say(f"skipped    {rival.name}: {rival.missing}")
                continue
            say(f"           {rival.name} ...")
            lines.append(self._theirs(rival, folder))
        return lines

    def _flags(self) -> tuple[str | float, ...]:
        return ("--duration", self.duration, "--rate", self.rate)

    def _ours(self, folder: Path) -> Line:
        limits: dict[str, Any] = {
            "requests_per_second": self.rate if self.given else "auto",
            "in_flight": self.window or "auto",
        }
        manifest = write_small(folder, self.jobs, limits=limits)
        with sandbox(*self._flags()) as service:
            used = done(use(runner("run", manifest, "--yes"), env=environment(service.base_url), cwd=folder))
            return self._line("rivya-batch", used, service.seen(), targets=self.targets, note=self.note)

    def _theirs(self, rival: Rival, folder: Path) -> Line:
        with sandbox(*self._flags()) as service, rival.door(service.base_url) as base_url:
            argv = rival.argv(base_url=base_url, jobs=self.jobs, window=self.window or self.jobs)
            try:
                used = use(argv, env=rival.environment(base_url), cwd=folder)
            except TooLong as exc:
                seen = service.seen()
                return Line(
                    work=self.work,
                    who=rival.name,
                    jobs=self.jobs,
                    done=seen.found,
                    rejected=seen.rejected,
                    note=str(exc),
                )
            return self._line(rival.name, used, service.seen(), note=rival.note)

    def _line(
        self, who: str, used: Used, seen: Seen, *, note: str = "", targets: tuple[Target, ...] = ()
    ) -> Line:
        notes = [note] if note else []
        if used.code:
            notes.append(f"exit {used.code}")
        if seen.paid_twice:
            notes.append(f"{seen.paid_twice} PAID TWICE")
        return Line(
            work=self.work,
            who=who,
            jobs=self.jobs,
            done=seen.found,
            total_s=used.wall_s,
            makespan_s=seen.makespan_s,
            # With jobs lost there is less to do, and nothing to compare with.
            ideal_s=ideal_s(seen.durations_s, rate=self.rate, window=self.window)
            if seen.tasks == self.jobs
            else None,
            rejected=seen.rejected,
            polls=seen.polls_a_task,
            lag_s=seen.lag_s,
            lag_p95_s=seen.lag_p95_s,
            cpu_s=used.cpu_s,
            peak_mb=used.peak_mb,
            note="; ".join(notes),
            targets=targets,
        )


def crowd(folder: Path, jobs: int, watch_s: float, say: Callable[[str], None]) -> list[Line]:
    """Have very many tasks at the service, and look at the cost of waiting for them.

    One run submits them all and is interrupted; the next takes them up and asks at 20 requests/s.
    """
    fast: dict[str, Any] = {"limits": {"requests_per_second": 2000}}
    slow: dict[str, Any] = {"limits": {"requests_per_second": 20}}
    with sandbox("--duration", 7200) as service:
        env = environment(service.base_url)
        write_small(folder, jobs, **fast)
        first = Command(
            runner("run", folder / "work.yaml", "--yes"), env=env, cwd=folder, output=folder / "first.txt"
        )
        deadline = time.monotonic() + 110
        while service.counts()["submit"] < jobs and time.monotonic() < deadline and first.running:
            time.sleep(0.5)
        first.signal(signal.SIGINT)
        submitting = first.wait(limit_s=120)
        tasks = service.counts()["submit"]
        say(f"           {tasks:,} tasks are at the service after {submitting.wall_s:.0f} s; watching ...")
        write_small(folder, jobs, **slow)
        second = Command(
            runner("run", folder / "work.yaml", "--yes"), env=env, cwd=folder, output=folder / "second.txt"
        )
        before = service.counts()["poll"]
        while service.counts()["poll"] == before and second.running:
            time.sleep(0.1)
        time.sleep(2)
        cpu, began, polls = second.cpu_so_far_s(), time.monotonic(), service.counts()["poll"]
        resident: list[float] = []
        while time.monotonic() - began < watch_s:
            time.sleep(1)
            resident.append(second.resident_mb())
        took = time.monotonic() - began
        share = (second.cpu_so_far_s() - cpu) / took
        pace = (service.counts()["poll"] - polls) / took
        second.signal(signal.SIGINT)
        waiting = second.wait(limit_s=60)
    return [
        Line(
            work=f"{jobs:,} submitted at once",
            jobs=jobs,
            total_s=submitting.wall_s,
            cpu_s=submitting.cpu_s,
            peak_mb=submitting.peak_mb,
            note=f"{tasks / submitting.wall_s:.0f} submits/s, the sandbox on the same cores",
        ),
        Line(
            work=f"{jobs:,} in flight, 20/s",
            peak_mb=waiting.peak_mb,
            value=100 * share,
            note=f"{100 * share:.1f} % of a core at {pace:.1f} polls/s over {took:.0f} s;"
            f" {statistics.median(resident):.0f} MB resident; value = % of a core",
            targets=(Target(field="peak_mb", most=200), Target(field="value", most=15)),
        ),
    ]


def first_request_after(service: Service, command: Command, known: int, *, limit_s: float = 60.0) -> float:
    """Return the wall-clock time of the first API request beyond `known` ones."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and command.running:
        counts = service.counts()
        if sum(counts[kind] for kind in ("submit", "poll", "upload")) > known:
            break
        time.sleep(0.05)
    requests = [item for item in service.requests() if item["kind"] in ("submit", "poll", "upload")]
    if len(requests) <= known:
        raise TooLong("no request came")
    return float(requests[known]["at"])
