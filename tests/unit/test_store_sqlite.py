"""The state file: made once by whoever comes first, refused when it is not ours, and never half written."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from sqlite_utils import Database

from runner.errors import Exit, RunnerError, StateError, TemporaryTrouble
from runner.model import State
from runner.store import jobs, sqlite, staging
from runner.store.migrations import STEPS, migrations
from runner.store.sqlite import StateFile
from tests import state_file
from tests.state_file import disk_of, kept, put
from tests.world import job, staged

ROOT = Path(__file__).resolve().parents[2]

path, file, impatient = state_file.path, state_file.file, state_file.impatient


def child(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- opening --------------------------------------------------------------------------------------


def test_a_new_file_is_made_with_its_folder_and_says_that_it_is_new(path: Path) -> None:
    first = StateFile.open(path)
    first.close()
    second = StateFile.open(path)
    second.close()

    assert first.created
    assert not second.created
    assert not list(path.parent.glob("*.before-*"))


def test_money_is_written_with_wal_and_full_sync(file: StateFile) -> None:
    pragmas = {
        name: file.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    }
    pragmas["foreign_keys"] = file.conn.execute("PRAGMA foreign_keys").fetchone()[0]

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_every_table_is_strict(file: StateFile) -> None:
    loose = [
        row["name"]
        for row in file.conn.execute(
            "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        )
        if not row["strict"] and not row["name"].startswith(("sqlite_", "_sqlite"))
    ]

    assert loose == []


OPEN = """
import sys
from pathlib import Path
from runner.store.sqlite import StateFile
print("ready", flush=True)
sys.stdin.readline()
file = StateFile.open(Path(sys.argv[1]))
with file.transaction() as conn:
    conn.execute("INSERT INTO rates (account, per_s, found_at) VALUES (?, 1.0, '')", (sys.argv[2],))
file.close()
"""


def test_processes_that_make_one_new_file_at_once_all_succeed(path: Path) -> None:
    started = [child(OPEN, str(path), str(number)) for number in range(4)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate()[1] for process in started]

    assert told == [""] * 4
    assert kept(path) == {"0", "1", "2", "3"}
    assert not list(path.parent.glob("*.before-*"))


def test_threads_that_make_one_new_file_at_once_all_succeed(path: Path) -> None:
    start = threading.Barrier(6)
    troubles: list[BaseException] = []

    def make() -> None:
        try:
            start.wait()
            StateFile.open(path).close()
        except BaseException as exc:
            troubles.append(exc)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert troubles == []


def make_newer(path: Path) -> None:
    StateFile.open(path).close()
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('rivya-batch', '9999_later', '')"
        )


@pytest.mark.parametrize("opened", [StateFile.open, StateFile.open_readonly])
def test_a_file_of_a_newer_program_is_refused_and_left_as_it_is(
    path: Path, opened: Callable[[Path], StateFile]
) -> None:
    make_newer(path)
    before = path.read_bytes()

    with pytest.raises(StateError, match=r"newer rivya-batch .*9999_later") as found:
        opened(path)

    assert found.value.exit_code is Exit.USAGE
    assert found.value.hint
    assert path.read_bytes() == before


def make_older(path: Path, *, before: str) -> None:
    """Write a file as a program did that had no such migration yet."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        migrations().apply(Database(conn), stop_before=before)
        with conn:
            put(conn, "precious")


@contextlib.contextmanager
def an_older_night(path: Path, *, before: str) -> Iterator[sqlite3.Connection]:
    """Such a file, with a manifest in it, to be filled."""
    make_older(path, before=before)
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(
            "INSERT INTO manifests (name, path, base_url, key12, output_dir, created_at, updated_at)"
            " VALUES ('night', 'n.yaml', 'u', 'k', 'out', '', '')"
        )
        yield conn


@pytest.mark.parametrize("later", list(STEPS)[1:])
def test_an_older_file_is_copied_aside_before_it_is_changed(path: Path, later: str) -> None:
    make_older(path, before=later)

    with pytest.raises(StateError, match="older version"):
        StateFile.open_readonly(path)
    StateFile.open(path).close()
    StateFile.open(path).close()

    (copy,) = path.parent.glob("*.before-*")
    assert kept(copy) == kept(path) == {"precious"}
    StateFile.open_readonly(path).close()


def test_a_job_of_an_older_file_that_was_ready_is_planned(path: Path) -> None:
    """It had been refused before it was taken out of its manifest; listed again, it is found to be sent."""
    with an_older_night(path, before="0010_states") as conn:
        conn.execute(
            "INSERT INTO jobs (id, manifest, job, fingerprint, position, origin, state, model, params, shape, output,"
            " created_at, updated_at, listed)"
            " VALUES (1, 'night', 'a', 'f', 1, 'a', 'ready', 'm', '{}', 's', 'o', '', '', 1)"
        )

    with contextlib.closing(StateFile.open(path)) as file:
        (found,) = jobs.page_to_send(file.conn, "night", after=(-1, -1), limit=5)

    assert (found.id, found.state) == ("a", State.PLANNED)


def test_the_prices_and_payments_of_an_older_file_go_on_counting(path: Path) -> None:
    """What was on its way counted until a reservation was named; of a price the last charge was kept."""
    with an_older_night(path, before="0009_prices") as conn:
        conn.executemany(
            "INSERT INTO jobs (id, manifest, job, fingerprint, position, origin, state, model, params, shape, output,"
            " created_at, updated_at) VALUES (?1, 'night', ?2, 'f', ?1, ?2, ?3, 'm', '{}', 's', 'o', '', '')",
            [(1, "a", "waiting"), (2, "b", "abandoned"), (3, "c", "uncertain"), (4, "d", "done")],
        )
        conn.executemany(
            "INSERT INTO ledger (job, manifest, round, model, shape, base_url, state, estimated, basis, probe,"
            " reserved, charged, amount, opened_at, minute) VALUES (?1, 'night', 1, 'm', 's', 'u', ?2, 10, 'listed',"
            " ?3, ?4, ?5, 10, '', 5)",
            [
                (1, "reserved", 0, 10, None),
                (2, "reserved", 0, None, None),
                (3, "reserved", 1, None, None),
                (4, "charged", 0, 10, 10),
            ],
        )
        conn.execute("INSERT INTO prices VALUES ('u', 's', 'm', 10, 12, 3, '')")
        conn.execute("INSERT INTO prices VALUES ('u', 't', 'm', 10, NULL, 1, '')")

    file = StateFile.open(path)

    def rows(sql: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in file.conn.execute(sql)]

    assert rows("SELECT job, named, probe FROM ledger") == [
        (1, 10, 1),
        (2, None, 0),
        (3, None, 1),
        (4, 10, 0),
    ]
    assert rows("SELECT * FROM credits_out") == [("u", "s", "night", 5, "m", 2, 20, 10)]
    assert rows("SELECT shape, reserved, ends, kept FROM prices") == [
        ("s", 10, "[12.0]", 0),
        ("t", 10, "[]", 0),
    ]
    file.conn.execute("UPDATE ledger SET probe = 0 WHERE job = 1")
    assert rows("SELECT payments, amount, named FROM credits_out") == [(1, 10, 0)]
    file.close()


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file\n" * 50, b"SQLite format 3\0" + b"\xff" * 4096, b"\0" * 4096]
)
@pytest.mark.parametrize("opened", [StateFile.open, StateFile.open_readonly])
def test_what_is_no_database_is_refused_and_left_as_it_is(
    path: Path, content: bytes, opened: Callable[[Path], StateFile]
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(StateError):
        opened(path)

    assert path.read_bytes() == content


@pytest.mark.parametrize("opened", [StateFile.open, StateFile.open_readonly])
def test_the_database_of_another_program_is_refused_and_left_as_it_is(
    path: Path, opened: Callable[[Path], StateFile]
) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, taken TEXT)")
        conn.execute("INSERT INTO photos (taken) VALUES ('long ago')")

    with pytest.raises(StateError) as found:
        opened(path)

    assert "--state" in found.value.hint
    with contextlib.closing(sqlite3.connect(path)) as conn:
        assert [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == [
            "photos"
        ]


def test_an_empty_file_is_a_new_database(path: Path) -> None:
    path.parent.mkdir()
    path.touch()

    file = StateFile.open(path)
    with file.transaction() as conn:
        put(conn, "a")
    file.close()

    assert kept(path) == {"a"}


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(StateError):
        StateFile.open(path)


def test_a_file_in_the_place_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(StateError) as found:
        StateFile.open(tmp_path / "state" / "runner.db")

    assert found.value.exit_code is Exit.USAGE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    for parent in [folder, *list(folder.parents)[:3]]:
        parent.chmod(0o755)
    if exists:
        StateFile.open(folder / "runner.db").close()
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom runner.errors import StateError\n"
        "from runner.store.sqlite import StateFile\nos.setuid(65534)\n"
        "try:\n    StateFile.open(Path(sys.argv[1]))\n"
        "except StateError as error:\n    print(int(error.exit_code), bool(error.hint))\n"
    )
    told, trouble = child(program, str(folder / "runner.db")).communicate()

    assert (told, trouble) == ("2 True\n", "")


@pytest.mark.parametrize("name", ["a b.db", "what?.db", "50%.db", "#1.db", "é ü.db", "a&mode=rw.db"])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str) -> None:
    StateFile.open(tmp_path / name).close()
    StateFile.open_readonly(tmp_path / name).close()

    assert (tmp_path / name).stat().st_size > 0


def test_reading_needs_a_file_and_writes_none(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        StateFile.open_readonly(tmp_path / "none.db")

    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(path: Path, file: StateFile) -> None:
    reader = StateFile.open_readonly(path)
    try:
        with pytest.raises(RunnerError), reader.transaction() as conn:
            put(conn, "x")
    finally:
        reader.close()


def test_a_reader_sees_what_is_committed_while_a_run_is_going(path: Path, file: StateFile) -> None:
    reader = StateFile.open_readonly(path)
    try:
        with file.transaction() as conn:
            put(conn, "a")
            assert reader.conn.execute("SELECT count(*) FROM rates").fetchone()[0] == 0
        assert reader.conn.execute("SELECT count(*) FROM rates").fetchone()[0] == 1
    finally:
        reader.close()


# --- locked by another ----------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_file_locked_by_another_program_is_a_temporary_trouble(path: Path) -> None:
    StateFile.open(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        file = StateFile.open(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TemporaryTrouble, match="locked") as found, file.transaction() as conn:
            put(conn, "x")
        other.execute("ROLLBACK")
        with file.transaction() as conn:
            put(conn, "y")
        file.close()

    assert found.value.exit_code is Exit.TEMPORARY
    assert "close the program" in found.value.hint
    assert kept(path) == {"y"}


@pytest.mark.usefixtures("impatient")
def test_a_file_locked_exclusively_cannot_be_opened_now(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryTrouble, match="locked"):
            StateFile.open(path)


def test_two_writers_take_turns_and_lose_nothing(path: Path) -> None:
    StateFile.open(path).close()
    troubles: list[BaseException] = []

    def add() -> None:
        try:
            file = StateFile.open(path)
            for _ in range(25):
                with file.transaction() as conn:
                    read = conn.execute("SELECT coalesce(max(per_s), 0) FROM rates").fetchone()[0]
                    conn.execute(
                        "INSERT INTO rates (account, per_s, found_at) VALUES ('n', ?1, '')"
                        " ON CONFLICT (account) DO UPDATE SET per_s = ?1",
                        (read + 1,),
                    )
                file.checkpoint(force=True)
            file.close()
        except BaseException as exc:
            troubles.append(exc)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert troubles == []
    with contextlib.closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT per_s FROM rates").fetchone()[0] == 75
        assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


# --- transactions, disk full, kill -9 -------------------------------------------------------------


def test_an_error_inside_a_transaction_leaves_nothing(file: StateFile) -> None:
    with pytest.raises(ZeroDivisionError), file.transaction() as conn:
        put(conn, "x")
        raise ZeroDivisionError

    assert file.conn.execute("SELECT count(*) FROM rates").fetchone()[0] == 0
    with file.transaction() as conn:
        put(conn, "y")


def test_a_full_disk_is_a_temporary_trouble_and_loses_nothing_committed(path: Path) -> None:
    file = StateFile.open(path)
    with file.transaction() as conn:
        put(conn, "before")
    with disk_of(20_000, path), pytest.raises(TemporaryTrouble) as found:
        for number in range(100):
            with file.transaction() as conn:
                put(conn, f"{number:02}" + "x" * 3_000)
    survived = kept(path)
    with file.transaction() as conn:
        put(conn, "after")
    file.close()

    assert found.value.exit_code is Exit.TEMPORARY
    assert "free disk space" in found.value.hint
    assert "before" in survived
    assert survived | {"after"} == kept(path)


def test_no_room_for_a_new_file_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with disk_of(8_000, tmp_path / "x"), pytest.raises(TemporaryTrouble) as found:
        StateFile.open(tmp_path / "runner.db")

    assert "free disk space" in found.value.hint
    StateFile.open(tmp_path / "runner.db").close()


WRITE = """
import sys
from pathlib import Path
from runner.store.sqlite import StateFile
file = StateFile.open(Path(sys.argv[1]))
with file.transaction() as conn:
    conn.execute("INSERT INTO rates (account, per_s, found_at) VALUES ('committed', 1.0, '')")
conn = file.conn
conn.execute("BEGIN IMMEDIATE")
conn.execute("INSERT INTO rates (account, per_s, found_at) VALUES ('not committed', 1.0, '')")
print("now", flush=True)
sys.stdin.read()
"""


def test_kill_9_keeps_what_was_committed_and_nothing_else(path: Path) -> None:
    process = child(WRITE, str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()

    file = StateFile.open(path)
    with file.transaction() as conn:
        put(conn, "next")
    file.close()

    assert kept(path) == {"committed", "next"}


def test_a_closed_file_is_one_file(path: Path) -> None:
    file = StateFile.open(path)
    with file.transaction() as conn:
        put(conn, "a")
    file.close()

    assert not path.with_name("runner.db-wal").exists() or not path.with_name("runner.db-wal").stat().st_size


def test_a_log_in_the_file_is_written_over_and_cut_now_and_then(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 10)
    monkeypatch.setattr(sqlite, "LONGEST_PAGES", 20)
    log, sizes = path.with_name("runner.db-wal"), list[int]()
    with closing(StateFile.open(path)) as file:
        file.checkpoint(force=True)
        for number in range(200):
            with file.transaction() as conn:
                put(conn, f"a{number}")
            file.checkpoint()
            sizes.append(log.stat().st_size)
            assert not file.is_replaced
            assert len(kept(path)) == number + 1

    steps = [after - before for before, after in pairwise(sizes)]
    assert max(sizes) < 30 * 4096
    assert steps.count(0) > 100, "most commits make the log no longer"
    assert sizes.count(0) > 3
    assert all(step >= 0 or after == 0 for step, after in zip(steps, sizes[1:], strict=True))


def test_a_checkpoint_waits_while_another_process_commits(path: Path, file: StateFile) -> None:
    """SQLite before 3.51.3 can corrupt a file that is checkpointed while somebody else commits."""
    other = StateFile.open(path)
    with other.transaction() as conn:
        put(conn, "a")
        file.checkpoint(force=True)
        assert path.with_name("runner.db-wal").stat().st_size > 0
    file.checkpoint(force=True)
    assert path.with_name("runner.db-wal").stat().st_size == 0
    other.close()


def test_a_disk_without_a_write_ahead_log_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's dot-file locks stand for a network drive: no shared memory, so no log."""

    def connect(target: str, *, uri: bool) -> sqlite3.Connection:
        return real(f"file:{target}?vfs=unix-dotfile", uri=True)

    real = sqlite._connect
    monkeypatch.setattr(sqlite, "_connect", connect)

    with pytest.raises(StateError, match="write-ahead log") as found:
        StateFile.open(path)

    assert "--state" in (found.value.hint or "")
    assert found.value.exit_code is Exit.USAGE
    assert not path.exists()


def test_a_new_file_and_its_folder_are_on_the_disk_by_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    fsync = os.fsync

    def remember(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", remember)

    StateFile.open(path).close()

    assert {path.parent.stat().st_ino, path.parent.parent.stat().st_ino} <= set(synced)


def test_no_room_for_the_staged_jobs_is_no_fault_of_ours(path: Path) -> None:
    file = StateFile.open(path)
    file.conn.execute("CREATE TEMP TABLE first (a)")
    file.conn.execute("PRAGMA temp.max_page_count = 3")

    with pytest.raises(TemporaryTrouble, match=r"temporary file.* full") as found:
        staging.stage(file.conn, "any", (staged(job(f"job-{number}")) for number in range(1000)))

    assert found.value.hint
    file.close()
