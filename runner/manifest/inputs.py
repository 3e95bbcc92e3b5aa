"""What the jobs of a manifest were read from, beside the manifest itself: told apart by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.manifest.ordinary_files import open_regular

_PIECE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file of rows, or what a pattern found.

    `name` is the file's path, or the pattern as written, which is relative to the manifest's folder.
    `sha256` is of the file's bytes, or of the names found; it was taken before any of it was used.
    """

    kind: Literal["rows", "glob"]
    name: str
    sha256: str


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of an ordinary file.

    Raises:
        Unreadable: It cannot be opened, or is no ordinary file.
        OSError: It cannot be read.
    """
    sha256 = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(_PIECE_BYTES):
            sha256.update(piece)
    return sha256.hexdigest()


def names_sha256(names: Iterable[str]) -> str:
    """Return the SHA-256 of names, none of which holds a NUL."""
    return hashlib.sha256("\0".join(names).encode("utf-8")).hexdigest()
