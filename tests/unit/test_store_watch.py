"""Whether the file is still the one that others will find: seen at once when it is not, and never seen for nothing."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from runner.errors import Exit, RunnerError, TemporaryTrouble
from runner.store.sqlite import StateFile
from runner.store.writer import GroupWriter
from tests import state_file
from tests.state_file import kept, put
from tests.world import apply, bind, job

ROOT = Path(__file__).resolve().parents[2]

path = state_file.path


@pytest.fixture
def file(path: Path) -> Iterator[StateFile]:
    """A database that a run has open, and an older copy of it as `backup` in its folder's parent."""
    opened = StateFile.open(path)
    bind(opened)
    with opened.transaction() as conn:
        put(conn, "before")
    opened.checkpoint(force=True)
    shell(path, "cp runner.db ../backup")
    apply(opened, *(job(f"j{number}") for number in range(200)))
    opened.checkpoint(force=True)
    with opened.transaction() as conn:
        put(conn, "in the log")
    assert opened.replaced is None
    yield opened
    opened.close()


def shell(path: Path, command: str) -> None:
    """Do something to the files, in another process: to open and close them in ours would drop SQLite's locks."""
    subprocess.run(command, shell=True, check=True, cwd=path.parent)


MOVED = "cp ../backup new && mv new runner.db"
COPIED = "cp ../backup runner.db"


@pytest.mark.parametrize(
    ("change", "told", "whole"),
    [
        (MOVED, "another file is in the place of runner.db", True),
        ("rm runner.db", "runner.db was removed", True),
        ("mv ../state ../moved", "runner.db was removed", True),
        (COPIED, "runner.db was overwritten", None),
        (": > runner.db", "runner.db was overwritten", None),
        ("head -c 8192 /dev/zero > runner.db", "runner.db was overwritten", None),
        ("rm runner.db-wal", "runner.db-wal was removed", True),
        (
            "cp runner.db-wal new && mv new runner.db-wal",
            "another file is in the place of runner.db-wal",
            True,
        ),
        ("truncate -s 32 runner.db-wal", "runner.db-wal was cut", None),
        (
            "size=$(wc -c < runner.db-wal); truncate -s 0 runner.db-wal; truncate -s $size runner.db-wal",
            "runner.db-wal was cut",
            None,
        ),
        ("rm runner.db-shm", "runner.db-shm was removed", True),
    ],
)
def test_nothing_is_sent_once_the_file_is_another_one(
    file: StateFile, path: Path, change: str, told: str, whole: bool | None
) -> None:
    with file.transaction() as conn:
        put(conn, "known")
    shell(path, change)
    seen: list[int] = []

    async def write_three() -> tuple[object, ...]:
        writer = GroupWriter(file)
        async with anyio.create_task_group() as group:
            group.start_soon(writer.serve)
            errors: list[RunnerError | None] = []
            for number, to_send in enumerate((True, False, True)):
                try:
                    await writer.write(lambda conn, number=number: seen.append(number), to_send=to_send)  # type: ignore[misc]
                    errors.append(None)
                except RunnerError as exc:
                    errors.append(exc)
            group.cancel_scope.cancel()
        return tuple(errors)

    first, record, last = anyio.run(write_three)

    assert isinstance(first, TemporaryTrouble)
    assert isinstance(last, TemporaryTrouble)
    assert told in first.message
    assert first.exit_code is Exit.TEMPORARY
    assert file.rescued is not None
    assert 0 not in seen, "nothing was done on whose strength something would be sent"
    if whole is not None:
        assert record is None, "what has come of earlier sends is recorded"
        assert file.rescued_whole
        assert f"mv {file.rescued} {path}" in first.hint
        file.close()
        assert {"before", "in the log", "known"} <= kept(file.rescued)
    else:
        file.close()
        assert file.rescued_whole == file.rescued.exists()
        beside = {item.name.removeprefix(file.rescued.name) for item in path.parent.glob("*.rescued-*")}
        assert beside == ({""} if file.rescued_whole else {".tasks", "-wal"})
    assert not list(path.parent.glob("*.new*"))


@pytest.mark.parametrize("change", [MOVED, COPIED])
def test_the_file_that_was_put_there_is_not_spoilt_by_our_log(
    file: StateFile, path: Path, change: str
) -> None:
    """SQLite would take up whatever log lies beside a file, or move its own into it at the end."""
    shell(path, change)
    with file.transaction() as conn:
        put(conn, "after")

    file.close()

    log = path.with_name("runner.db-wal")
    assert not log.exists() or not log.stat().st_size
    assert path.read_bytes() == (path.parent.parent / "backup").read_bytes()
    assert kept(path) == {"before"}


def test_a_log_that_was_removed_is_in_the_file_again_at_the_end(file: StateFile, path: Path) -> None:
    shell(path, "rm runner.db-wal")
    with file.transaction() as conn:
        put(conn, "after")

    file.close()

    assert kept(path) == {"before", "in the log", "after"}


def test_what_two_runs_readers_and_checkpoints_do_is_no_replacement(file: StateFile, path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom runner.store.sqlite import StateFile\n"
        "from tests.state_file import put\n"
        "file = StateFile.open(Path(sys.argv[1]))\n"
        "for n in range(60):\n"
        "    with file.transaction() as conn:\n        put(conn, f'other {n}')\n"
        "    file.checkpoint(force=True)\n"
        "assert file.replaced is None, file.replaced\nfile.close()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT)
    number = 0
    while other.poll() is None or number < 60:
        with file.transaction() as conn:
            put(conn, f"ours {number}")
        file.checkpoint(force=number % 3 == 0)
        reader = StateFile.open_readonly(path)
        reader.conn.execute("SELECT count(*) FROM rates").fetchone()
        reader.close()
        assert file.replaced is None
        number += 1

    assert other.returncode == 0
    assert len(kept(path)) == 60 + number + 2


def test_a_program_that_looks_or_writes_by_hand_is_no_replacement(file: StateFile, path: Path) -> None:
    """A database browser, a person at `sqlite3`, a backup: also where they move the log into the file."""
    for sql in (
        "SELECT 1 FROM jobs",
        "UPDATE jobs SET position = position + 1",
        "PRAGMA wal_checkpoint(PASSIVE)",
    ):
        with contextlib.closing(sqlite3.connect(path)) as conn, conn:
            conn.execute(sql).fetchall()
        with file.transaction() as own:
            put(own, sql)
        assert file.replaced is None
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("VACUUM INTO ?", (str(path.parent / "copy"),))
    shell(path, "touch runner.db && chmod 600 runner.db")
    with file.transaction() as own:
        put(own, "last")

    assert file.replaced is None


def test_looking_costs_next_to_nothing(file: StateFile) -> None:
    """Each commit of an intent looks: it must not be felt beside the commit itself (tenths of a millisecond)."""
    assert file._watch is not None
    began = time.process_time()
    for _ in range(1000):
        assert file._watch.look() is None
    took_s = time.process_time() - began

    print(f"{took_s * 1000:.1f} us for a look")
    assert took_s < 0.2
