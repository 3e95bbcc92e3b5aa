"""What people tell a run from outside: one row for each order, which the run takes at its next beat."""

from __future__ import annotations

from runner.model import Order, OrderKind
from runner.store.connection import Connection


def give(conn: Connection, run: int, order: Order, now: str) -> int:
    """Leave an order for a run; return its number."""
    rows = conn.execute(
        "INSERT INTO orders (run, kind, value, given_at) VALUES (?, ?, ?, ?) RETURNING id",
        (run, order.kind.value, order.value, now),
    ).fetchall()
    return int(rows[0]["id"])


def take(conn: Connection, run: int, now: str) -> list[Order]:
    """Return what was ordered of a run since it was asked last, in the order in which it was; each once."""
    rows = conn.execute(
        "SELECT id, kind, value FROM orders WHERE run = ? AND taken_at IS NULL ORDER BY id", (run,)
    ).fetchall()
    for row in rows:
        conn.execute("UPDATE orders SET taken_at = ? WHERE id = ?", (now, row["id"]))
    known = {kind.value for kind in OrderKind}
    return [Order(kind=OrderKind(row["kind"]), value=row["value"]) for row in rows if row["kind"] in known]


def copy(conn: Connection, run: int, *, to: int) -> bool:
    """Order of a run what was ordered of another since it began; return whether it was told to stop."""
    rows = conn.execute(
        "INSERT INTO orders (run, kind, value, given_at) SELECT ?, kind, value, given_at FROM orders WHERE run = ?"
        " ORDER BY id RETURNING kind",
        (to, run),
    ).fetchall()
    return any(row["kind"] == OrderKind.STOP.value for row in rows)


def is_taken(conn: Connection, number: int) -> bool:
    """Say whether a run has taken an order."""
    row = conn.execute("SELECT taken_at FROM orders WHERE id = ?", (number,)).fetchone()
    return row is not None and row["taken_at"] is not None
