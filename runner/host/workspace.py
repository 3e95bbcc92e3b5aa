"""Where things are: the workspace of a manifest, its database, its locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeAlias

from runner.errors import RunLocked, TemporaryTrouble, UsageError
from runner.host.clock import rfc3339
from runner.host.drives import DRIVES
from runner.host.processes import is_stopped
from runner.store.place import has_database, is_folder
from runner.store.server_address import ServerAddress, is_server_address

DatabasePlace: TypeAlias = Path | ServerAddress

RUNNER_DB, SANDBOX_DB = "runner.db", "sandbox.db"
TRIES, TRY_EVERY_S = 5, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folder a manifest lives in, and the database that remembers it; a path is absolute."""

    root: Path
    database: DatabasePlace

    @property
    def has_database(self) -> bool:
        """Whether there is a database to read (see `store.place`).

        Raises:
            StateError: What is there is none, or only a part of one.
            OSError: Nobody can know: its drive is away.
            TemporaryTrouble: Nobody can know: its server cannot be reached.
        """
        return has_database(self.database)

    @property
    def folder(self) -> Path:
        """Where this machine's own notes about the database are: logs and the like."""
        return self.database.parent if isinstance(self.database, Path) else self.root / "state"

    @property
    def service_database(self) -> Path:
        """Where the bundled imitation keeps the account that rehearsals of this database spend from."""
        return self._beside("-service.db")

    @property
    def sandbox_results(self) -> Path:
        """Where the results of rehearsals are that have a database of their own."""
        return self._beside("-results")

    def _beside(self, ending: str) -> Path:
        assert isinstance(self.database, Path)  # a rehearsal has a file
        return self.database.with_name(f"{self.database.stem}{ending}")


def workspace_root(manifest: Path) -> Path:
    """Return the nearest folder at or above a manifest that has a `state/` folder, else its own folder."""
    DRIVES.wait_for(manifest.parent)
    folder = manifest.resolve().parent
    for candidate in (folder, *folder.parents):
        if is_folder(candidate / "state"):
            return candidate
    return folder


def find_workspace(manifest: Path | None, *, state: str | None, sandbox: bool) -> Workspace:
    """Return the workspace of a manifest (or of the working directory).

    Args:
        manifest: The manifest; None for commands that look at a whole workspace.
        state: Another database, a file or `postgresql://…`.
        sandbox: Whether the bundled imitation is meant, which has a database of its own unless another is named.

    Raises:
        UsageError: The name is that of a folder, or, for a rehearsal, that of the database of real runs or a server's.
    """
    root = workspace_root(manifest if manifest is not None else Path.cwd() / "any")
    if state and is_server_address(state):
        if sandbox:
            raise UsageError(
                "a rehearsal keeps its database in a file", hint="name a file, or leave --state out"
            )
        return Workspace(root=root, database=ServerAddress.parse(state))
    if state:
        path = Path(state).expanduser()
        DRIVES.wait_for(path.parent)
        if is_folder(path):
            raise UsageError(
                f"--state names a folder: {path.absolute()}", hint="name a file, for example state/runner.db"
            )
    else:
        path = root / "state" / (SANDBOX_DB if sandbox else RUNNER_DB)
    path = path.resolve()
    if sandbox and (path.parent.name, path.name) == ("state", RUNNER_DB):
        raise UsageError(
            f"{path} is for real runs, not for rehearsals", hint="name another file, or leave --state out"
        )
    # One database has one name, or two runs that reach it by two links would hold two locks.
    return Workspace(root=root, database=path)


def refuse_password(state: str) -> None:
    """Refuse the address of a database with a password in it, where everybody on this machine can read it.

    Raises:
        UsageError: There is one.
    """
    if is_server_address(state) and ServerAddress.parse(state).passwords:
        raise UsageError(
            "a password on the command line can be read by everybody on this machine",
            hint="keep it in ~/.pgpass or PGPASSWORD, or give the whole address by RIVYA_STATE",
        )


def no_database(workspace: Workspace, *, sandbox: bool, may_rehearse: bool = True) -> UsageError:
    """Return the error for a workspace in which nothing was run; a rehearsal has a database of its own.

    `may_rehearse` says that what was asked for is there for rehearsals too.
    """
    rehearsed = may_rehearse and not sandbox and (workspace.root / "state" / SANDBOX_DB).exists()
    hint = (
        "there were only rehearsals so far: add --sandbox" if rehearsed else "nothing has been run here yet"
    )
    return UsageError(f"there is no state database {workspace.database}", hint=hint)


class RunLock(Protocol):
    """A lock on one manifest name of one database."""

    def acquire(self, now_s: float, *, command: str) -> None:
        """Take the lock, or say who has it.

        Raises:
            RunLocked: Another run holds this manifest.
        """

    def join(self, now_s: float, *, command: str, wait_s: float) -> bool:
        """Take the lock alone where it is free, else with those who share it; return whether it is shared.

        Raises:
            RunLocked: Somebody holds it alone, for longer than `wait_s` seconds.
        """

    def share(self) -> None:
        """Let others hold it as well, from now on."""

    def is_shared(self) -> bool:
        """Whether those who hold it, and not we, share it: others may join them."""

    def release(self) -> None:
        """Give the lock back."""


class ManifestLock:
    """An OS lock on one manifest name of one database; the kernel frees it when its holder dies.

    Who holds it, and since when, is written inside for people; only the lock itself counts.
    """

    def __init__(self, database: Path, name: str) -> None:
        self.path = lock_path(database, name)
        self._name = name
        self._file: IO[str] | None = None

    def acquire(self, now_s: float, *, command: str) -> None:
        """Take the lock, or say who has it.

        Raises:
            RunLocked: Another run holds this manifest.
            UsageError: The folder cannot be written, or its disk knows no locks.
            TemporaryTrouble: The disk is full.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise UsageError(
                f"cannot write {self.path}: {exc.strerror}",
                hint="make the folder writable, or use --state FILE",
            ) from exc
        file = os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")
        try:
            _take(file)
        except BlockingIOError:
            holder = _read_holder(file)
            file.close()
            raise run_locked(self._name, holder) from None
        except OSError as exc:
            file.close()
            raise UsageError(
                f"cannot lock {self.path}: {exc.strerror}", hint="use --state FILE on a disk of this machine"
            ) from exc
        try:
            self._say_who(file, now_s, command)
        except OSError as exc:
            with contextlib.suppress(
                OSError
            ):  # closing tries to write what is left; the lock goes in any case
                file.close()
            raise TemporaryTrouble(
                f"cannot write {self.path}: {exc.strerror}", hint="free disk space, then run again"
            ) from exc
        self._file = file

    def join(self, now_s: float, *, command: str, wait_s: float) -> bool:
        """Take the lock: nobody shares a file."""
        self.acquire(now_s, command=command)
        return False

    def share(self) -> None:
        """Do nothing: nobody shares a file."""

    def is_shared(self) -> bool:
        """Say no: nobody shares a file."""
        return False

    @staticmethod
    def _say_who(file: IO[str], now_s: float, command: str) -> None:
        file.seek(0)
        file.truncate()
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": rfc3339(now_s), "command": command}
        json.dump(who, file)
        file.flush()

    def release(self) -> None:
        """Give the lock back; the file stays (removing it would let two runs lock two files)."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a manifest now, as far as it has said."""

    pid: int | None
    host: str
    since: str
    command: str

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine (or of this container)."""
        return self.host == socket.gethostname()

    @property
    def paused(self) -> str | None:
        """What to do about it where it was stopped by Ctrl-Z; None where it was not, or nobody here can know."""
        if self.pid is None or not self.is_here or not is_stopped(self.pid):
            return None
        return f"it is stopped (Ctrl-Z): `fg` in its terminal, or `kill -CONT {self.pid}`, continues it"

    def is_of(self, *, pid: int, host: str) -> bool:
        """Say whether this may be the process that began a run; one that has not said who it is may be any."""
        return self.pid is None or (self.pid, self.host) == (pid, host)

    def in_words(self) -> str:
        """Return who it is."""
        if self.pid is None:
            return "an unknown process"
        where = self.host if self.is_here else f"{self.host} (another machine)"
        return f"`{self.command}`, process {self.pid} on {where}, since {self.since}"


UNKNOWN_HOLDER = Holder(pid=None, host="", since="", command="")


def run_locked(name: str, holder: Holder) -> RunLocked:
    """Return the error for a manifest that somebody holds."""
    return RunLocked(
        f"another run holds {name}: {holder.in_words()}",
        hint=holder.paused or "wait for it, or look at it with `rivya-batch status`",
    )


def holder_of(database: Path, name: str) -> Holder | None:
    """Return who holds a manifest now: whoever holds its lock lives, and nobody else does."""
    try:
        descriptor = os.open(lock_path(database, name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        try:
            # Shared, so that two who only ask do not block each other; a run that meets one tries again for a moment.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(file)
        except OSError:
            return None
    return None


def lock_path(database: Path, name: str) -> Path:
    """Return the file whose lock guards the run of a manifest."""
    return database.with_name(f"{database.name}.{name}.lock")


def _take(file: IO[str]) -> None:
    """Take the lock; somebody who only asks whether it is held has it for some microseconds.

    Raises:
        BlockingIOError: It is held.
    """
    for left in range(TRIES, 0, -1):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left == 1:
                raise
            time.sleep(TRY_EVERY_S)
        else:
            return


def _read_holder(file: IO[str]) -> Holder:
    try:
        who = json.loads(file.read(2000))
        return Holder(pid=int(who["pid"]), host=who["host"], since=who["since"], command=who["command"])
    except (ValueError, KeyError, TypeError):
        return UNKNOWN_HOLDER
