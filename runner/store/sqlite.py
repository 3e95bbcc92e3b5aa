"""One SQLite file: opened, migrated, written in transactions, checkpointed without a race.

Rules kept here: WAL with `synchronous=FULL`; every write is inside `BEGIN IMMEDIATE`; migrations
run under that lock, after a copy of the file; a newer database is refused. SQLite before 3.51.3
can corrupt a WAL file when one connection checkpoints while another commits, so commits hold a
shared lock on `<db>.checkpoint` and checkpoints an exclusive one.

The connection is SQLite's own; `store.tables` gives it to sqlite-utils, which applies the migrations.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from runner.errors import StateError, TemporaryTrouble
from runner.host.clock import Clock
from runner.host.workspace import Holder, ManifestLock, holder_of
from runner.store.error_words import BUSY_TIMEOUT_S, damaged, newer, older, told, trouble
from runner.store.migrations import STEPS, applied, migrations, pending
from runner.store.place import has_database, has_doubtful_log, log_of, read_mounts, refuse_mount, sync_folder
from runner.store.rescue import keep_copy, keep_tasks
from runner.store.tables import tables
from runner.store.watch import FileChange, Watch, descriptors_of

CHECKPOINT_PAGES = 2_000  # about 8 MB of WAL
# A log that has reached that length is written over from its beginning: to make a file longer takes twice the time of
# writing it. It grows by a commit each time, and so is cut now and then.
LONGEST_PAGES = 2 * CHECKPOINT_PAGES
_opening = threading.RLock()  # one thread at a time: which descriptor is whose is seen from what came anew


class StateFile:
    """An open state database.

    `replaced` says what has become of the file while we had it open: SQLite goes on with the file it has, and nobody
    else will find what is written there. `rescued` is where what we know is kept then, where it is whole.

    Not thread-safe: one thread at a time may use it (see `store.writer`).
    """

    def __init__(self, conn: sqlite3.Connection, path: Path | None, *, created: bool, writable: bool) -> None:
        self.conn = conn
        self.path = path
        self.created = created
        self.writable = writable
        self.replaced: FileChange | None = None
        self.rescued: Path | None = None
        self.rescued_whole = False
        self._watch: Watch | None = None
        self._gate: IO[bytes] | None = None
        self._log_full = CHECKPOINT_PAGES * 4096  # bytes: so long it is to be moved into the file
        if path is not None and writable:
            self._gate = open(f"{path}.checkpoint", "ab")  # noqa: PTH123, SIM115 (kept open)

    @classmethod
    def open(cls, path: Path, *, mounts: Callable[[], str] = read_mounts) -> StateFile:
        """Open for writing; create and migrate as needed.

        Args:
            path: The file, absolute and without symlinks.
            mounts: Says what is mounted where (see `mounts`).

        Raises:
            StateError: The folder is read-only or on a disk that keeps no log, or the file is newer than this
                program, damaged or not ours.
            TemporaryTrouble: The disk is full, or another program keeps the file locked.
        """
        with _opening, trouble(f"opening the state database {path}", path, opening=True):
            refuse_mount(path, mounts())
            path.parent.mkdir(parents=True, exist_ok=True)
            if has_database(path) and has_doubtful_log(path):
                _look_through(path)
            others = descriptors_of(path)
            file = cls(_connect(str(path), uri=False), path, created=False, writable=True)
            try:
                file.created = not file._refuse_strange()
                file._use_wal()
                file._migrate()
                if file.created:
                    _sync_folders(path)
                file._watch = Watch(path, min(descriptors_of(path) - others, default=None))
            except BaseException:
                file._let_go()
                raise
        return file

    def _use_wal(self) -> None:
        """Turn a new file to WAL, one process at a time: SQLite does not wait for a lock to do this."""
        assert self._gate is not None
        if self.conn.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            mode = self.conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode == "wal":
                return
            # Other journals lose what was acknowledged when the power fails, and disks that know no WAL
            # (most of those on a network) often know no locks either: not a place to keep money.
            if self.created and self.path is not None and os.stat(self.path).st_size == 0:  # noqa: PTH116
                self.path.unlink()
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        raise StateError(
            f"{self.path} is on a disk where SQLite cannot keep a write-ahead log (it offers only {mode!r}), as on"
            " most network drives; there a power cut could lose what was paid for",
            hint="name a database on a disk of this machine with --state FILE",
        )

    @classmethod
    def open_readonly(cls, path: Path) -> StateFile:
        """Open without writing a byte; the file must exist and be of this version.

        Raises:
            StateError: It cannot be read, is newer or older than this program, or is not ours.
        """
        with _opening, trouble(f"reading the state database {path}", path, opening=True):
            has_database(path)
            conn = _connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            file = cls(conn, path, created=False, writable=False)
            try:
                file._refuse_strange()
                if pending(conn):
                    raise older(path)
            except BaseException:
                file._let_go()
                raise
        return file

    @classmethod
    def in_memory(cls) -> StateFile:
        """Open an empty database that is gone when closed (for a plan where none exists yet)."""
        conn = _connect(":memory:", uri=False)
        file = cls(conn, None, created=True, writable=True)
        file._migrate()
        return file

    def _migrate(self) -> None:
        if not pending(self.conn):
            return
        with self._commits(), _begin(self.conn):
            if pending(self.conn) and applied(self.conn) and self.path is not None:
                self._copy_aside()
            migrations().apply(tables(self.conn))

    def _refuse_strange(self) -> bool:
        """Refuse what a newer version or another program has written; return whether there is anything."""
        had = applied(self.conn)
        foreign = [name for name in had if name not in STEPS]
        if not had and self.conn.execute("SELECT 1 FROM sqlite_master WHERE type = 'table'").fetchone():
            msg = f"{self.path} is the database of another program"
            raise StateError(msg, hint="this is not a rivya-batch database; name another with --state")
        if foreign:
            raise newer(self.path, foreign)
        return bool(had)

    def _copy_aside(self) -> None:
        assert self.path is not None
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        target = sqlite3.connect(f"{self.path}.before-{stamp}")
        source = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(target), contextlib.closing(source):
            source.backup(target)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a write (`BEGIN IMMEDIATE`), commit at the end, roll back on any error."""
        # Plain code: each layer of `with` would cost as much as a statement, once or twice for each job.
        conn, gate = self.conn, self._gate
        try:
            if gate is not None:
                fcntl.flock(gate, fcntl.LOCK_SH)
            try:
                self._look()
                conn.execute("BEGIN IMMEDIATE")
                try:
                    yield conn
                    conn.execute("COMMIT")
                except BaseException:
                    _undo(conn)
                    raise
            finally:
                if gate is not None:
                    fcntl.flock(gate, fcntl.LOCK_UN)
        except (sqlite3.DatabaseError, OSError) as exc:
            raise told(exc, f"writing the state database {self.path}", self.path) from exc

    def error_if_replaced(self) -> TemporaryTrouble | None:
        """Return why nothing may be sent on the strength of what is written here; None while it may."""
        if self.replaced is None:
            return None
        if self.rescued_whole:
            hint = (
                f"what this run knows is kept: `mv {shlex.quote(str(self.rescued))} {shlex.quote(str(self.path))}` puts it"
                " back; the file that is there now may not know of all that is paid for"
            )
        else:
            hint = (
                f"before anything else put back the newest copy of it that there is; what it knew could not be kept whole,"
                f" the tasks under way are listed in {self.rescued}.tasks"
            )
        return TemporaryTrouble(
            f"{self.path} under this run: {self.replaced.words}; nothing more is sent", hint=hint
        )

    @property
    def place(self) -> Path | None:
        """Where it is; None for one in memory."""
        return self.path

    @property
    def is_replaced(self) -> bool:
        """Whether another file has come into its place."""
        return self.replaced is not None

    @property
    def rescued_copy(self) -> Path | None:
        """Where what we know is kept whole, after it was replaced."""
        return self.rescued if self.rescued_whole else None

    def number_on(self, tables: Sequence[str]) -> None:
        """Do nothing: SQLite looks at the last row each time."""

    def data_version(self) -> int:
        """Return a number that changes whenever another connection has committed something."""
        return int(self.conn.execute("PRAGMA data_version").fetchone()[0])

    def clock_of(self, clock: Clock) -> Clock:
        """Return the clock that all who write here go by: this machine's."""
        return clock

    def lock(self, manifest: str) -> ManifestLock:
        """Return the lock that guards the runs of a manifest, not yet taken."""
        assert self.path is not None
        return ManifestLock(self.path, manifest)

    def holder_of(self, manifest: str) -> Holder | None:
        """Return who holds a manifest now."""
        return holder_of(self.path, manifest) if self.path is not None else None

    def without_connection(self, workers: Sequence[int]) -> list[int]:
        """Return none: only at a server several work at one manifest."""
        return []

    def _look(self) -> None:
        """See whether the file is still the one that everybody else will find."""
        if self._watch is None or self.replaced is not None:
            return
        self.replaced = self._watch.look()
        if self.replaced is not None:
            self._rescue()

    def _rescue(self) -> None:
        """Keep what this connection knows in files of their own, beside the one that was replaced."""
        assert self.path is not None
        if self.rescued is None:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            self.rescued = self.path.with_name(f"{self.path.name}.rescued-{stamp}")
        self.rescued_whole = keep_copy(self.conn, self.rescued) or self.rescued_whole
        if not self.rescued_whole:
            keep_tasks(self.conn, self.rescued.with_name(f"{self.rescued.name}.tasks"))

    @contextlib.contextmanager
    def _commits(self) -> Iterator[None]:
        if self._gate is None:
            yield
            return
        fcntl.flock(self._gate, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def checkpoint(self, *, force: bool = False) -> None:
        """Move the WAL into the file when it is long; skipped while another program writes."""
        if self.path is None or self._gate is None or self.replaced is not None:
            return
        if not force and self._watch is not None and self._watch.log_bytes < self._log_full:
            return
        try:
            fcntl.flock(self._gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        try:
            # What was committed stays committed, whatever happens to the WAL. And it does not wait: a reader
            # (a database browser, the report) would hold up every commit of every run for the whole timeout.
            self._look()
            if self.replaced is None:
                with contextlib.suppress(sqlite3.Error):
                    self.conn.execute("PRAGMA busy_timeout = 0")
                    self._move_log(cut=force)
        finally:
            with contextlib.suppress(sqlite3.Error):
                self.conn.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def _move_log(self, *, cut: bool) -> None:
        """Move the WAL into the file, with a number that grows each time: so an older file is known as one."""
        (number,) = self.conn.execute("PRAGMA user_version").fetchone()
        # Where somebody reads, the log stays, and is tried again after each commit: its number is in it already.
        if self._watch is not None and self._watch.is_in_the_file(number) and self._log_bytes() > 0:
            with _begin(self.conn):
                self.conn.execute(f"PRAGMA user_version = {number + 1}")
        log_bytes = self._log_bytes()
        cut = cut or log_bytes > LONGEST_PAGES * 4096
        how = "TRUNCATE" if cut else "RESTART"
        is_read = self.conn.execute(f"PRAGMA wal_checkpoint({how})").fetchone()[0]
        if not is_read:
            self._log_full = CHECKPOINT_PAGES * 4096 if cut else log_bytes + 1

    def _log_bytes(self) -> int:
        return os.stat(f"{self.path}-wal").st_size  # noqa: PTH116

    def close(self) -> None:
        """Checkpoint and close; never raises for what a later opening repairs."""
        if self.writable and self.replaced is None:
            self.checkpoint(force=True)
        if self.replaced is not None:
            self._leave_replaced()
        self._let_go()

    def _leave_replaced(self) -> None:
        """Leave nothing behind that would spoil the file that is there now: our log does not belong to it."""
        assert self.path is not None
        assert self._watch is not None
        assert self.replaced is not None
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._watch.only_the_log_is_gone:
                self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._rescue()
            if self.replaced.log_fits or not self._watch.log_is_ours or self._used_by_others():
                return
            # An empty log is read by nobody, and closing cannot move it into the file.
            if not self.rescued_whole:
                shutil.copyfile(log_of(self.path), f"{self.rescued}-wal")
            os.truncate(log_of(self.path), 0)

    def _used_by_others(self) -> bool:
        """Say whether another run has this database open: it will find out by itself, and needs its log until then."""
        assert self.path is not None
        start, end = f"{self.path.name}.", ".lock"
        names = [
            entry.name[len(start) : -len(end)]
            for entry in self.path.parent.iterdir()
            if entry.name.startswith(start) and entry.name.endswith(end)
        ]
        holders = [holder_of(self.path, name) for name in names]
        return any(holder is not None and holder.pid != os.getpid() for holder in holders)

    def _let_go(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.conn.close()
        if self._gate is not None:
            self._gate.close()
        if self._watch is not None:
            self._watch.close()


def _connect(target: str, *, uri: bool) -> sqlite3.Connection:
    conn = sqlite3.connect(
        target, uri=uri, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.execute("PRAGMA wal_autocheckpoint = 0")
    conn.execute("PRAGMA temp_store = FILE")
    conn.execute("PRAGMA cache_size = -16000")
    return conn


def _look_through(path: Path) -> None:
    """Refuse a file that the log beside it does not fit.

    A connection that may write would make it worse as it is closed: it moves the log into the file.
    """
    with contextlib.closing(_connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as conn:
        (found,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged(f"opening the state database {path}", str(found).splitlines()[-1], path)


def _sync_folders(path: Path) -> None:
    """Have a new file's name on the disk, and that of its folder: SQLite cares for what is inside only."""
    for folder in (path.parent, path.parent.parent):
        sync_folder(folder)


@contextlib.contextmanager
def _begin(conn: sqlite3.Connection) -> Iterator[None]:
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        _undo(conn)
        raise


def _undo(conn: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        if conn.in_transaction:
            conn.execute("ROLLBACK")
