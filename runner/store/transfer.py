"""All that one state database knows, copied into another that is empty: from a file to a server, or back."""

from __future__ import annotations

from runner.errors import RunnerError, UsageError
from runner.store import ledger, manifests
from runner.store.connection import Connection
from runner.store.database import StateDatabase
from runner.store.reporting import snapshot

# In this order each row finds what it refers to.
TABLES = (
    "manifests", "listings", "jobs", "ledger", "artifacts", "runs", "events", "uploads", "prices", "durations", "rates",
    "hashes", "result_hosts", "orders", "picks", "workers", "shares", "late_answers", "switches",
    "pacers", "needs", "handovers", "begun_jobs",
)  # fmt: skip
# Sums of the ledger, which add themselves up as its rows come.
SUMS = ("credit_totals", "credit_minutes", "credits_out")
REPLACED = ("workspace",)  # a new database has its own row: the copy is the same workspace
# Their next row gets the next number.
NUMBERED = ("jobs", "ledger", "runs", "events", "durations", "orders", "workers", "late_answers", "handovers")


def transfer(source: StateDatabase, target: StateDatabase) -> dict[str, int]:
    """Copy all rows in one transaction; return how many of each table.

    Nobody may write to the source meanwhile.

    Raises:
        UsageError: There is something in the target already.
        RunnerError: The sums of the copy differ; nothing of it was kept.
    """
    with snapshot(source.conn) as old, target.transaction() as new:
        for table in TABLES:
            if new.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None:
                raise UsageError(
                    f"there is something in {target.place} already",
                    hint="copy into a database that is empty, or not there yet",
                )
        copied = {table: _copy(old, new, table) for table in TABLES}
        for table in REPLACED:
            new.execute(f"DELETE FROM {table}")
            _copy(old, new, table)
        target.number_on(NUMBERED)
        for name in manifests.names(old):
            before, after = ledger.totals(old, name), ledger.totals(new, name)
            if any(abs(one - other) > 0.001 for one, other in zip(before, after, strict=True)):
                raise RunnerError(
                    f"the credits of {name} are {before} in {source.place} and would be {after} in the copy",
                    hint="nothing was copied; this is a bug in rivya-batch",
                )
    return copied


def _copy(old: Connection, new: Connection, table: str) -> int:
    first = old.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
    if first is None:
        return 0
    names = list(first.keys())
    new.executemany(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
        (tuple(row) for row in old.execute(f"SELECT {', '.join(names)} FROM {table}")),
    )
    return int(new.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
