"""`retry`: another paid round, by a person's word: of failed jobs, and of those named that come home in no other way.

With `done`, also of those named that are done: their results are made again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from runner.api.manifests import listing
from runner.api.manifests.opened import Opened, check_all, read_known
from runner.api.plans.warnings import about_surprises
from runner.errors import UsageError
from runner.host.clock import rfc3339
from runner.host.workspace import DatabasePlace
from runner.lifecycle.selection import JobIds, Only, fits
from runner.model import NEVER_SENT, Job, State
from runner.money.pricing import estimate
from runner.store import events, jobs, ledger, manifests, moves, needs, switches
from runner.store.connection import Connection
from runner.store.database import StateDatabase, open_to_read
from runner.store.price_books import PriceBooks
from runner.store.switches import Switchable

_NAMED_STATES = (State.FAILED, State.ABANDONED, State.WAITING, State.DOWNLOADING, State.UNCERTAIN)
_WITH_DONE = (*_NAMED_STATES, State.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryKind:
    """Jobs of one kind that a person means, and the money of it."""

    state: State
    why: str  # a class of failures, or what keeps the result from coming; empty where nobody has said
    number: int = 0
    credits: float = 0.0  # what another round of them is expected to cost
    counted: float = 0.0  # what is charged for their present round already, or may yet be


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Another round for each of these jobs, and its price; nothing of it is begun.

    `jobs` are their ids, in the manifest's order; `rows` says how they were when the price was told: {row: (state,
    round)}. One that has changed since is not begun again.
    """

    name: str  # of the manifest
    database: DatabasePlace
    rows: Mapping[int, tuple[State, int]]
    jobs: tuple[str, ...] = ()
    kinds: tuple[RetryKind, ...] = ()
    left_out: tuple[str, ...] = ()  # why others that were named are not among them
    attention: tuple[str, ...] = ()  # charges that a person has yet to see
    odd: tuple[str, ...] = ()  # ids of those with a text such as `#REF!` or `nan`
    dependents: int = 0  # jobs that were made of results which are to be made again

    @property
    def credits(self) -> float:
        """What all these rounds are expected to cost."""
        return sum(kind.credits for kind in self.kinds)

    def refuse_elsewhere(self, name: str, database: DatabasePlace) -> None:
        """Refuse to begin these in another manifest or database: their rows are others there.

        Raises:
            UsageError: They were found in another one.
        """
        if (self.name, self.database) != (name, database):
            raise UsageError(
                f"these rounds are of {self.name} in {self.database}, not of {name} in {database}; nothing was sent",
                hint="ask for the rounds of the manifest that is run",
            )


def wanted_jobs(
    manifest: Path,
    *,
    state: str | None,
    sandbox: bool,
    classes: Sequence[str],
    only: Only | None,
    done: bool = False,
) -> Rounds:
    """Find the jobs to begin again, of those that are still listed.

    Args:
        manifest: Its path.
        state: The database's, if it was named.
        sandbox: Whether it is a rehearsal.
        classes: Only what failed, or is stuck, for these.
        only: Only jobs with an id like this; without it, none but failed jobs.
        done: Of those, also the ones that are done.

    Raises:
        UsageError: Nothing was ever run here, or `done` names no jobs.
    """
    if done and only is None:
        raise UsageError(
            "--done pays again for results that are there, so it needs the jobs that are meant",
            hint="add --only GLOB, --ids FILE, --picked or --rejected",
        )
    opened = read_known(manifest, state=state, sandbox=sandbox)
    settings = opened.settings
    file = open_to_read(opened.workspace.database)
    try:
        found, left_out = [], []
        states = (State.FAILED,) if only is None else _WITH_DONE if done else _NAMED_STATES
        for job in jobs.in_states(file.conn, settings.name, states):
            if not fits(only, job.id):
                continue
            if job.listed and may_begin_again(job, named=only is not None, done=done):
                if not classes or job.error_class in classes:
                    found.append(job)
            elif only is not None and (why := _why_not(job)):
                left_out.append(f"{job.id} {why}")
        if only is not None and not (found or left_out):
            patterns = sorted(only.ids) if isinstance(only, JobIds) else [only]
            near = (job for each in patterns for job in jobs.find(file.conn, settings.name, each)[:1])
            left_out += [f"{job.id} {_why_not(job)}" for job in itertools.islice(near, 1)]
        return Rounds(
            name=settings.name,
            database=opened.workspace.database,
            jobs=tuple(job.id for job in found),
            rows={job.row: (job.state, job.round) for job in found},
            kinds=_kinds(file.conn, opened, found),
            left_out=tuple(left_out),
            odd=_odd(opened, file, found),
            dependents=needs.sent_with(file.conn, [job.row for job in found if job.state is State.DONE]),
            attention=tuple(about_surprises(ledger.surprises(file.conn, settings.name))),
        )
    finally:
        file.close()


def _odd(opened: Opened, file: StateDatabase, found: Sequence[Job]) -> tuple[str, ...]:
    """Return which of these jobs have a text that looks like none anybody meant, as a run would find it."""
    if not found or listing.listed_from(opened, file, listing.basis_of(opened)) is not None:
        return ()  # what it lists was applied, and there was nothing to tell
    check_all(opened)
    return tuple(job.id for job in found if job.id in opened.manifest.odd_jobs)


def may_begin_again(job: Job, *, named: bool, done: bool = False) -> bool:
    """Say whether another round of a job may begin by a person's word; `named` are those it is about by name.

    `done`: of these, also the ones that are done.
    """
    if job.state is State.DONE:
        return named and done
    return job.state is State.FAILED or (named and (job.state is State.ABANDONED or job.is_stuck))


def _why_not(job: Job) -> str:
    if not job.listed:
        return "" if job.state is State.DONE else "is no longer in the manifest as it was: put it back first"
    if job.state is State.UNCERTAIN:
        return "is uncertain: use `rivya-batch resolve`"
    if job.state is State.DONE:
        return "is done: add --done to pay for it again"
    if job.state in NEVER_SENT:
        return "was not sent yet: `rivya-batch run` sends it"
    return (
        f"is {job.state.value}, and its result may still come: `rivya-batch run` polls it;"
        " to start it again anyway, abandon it first (`rivya-batch resolve --abandon`)"
    )


def _kinds(conn: Connection, opened: Opened, found: Iterable[Job]) -> tuple[RetryKind, ...]:
    settings = opened.settings
    bound = manifests.binding(conn, settings.name)
    service = bound.base_url if bound else ""
    kinds: dict[tuple[State, str], RetryKind] = {}
    books = PriceBooks()
    for job in found:
        price = estimate(
            job,
            contract=opened.contracts.get(job.model),
            rules=settings.prices,
            seen=ledger.price_seen(conn, service, job.shape),
            book=partial(books.of, conn, service, opened.contracts.get(job.model)),
        )
        failed = job.state is State.FAILED
        key = job.state, (job.error_class if failed else job.error_code) or ""
        why = (job.error_class if failed else job.error_message) or ""
        kind = kinds.get(key, RetryKind(state=job.state, why=why))
        kinds[key] = replace(
            kind,
            number=kind.number + 1,
            credits=kind.credits + price.credits,
            counted=kind.counted + ledger.amount_of(conn, job),
        )
    return tuple(kinds[key] for key in sorted(kinds))


def begin_rounds(conn: Connection, wanted: Rounds) -> None:
    """Begin another round of each of these jobs that is still as it was; inside the run's own transaction.

    The round before is closed in the ledger: what may have been charged for it counts as charged.
    """
    now = rfc3339(time.time())
    for row, known in wanted.rows.items():
        job = jobs.get(conn, row)
        if (
            (job.state, job.round) != known
            or not job.listed
            or not may_begin_again(job, named=True, done=True)
        ):
            continue
        # Whoever asks for it by name wants it: a job that failed may have been switched off before.
        switches.put(conn, job.manifest, [Switchable(job.id, job.fingerprint, row)], off=False, now=now)
        ledger.settle(conn, job, final=None, succeeded=False, now=now)
        moves.begin_round(conn, job, now)
        events.outside_runs(
            conn, job, now, "round", round=job.round + 1, was=job.state.value, task_id=job.task_id
        )
