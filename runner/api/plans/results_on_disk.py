"""Results that are on disk already, of which the database knows less: they are taken over, unpaid.

A database that was lost, or restored from before, knows nothing of what was paid since; the sidecars do. One
that is of the very payment a job waits for, or of a later round, ends the job's doubt: nothing is paid again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.host.clock import epoch, rfc3339
from runner.model import NEVER_SENT, Job, Settings, State
from runner.results.sidecar import Sidecar, SidecarIndex
from runner.service.amounts import number_of
from runner.store import diff, events, jobs, ledger, moves, needs, staging
from runner.store.connection import Connection
from runner.store.database import StateDatabase
from runner.store.needs import StoredOutcomes

QUESTIONS_AT_ONCE = 32

# How a job comes from where it stands to where its result is found: its own task is known now, or what came after
# it is, and with that the end of the round it is in.
_OF_THIS_PAYMENT = (State.WAITING, State.DOWNLOADING)
_OF_A_LATER_ROUND: Mapping[State, tuple[State, ...]] = {
    State.SUBMITTING: (State.UNCERTAIN, State.ABANDONED, State.PLANNED),
    State.UNCERTAIN: (State.ABANDONED, State.PLANNED),
    State.WAITING: (State.PLANNED,),
    State.DOWNLOADING: (State.PLANNED,),
    State.FAILED: (State.PLANNED,),
    State.ABANDONED: (State.PLANNED,),
}


class OutcomesOnDisk(StoredOutcomes):
    """What is known of jobs that were run, also of those whose results are to be taken over.

    What was made of one is then found as well, by a fingerprint that depends on how often that was made.
    """

    def __init__(self, conn: Connection, settings: Settings, base_url: str) -> None:
        super().__init__(conn, settings.name)
        self._settings = settings
        self._base_url = base_url
        self._index = SidecarIndex(settings.output_dir)
        self._stood: Mapping[tuple[str, str], needs.Stood] | None = None
        self._seen: dict[tuple[str, str], int | None] = {}

    def edition(self, job: str, fingerprint: str, output: str) -> int:
        """Return how many of its earlier rounds had a result."""
        key = (job, fingerprint)
        if key not in self._seen:
            self._seen[key] = self._on_disk(job, fingerprint, output)
        found = self._seen[key]
        return super().edition(job, fingerprint, output) if found is None else found

    def _on_disk(self, job: str, fingerprint: str, output: str) -> int | None:
        if not self._index.may_have(output):
            return None
        if self._stood is None:
            self._stood = needs.stood(self._conn, self._settings.name)
        row = self._stood.get((job, fingerprint), needs.Stood(State.PLANNED, 1, None))
        if row.state is State.DONE:
            return None
        found = self._index.find_adoptable(
            output,
            manifest=self._settings.name,
            job=job,
            fingerprint=fingerprint,
            base_url=self._base_url,
        )
        return found.edition if found is not None and _knows_more(found, row) else None


def adoptable(
    file: StateDatabase, settings: Settings, base_url: str, index: SidecarIndex
) -> dict[int, Sidecar]:
    """Find results that are on disk although the database does not know them, by the position of their jobs."""

    def look(each: diff.Candidate) -> tuple[diff.Candidate, Sidecar | None]:
        return each, index.find_adoptable(
            each.output,
            manifest=settings.name,
            job=each.job,
            fingerprint=each.fingerprint,
            base_url=base_url,
        )

    candidates = diff.candidates(file.conn)
    if isinstance(settings.output_dir, Path):
        looked: Iterator[tuple[diff.Candidate, Sidecar | None]] = map(look, candidates)
    else:  # each that is there is two questions to the bucket
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE) as pool:
            looked = iter(list(pool.map(look, [each for each in candidates if index.may_have(each.output)])))
    return {
        each.position: sidecar
        for each, sidecar in looked
        if sidecar is not None and _knows_more(sidecar, each)
    }


def _knows_more(sidecar: Sidecar, job: diff.Candidate | needs.Stood) -> bool:
    if sidecar.round > job.round:
        return True
    if job.state in NEVER_SENT:
        # Of one that is to be made again, the result it had is known: it is none of the new round.
        return sidecar.round == job.round or not job.edition
    return job.state in (State.SUBMITTING, State.UNCERTAIN) and _is_of(sidecar, job.key)


def _is_of(sidecar: Sidecar, key: str | None) -> bool:
    return key is not None and sidecar.key == key and sidecar.task_id is not None


def take_over(conn: Connection, name: str, adopted: Mapping[int, Sidecar], now: str) -> None:
    """Make the jobs whose results were found on disk `done`; what is missing of some is fetched."""
    for position, sidecar in adopted.items():
        job = jobs.get(conn, staging.row_at(conn, name, position))
        if job.state not in NEVER_SENT and not sidecar.round > job.round:
            job = _of_this_payment(conn, job, sidecar, now)
        else:
            job = _of_its_round(conn, job, sidecar, now)
        job = moves.found(
            conn,
            job,
            now,
            task_id=sidecar.task_id,
            finished_at=sidecar.finished_at,
            whole=not (sidecar.missing and sidecar.task_id),
        )
        jobs.save_artifacts(conn, job, list(sidecar.files()))
        events.outside_runs(conn, job, now, "adopted", task_id=sidecar.task_id, round=job.round)


def _of_this_payment(conn: Connection, job: Job, sidecar: Sidecar, now: str) -> Job:
    """What became of this very send is known: it was accepted, and has ended."""
    assert sidecar.task_id is not None
    ledger.accept(conn, job, task_id=sidecar.task_id, reserved=sidecar.reserved_credits, now=now)
    ledger.settle(conn, job, final=_credits(sidecar), succeeded=False, now=now)
    return moves.through(conn, job, now, _OF_THIS_PAYMENT)


def _of_its_round(conn: Connection, job: Job, sidecar: Sidecar, now: str) -> Job:
    """The round it is in has ended unseen, if it was sent; its result is that of the sidecar's round."""
    ledger.settle(conn, job, final=None, succeeded=False, now=now)
    job = moves.through(conn, job, now, _OF_A_LATER_ROUND.get(job.state, ()))
    if sidecar.round > job.round:
        job = moves.found_round(
            conn,
            job,
            now,
            round_=sidecar.round,
            edition=sidecar.edition,
            key=sidecar.key,
            submitted_at=sidecar.submitted_at,
        )
    _count_as_paid(conn, job, sidecar, now)
    return job


def _count_as_paid(conn: Connection, job: Job, sidecar: Sidecar, now: str) -> None:
    credits, task_id = _credits(sidecar), sidecar.task_id
    known = task_id is not None and jobs.holder_of_task(conn, sidecar.base_url, task_id) is not None
    if not credits or known:  # no price was ever named, or another row has paid for it
        return
    paid_s, now_s = epoch(sidecar.submitted_at), epoch(now) or 0.0
    paid_at = rfc3339(paid_s) if paid_s is not None and 0 <= paid_s <= now_s else now
    ledger.adopt(conn, job, credits=credits, task_id=task_id, base_url=sidecar.base_url, paid_at=paid_at)


def _credits(sidecar: Sidecar) -> float | None:
    return number_of(sidecar.final_credits) or number_of(sidecar.reserved_credits)
