"""`--help` and `--version` answer at once: they load nothing heavy. No clock is needed to see that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner import __version__
from runner.store.sqlite import StateFile
from tests.support import Command, clean_environment

HEAVY = (
    "anyio",
    "asyncio",
    "httpx",
    "aiohttp",
    "jsonschema",
    "rich",
    "sqlite3",
    "sqlite_utils",
    "starlette",
    "uvicorn",
    "yaml",
)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_nothing_heavy_is_loaded(option: str) -> None:
    look = (
        "import sys; from runner.cli import invoke; code = invoke([sys.argv[1]]); "
        "print(code, *sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)"
    )

    told = subprocess.run(
        [sys.executable, "-c", look, option],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    code, *loaded = told.stderr.split()
    assert code == "0"
    assert "click" in loaded
    assert not set(HEAVY) & set(loaded)


def test_a_plan_without_a_key_loads_nothing_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "version: 1\nname: m\nmodel: grok-imagine-video\njobs:\n  - {id: a, prompt: one}\n"
    )
    look = (
        "import atexit, sys; from runner.cli import main; "
        "atexit.register(lambda: print(*sorted(name for name in sys.modules if '.' not in name))); "
        "main(['plan', 'm.yaml'])"
    )

    told = subprocess.run(
        [sys.executable, "-c", look],
        env=clean_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "1 new" in told.stdout
    assert not {"anyio", "asyncio", "httpx", "aiohttp", "ssl", "rich"} & set(told.stdout.split())


def test_a_run_does_not_load_the_command_line_of_httpx() -> None:
    look = (
        "import atexit, sys; from runner.cli import main; "
        "atexit.register(lambda: print(*sorted(name for name in sys.modules if '.' not in name))); "
        "main(['run', 'nothing.yaml'])"
    )

    told = subprocess.run(
        [sys.executable, "-c", look], env=clean_environment(), capture_output=True, text=True, check=False
    )

    loaded = set(told.stdout.split())
    assert (told.returncode, "httpx" in loaded) == (2, True)
    assert not {"rich", "pygments"} & loaded


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["plan", "manifests/01-first-steps.yaml", "--sandbox"], False),
        (["status", "--sandbox"], True),
        (["credits", "--sandbox"], True),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else None,
)
def test_who_starts_a_run_does_not_wait_for_what_lists_and_reports(
    arguments: list[str], wanted: bool, examples: Path
) -> None:
    look = (
        "import atexit, sys; from runner.cli import main; "
        "atexit.register(lambda: print('sqlite_utils' in sys.modules, file=sys.stderr)); "
        f"main({arguments!r})"
    )
    StateFile.open(examples.parent.resolve() / "state" / "sandbox.db").close()

    told = subprocess.run(
        [sys.executable, "-c", look],
        cwd=examples.parent,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stderr.splitlines()[-1] == str(wanted)


def test_where_there_are_no_locks_of_files_one_line_says_where_it_runs() -> None:
    """On Windows: a traceback of an import until now."""
    there = "import sys; sys.modules |= dict.fromkeys(('fcntl', 'resource', 'termios', 'pwd', 'grp')); "

    for start in (
        "from runner.cli import main; main(['run', 'x.yaml'])",
        "import runner.__main__ as m; m.main()",
    ):
        told = subprocess.run(
            [sys.executable, "-c", there + start],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr == "rivya-batch runs on Linux and macOS; on Windows, use it inside WSL\n"


def test_the_version_is_said_on_stdout(command: Command) -> None:
    outcome = command("--version")

    assert (outcome.code, outcome.stderr) == (0, "")
    assert __version__ in outcome.stdout


def test_an_unknown_command_is_bad_usage_and_suggests_the_right_one(command: Command) -> None:
    outcome = command("pln")

    assert outcome.code == 2
    assert outcome.stdout == ""
    assert "plan" in outcome.stderr
