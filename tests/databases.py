"""An empty state database for tests of the store, of each kind that there is.

The fixture `each_database` runs a test once with SQLite and once with PostgreSQL; `empty_state` gives the database. The
server is the one that RIVYA_TEST_PG names, or one that is started for these tests; without either they are skipped.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runner.store.database import StateDatabase, empty_database, open_database
from runner.store.server_address import ServerAddress

GIVEN = os.environ.get("RIVYA_TEST_PG", "")
_kind = "sqlite"
_kept: list[
    StateDatabase
] = []  # one connection for all tests of a process: to open one takes longer than most tests


_restart: list[str] = []  # what kills and starts the server again, where it is ours


class NoServer(Exception):
    """There is none, and none can be started."""


def empty_state() -> StateDatabase:
    """Return an empty database of the kind at hand."""
    if _kind == "sqlite":
        return empty_database()
    if not _kept:
        _kept.append(open_database(ServerAddress.parse(server())))
    empty(_kept[0])
    return _kept[0]


def empty(file: StateDatabase) -> None:
    """Take all rows out."""
    if file.conn.in_transaction:
        file.conn.execute("ROLLBACK")
    tables = [
        row[0]
        for row in file.conn.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
            " AND tablename NOT IN ('rivya_batch_steps', 'workspace')"
        )
    ]
    file.conn.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
    file.conn.execute("DISCARD TEMP")
    file.conn.execute("SELECT pg_advisory_unlock_all()")
    database: Any = file
    database.worker = None  # as which a test has written


def close(file: StateDatabase) -> None:
    """Close what `empty_state` gave."""
    if file not in _kept:
        file.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.extra)])
def each_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test with each kind of database."""
    with of_kind(request.param):
        yield request.param


@contextlib.contextmanager
def of_kind(kind: str) -> Iterator[None]:
    """Have `empty_state` give databases of a kind; skip the test where there is no server for it."""
    global _kind
    if kind == "postgresql":
        try:
            server()
        except NoServer as exc:
            if GIVEN:  # somebody wants these tests: to pass them over would look as if all were well
                raise
            pytest.skip(str(exc))
    before, _kind = _kind, kind
    try:
        yield
    finally:
        _kind = before


@cache
def server() -> str:
    """Return the address of an empty database at a server, which this process has for itself.

    Raises:
        NoServer: With the reason.
    """
    try:
        import psycopg
    except ImportError:
        raise NoServer("psycopg is not installed (`make test-extra` installs it)") from None
    base = GIVEN or _started()
    name = f"rivya_test_{os.getpid()}"
    with contextlib.closing(psycopg.connect(base, autocommit=True)) as conn:
        conn.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    if GIVEN:
        atexit.register(_drop, base, name)
    parts = base.partition("?")
    return f"{parts[0].rpartition('/')[0]}/{name}{parts[1]}{parts[2]}"


def restart() -> bool:
    """Kill the server and start it again; return whether it is ours to do that with."""
    if _restart:
        subprocess.run(_restart, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return bool(_restart)


def close_all() -> None:
    """Close what is kept from test to test."""
    while _kept:
        _kept.pop().close()


def _drop(base: str, name: str) -> None:
    import psycopg

    with contextlib.closing(psycopg.connect(base, autocommit=True)) as conn:
        conn.execute(f"DROP DATABASE {name}")


def _started() -> str:
    """Start a server in a folder of its own; it ends with this process."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    initdb = found[-1] if found else shutil.which("initdb")
    if initdb is None:
        raise NoServer("no PostgreSQL here: install it, or name a server by RIVYA_TEST_PG=postgresql://…")
    folder = Path(tempfile.mkdtemp(prefix="rivya-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            shutil.chown(folder, "postgres", "postgres")
        except LookupError:
            raise NoServer("PostgreSQL does not run as root, and there is no user postgres here") from None
        as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    binaries = Path(initdb).parent

    def run(*argv: str | Path) -> None:
        subprocess.run(
            [*as_user, *map(str, argv)],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    run(initdb, "-D", data, "-A", "trust", "-U", "rivya", "-E", "UTF8", "--locale", "C", "--no-sync")
    options = f"-F -c listen_addresses= -c unix_socket_directories={folder} -c autovacuum=off"
    run(binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate"]
    atexit.register(_stop, folder, [*control, "stop"])
    _restart[:] = [*control, "-w", "-l", str(folder / "log"), "-o", options, "restart"]
    return f"postgresql://rivya@/postgres?host={folder}"


def _stop(folder: Path, argv: list[str]) -> None:
    subprocess.run(argv, check=False, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(folder, ignore_errors=True)
