"""What all tests share: the backend of async tests, the sandbox as a child process, the installed command."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import databases
from tests.databases import each_database  # noqa: F401 (a fixture)
from tests.support import Command, Sandbox

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--crash-rounds", type=int, default=0, help="kills in each crash test; 0 means its own short number"
    )


def pytest_configure() -> None:
    """A shell ignores Ctrl-C for what it starts with `&`, `nohup` the hang-up, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


WAITING = ("crash", "e2e", "contract")  # folders whose tests mostly wait for processes of their own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files of tests that wait evenly among those that reckon: the cores have something to do all the time."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [path for path in files if path.parent.name in WAITING]
    others = [path for path in files if path.parent.name not in WAITING]
    place = {path: at / len(part) for part in (waiting, others) for at, path in enumerate(part)}
    items[:] = [item for path in sorted(files, key=place.__getitem__) for item in files[path]]


def pytest_collection_finish() -> None:
    """What was collected and imported stays to the end: the garbage collector need not look at it with each test."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    databases.close_all()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes share the tests: two more than there are cores, since many tests wait for something.

    None for a person who looks at a few of them: named files or tests, `-k`, `-s`, `--pdb`. `-n 3` says otherwise.
    """
    named = [argument for argument in config.args if ".py" in argument]
    if named or config.option.keyword or config.option.capture == "no" or config.option.usepdb:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8) + 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can reach a real account, whatever the shell that started it knows."""
    for name in [name for name in os.environ if name.startswith("RIVYA_")]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def start_sandbox(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Start sandboxes with flags of their own: `start_sandbox("--rate", "20")`. All stop with the test."""
    running: list[Sandbox] = []

    def start(*flags: str, state: Path | None = None) -> Sandbox:
        sandbox = Sandbox.start(*flags, state=state or tmp_path / f"sandbox-{len(running)}.db")
        running.append(sandbox)
        return sandbox

    yield start
    for sandbox in running:
        sandbox.close()


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """One sandbox that answers at once: tasks take a twentieth of a second."""
    return start_sandbox("--duration", "0.05:0.05")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with a `state/` in it, as a user's workspace has."""
    folder = tmp_path / "workspace"
    (folder / "state").mkdir(parents=True)
    return folder


@pytest.fixture
def command(workspace: Path) -> Iterator[Command]:
    """The installed command in a workspace of its own, without any account: `command("plan", "a.yaml")`.

    `command.use(sandbox)` gives it that sandbox as its service.
    """
    command = Command(workspace=workspace)
    yield command
    command.close()


@pytest.fixture
def examples(workspace: Path) -> Path:
    """A copy of manifests/ in the workspace, to run and to change."""
    copy = workspace / "manifests"
    shutil.copytree(ROOT / "manifests", copy, ignore=shutil.ignore_patterns("out"))
    return copy
