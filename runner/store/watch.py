"""Whether the files that SQLite has open are still the ones that stand at their names.

A sync program, a restored backup or a hand at `mv` and `cp` may put others there while a run goes on. SQLite
would go on writing into the old ones, which nobody finds again, or mix the new with its own. A look costs three
`stat` and two `pread`, some microseconds.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

HEADER = struct.Struct(">16s44xi")  # the file's first words, and its `user_version`
MAGIC = b"SQLite format 3\0"
LOG_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")  # of a write-ahead log, by the order of its bytes

_Identity = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What has become of the file. `log_fits`: our log still belongs to what stands there."""

    words: str
    log_fits: bool = False


def descriptors_of(path: Path) -> frozenset[int]:
    """Return this process's open descriptors of a file."""
    try:
        wanted = _identity(os.stat(path))  # noqa: PTH116
        numbers = [int(name) for name in os.listdir("/dev/fd")]  # noqa: PTH208 (names, and no folder of ours)
    except (OSError, ValueError):
        return frozenset()
    return frozenset(number for number in numbers if _is(number, wanted))


class Watch:
    """Looks after one open database.

    Args:
        path: The database; its connection is open and has read.
        descriptor: SQLite's own descriptor of it. Another one must not be opened: to close that would drop
            SQLite's locks. None where it is not known: what is overwritten in its place is not seen then.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._descriptor = descriptor
        names = str(path), f"{path}-wal", f"{path}-shm"
        self._main, self._log, self._index = names
        self._files = {name: _identity(os.stat(name)) for name in names}  # noqa: PTH116
        self._generation = self._read_generation()
        # SQLite holds no locks on its log, so this one may be open, and closed. `look` sees when the name is another's.
        self._log_file = open(self._log, "rb", buffering=0)  # noqa: PTH123, SIM115 (kept open)
        self.log_bytes = 0  # of the log, as of the last look

    def close(self) -> None:
        """Look no more."""
        self._log_file.close()

    def look(self) -> FileChange | None:
        """Return what has become of the file; None while it is as it should be. Not during a checkpoint."""
        log_bytes = 0
        for name, known in self._files.items():
            try:
                found = os.stat(name)  # noqa: PTH116
            except FileNotFoundError:
                return self._changed(name, f"{_short(name)} was removed")
            except OSError as exc:
                return self._changed(name, f"{_short(name)} cannot be reached: {exc.strerror}")
            if (found.st_dev, found.st_ino) != known:
                return self._changed(name, f"another file is in the place of {_short(name)}")
            if name is self._log:
                log_bytes = found.st_size
        return self._look_inside(log_bytes)

    def _changed(self, name: str, words: str) -> FileChange:
        return FileChange(words=words, log_fits=name is self._index)

    def _look_inside(self, log_bytes: int) -> FileChange | None:
        """Compare with what the last checkpoint has left: each one raises the number in the file by one."""
        generation = self._read_generation()
        if generation is not None and self._generation is not None:
            if generation < self._generation:
                return FileChange(words=f"{_short(self._main)} was overwritten with an older one")
            if generation == self._generation and log_bytes < self.log_bytes:
                return FileChange(words=f"{_short(self._log)} was cut")
        # One that was cut just before a commit is as long as ever by now, but begins with a hole.
        if log_bytes and os.pread(self._log_file.fileno(), 4, 0) not in LOG_MAGIC:
            return FileChange(words=f"{_short(self._log)} was cut")
        self._generation, self.log_bytes = generation, log_bytes
        return None

    def is_in_the_file(self, generation: int) -> bool:
        """Say whether a checkpoint has brought this number into the file, as of the last look."""
        return self._generation is None or generation <= self._generation

    @property
    def only_the_log_is_gone(self) -> bool:
        """Whether the file itself and its index are as they were: then all can still be moved into it."""
        whole = self._read_generation() == self._generation
        return whole and self._is_ours(self._main) and self._is_ours(self._index) and not self.log_is_ours

    @property
    def log_is_ours(self) -> bool:
        """Whether the log that stands there is the one SQLite has open."""
        return self._is_ours(self._log)

    def _is_ours(self, name: str) -> bool:
        try:
            return _identity(os.stat(name)) == self._files[name]  # noqa: PTH116
        except OSError:
            return False

    def _read_generation(self) -> int | None:
        """Return the number in the file's first page; -1 where that is no database's, None where nobody can know."""
        if self._descriptor is None:
            return None
        data = os.pread(self._descriptor, HEADER.size, 0)
        if len(data) < HEADER.size:
            return -1
        magic, generation = HEADER.unpack(data)
        return int(generation) if magic == MAGIC else -1


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino


def _is(descriptor: int, wanted: _Identity) -> bool:
    try:
        return _identity(os.fstat(descriptor)) == wanted
    except OSError:
        return False
