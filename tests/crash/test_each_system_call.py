"""Killed at each system call that changes something, in the life of one job: its files, its database, its requests.

Wants strace, which delivers SIGKILL at the n-th call of a kind; slow, so only `make crash` does all of it.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.imitation.fixtures import Bench, StartService, ended, said
from tests.imitation.personality import Personality
from tests.support import Command

pytestmark = [pytest.mark.crash, pytest.mark.slow]

# What changes a file, makes it last, gives it a name, or tells somebody something.
CALLS = (
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "unlink",
    "sendto",
    "mkdir",
)
MOST = 150  # of each; no life is so long
STEP = {"pwrite64": 7, "sendto": 2}  # they come by the hundred


@pytest.fixture(scope="session")
def strace() -> str:
    path = shutil.which("strace")
    works = (
        path and not subprocess.run([path, "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode
    )
    if not works:
        pytest.skip("wants strace, and leave to trace")
    assert path
    return path


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_each_system_call_the_job_is_paid_once_and_whole(
    call: str, strace: str, command: Command, start_service: StartService
) -> None:
    kills = 0
    for number in range(1, MOST, STEP.get(call, 1)):
        folder = command.workspace / f"{call}-{number}"
        (folder / "state").mkdir(parents=True)
        bench = Bench(Command(workspace=folder, warm=command.warm), start_service(Personality(task_s=(0, 0))))
        bench.picture()
        prompts = bench.write([{"id": "a", "references": ["ref.png"]}, {"id": "b"}])
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        # The counts are of each thread; SQLite's and the disk's work is done by a few of them.
        wrapper = (strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        first = ended(bench.start(wrapper=wrapper))
        last = bench.run()

        assert first.code in (-9, 137, 0), said(first)
        assert last.code == 0, f"{call} {number}: {said(last)}"
        bench.assert_whole(prompts)
        assert not list(bench.out.rglob("*.new")), f"{call} {number}"
        bench.service.close()
        bench.command.close()
        shutil.rmtree(folder)
        if first.code == 0:
            break
        kills += 1
    assert kills, f"no life of a job calls {call}"
    print(f"{call}: {kills} kills")
