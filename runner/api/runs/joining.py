"""Several runs of one manifest, on one machine or on many: which may work together, and how each takes part.

Who is first reads the plan into the database, alone, and then lets others take part. Those have to come to the very same
plan from the same file: so each has seen with its own eyes that what it would send is what was agreed to.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from runner import __version__
from runner.api.plan import Plan
from runner.api.runs.begun import BegunRun
from runner.api.workers import at_work
from runner.errors import RunLocked, UsageError
from runner.host.clock import ServerClock
from runner.progress.figures import counted
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
    plan: Plan,
    file: StateDatabase,
    account: Account,
    folder: OutputFolder,
    *,
    asked: Mapping[str, Any],
    command: str,
    now: str,
) -> BegunRun:
    """Begin a run that takes part in one that has begun.

    Raises:
        UsageError: It cannot: its plan, settings, options, account or folder are others.
        RunLocked: There is nothing for it to do.
    """
    name = plan.name
    mates = _mates(file, folder, name)
    first = mates[0] if mates else None
    terms = terms_of(plan, asked)
    refuse_other(
        plan, file, account, folder, Agreed(first.host, first.terms, first.sign) if first else None, terms
    )
    most = plan.settings.limits.in_flight
    if most is not None and len(mates) >= most:
        raise _locked(name, mates, f"limits.in_flight is {most}, so more runs than that have nothing to do")
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
        if first is not None and orders.copy(conn, first.run, to=run_id):
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
        terms=terms,
        session=first.session if first is not None else run_id,
    )


def _mates(file: StateDatabase, folder: OutputFolder, name: str) -> list[Worker]:
    """Return who works at a manifest; not one whose sign is gone because it has just ended, or was cut off."""
    while True:
        mates = at_work(file, name)
        if not mates or folder.has_sign(mates[0].sign):
            return mates
        if mates[0].id in {each.id for each in workers.at_work(file.conn, manifest=name)}:
            return mates


@dataclass(frozen=True, slots=True)
class Agreed:
    """What those who work at a manifest have in common, and on whose machine that was begun."""

    host: str
    terms: str
    sign: str


def refuse_other(
    plan: Plan,
    file: StateDatabase,
    account: Account,
    folder: OutputFolder,
    agreed: Agreed | None,
    terms: str,
    *,
    begun: str = "begun",
) -> None:
    """Refuse to work at what was agreed to with other files, settings, options, or into another folder.

    Raises:
        UsageError: With what is not the same.
    """
    name = plan.name
    where = f" ({agreed.host})" if agreed is not None else ""

    def refuse(why: str) -> NoReturn:
        raise UsageError(
            f"{name} was {begun} elsewhere{where}, and this machine cannot take part: {why}",
            hint="the same command, files, options and key belong on each machine; or wait for it (`rivya-batch status`)",
        )

    bound = manifests.binding(file.conn, name)
    if bound is not None and (bound.path, bound.output_dir) != (plan.settings.path, plan.settings.output_dir):
        refuse(f"it was {begun} from {bound.path}, and its results go to {bound.output_dir}")
    changed = any(plan.summary[each] for each in UNCHANGED) or plan.adopted
    if changed or (staging.rows_not_staged(file.conn, name) and not plan.left_out):
        refuse(f"it was {begun} with another version of the file, or of what it reads")
    if bound is not None and bound.key12 != account.key12:
        refuse(f"it was {begun} with another API key")
    if agreed is not None and agreed.terms != terms:
        refuse(f"it was {begun} with other settings, options, or another rivya-batch than {__version__}")
    if agreed is not None and not folder.has_sign(agreed.sign):
        refuse(f"{folder.root} is not the folder that its results go to, but another of that name")


def _locked(name: str, mates: list[Worker], why: str) -> RunLocked:
    where = ", ".join(dict.fromkeys(each.host for each in mates)) or "another machine"
    return RunLocked(
        f"another run works on {name} ({where}), and this one cannot take part: {why}",
        hint="wait for it (`rivya-batch status`)",
    )


def cannot_join(file: StateDatabase, name: str, what: str) -> UsageError:
    """Return why one run alone cannot do something: several work at the manifest."""
    mates = at_work(file, name)
    where = ", ".join(dict.fromkeys(each.host for each in mates)) or "elsewhere"
    return UsageError(
        f"{what} is for one run alone, and {counted(len(mates), 'run')} of {name} go on ({where}); nothing was sent",
        hint="wait for them (`rivya-batch workers`), or end them with `rivya-batch stop`",
    )


def terms_of(plan: Plan, asked: Mapping[str, Any]) -> str:
    """Return by what a run works, hashed: its settings, what was asked for beyond them, and the version of this program."""
    left_out = sorted(plan.left_out.ids), plan.left_out.nameless
    told = f"{__version__}\0{plan.settings!r}\0{json.dumps(asked, sort_keys=True)}\0{left_out}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


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
            terms=known.terms,
            sign=sign,
            session=known.session,
        )
        folder = known.folder.of_worker(lease.worker)
        folder.prepare()
        yield replace(known, folder=folder), lease
    finally:
        if lease is not None:
            lease.end()
        known.folder.remove_sign(sign)  # last: who comes meanwhile would take this folder for another one
