"""The clocks, in one place, so that tests can bring their own.

Three of them, since each lies in its own way: the wall clock can be set, the monotonic clock stops
while a laptop sleeps, the boot clock starts anew with each boot.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What the runner needs to know of time."""

    def wall_s(self) -> float:
        """Return seconds since 1970, UTC."""
        ...

    def mono_s(self) -> float:
        """Return seconds of a clock nobody can set; only differences mean something."""
        ...

    def boot_s(self) -> float | None:
        """Return seconds since boot, sleep included; None where the system has no such clock."""
        ...

    def boot_id(self) -> str | None:
        """Return a name of this boot; None where the system gives none."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._boot_id = _read_boot_id()

    def wall_s(self) -> float:
        """Return seconds since 1970, UTC."""
        return time.time()

    def mono_s(self) -> float:
        """Return seconds of `time.monotonic`."""
        return time.monotonic()

    def boot_s(self) -> float | None:
        """Return CLOCK_BOOTTIME (Linux); None elsewhere."""
        clock_id = getattr(time, "CLOCK_BOOTTIME", None)
        return time.clock_gettime(clock_id) if clock_id is not None else None

    def boot_id(self) -> str | None:
        """Return the kernel's name of this boot."""
        return self._boot_id


def _read_boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def rfc3339(epoch_s: float) -> str:
    """Return a time as text that sorts: `2026-11-22T18:44:07.123Z`."""
    return f"{datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def epoch(text: str | None) -> float | None:
    """Return seconds since 1970 of an RFC 3339 time; None for anything else."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
