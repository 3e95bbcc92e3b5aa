"""What the engine costs beside its traffic, what transports cost, how fast rows become durable."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.manifests import write_small
from tests.bench.process import done, environment, runner, use
from tests.bench.service import sandbox
from tests.bench.table import Line, Target

ROUNDS = 3
WAITING = 100  # callers that wait for their commit at once


def transports(folder: Path, jobs: int) -> list[Line]:
    """Send the requests of so many jobs through each transport, as fast as they go."""
    lines: list[Line] = []
    for kind, name in (("ours", "httpx on aiohttp"), ("httpcore", "httpx's own (httpcore)")):
        used = [_traffic(folder, kind, jobs, polls=2.0, rate=0) for _ in range(ROUNDS)]
        requests = used[0]["requests"]
        each_ms = statistics.median(1000 * item["cpu_s"] / item["requests"] for item in used)
        pace = statistics.median(item["requests"] / item["wall_s"] for item in used)
        lines.append(
            Line(
                work=f"transport, {requests:,} requests",
                who=name,
                jobs=jobs,
                cpu_s=statistics.median(item["cpu_s"] for item in used),
                value=each_ms,
                note=f"{each_ms:.2f} ms CPU a request, {pace:.0f}/s; downloads by aiohttp in both",
            )
        )
    return lines


def _traffic(folder: Path, kind: str, jobs: int, *, polls: float, rate: float) -> dict[str, Any]:
    with sandbox("--duration", 0) as service:
        argv = [sys.executable, "-m", "tests.bench.traffic", kind, service.base_url, jobs, polls, rate]
        used = done(use([str(part) for part in argv], env=environment(service.base_url), cwd=folder))
        found: dict[str, Any] = json.loads(used.out.strip().splitlines()[-1])
        return {**found, "process_cpu_s": used.cpu_s}


def engine(folder: Path, jobs: int, rate: float) -> list[Line]:
    """Compare a run with a bare loop that sends as many requests, at the same pace, on the same client."""
    manifest = write_small(folder, jobs, limits={"requests_per_second": rate})
    with sandbox("--duration", 2) as service:
        used = done(use(runner("run", manifest, "--yes"), env=environment(service.base_url), cwd=folder))
        seen = service.seen()
    bare = _traffic(folder, "ours", jobs, polls=seen.polls_a_task, rate=rate)
    share = used.cpu_s / bare["process_cpu_s"]
    return [
        Line(
            work=f"{jobs} jobs at {rate:.0f}/s",
            jobs=jobs,
            done=seen.found,
            total_s=used.wall_s,
            rejected=seen.rejected,
            polls=seen.polls_a_task,
            cpu_s=used.cpu_s,
            peak_mb=used.peak_mb,
            value=share,
            note=f"value = {share:.2f} times the bare loop",
            targets=(Target(field="value", most=1.6),),
        ),
        Line(
            work=f"{jobs} jobs at {rate:.0f}/s",
            who="bare loop, same client",
            jobs=jobs,
            total_s=bare["wall_s"],
            cpu_s=bare["process_cpu_s"],
            note="nothing durable, no checks",
        ),
    ]


def writer(folder: Path, seconds: float) -> list[Line]:
    """Count the steps of jobs that 100 callers at once make durable."""
    lines: list[Line] = []
    manifest = write_small(folder, WAITING)
    done(use(runner("run", manifest, "--limit", "0", "--yes"), env=environment(), cwd=folder))
    database = folder / "state" / "runner.db"
    for fsync_s, words in ((0.0, "this disk"), (0.005, "5 ms more for every commit")):
        copy = database.with_name(f"{fsync_s}.db")
        shutil.copy(database, copy)
        rate, batch, cpu_s = _durable(copy, seconds, fsync_s)
        lines.append(
            Line(
                work=f"durable steps, {WAITING} waiting",
                total_s=seconds,
                cpu_s=cpu_s,
                value=rate,
                note=f"{rate:,.0f} steps/s, {batch:.0f} a transaction, {words}",
                targets=(Target(field="value", most=5000, least=True),) if fsync_s else (),
            )
        )
    return lines


def _durable(path: Path, seconds: float, fsync_s: float) -> tuple[float, float, float]:
    import anyio

    from runner.store import jobs, moves
    from runner.store.sqlite import StateFile
    from runner.store.writer import GroupWriter

    class Slow(StateFile):
        """A file on a disk whose fsync takes long."""

        @contextmanager
        def transaction(self) -> Iterator[Any]:
            with super().transaction() as conn:
                yield conn
                time.sleep(fsync_s)

    file = Slow.open(path)
    rows = [row["id"] for row in file.conn.execute("SELECT id FROM jobs")]
    group = GroupWriter(file)
    done = 0

    def step(conn: Any, row: int) -> None:
        moves.uploading(conn, jobs.get(conn, row), "now")

    async def caller(row: int, until: float) -> None:
        nonlocal done
        while time.monotonic() < until:
            await group.write(lambda conn: step(conn, row))
            done += 1

    async def main() -> None:
        until = time.monotonic() + seconds
        async with anyio.create_task_group() as background:
            background.start_soon(group.serve)
            async with anyio.create_task_group() as callers:
                for row in rows:
                    callers.start_soon(caller, row, until)
            background.cancel_scope.cancel()

    cpu = time.process_time()
    anyio.run(main)
    used = time.process_time() - cpu
    file.close()
    return done / seconds, group.operations / max(group.transactions, 1), used
