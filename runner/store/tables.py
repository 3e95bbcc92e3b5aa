"""The database as sqlite-utils opens it: to shape it, to list what is in it, and to report on it.

It is imported by the first who asks, since a command waits 80 ms for that. Plain SQL is left where it is faster and that
counts: what a run does between two requests, what each command does as it starts, and what there may be a hundred thousand
rows of.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def tables(conn: sqlite3.Connection) -> Database:
    """Return the tables and views behind a connection, which stays as it was set up, and its caller's to close."""
    from sqlite_utils import Database

    return Database(conn, recursive_triggers=False, execute_plugins=False)
