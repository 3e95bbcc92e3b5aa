"""The bundled sandbox as a child process of a run: it dies with us, whatever kills us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from runner.errors import RunnerError, UsageError

REFUSES_ITS_OPTIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox."""

    base_url: str
    pid: int


@dataclass(slots=True, kw_only=True)
class _Child:
    """The process of a sandbox, and how many runs of ours use it."""

    process: subprocess.Popen[str]
    arguments: tuple[str, ...]
    sandbox: Sandbox
    runs: int = 0


_children: dict[
    Path, _Child
] = {}  # by their state: one sandbox has it, so runs at the same time share that one
_changing = threading.Lock()


@contextmanager
def sandbox_child(state: Path, arguments: Sequence[str] = ()) -> Iterator[Sandbox]:
    """Start the sandbox on loopback and stop it at the end of the block, or at that of the last run that uses it.

    Its standard input is a pipe of ours: when we die, even by kill -9, it reads the end and goes.

    Raises:
        RunnerError: It does not start; with its own words.
    """
    with _changing:
        child = _children.get(state)
        if child is None or child.process.poll() is not None:
            child = _children[state] = _start(state, tuple(arguments))
        elif child.arguments != tuple(arguments):
            raise UsageError(
                "another run of this process uses the sandbox with other options",
                hint="give both the same options",
            )
        child.runs += 1
    try:
        # The block is outside every `except` here: what fails in the run is not the sandbox's fault.
        yield child.sandbox
    finally:
        with _changing:
            child.runs -= 1
            if not child.runs:
                if _children.get(state) is child:
                    del _children[state]
                _stop(child.process)


def _start(state: Path, arguments: tuple[str, ...]) -> _Child:
    state.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "runner.sandbox", "--state", str(state), "--die-with-stdin", *arguments]
    # A session of its own: Ctrl-C in the terminal is for the run, which wants to drain first.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # It asks nobody anything, so it needs no account.
        env={name: value for name, value in os.environ.items() if not name.startswith("RIVYA_")},
    )
    try:
        sandbox = Sandbox(base_url=_address(process), pid=process.pid)
    except BaseException:
        _stop(process)
        raise
    return _Child(process=process, arguments=arguments, sandbox=sandbox)


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    with suppress(OSError):
        process.stdin.close()
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    process.stderr.close()


def _address(process: subprocess.Popen[str]) -> str:
    """Return the address the child says it listens on."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    try:
        return str(json.loads(line)["base_url"])
    except (ValueError, KeyError, TypeError):
        process.kill()
        said = process.stderr.read().strip()
        if process.wait() == REFUSES_ITS_OPTIONS:
            words = said.splitlines()[-1].rpartition("error: ")[2] if said else line
            raise UsageError(
                f"the sandbox rejects its options: {words}", hint="see `rivya-batch sandbox --help`"
            ) from None
        raise RunnerError(f"the sandbox does not start: {said[-2000:] or line}") from None
