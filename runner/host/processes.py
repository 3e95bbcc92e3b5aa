"""How another process of this machine is: whether it still lives, whether it was stopped (Ctrl-Z)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Say whether a process lives; one that is dead and not yet buried does not."""
    return _is_process(pid) if Path("/proc/self").exists() else _answers(pid)


def is_stopped(pid: int) -> bool:
    """Say whether a process stands still until somebody continues it: Ctrl-Z, SIGSTOP, a debugger."""
    state = _state(pid) if Path("/proc/self").exists() else _told_by_ps(pid)
    return state[:1] in ("T", "t")


def _is_process(pid: int) -> bool:
    return _state(pid)[:1] not in ("", "Z", "X")


def _state(pid: int) -> str:
    """Return the letter the kernel has for the state of a process; nothing for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # Its name may hold anything, `)` too.
    return "".join(text.rpartition(")")[2].split()[:1])


def _told_by_ps(pid: int) -> str:
    try:
        found = subprocess.run(
            ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
