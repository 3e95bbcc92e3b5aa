"""A state database at a PostgreSQL server: opened, migrated, written in transactions, one writer at a time.

What `BEGIN IMMEDIATE` is to SQLite, a lock of the whole database is here: the first statement of each write
transaction takes it, so that what was read inside is still true when it is committed. A writer that stands still with
it is cut off by the server. The lock of a manifest belongs to the very connection that writes for it: who has lost the
one has lost the other.

psycopg is imported with this module, which is imported only where an address of a server was given.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from runner.errors import Fenced, RunnerError, StateError, TemporaryTrouble
from runner.host.clock import Clock, ServerClock
from runner.host.workspace import Holder
from runner.store.connection import Connection, Cursor
from runner.store.error_words import BUSY_TIMEOUT_S, newer, older
from runner.store.postgres_errors import as_ours
from runner.store.postgres_locks import ServerLock, holder, lock_number, locks_held
from runner.store.postgres_sql import in_postgres
from runner.store.postgres_tables import NAMES, statements_of
from runner.store.server_address import ServerAddress

logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it logs would go to the terminal

OLDEST = 130_000  # PostgreSQL 13
PIECE = 500  # rows that are sent together
MANY = 1_000  # rows changed at once, after which the planner has to look again
STILL_S = 5  # how long a writer may stand still with the lock
_PIPELINE = psycopg.Pipeline.is_supported()  # with a libpq from before version 14 each statement is a trip
_ENDS = ("RELEASE", "ROLLBACK", "COMMIT")
_STEPS_TABLE = "rivya_batch_steps"
_SETTINGS = {
    "synchronous_commit": "on",
    "lock_timeout": f"{BUSY_TIMEOUT_S:.0f}s",
    "statement_timeout": "0",
    "default_transaction_isolation": "read committed",
    "client_min_messages": "error",
}


class _Text(StrDumper):
    """Text that is no prompt (those are refused) may hold the one character that PostgreSQL has no room for."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


class _Sum(Loader):
    """What `sum` makes of whole numbers is whole, as in SQLite."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return float(text) if "." in text else int(text)


class _ServerRow(tuple[Any, ...]):
    """One row: its columns by name and by number."""

    __slots__ = ()
    columns: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, self.columns[key] if isinstance(key, str) else key)

    def keys(self) -> Iterable[str]:
        return self.columns


@lru_cache(maxsize=500)
def _row_type(names: tuple[str, ...]) -> type[_ServerRow]:
    columns = {name: number for number, name in enumerate(names)}
    return type("_ServerRow", (_ServerRow,), {"__slots__": (), "columns": columns})


def _rows(cursor: Any) -> Any:
    return _row_type(tuple(column.name for column in cursor.description or ()))


class _Answer:
    """The answer to one statement, which goes to the server, with those before it, when somebody looks at it."""

    __slots__ = ("_conn", "found", "parameters", "text")

    def __init__(self, conn: ServerConnection, text: str, parameters: Any) -> None:
        self._conn = conn
        self.text, self.parameters = text, parameters
        self.found: Any = None

    def _sent(self) -> Any:
        if self.found is None:
            self._conn.send()
        return self.found

    @property
    def rowcount(self) -> int:
        return int(self._sent().rowcount)

    def fetchone(self) -> Any:
        return self._sent().fetchone()

    def fetchall(self) -> list[Any]:
        return list(self._sent().fetchall())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._sent())


class ServerConnection:
    """What `store.connection` asks of a connection, by psycopg. Each statement is committed but inside `BEGIN`.

    Where `waits` is set, statements are sent together once an answer is looked at: each trip to the server is one that
    all machines wait for.
    """

    def __init__(self, raw: psycopg.Connection[Any], address: ServerAddress) -> None:
        self.raw = raw
        self._address = address
        self.changed = 0  # the most rows that one statement has changed
        self.waits = False
        self.trips = 0  # to the server and back
        self._waiting: list[_Answer] = []
        self.schema: str | None = self.execute("SELECT current_schema()").fetchone()[0]

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; none is on a connection that is lost."""
        return self.raw.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement of the store; what it has to say against it is raised when it is sent."""
        text = in_postgres(sql)
        answer = _Answer(self, text, _named(text, parameters))
        if sql.startswith("ROLLBACK"):
            with contextlib.suppress(RunnerError):  # it is undone, whatever became of it
                self.send()
        self._waiting.append(answer)
        if not self.waits or sql.startswith(_ENDS):
            self.send()
        return answer

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement once with each of these, which may ask this connection themselves as they are made."""
        text, rows = in_postgres(sql), iter(parameters)
        cursor = self.raw.cursor()
        while piece := list(islice(rows, PIECE)):
            self.send()
            self.trips += 1
            with self._ours():
                cursor.executemany(text, [_named(text, each) for each in piece])
            self.changed = MANY if len(piece) == PIECE else self.changed
        return cursor

    def say(self, sql: str) -> int:
        """Run statements of PostgreSQL's own, in one trip; return how many rows the last one gave."""
        self.send()
        self.trips += 1
        with self._ours():
            said = self.raw.execute(sql)
            while said.nextset():
                pass
            return said.rowcount

    def send(self) -> None:
        """Send what waits, in its order, in one trip; after one that fails the server does none of the others."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self.trips += 1
        with self._ours():
            if len(waiting) == 1 or not _PIPELINE:
                for each in waiting:
                    each.found = self.raw.execute(each.text, each.parameters)
            else:
                with self.raw.pipeline():
                    for each in waiting:
                        each.found = self.raw.execute(each.text, each.parameters)
        for each in waiting:
            if each.found.description is None:
                self.changed = max(self.changed, each.found.rowcount)

    def forget(self) -> None:
        """Send nothing of what waits: the transaction that it was for is given up."""
        self._waiting.clear()

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as exc:
            raise as_ours(exc, self._address, "using the state database") from exc


def _named(text: str, parameters: Sequence[Any]) -> Any:
    if "%(p1)s" in text or "%(p2)s" in text:
        return {f"p{number}": value for number, value in enumerate(parameters, 1)}
    return tuple(parameters)


class ServerDatabase:
    """An open state database at a server (see `store.database.StateDatabase`)."""

    path: Path | None = None
    is_replaced = False
    rescued_copy: Path | None = None

    def __init__(self, address: ServerAddress, conn: ServerConnection, *, created: bool) -> None:
        self.address = address
        self.server = conn
        self.created = created
        self.worker: int | None = None  # as which this process writes
        self._beside = threading.Lock()
        self._watcher: ServerConnection | None = None  # for questions of other threads
        self._pacer: ServerConnection | None = None  # for one thread's, which come often

    @property
    def place(self) -> ServerAddress:
        """Where it is."""
        return self.address

    @property
    def conn(self) -> Connection:
        """The one connection that writes."""
        return self.server

    @classmethod
    def open(cls, address: ServerAddress) -> ServerDatabase:
        """Open for writing; make the tables as needed.

        Raises:
            StateError: No right to do that, a server too old, tables of a newer version or of another program.
            TemporaryTrouble: The server cannot be reached, or has no room.
        """
        conn = connect(address)
        try:
            had = _refuse_strange(conn, address)
            if [name for name in NAMES if name not in had]:
                with _writing(conn, lock_number(conn, "database")):
                    had = _refuse_strange(conn, address)
                    for name in NAMES:
                        if name not in had:
                            _apply(conn, name, first=not had and name == NAMES[0])
        except BaseException:
            conn.raw.close()
            raise
        return cls(address, conn, created=not had)

    @classmethod
    def open_to_read(cls, address: ServerAddress) -> ServerDatabase:
        """Open what is there already; nothing but temporary tables is written.

        Raises:
            StateError: It cannot be read, is newer or older than this program, or is not ours.
            TemporaryTrouble: The server cannot be reached.
        """
        conn = connect(address)
        try:
            had = _refuse_strange(conn, address)
            if [name for name in NAMES if name not in had]:
                raise older(address)
            conn.say("SET default_transaction_isolation = 'repeatable read'")  # a `BEGIN` sees one moment
        except BaseException:
            conn.raw.close()
            raise
        return cls(address, conn, created=False)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin a write, alone among all machines; commit at the end, roll back on any error."""
        conn = self.server
        conn.changed = 0
        with _writing(conn, lock_number(conn, "database"), worker=self.worker):
            yield conn
        if conn.changed >= MANY:
            with contextlib.suppress(RunnerError):  # what was written is committed, and this only helps
                conn.say("ANALYZE jobs; ANALYZE ledger")

    def error_if_replaced(self) -> TemporaryTrouble | None:
        """Return None: no other database comes into its place while it is open."""
        return None

    def checkpoint(self, *, force: bool = False) -> None:
        """Do nothing: the server does."""

    def number_on(self, tables: Sequence[str]) -> None:
        """Have the next row of these tables numbered on from the last; inside a transaction."""
        for table in tables:
            self.server.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table} HAVING max(id) > 0"
            )

    def data_version(self) -> int:
        """Return a number that changes whenever somebody has committed something, at this server."""
        # All of it: its greatest number stays as it is where a later transaction has ended before an earlier one.
        found = self.server.execute("SELECT pg_current_snapshot()::text").fetchone()
        return hash(found[0])

    def lock(self, manifest: str) -> ServerLock:
        """Return the lock that guards the runs of a manifest, not yet taken."""
        return ServerLock(self.server, manifest)

    def clock_of(self, clock: Clock) -> ServerClock:
        """Return the clock that all who write here go by: the server's."""
        shared = ServerClock(clock)
        asked_s = shared.steady_s()
        (now_s,) = self.server.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
        shared.told(float(now_s), asked_s=asked_s, answered_s=shared.steady_s())
        return shared

    def write_as(self, worker: int) -> None:
        """Write as this worker from now on: each transaction begins by seeing that it was not fenced."""
        self.server.execute(f"SELECT pg_advisory_lock({lock_number(self.server, f'worker {worker}')})")
        self.worker = worker

    def without_connection(self, workers: Sequence[int]) -> list[int]:
        """Return which of these workers have lost the connection that they write with."""
        held = locks_held(self.server)
        return [each for each in workers if lock_number(self.server, f"worker {each}") not in held]

    def write_beside(self, operation: Callable[[Connection], None]) -> None:
        """Run one statement that asks for no lock and is not fenced, from any thread."""
        with self._beside:
            try:
                if self._watcher is None:
                    self._watcher = connect(self.address)
                operation(self._watcher)
            except TemporaryTrouble:
                if self._watcher is not None:
                    self._watcher.raw.close()
                self._watcher = connect(self.address)
                operation(self._watcher)

    def beside(self, *, anew: bool = False) -> ServerConnection:
        """Return a connection for one thread's statements, each committed by itself and not waited for.

        What it writes may be forgotten where the server breaks down: it is nothing that counts then.
        """
        if self._pacer is None or anew:
            if self._pacer is not None:
                self._pacer.raw.close()
            self._pacer = connect(self.address)
            self._pacer.say("SET synchronous_commit = off")
        return self._pacer

    def holder_of(self, manifest: str) -> Holder | None:
        """Return who holds a manifest now."""
        with self._beside:
            if self._watcher is None:
                self._watcher = connect(self.address)
            try:
                return holder(self._watcher, manifest)
            except TemporaryTrouble:  # it lay idle until somebody in between forgot it
                self._watcher.raw.close()
                self._watcher = connect(self.address)
                return holder(self._watcher, manifest)

    def close(self) -> None:
        """Close it."""
        for conn in (self.server, self._watcher, self._pacer):
            if conn is not None:
                with contextlib.suppress(psycopg.Error):
                    conn.raw.close()


def has_tables(address: ServerAddress) -> bool:
    """Say whether there is a state database at this address.

    Raises:
        StateError: There is something else.
        TemporaryTrouble: The server cannot be reached.
    """
    conn = connect(address)
    try:
        return bool(_refuse_strange(conn, address))
    finally:
        conn.raw.close()


def news_of(conn: ServerConnection) -> str:
    """Return the name under which this database tells that something was committed."""
    return f"rivya_batch_{lock_number(conn, 'news') & 0xFFFF_FFFF_FFFF_FFFF:x}"


def connect(address: ServerAddress) -> ServerConnection:
    """Open one more connection.

    Raises:
        StateError: The server is too old, or takes nobody like us.
        TemporaryTrouble: It cannot be reached.
    """
    try:
        raw: psycopg.Connection[Any] = psycopg.connect(
            address.url,
            autocommit=True,
            row_factory=_rows,
            application_name="rivya-batch",
            connect_timeout=10,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
            client_encoding="utf8",
        )
    except psycopg.Error as exc:
        raise as_ours(exc, address, "opening the state database", opening=True) from exc
    conn = ServerConnection(raw, address)
    raw.adapters.register_dumper(str, _Text)
    raw.adapters.register_dumper(int, Int8Dumper)
    raw.adapters.register_loader("numeric", _Sum)
    try:
        if raw.info.server_version < OLDEST:
            raise StateError(
                f"{address} is PostgreSQL {raw.info.server_version // 10_000}, which is too old",
                hint="PostgreSQL 13 or newer is needed",
            )
        if raw.info.parameter_status("server_encoding") != "UTF8":
            raise StateError(
                f"{address} keeps its text as {raw.info.parameter_status('server_encoding')}",
                hint="make the database with ENCODING 'UTF8'",
            )
        conn.say("; ".join(f"SET {name} = '{value}'" for name, value in _SETTINGS.items()))
    except BaseException:
        raw.close()
        raise
    return conn


@contextlib.contextmanager
def _writing(conn: ServerConnection, number: int, *, worker: int | None = None) -> Iterator[None]:
    """Begin, and take the lock of the database before anything is read; as a worker, see that it is not fenced."""
    fence = f"SELECT FROM workers WHERE id = {worker} AND fenced = 0" if worker is not None else "SELECT"
    try:
        found = conn.say(
            f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{STILL_S}s';"
            f" SELECT pg_advisory_xact_lock({number}); NOTIFY {news_of(conn)}; {fence}"
        )
        if found != 1:
            raise Fenced(
                "another run has taken over the jobs of this one, which did not respond for a while",
                hint="run it again to take part in what is left",
            )
        conn.waits = True
        yield
        conn.execute("COMMIT")
    except BaseException:
        conn.forget()
        with contextlib.suppress(psycopg.Error):
            if conn.in_transaction:
                conn.raw.execute("ROLLBACK")
        raise
    finally:
        conn.waits = False


def _refuse_strange(conn: ServerConnection, address: ServerAddress) -> list[str]:
    """Refuse what a newer version or another program has made; return the steps that were applied."""
    if conn.schema is None:
        raise StateError(
            f"{address} has no schema in which this user may have tables",
            hint="make one, or add ?options=-csearch_path%3DNAME to the address",
        )
    names = {
        row[0] for row in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = ?", (conn.schema,))
    }
    if _STEPS_TABLE not in names:
        if names:
            raise StateError(
                f"{address} holds tables of another program ({', '.join(sorted(names)[:3])})",
                hint="this is not a rivya-batch database; make an empty one, and name that with --state",
            )
        return []
    had = [row[0] for row in conn.execute(f"SELECT name FROM {_STEPS_TABLE} ORDER BY name")]
    if foreign := [name for name in had if name not in NAMES]:
        raise newer(address, foreign)
    return had


def _apply(conn: ServerConnection, name: str, *, first: bool) -> None:
    if first:
        conn.execute(f"CREATE TABLE {_STEPS_TABLE} (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")
    for statement in statements_of(name):
        conn.execute(statement)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    conn.execute(f"INSERT INTO {_STEPS_TABLE} (name, applied_at) VALUES (?, ?)", (name, now))
