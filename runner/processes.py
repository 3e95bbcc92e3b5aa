"""Whether another process of this machine still lives."""

from __future__ import annotations

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Say whether a process lives; one that is dead and not yet buried does not."""
    return _is_process(pid) if Path("/proc/self").exists() else _answers(pid)


def _is_process(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # Its name may hold anything, `)` too.
    return text.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
