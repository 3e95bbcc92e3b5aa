"""Several runs of one manifest, on one machine or on many: which may work together, and how each takes part.

Who is first reads the plan into the database, alone, and then lets others take part. Those have to come to the very same
plan from the same file: so each has seen with its own eyes that what it would send is what was agreed to.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from runner import __version__
from runner.api.plan import Plan
from runner.api.runs.begun import BegunRun
from runner.errors import RunLocked
from runner.host.clock import ServerClock
from runner.model import Settings
from runner.results.files import OutputFolder
from runner.service.account import Account
from runner.store import manifests, orders, runs, staging, workers
from runner.store.database import StateDatabase
from runner.store.staging import Applied
from runner.store.workers import Worker

if TYPE_CHECKING:
    from runner.store.lease import Lease

JOIN_WAIT_S = 30.0  # for the first one to have planned
UNCHANGED = ("new", "changed", "renamed")


def join(
    plan: Plan, file: StateDatabase, account: Account, folder: OutputFolder, *, command: str, now: str
) -> BegunRun:
    """Begin a run that takes part in one that has begun.

    Raises:
        RunLocked: It cannot: its plan, settings, account or folder are others.
    """
    name = plan.name
    mates = workers.at_work(file.conn, manifest=name)
    _refuse_other(plan, file, account, folder, mates)
    with file.transaction() as conn:
        run_id = runs.begin(
            conn,
            manifest=name,
            command=command,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=__version__,
            now=now,
        )
        if mates and orders.copy(conn, mates[0].run, to=run_id):
            raise _locked(name, mates, "it was told to stop")
    return BegunRun(
        file=file,
        plan=plan,
        account=account,
        folder=folder,
        run_id=run_id,
        applied=Applied(inserted=0, dropped=0, made_uncertain=0, renamed=()),
        marks=None,  # whoever was first keeps them
        now=now,
    )


def _refuse_other(
    plan: Plan, file: StateDatabase, account: Account, folder: OutputFolder, mates: list[Worker]
) -> None:
    changed = any(plan.summary[each] for each in UNCHANGED) or plan.adopted
    if changed or staging.rows_not_staged(file.conn, plan.name):
        raise _locked(plan.name, mates, "it was begun with another version of the file, or of what it reads")
    bound = manifests.binding(file.conn, plan.name)
    if bound is not None and (bound.path, bound.output_dir) != (plan.settings.path, plan.settings.output_dir):
        raise _locked(
            plan.name, mates, f"it was begun from {bound.path}, and its results go to {bound.output_dir}"
        )
    if bound is not None and bound.key12 != account.key12:
        raise _locked(plan.name, mates, "it was begun with another API key")
    if any(each.terms != terms_of(plan.settings) for each in mates):
        raise _locked(plan.name, mates, "it was begun with other settings, options, or another rivya-batch")
    if mates and not any(folder.has_sign(each.sign) for each in mates):
        raise _locked(
            plan.name,
            mates,
            f"{folder.root} is not the folder that its results go to, but another of that name",
        )
    most = plan.settings.limits.in_flight
    if most is not None and len(mates) >= most:
        raise _locked(
            plan.name, mates, f"limits.in_flight is {most}, so more runs than that have nothing to do"
        )


def _locked(name: str, mates: list[Worker], why: str) -> RunLocked:
    where = ", ".join(dict.fromkeys(each.host for each in mates)) or "another machine"
    return RunLocked(
        f"another run works on {name} ({where}), and this one cannot take part: {why}",
        hint="start the same command with the same files on each machine, or wait for it (`rivya-batch status`)",
    )


def terms_of(settings: Settings) -> str:
    """Return by what a run works, hashed: its settings, and the version of this program."""
    return hashlib.sha256(f"{__version__}\0{settings!r}".encode()).hexdigest()[:16]


@contextmanager
def taking_part(known: BegunRun, clock: ServerClock) -> Iterator[tuple[BegunRun, Lease]]:
    """Be one of those who work, until the end of the block; others have what is left then."""
    from runner.store.lease import Lease

    name = known.plan.name
    sign = f"shared-{secrets.token_hex(8)}"
    known.folder.leave_sign(sign)
    lease = None
    try:
        lease = Lease.begin(
            known.file,
            clock,
            manifest=name,
            account=known.account.name,
            run=known.run_id,
            terms=terms_of(known.plan.settings),
            sign=sign,
        )
        folder = known.folder.of_worker(lease.worker)
        folder.prepare()
        yield replace(known, folder=folder), lease
    finally:
        known.folder.remove_sign(sign)
        if lease is not None:
            lease.end()
