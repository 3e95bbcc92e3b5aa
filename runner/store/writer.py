"""Group commit: what many coroutines write at one moment becomes one transaction.

A caller's `await write(...)` returns after its change is on the disk. One commit for all who wait makes
`synchronous=FULL` free: its price is paid once. While one batch is being committed the next one gathers; what nobody
acts on at once (the outcome of a request, say) waits a moment for company.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from runner.store.connection import Connection
from runner.store.database import StateDatabase
from runner.store.error_words import told

T = TypeVar("T")

# What can wait does so for this long. A commit and the way to its thread and back cost as much as a request does; what a
# crash loses of these 20 ms is asked for again, under the same keys.
GATHER_S = 0.02


class _OneFailed(Exception):
    """One of several operations has raised; all of them are undone."""


class _Entry:
    __slots__ = ("error", "operation", "repeatable", "result", "to_send")

    def __init__(
        self, operation: Callable[[Connection], Any], *, to_send: bool = False, repeatable: bool = False
    ) -> None:
        self.operation = operation
        self.to_send = to_send
        self.repeatable = repeatable
        self.result: Any = None
        self.error: BaseException | None = None


class _Batch:
    """What is committed together. One event for all who wait: an event for each costs as much as a step."""

    __slots__ = ("committed", "due", "entries")

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.due = False  # somebody needs it now
        self.committed = anyio.Event()


class GroupWriter:
    """Runs small operations on the one writing connection, many in each transaction.

    Each operation is undone alone when it raises: its caller gets the error, and its neighbours are
    committed. Where all of a transaction may be run a second time, they are marked off from each other only
    then: a savepoint for each costs as much as two statements. `serve` has to run in a task group; its thread
    is its own, since a trip through a pool of threads costs more than a commit (`make bench`).

    Args:
        file: The open database.
        inline: Do the work on the event loop's own thread (for tests under a virtual clock).
    """

    def __init__(self, file: StateDatabase, *, inline: bool = False) -> None:
        self._file = file
        # A server tells of an error later than that came.
        self._at_a_server = not isinstance(file.conn, sqlite3.Connection)
        self._inline = inline
        self._next = _Batch()
        self._at_work: _Batch | None = None  # what is being committed, by whichever thread
        self._work: SimpleQueue[_Batch | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None  # while serving
        self._called = False
        self._timer: asyncio.TimerHandle | None = None
        self.transactions = 0
        self.operations = 0

    async def write(
        self,
        operation: Callable[[Connection], T],
        *,
        to_send: bool = False,
        can_wait: bool = False,
        repeatable: bool = False,
    ) -> T:
        """Run an operation in the next transaction and return its result once that is committed.

        Args:
            operation: What to do.
            to_send: Something is sent on the strength of it: not where the file was replaced, and nobody would
                find it again. What has come of earlier sends is written even then.
            can_wait: Nothing is held up by it: it is written with the next that is, or `GATHER_S` from now.
            repeatable: It may be run again in another transaction, should one beside it fail: what it leaves anywhere
                but in the database is the same then.

        Raises:
            TemporaryTrouble: Disk full, database locked or replaced; nothing of this operation was kept. Where a server went
                away just then, nobody knows: it may be kept.
            Exception: Whatever the operation raised.
        """
        entry = _Entry(operation, to_send=to_send, repeatable=repeatable)
        await self._committed([entry], can_wait=can_wait)
        if entry.error is not None:
            raise entry.error
        result: T = entry.result
        return result

    async def write_each(
        self,
        operations: Iterable[Callable[[Connection], T]],
        *,
        to_send: bool = False,
        can_wait: bool = False,
        repeatable: bool = False,
    ) -> list[T | BaseException]:
        """Run operations in the next transaction; return the result of each, or what it raised and was undone for."""
        entries = [_Entry(each, to_send=to_send, repeatable=repeatable) for each in operations]
        await self._committed(entries, can_wait=can_wait)
        return [entry.result if entry.error is None else entry.error for entry in entries]

    async def _committed(self, entries: list[_Entry], *, can_wait: bool) -> None:
        batch = self._next
        batch.entries.extend(entries)
        batch.due = batch.due or not can_wait
        # What is committed must be known to its caller: a cancel waits for the answer.
        with anyio.CancelScope(shield=True):
            if self._loop is None:
                # Not serving, or cancelled before this caller was: nobody else would ever answer it.
                await self.flush()
            self._call()
            await batch.committed.wait()

    def write_soon(self, operation: Callable[[Connection], Any], *, repeatable: bool = False) -> None:
        """Run an operation with the next that is due, or `GATHER_S` from now; its own errors are dropped."""
        self._next.entries.append(_Entry(operation, repeatable=repeatable))
        self._call()

    async def serve(self) -> None:
        """Commit what comes, until cancelled; what has come by then is committed too."""
        if self._loop is not None:
            await anyio.sleep_forever()  # somebody does
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._commit_what_comes, args=(loop,), daemon=True)
        thread.start()
        self._loop = loop
        self._call()
        try:
            await anyio.sleep_forever()
        finally:
            self._loop = None
            try:
                await self.flush()
            finally:
                self._work.put(None)
                thread.join()

    async def flush(self) -> None:
        """Commit all that waits now."""
        with anyio.CancelScope(shield=True):
            while self._at_work is not None:
                await self._at_work.committed.wait()
            if not self._next.entries:
                return
            entries = self._take().entries
            try:
                if self._inline:
                    self._commit(entries)
                else:
                    await anyio.to_thread.run_sync(self._commit, entries)
            except BaseException as exc:  # not even begun
                _answer(entries, exc)
                raise
            finally:
                self._over()

    def _take(self) -> _Batch:
        batch, self._next = self._next, _Batch()
        self._at_work = batch
        return batch

    def _call(self) -> None:
        """Have the next batch begun once all who run now have had their turn, if none is at work and this one is due."""
        if self._loop is None or self._at_work is not None or not self._next.entries:
            return
        if not self._next.due:
            self._timer = self._timer or self._loop.call_later(GATHER_S, self._waited)
        elif not self._called:
            self._called = True
            self._loop.call_soon(self._begin)

    def _waited(self) -> None:
        self._timer = None
        self._next.due = True
        self._call()

    def _begin(self) -> None:
        self._called = False
        if self._loop is None or self._at_work is not None or not self._next.entries:
            return
        batch = self._take()
        if self._inline:
            self._commit(batch.entries)
            self._over()
        else:
            self._work.put(batch)

    def _over(self) -> None:
        batch, self._at_work = self._at_work, None
        assert batch is not None
        batch.committed.set()
        if self._next.due:
            self._begin()
        else:
            self._call()

    def _commit_what_comes(self, loop: asyncio.AbstractEventLoop) -> None:
        while (batch := self._work.get()) is not None:
            self._commit(batch.entries)
            with suppress(RuntimeError):  # the loop was torn down: nobody is left to be told
                loop.call_soon_threadsafe(self._over)

    def _commit(self, entries: list[_Entry]) -> None:
        try:
            together = len(entries) == 1 or (
                not self._at_a_server and all(entry.repeatable for entry in entries)
            )
            try:
                self._run(entries, together=together)
            except _OneFailed:
                self._run(entries, together=False)
            self.transactions += 1
            self.operations += len(entries)
            self._file.checkpoint()
        except BaseException as exc:  # each caller gets it; the thread goes on
            _answer(entries, exc)

    def _run(self, entries: list[_Entry], *, together: bool) -> None:
        with self._file.transaction() as conn:
            replaced = self._file.error_if_replaced()
            for entry in entries:
                entry.error = replaced if entry.to_send else None
                if entry.error is not None:
                    continue
                if not together:
                    self._one(conn, entry)
                    continue
                try:
                    entry.result = entry.operation(conn)
                except Exception as exc:
                    if len(entries) == 1:
                        raise
                    raise _OneFailed from exc

    @staticmethod
    def _one(conn: Connection, entry: _Entry) -> None:
        conn.execute("SAVEPOINT one")
        try:
            try:
                entry.result = entry.operation(conn)
                conn.execute("RELEASE one")  # a server is told the rest of it by then
            except (sqlite3.DatabaseError, OSError) as exc:
                raise told(exc, "writing the state database") from exc
        except Exception as exc:  # its caller gets it
            entry.error = exc
            if not conn.in_transaction:  # SQLite gave up the whole transaction (disk full)
                raise
            conn.execute("ROLLBACK TO one")
            conn.execute("RELEASE one")


def _answer(entries: list[_Entry], error: BaseException) -> None:
    for entry in entries:
        entry.result, entry.error = None, error
