"""The clocks, in one place, so that tests can bring their own.

Three of them, since each lies in its own way: the wall clock can be set, the monotonic clock stops
while a laptop sleeps, the boot clock starts anew with each boot. All three stand still while the host of a
virtual machine sleeps; the service's clock, which its answers tell, does not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as dt_time
from pathlib import Path
from typing import Protocol

NO_TIME_S = 3e10  # the year 2920: a service that says so is of no use as a clock
MOMENT_S = 2.0  # for so long what an answer has told of the time holds good


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


@dataclass(frozen=True, slots=True)
class _Heard:
    """An answer: its number, when it came by our clocks, and what time it told."""

    number: int
    wall_s: float
    mono_s: float
    boot_s: float | None
    date_s: float | None


class ServiceClock:
    """The service's clock, as far as the answers of this run tell it (`Date`, to the second).

    Nobody expects it to be right: only its differences mean something.
    """

    def __init__(self, clock: Clock) -> None:
        self.moment_s = MOMENT_S
        self._clock = clock
        self._number = 0
        self._last: _Heard | None = None
        self._dated: _Heard | None = None
        self._ended: dict[int, int] = {}

    def heard(self, date_s: float | None) -> None:
        """An answer came; `date_s` is the time it tells, in seconds since 1970."""
        clock = self._clock
        self._number += 1
        self._last = _Heard(self._number, clock.wall_s(), clock.mono_s(), clock.boot_s(), date_s)
        if date_s is not None and 0 <= date_s < NO_TIME_S:
            self._dated = self._last

    def now_s(self) -> float | None:
        """Return the service's time now, as far as our clocks tell how long ago it was told; None if never."""
        heard = self._dated
        if heard is None or heard.date_s is None:
            return None
        boot_s = self._clock.boot_s()
        if boot_s is not None and heard.boot_s is not None:
            return heard.date_s + boot_s - heard.boot_s
        return heard.date_s + self._clock.wall_s() - heard.wall_s

    @property
    def skew_s(self) -> float | None:
        """By how much it was ahead of our wall clock when it was last told; None if never."""
        heard = self._dated
        return None if heard is None or heard.date_s is None else heard.date_s - heard.wall_s

    def ended(self, row: int) -> None:
        """A send of this job has ended in vain: for it, only what is heard from now on counts as known."""
        self._ended[row] = self._number

    def is_known(self, row: int) -> bool:
        """Say whether an answer of the last moment, and since the last send of a job, has told the time.

        Our own clocks cannot say how long ago more than a moment is: they may all have stood still. A service
        that has never told the time has none to tell: any answer shows that.
        """
        heard = self._dated or self._last
        return (
            heard is not None
            and heard.number > self._ended.get(row, 0)
            and self._clock.mono_s() - heard.mono_s <= self.moment_s
        )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When the clock on the wall here shows a time of day; `note` tells where a change of clocks has a part in it."""

    epoch_s: float
    note: str = ""

    def __str__(self) -> str:
        return f"{datetime.fromtimestamp(self.epoch_s).astimezone():%Y-%m-%d %H:%M (%Z)}{self.note}"


def next_time_of_day(hour: int, minute: int, *, now_s: float) -> Moment:
    """Return when it is this late next, by the clocks of that day.

    A time that is skipped when the clocks go forward comes as much later as they do; one that comes twice counts
    when it comes first, if that is still to come.
    """
    today = datetime.fromtimestamp(now_s).date()
    for days in range(3):
        wanted = datetime.combine(today + timedelta(days), dt_time(hour, minute))
        for fold in (0, 1):
            epoch_s = wanted.replace(fold=fold).timestamp()
            if epoch_s > now_s:
                return Moment(epoch_s=epoch_s, note=_note(wanted, epoch_s, fold))
    raise AssertionError("there is such a time on one of three days")


def _note(wanted: datetime, epoch_s: float, fold: int) -> str:
    if datetime.fromtimestamp(epoch_s) != wanted:
        return f"; {wanted:%H:%M} is skipped by the clocks that night"
    if wanted.timestamp() != wanted.replace(fold=1).timestamp():
        return f"; {wanted:%H:%M} comes twice that night, this is the {('first', 'second')[fold]}"
    return ""
