"""Files made or fetched for jobs, kept beside the database: what was planned with one is sent with that very one.

A file's name is what it was made of and the SHA-256 of what it is, so that nothing else need be remembered. Each is
written whole, or is not there.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner.model import Sha256
from runner.results.parts import sync_folder

# A file changed again within the same tick of its file system's clock keeps its mtime.
SETTLED_AFTER_S = 3.0
LEFT_AFTER_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A file that is kept. `size_bytes` is its size, `sha256` is of its content."""

    path: Path
    sha256: Sha256
    size_bytes: int


class HashMemory(Protocol):
    """Remembers the SHA-256 of files by how they look from outside."""

    def get(self, path: str, size: int, mtime_ns: int, inode: int) -> str | None:
        """Return the SHA-256 of a file that looks just as it did, if known."""
        ...

    def put(self, path: str, size: int, mtime_ns: int, inode: int, sha256: str) -> None:
        """Remember it."""
        ...


class Copies:
    """The files in one folder, which is made when the first is kept.

    Args:
        folder: Where they are.
        cache: Remembers what was proven of files by how they look from outside.
    """

    def __init__(self, folder: Path, cache: HashMemory | None = None) -> None:
        self.folder = folder
        self._cache = cache
        self._found: dict[str, list[Copy]] | None = None
        self._proven: set[Path] = set()
        self._swept = False

    def of(self, origin: str) -> list[Copy]:
        """Return what is kept of an origin, the largest first; what is not what its name says is left out.

        Raises:
            OSError: The folder cannot be read.
        """
        if self._found is None:
            self._found = self._read()
        whole = [copy for copy in self._found[origin] if self._is_whole(copy)]
        return sorted(whole, key=lambda copy: (-copy.size_bytes, copy.sha256))

    def sweep(self) -> None:
        """Remove, once, what was left half written by somebody who was killed a day ago or more."""
        if self._swept:
            return
        self._swept = True
        with suppress(OSError):
            for entry in os.scandir(self.folder):
                if entry.name.startswith(".") and time.time() - entry.stat().st_mtime > LEFT_AFTER_S:
                    os.unlink(entry.path)  # noqa: PTH108

    def keep(self, origin: str, data: bytes, extension: str) -> Copy:
        """Write a file and return it; it is on the disk then.

        Args:
            origin: What it was made of: letters of a hash.
            data: What it is.
            extension: What its name ends with.

        Raises:
            OSError: It cannot be written.
        """
        self.of(origin)
        self.sweep()
        sha256 = Sha256(hashlib.sha256(data).hexdigest())
        self.folder.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return self.take(origin, Path(name), sha256, extension)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def take(self, origin: str, file: Path, sha256: Sha256, extension: str) -> Copy:
        """Give a file of the folder, which is on the disk already, the name of what it is.

        Args:
            origin: What it was made of: letters of a hash.
            file: The file.
            sha256: Of its content.
            extension: What its name ends with.

        Raises:
            OSError: It cannot be renamed.
        """
        self.of(origin)
        path = self.folder / f"{origin}.{sha256}.{extension}"
        os.replace(file, path)  # noqa: PTH105
        sync_folder(self.folder)
        copy = Copy(path=path, sha256=sha256, size_bytes=path.stat().st_size)
        assert self._found is not None
        self._found[origin] = [*(known for known in self._found[origin] if known.path != path), copy]
        self._proven.add(path)
        return copy

    def _read(self) -> defaultdict[str, list[Copy]]:
        found: defaultdict[str, list[Copy]] = defaultdict(list)
        try:
            entries = sorted(os.scandir(self.folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return found
        for entry in entries:
            origin, _, rest = entry.name.partition(".")
            sha256 = rest.partition(".")[0]
            if origin and len(sha256) == 64 and entry.is_file():
                found[origin].append(
                    Copy(path=Path(entry.path), sha256=Sha256(sha256), size_bytes=entry.stat().st_size)
                )
        return found

    def _is_whole(self, copy: Copy) -> bool:
        if copy.path in self._proven:
            return True
        try:
            with copy.path.open("rb") as file:
                status = os.fstat(file.fileno())
                looks = (str(copy.path), status.st_size, status.st_mtime_ns, status.st_ino)
                found = self._cache.get(*looks) if self._cache is not None else None
                if found is None:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                    # What was written just now may change without another time.
                    if self._cache is not None and time.time() - status.st_mtime > SETTLED_AFTER_S:
                        self._cache.put(*looks, found)
        except FileNotFoundError:
            return False
        if found == copy.sha256:
            self._proven.add(copy.path)
        return found == copy.sha256
