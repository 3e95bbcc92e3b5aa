"""The limiter of each account, where several machines share it: one row, changed by one at a time.

It is read, changed and written back without a lock: who finds that another has written meanwhile does it again. So
nobody who stands still in between holds up the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from runner.store.connection import Connection

T = TypeVar("T")
Change = Callable[[Mapping[str, Any] | None, float], tuple[Mapping[str, Any], T]]


def change(conn: Connection, account: str, how: Change[T]) -> tuple[T, float]:
    """Change the limiter of an account; return what came of it, and the server's time, in seconds since 1970.

    Args:
        conn: A connection on which each statement is committed by itself.
        account: Whose it is.
        how: Takes the limiter as it is (None: there is none yet) and the server's time; returns the new one, and what
            is wanted of it. Called again where another was faster.
    """
    while True:
        row = conn.execute(
            "SELECT p.version, p.state, extract(epoch FROM clock_timestamp()) AS now"
            " FROM (SELECT 1) AS always LEFT JOIN pacers p ON p.account = ?",
            (account,),
        ).fetchone()
        now_s = float(row["now"])
        state, told = how(json.loads(row["state"]) if row["state"] is not None else None, now_s)
        if row["state"] is None:
            written = conn.execute(
                "INSERT INTO pacers (account, version, state) VALUES (?, 1, ?) ON CONFLICT (account) DO NOTHING",
                (account, json.dumps(state)),
            )
        else:
            written = conn.execute(
                "UPDATE pacers SET version = version + 1, state = ? WHERE account = ? AND version = ?",
                (json.dumps(state), account, row["version"]),
            )
        if written.rowcount:
            return told, now_s
