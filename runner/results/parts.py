"""A result on its way: the `.part` file, what is known of the rest, and what its bytes turn out to be.

Everything here blocks on the disk; from async code call it in a worker thread.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from runner.errors import TemporaryTrouble, UsageError
from runner.model import Sha256
from runner.results.containers import WITHOUT_END, identify, whole
from runner.results.media import FileType, MediaType

BYTE_ORDER_MARK: Final = "\ufeff"
_PIECE_BYTES = 1_000_000


class DiskTrouble(TemporaryTrouble):
    """The disk is full or fails: nothing is lost, a later run goes on."""


class PlaceTrouble(DiskTrouble):
    """One result cannot get its name; all others can."""


class FolderUnusable(UsageError):
    """The output folder cannot be written to, and nothing was sent."""


# What a drive says that was unplugged, or whose other end has gone.
_GONE = frozenset(
    {errno.ENOTCONN, errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EHOSTDOWN, errno.ETIMEDOUT}
)


# Why there can be no file of this name, whatever is on the disk.
_NO_PLACE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)


def disk_error(exc: OSError, folder: Path) -> DiskTrouble:
    """Return what to tell a person about an error of the disk, as an error to raise."""
    match exc.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return DiskTrouble(
                f"the disk is full: a result does not fit into {folder} ({_free(folder)})",
                hint="free disk space, then run again; what is paid is kept",
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return DiskTrouble(
                f"{folder} cannot be written to: {exc.strerror}",
                hint="make it writable (a drive with faults turns read-only), or set output.dir, then run again;"
                " what is paid is kept",
            )
        case errno.EMFILE | errno.ENFILE:
            return DiskTrouble(f"too many files are open to write into {folder}", hint="raise `ulimit -n`")
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR | errno.ENOTEMPTY | errno.ELOOP | errno.ENAMETOOLONG:
            return PlaceTrouble(
                f"something else is where a result should go: {exc.filename2 or exc.filename}",
                hint="move it away, then run again",
            )
        case number if number in _GONE:
            return drive_away(folder, exc.strerror or str(exc))
        case _:
            return DiskTrouble(
                f"cannot write into {folder}: {exc.strerror or exc}", hint="run again to continue"
            )


def drive_away(folder: Path, why: str) -> DiskTrouble:
    """Return what to tell a person whose results' drive does not answer, or is not there."""
    return DiskTrouble(
        f"the drive with {folder} is missing: {why}",
        hint="connect it, then run again; what is paid is kept",
    )


def _free(folder: Path) -> str:
    with suppress(OSError):
        status = os.statvfs(folder)
        return f"{status.f_bavail * status.f_frsize / 1e6:,.1f} MB free"
    return "free space unknown"


def disk_errors(folder: Path) -> AbstractContextManager[None]:
    """Turn errors of the disk into ours."""
    return _DiskErrors(folder)


class _DiskErrors(AbstractContextManager[None]):
    # A generator would take three times as long, four times for each result.
    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, OSError):
            raise disk_error(exc, self._folder) from exc


def write_text(path: Path, pieces: Iterable[str], *, marked: bool = False) -> None:
    """Write a file whole or not at all.

    Args:
        path: The file.
        pieces: Its text.
        marked: Begin it with a byte order mark, without which Excel takes UTF-8 for the code page of its country.

    Raises:
        UsageError: There can be no such file.
        DiskTrouble: The disk is full or fails.
    """
    new = path.with_name(path.name + ".new")
    with disk_errors(path.parent):
        try:
            with new.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
                if marked:
                    out.write(BYTE_ORDER_MARK)
                out.writelines(pieces)
            new.replace(path)
        except BaseException as exc:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            if isinstance(exc, OSError) and exc.errno in _NO_PLACE:
                raise UsageError(f"cannot write {path}: {exc.strerror}", hint="name another file") from exc
            raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write to an open file, however little it takes at once."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path | str) -> None:
    """Make the names in a folder survive a power cut, where the system can."""
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(number)


def sha256_of(file: BinaryIO) -> Sha256:
    """Return the SHA-256 of an open file, from its beginning."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return Sha256(digest.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOrigin:
    """What must be known to ask a host for the rest of a file.

    `source` names the url without its query (a hash, since a path may hold secrets too); `validator`
    is a strong ETag or a Last-Modified date; `boot` names the boot that wrote the bytes: after a
    power cut, bytes that were never synced may be holes of the right length; `content_type` is as the host
    said it.
    """

    source: str
    validator: str
    total_bytes: int | None
    boot: str
    content_type: str = ""


READ_AT_ONCE_BYTES = 1_000_000  # for each of the few that end at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a finished part holds. `media` is None when no signature fits; `cut` says why it is not whole.

    `sure`: more than a few bits speak for what it is. `ended`: the format itself marks its end, and it is there.
    """

    size_bytes: int
    sha256: Sha256
    media: MediaType | None
    cut: str | None
    ended: bool
    head: bytes
    sure: bool = True


class PartFile:
    """One `.part` file. Not shared between coroutines."""

    def __init__(self, path: Path, folder: Path, noted: set[Path] | None = None) -> None:
        self.path = path
        self._folder = folder  # the output folder, for messages
        self._all_noted = noted  # the parts of this folder that have notes; None when nobody looked
        self._file: BinaryIO | None = None

    def __repr__(self) -> str:
        return f"PartFile({str(self.path)!r})"

    @property
    def _notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def noted(self) -> bool:
        """Whether an earlier attempt may have left notes; no look at the disk."""
        return self._all_noted is None or self.path in self._all_noted

    def size(self) -> int:
        """Return how many bytes are there; 0 when there is no file."""
        try:
            return self.path.lstat().st_size
        except OSError:
            return 0

    def progress(self) -> PartOrigin | None:
        """Return the notes of an earlier attempt, if it left any that can be read."""
        try:
            data = json.loads(self._notes.read_bytes())
            found = PartOrigin(**data)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        texts = (found.source, found.validator, found.boot, found.content_type)
        total = found.total_bytes
        known = total is None or (type(total) is int and total >= 0)
        return found if known and all(isinstance(item, str) for item in texts) else None

    def begin(self, offset: int = 0, progress: PartOrigin | None = None) -> None:
        """Open for writing behind the first `offset` bytes, which are kept.

        `progress` is noted first, so that notes never describe another file than the one beside them;
        without it a later attempt starts over.
        """
        self.close()
        with disk_errors(self._folder):
            self._file = os.fdopen(self._opened(os.O_RDWR), "r+b", buffering=0)
            if not offset:
                self.forget()
            self._file.truncate(offset)
            self._file.seek(offset)
            if progress is not None and not offset:
                if self._all_noted is not None:
                    self._all_noted.add(self.path)
                new = self._notes.with_name(self._notes.name + ".new")
                new.write_text(json.dumps(asdict(progress)), encoding="utf-8")
                new.replace(self._notes)

    def write(self, data: bytes) -> None:
        """Append."""
        assert self._file is not None, "begin() first"
        with disk_errors(self._folder):
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]

    def take_whole(self, data: bytes) -> Content:
        """Write all of a body, which came at once, sync it to the disk and say what it is; nothing is noted."""
        self.close()
        with disk_errors(self._folder):
            self.forget()
            number = self._opened(os.O_RDWR | os.O_TRUNC)
            try:
                write_all(number, data)
                os.fsync(number)
            finally:
                os.close(number)
        return _content(io.BytesIO(data), len(data), Sha256(hashlib.sha256(data).hexdigest()))

    def _opened(self, flags: int) -> int:
        flags |= os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path, flags, 0o666)
        except FileNotFoundError:  # the first one in its folder
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, flags, 0o666)

    def finish(self) -> Content:
        """Sync what is there to the disk and say what it is. Closes the file."""
        try:
            with disk_errors(self._folder):
                if self._file is None:
                    self._file = os.fdopen(
                        os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), "r+b"
                    )
                file = self._file
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
                looked_at: BinaryIO = file
                if size <= READ_AT_ONCE_BYTES:  # looking at its parts is many small reads
                    file.seek(0)
                    looked_at = io.BytesIO(file.read())
                return _content(looked_at, size, sha256_of(looked_at))
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and keep what is there."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                file.close()

    def discard(self) -> None:
        """Remove the file and its notes."""
        self.close()
        with disk_errors(self._folder):
            self.path.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Remove the notes, if there are any; for a part that became a finished file."""
        if not self.noted:
            return
        with disk_errors(self._folder):
            self._notes.unlink(missing_ok=True)
        if self._all_noted is not None:
            self._all_noted.discard(self.path)


def _content(file: BinaryIO, size: int, sha256: Sha256) -> Content:
    found = identify(file, size)
    media = found.media
    cut = whole(file, media, size) if media else None
    return Content(
        size_bytes=size,
        sha256=sha256,
        media=media,
        sure=found.sure,
        cut=cut,
        ended=media is not None and cut is None and media.extension not in WITHOUT_END,
        head=found.head,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A part that may be published.

    `warning` says what is odd about it, None: nothing. It is believed once `looks` fetches have brought the same
    bytes. `framed`: HTTP itself showed that all of it had come.
    """

    part: PartFile
    file: FileType
    sha256: Sha256
    size_bytes: int
    host: str  # that delivered it
    warning: str | None = None
    looks: int = 1
    framed: bool = True
