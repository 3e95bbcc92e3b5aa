"""Files on drives that may not answer: network drives, cloud drives, whatever a program serves.

A read that such a drive does not answer cannot be broken off, by Ctrl-C or by kill -9: whoever waits in it
waits until the drive answers. So another process does: it reads what we are about to read, and we wait for that
process only, say so after some seconds, and can leave at any time. What has come once comes at once.

What is sent away comes from that process, as a copy: a drive may go away just after it was read.

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

NAMED_AFTER_S = 5.0  # a sleeping disk wakes sooner
NAMED_AGAIN_S = 60.0
MOST_LINKS = 40  # as many as Linux follows

# A line in: how much is wanted (`head`, `all`), a path, and another that the file is copied to; both in hexadecimal
# digits. Out: a dot for each piece, and the number of what went wrong. It is negative where that was the copy.
_READER = """
import os, stat, sys
def serve(wanted, path, copy):
    about = os.stat(path)
    if stat.S_ISDIR(about.st_mode) and not copy:
        os.listdir(path), os.statvfs(path)
        return 0
    if not stat.S_ISREG(about.st_mode):
        return 21
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while piece := os.read(file, 1000000):
            print(end=".", flush=True)
            try:
                if copy:
                    with open(copy, "ab") as there:
                        there.write(piece)
            except OSError as exc:
                return -(exc.errno or 5)
            if wanted == "head":
                break
    finally:
        os.close(file)
    return 0
for line in sys.stdin:
    wanted, path, copy = line.rstrip("\\n").split(" ")
    try:
        number = serve(wanted, bytes.fromhex(path), bytes.fromhex(copy))
    except (OSError, ValueError) as exc:
        number = getattr(exc, "errno", None) or 5
    print(number, flush=True)
"""


class DriveAway(TemporaryTrouble):
    """A drive has not answered for as long as we would wait."""


class CopyFailed(OSError):
    """There is no room for a copy, or it may not be written."""


class ReaderProcess:
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
        self._said = b""
        self._process.returncode = (
            0  # nobody waits for its end: it goes when its pipe is closed, or much later
        )

    def begin(self, path: str, *, whole: bool, copy: str = "") -> None:
        """Tell it what to read, and where to copy it to, if anywhere."""
        self._said = b""
        names = " ".join(os.fsencode(name).hex() for name in (path, copy))
        self._orders.write(f"{'all' if whole else 'head'} {names}\n".encode())

    def hears(self, wait_s: float) -> bool:
        """Wait so long for a sign of it; say whether one came.

        Raises:
            BrokenPipeError: It died.
        """
        if not _comes(self._answers.fileno(), wait_s):
            return False
        said = self._answers.read(4096)
        if not said:
            raise BrokenPipeError
        self._said += said
        return True

    @property
    def ended(self) -> int | None:
        """The number of what went wrong, 0 where nothing did, negative where it was the copy; None: it still reads."""
        return int(self._said.strip(b".\n")) if self._said.endswith(b"\n") else None

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
        start: Callable[[], ReaderProcess] = ReaderProcess,
        clock: Callable[[], float] = lambda: time.monotonic(),
    ) -> None:
        self.tell = tell
        self._mounts = mounts
        self._start = start
        self._clock = clock
        self._kinds: dict[str, bool] | None = None  # {mount point: whether it may not answer}
        self._known: dict[str, tuple[str, bool]] = {}
        self._idle: list[ReaderProcess] = []
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
        self._ask(path, whole=whole, most_s=most_s)

    def copy_of(self, path: PurePath | str, copy: str, *, most_s: float = math.inf) -> bool:
        """Have a file copied to another, where it is on a drive that may not answer; say whether it was.

        Args:
            path: What to copy.
            copy: An empty file on a disk of this machine.
            most_s: How long to wait for each piece of it.

        Raises:
            DriveAway: A piece did not come in that time.
            CopyFailed: The copy could not be written.
            OSError: The file cannot be read.
        """
        number = self._ask(path, whole=True, most_s=most_s, copy=copy)
        if number is None:
            return False
        if number:
            trouble = OSError(abs(number), os.strerror(abs(number)), os.fspath(path))
            raise trouble if number > 0 else CopyFailed(*trouble.args)
        return True

    def _ask(self, path: PurePath | str, *, whole: bool, most_s: float, copy: str = "") -> int | None:
        """Have another process read; return how that ended, or None where nobody had to or could."""
        there = self.leads_away(posixpath.abspath(os.fspath(path)))
        if there is None:
            return None
        reader = None
        try:
            reader = self._take()
            reader.begin(there, whole=whole, copy=copy)
            number = self._wait(reader, str(path), most_s)
        except OSError:  # no process is to be had, or it died: then we wait ourselves
            if reader is not None:
                reader.leave()
            return None
        except BaseException:
            if reader is not None:
                reader.leave()
            raise
        with self._lock:
            self._idle.append(reader)
        return number

    def wait_for_pipe(self, number: int, path: PurePath | str) -> None:
        """Wait until an open pipe has something to be read, or has come to its end; a file always has."""
        if not stat.S_ISFIFO(os.fstat(number).st_mode):
            return
        began, next_s = self._clock(), NAMED_AFTER_S
        while not _comes(number, max(next_s - (self._clock() - began), 0.0)):
            if (waited_s := self._clock() - began) >= next_s:
                self.tell(f"waiting for {path}: nothing has come from it for {waited_s:.0f} s; Ctrl-C quits")
                next_s += NAMED_AGAIN_S

    def _take(self) -> ReaderProcess:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._start()

    def _wait(self, reader: ReaderProcess, path: str, most_s: float) -> int:
        began, next_s = self._clock(), min(NAMED_AFTER_S, most_s)
        while (number := reader.ended) is None:
            if reader.hears(max(next_s - (self._clock() - began), 0.0)):
                began, next_s = self._clock(), min(NAMED_AFTER_S, most_s)
                continue
            waited_s = self._clock() - began
            if waited_s >= most_s:
                raise DriveAway(
                    f"{path} cannot be read: its drive has not answered for {waited_s:.0f} s",
                    hint="check that the drive is connected, then run again",
                )
            if waited_s >= next_s:
                if math.isinf(most_s):
                    self.tell(
                        f"waiting for {path}: its drive has not answered for {waited_s:.0f} s; Ctrl-C quits"
                    )
                next_s = min(next_s + NAMED_AGAIN_S, most_s)
        return number

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
