"""What stands where a database should be, before it is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runner.errors import StateError
from runner.store.troubles import damaged

SMALL_BYTES = 20_000_000  # looked through in a tenth of a second


def has_database(path: Path) -> bool:
    """Say whether there is a database to read; an empty file is none.

    Raises:
        StateError: It is a folder, or only the log of one is left.
        OSError: Nobody can know: its drive is away.
    """
    if is_folder(path):
        raise StateError(f"{path} is a folder", hint="name a file with --state, or move the folder away")
    if _size(path):
        return True
    log = log_of(path)
    if _size(log):
        # SQLite would take the file for a new one and remove the log, and with it all that only the log knows.
        gone = "is gone" if _size(path) is None else "is empty"
        raise damaged(
            f"looking for the state database {path}", f"it {gone}, and its log {log.name} is there", path
        )
    return False


def is_folder(path: Path) -> bool:
    """Say whether a folder is there; from Python 3.14 on `Path.is_dir` calls one on a dead drive gone.

    Raises:
        OSError: Nobody can know.
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False


def log_of(path: Path) -> Path:
    """Return where SQLite keeps what was committed since the last checkpoint."""
    return path.with_name(f"{path.name}-wal")


def has_doubtful_log(path: Path) -> bool:
    """Say whether what a killed process has left in the log is to be held against the file.

    SQLite takes it up unseen, whatever file lies there by now. A small file is looked through in no time, and
    one that was put there after the log was last written is not the one the log was written for.
    """
    try:
        log, file = os.stat(log_of(path)), os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return False
    return log.st_size > 0 and (file.st_size <= SMALL_BYTES or file.st_ctime_ns > log.st_ctime_ns)


def _size(path: Path) -> int | None:
    """Return the size of a file; None where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
