"""Nights of three runs on one database in which everything happens: kills, freezes, partitions, restarts, lost answers.

`make crash` has a hundred kills; what it prints is the table of `runner/engine/README.md`.
"""

from __future__ import annotations

import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.crash.test_workers import Start, number, write
from tests.databases import close_all, empty_state, of_kind, restart, server
from tests.imitation.fixtures import ended, said
from tests.support import Command, Process
from tests.warm import STALL
from tests.way_to_server import WayToServer

psycopg = pytest.importorskip("psycopg")
pytestmark = [pytest.mark.crash, pytest.mark.extra]

STALL_S = 4.0
RUNS = 3
TAKES = {"kill": 4, "freeze": 1, "hang": 1, "cut": 1, "restart": 1}  # in the extra tests
NIGHT = {"kill": 100, "freeze": 12, "hang": 10, "cut": 6, "restart": 2}
JOBS_A_TAKE = 24
LONGEST_S = 25.0  # for one of them
# What a run may end with: done; its database was away; it was shut out while it stood still.
EXPECTED = {0, 5, -signal.SIGKILL}


@dataclass(slots=True)
class Run:
    """One of the runs, and its own way to the database."""

    process: Process
    way: WayToServer


@dataclass(slots=True)
class Takeovers:
    """Watches in the database how soon the jobs under way of a worker are somebody else's."""

    lost_at: dict[int, tuple[str, float]] = field(
        default_factory=dict
    )  # worker: how, and since when it does nothing
    took_s: list[tuple[str, float]] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self._over.is_set():
            with suppress(psycopg.Error), closing(psycopg.connect(server(), autocommit=True)) as conn:
                while not self._over.wait(0.05):
                    for worker, (how, since_s) in list(self.lost_at.items()):
                        if not under_way(conn, worker):
                            del self.lost_at[worker]
                            self.took_s.append((how, time.monotonic() - since_s))
            time.sleep(0.1)

    def lose(self, worker: int, how: str) -> None:
        """A worker does nothing from now on; one that has nothing under way is not watched."""
        with closing(psycopg.connect(server(), autocommit=True)) as conn:
            if under_way(conn, worker):
                self.lost_at[worker] = how, time.monotonic()

    def end(self) -> None:
        self._over.set()


def under_way(conn: Any, worker: int) -> int:
    """Return how many jobs under way a worker holds."""
    row = conn.execute(
        "SELECT count(*) FROM shares s JOIN jobs j ON j.id = s.job WHERE s.worker = %s"
        " AND j.state IN ('submitting', 'waiting', 'downloading')",
        (worker,),
    ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def watched() -> Iterator[Takeovers]:
    found = Takeovers()
    thread = threading.Thread(target=found.watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.end()
        thread.join()


def workers_at_work() -> dict[int, int]:
    """Return the number of each worker at work, by its process; one that has begun to send."""
    with suppress(psycopg.Error), closing(psycopg.connect(server(), autocommit=True)) as conn:
        found = conn.execute(
            "SELECT pid, id FROM workers WHERE ended_at IS NULL AND fenced = 0 AND sharers > 0"
        )
        return dict(found.fetchall())
    return {}


class Night:
    """Three runs, and what happens to them."""

    def __init__(self, command: Command, dice: random.Random, takeovers: Takeovers) -> None:
        self._command = command
        self._dice = dice
        self._takeovers = takeovers
        self._began = time.monotonic()
        self.running = [self._start() for _ in range(RUNS)]
        self.unexpected: list[str] = []
        self.happened: Counter[str] = Counter()
        self.ends: Counter[int] = Counter()

    def _start(self) -> Run:
        way = WayToServer(server())
        process = self._command.start(
            "run",
            self._command.workspace / "night.yaml",
            "--yes",
            env={"RIVYA_STATE": way.address, STALL: str(STALL_S)},
        )
        return Run(process, way)

    def again(self) -> None:
        """Start anew who has ended, as a supervisor does."""
        for place, run in enumerate(self.running):
            if run.process.poll() is not None:
                self._look(run)
                self.running[place] = self._start()

    def _look(self, run: Run, timeout_s: float = 90.0) -> None:
        outcome = ended(run.process, timeout_s=timeout_s)
        run.way.close()
        for pipe in (run.process.stdin, run.process.stdout, run.process.stderr):
            if pipe is not None:  # there are hundreds of them
                pipe.close()
        self.ends[outcome.code] += 1
        if outcome.code not in EXPECTED:
            self.unexpected.append(said(outcome))

    def happens(self, what: str) -> bool:
        """Do it to one of three that work; return False where they do not (yet)."""
        known = workers_at_work()
        working = [run for run in self.running if run.process.pid in known and run.process.poll() is None]
        if len(working) < RUNS:
            return False
        victim = self._dice.choice(working)
        worker = known[victim.process.pid]
        if what == "restart":
            if not restart():
                return True
        elif what == "kill":
            self._takeovers.lose(worker, what)
            victim.process.kill()
        elif what == "freeze":
            self._stands_still(victim, worker, self._dice.uniform(5.0, 9.0))
        elif what == "hang":
            self._is_cut_off(victim, worker, self._dice.choice((5.0, 8.0, 15.0, 60.0)))
        else:
            self._takeovers.lose(worker, what)
            victim.way.cut()
        self.happened[what] += 1
        print(f"{self._began_s():5.0f} s  {what:8} {self.happened[what]}", flush=True)
        return True

    def _began_s(self) -> float:
        return time.monotonic() - self._began

    def _stands_still(self, run: Run, worker: int, seconds: float) -> None:
        self._takeovers.lose(worker, "freeze")
        run.process.send_signal(signal.SIGSTOP)
        self._later(seconds, lambda: run.process.send_signal(signal.SIGCONT))

    def _is_cut_off(self, run: Run, worker: int, seconds: float) -> None:
        self._takeovers.lose(worker, "hang")
        run.way.hang()
        self._later(seconds, run.way.go_on)
        if seconds > 20.0:  # somebody starts another in its place
            self.running.append(self._start())

    @staticmethod
    def _later(seconds: float, then: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, then)
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        for run in self.running:
            self._look(run)


def test_everything_happens_to_three_runs_of_one_manifest(
    command: Command, start_sandbox: Start, pytestconfig: pytest.Config
) -> None:
    """Nothing is paid twice, nothing is lost, the books are equal, and no half file is left."""
    to_come = NIGHT if pytestconfig.getoption("--crash-rounds") >= 100 else TAKES
    takes = [what for what, times in to_come.items() for _ in range(times)]
    jobs = len(takes) * JOBS_A_TAKE + 40
    dice = random.Random(f"several {len(takes)}")
    dice.shuffle(takes)
    with of_kind("postgresql"):
        empty_state()
        close_all()
    sandbox = start_sandbox("--duration", "1:4", "--credits", "1000000")
    sandbox.faults({"on": "submit", "do": "drop_after", "times": 1_000_000, "probability": 0.1})
    command.use(sandbox)
    write(command, jobs, limits={"requests_per_second": 20})

    with watched() as takeovers:
        night = Night(command, dice, takeovers)
        until = time.monotonic() + LONGEST_S * (len(takes) + 4)
        done = 0.0
        while done < jobs and time.monotonic() < until:
            night.again()
            assert not night.unexpected, night.unexpected[0]
            if takes and night.happens(takes[-1]):
                takes.pop()
                time.sleep(dice.uniform(0.2, 2.0))
            time.sleep(0.1)
            with suppress(Exception):  # the server may be on its way up
                done = number("SELECT count(*) FROM jobs WHERE state = 'done'")
        night.end()
        time.sleep(0.2)

    # Who was shut out at the very end leaves its own part to the next run, which has nothing else to do.
    last = ended(
        command.start("run", command.workspace / "night.yaml", "--yes", env={"RIVYA_STATE": server()})
    )
    book = sandbox.ledger()
    out = command.workspace / "out" / "night"
    took_s = sorted(seconds for _, seconds in takeovers.took_s)
    print(
        f"\n{jobs} jobs; {dict(night.happened)}; ends {dict(night.ends)}; paid twice {len(book['paid_twice'])};"
        f" {len(book['tasks'])} tasks; charged {book['charged']}"
    )
    for how in sorted({how for how, _ in takeovers.took_s}):
        of_this = sorted(seconds for each, seconds in takeovers.took_s if each == how)
        print(
            f"taken over after {how}: {len(of_this)}, median {statistics.median(of_this):.1f} s,"
            f" 95 % {of_this[int(0.95 * (len(of_this) - 1))]:.1f} s, at most {of_this[-1]:.1f} s"
        )
    assert not night.unexpected, "\n".join(night.unexpected)
    assert last.code == 0, said(last)
    assert not takes, f"{len(takes)} of them did not happen: {night.happened}"
    assert number("SELECT count(*) FROM jobs WHERE state = 'done'") == jobs
    assert book["paid_twice"] == []
    assert len(book["tasks"]) == jobs
    assert number("SELECT charged FROM credit_totals") == book["charged"]
    assert number("SELECT sum(amount) FROM ledger") == book["charged"]
    assert len(list(out.glob("*.mp4"))) == jobs
    assert not list(out.rglob("*.part"))
    assert took_s[int(0.95 * (len(took_s) - 1))] <= 7.0
