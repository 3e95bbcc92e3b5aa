"""Where money is counted: reserved at the intent, corrected at the answer, settled at the end.

One row for each job and round. `amount` is what counts against the caps now: what was charged, or,
until that is known, the largest amount anybody has named for it. `probe` says that it is not known yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from runner.errors import RunnerError
from runner.host.clock import epoch
from runner.model import Basis, Estimate, Job, JobId, TaskId
from runner.money.budget import EPSILON, Committed, OnTheWay, beyond
from runner.money.pricing import MANY, RECENT, Seen, surprises_above
from runner.store.connection import Connection, Cursor, SelectedRow
from runner.store.marks import PaymentsBegun
from runner.store.tables import query

_DAY_MINUTES = 24 * 60
# A service that named no amount in so many payments names none: trying its prices one by one would teach nothing.
SILENT_PAYMENTS = 3
LATEST = 5_000  # payments among which one of a manifest is looked for

Paid = tuple[float | None, float | None]  # credits reserved and charged, as the service has named them


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What is known, before a job is paid for, of its price and of what counts already."""

    price: Seen | None
    silent: bool  # the service names no amounts
    committed: Committed


def grounds(conn: Connection, job: Job, *, base_url: str, now_s: float) -> Grounds:
    """Return what a payment for a job is judged by; the day errs by at most a minute, upwards."""
    since = int(now_s // 60) - _DAY_MINUTES
    # All is asked before any answer is looked at: from a server they come together.
    asked_price = _ask_price(conn, base_url, job.shape)
    asked_sums = conn.execute(
        "SELECT (SELECT coalesce(sum(amount), 0) FROM ledger WHERE job = ?1) AS job,"
        " coalesce((SELECT charged + reserved FROM credit_totals WHERE manifest = ?2), 0) AS total,"
        f" (SELECT coalesce(sum(amount), 0) FROM credit_minutes WHERE minute >= ?3) AS day, {_SILENT.format(url='?4')}",
        (job.row, job.manifest, since, base_url),
    )
    asked_out = _ask_on_the_way(conn, job.manifest, since)
    price, sums, out = _price(asked_price), asked_sums.fetchone(), [_out(row) for row in asked_out]
    silent = sums["silent"] == SILENT_PAYMENTS
    # Nobody will ever know that a price of such a service has risen: waiting would tell nothing.
    risky = [each for each in out if not (silent and each.base_url == base_url)]
    found = Committed(
        total=sums["total"],
        day=float(sums["day"]),
        job=sums["job"],
        first_out=sum(each.payments for each in risky if each.is_first and each.shape == job.shape),
        probes_out=sum(each.payments for each in out if each.own and not each.seen),
        probes_elsewhere=sum(each.payments for each in out if not each.own and not each.seen),
        beyond=beyond(_by_shape(each for each in risky if each.own)),
        beyond_day=beyond(_by_shape(each for each in risky if each.today)),
        beyond_own=beyond(_by_shape(each for each in risky if each.today and each.own)),
    )
    return Grounds(price=price, silent=silent, committed=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Out:
    """Payments on their way: of one shape, of one manifest or of the others, of today or from before."""

    base_url: str
    shape: str
    own: bool
    today: bool
    seen: bool  # the service has named something of this price
    payments: int
    amount: float
    named: float
    price: Seen
    tried: bool

    @property
    def is_first(self) -> bool:
        return not self.price.ends


def _ask_on_the_way(conn: Connection, manifest: str, since: int) -> Cursor:
    return conn.execute(
        "SELECT o.base_url, o.shape, o.manifest = ?1 AS own, o.minute >= ?2 AS today, p.shape IS NOT NULL AS seen,"
        " sum(o.payments) AS payments, sum(o.amount) AS amount, sum(o.named) AS named, p.reserved, p.ends, p.kept,"
        " EXISTS (SELECT 1 FROM prices t WHERE t.base_url = o.base_url AND t.model = o.model AND t.ends <> '[]') AS tried"
        " FROM credits_out o LEFT JOIN prices p ON p.base_url = o.base_url AND p.shape = o.shape"
        " GROUP BY o.base_url, o.shape, o.model, own, today, p.shape, p.reserved, p.ends, p.kept",
        (manifest, since),
    )


def _out(row: SelectedRow) -> _Out:
    return _Out(
        base_url=row["base_url"],
        shape=row["shape"],
        own=bool(row["own"]),
        today=bool(row["today"]),
        seen=bool(row["seen"]),
        payments=row["payments"],
        amount=row["amount"],
        named=row["named"],
        price=_seen(row) if row["seen"] else Seen(),
        tried=bool(row["tried"]),
    )


def _by_shape(out: Iterable[_Out]) -> Iterator[OnTheWay]:
    """Yield the payments of each shape together: what was kept holds once for all of them."""
    groups: dict[tuple[str, str], list[_Out]] = {}
    for each in out:
        groups.setdefault((each.base_url, each.shape), []).append(each)
    for group in groups.values():
        price = group[0].price
        yield OnTheWay(
            payments=sum(each.payments for each in group),
            amount=sum(each.amount for each in group),
            named=sum(each.named for each in group),
            kept=price.kept,
            highest=price.highest,
            tried=group[0].tried,
        )


def totals(conn: Connection, manifest: str) -> tuple[float, float]:
    """Return (charged, reserved) credits of a manifest name, for ever."""
    found = conn.execute(
        "SELECT charged, reserved FROM credit_totals WHERE manifest = ?", (manifest,)
    ).fetchone()
    return (found["charged"], found["reserved"]) if found else (0.0, 0.0)


def all_totals(conn: Connection) -> tuple[float, float]:
    """Return (charged, reserved) credits of all manifests together, for ever."""
    found = conn.execute("SELECT sum(charged), sum(reserved) FROM credit_totals").fetchone()
    return (float(found[0] or 0.0), float(found[1] or 0.0))


def day_total(conn: Connection, now_s: float) -> float:
    """Return the credits of the whole workspace in the last 24 hours."""
    found = conn.execute(
        "SELECT coalesce(sum(amount), 0) FROM credit_minutes WHERE minute >= ?",
        (int(now_s // 60) - _DAY_MINUTES,),
    ).fetchone()
    return float(found[0])


def reserve(conn: Connection, job: Job, *, estimate: Estimate, base_url: str, now: str) -> None:
    """Set credits aside for the round a job is in; a released reservation of it is opened anew.

    Its `probe` stands until its end is known, whether or not a cap is set now: the next run may have one while
    this payment is still out.

    Raises:
        RunnerError: The round is reserved or charged already; a bug of ours.
    """
    ask_to_reserve(conn, job, estimate=estimate, base_url=base_url, now=now).refuse_twice()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserving:
    """A reservation that was asked for, and whose answer nobody has looked at yet."""

    job: Job
    asked: Cursor

    def refuse_twice(self) -> None:
        """See that the round was not reserved or charged already.

        Raises:
            RunnerError: It was; a bug of ours.
        """
        if self.asked.rowcount != 1:
            msg = f"round {self.job.round} of job {self.job.id} is paid for already"
            raise RunnerError(msg)


def ask_to_reserve(conn: Connection, job: Job, *, estimate: Estimate, base_url: str, now: str) -> Reserving:
    """Do what `reserve` does, and leave it to the caller to look at the answer, together with others."""
    minute = int((epoch(now) or 0.0) // 60)
    asked = conn.execute(
        "INSERT INTO ledger (job, manifest, round, model, shape, base_url, state, estimated, basis, most, probe,"
        " amount, opened_at, minute) VALUES (?, ?, ?, ?, ?, ?, 'reserved', ?, ?, ?, 1, ?, ?, ?)"
        " ON CONFLICT (job, round) DO UPDATE SET state = 'reserved', estimated = excluded.estimated,"
        " basis = excluded.basis, most = excluded.most, probe = excluded.probe, named = NULL, reserved = NULL,"
        " charged = NULL, amount = excluded.amount, task_id = NULL, opened_at = excluded.opened_at, settled_at = NULL,"
        " minute = excluded.minute, surprise = NULL, told_at = NULL WHERE ledger.state = 'released'",
        (
            job.row,
            job.manifest,
            job.round,
            job.model,
            job.shape,
            base_url,
            estimate.credits,
            estimate.basis.value,
            estimate.most,
            estimate.reserve,
            now,
            minute,
        ),
    )
    return Reserving(job=job, asked=asked)


def accept(
    conn: Connection, job: Job, *, task_id: TaskId, reserved: float | None, now: str
) -> Surprise | None:
    """Record the task that a round has become, and what the service reserved for it; return what a person has to see.

    Zero or nothing reserved says nothing about the price, for the service makes the task's record first and
    spends credits next: the estimate stays.
    """
    if reserved:
        row = _reserved(conn, job, reserved, task_id=task_id)
        if row is not None:
            return _note_reserved(conn, job, row, reserved, now)
    conn.execute("UPDATE ledger SET task_id = ? WHERE job = ? AND round = ?", (task_id, job.row, job.round))
    return surprise_of(conn, job)


def note_reserved(conn: Connection, job: Job, *, reserved: float, now: str) -> bool:
    """Record what is reserved, also while the task runs (some answers name it late); return whether it moved.

    What counts only grows: a reservation below what its shape was charged in the end is a placeholder.
    """
    row = _reserved(conn, job, reserved)
    if row is not None:
        _note_reserved(conn, job, row, reserved, now)
    return row is not None


def _reserved(
    conn: Connection, job: Job, reserved: float, *, task_id: TaskId | None = None
) -> SelectedRow | None:
    """Take down what is reserved, and the task where it is new; return the row, None where that was known."""
    parameters = reserved, job.row, job.round, task_id
    changed = conn.execute(_RESERVED, parameters).fetchall()
    if not changed:
        changed = conn.execute(_RESERVED_MORE, parameters).fetchall()
    return changed[0] if changed else None


# Two statements, since sums are kept of `amount`: to write it costs as much as all the rest, though it stays as it is.
_RESERVED, _RESERVED_MORE = (
    f"UPDATE ledger SET reserved = ?1, named = coalesce(named, ?1), task_id = coalesce(?4, task_id){amount}"
    f" WHERE job = ?2 AND round = ?3 AND state = 'reserved' AND reserved IS NOT ?1 AND amount {than} ?1"
    " RETURNING base_url, shape, model, estimated, most, named, surprise, told_at"
    for amount, than in (("", ">="), (", amount = ?1", "<"))
)


def _note_reserved(
    conn: Connection, job: Job, row: SelectedRow, reserved: float, now: str
) -> Surprise | None:
    marked = _mark_surprise(conn, job, row, reserved, named=None)
    conn.execute(
        "INSERT INTO prices (base_url, shape, model, reserved, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (base_url, shape) DO UPDATE SET reserved = excluded.reserved, seen = prices.seen + 1,"
        " seen_at = excluded.seen_at, kept = CASE WHEN ?6 = 1 THEN 0 ELSE prices.kept END",
        (row["base_url"], row["shape"], row["model"], reserved, now, int(_above(reserved, row["named"]))),
    )
    return _yet_to_see(job, row, reserved if marked else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a round came to, and what a person has yet to see of it."""

    paid: Paid
    surprise: Surprise | None


def settle(
    conn: Connection,
    job: Job,
    *,
    final: float | None,
    succeeded: bool,
    now: str,
    reserved: float | None = None,
) -> Settlement:
    """Settle a round by its task's last word; no word means charged in full.

    So does a 0 for a task that succeeded while something else was said of its price before: a result for
    nothing is more likely a number that nobody has filled in. `reserved` is what that word says of the reservation, which
    is noted first.
    """
    row = _to_settle(conn, job)
    if row is not None and reserved and reserved != row["reserved"]:
        note_reserved(conn, job, reserved=reserved, now=now)
        row = _to_settle(conn, job)
    if row is None:
        return Settlement(paid=paid(conn, job), surprise=surprise_of(conn, job))
    seen = None
    if row["ends"] is not None:
        seen = Seen(named=row["named_last"], ends=_ends(row["ends"]), kept=row["kept"])
    told = None if succeeded and not final and row["amount"] else final
    charged = float(told) if told is not None else _in_full(row, seen)
    marked = _mark_surprise(conn, job, row, charged, named=row["named"])
    conn.execute(
        "UPDATE ledger SET state = ?, charged = ?, amount = ?, probe = 0, settled_at = ? WHERE job = ? AND round = ?",
        ("charged" if charged else "released", charged, charged, now, job.row, job.round),
    )
    if (
        succeeded
        and charged
        and (told is not None or (row["reserved"] is not None and charged == row["reserved"]))
    ):
        _note_end(conn, row, seen or Seen(), charged, now)
    return Settlement(
        paid=(row["reserved"], charged), surprise=_yet_to_see(job, row, charged if marked else None)
    )


def _to_settle(conn: Connection, job: Job) -> SelectedRow | None:
    """Return a payment that is not settled, with what was seen of its price: `ends` is None where that is nothing."""
    found: SelectedRow | None = conn.execute(
        "SELECT l.base_url, l.shape, l.model, l.estimated, l.most, l.amount, l.reserved, l.named, l.surprise, l.told_at,"
        " p.reserved AS named_last, p.ends, p.kept FROM ledger l LEFT JOIN prices p ON p.base_url = l.base_url"
        " AND p.shape = l.shape WHERE l.job = ? AND l.round = ? AND l.state = 'reserved'",
        (job.row, job.round),
    ).fetchone()
    return found


def _in_full(row: SelectedRow, seen: Seen | None) -> float:
    """Return what a payment counts with whose end the service did not name: a placeholder is no reservation."""
    reserved = float(row["reserved"] or 0.0)
    named = reserved if MANY * reserved >= row["amount"] else float(row["amount"])
    return max(named, seen.highest if seen else 0.0)


def _note_end(conn: Connection, row: SelectedRow, seen: Seen, charged: float, now: str) -> None:
    kept = seen.kept
    if row["named"] is not None:
        kept = 0.0 if _above(charged, row["named"]) else kept + charged
    ends = (*seen.ends, charged)[-RECENT:]
    if ends == seen.ends:  # the same for a long time: an index is left alone
        conn.execute(
            "UPDATE prices SET kept = ?, seen = seen + 1, seen_at = ? WHERE base_url = ? AND shape = ?",
            (kept, now, row["base_url"], row["shape"]),
        )
        return
    conn.execute(
        "INSERT INTO prices (base_url, shape, model, ends, kept, seen_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (base_url, shape) DO UPDATE SET ends = excluded.ends, kept = excluded.kept, seen = prices.seen + 1,"
        " seen_at = excluded.seen_at",
        (row["base_url"], row["shape"], row["model"], json.dumps(ends), kept, now),
    )


def _above(amount: float, other: float) -> bool:
    return amount > other + EPSILON


def release(conn: Connection, job: Job, *, now: str) -> None:
    """Give back a reservation of which nothing was charged: every send was definitely refused."""
    conn.execute(
        "UPDATE ledger SET state = 'released', charged = 0, amount = 0, probe = 0, settled_at = ?"
        " WHERE job = ? AND round = ? AND state = 'reserved'",
        (now, job.row, job.round),
    )


def adopt(
    conn: Connection, job: Job, *, credits: float, task_id: TaskId | None, base_url: str, paid_at: str
) -> None:
    """Count what was paid for a result that was found on disk: a cap is for ever, whatever became of the ledger."""
    estimate = Estimate(credits=credits, reserve=credits, basis=Basis.OBSERVED, most=credits)
    reserve(conn, job, estimate=estimate, base_url=base_url, now=paid_at)
    if task_id is not None:
        accept(conn, job, task_id=task_id, reserved=None, now=paid_at)
    settle(conn, job, final=credits, succeeded=False, now=paid_at)


def move_to(conn: Connection, job: Job, *, now: str) -> None:
    """Count a reservation in the day of `now`: that is when it may come to be charged."""
    conn.execute(
        "UPDATE ledger SET minute = ? WHERE job = ? AND round = ? AND state = 'reserved'",
        (int((epoch(now) or 0.0) // 60), job.row, job.round),
    )


def opened_at(conn: Connection, job: Job) -> str | None:
    """Return when the credits of a job's present round were set aside, just before its first send."""
    found = conn.execute(
        "SELECT opened_at FROM ledger WHERE job = ? AND round = ?", (job.row, job.round)
    ).fetchone()
    return str(found["opened_at"]) if found else None


def end_probe(conn: Connection, job: Job) -> None:
    """A person has decided about this payment: it counts as it is, and nothing waits for its end any more."""
    conn.execute("UPDATE ledger SET probe = 0 WHERE job = ? AND round = ?", (job.row, job.round))


def price_seen(conn: Connection, base_url: str, shape: str, *, dated: bool = False) -> Seen | None:
    """Return what this workspace has seen of the price of a shape, if anything; when, only where that is wanted."""
    return _price(_ask_price(conn, base_url, shape), dated=dated)


def _ask_price(conn: Connection, base_url: str, shape: str) -> Cursor:
    return conn.execute(
        "SELECT reserved, ends, kept, seen_at FROM prices WHERE base_url = ? AND shape = ?", (base_url, shape)
    )


def _price(asked: Cursor, *, dated: bool = False) -> Seen | None:
    found = asked.fetchone()
    if not found:
        return None
    return replace(_seen(found), at=found["seen_at"]) if dated else _seen(found)


def _seen(row: SelectedRow) -> Seen:
    return Seen(named=row["reserved"], ends=_ends(row["ends"]), kept=row["kept"])


@lru_cache(maxsize=200)
def _ends(text: str) -> tuple[float, ...]:
    return tuple(json.loads(text))


# --- charges many times their estimate ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """A reservation or charge so many times its estimate that a person has to see it."""

    job: JobId
    credits: float
    estimated: float
    named: float | None  # the reservation the service named first

    def __str__(self) -> str:
        known = f"about {self.estimated:,g} were expected"
        if self.named and _above(self.credits, self.named):
            known = f"{self.named:,g} were reserved"
        return f"job {self.job}: {self.credits:,g} credits where {known}"


def _mark_surprise(
    conn: Connection, job: Job, row: SelectedRow, credits: float, *, named: float | None
) -> bool:
    """Mark a payment whose credits, as they are now known, a person has to see; return whether it is one.

    Args:
        conn: Inside a transaction.
        job: Whose payment it is.
        row: Its row in the ledger.
        credits: What was reserved or charged.
        named: What the service had reserved first; None when this is about that very reservation.
    """
    if row["most"] is not None and credits <= row["most"]:
        return False
    accepted = conn.execute(
        "SELECT coalesce(max(surprise), 0) FROM ledger WHERE surprise IS NOT NULL AND told_at IS NOT NULL"
        " AND base_url = ? AND model = ?",
        (row["base_url"], row["model"]),
    ).fetchone()
    most = surprises_above(
        most=row["most"],
        seen=price_seen(conn, row["base_url"], row["shape"]),
        named=named,
        accepted=accepted[0],
    )
    if most is None or not _above(credits, most):
        return False
    conn.execute(
        "UPDATE ledger SET surprise = ?, told_at = NULL WHERE job = ? AND round = ?",
        (credits, job.row, job.round),
    )
    return True


def _yet_to_see(job: Job, row: SelectedRow, marked: float | None) -> Surprise | None:
    """Return what `surprise_of` would, of a row as it was before it was marked with so many credits, if it was."""
    before = row["surprise"] if row["told_at"] is None else None
    credits = before if marked is None else marked
    if credits is None:
        return None
    return Surprise(job=job.id, credits=float(credits), estimated=row["estimated"], named=row["named"])


_SURPRISES = (
    "SELECT j.job, l.surprise, l.estimated, l.named FROM ledger l JOIN jobs j ON j.id = l.job"
    " WHERE l.surprise IS NOT NULL AND l.told_at IS NULL"
)


def surprise_of(conn: Connection, job: Job) -> Surprise | None:
    """Return what a person has yet to see of the payment for a job's present round."""
    found = conn.execute(f"{_SURPRISES} AND l.job = ? AND l.round = ?", (job.row, job.round)).fetchone()
    return _surprise(found) if found else None


def surprises(conn: Connection, manifest: str) -> list[Surprise]:
    """Return the payments of a manifest that a person has yet to see, the dearest first."""
    rows = conn.execute(f"{_SURPRISES} AND l.manifest = ? ORDER BY l.surprise DESC, l.id", (manifest,))
    return [_surprise(row) for row in rows]


def surprises_told(conn: Connection, manifest: str, now: str) -> None:
    """A person was told of all of them, and goes on."""
    conn.execute(
        "UPDATE ledger SET told_at = ? WHERE surprise IS NOT NULL AND told_at IS NULL AND manifest = ?",
        (now, manifest),
    )


def _surprise(row: SelectedRow) -> Surprise:
    return Surprise(
        job=JobId(row["job"]), credits=row["surprise"], estimated=row["estimated"], named=row["named"]
    )


_SILENT = (
    "CASE WHEN EXISTS (SELECT 1 FROM prices WHERE base_url = {url}) THEN -1 ELSE"
    " (SELECT count(*) FROM (SELECT 1 FROM ledger l JOIN jobs j ON j.id = l.job AND j.round = l.round"
    " WHERE l.base_url = {url} AND l.task_id IS NOT NULL AND l.state = 'charged'"
    f" AND j.state IN ('downloading', 'done') LIMIT {SILENT_PAYMENTS}) AS first) END AS silent"
)


def names_no_amounts(conn: Connection, base_url: str) -> bool:
    """Say whether a service has never named an amount, though several of its tasks have succeeded."""
    found = conn.execute(f"SELECT {_SILENT.format(url='?1')}", (base_url,)).fetchone()
    return bool(found["silent"] == SILENT_PAYMENTS)


def amount_of(conn: Connection, job: Job) -> float:
    """Return the credits a job's present round counts with."""
    found = conn.execute(
        "SELECT amount FROM ledger WHERE job = ? AND round = ?", (job.row, job.round)
    ).fetchone()
    return float(found["amount"]) if found else 0.0


def paid(conn: Connection, job: Job) -> Paid:
    """Return the credits of a job's present round, as far as the service has named them."""
    found = conn.execute(
        "SELECT reserved, charged FROM ledger WHERE job = ? AND round = ?", (job.row, job.round)
    ).fetchone()
    return (found["reserved"], found["charged"]) if found else (None, None)


def tasks(conn: Connection, manifest: str) -> frozenset[tuple[str, str]]:
    """Return (base_url, task id) of all that is known to be paid for a manifest."""
    rows = conn.execute(
        "SELECT base_url, task_id FROM ledger WHERE manifest = ? AND task_id IS NOT NULL", (manifest,)
    )
    return frozenset((row["base_url"], row["task_id"]) for row in rows)


def last_row(conn: Connection) -> int:
    """Return the number of the last payment that was begun; rows are never deleted, so it only grows."""
    return int(conn.execute("SELECT coalesce(max(id), 0) FROM ledger").fetchone()[0])


def count(conn: Connection, manifest: str) -> int:
    """Return how many payments were begun for a manifest; looks at each row."""
    return int(conn.execute("SELECT count(*) FROM ledger WHERE manifest = ?", (manifest,)).fetchone()[0])


def has_task(conn: Connection, base_url: str, task_id: str) -> bool:
    """Say whether a task is known."""
    found = conn.execute("SELECT 1 FROM ledger WHERE base_url = ? AND task_id = ?", (base_url, task_id))
    return found.fetchone() is not None


def begun(conn: Connection, manifest: str, since: PaymentsBegun | None) -> PaymentsBegun:
    """Return how many payments were begun, looking only at what came after an earlier count."""
    row, number, task_id = (since.row, since.number, since.task_id) if since else (0, 0, None)
    last = last_row(conn)
    more = conn.execute(
        "SELECT count(*) FROM ledger WHERE id > ? AND manifest = ?", (row, manifest)
    ).fetchone()
    # Any recent one will do; the newest have not been answered yet.
    latest = conn.execute(
        "SELECT task_id FROM ledger WHERE id > ? AND manifest = ? AND task_id IS NOT NULL ORDER BY id DESC LIMIT 1",
        (last - LATEST, manifest),
    ).fetchone()
    return PaymentsBegun(row=last, number=number + more[0], task_id=latest["task_id"] if latest else task_id)


def by_manifest_model_day(conn: Connection) -> list[dict[str, Any]]:
    """Return the rows of `v_credits`."""
    return list(query(conn, "SELECT * FROM v_credits ORDER BY day, manifest, model"))
