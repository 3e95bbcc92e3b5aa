"""Files on drives that may not answer: network drives, cloud drives, whatever a program serves.

A read that such a drive does not answer cannot be broken off, by Ctrl-C or by kill -9: whoever waits in it
waits until the drive answers. So another process does: it reads what we are about to read, and we wait for that
process only, say so after some seconds, and can leave at any time. What has come once comes at once.

Files on disks of this machine are not looked at twice.
"""

from __future__ import annotations

import contextlib
import math
import os
import posixpath
import selectors
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import PurePath

from runner.errors import TemporaryTrouble
from runner.host.mounts import mounts_in, synced_by_name
from runner.store.place import read_mounts

NAMED_AFTER_S = 5.0  # a disk that sleeps comes sooner
NAMED_AGAIN_S = 60.0
MOST_LINKS = 40  # as many as Linux follows

# One path a line, in hexadecimal digits, and whether all of it is wanted; an empty line back. What is wrong with
# a file is found out by whoever reads it then.
_READER = """
import os, stat, sys
for line in sys.stdin:
    wanted, path = line.split()
    try:
        path = bytes.fromhex(path)
        about = os.stat(path)
        if stat.S_ISDIR(about.st_mode):
            os.listdir(path), os.statvfs(path)
        elif stat.S_ISREG(about.st_mode):
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            while os.read(file, 1000000) and wanted == "all":
                pass
            os.close(file)
    except (OSError, ValueError):
        pass
    print(flush=True)
"""


class DriveAway(TemporaryTrouble):
    """A drive has not answered for as long as we would wait."""


class Reader:
    """Another process that reads for us."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self._process.returncode = (
            0  # nobody waits for its end: it goes when its pipe is closed, or much later
        )

    def begin(self, path: str, *, whole: bool) -> None:
        """Tell it what to read."""
        self._orders.write(f"{'all' if whole else 'head'} {os.fsencode(path).hex()}\n".encode())

    def is_done(self, wait_s: float) -> bool:
        """Say whether it has read what it was told to, or has died of it."""
        if not _comes(self._answers.fileno(), wait_s):
            return False
        if not self._answers.read(1):
            raise BrokenPipeError
        return True

    def leave(self) -> None:
        """Have it go; where it waits for a drive that does not answer, it goes when that does."""
        for pipe in (self._orders, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()


class Drives:
    """Waits for drives.

    Args:
        tell: Takes a line for people while one does not answer.
        mounts: Returns what is mounted where, as the system says it.
        start: Starts another process that reads.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        *,
        mounts: Callable[[], str] = read_mounts,
        start: Callable[[], Reader] = Reader,
        clock: Callable[[], float] = lambda: time.monotonic(),
    ) -> None:
        self.tell = tell
        self._mounts = mounts
        self._start = start
        self._clock = clock
        self._kinds: dict[str, bool] | None = None  # {mount point: whether it may not answer}
        self._known: dict[str, tuple[str, bool]] = {}
        self._idle: list[Reader] = []
        self._lock = threading.Lock()

    def wait_for(self, path: PurePath | str, *, whole: bool = False, most_s: float = math.inf) -> None:
        """Wait until a file or folder can be read; at once where it is on a disk of this machine.

        Args:
            path: What is about to be read.
            whole: Whether all of it is; else its beginning, or its list.
            most_s: How long to wait; where it is infinite, people are told what is waited for.

        Raises:
            DriveAway: It did not come in that time.
        """
        there = self.leads_away(posixpath.abspath(os.fspath(path)))
        if there is None:
            return
        reader = None
        try:
            reader = self._take()
            reader.begin(there, whole=whole)
            self._wait(reader, str(path), most_s)
        except OSError:  # no process is to be had, or it died: then we wait ourselves
            if reader is not None:
                reader.leave()
            return
        except BaseException:
            if reader is not None:
                reader.leave()
            raise
        with self._lock:
            self._idle.append(reader)

    def wait_for_pipe(self, number: int, path: PurePath | str) -> None:
        """Wait until an open pipe has something to be read, or has come to its end; a file always has."""
        if not stat.S_ISFIFO(os.fstat(number).st_mode):
            return
        began, next_s = self._clock(), NAMED_AFTER_S
        while not _comes(number, max(next_s - (self._clock() - began), 0.0)):
            if (waited_s := self._clock() - began) >= next_s:
                self.tell(f"waiting for {path}: nothing has come from it for {waited_s:.0f} s; Ctrl-C leaves")
                next_s += NAMED_AGAIN_S

    def _take(self) -> Reader:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._start()

    def _wait(self, reader: Reader, path: str, most_s: float) -> None:
        began, next_s = self._clock(), min(NAMED_AFTER_S, most_s)
        while not reader.is_done(max(next_s - (self._clock() - began), 0.0)):
            waited_s = self._clock() - began
            if waited_s >= most_s:
                raise DriveAway(
                    f"{path} cannot be read: its drive has not answered for {waited_s:.0f} s",
                    hint="see whether the drive is connected, then run again",
                )
            if waited_s >= next_s:
                if math.isinf(most_s):
                    self.tell(
                        f"waiting for {path}: its drive has not answered for {waited_s:.0f} s; Ctrl-C leaves"
                    )
                next_s = min(next_s + NAMED_AGAIN_S, most_s)

    def leads_away(self, path: str) -> str | None:
        """Return where an absolute path leads if that is on a drive that may not answer; None for our own disks."""
        if self._kinds is None:
            self._kinds = {mount.point: not mount.keeps_logs for mount in mounts_in(self._mounts())}
        # On macOS the folders of sync programs are known by name only.
        if sys.platform != "darwin" and not any(self._kinds.values()):
            return None
        there, away = self._followed(path)
        return there if away else None

    def _followed(self, path: str, links: int = 0) -> tuple[str, bool]:
        """Return what a path leads to, and whether that is on a drive that may not answer.

        Links are followed by hand, and no step is taken onto such a drive: to ask it for a name is to wait for it.
        """
        if path == "/":
            return path, self._may_not_answer(path)
        folder = posixpath.dirname(path)
        if (known := self._known.get(folder)) is None:
            known = self._known[folder] = self._followed(folder, links)
        above, away = known
        here = posixpath.join(above, posixpath.basename(path))
        if away or self._may_not_answer(here):
            return here, True
        try:
            target = os.readlink(here) if links < MOST_LINKS else None  # noqa: PTH115  # a path as text
        except (OSError, ValueError):
            target = None
        if target is None:
            return here, False
        return self._followed(posixpath.normpath(posixpath.join(above, target)), links + 1)

    def _may_not_answer(self, path: str) -> bool:
        if sys.platform == "darwin" and synced_by_name(PurePath(path) / "any") is not None:
            return True
        kinds, place = self._kinds or {}, path
        while place not in kinds and place != "/":
            place = posixpath.dirname(place)
        return kinds.get(place, False)


def _comes(number: int, wait_s: float) -> bool:
    """Wait so long for an open file to have something to be read; say whether it has."""
    with selectors.DefaultSelector() as watch:
        watch.register(number, selectors.EVENT_READ)
        return bool(watch.select(wait_s))


DRIVES = Drives(lambda _: None)
"""Those of this process; whoever talks to people sets its `tell`."""
