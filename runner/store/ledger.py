"""Where money is counted: reserved at the intent, corrected at the answer, settled at the end.

One row for each job and round. `amount` is what counts against the caps now: what was charged, or,
until that is known, the largest amount anybody has named for it.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from runner.budget import Committed
from runner.clock import epoch
from runner.errors import RunnerError
from runner.model import Basis, Estimate, Job, TaskId

_DAY_MINUTES = 24 * 60
# A service that named no amount in so many payments names none: trying its prices one by one would teach nothing.
SILENT_PAYMENTS = 3

Paid = tuple[float | None, float | None]  # credits reserved and charged, as the service has named them


def committed(conn: sqlite3.Connection, *, manifest: str, job: int, now_s: float) -> Committed:
    """Return the credits that count already; the day's window errs by at most a minute, upwards."""
    since = int(now_s // 60) - _DAY_MINUTES
    totals = conn.execute(
        "SELECT charged + reserved FROM credit_totals WHERE manifest = ?", (manifest,)
    ).fetchone()
    day = conn.execute(
        "SELECT coalesce(sum(amount), 0) FROM credit_minutes WHERE minute >= ?", (since,)
    ).fetchone()
    own = conn.execute("SELECT coalesce(sum(amount), 0) FROM ledger WHERE job = ?", (job,)).fetchone()
    unnamed = conn.execute(
        "SELECT count(*) FILTER (WHERE own AND unseen), count(*) FILTER (WHERE NOT own AND unseen),"
        " total(amount) FILTER (WHERE own), total(amount) FILTER (WHERE own AND minute >= ?2),"
        " total(amount) FILTER (WHERE NOT own AND minute >= ?2) FROM (SELECT amount, minute, manifest = ?1 AS own,"
        " NOT EXISTS (SELECT 1 FROM prices p WHERE p.base_url = l.base_url AND p.shape = l.shape) AS unseen"
        " FROM ledger l WHERE probe = 1)",
        (manifest, since),
    ).fetchone()
    return Committed(
        total=totals[0] if totals else 0.0,
        day=day[0],
        job=own[0],
        probes_out=unnamed[0],
        probes_elsewhere=unnamed[1],
        unnamed=unnamed[2],
        unnamed_day=unnamed[3],
        unnamed_elsewhere=unnamed[4],
    )


def totals(conn: sqlite3.Connection, manifest: str) -> tuple[float, float]:
    """Return (charged, reserved) credits of a manifest name, for ever."""
    found = conn.execute(
        "SELECT charged, reserved FROM credit_totals WHERE manifest = ?", (manifest,)
    ).fetchone()
    return (found["charged"], found["reserved"]) if found else (0.0, 0.0)


def day_total(conn: sqlite3.Connection, now_s: float) -> float:
    """Return the credits of the whole workspace in the last 24 hours."""
    found = conn.execute(
        "SELECT coalesce(sum(amount), 0) FROM credit_minutes WHERE minute >= ?",
        (int(now_s // 60) - _DAY_MINUTES,),
    ).fetchone()
    return float(found[0])


def reserve(conn: sqlite3.Connection, job: Job, *, estimate: Estimate, base_url: str, now: str) -> None:
    """Set credits aside for the round a job is in; a released reservation of it is opened anew.

    Its `probe` stands until the service has named its credits, whether or not a cap is set now: the
    next run may have one while this payment is still out.

    Raises:
        RunnerError: The round is reserved or charged already; a fault of ours.
    """
    minute = int((epoch(now) or 0.0) // 60)
    opened = conn.execute(
        "INSERT INTO ledger (job, manifest, round, model, shape, base_url, state, estimated, basis, probe, amount,"
        " opened_at, minute) VALUES (?, ?, ?, ?, ?, ?, 'reserved', ?, ?, 1, ?, ?, ?)"
        " ON CONFLICT (job, round) DO UPDATE SET state = 'reserved', estimated = excluded.estimated,"
        " basis = excluded.basis, probe = excluded.probe, reserved = NULL, charged = NULL, amount = excluded.amount,"
        " task_id = NULL, opened_at = excluded.opened_at, settled_at = NULL, minute = excluded.minute"
        " WHERE state = 'released'",
        (
            job.row,
            job.manifest,
            job.round,
            job.model,
            job.shape,
            base_url,
            estimate.reserve,
            estimate.basis.value,
            estimate.reserve,
            now,
            minute,
        ),
    )
    if opened.rowcount != 1:
        msg = f"round {job.round} of job {job.id} is paid for already"
        raise RunnerError(msg)


def accept(conn: sqlite3.Connection, job: Job, *, task_id: TaskId, reserved: float | None, now: str) -> None:
    """Record the task that a round has become, and what the service reserved for it.

    Zero or nothing reserved says nothing about the price ("task record first, credits spent next",
    `api.md` §7): the estimate stays, and a probe stays out until the task has ended.
    """
    if reserved:
        conn.execute(
            "UPDATE ledger SET task_id = ?, reserved = ?, amount = ?, probe = 0 WHERE job = ? AND round = ?",
            (task_id, reserved, reserved, job.row, job.round),
        )
        _observe(conn, job, reserved=reserved, charged=None, now=now)
    else:
        conn.execute(
            "UPDATE ledger SET task_id = ? WHERE job = ? AND round = ?", (task_id, job.row, job.round)
        )


def note_reserved(conn: sqlite3.Connection, job: Job, *, reserved: float, now: str) -> bool:
    """Correct what is reserved while the task runs (some answers name it late); return whether it moved."""
    changed = conn.execute(
        "UPDATE ledger SET reserved = ?, amount = ?, probe = 0 WHERE job = ? AND round = ? AND state = 'reserved'"
        " AND reserved IS NOT ?",
        (reserved, reserved, job.row, job.round, reserved),
    )
    if changed.rowcount:
        _observe(conn, job, reserved=reserved, charged=None, now=now)
    return bool(changed.rowcount)


def settle(conn: sqlite3.Connection, job: Job, *, final: float | None, succeeded: bool, now: str) -> None:
    """Settle a round by its task's last word; no word means charged in full."""
    row = conn.execute(
        "SELECT amount, reserved FROM ledger WHERE job = ? AND round = ? AND state = 'reserved'",
        (job.row, job.round),
    ).fetchone()
    if row is None:
        return
    charged = final if final is not None else row["amount"]
    conn.execute(
        "UPDATE ledger SET state = ?, charged = ?, amount = ?, probe = 0, settled_at = ? WHERE job = ? AND round = ?",
        ("charged" if charged else "released", charged, charged, now, job.row, job.round),
    )
    if succeeded and charged and (final is not None or row["reserved"] is not None):
        _observe(conn, job, reserved=row["reserved"], charged=charged, now=now)


def release(conn: sqlite3.Connection, job: Job, *, now: str) -> None:
    """Give back a reservation of which nothing was charged: every send was definitely refused."""
    conn.execute(
        "UPDATE ledger SET state = 'released', charged = 0, amount = 0, probe = 0, settled_at = ?"
        " WHERE job = ? AND round = ? AND state = 'reserved'",
        (now, job.row, job.round),
    )


def adopt(
    conn: sqlite3.Connection, job: Job, *, credits: float, task_id: TaskId | None, base_url: str, paid_at: str
) -> None:
    """Count what was paid for a result that was found on disk: a cap is for ever, whatever became of the ledger."""
    estimate = Estimate(credits=credits, reserve=credits, basis=Basis.OBSERVED)
    reserve(conn, job, estimate=estimate, base_url=base_url, now=paid_at)
    if task_id is not None:
        accept(conn, job, task_id=task_id, reserved=None, now=paid_at)
    settle(conn, job, final=credits, succeeded=False, now=paid_at)


def move_to(conn: sqlite3.Connection, job: Job, *, now: str) -> None:
    """Count a reservation in the day of `now`: that is when it may come to be charged."""
    conn.execute(
        "UPDATE ledger SET minute = ? WHERE job = ? AND round = ? AND state = 'reserved'",
        (int((epoch(now) or 0.0) // 60), job.row, job.round),
    )


def opened_at(conn: sqlite3.Connection, job: Job) -> str | None:
    """Return when the credits of a job's present round were set aside, just before its first send."""
    found = conn.execute(
        "SELECT opened_at FROM ledger WHERE job = ? AND round = ?", (job.row, job.round)
    ).fetchone()
    return str(found["opened_at"]) if found else None


def end_probe(conn: sqlite3.Connection, job: Job) -> None:
    """A person has decided about this payment: it no longer keeps other prices from being tried."""
    conn.execute("UPDATE ledger SET probe = 0 WHERE job = ? AND round = ?", (job.row, job.round))


def _observe(
    conn: sqlite3.Connection, job: Job, *, reserved: float | None, charged: float | None, now: str
) -> None:
    conn.execute(
        "INSERT INTO prices (base_url, shape, model, reserved, charged, seen_at)"
        " SELECT base_url, shape, model, ?, ?, ? FROM ledger WHERE job = ? AND round = ?"
        " ON CONFLICT (base_url, shape) DO UPDATE SET reserved = coalesce(excluded.reserved, reserved),"
        " charged = coalesce(excluded.charged, charged), seen = seen + 1, seen_at = excluded.seen_at",
        (reserved, charged, now, job.row, job.round),
    )


def observed(conn: sqlite3.Connection, base_url: str, shape: str) -> Estimate | None:
    """Return what this workspace has seen charged for a shape, if anything."""
    found = conn.execute(
        "SELECT reserved, charged FROM prices WHERE base_url = ? AND shape = ?", (base_url, shape)
    ).fetchone()
    if found is None:
        return None
    amounts = [amount for amount in (found["reserved"], found["charged"]) if amount]
    if not amounts:
        return None
    return Estimate(credits=found["charged"] or found["reserved"], reserve=max(amounts), basis=Basis.OBSERVED)


def names_no_amounts(conn: sqlite3.Connection, base_url: str) -> bool:
    """Say whether a service has never named an amount, though several of its tasks have succeeded."""
    if conn.execute("SELECT 1 FROM prices WHERE base_url = ? LIMIT 1", (base_url,)).fetchone():
        return False
    found = conn.execute(
        "SELECT count(*) FROM (SELECT 1 FROM ledger l JOIN jobs j ON j.id = l.job AND j.round = l.round"
        " WHERE l.base_url = ? AND l.task_id IS NOT NULL AND l.state = 'charged'"
        " AND j.state IN ('downloading', 'done') LIMIT ?)",
        (base_url, SILENT_PAYMENTS),
    ).fetchone()
    return bool(found[0] == SILENT_PAYMENTS)


def amount_of(conn: sqlite3.Connection, job: Job) -> float:
    """Return the credits a job's present round counts with."""
    found = conn.execute(
        "SELECT amount FROM ledger WHERE job = ? AND round = ?", (job.row, job.round)
    ).fetchone()
    return float(found["amount"]) if found else 0.0


def paid(conn: sqlite3.Connection, job: Job) -> Paid:
    """Return the credits of a job's present round, as far as the service has named them."""
    found = conn.execute(
        "SELECT reserved, charged FROM ledger WHERE job = ? AND round = ?", (job.row, job.round)
    ).fetchone()
    return (found["reserved"], found["charged"]) if found else (None, None)


def tasks(conn: sqlite3.Connection, manifest: str) -> frozenset[tuple[str, str]]:
    """Return (base_url, task id) of all that is known to be paid for a manifest."""
    rows = conn.execute(
        "SELECT base_url, task_id FROM ledger WHERE manifest = ? AND task_id IS NOT NULL", (manifest,)
    )
    return frozenset((row["base_url"], row["task_id"]) for row in rows)


def by_manifest_model_day(conn: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the rows of `v_credits`."""
    return [dict(row) for row in conn.execute("SELECT * FROM v_credits")]
