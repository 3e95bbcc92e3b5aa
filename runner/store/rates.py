"""The limits of each account as its runs met them: requests per second, and tasks at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from runner.model import Json
from runner.store.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLimits:
    """What earlier runs of an account knew of its limits when they last said so.

    `learned` is how far the search for the rate has come (`pace/rate.py:Rate`), in rates of the whole account; None where
    it was not kept:

        {"pace_per_s": 9.8, "found_per_s": 10.0, "step": 0.02, "stepped_s": 1.2, "cycle_s": 3.4, "sent": 33}

    `tasks` is the number of tasks at once, as it was at `tasks_at` (RFC 3339); None where none was met.
    """

    per_s: float | None
    learned: Mapping[str, Json] | None
    tasks: int | None
    tasks_at: str | None


def find(conn: Connection, account: str) -> KnownLimits | None:
    """Return what earlier runs knew of an account's limits, if any has said."""
    row = conn.execute(
        "SELECT per_s, learned, tasks, tasks_at FROM rates WHERE account = ?", (account,)
    ).fetchone()
    if row is None:
        return None
    learned = json.loads(row["learned"]) if row["learned"] else None
    return KnownLimits(per_s=row["per_s"], learned=learned, tasks=row["tasks"], tasks_at=row["tasks_at"])


def latest_of_service(conn: Connection, base_url: str) -> float | None:
    """Return the latest rate found for any key of a service, in requests per second."""
    row = conn.execute(
        "SELECT per_s FROM rates WHERE substr(account, 1, length(?1) + 1) = ?1 || ' ' AND per_s IS NOT NULL"
        " ORDER BY found_at DESC LIMIT 1",
        (base_url,),
    ).fetchone()
    return row["per_s"] if row else None


def save(
    conn: Connection,
    account: str,
    per_s: float | None,
    now: str,
    *,
    learned: Mapping[str, Json] | None = None,
) -> None:
    """Remember what is known of the rate of an account; `per_s` is None while no limit was met."""
    conn.execute(
        "INSERT INTO rates (account, per_s, found_at, learned) VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET"
        " per_s = excluded.per_s, found_at = excluded.found_at, learned = excluded.learned",
        (account, per_s, now, None if learned is None else json.dumps(learned)),
    )


def save_tasks(conn: Connection, account: str, tasks: int | None, now: str) -> None:
    """Remember how many tasks an account may have at the service; None: no limit is known."""
    conn.execute(
        "INSERT INTO rates (account, found_at, tasks, tasks_at) VALUES (?1, ?3, ?2, ?3) ON CONFLICT (account) DO UPDATE SET"
        " tasks = excluded.tasks, tasks_at = excluded.tasks_at",
        (account, tasks, now),
    )
