"""Where results are kept: the one thing that differs between a folder and a bucket.

What names results get, what becomes of what stood there, and what is written beside them is the same for both, and is
in `runner.results.files` and `runner.results.sidecar`. Everything here blocks; from async code call it in a thread.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from runner.model import ObjectPath, ResultPath, Sha256, is_in_bucket
from runner.results.media import EXTENSIONS
from runner.results.parts import (
    DiskTrouble,
    FolderUnusable,
    PartFile,
    Result,
    disk_error,
    disk_errors,
    sha256_of,
    sync_folder,
    write_all,
)


class WhatStands(Enum):
    """What stands at a place where a file is to go."""

    NOTHING = auto()
    SAME = auto()  # a regular file with the content of that one
    OTHER = auto()


class ResultStorage(Protocol):
    """Keeps files by their places. What fails is a `DiskTrouble`; what is not there is none."""

    def prepare(self, root: ResultPath) -> None:
        """Prove that results can be written below a place, before anything is paid for.

        Raises:
            FolderUnusable: They cannot (exit 2).
            DiskTrouble: Not now (exit 5).
        """
        ...

    def exists(self, path: ResultPath) -> bool:
        """Say whether anything stands there."""
        ...

    def size(self, path: ResultPath) -> int | None:
        """Return how large the file is; None where there is none, or nobody can say."""
        ...

    def sizes(self, root: ResultPath) -> Callable[[str], int | None]:
        """Return what tells the sizes of very many files; 0 for what is no file, None for nothing.

        Raises:
            DiskTrouble: Nobody can know: also what is returned may raise it.
        """
        ...

    def look(self, path: ResultPath, sha256: Sha256, size_bytes: int) -> WhatStands:
        """Say whether a file with this content stands there, something else, or nothing."""
        ...

    def holds(self, path: ResultPath, sha256: Sha256, size_bytes: int) -> bool:
        """Say whether a file with this content stands there."""
        ...

    def sha256(self, path: ResultPath) -> Sha256:
        """Return the SHA-256 of a file."""
        ...

    def read(self, path: ResultPath, most_bytes: int) -> bytes | None:
        """Return the beginning of a file; None where there is none, or it cannot be read."""
        ...

    def write(self, path: ResultPath, data: bytes, *, mime: str) -> None:
        """Write a small file, whole or not at all, over what is there; it and its name are sure to stay."""
        ...

    def write_new(self, path: ResultPath, data: bytes, *, mime: str) -> bool:
        """Write a small file as `write` does, where nothing stands; say whether nothing did."""
        ...

    def take(self, part: PartFile, path: ResultPath, result: Result) -> None:
        """Give a finished part its name, at which nothing stands."""
        ...

    def put_file(self, source: Path, path: ResultPath, sha256: Sha256, size_bytes: int, *, mime: str) -> None:
        """Put a copy of a file at a place, where nothing stands or the same does."""
        ...

    def rename(self, source: ResultPath, target: ResultPath) -> None:
        """Move a file to a place at which nothing stands; it may come from another storage."""
        ...

    def remove(self, path: ResultPath) -> None:
        """Remove a file, if there is one."""
        ...

    def copy_out(self, path: ResultPath, target: Path) -> None:
        """Copy a file to this machine's disk."""
        ...

    def names_in(self, folder: ResultPath) -> list[str]:
        """Return the names in a folder, in order; none where it is none."""
        ...

    def standing(self, bare: ResultPath, count: int) -> Iterator[tuple[ResultPath, str]]:
        """Yield (path, suffix) of files that have the names of a job's results, where such are to be looked for."""
        ...

    def link(self, path: ResultPath) -> str:
        """Return a link by which a player on any machine that may see the file finds it."""
        ...

    def settle(self, folders: Collection[ResultPath]) -> None:
        """Make the names in folders survive a power cut."""
        ...


def storage_of(place: ResultPath) -> ResultStorage:
    """Return what keeps the files at a place.

    Raises:
        UsageError: It is in a bucket, and what is needed for that is not installed.
    """
    if isinstance(place, ObjectPath):
        from runner.results.bucket import bucket_of

        return bucket_of(place)
    return DISK


class DiskStorage:
    """Keeps files on disks of this machine."""

    def prepare(self, root: ResultPath) -> None:
        """See `ResultStorage`."""
        folder = _local(root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except (FileExistsError, NotADirectoryError) as exc:
            raise FolderUnusable(f"{folder} is not a folder", hint="move it away, or set output.dir") from exc
        except OSError as exc:
            trouble = disk_error(exc, folder)
            if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise FolderUnusable(
                    trouble.message, hint="look at its permissions, or set output.dir"
                ) from exc
            raise trouble from exc

    def exists(self, path: ResultPath) -> bool:
        """See `ResultStorage`."""
        return os.path.lexists(path)

    def size(self, path: ResultPath) -> int | None:
        """See `ResultStorage`."""
        try:
            there = os.stat(path)  # noqa: PTH116 (there may be very many)
        except OSError:
            return None
        return there.st_size if stat.S_ISREG(there.st_mode) else None

    def sizes(self, root: ResultPath) -> Callable[[str], int | None]:
        """See `ResultStorage`."""

        def size(path: str) -> int | None:
            try:
                there = os.stat(path)  # noqa: PTH116 (a Path costs more than the question)
            except (FileNotFoundError, NotADirectoryError):
                return _in_bucket(path)
            except OSError as exc:
                raise disk_error(exc, _local(root)) from exc
            return there.st_size if stat.S_ISREG(there.st_mode) else 0

        return size

    def look(self, path: ResultPath, sha256: Sha256, size_bytes: int) -> WhatStands:
        """See `ResultStorage`."""
        try:
            there = os.lstat(_local(path))
            if not stat.S_ISREG(there.st_mode) or there.st_size != size_bytes:
                return WhatStands.OTHER
            return WhatStands.SAME if self.sha256(path) == sha256 else WhatStands.OTHER
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return WhatStands.NOTHING

    def holds(self, path: ResultPath, sha256: Sha256, size_bytes: int) -> bool:
        """See `ResultStorage`."""
        return self.look(path, sha256, size_bytes) is WhatStands.SAME

    def sha256(self, path: ResultPath) -> Sha256:
        """See `ResultStorage`."""
        with _local(path).open("rb") as file:
            return sha256_of(file)

    def read(self, path: ResultPath, most_bytes: int) -> bytes | None:
        """See `ResultStorage`."""
        try:
            # O_NONBLOCK: a FIFO in its place must not make us wait.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                return file.read(most_bytes)
        except (OSError, ValueError):
            return None

    def write(self, path: ResultPath, data: bytes, *, mime: str) -> None:
        """See `ResultStorage`."""
        self._write(path, data)

    def write_new(self, path: ResultPath, data: bytes, *, mime: str) -> bool:
        """See `ResultStorage`; there is one writer of a job's files."""
        return self._write(path, data, over=False)

    def _write(self, path: ResultPath, data: bytes, *, over: bool = True) -> bool:
        """Write a file; `over` what stands there, or say that something does: that is looked at last."""
        there = _local(path)
        text = str(there)  # of which the rest is made: another Path costs as much as a question to the disk
        folder, new = there.parent, f"{text}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with disk_errors(folder):
            try:
                number = os.open(new, flags, 0o666)
            except FileNotFoundError:
                _make_folder(folder)
                number = os.open(new, flags, 0o666)
            try:
                write_all(number, data)
                os.fsync(number)
            finally:
                os.close(number)
            if not over and os.path.lexists(text):
                os.unlink(new)  # noqa: PTH108 (as above)
                return False
            os.replace(new, text)  # noqa: PTH105 (as above)
            sync_folder(folder)
        return True

    def take(self, part: PartFile, path: ResultPath, result: Result) -> None:
        """See `ResultStorage`."""
        there = _local(path)
        try:
            os.rename(part.path, there)  # noqa: PTH104 (as above)
        except FileNotFoundError:  # the first one in its folder
            _make_folder(there.parent)
            part.path.rename(there)
        part.forget()

    def put_file(self, source: Path, path: ResultPath, sha256: Sha256, size_bytes: int, *, mime: str) -> None:
        """See `ResultStorage`."""
        there = _local(path)
        if self.holds(there, sha256, size_bytes):
            return
        with disk_errors(there.parent):
            _make_folder(there.parent)
            new = there.with_name(f".{there.name}{HALF}")
            with source.open("rb") as content, new.open("wb") as file:
                shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(there)
            sync_folder(there.parent)

    def rename(self, source: ResultPath, target: ResultPath) -> None:
        """See `ResultStorage`."""
        there = _local(target)
        _make_folder(there.parent)
        if isinstance(source, Path):
            source.rename(there)
            return
        new = there.with_name(f".{there.name}{HALF}")  # half of a file is never taken for one by its name
        storage_of(source).copy_out(source, new)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.rename(there)
        storage_of(source).remove(source)

    def remove(self, path: ResultPath) -> None:
        """See `ResultStorage`."""
        _local(path).unlink(missing_ok=True)

    def copy_out(self, path: ResultPath, target: Path) -> None:
        """See `ResultStorage`."""
        shutil.copyfile(path, target)

    def names_in(self, folder: ResultPath) -> list[str]:
        """See `ResultStorage`."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as exc:  # a drive that is away, say, proves nothing
            raise disk_error(exc, _local(folder)) from exc

    def standing(self, bare: ResultPath, count: int) -> Iterator[tuple[ResultPath, str]]:
        """See `ResultStorage`."""
        # Forty names are looked for and hardly one is there: as text until one is.
        text, number = str(bare), 1
        while True:
            found = False
            for extension in _EXTENSIONS:
                suffix = suffix_of(number, extension)
                if not os.path.lexists(text + suffix):
                    continue
                path = Path(text + suffix)
                if path.is_symlink() or not path.is_dir():
                    found = True
                    yield path, suffix
            if not found and number > count:
                return
            number += 1

    def link(self, path: ResultPath) -> str:
        """See `ResultStorage`."""
        return path.as_uri()

    def settle(self, folders: Collection[ResultPath]) -> None:
        """See `ResultStorage`."""
        for folder in folders:
            sync_folder(_local(folder))


DISK = DiskStorage()
HALF = ".new"
"""How names end of what was not whole when a process was killed."""

_EXTENSIONS = sorted(EXTENSIONS)


def suffix_of(number: int, extension: str) -> str:
    """Return what follows a job's output name in the name of one of its results."""
    # `hero.json` is the sidecar's name.
    return f"+{number}.{extension}" if number > 1 or extension == "json" else f".{extension}"


def _local(place: ResultPath) -> Path:
    if isinstance(place, ObjectPath):
        raise DiskTrouble(f"{place} is not on a disk of this machine")
    return place


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    there = folder
    while not there.is_dir():
        there = there.parent
    folder.mkdir(parents=True, exist_ok=True)
    # A new folder's own name must survive a power cut too.
    for place in (folder, *folder.parents):
        sync_folder(place.parent)
        if place.parent == there:
            break


def _in_bucket(path: str) -> int | None:
    if not is_in_bucket(path):
        return None
    there = ObjectPath(path)
    return storage_of(there).size(there)
