"""What was charged before, as price books: a book for each model, made of the prices that payments have ended with."""

from __future__ import annotations

import json
from typing import NamedTuple

from runner.contract import Contract
from runner.money.price_book import MOST_POINTS, PriceBook, PricePoint
from runner.money.pricing import Seen
from runner.store.connection import Connection

GROWN = 1.5  # a book is made anew once so many times as many prices are known


class PriceBooks:
    """Price books of one service, each made when it is first asked for, and anew once clearly more is known."""

    def __init__(self) -> None:
        self._books: dict[str, tuple[int, PriceBook]] = {}

    def of(self, conn: Connection, base_url: str, contract: Contract | None) -> PriceBook | None:
        """Return the book of a model; None where nothing was paid for."""
        if contract is None:
            return None
        known = _known(conn, base_url, contract.id)
        made, book = self._books.get(contract.id, (0, None))
        if not known or known < GROWN * made:
            return book
        book = PriceBook(points(conn, base_url, contract.id, metered=contract.metered))
        self._books[contract.id] = known, book
        return book


def _known(conn: Connection, base_url: str, model: str) -> int:
    """Return of how many shapes of a model some payment has ended."""
    found = conn.execute(
        "SELECT count(*) AS n FROM prices WHERE base_url = ? AND model = ? AND ends <> '[]'",
        (base_url, model),
    ).fetchone()
    return int(found["n"])


def points(conn: Connection, base_url: str, model: str, *, metered: bool) -> list[PricePoint]:
    """Return what shapes of a model were charged, each with a job of it as an example; the oldest first."""
    rows = conn.execute(
        "SELECT shape, ends, seen_at FROM prices WHERE base_url = ? AND model = ? AND ends <> '[]'"
        " ORDER BY seen_at DESC, shape LIMIT ?",
        (base_url, model, MOST_POINTS),
    ).fetchall()
    ends = {row["shape"]: tuple(json.loads(row["ends"])) for row in reversed(rows)}
    seen_at = {row["shape"]: row["seen_at"] for row in rows}
    marks = ", ".join("?" * len(ends))
    examples = conn.execute(
        "SELECT j.shape, j.params, j.refs, j.prompt FROM jobs j JOIN"
        f" (SELECT min(id) AS id FROM jobs WHERE model = ? AND shape IN ({marks}) GROUP BY shape) example"
        " ON j.id = example.id",
        (model, *ends),
    )
    jobs = {row["shape"]: row for row in examples}
    return [
        PricePoint(
            params=json.loads(jobs[shape]["params"]),
            credits=Seen(ends=charges).usual,
            kinds=[each["kind"] for each in json.loads(jobs[shape]["refs"])],
            length=len(jobs[shape]["prompt"] or "") if metered else 0,
            times=len(charges),
            at=seen_at[shape],
        )
        for shape, charges in ends.items()
        if shape in jobs
    ]


class Charged(NamedTuple):
    """What payments of one price came to: expected and charged in all, and the least and the most of one, in credits.

    `params` is JSON, of one of them.
    """

    shape: str
    model: str
    params: str
    jobs: int
    expected: float
    charged: float
    least: float
    most: float


def charged_in_run(conn: Connection, manifest: str, run: int) -> list[Charged]:
    """Return what the payments of a manifest came to that were settled since a run began, by price.

    Where several work at it together, only those for jobs that this one had.
    """
    rows = conn.execute(
        "SELECT l.shape, l.model, j.params, l.jobs, l.expected, l.charged, l.least, l.most FROM ("
        " SELECT model, shape, count(*) AS jobs, sum(estimated) AS expected, sum(charged) AS charged,"
        " min(charged) AS least, max(charged) AS most, min(job) AS job FROM ledger WHERE manifest = ?1"
        " AND state = 'charged' AND settled_at >= (SELECT started_at FROM runs WHERE id = ?2)"
        " AND (NOT EXISTS (SELECT 1 FROM workers WHERE run = ?2)"
        " OR job IN (SELECT s.job FROM shares s JOIN workers w ON w.id = s.worker WHERE w.run = ?2))"
        " GROUP BY model, shape) l"
        " JOIN jobs j ON j.id = l.job ORDER BY l.job",
        (manifest, run),
    )
    return [Charged(*row) for row in rows]
