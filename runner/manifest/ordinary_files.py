"""Opens the files a person names: ordinary files only, of bounded size, and never a hang."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from runner.host.drives import DRIVES
from runner.manifest.yaml12 import MAX_BYTES, decode
from runner.model import Place, Problem


class Unreadable(Exception):
    """A file cannot be read.

    Args:
        what: Why, beginning after the file's name: `is a folder`.
        code: A stable kebab-case name.
        hint: What to do; may be empty.
    """

    def __init__(self, what: str, code: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.hint = hint


def open_regular(path: Path) -> BinaryIO:
    """Open an ordinary file (through symlinks) for reading bytes.

    Raises:
        Unreadable: It is missing, a folder, a pipe, a device, or may not be read.
    """
    DRIVES.wait_for(path, whole=True)
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer that may never come.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as exc:
        hint = (
            "paths are relative to the manifest's folder"
            if not path.is_symlink()
            else "it is a dangling symlink"
        )
        raise Unreadable("is not there", "file-not-found", hint) from exc
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise Unreadable(f"cannot be opened ({reason})", "file-unreadable") from exc
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "not an ordinary file"
        raise Unreadable(f"is {kind}", "not-a-file")
    return os.fdopen(descriptor, "rb")


def read_text(path: Path, *, shown: str) -> str | Problem:
    """Return the text of a whole UTF-8 file, or a problem that names it as `shown`."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except Unreadable as exc:
        place = Place(file=shown, line=1, column=1)
        return Problem(place=place, what=f"the file {exc.what}", code=exc.code, hint=exc.hint)
    except OSError as exc:
        place = Place(file=shown, line=1, column=1)
        return Problem(place=place, what=f"the file cannot be read ({exc.strerror})", code="file-unreadable")
    return decode(data, file=shown)
