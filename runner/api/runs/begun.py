"""Applying a plan: the jobs it lists become rows, in the transaction that records that a run has begun."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner import __version__
from runner.api.plan import Plan
from runner.api.plans.results_on_disk import take_over
from runner.results.files import OutputFolder
from runner.service.account import Account
from runner.store import durations, ledger, manifests, runs, staging
from runner.store.database import StateDatabase
from runner.store.marks import Marks
from runner.store.staging import Applied

if TYPE_CHECKING:
    from runner.api.retry import Rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunRun:
    """A run that is recorded as begun."""

    file: StateDatabase
    plan: Plan
    account: Account
    folder: OutputFolder
    run_id: int
    applied: Applied
    marks: Marks | None  # where its payments are written down outside the database
    now: str
    terms: str = ""  # by what it works, where others may work at the same
    session: int = 0  # the number of the first run of those that work together


def apply(
    plan: Plan,
    file: StateDatabase,
    account: Account,
    folder: OutputFolder,
    *,
    rounds: Rounds | None,
    may_pay_twice: bool,
    command: str,
    now: str,
    terms: str = "",
    session: int | None = None,
) -> BegunRun:
    """Make a plan's staged jobs the listed ones, and record a run as begun.

    Args:
        plan: The plan, as it was agreed to.
        file: The database in which its jobs are staged.
        account: Who pays.
        folder: Where the results go.
        rounds: Jobs of which a person wants another round.
        may_pay_twice: Whether to go on although payments of earlier runs are missing from the database.
        command: What was typed, for who asks what is running.
        now: The time, as RFC 3339.
        terms: By what it works.
        session: That of those whom it goes on with; None: it begins one.
    """
    settings = plan.settings
    with file.transaction() as conn:
        manifests.bind(
            conn,
            name=settings.name,
            path=str(settings.path),
            base_url=account.service,
            key12=account.key12,
            output_dir=str(settings.output_dir),
            output_mount=str(folder.mount() or ""),
            now=now,
        )
        applied = staging.apply(conn, settings.name, now, source=plan.source)
        take_over(conn, settings.name, plan.adopted, now)
        ledger.surprises_told(conn, settings.name, now)
        if rounds is not None:
            from runner.api.retry import begin_rounds

            begin_rounds(conn, rounds)
        durations.prune(conn)
        run_id = runs.begin(
            conn,
            manifest=settings.name,
            command=command,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=__version__,
            now=now,
        )
    marks = plan.marks if plan.missing is None or may_pay_twice else None
    if marks is not None:
        known = ledger.begun(file.conn, settings.name, marks.last if plan.missing is None else None)
        if known.number or plan.missing is not None:
            marks.write(known, base_url=account.service, at=now)
    return BegunRun(
        file=file,
        plan=plan,
        account=account,
        folder=folder,
        run_id=run_id,
        applied=applied,
        marks=marks,
        now=now,
        terms=terms,
        session=run_id if session is None else session,
    )
