"""The two programs that end-to-end tests look at from outside: the sandbox and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.warm import SHIFT, SPEED, STALL, WarmProcess, WarmStart

Process = subprocess.Popen[str] | WarmProcess
ROOT = Path(__file__).resolve().parents[1]
KEY = "rvya_sk_test_0123456789abcdef"
# The same run, five times as fast: the command's waits, and the tasks of the sandbox it starts.
HURRIED = {SPEED: "5"}
HURRIED_TASKS = ("--sandbox-options", "--duration 0.1:0.4")


def programme() -> list[str]:
    """Return how to start the command: the installed script, else the package in this checkout."""
    script = Path(sys.executable).with_name("rivya-batch")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "runner"]


def clean_environment(**more: str) -> dict[str, str]:
    """Return an environment that knows no account, with `more` on top."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RIVYA_") and name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}
    }
    return {**kept, "PYTHONPATH": str(ROOT), **more}


@dataclass(slots=True, kw_only=True)
class Sandbox:
    """A sandbox in a child process, and the levers of its control endpoint."""

    process: subprocess.Popen[str]
    base_url: str
    state: Path
    key: str = KEY
    http: httpx.Client

    @classmethod
    def start(cls, *flags: str, state: Path) -> Sandbox:
        """Start one and wait until it listens; its first line says where."""
        process = subprocess.Popen(
            [sys.executable, "-m", "runner.sandbox", "--state", str(state), "--die-with-stdin", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the sandbox ended with {process.wait(timeout=10)} before it listened"
        base_url = json.loads(line)["base_url"]
        http = httpx.Client(base_url=base_url, timeout=30, trust_env=False)
        return cls(process=process, base_url=base_url, state=state, http=http)

    def ledger(self) -> dict[str, Any]:
        """Return what it really charged, and for which keys."""
        return self._control("GET", "ledger")

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Add fault rules: `{"on": "submit", "do": "drop_after", "times": 1}`."""
        self._control("POST", "faults", list(rules))

    def advance(self, seconds: float) -> None:
        """Let its clock jump ahead."""
        self._control("POST", "advance", {"seconds": seconds})

    def topup(self, credits: float) -> None:
        self._control("POST", "topup", {"credits": credits})

    def close(self) -> None:
        """Stop it; the end of its input is enough."""
        self.http.close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _control(self, method: str, what: str, body: object = None) -> dict[str, Any]:
        answer = self.http.request(method, f"/_sandbox/{what}", json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one invocation of the command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass(slots=True, kw_only=True)
class Command:
    """The installed command, run in a workspace. Call it, or `start` it and talk to the process."""

    workspace: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[Process] = field(default_factory=list)
    warm: WarmStart | None = None  # starts it without importing it anew, where nothing speaks against that

    def use(self, sandbox: Sandbox) -> None:
        """Make this sandbox the service of all later invocations."""
        self.environment |= {"RIVYA_BASE_URL": sandbox.base_url, "RIVYA_API_KEY": sandbox.key}

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
        timeout_s: float = 60.0,
    ) -> Outcome:
        """Run it to its end, without a terminal."""
        process = self.start(*arguments, env=env, cwd=cwd)
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            msg = f"{arguments} did not end within {timeout_s} s\n{stdout}\n{stderr}"
            raise AssertionError(msg) from None
        return Outcome(code=process.returncode, stdout=stdout, stderr=stderr)

    def start(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        wrapper: Sequence[str] = (),
    ) -> Process:
        """Start it, behind `wrapper` if given; it is killed when the test ends."""
        environment = {**self.environment, **(env or {})}
        if (
            self.warm is not None
            and not wrapper
            and not any(name.startswith("PYTHON") for name in environment)
        ):
            warm = self.warm.start(
                list(map(str, arguments)), cwd=cwd or self.workspace, env=clean_environment(**environment)
            )
            self.started.append(warm)
            return warm
        assert not {SHIFT, SPEED, STALL} & environment.keys(), "only a warm start can bend its clocks"
        process = subprocess.Popen(
            [*wrapper, *programme(), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=cwd or self.workspace,
            env=clean_environment(**environment),
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def write(self, name: str, text: str) -> Path:
        """Write a file of the workspace and return its path."""
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def close(self) -> None:
        """End what is still running and close its pipes."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def until_said(process: Process, words: str, within_s: float = 60.0) -> str:
    """Wait until a command says this on stderr; return all that it has said there by then, which is read."""
    assert process.stderr is not None
    lines: list[str] = []

    def read() -> None:
        for line in process.stderr or ():
            lines.append(line)
            if words in line:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(within_s)
    said = "".join(lines)
    assert words in said, f"it did not say {words!r}, but:\n{said}"
    return said


def wait_for(what: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until something that another process does is so, and fail where it takes too long."""
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)
