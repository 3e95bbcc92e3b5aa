"""What stands where a database should be, and what place that is, before it is opened."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

from runner.errors import StateError
from runner.host.mounts import SYNC_MARKERS, mount_of, synced_by_name
from runner.store.error_words import damaged
from runner.store.server_address import ServerAddress, need_driver

SMALL_BYTES = 20_000_000  # looked through in a tenth of a second


def has_database(path: Path | ServerAddress) -> bool:
    """Say whether there is a database to read; an empty file is none, nor is one at a server without our tables.

    Raises:
        StateError: It is a folder, or only the log of one is left.
        OSError: Nobody can know: its drive is away.
        TemporaryTrouble: Nobody can know: its server cannot be reached.
    """
    if isinstance(path, ServerAddress):
        need_driver()
        from runner.store.postgres import has_tables

        return has_tables(path)
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


def sqlite_version() -> str:
    """Return the version of the SQLite library that is used here."""
    return sqlite3.sqlite_version


def read_mounts() -> str:
    """Return the system's own list of what is mounted where; an empty text where it has none."""
    try:
        if sys.platform == "darwin":
            found = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False)
            return found.stdout
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, subprocess.SubprocessError):
        return ""


def refuse_mount(path: Path, mounts: str) -> None:
    """Refuse a place where SQLite accepts a write-ahead log and cannot keep it.

    Raises:
        StateError: It is one, as far as the kind of its mount tells.
    """
    mount = mount_of(str(path), mounts)
    if mount is None or mount.keeps_logs:
        return
    along = (
        f" (first copy {path.name} and, if it is there, {log_of(path).name} to it, while nothing runs)"
        if _size(path)
        else ""
    )
    raise StateError(
        f"{path} is on a {mount.kind} mount ({mount.point}): SQLite would accept it and may damage the database there,"
        " and with it what is known to be paid for",
        hint=f"keep the database on a disk of this machine: --state FILE, or RIVYA_STATE=FILE{along}; results may stay"
        " where they are",
    )


def synced_by(path: Path) -> str | None:
    """Return the program that seems to keep a folder above in step with other machines."""
    if (program := synced_by_name(path)) is not None:
        return program
    for folder in path.parents:
        for marker, program in SYNC_MARKERS.items():
            if os.path.lexists(folder / marker):
                return program
    return None


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
    """Say whether what a killed process has left in the log makes the file suspect.

    SQLite takes it up unseen, whatever file lies there by now. A small file is looked through in no time, and
    one that was put there after the log was last written is not the one the log was written for.
    """
    try:
        log, file = os.stat(log_of(path)), os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return False
    return log.st_size > 0 and (file.st_size <= SMALL_BYTES or file.st_ctime_ns > log.st_ctime_ns)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the disk knows of such a thing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # a disk that has no such thing
            raise
    finally:
        os.close(descriptor)


def _size(path: Path) -> int | None:
    """Return the size of a file; None where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
