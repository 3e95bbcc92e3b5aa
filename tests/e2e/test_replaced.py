"""The database is replaced, overwritten or deleted while a run has it open: nothing more is sent, nothing is lost."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.imitation.faults import On
from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.imitation.wire import Request
from tests.support import Command, Outcome

Replace = Callable[[Path, Path], object]
JOBS = 24


def moved_over(backup: Path, database: Path) -> None:
    """As a sync program does it: a new file is written aside, and takes the name."""
    new = database.with_name(".new")
    shutil.copy(backup, new)
    new.rename(database)


def folder_swapped(backup: Path, database: Path) -> None:
    database.parent.rename(database.parent.with_name("state.old"))
    database.parent.mkdir()
    shutil.copy(backup, database)


def folder_copied_over(backup: Path, database: Path) -> None:
    """As a person restores a folder: `cp backup/* state/`."""
    shutil.copyfile(backup, database)
    database.with_name("runner.db-wal").write_bytes(b"")


def run_while_replaced(bench: Bench, backup: Path, replace: Replace) -> Outcome:
    """Run; at the eighth submit the database is replaced."""
    posts: list[str] = []

    def observe(on: On, request: Request) -> None:
        if on is On.SUBMIT:
            posts.append(request.path)
            if len(posts) == 8:
                replace(backup, bench.database)

    bench.service.observer = observe
    stopped = bench.run()
    bench.service.observer = None
    return stopped


@pytest.mark.parametrize(
    "replace",
    [
        moved_over,
        pytest.param(folder_swapped, marks=pytest.mark.slow),
        lambda backup, database: database.unlink(),
        pytest.param(
            lambda backup, database: database.with_name("runner.db-wal").unlink(), marks=pytest.mark.slow
        ),
        pytest.param(
            lambda backup, database: database.with_name("runner.db-shm").unlink(), marks=pytest.mark.slow
        ),
    ],
    ids=["mv", "folder", "rm", "rm log", "rm shm"],
)
def test_a_database_that_is_replaced_under_a_run_pays_for_nothing_twice(
    replace: Replace, command: Command, start_service: StartService
) -> None:
    """The service forgets its keys, so that only our own memory keeps a job from being paid again."""
    bench = Bench(command, start_service(Personality(idempotency="none", task_s=(0.2, 0.4))))
    backup = command.workspace / "backup.db"
    bench.write([{"id": "first"}])
    assert bench.run().code == 0
    shutil.copy(bench.database, backup)
    bench.write([{"id": "first"}, {"id": "second"}])
    assert bench.run().code == 0
    jobs = [{"id": f"j{number}"} for number in range(JOBS)]
    prompts = bench.write([{"id": "first"}, {"id": "second"}, *jobs], limits={"in_flight": 4})
    stopped = run_while_replaced(bench, backup, replace)
    paid = len(bench.service.ledger.payments)
    advice = re.search(r"next: (mv .+?)    ", stopped.stderr)
    assert advice, said(stopped)
    subprocess.run(shlex.split(advice[1]), check=True)
    after = bench.run()

    assert stopped.code == 5, said(stopped)
    assert "under this run" in stopped.stderr
    assert paid < JOBS, "it stopped"
    assert "Traceback" not in said(stopped) + said(after)
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)


@pytest.mark.parametrize(
    "replace",
    [
        pytest.param(shutil.copyfile, marks=pytest.mark.slow),
        folder_copied_over,
        lambda backup, database: database.write_bytes(b"not a database any more"),
        lambda backup, database: database.with_name("runner.db-wal").write_bytes(b""),
    ],
    ids=["cp", "cp with its log", "garbage", "log cut"],
)
def test_where_the_file_was_overwritten_in_its_place_nothing_is_paid_again_unasked(
    replace: Replace, command: Command, start_service: StartService
) -> None:
    """What was in it may be gone for good, whoever had it open: then a person decides."""
    bench = Bench(command, start_service(Personality(idempotency="none", task_s=(0.2, 0.4))))
    backup = command.workspace / "backup.db"
    bench.write([{"id": "first"}])
    assert bench.run().code == 0
    shutil.copy(bench.database, backup)
    bench.write([{"id": "first"}, {"id": "second"}])
    assert bench.run().code == 0
    bench.write([{"id": f"j{number}"} for number in range(JOBS)])
    bench.service.become(task_s=(600.0, 600.0))  # nothing lies on the disk that would tell of a payment
    stopped = run_while_replaced(bench, backup, replace)
    paid = len(bench.service.ledger.payments)
    bench.service.become(task_s=(0.0, 0.0))
    for task in bench.service.tasks.values():
        task.ends = 0.0
    move = re.search(r"next: (mv .+?)    ", stopped.stderr)
    again = bench.run()
    if move:
        subprocess.run(shlex.split(move[1]), check=True)
    elif again.code == 2:
        shutil.copy(backup, bench.database)
        bench.database.with_name("runner.db-wal").unlink(missing_ok=True)
        again = bench.run()

    assert stopped.code == 5, said(stopped)
    assert "under this run" in stopped.stderr
    assert "put back the newest copy" in stopped.stderr or move
    assert again.code == 2, said(again)
    assert len(bench.service.ledger.payments) == paid
    if move:
        assert bench.run().code == 0
    assert all(len(bench.service.ledger.of(f"prompt of j{number}")) <= 1 for number in range(JOBS))
