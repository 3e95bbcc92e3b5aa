"""How manifests stand, read from the database without disturbing a run."""

from __future__ import annotations

import json
import socket
import sqlite3
from dataclasses import dataclass
from typing import Any

from runner.clock import epoch
from runner.errors import UsageError
from runner.processes import is_alive
from runner.store import catalogue, jobs, ledger
from runner.store.database import StateFile

ALIVE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One manifest as the database knows it."""

    name: str
    path: str
    counts: dict[str, int]
    total: int
    orphaned: int
    charged: float
    reserved: float
    last_day: float
    running: dict[str, Any] | None
    last_run: dict[str, Any] | None
    errors: list[dict[str, Any]]
    eta_s: float | None


def standings(file: StateFile, *, names: list[str] | None, now_s: float) -> list[Standing]:
    """Return how manifests stand.

    Raises:
        UsageError: A name is not in the database.
    """
    known = [row["name"] for row in catalogue.manifests(file.conn)]
    for name in names or []:
        if name not in known:
            raise UsageError(
                f"{name} has never been run with {file.path}",
                hint="`rivya-batch plan` shows what it would do",
            )
    return [_standing(file.conn, name, now_s) for name in (names or known)]


def _standing(conn: sqlite3.Connection, name: str, now_s: float) -> Standing:
    counts: dict[str, int] = {}
    orphaned = 0
    for (state, listed), number in jobs.counts(conn, name).items():
        if listed:
            counts[state.value] = counts.get(state.value, 0) + number
        else:
            orphaned += number
    charged, reserved = ledger.totals(conn, name)
    bound = catalogue.binding(conn, name)
    run = catalogue.last_run(conn, name)
    last = _run(run) if run is not None else None
    running = last if run is not None and alive(run, now_s) else None
    return Standing(
        name=name,
        path=bound["path"] if bound else "",
        counts=counts,
        total=sum(counts.values()),
        orphaned=orphaned,
        charged=charged,
        reserved=reserved,
        last_day=ledger.day_total(conn, now_s),
        running=running,
        last_run=last,
        errors=[dict(row) for row in jobs.last_errors(conn, name, 5)],
        eta_s=_eta_s(counts, last) if running else None,
    )


def _run(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "command": row["command"],
        "pid": row["pid"],
        "host": row["host"],
        "started_at": row["started_at"],
        "seen_at": row["seen_at"],
        "ended_at": row["ended_at"],
        "exit_code": row["exit_code"],
        "stats": json.loads(row["stats"]),
    }


def alive(row: sqlite3.Row, now_s: float) -> bool:
    """Say whether the process of a row of `runs` still lives; one on another host is judged by its word."""
    if row["ended_at"] is not None:
        return False
    if row["host"] == socket.gethostname():
        return is_alive(row["pid"])
    return now_s - (epoch(row["seen_at"]) or 0.0) < ALIVE_S


def _eta_s(counts: dict[str, int], last: dict[str, Any] | None) -> float | None:
    done = (last or {}).get("stats", {}).get("done", 0)
    seconds = (last or {}).get("stats", {}).get("seconds", 0)
    left = sum(
        number
        for state, number in counts.items()
        if state not in ("done", "failed", "abandoned", "uncertain")
    )
    return left * seconds / done if done and seconds else None
