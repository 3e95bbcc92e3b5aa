"""Runs a command and says what it took: wall clock, CPU of all it started, peak memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEY = "rvya_sk_bench_0123456789abcdef"
LIMIT_S = 115.0
_TICK = os.sysconf("SC_CLK_TCK")


class TooLong(RuntimeError):
    """A command was ended because it passed the time it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a command took. `cpu_s` counts its children too; `peak_mb` is its largest process."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    code: int
    out: str


def environment(base_url: str = "http://127.0.0.1:9", **more: str) -> dict[str, str]:
    """Return an environment that knows only the service at `base_url`, and no proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RIVYA_") and not name.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONPATH": str(ROOT), "RIVYA_BASE_URL": base_url, "RIVYA_API_KEY": KEY, **more}


class Command:
    """A command that runs, in a process group of its own; its output goes to a file."""

    def __init__(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, output: Path
    ) -> None:
        self._began = time.monotonic()
        self._output = output
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                [str(part) for part in argv],
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait(self, limit_s: float = LIMIT_S) -> Used:
        """Wait for its end, at most so long from now.

        Raises:
            TooLong: It was killed at the limit.
        """
        deadline = time.monotonic() + limit_s
        pause_s = 0.005
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                os.wait4(self.pid, 0)
                self._process.returncode = -signal.SIGKILL
                raise TooLong(f"ended after {limit_s:.0f} s")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.2, 0.05)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        # Linux counts the peak in kilobytes, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return Used(
            wall_s=time.monotonic() - self._began,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss * unit / 1e6,
            code=self._process.returncode,
            out=self._output.read_text("utf-8", "replace"),
        )

    def signal(self, number: int) -> None:
        """Send a signal to all of its group."""
        os.killpg(self.pid, number)

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def cpu_so_far_s(self) -> float:
        """Return the CPU it has used until now (Linux only)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def resident_mb(self) -> float:
        """Return the memory it holds now (Linux only)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def use(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    limit_s: float = LIMIT_S,
) -> Used:
    """Run a command to its end."""
    return Command(argv, env=env, cwd=cwd, output=cwd / "output.txt").wait(limit_s)


def done(used: Used) -> Used:
    """Return what a command took, if it did its work.

    Raises:
        RuntimeError: It ended with another code than 0; the last of what it said.
    """
    if used.code:
        raise RuntimeError(f"exit {used.code}: {used.out.strip()[-160:]}")
    return used


def runner(*arguments: str | Path) -> list[str | Path]:
    """Return the command line of this project's command."""
    return [sys.executable, "-m", "runner", *arguments]
