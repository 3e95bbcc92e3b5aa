"""Group commit: what many coroutines write at one moment becomes one transaction.

A caller's `await write(...)` returns after its change is on the disk. One commit per tick makes
`synchronous=FULL` free: its price is paid once for all who wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from runner.store.database import StateFile, trouble

T = TypeVar("T")


class _Entry:
    __slots__ = ("error", "operation", "result")

    def __init__(self, operation: Callable[[sqlite3.Connection], Any]) -> None:
        self.operation = operation
        self.result: Any = None
        self.error: BaseException | None = None


class _Batch:
    """What is committed together. One event for all who wait: an event for each costs as much as a step."""

    __slots__ = ("committed", "entries")

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.committed = anyio.Event()


class GroupWriter:
    """Runs small operations on the one writing connection, many in each transaction.

    Each operation is inside a savepoint of its own: when it raises, its changes are gone, its
    caller gets the error, and its neighbours are committed. `serve` has to run in a task group.

    Args:
        file: The open database.
        inline: Do the work on the event loop's own thread (for tests under a virtual clock).
    """

    def __init__(self, file: StateFile, *, inline: bool = False) -> None:
        self._file = file
        self._inline = inline
        self._next = _Batch()
        self._wake = anyio.Event()
        self._limiter = anyio.CapacityLimiter(1)
        self._serving = False
        self.transactions = 0
        self.operations = 0

    async def write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation in the next transaction and return its result once that is committed.

        Raises:
            TemporaryTrouble: Disk full or database locked; nothing of this operation was kept.
            Exception: Whatever the operation raised.
        """
        entry, batch = _Entry(operation), self._next
        batch.entries.append(entry)
        self._wake.set()
        # What is committed must be known to its caller: a cancel waits for the answer.
        with anyio.CancelScope(shield=True):
            if not self._serving:
                # Cancelled before this caller was: nobody else would ever answer it.
                await self.flush()
            await batch.committed.wait()
        if entry.error is not None:
            raise entry.error
        result: T = entry.result
        return result

    def write_soon(self, operation: Callable[[sqlite3.Connection], Any]) -> None:
        """Run an operation in the next transaction; nobody waits, and its own errors are dropped."""
        self._next.entries.append(_Entry(operation))
        self._wake.set()

    async def serve(self) -> None:
        """Commit what comes, until cancelled; what has come by then is committed too."""
        self._serving = True
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                await self.flush()
        finally:
            self._serving = False
            await self.flush()

    async def flush(self) -> None:
        """Commit all that waits now."""
        batch, self._next = self._next, _Batch()
        if not batch.entries:
            return
        with anyio.CancelScope(shield=True):
            if self._inline:
                self._commit(batch.entries)
            else:
                await anyio.to_thread.run_sync(self._commit, batch.entries, limiter=self._limiter)
        batch.committed.set()

    def _commit(self, entries: list[_Entry]) -> None:
        try:
            with self._file.transaction() as conn:
                for entry in entries:
                    self._one(conn, entry)
            self.transactions += 1
            self.operations += len(entries)
            self._file.checkpoint()
        except Exception as exc:  # each caller gets it
            for entry in entries:
                entry.result, entry.error = None, exc

    @staticmethod
    def _one(conn: sqlite3.Connection, entry: _Entry) -> None:
        conn.execute("SAVEPOINT one")
        try:
            with trouble("writing the state database"):
                entry.result = entry.operation(conn)
        except Exception as exc:  # its caller gets it
            entry.error = exc
            if not conn.in_transaction:  # SQLite gave up the whole transaction (disk full)
                raise
            conn.execute("ROLLBACK TO one")
        conn.execute("RELEASE one")
