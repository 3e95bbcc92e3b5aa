"""The clocks, in one place, so that tests can bring their own.

Three of them, since each lies in its own way: the wall clock can be set, the monotonic clock stops
while a laptop sleeps, the boot clock starts anew with each boot. All three stand still while the host of a
virtual machine sleeps; the service's clock, which its answers tell, does not.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as dt_time
from functools import lru_cache
from pathlib import Path
from typing import Protocol

NO_TIME_S = 3e10  # the year 2920: a service that says so is of no use as a clock
MOMENT_S = 2.0  # for so long what an answer has told of the time holds good
WITNESSES = 3  # so many answers tell it: the clock of any one may have stood still as ours did
IN_VAIN = 5  # questions that are answered without the time: it will not be told any more
RECENT_S = 600.0  # whoever answers for a service has answered once in that time
TOLD_TO_S = 1.0  # a `Date` leaves out what is less
AGREE_S = 300.0  # far beyond what the ways of two answers make of two clocks that agree


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
    """An answer: its number, when it came by our monotonic clock, and a number of seconds that goes with it."""

    number: int
    mono_s: float
    value_s: float = 0.0


class _Highest:
    """The highest of some numbers from any one of them on: of those that come, only what may matter is kept."""

    def __init__(self) -> None:
        self._kept: list[_Heard] = []  # each higher than all that came after it

    def add(self, heard: _Heard) -> None:
        value_s = heard.value_s
        while self._kept and self._kept[-1].value_s <= value_s + TOLD_TO_S:
            value_s = max(value_s, self._kept.pop().value_s)
        self._kept.append(_Heard(heard.number, heard.mono_s, value_s))

    def after(self, number: int) -> float | None:
        """Return the highest of the answers after the one of this number; None where there is none."""
        at = bisect_right(self._kept, number, key=lambda heard: heard.number)
        return self._kept[at].value_s if at < len(self._kept) else None

    def since(self, mono_s: float) -> float | None:
        """Return the highest since a time, or the last where nothing came since; None where nothing came at all."""
        at = bisect_left(self._kept, mono_s, key=lambda heard: heard.mono_s)
        return self._kept[min(at, len(self._kept) - 1)].value_s if self._kept else None


class ServiceClock:
    """The service's clock, as far as the answers of this run tell it (`Date`, to the second).

    Nobody expects it to be right: only its differences mean something. Several may answer for it whose clocks
    differ, or stood still, and nobody can tell which of them one hears: of a send, the earliest it may have been by
    any of them counts, and of now the latest that any has told since.
    """

    def __init__(self, clock: Clock) -> None:
        self.moment_s = MOMENT_S
        self._clock = clock
        self._number = 0
        self.told = 0  # how many answers have told the time
        self._in_vain = 0
        self._last: _Heard | None = None
        self._dated: _Heard | None = None
        self._ahead, self._behind = _Highest(), _Highest()
        self._begun: dict[int, int] = {}
        self._ended: dict[int, tuple[int, int]] = {}
        self._told_before: set[int] = set()

    def heard(self, date_s: float | None) -> None:
        """An answer came; `date_s` is the time it tells, in seconds since 1970."""
        self._number += 1
        self._last = _Heard(self._number, self._clock.mono_s())
        if date_s is not None and 0 <= date_s < NO_TIME_S:
            self._dated = self._last
            self.told += 1
            self._in_vain = 0
            ahead_s = date_s - self._ours_s()
            self._ahead.add(_Heard(self._number, self._last.mono_s, ahead_s))
            self._behind.add(_Heard(self._number, self._last.mono_s, -ahead_s))

    def begins(self, row: int) -> float | None:
        """A job is sent for the first time: return when that is by the service's time, at the earliest.

        None where it has told none yet.
        """
        self._begun[row] = self._number
        since_s = self._clock.mono_s() - RECENT_S
        ahead_s, behind_s = self._ahead.since(since_s), self._behind.since(since_s)
        if ahead_s is None or behind_s is None:
            return None
        agree = ahead_s + behind_s <= AGREE_S
        return self._ours_s() + (ahead_s if agree else -behind_s)

    def now_s(self, row: int) -> float | None:
        """Return the service's time now, at the latest that it has told since a job was first sent; None if never.

        What was told is carried on by our own clocks.
        """
        ahead_s = self._ahead.after(self._begun.get(row, 0))
        return self._ours_s() + ahead_s if ahead_s is not None else None

    @property
    def skew_s(self) -> float | None:
        """By how much it is ahead of our wall clock, as far as it was told lately; None if never."""
        ahead_s = self._ahead.since(self._clock.mono_s() - RECENT_S)
        return None if ahead_s is None else self._ours_s() + ahead_s - self._clock.wall_s()

    @property
    def answers(self) -> int:
        """How many answers there were."""
        return self._number

    def asked_in_vain(self) -> None:
        """A question that was to bring the time was answered without it."""
        self._in_vain += 1

    @property
    def is_silent(self) -> bool:
        """Whether a service that has told the time before does so no more, however often it is asked."""
        return bool(self._dated or self._told_before) and self._in_vain >= IN_VAIN

    def told_before(self, row: int) -> None:
        """It had told its time when an earlier run sent this job: so it has one to tell."""
        self._told_before.add(row)

    def ended(self, row: int) -> None:
        """A send of this job has ended in vain: for it, only what is heard from now on counts as known."""
        self._ended[row] = (self._number, self.told)

    def is_known(self, row: int) -> bool:
        """Say whether some answers since the last send of a job, one of them of the last moment, have told the time.

        Our own clocks cannot say how long ago more than a moment is: they may all have stood still. A service
        that has never told the time has none to tell: any answer shows that.
        """
        heard = self._dated or (None if row in self._told_before else self._last)
        number, told = self._ended.get(row, (0, 0))
        return (
            heard is not None
            and heard.number > number
            and (self._dated is None or self.told - told >= WITNESSES)
            and self._clock.mono_s() - heard.mono_s <= self.moment_s
        )

    def _ours_s(self) -> float:
        boot_s = self._clock.boot_s()
        return self._clock.wall_s() if boot_s is None else boot_s


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


class ServerClock:
    """The clock of a database server, which all machines that share it go by. Between two looks at it, our own run on.

    Args:
        inner: This machine's clocks.
    """

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self._ahead_s = inner.wall_s() - self.steady_s()

    def steady_s(self) -> float:
        """Return seconds of this machine's clock that nobody can set, sleep included where it can tell."""
        boot_s = self._inner.boot_s()
        return self._inner.mono_s() if boot_s is None else boot_s

    def told(self, server_s: float, *, asked_s: float, answered_s: float) -> None:
        """Take the server's time, asked for and answered at these readings of `steady_s`."""
        self._ahead_s = server_s - (asked_s + answered_s) / 2

    def wall_s(self) -> float:
        """Return seconds since 1970, UTC, by the server."""
        return self.steady_s() + self._ahead_s

    def mono_s(self) -> float:
        """Return seconds of this machine's monotonic clock."""
        return self._inner.mono_s()

    def boot_s(self) -> float | None:
        """Return the same as `wall_s`: an age is told by the server alone, whichever machine asks."""
        return self.wall_s()

    def boot_id(self) -> str | None:
        """Return one name for all machines of a server."""
        return "server"


def _read_boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def rfc3339(epoch_s: float) -> str:
    """Return a time as text that sorts: `2026-11-22T18:44:07.123Z`."""
    second, micros = int(epoch_s), round((epoch_s - int(epoch_s)) * 1e6)
    if not 0 <= micros < 1_000_000 or second < 0:
        return f"{datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec='milliseconds')[:-6]}Z"
    return f"{_to_the_second(second)}.{micros // 1000:03}Z"


@lru_cache(maxsize=10)
def _to_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def epoch(text: str | None) -> float | None:
    """Return seconds since 1970 of an RFC 3339 time; None for anything else."""
    if not text:
        return None
    if not (
        len(text) == 24 and text[10] == "T" and text[23] == "Z"
    ):  # what `rfc3339` writes can be read as it is
        text = text.replace("Z", "+00:00").replace("z", "+00:00")
    try:
        moment = datetime.fromisoformat(text)
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
