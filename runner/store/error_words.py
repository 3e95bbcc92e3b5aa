"""What an error of SQLite or of the disk, or a database of another version, means to a person, and what to do."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.errors import RunnerError, StateError, TemporaryTrouble
from runner.store.copies import beside

BUSY_TIMEOUT_S = 20.0

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_SO_NAMED = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
_MANY_OPEN = frozenset({errno.EMFILE, errno.ENFILE})
# A drive that was unplugged, a mount whose server has gone: nothing is wrong with what was typed.
AWAY = frozenset(
    {
        errno.ENOTCONN,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
        errno.EIO,
        errno.EREMOTEIO if hasattr(errno, "EREMOTEIO") else errno.EIO,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ECONNABORTED,
        errno.ESHUTDOWN,
    }
)


class Contradiction(RunnerError):
    """The database refuses what contradicts what is in it; a fault of ours, and nothing of it was kept."""


@contextlib.contextmanager
def trouble(doing: str, path: Path | None = None, *, opening: bool = False) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours, by whether a later run can work.

    Args:
        doing: What was being done, for the message.
        path: The database, where copies of it are worth a word.
        opening: Whether nothing was done with it yet.
    """
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as exc:
        raise told(exc, doing, path, opening=opening) from exc


def told(
    exc: sqlite3.DatabaseError | OSError, doing: str, path: Path | None = None, *, opening: bool = False
) -> RunnerError:
    """Return what `trouble` makes of an error."""
    if isinstance(exc, sqlite3.DatabaseError):
        return _of_sqlite(exc, doing, path, opening=opening)
    return of_disk(exc, doing)


def as_trouble(exc: BaseException) -> RunnerError | None:
    """Return what an error of the database or of a disk means to a person; None for any other error."""
    if isinstance(exc, sqlite3.DatabaseError):
        return _of_sqlite(exc, "using the state database", None, opening=False)
    if isinstance(exc, OSError) and (exc.filename is not None or exc.errno in AWAY):
        return of_disk(exc, "")
    return None


def of_disk(exc: OSError, doing: str) -> RunnerError:
    """Return what an error of the disk means to a person."""
    what = ": ".join(
        part for part in (doing, exc.strerror or str(exc), str(exc.filename or exc.filename2 or "")) if part
    )
    if exc.errno in _FULL:
        return _full(what)
    if exc.errno in _FORBIDDEN:
        return StateError(what, hint="make it writable, or name another database with --state FILE")
    if exc.errno in _NOT_SO_NAMED:
        return StateError(what, hint="something else is where a file or folder of rivya-batch belongs")
    if exc.errno in _MANY_OPEN:
        return TemporaryTrouble(what, hint="raise `ulimit -n`, then run again")
    return TemporaryTrouble(
        what, hint="reconnect its drive, then run again; nothing that was paid for is lost"
    )


def _full(what: str) -> TemporaryTrouble:
    return TemporaryTrouble(what, hint="free disk space, then run again; nothing that was committed is lost")


def _of_sqlite(exc: sqlite3.DatabaseError, doing: str, path: Path | None, *, opening: bool) -> RunnerError:
    # The lower byte is the kind; what Python itself raises (a closed connection) has none.
    match getattr(exc, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return _full(f"{doing}: {exc}")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM:
            return TemporaryTrouble(
                f"{doing}: {exc}",
                hint="free disk space, or reconnect its drive, then run again; nothing that was committed is lost",
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return TemporaryTrouble(
                f"{doing}: another program keeps it locked for more than {BUSY_TIMEOUT_S:g} s",
                hint="close the program that holds the file (a database browser?), then run again",
            )
        case sqlite3.SQLITE_CORRUPT:
            return damaged(doing, str(exc), path)
        case sqlite3.SQLITE_NOTADB:
            return damaged(doing, "it is not a database, or its beginning was overwritten", path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return _unusable(exc, doing)
        case sqlite3.SQLITE_CANTOPEN if not opening:
            return TemporaryTrouble(f"{doing}: {exc}", hint="reconnect its drive, then run again")
        case _ if opening:
            return _unusable(exc, doing)
        case sqlite3.SQLITE_CONSTRAINT:
            return Contradiction(f"{doing}: {exc}")
        case _:
            return RunnerError(f"{doing}: {exc}")


def _unusable(exc: sqlite3.DatabaseError, doing: str) -> StateError:
    return StateError(
        f"{doing}: {exc}", hint="make the folder writable, or name another database with --state FILE"
    )


def newer(place: object, steps: Sequence[str]) -> StateError:
    """Return the error for a database whose tables have had steps that this version does not know."""
    return StateError(
        f"{place} was written by a newer rivya-batch (it has {', '.join(steps)})",
        hint="use that version, or name another database with --state",
    )


def older(place: object) -> StateError:
    """Return the error for a database that is only to be read, and lacks steps of this version."""
    return StateError(f"{place} is of an older version", hint="`rivya-batch run` brings it up to date")


def damaged(doing: str, why: str, path: Path | None) -> StateError:
    """Return the error for a database that cannot be read as one.

    A new one would pay for everything again, so no hint leads there but for a file that never was one.
    """
    copies = beside(path) if path is not None else []
    name = str(path) if path is not None else "state/runner.db"
    back = (
        f"put back the best copy beside it ({', '.join(copy.name for copy in copies)})"
        if copies
        else "put back a copy of it"
    )
    return StateError(
        f"{doing}: it is damaged: {why}",
        hint=f"do not start a new one, which would pay for everything again: {back}, with {name}-wal moved aside;"
        f" or recover what is left: `sqlite3 {name} .recover | sqlite3 recovered.db`, and name that with --state;"
        " only if this never was a database of rivya-batch, name another with --state",
    )
