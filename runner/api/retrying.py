"""`retry`: another paid round for failed jobs, by a person's word."""

from __future__ import annotations

import fnmatch
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.api.opening import read_manifest
from runner.clock import rfc3339
from runner.model import State
from runner.pricing import estimate
from runner.steps.rounds import FRESH_ROUND
from runner.store import catalogue, jobs, ledger
from runner.store.database import StateFile
from runner.workspace import no_database


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The failed jobs a person means, and what another round of them is expected to cost."""

    name: str
    rows: tuple[int, ...]
    credits: float
    by_class: Counter[str]


def failed_jobs(
    manifest: Path, *, state: str | None, sandbox: bool, classes: Sequence[str], only: str | None
) -> Failed:
    """Find the failed jobs that are still listed.

    Raises:
        UsageError: Nothing was ever run here.
    """
    opened = read_manifest(manifest, state=state, sandbox=sandbox)
    settings = opened.manifest.settings
    assert settings is not None
    database = opened.workspace.database
    if not opened.workspace.has_database:
        raise no_database(opened.workspace, sandbox=sandbox)
    file = StateFile.open_readonly(database)
    try:
        bound = catalogue.binding(file.conn, settings.name)
        service = bound["base_url"] if bound else ""
        rows, credits, by_class = [], 0.0, Counter[str]()
        for job in jobs.in_states(file.conn, settings.name, (State.FAILED,), listed_only=True):
            if classes and job.error_class not in classes:
                continue
            if only is not None and not fnmatch.fnmatchcase(job.id, only):
                continue
            rows.append(job.row)
            observed = ledger.observed(file.conn, service, job.shape)
            contract = opened.contracts.get(job.model)
            credits += estimate(job, contract=contract, rules=settings.prices, observed=observed).credits
            by_class[job.error_class or "other"] += 1
    finally:
        file.close()
    return Failed(name=settings.name, rows=tuple(rows), credits=credits, by_class=by_class)


def begin_rounds(conn: sqlite3.Connection, found: Failed) -> None:
    """Begin another round of each of these jobs that is still failed; inside the run's own transaction."""
    now = rfc3339(time.time())
    for row in found.rows:
        job = jobs.get(conn, row)
        if job.state is not State.FAILED or not job.listed:
            continue
        jobs.advance(conn, job, now, **{**FRESH_ROUND, "state": State.PLANNED.value, "round": job.round + 1})
        catalogue.event(
            conn,
            at=now,
            run=None,
            manifest=job.manifest,
            job=job.id,
            kind="round",
            data={"round": job.round + 1},
        )
