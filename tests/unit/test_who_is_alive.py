"""Whoever holds a manifest's lock runs it, and nobody else does: in `status`, on the page, for the shares of the rate."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.api.status import Standing, standings
from runner.cli.status import in_words
from runner.engine import RunOptions
from runner.engine.heartbeat import Heartbeat
from runner.engine.results import Results
from runner.engine.run_state import RunState
from runner.host.clock import epoch
from runner.host.processes import is_stopped
from runner.host.workspace import Holder, ManifestLock, holder_of
from runner.pace.durations import Durations
from runner.pace.limits import AccountLimits
from runner.pace.scheduler import Call, Scheduler
from runner.service.reply import Reply
from runner.service.rivya.answers import understand
from runner.store import rates, runs
from runner.store.sqlite import StateFile
from tests.live_engine import Home, Silent
from tests.world import BEGINNING, NAME, World, bind

NOW = "2026-11-22T20:00:00.000Z"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateFile]:
    file = StateFile.open(tmp_path / "runner.db")
    yield file
    file.close()


def begin(file: StateFile, name: str = NAME, *, pid: int | None = None, host: str | None = None) -> int:
    """Record the start of a run that is not ended."""
    bind(file, name)
    with file.transaction() as conn:
        run = runs.begin(
            conn,
            manifest=name,
            command="rivya-batch run",
            pid=pid or os.getpid(),
            host=host or socket.gethostname(),
            version="1",
            now=NOW,
        )
        runs.touch(conn, run, stats={"rate_per_s": 4.0, "eta_s": 100.0}, now=NOW)
    return run


@contextmanager
def held(file: StateFile, name: str = NAME) -> Iterator[ManifestLock]:
    assert file.path is not None
    lock = ManifestLock(file.path, name)
    lock.acquire(BEGINNING, command="rivya-batch run")
    yield lock
    lock.release()


def standing(file: StateFile, *, after_s: float = 0.0) -> Standing:
    return standings(file, names=[NAME], now_s=(epoch(NOW) or 0.0) + after_s)[0]


def test_it_runs_while_the_lock_is_held_however_long_it_was_not_seen(file: StateFile) -> None:
    begin(file)

    with held(file):
        going = standing(file, after_s=30.0)
    killed = standing(file)

    assert going.running is not None
    assert going.eta_s == 70.0
    assert killed.running is None
    assert "was killed" in in_words(killed)


def test_another_process_that_holds_the_lock_is_not_that_run(file: StateFile) -> None:
    """`resolve` answers for a job, or the next run is only beginning: the one before was killed."""
    begin(file, pid=1)

    with held(file):
        assert standing(file).running is None


@pytest.mark.parametrize("content", ["", "{", '{"pid": "x"}'])
def test_a_holder_that_has_not_said_who_it_is_runs(file: StateFile, content: str) -> None:
    begin(file)

    with held(file) as lock:
        lock.path.write_text(content, encoding="utf-8")
        assert standing(file).running is not None


def test_a_run_of_another_machine_is_said_to_be_there(file: StateFile) -> None:
    begin(file, pid=5, host="elsewhere.example")

    with held(file) as lock:
        lock.path.write_text(
            f'{{"pid": 5, "host": "elsewhere.example", "since": "{NOW}", "command": "rivya-batch run"}}',
            encoding="utf-8",
        )
        found = in_words(standing(file))

    assert "process 5 on elsewhere.example (another machine)" in found


def test_one_that_was_stopped_by_ctrl_z_says_how_it_goes_on(tmp_path: Path, file: StateFile) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom runner.host.workspace import ManifestLock\n"
        f"lock = ManifestLock(Path(sys.argv[1]), {NAME!r})\nlock.acquire(0.0, command='x')\nprint('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file.path)],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        begin(file, pid=child.pid)
        try:
            running = in_words(standing(file))
            child.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED)
            stopped, found = is_stopped(child.pid), standing(file)
            child.send_signal(signal.SIGCONT)
            os.waitid(os.P_PID, child.pid, os.WCONTINUED)
            assert not is_stopped(child.pid)
        finally:
            child.kill()

    assert "running    since" in running
    assert stopped
    assert f"`kill -CONT {child.pid}`" in in_words(found)
    assert found.eta_s is None


def test_to_ask_who_runs_keeps_nobody_from_running(file: StateFile) -> None:
    """Somebody who asks has the lock for a moment; who comes to run then tries again."""
    assert file.path is not None
    asks = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom pathlib import Path\nfrom runner.host.workspace import holder_of\nprint('asks', flush=True)\n"
            f"while True: holder_of(Path(sys.argv[1]), {NAME!r})",
            str(file.path),
        ],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asks.stdout is not None
    assert asks.stdout.readline() == "asks\n"
    try:
        for _ in range(300):
            with held(file):
                assert holder_of(file.path, NAME) is not None
    finally:
        asks.kill()
        asks.communicate()


def test_nobody_holds_what_was_never_run(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "runner.db", "never") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("holder", "pid", "host", "is_it"),
    [
        (Holder(pid=1, host="a", since="", command=""), 1, "a", True),
        (Holder(pid=1, host="a", since="", command=""), 2, "a", False),
        (Holder(pid=1, host="a", since="", command=""), 1, "b", False),
        (Holder(pid=None, host="", since="", command=""), 1, "a", True),
    ],
)
def test_whose_run_a_holder_carries_on(holder: Holder, pid: int, host: str, is_it: bool) -> None:
    assert holder.is_of(pid=pid, host=host) is is_it


def scheduler() -> Scheduler:
    world = World()
    return Scheduler(polling=world.settings.polling, limits=AccountLimits(), durations=Durations())


@pytest.mark.anyio
@pytest.mark.parametrize(("alive", "share"), [((), 1.0), (("winter",), 0.5), (("winter", "spring"), 1 / 3)])
async def test_the_rate_is_shared_with_those_who_run_and_with_no_ghosts(
    alive: tuple[str, ...], share: float
) -> None:
    """Three were killed a moment ago; each counted as a run for 20 s."""
    world = World(is_run=lambda name: name in alive)
    for name in (NAME, "winter", "spring", "summer"):
        begin(world.file, name)
    with world.file.transaction() as conn:
        conn.execute("UPDATE manifests SET key12 = ?", (world.account.key12,))
    at_service = scheduler()
    alone_per_s = at_service.limits.rate_per_s

    async with world.context() as context:
        run_state = RunState(context, at_service, RunOptions(), Silent(), lambda: None)
        sharers = await Heartbeat(run_state, Results(run_state, Home())).remember()  # type: ignore[arg-type]

    assert sharers == 1 + len(alive)
    assert at_service.limits.rate_per_s == pytest.approx(alone_per_s * share)


@pytest.mark.anyio
async def test_a_rate_is_recorded_as_soon_as_it_is_found() -> None:
    """A run that is killed a second later has found it for the next one."""
    world = World()
    at_service = scheduler()
    refused = understand(Reply(status=429, data={"error": {"code": "rate_limited"}}), body=b"")

    async with world.context() as context:
        run_state = RunState(context, at_service, RunOptions(), Silent(), lambda: None)
        for _ in range(3):
            world.clock.pass_s(1.0)
            at_service.sent(run_state.now(), Call.SUBMIT)
            run_state.answered(Call.SUBMIT, refused, run_state.now())
        await context.writer.flush()
        found = rates.find(world.file.conn, context.account.name)

    assert found is not None
    assert found.per_s == at_service.limits.found_per_s
