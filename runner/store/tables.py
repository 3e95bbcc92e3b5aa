"""The database as sqlite-utils opens it: to shape it, to list what is in it, and to report on it.

It is imported by the first who asks, since a command waits 80 ms for that. Plain SQL is left where it is faster and that
counts: what a run does between two requests, what each command does as it starts, and what there may be a hundred thousand
rows of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runner.store.connection import Connection

if TYPE_CHECKING:
    from sqlite_utils import Database


def tables(conn: sqlite3.Connection) -> Database:
    """Return the tables and views behind a connection, which stays as it was set up, and its caller's to close."""
    from sqlite_utils import Database

    return Database(conn, recursive_triggers=False, execute_plugins=False)


def query(conn: Connection, sql: str, parameters: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
    """Yield what a SELECT finds, `{column: value}`: by sqlite-utils where the database is an SQLite file."""
    if isinstance(conn, sqlite3.Connection):
        return tables(conn).query(sql, tuple(parameters))
    return (dict(row) for row in conn.execute(sql, parameters))
