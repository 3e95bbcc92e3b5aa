"""Whether a run that has not recorded its end is still going on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runner.api.status import ALIVE_S, alive
from runner.clock import rfc3339

NOW_S = 1_790_000_000.0


def run(
    pid: int, *, host: str | None = None, seen_s: float = NOW_S, ended: str | None = None
) -> dict[str, object]:
    return {
        "pid": pid,
        "host": host or socket.gethostname(),
        "seen_at": rfc3339(seen_s),
        "ended_at": ended,
    }


def test_a_process_of_this_machine_that_lives() -> None:
    assert alive(run(os.getpid()), NOW_S)
    assert not alive(run(os.getpid(), ended="2026-11-22T20:00:00.000Z"), NOW_S)


def test_a_process_that_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()

    assert not alive(run(child.pid), NOW_S)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc tells the dead from the living")
def test_a_process_that_is_dead_and_not_yet_buried() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert Path(f"/proc/{child.pid}").exists()
        assert not alive(run(child.pid), NOW_S)


def test_one_on_another_machine_is_judged_by_when_it_was_seen() -> None:
    assert alive(run(1, host="elsewhere.example", seen_s=NOW_S - ALIVE_S + 1), NOW_S)
    assert not alive(run(1, host="elsewhere.example", seen_s=NOW_S - ALIVE_S - 1), NOW_S)
