"""Locks that a PostgreSQL server keeps, each for the connection that took it: they end when that does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from runner.errors import RunnerError
from runner.host.clock import rfc3339
from runner.host.workspace import TRIES, TRY_EVERY_S, UNKNOWN_HOLDER, Holder, run_locked
from runner.store.workers import working_sql

if TYPE_CHECKING:
    from runner.store.postgres import ServerConnection

JOIN_EVERY_S = 0.2


class ServerLock:
    """A lock on one manifest name, which the server frees when the connection that holds it ends.

    Who holds it, and since when, is written in a table for people; only the lock itself counts.
    """

    def __init__(self, conn: ServerConnection, manifest: str) -> None:
        self._conn, self._manifest = conn, manifest
        self._number = lock_number(conn, f"manifest {manifest}")
        self._unlock = "pg_advisory_unlock"

    def acquire(self, now_s: float, *, command: str) -> None:
        """Take the lock, or say who has it.

        Raises:
            RunLocked: Another run holds this manifest, here or on another machine.
        """
        for left in range(TRIES, 0, -1):  # a server takes a moment to see that a process was killed
            if self._asks("pg_try_advisory_lock"):
                break
            if left > 1:
                time.sleep(TRY_EVERY_S)
        else:
            raise run_locked(self._manifest, holder(self._conn, self._manifest) or UNKNOWN_HOLDER)
        self._say_who(now_s, command)

    def join(self, now_s: float, *, command: str, wait_s: float) -> bool:
        """Take the lock alone where it is free, else with those who share it; return whether it is shared.

        Raises:
            RunLocked: Somebody holds it alone, for longer than `wait_s` seconds.
        """
        until = time.monotonic() + wait_s
        while not self._asks("pg_try_advisory_lock"):
            if self._asks("pg_try_advisory_lock_shared"):
                self._unlock = "pg_advisory_unlock_shared"
                self._say_who(now_s, command)
                return True
            if time.monotonic() >= until:
                raise run_locked(self._manifest, holder(self._conn, self._manifest) or UNKNOWN_HOLDER)
            time.sleep(JOIN_EVERY_S)
        self._say_who(now_s, command)
        return False

    def share(self) -> None:
        """Let others hold it as well, from now on."""
        self._asks("pg_try_advisory_lock_shared")  # whoever has it alone gets it
        self._asks("pg_advisory_unlock")
        self._unlock = "pg_advisory_unlock_shared"

    def is_shared(self) -> bool:
        """Whether those who hold it share it."""
        shared = self._asks("pg_try_advisory_lock_shared")
        if shared:
            self._asks("pg_advisory_unlock_shared")
        return shared

    def _asks(self, function: str) -> bool:
        return bool(self._conn.execute(f"SELECT {function}({self._number})").fetchone()[0])

    def _say_who(self, now_s: float, command: str) -> None:
        self._conn.execute(
            "INSERT INTO holders (manifest, pid, host, since, command) VALUES (?, ?, ?, ?, ?) ON CONFLICT (manifest)"
            " DO UPDATE SET pid = excluded.pid, host = excluded.host, since = excluded.since, command = excluded.command",
            (self._manifest, os.getpid(), socket.gethostname(), rfc3339(now_s), command),
        )

    def release(self) -> None:
        """Give the lock back."""
        with contextlib.suppress(RunnerError):
            self._asks(self._unlock)


def lock_number(conn: ServerConnection, name: str) -> int:
    """Return the number of a lock of this workspace, which is the schema that its tables are in."""
    return _number(conn.schema or "", name)


@lru_cache(maxsize=1_000)
def _number(schema: str, name: str) -> int:
    digest = hashlib.sha256(f"rivya-batch\0{schema}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def locks_held(conn: ServerConnection) -> frozenset[int]:
    """Return the numbers of all such locks of this database that somebody holds."""
    found = conn.execute(
        "SELECT l.classid::bigint AS high, l.objid::bigint AS low FROM pg_locks l JOIN pg_database d"
        " ON d.oid = l.database AND d.datname = current_database()"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    )
    return frozenset(_signed(row["high"] << 32 | row["low"]) for row in found)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def holder(conn: ServerConnection, manifest: str) -> Holder | None:
    """Return who holds a manifest now; of several, the one of those at work who began last."""
    held = locks_held(conn)
    if lock_number(conn, f"manifest {manifest}") not in held:
        return None
    working = conn.execute(
        "SELECT w.id, r.pid, r.host, r.started_at, r.command FROM workers w JOIN runs r ON r.id = w.run"
        f" WHERE w.manifest = ? AND {working_sql('w')} ORDER BY w.id DESC",
        (manifest,),
    )
    for row in working:
        if lock_number(conn, f"worker {row['id']}") in held:
            return Holder(pid=row["pid"], host=row["host"], since=row["started_at"], command=row["command"])
    row = conn.execute(
        "SELECT pid, host, since, command FROM holders WHERE manifest = ?", (manifest,)
    ).fetchone()
    return (
        Holder(pid=row["pid"], host=row["host"], since=row["since"], command=row["command"])
        if row
        else UNKNOWN_HOLDER
    )
