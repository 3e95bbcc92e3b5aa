"""A process that is held by more than its number, which the kernel gives to another one once it is gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import weakref
from pathlib import Path


class Handle:
    """Signals one process, or nobody.

    Args:
        pid: Its number.
        descriptor: What the kernel calls it for ever (`pidfd_open`), owned from now on; None where there is none.
    """

    def __init__(self, pid: int, descriptor: int | None) -> None:
        self.pid = pid
        self._descriptor = descriptor
        if descriptor is not None:
            weakref.finalize(self, os.close, descriptor)

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> Handle:
        """Return the handle of a child, which keeps its number until somebody has waited for it."""
        return cls(process.pid, opened(process.pid))

    def send(self, number: int) -> None:
        """Send a signal. To a process that is gone it goes nowhere."""
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            else:
                os.kill(self.pid, number)

    def ended(self) -> bool:
        """Say whether it runs no more, waited for or not."""
        if self._descriptor is not None:
            watch = select.poll()
            watch.register(self._descriptor, select.POLLIN)
            return bool(watch.poll(0))
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return stat.rpartition(b") ")[2][:1] in (b"Z", b"X")


def opened(pid: int) -> int | None:
    """Return a descriptor of a process that cannot be gone yet: a child nobody has waited for."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel
        return None
