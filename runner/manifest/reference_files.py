"""Input files of jobs: looked at before anything is sent, and sent exactly as they were hashed.

Everything here blocks on the disk; from async code call it in a worker thread.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from runner.errors import TemporaryTrouble, UsageError
from runner.host.clock import Clock, SystemClock
from runner.host.drives import DRIVES, CopyFailed, DriveAway
from runner.manifest.copies import SETTLED_AFTER_S, Copies, Copy, HashMemory
from runner.manifest.mending import Wanted, needs_mending
from runner.manifest.mending import mend as mend_picture
from runner.manifest.odd_pictures import MENDED, NOT_FETCHED, REPAIRED, oddities
from runner.manifest.pictures import Look, PictureBroken, look
from runner.manifest.references import ReferenceProblem, bare, origin_of
from runner.model import Kind, ObjectPath, Reference, Sha256
from runner.results.bucket_errors import BucketTrouble
from runner.results.containers import Identified, identify, whole
from runner.results.media import (
    JPEG,
    PNG,
    WITH_SIGNATURE,
    MediaType,
    convertible,
    describe,
    name_for,
)
from runner.results.shared_references import SharedReferences, unnamed_copy

PIECE_BYTES = 1_000_000
MAX_BYTES = 1_000_000_000
"""Larger files are not even read: the largest upload that the service documents is a tenth of this."""

MEMORY_BYTES = 4_000_000
"""What is sent from memory; larger files are copied to an unnamed temporary file."""

TOLD_AFTER = 50  # mended pictures: half a minute of a phone's

AWAY_AFTER_S = 30.0  # other jobs use other files, and this file is tried again

Fetch = Callable[[Collection[str], Copies], Mapping[str, ReferenceProblem]]
"""Fetches files by their urls into a folder; returns why some could not be had."""


class ReferenceChanged(UsageError):
    """A file's content is no longer what was planned."""


class ReferenceMissing(UsageError):
    """A file that was there when the job was planned cannot be read now."""


class _UnfitError(Exception):
    def __init__(self, what: str, hint: str, code: str) -> None:
        super().__init__(what)
        self.problem = ReferenceProblem(what=what, hint=hint, code=code)


class DiskReferences:
    """Reads references from the disk.

    Args:
        cache: Saves hashing a file again that looks as it did.
        max_bytes: Files above this are refused unread.
        clock: Tells whether a file was changed just now, so that its times prove nothing yet.
        copies: Where mended pictures are kept; None where none are made.
        fetched: Where files are kept that were named by url; None where none may be.
        fetch: Fetches them; without it those that are not there are not judged.
        tell: Takes a line for people where mending takes long.
        elsewhere: Finds what another machine had at a path that nothing is at here, by the path as it is written.
    """

    def __init__(
        self,
        cache: HashMemory | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        clock: Clock | None = None,
        copies: Copies | None = None,
        fetched: Copies | None = None,
        fetch: Fetch | None = None,
        tell: Callable[[str], None] = lambda _: None,
        elsewhere: Callable[[str], Reference | None] = lambda _: None,
    ) -> None:
        self._tell = tell
        self._elsewhere = elsewhere
        self._made = 0  # copies that were mended by this reader
        self._fetched = fetched
        self._fetch = fetch
        self._refused: dict[str, ReferenceProblem] = {}
        self._asked: set[str] = set()
        self._copies = copies
        self._cache = cache
        self._max_bytes = max_bytes
        self._clock = clock or SystemClock()

    def read(self, root: Path, text: str, mend: Wanted | None = None) -> Reference | ReferenceProblem:
        """Look at one file: is it there, a regular file, whole, of a known type, and what is its hash?

        Args:
            root: What a relative path is relative to: the manifest's folder.
            text: The path as written, after expansion. Symlinks are followed, also out of `root`.
            mend: What a picture is to become, where it is not that already; the copy is what is returned then.
        """
        if not text or "\0" in text:
            what = f"{text!r} is not a path" if text else "the path of a reference is empty"
            return ReferenceProblem(what=what, hint="write the path of a file", code="reference-path")
        # `resolve` would follow the symlinks.
        return self._judged(Path(os.path.abspath(root / text)), text, mend)  # noqa: PTH100

    def read_url(
        self, url: str, mend: Wanted | None, others: Callable[[], Collection[str]]
    ) -> Reference | ReferenceProblem:
        """Look at a file that is named by its url: it is fetched once, and judged like any other.

        Args:
            url: Where it is, over http or https.
            mend: As for `read`.
            others: Says which urls will be asked for besides, so that they are fetched at the same time.

        Raises:
            RunnerError: Nothing can be fetched at all.
        """
        if self._fetched is None:
            what = f"{bare(url)} is a url, not a file"
            return ReferenceProblem(what=what, hint="download it and name the file", code="url-reference")
        try:
            with _kept_in(self._fetched, bare(url)):
                copy = self._copy_of(url)
                if copy is None and self._fetch is None:
                    return _not_fetched(url)
                if copy is None and url not in self._refused:
                    self._fetch_with(url, others)
                    copy = self._copy_of(url)
        except _UnfitError as exc:
            return exc.problem
        if copy is None:
            return self._refused[url]
        return self._judged(copy.path, bare(url), mend)

    def _copy_of(self, url: str) -> Copy | None:
        assert self._fetched is not None
        return next(iter(self._fetched.of(origin_of(url))), None)

    def _fetch_with(self, url: str, others: Callable[[], Collection[str]]) -> None:
        assert self._fetch is not None
        assert self._fetched is not None
        wanted = {url} if self._asked else {url, *others()}
        fresh = [each for each in sorted(wanted - self._asked) if self._copy_of(each) is None]
        self._asked |= wanted
        self._refused |= self._fetch(fresh, self._fetched)

    def still_has(self, reference: Reference) -> bool:
        """Return whether the file of a reference has the content it had."""
        if isinstance(reference.file, ObjectPath):
            return False
        found = self._judged(reference.file, reference.path, None)
        return isinstance(found, Reference) and found.sha256 == reference.sha256

    def _judged(self, path: Path, text: str, mend: Wanted | None) -> Reference | ReferenceProblem:
        try:
            return self._read(path, text, mend)
        except _UnfitError as exc:
            return exc.problem
        except OSError as exc:
            gone = exc.errno in (errno.ENOENT, errno.ENOTDIR)
            return (self._elsewhere(text) if gone else None) or _unreadable(text, exc)

    def _read(self, path: Path, text: str, mend: Wanted | None) -> Reference:
        with _open_regular(path, text) as file:
            before = os.fstat(file.fileno())
            if before.st_size == 0:
                raise _UnfitError(f"{text} is empty", "put the real file there", "reference-empty")
            if before.st_size > self._max_bytes:
                raise _UnfitError(
                    f"{text} has {before.st_size / 1e6:,.0f} MB",
                    "that is above every upload limit",
                    "reference-too-large",
                )
            identified = identify(file, before.st_size)
            head = identified.head
            media = identified.media if identified.sure or _is_named_so(text, identified.media) else None
            made_into = convertible(head) if media is None else None
            if made_into is not None and mend is not None and self._copies is not None:
                media = made_into
            if media is None:
                raise _UnfitError(
                    f"{text} is not a known image, video or sound type: {_looks_like(identified)}",
                    "`mend: true` makes a PNG or JPEG of it"
                    if made_into is not None
                    else _what_else(identified),
                    "reference-type",
                )
            cut = whole(file, media, before.st_size, more_may_follow=True)
            mend = mend if media.kind is Kind.IMAGE and self._copies is not None else None
            if cut is not None and not (mend is not None and media is JPEG):
                hint = "export or copy it again"
                raise _UnfitError(
                    f"{text} is not a whole {media.mime} file: {cut}",
                    f"{hint}; with `mend: true` it is repaired if it can be" if media is JPEG else hint,
                    "reference-cut",
                )
            looks = (str(path), before.st_size, before.st_mtime_ns, before.st_ino)
            known = self._cache.get(*looks) if self._cache else None
            odd: tuple[str, ...] = ()
            found: Look | None = None
            if media.kind is Kind.IMAGE and (found := _look(file, text, media, checksums=known is None)):
                odd = oddities(found)
            sha256 = self._hash(file, path, text, before) if known is None else Sha256(known)
            if mend is not None and (cut is not None or needs_mending(found, media, before.st_size, mend)):
                copy, mended = self._mended(file, text, media, mend, sha256, broken=cut is not None)
                return Reference(
                    path=text,
                    file=copy.path,
                    kind=media.kind,
                    mime=mended.mime,
                    size_bytes=copy.size_bytes,
                    sha256=copy.sha256,
                    odd=(MENDED, REPAIRED) if cut is not None else (MENDED,),
                )
        return Reference(
            path=text,
            file=path,
            kind=media.kind,
            mime=media.mime,
            size_bytes=before.st_size,
            sha256=sha256,
            odd=odd,
        )

    def _mended(
        self, file: BinaryIO, text: str, media: MediaType, wanted: Wanted, sha256: Sha256, *, broken: bool
    ) -> tuple[Copy, MediaType]:
        """Return the copy of a picture that a model takes: the one that was made before, or a new one."""
        assert self._copies is not None
        with _kept_in(self._copies, text):
            made = [(copy, _type_of(copy)) for copy in self._copies.of(sha256)]
        for copy, what in made:
            if what.mime in wanted.mimes and copy.size_bytes <= wanted.most_bytes:
                return copy, what
        try:
            mended = mend_picture(file, media, wanted, broken=broken)
        except PictureBroken as exc:
            raise _UnfitError(
                f"{text} cannot be mended: {exc}", "export or copy it again", "reference-broken"
            ) from exc
        self._made += 1
        if self._made % TOLD_AFTER == 0:
            self._tell(f"mended {self._made:,} pictures so far, kept in {self._copies.folder}")
        with _kept_in(self._copies, text):
            return self._copies.keep(sha256, mended.data, mended.media.extension), mended.media

    def _hash(self, file: BinaryIO, path: Path, text: str, before: os.stat_result) -> Sha256:
        DRIVES.wait_for(path, whole=True)
        file.seek(0)
        sha256 = hashlib.sha256()
        while piece := file.read(PIECE_BYTES):
            sha256.update(piece)
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _UnfitError(
                f"{text} changes while it is being read", "wait until it is written", "reference-changing"
            )
        if self._cache and abs(self._clock.wall_s() - before.st_mtime) > SETTLED_AFTER_S:
            looks = (str(path), before.st_size, before.st_mtime_ns, before.st_ino)
            self._cache.put(*looks, sha256.hexdigest())
        return Sha256(sha256.hexdigest())


def _looks_like(found: Identified) -> str:
    if found.media is not None and not found.sure:
        return f"only its first bytes are those of {found.media.mime}, as those of raw samples may be"
    return f"it looks like {describe(found.head)}"


def _what_else(found: Identified) -> str:
    """Return what to do about a file that is no picture, film or sound."""
    looks = describe(found.head)
    if "HTML" in looks:
        return "it may say that the file was not found, or ask to sign in: download the file again"
    if any(word in looks for word in ("image", "drawing", "picture")):
        return "export it as PNG or JPEG"
    return f"known by signature: {', '.join(item.extension for item in WITH_SIGNATURE)}"


def _is_named_so(text: str, media: MediaType | None) -> bool:
    """Return whether a name says what unsure bytes hint at: an odd MP3 is told from samples by that."""
    return media is not None and name_for(text, media.mime) == (PurePosixPath(text).name or "file")


def _not_fetched(url: str) -> Reference:
    """Return what stands for a file that nobody has fetched yet: judged are only its kind and its number."""
    ending = PurePosixPath(bare(url)).suffix[1:].lower()
    media = next((media for media in WITH_SIGNATURE if media.extension == ending), JPEG)
    return Reference(
        path=bare(url),
        file=Path("/nonexistent"),
        kind=media.kind,
        mime=media.mime if media.kind is not Kind.IMAGE else JPEG.mime,
        size_bytes=0,
        sha256=Sha256("0" * 64),
        odd=(NOT_FETCHED,),
    )


@contextmanager
def _kept_in(copies: Copies, text: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise _UnfitError(
            f"a copy of {text} cannot be kept in {copies.folder}: {exc.strerror or exc}",
            "make room there, or make the folder writable",
            "reference-not-kept",
        ) from exc


def _type_of(copy: Copy) -> MediaType:
    return PNG if copy.path.suffix == f".{PNG.extension}" else JPEG


def _look(file: BinaryIO, text: str, media: MediaType, *, checksums: bool) -> Look | None:
    try:
        return look(file, media, checksums=checksums)
    except PictureBroken as exc:
        raise _UnfitError(
            f"{text} cannot be read as {media.mime}: {exc}",
            "make it smaller" if exc.too_large else "export or copy it again",
            "reference-broken",
        ) from exc


def _open_regular(path: Path, text: str, *, most_s: float = math.inf) -> BinaryIO:
    # Looked at before it is opened, since opening a device may do something; O_NONBLOCK, since
    # opening a FIFO would wait for ever if one took the file's place in between.
    DRIVES.wait_for(path, most_s=most_s)
    _refuse_odd(os.stat(path), text)  # noqa: PTH116  # its OSError is the caller's
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0))
    try:
        _refuse_odd(os.fstat(number), text)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def _refuse_odd(status: os.stat_result, text: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    names = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    what = next((words for test, words in names if test(status.st_mode)), "something else")
    raise _UnfitError(f"{text} is {what}, not a file", "name an ordinary file", "reference-not-a-file")


def _unreadable(text: str, exc: OSError) -> ReferenceProblem:
    match exc.errno:
        case errno.ENOENT | errno.ENOTDIR:
            hint = "paths are relative to the manifest's folder"
            return ReferenceProblem(what=f"{text} does not exist", hint=hint, code="reference-missing")
        case errno.EACCES | errno.EPERM:
            hint = "look at the permissions of the file and its folders"
            return ReferenceProblem(what=f"{text} may not be read", hint=hint, code="reference-unreadable")
        case errno.ELOOP:
            hint = "the link leads back to itself"
            return ReferenceProblem(
                what=f"{text} is a symlink to nowhere", hint=hint, code="reference-missing"
            )
        case errno.ENAMETOOLONG:
            hint = "shorten it"
            return ReferenceProblem(
                what=f"the path {text[:80]}… is too long", hint=hint, code="reference-path"
            )
        case _:
            what = f"{text} cannot be read: {exc.strerror or exc}"
            return ReferenceProblem(what=what, hint="", code="reference-unreadable")


def open_verified(reference: Reference, shared: SharedReferences | None = None) -> BinaryIO:
    """Return the content of a reference, proven to be what was hashed, whatever happens to its file now.

    The caller closes it. It stands at its beginning and is `reference.size_bytes` long.

    Args:
        reference: What is wanted.
        shared: Where its content may be too, if its file is not on this machine.

    Raises:
        ReferenceChanged: The file has another content than when the job was planned.
        ReferenceMissing: It cannot be read any more.
        DriveAway: The drive it is on does not answer.
        TemporaryTrouble: There is no room for the temporary copy.
    """
    try:
        source = _opened(reference, shared)
    except _UnfitError as exc:
        raise ReferenceChanged(exc.problem.what, hint=_PLAN_AGAIN) from exc
    except CopyFailed as exc:
        raise _no_room(exc) from exc
    except OSError as exc:
        raise ReferenceMissing(_unreadable(reference.path, exc).what, hint=_PLAN_AGAIN) from exc
    with source:
        copy = _room_for(reference)
        try:
            _copy_verified(source, copy, reference)
        except BaseException:
            copy.close()
            raise
    return copy


def _opened(reference: Reference, shared: SharedReferences | None) -> BinaryIO:
    try:
        return _opened_wherever(reference, shared)
    except BucketTrouble as exc:  # as a drive: other jobs use other files, and this one is tried again
        raise DriveAway(exc.message, hint=exc.hint) from exc


def _opened_wherever(reference: Reference, shared: SharedReferences | None) -> BinaryIO:
    if isinstance(reference.file, ObjectPath):
        if (copy := unnamed_copy(reference.file)) is None:
            raise FileNotFoundError(errno.ENOENT, "not there", str(reference.file))
        return copy
    try:
        return _copied_from_afar(reference.file) or _open_regular(
            reference.file, reference.path, most_s=AWAY_AFTER_S
        )
    except (FileNotFoundError, NotADirectoryError):
        found = shared.open(reference) if shared is not None else None
        if found is None:
            raise
        return found


def _copied_from_afar(path: Path) -> BinaryIO | None:
    """Return a copy of a file whose drive may go away at any time; None where it is on a disk of this machine."""
    if DRIVES.leads_away(os.path.abspath(path)) is None:  # noqa: PTH100  # links are followed there
        return None
    try:
        number, name = tempfile.mkstemp(prefix="rivya-batch-")
    except OSError as exc:
        raise CopyFailed(*exc.args) from exc
    file = os.fdopen(number, "rb")
    try:
        if DRIVES.copy_of(path, name, most_s=AWAY_AFTER_S):
            return file
    except BaseException:
        file.close()
        raise
    finally:
        os.unlink(name)  # noqa: PTH108
    file.close()
    return None


_PLAN_AGAIN = "put the file back, or run again to plan with the file as it is"


def _room_for(reference: Reference) -> BinaryIO:
    if reference.size_bytes <= MEMORY_BYTES:
        return io.BytesIO()
    try:
        return tempfile.TemporaryFile(prefix="rivya-batch-")
    except OSError as exc:
        raise _no_room(exc) from exc


def _no_room(exc: OSError) -> TemporaryTrouble:
    return TemporaryTrouble(
        f"cannot keep a copy of a reference in {tempfile.gettempdir()}: {exc.strerror or exc}",
        hint="free disk space there, or set TMPDIR, then run again",
    )


def _copy_verified(source: BinaryIO, copy: BinaryIO, reference: Reference) -> None:
    sha256, size = hashlib.sha256(), 0
    while True:
        try:
            piece = source.read(PIECE_BYTES)
        except OSError as exc:
            raise ReferenceMissing(_unreadable(reference.path, exc).what, hint=_PLAN_AGAIN) from exc
        size += len(piece)
        if not piece or size > reference.size_bytes:
            break
        sha256.update(piece)
        try:
            copy.write(piece)
        except OSError as exc:
            raise _no_room(exc) from exc
    if size != reference.size_bytes or sha256.hexdigest() != reference.sha256:
        raise ReferenceChanged(
            f"{reference.path} has changed since the job was planned; it was not sent", hint=_PLAN_AGAIN
        )
    copy.seek(0)
