"""Several runs of one manifest on a PostgreSQL server, against one run with a file: the same jobs at the same limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.ideal import ideal_s
from tests.bench.manifests import write_small
from tests.bench.process import Command, done, environment, runner, use
from tests.bench.service import Seen, Service, sandbox
from tests.bench.table import Line, Target
from tests.databases import NoServer, server

RUNS = 3
COUNTED = ("submit", "poll", "upload")  # under the account's limit


def several(folder: Path, say: Callable[[str], None], *, jobs: int, rate: float, duration: str) -> list[Line]:
    """Measure one run with a file, one at the server, and three there, which start together."""
    try:
        address = server()
    except NoServer as exc:
        say(f"skipped    several runs: {exc}")
        return []
    about = f"{jobs} jobs, {duration} s, {rate:g}/s"

    def line(number: int, state: str | None) -> Line:
        place = folder / f"{number}-{'server' if state else 'file'}"
        place.mkdir()
        limits: dict[str, Any] = {"requests_per_second": rate}
        manifest = write_small(place, jobs, name=f"work-{place.name}-{rate:g}", limits=limits)
        with sandbox("--duration", duration, "--rate", rate) as service:
            env = environment(service.base_url, **({"RIVYA_STATE": state} if state else {}))
            with _commits(address) as commits:
                used, written = _used(number, manifest, env, place), commits()
            return _line(about, service.seen(), service, jobs=jobs, rate=rate, used=used, commits=written)

    alone = line(1, None)
    here = [replace(alone, who="one run, a file"), replace(line(1, address), who="one run, PostgreSQL")]
    most_s = 1.10 * (alone.makespan_s or 0.0)
    targets = (
        Target(field="makespan_s", most=round(most_s, 1)),
        Target(field="rejected", most=0),
        Target(field="polls", most=1.2),
    )
    return [*here, replace(line(RUNS, address), who=f"{RUNS} runs, PostgreSQL", targets=targets)]


def _used(number: int, manifest: Path, env: dict[str, str], place: Path) -> float:
    """Run so many at once; return their CPU seconds."""
    if number == 1:
        return done(use(runner("run", manifest, "--yes"), env=env, cwd=place)).cpu_s
    commands = [
        Command(runner("run", manifest, "--yes"), env=env, cwd=place, output=place / f"{each}.txt")
        for each in range(number)
    ]
    return sum(done(each.wait()).cpu_s for each in commands)


@contextmanager
def _commits(address: str) -> Iterator[Callable[[], int]]:
    """Count the transactions of the database that write something."""
    import psycopg

    with closing(psycopg.connect(address, autocommit=True)) as conn:

        def number() -> int:
            row = conn.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
            assert row is not None
            return int(row[0])

        before = number()
        yield lambda: number() - before


def _line(
    about: str, seen: Seen, service: Service, *, jobs: int, rate: float, used: float, commits: int
) -> Line:
    times = [item["at"] for item in service.requests() if item["kind"] in COUNTED]
    use_, most = rate_use(times, rate), most_in_a_second(times)
    notes = [f"at most {most} requests in a second, {100 * use_:.0f} % of the limit while there was work"]
    if commits:
        notes.append(f"{commits / jobs:.1f} commits a job")
    if seen.paid_twice:
        notes.append(f"{seen.paid_twice} PAID TWICE")
    return Line(
        work=about,
        jobs=jobs,
        done=seen.found,
        makespan_s=seen.makespan_s,
        ideal_s=ideal_s(seen.durations_s, rate=rate, window=None),
        rejected=seen.rejected,
        polls=seen.polls_a_task,
        lag_s=seen.lag_s,
        lag_p95_s=seen.lag_p95_s,
        cpu_s=used,
        note="; ".join(notes),
    )


def most_in_a_second(times: Sequence[float]) -> int:
    """Return the most requests in any second."""
    ordered, first, most = sorted(times), 0, 0
    for number, at in enumerate(ordered):
        while at - ordered[first] >= 1.0:
            first += 1
        most = max(most, number - first + 1)
    return most


def rate_use(times: Sequence[float], rate: float) -> float:
    """Return the part of the limit that was used in the seconds in which there was work for all of it.

    These are the seconds from the third to the last of those in which more than half of it was used.
    """
    ordered = sorted(times)
    by_second = [0] * (int(ordered[-1] - ordered[0]) + 1)
    for at in ordered:
        by_second[int(at - ordered[0])] += 1
    busy = [second for second, number in enumerate(by_second) if number > rate / 2]
    counted = [by_second[second] for second in busy[2:-1]]
    return sum(counted) / (len(counted) * rate) if counted else 0.0
