"""Disks that are full or read-only, clocks that lie, few file descriptors."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.support import Command

Mount = Callable[..., Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount a small disk of its own at a folder; only root can."""
    mounted: list[Path] = []

    def small_disk(folder: Path, *, size: str, options: str = "rw") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        arguments = ["mount", "-t", "tmpfs", "-o", f"size={size},{options}", "none", str(folder)]
        if os.geteuid() != 0 or subprocess.run(arguments, capture_output=True).returncode:
            pytest.skip("a small disk can only be mounted by root, where the system lets it")
        mounted.append(folder)
        return folder

    yield small_disk
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_for_results_ends_the_run_with_5_and_nothing_is_paid_again(
    command: Command, start_service: StartService, mount: Mount
) -> None:
    """Room for some results, not for all of them; then room is made."""
    bench = Bench(command, start_service(Personality(result_bytes=4_000_000)))
    disk = mount(bench.out, size="25m")
    prompts = bench.write(8)

    full = bench.run()
    states = bench.states()
    subprocess.run(["mount", "-o", "remount,size=80m", str(disk)], check=True)
    after = bench.run()

    assert full.code == 5, said(full)
    assert "full" in full.stderr
    assert "free disk space" in full.stderr
    assert 1 <= states["done"] <= 6
    assert "failed" not in states
    assert "Traceback" not in said(full)
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)


def test_a_full_disk_for_the_database_ends_the_run_with_5_and_nothing_is_paid_twice(
    bench: Bench, mount: Mount
) -> None:
    """Wherever it happens: before the intent nothing was sent, after it the same key is sent again."""
    state = mount(bench.database.parent, size="12m")
    prompts = bench.write(1)
    assert bench.run().code == 0
    prompts += bench.write([{"id": f"j{n}", "prompt": f"{n} " + "long " * 900} for n in range(40)])
    ballast = state / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(state) - 1_200_000)
    codes = []

    for _ in range(3):
        full = bench.run()
        codes.append(full.code)
        assert "Traceback" not in said(full)
        if full.code == 0:
            break
        os.truncate(ballast, max(ballast.stat().st_size - 300_000, 0))
    ballast.unlink()
    after = bench.run()

    assert codes[0] == 5, said(full)
    assert set(codes) <= {0, 5}
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)


def test_a_folder_that_cannot_be_written_is_bad_usage_and_nothing_is_sent(bench: Bench, mount: Mount) -> None:
    bench.write(1)
    mount(bench.out, size="1m", options="ro")
    results = bench.run()
    mount(bench.database.parent, size="1m", options="ro")
    state = bench.run()

    assert (results.code, state.code) == (2, 2), said(results) + said(state)
    assert "Traceback" not in said(results) + said(state)
    assert str(bench.out) in results.stderr
    assert str(bench.database.parent) in state.stderr
    assert bench.service.ledger.requests == 0


def test_a_clock_that_was_set_knows_nothing_of_the_age_of_a_send(bench: Bench) -> None:
    """Back an hour or ahead by two: what is unclear is for a person; what is known goes on, unpaid."""
    service = bench.service
    prompts = bench.write(4)
    service.rule("submit", "kill_after", skip=1)
    assert bench.run().code == -9
    service.rules.clear()
    answered = {post.prompt for post in service.ledger.posts if post.status is not None}
    known = {
        bench.rows("prompt", where=f"job = '{job}'")[0][0]
        for (job,) in bench.rows("job", where="task_id IS NOT NULL")
    }
    begun = {
        bench.rows("prompt", where=f"job = '{job}'")[0][0]
        for (job,) in bench.rows("job", where="key IS NOT NULL")
    }

    back = bench.run(env={"TEST_CLOCK_SHIFT_S": "-3600"})

    assert back.code == 3, said(back)
    assert known <= answered
    assert bench.states() == Counter(uncertain=len(begun - known), done=4 - len(begun - known))
    assert begun - known, "something was unclear"
    assert all(len(service.ledger.of(prompt)) <= 1 for prompt in prompts)


def test_a_laptop_that_slept_past_the_window_leaves_the_unclear_to_a_person(bench: Bench) -> None:
    bench.write(1)
    bench.service.rule("submit", "kill_after")
    assert bench.run().code == -9

    ahead = bench.run(env={"TEST_CLOCK_SHIFT_S": "7200"})

    assert ahead.code == 3, said(ahead)
    assert bench.states() == {"uncertain": 1}
    assert len(bench.service.ledger.posts) == 1


def test_few_file_descriptors_are_enough_for_many_jobs(bench: Bench) -> None:
    prompts = bench.write([{"id": f"j{n}"} for n in range(30)], limits={"downloads": 30})
    limited = ("sh", "-c", 'ulimit -n 40; exec "$@"', "limited")

    process = bench.start(wrapper=limited)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 0, stdout + stderr
    assert "limits.downloads is 30, but this process may open only" in stderr
    bench.assert_whole(prompts)


def free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


@pytest.mark.slow
def test_a_database_another_program_keeps_locked_ends_the_run_with_5_and_nothing_is_sent(
    bench: Bench,
) -> None:
    """A browser of databases that was left open in the middle of an edit."""
    prompts = bench.write(1)
    assert bench.run().code == 0
    prompts += bench.write(3)[1:]
    with closing(sqlite3.connect(bench.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = bench.run()
    posts = len(bench.service.ledger.posts)
    after = bench.run()

    assert locked.code == 5, said(locked)
    assert "locked" in locked.stderr
    assert posts == 1
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)
