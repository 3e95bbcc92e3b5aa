"""Starting the command without importing it each time.

A helper process imports the package once and forks for each invocation: still a process of its own, with its
own pid, pipes, folder, environment and signals, that can be killed like any other; only the four tenths of a
CPU second that Python's imports take are saved. Tests that want a cold start, another PYTHONPATH or a wrapper
take the ordinary way (`tests.support.Command`).

Three variables change the time that a process lives in which is started here, and nothing else:

    TEST_CLOCK_SHIFT_S   its wall clock is wrong by so many seconds
    TEST_CLOCK_SPEED     its monotonic clock runs so many times as fast, so that its waits are as much shorter
    TEST_STALL_S         so long may one of several runs be unseen before it is shut out
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.processes import Handle, opened

ROOT = Path(__file__).resolve().parents[1]
ALSO = (
    "aiohttp",
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpx",
    "httpx_aiohttp",
    "jsonschema",
    "referencing.jsonschema",
    "rich.console",
    "sqlite_utils.migrations",
)
SHIFT, SPEED, STALL = "TEST_CLOCK_SHIFT_S", "TEST_CLOCK_SPEED", "TEST_STALL_S"
SIZE = struct.Struct("!I")


class WarmProcess:
    """The part of `subprocess.Popen` that tests use."""

    def __init__(self, handle: Handle, pipes: Sequence[IO[str]], control: socket.socket) -> None:
        self.handle = handle
        self.pid = handle.pid
        self.stdin: IO[str] | None
        self.stdout: IO[str] | None
        self.stderr: IO[str] | None
        self.stdin, self.stdout, self.stderr = pipes
        self.returncode: int | None = None
        self._control = control
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(timeout=0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end: the exit code, or minus the number of the signal."""
        with self._lock:
            if self.returncode is None:
                self._control.settimeout(timeout if timeout is None else max(timeout, 0.000_001))
                try:
                    status = self._control.recv(SIZE.size, socket.MSG_WAITALL)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired("rivya-batch", timeout or 0) from None
                self._control.close()
                code = SIZE.unpack(status)[0] if status else 1
                self.returncode = os.waitstatus_to_exitcode(code)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended: its keeper may have waited for it without our knowing yet."""
        self.handle.send(number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their ends, then wait."""
        said = ["", ""]

        def read(number: int, pipe: IO[str] | None) -> None:
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(ValueError, OSError):
                    said[number] = pipe.read()

        readers = [
            threading.Thread(target=read, args=(number, pipe), daemon=True)
            for number, pipe in enumerate((self.stdout, self.stderr))
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(input or "")
                self.stdin.close()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired("rivya-batch", timeout or 0)
        self.wait(timeout)
        return said[0], said[1]


class WarmStart:
    """The helper process. `start` is the twin of `subprocess.Popen` for the command's arguments."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=dict(environment),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()

    def start(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> WarmProcess:
        """Start the command."""
        stdin, in_write = os.pipe()
        out_read, stdout = os.pipe()
        err_read, stderr = os.pipe()
        control, theirs = socket.socketpair()
        order = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}).encode()
        fds = array.array("i", [stdin, stdout, stderr, theirs.fileno()])
        # The order itself goes by the control socket: it may be long.
        self._door.sendmsg([b"go"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        for number in (stdin, stdout, stderr):
            os.close(number)
        theirs.close()
        control.sendall(SIZE.pack(len(order)) + order)
        answer, handles, _, _ = socket.recv_fds(control, SIZE.size, 1, socket.MSG_WAITALL)
        (pid,) = SIZE.unpack(answer)
        pipes = [
            open(number, mode, encoding="utf-8")  # noqa: SIM115, PTH123
            for number, mode in ((in_write, "w"), (out_read, "r"), (err_read, "r"))
        ]
        return WarmProcess(Handle(pid, handles[0] if handles else None), pipes, control)

    def close(self) -> None:
        """End the helper; what it has started goes on."""
        self._door.close()
        self._process.wait(timeout=30)


# --- in the helper ----------------------------------------------------------------------------------


def main(door: socket.socket) -> None:
    """Import, then fork for each order until the door is shut."""
    import runner

    for module in pkgutil.walk_packages(runner.__path__, "runner."):
        if not module.name.startswith("runner.sandbox") and not module.name.endswith("__main__"):
            with contextlib.suppress(
                ModuleNotFoundError
            ):  # what it wants is an extra: it is imported where it is used
                importlib.import_module(module.name)
    for name in ALSO:
        importlib.import_module(name)
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    while True:
        _, found, _, _ = door.recvmsg(16, socket.CMSG_SPACE(4 * 4))
        if not found:
            return
        fds = array.array("i", found[0][2])
        # One keeper for each invocation waits for its end; an orphan of ours is nobody's business.
        if os.fork() == 0:
            keep(fds, door)
        for number in fds:
            os.close(number)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def keep(fds: Sequence[int], door: socket.socket) -> None:
    """Fork the command itself, say its pid, wait for its end and say that."""
    door.close()
    stdin, stdout, stderr, control = fds
    line = socket.socket(fileno=control)
    (size,) = SIZE.unpack(line.recv(SIZE.size, socket.MSG_WAITALL))
    order = json.loads(line.recv(size, socket.MSG_WAITALL))
    pid = os.fork()
    if pid == 0:
        line.close()
        become(order, stdin, stdout, stderr)
    for number in (stdin, stdout, stderr):
        os.close(number)
    # Opened before anybody can have waited for it: the number alone may soon be another process's.
    descriptor = opened(pid)
    socket.send_fds(line, [SIZE.pack(pid)], [] if descriptor is None else [descriptor])
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        line.sendall(SIZE.pack(status))
    os._exit(0)


def become(order: Mapping[str, Any], stdin: int, stdout: int, stderr: int) -> None:
    """Be the command, as if it had just been started."""
    os.setsid()
    for number, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(number, target)
        os.close(number)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    for name, number, mode, buffering in (
        ("stdin", 0, "r", -1),
        ("stdout", 1, "w", -1),
        ("stderr", 2, "w", 1),
    ):
        stream = open(number, mode, buffering, encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["rivya-batch", *order["arguments"]]
    bend_clocks(float(order["env"].get(SHIFT, 0)), float(order["env"].get(SPEED, 1)))
    if STALL in order["env"]:
        from runner.store import workers

        workers.STALL_S = float(order["env"][STALL])
    from runner.cli import main as command

    code: object = 1
    try:
        command()
    except SystemExit as exc:
        code = exc.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def bend_clocks(shift_s: float, speed: float) -> None:
    """Let this process live in another time: what the system's clocks say to it is changed, no code of ours."""
    wall, monotonic, select = time.time, time.monotonic, selectors.DefaultSelector.select
    if shift_s:
        time.time = lambda: wall() + shift_s
    if speed != 1:
        began = monotonic()

        def hurried(self: Any, timeout: float | None = None) -> Any:
            return select(self, timeout / speed if timeout else timeout)

        time.monotonic = lambda: began + (monotonic() - began) * speed
        selectors.DefaultSelector.select = hurried  # type: ignore[method-assign]


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
