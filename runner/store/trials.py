"""What `doctor` tries with the key of a task that is there already: each try may be paid for, so each has its line.

Such a line is that of a round no job ever comes to: what it costs counts against all caps as any other payment, and
the job stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner.model import Job
from runner.store import ledger
from runner.store.connection import Connection

FIRST_ROUND = 1001


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLine:
    """One try's line: its `state` in the ledger, what it counts with in credits, when it was opened (RFC 3339)."""

    state: str
    amount: float
    opened_at: str


def as_trial(job: Job, number: int) -> Job:
    """Return a job as the ledger knows its try of this number, from 0."""
    return replace(job, round=FIRST_ROUND + number)


def line_of(conn: Connection, trial: Job) -> TrialLine | None:
    """Return the line of a try that was ever begun."""
    found = conn.execute(
        "SELECT state, amount, opened_at FROM ledger WHERE job = ? AND round = ?", (trial.row, trial.round)
    ).fetchone()
    return (
        TrialLine(state=found["state"], amount=found["amount"], opened_at=found["opened_at"])
        if found
        else None
    )


def unfinished(conn: Connection, manifest: str) -> bool:
    """Say whether a try of a manifest was begun and has no outcome."""
    found = conn.execute(
        "SELECT count(*) AS number FROM ledger WHERE manifest = ? AND round >= ? AND state = 'reserved'"
        " AND task_id IS NULL AND probe = 1",
        (manifest, FIRST_ROUND),
    ).fetchone()
    return bool(found["number"])


def leave(conn: Connection, trial: Job) -> None:
    """Nobody can know what became of a try: it counts as it is, and nothing waits for its end."""
    ledger.end_probe(conn, trial)
