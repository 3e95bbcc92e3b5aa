"""Which other tools are measured, how each is started, and why one is left out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.process import environment

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A way to do the same work. `missing` says why it cannot be measured here."""

    name: str
    command: tuple[str, ...]
    shim: bool = False
    note: str = ""
    missing: str = ""

    def argv(self, *, base_url: str, jobs: int, window: int) -> list[str]:
        return [*self.command, base_url, str(jobs), str(window)]

    def environment(self, base_url: str) -> dict[str, str]:
        return environment(base_url)

    def door(self, base_url: str) -> Any:
        """Return a context with the address this tool has to be given."""
        return _shim(base_url) if self.shim else nullcontext(base_url)


def rivals_for(python: str, *, window: int | None) -> list[Rival]:
    """Return all rivals.

    Args:
        python: The interpreter that has the SDKs.
        window: How many jobs at once; GNU parallel needs a process for each.
    """
    return [
        Rival(
            name="careful httpx script",
            command=(sys.executable, str(HERE / "careful_httpx.py")),
            note="poll each second, back-off, key",
        ),
        Rival(
            name="GNU parallel + curl",
            command=("sh", str(HERE / "parallel.sh")),
            note="with a key",
            missing=_lacks("parallel", "curl")
            or ("" if window else "one process for each task at once")
            or ("" if (window or 0) <= 100 else "200 processes at once keep two cores busy for minutes"),
        ),
        Rival(
            name="runwayml SDK",
            command=(python, str(HERE / "runway.py")),
            shim=True,
            note="its own polling, max_retries 30",
            missing=_no_module(python, "runwayml"),
        ),
        Rival(
            name="replicate SDK",
            command=(python, str(HERE / "replicate_sdk.py")),
            shim=True,
            note="its own polling and retries",
            missing=_no_module(python, "replicate"),
        ),
    ]


def _lacks(*names: str) -> str:
    missing = [name for name in names if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed (apt install {' '.join(missing)})" if missing else ""


def _no_module(python: str, name: str) -> str:
    try:
        found = subprocess.run(
            [python, "-c", f"import {name}"], capture_output=True, env=environment(), check=False
        )
    except OSError as exc:
        return f"{python}: {exc.strerror}"
    return "" if found.returncode == 0 else f"{python} has no {name} (pip install {name}; --rivals-python)"


@contextmanager
def _shim(base_url: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.rivals.shim", base_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(base_url),
        cwd=HERE.parents[2],
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["base_url"]
    finally:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
