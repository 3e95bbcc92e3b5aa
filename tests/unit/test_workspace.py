"""Where state is kept, and that one manifest is run by one process at a time, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from runner.cli.output import named_state, state_option
from runner.errors import Exit, RunLocked, UsageError
from runner.host.workspace import ManifestLock, find_workspace, workspace_root

ROOT = Path(__file__).resolve().parents[2]


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest two folders below a workspace."""
    (tmp_path / "space" / "state").mkdir(parents=True)
    folder = tmp_path / "space" / "a" / "b"
    folder.mkdir(parents=True)
    path = folder / "m.yaml"
    path.write_text("version: 1\n", encoding="utf-8")
    return path


def test_the_workspace_is_the_nearest_folder_above_with_a_state_folder(
    manifest: Path, tmp_path: Path
) -> None:
    assert workspace_root(manifest) == tmp_path / "space"

    (manifest.parent / "state").mkdir()

    assert workspace_root(manifest) == manifest.parent


def test_without_a_state_folder_it_is_the_manifests_own(tmp_path: Path) -> None:
    path = tmp_path / "alone" / "m.yaml"
    path.parent.mkdir()
    (path.parent / "state").write_text("a file, not a folder", encoding="utf-8")

    assert workspace_root(path) == path.parent


def test_a_manifest_reached_by_a_symlink_has_the_state_of_its_real_place(
    manifest: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(manifest)

    assert workspace_root(link) == tmp_path / "space"


def test_a_relative_manifest_is_relative_to_where_we_are(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(manifest.parent)

    found = find_workspace(Path("m.yaml"), state=None, sandbox=False)

    assert found.root == tmp_path / "space"
    assert found.database == tmp_path / "space" / "state" / "runner.db"
    assert find_workspace(None, state=None, sandbox=False) == found


def test_another_database_can_be_named(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    for state in ("other.db", str(tmp_path / "other.db"), "~/other.db", "space/../other.db"):
        assert find_workspace(manifest, state=state, sandbox=False).database == tmp_path / "other.db"


def test_the_sandbox_never_touches_the_real_database(manifest: Path, tmp_path: Path) -> None:
    real = tmp_path / "space" / "state" / "runner.db"
    (tmp_path / "link.db").symlink_to(real)

    found = find_workspace(manifest, state=None, sandbox=True)

    assert isinstance(found.database, Path)
    assert (found.database.name, found.service_database.name) == ("sandbox.db", "sandbox-service.db")
    for state in (real, tmp_path / "link.db"):
        with pytest.raises(UsageError, match="for real runs"):
            find_workspace(manifest, state=str(state), sandbox=True)


def test_a_rehearsal_takes_the_database_that_is_typed_and_not_the_one_of_the_environment() -> None:
    @click.command()
    @state_option
    @click.option("--sandbox", is_flag=True)
    def command(state: str | None, sandbox: bool) -> None:
        print(named_state(state, sandbox=sandbox))

    def meant(*typed: str) -> str:
        return CliRunner().invoke(command, typed, env={"RIVYA_STATE": "env.db"}).output.strip()

    assert [meant(), meant("--sandbox"), meant("--sandbox", "--state", "a.db"), meant("--state", "a.db")] == [
        "env.db", "None", "a.db", "a.db"
    ]  # fmt: skip


def test_a_folder_is_no_database(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder"):
        find_workspace(manifest, state=str(tmp_path), sandbox=False)


def test_one_database_under_two_names_is_one_database(manifest: Path, tmp_path: Path) -> None:
    """Else each name would have a lock of its own, and two runs would share one manifest."""
    real = tmp_path / "space" / "state" / "runner.db"
    real.touch()
    link = tmp_path / "link.db"
    link.symlink_to(real)
    (tmp_path / "folder").symlink_to(real.parent)

    for state in (None, str(link), str(tmp_path / "folder" / "runner.db")):
        assert find_workspace(manifest, state=state, sandbox=False).database == real


# --- locks ----------------------------------------------------------------------------------------

HOLD = """
import subprocess, sys, time
from pathlib import Path
from runner.host.workspace import ManifestLock
lock = ManifestLock(Path(sys.argv[1]), "autumn")
lock.acquire(1_700_000_000.0, command="rivya-batch run autumn.yaml")
if len(sys.argv) > 2:
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    print(child.pid, flush=True)
else:
    print("held", flush=True)
sys.stdin.read()
"""

Held = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Held]:
    """Start another process that holds the lock of `autumn`."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "runner.db"), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def locked(database: Path, name: str = "autumn") -> Iterator[ManifestLock]:
    lock = ManifestLock(database, name)
    lock.acquire(0.0, command="test")
    try:
        yield lock
    finally:
        lock.release()


def test_a_second_process_is_told_who_holds_the_manifest_and_since_when(hold: Held, tmp_path: Path) -> None:
    other = hold()
    assert said(other) == "held"

    with pytest.raises(RunLocked) as found:
        ManifestLock(tmp_path / "runner.db", "autumn").acquire(0.0, command="test")

    assert found.value.exit_code is Exit.LOCKED
    assert f"`rivya-batch run autumn.yaml`, process {other.pid} on " in found.value.message
    assert "since 2023-11-14T22:13:20.000Z" in found.value.message


def test_the_kernel_frees_the_lock_of_a_process_that_was_killed(hold: Held, tmp_path: Path) -> None:
    other = hold()
    assert said(other) == "held"

    other.send_signal(signal.SIGKILL)
    other.wait()

    with locked(tmp_path / "runner.db"):
        pass


def test_a_child_that_outlives_its_run_does_not_keep_the_lock(hold: Held, tmp_path: Path) -> None:
    other = hold("with a child")
    child = int(said(other))

    other.send_signal(signal.SIGKILL)
    other.wait()

    os.kill(child, 0)
    try:
        with locked(tmp_path / "runner.db"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        with locked(tmp_path / "state" / "runner.db"), pytest.raises(RunLocked, match="process"):
            ManifestLock(tmp_path / "state" / "runner.db", "autumn").acquire(0.0, command="test")


def test_other_manifests_and_other_databases_are_free(tmp_path: Path) -> None:
    with locked(tmp_path / "a.db"), locked(tmp_path / "a.db", "winter"), locked(tmp_path / "b.db"):
        pass


def test_what_an_earlier_holder_left_behind_locks_nothing(tmp_path: Path) -> None:
    lock = ManifestLock(tmp_path / "runner.db", "autumn")
    lock.path.write_text(
        '{"pid": 1, "host": "here", "since": "now", "command": "x"}' + " " * 5000, encoding="utf-8"
    )

    with locked(tmp_path / "runner.db"):
        assert lock.path.stat().st_size < 1000


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"[]", b'"x"', b'{"pid": 1}', b"{" * 5000])
def test_a_holder_that_cannot_be_read_is_still_a_holder(content: bytes, tmp_path: Path) -> None:
    with locked(tmp_path / "runner.db") as lock:
        lock.path.write_bytes(content)

        with pytest.raises(RunLocked, match="an unknown process"):
            ManifestLock(tmp_path / "runner.db", "autumn").acquire(0.0, command="test")


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be", encoding="utf-8")

    with pytest.raises(UsageError) as found:
        ManifestLock(tmp_path / "state" / "runner.db", "autumn").acquire(0.0, command="test")

    assert found.value.hint


def test_a_lock_whose_owner_cannot_be_written_down_is_given_back(tmp_path: Path) -> None:
    """A full disk: the lock is an error in plain words, and nobody is locked out by it."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from runner.errors import RunnerError\n"
        "from runner.host.workspace import ManifestLock\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n"
        "    ManifestLock(Path(sys.argv[1]), 'autumn').acquire(0.0, command='test')\n"
        "except RunnerError as error:\n"
        "    print(int(error.exit_code), error.hint, flush=True)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "runner.db")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        code, _, hint = said(process).partition(" ")
        assert (int(code), bool(hint)) == (Exit.TEMPORARY, True)
        with locked(tmp_path / "runner.db"):
            pass
    finally:
        process.communicate()
