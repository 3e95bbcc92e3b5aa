"""No job goes anywhere but along the table of `lifecycle.rules`: the verbs of the store refuse, and change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.errors import RunnerError
from runner.lifecycle.rules import Failure, may_become
from runner.model import Job, State, TaskId
from runner.service.protocol import FailureClass
from runner.store import jobs, moves
from runner.store.connection import Connection
from runner.store.jobs import StaleJob
from runner.store.sqlite import StateFile
from tests.staged import NOW, row_of, set_state
from tests.world import apply, bind, job

FAILURE = Failure(cls=FailureClass.OTHER, code="c", message="m")
FIRST = moves.FirstSend(boot_s=1.0, boot_id="b", service_at=None)
BYTES = moves.Bytes(revision=1, key="k", body=b"{}")
Verb = Callable[[Connection, Job], Job]
VERBS: dict[str, tuple[State, Verb]] = {
    "uploading": (State.UPLOADING, lambda conn, job: moves.uploading(conn, job, NOW)),
    "intend": (
        State.SUBMITTING,
        lambda conn, job: moves.intend(conn, job, NOW, bytes_=BYTES, first=FIRST, key12="0", base_url="u"),
    ),
    "back": (State.PLANNED, lambda conn, job: moves.back(conn, job, NOW)),
    "uncertain": (State.UNCERTAIN, lambda conn, job: moves.uncertain(conn, job, NOW, FAILURE)),
    "accepted": (State.WAITING, lambda conn, job: moves.accepted(conn, job, NOW, task_id=TaskId("t"))),
    "still_running": (State.WAITING, lambda conn, job: moves.still_running(conn, job, NOW, word="w")),
    "to_download": (
        State.DOWNLOADING,
        lambda conn, job: moves.to_download(
            conn, job, NOW, word="w", urls=(), duration_s=None, oddness=None, polled=True
        ),
    ),
    "fetch_again": (State.DOWNLOADING, lambda conn, job: moves.fetch_again(conn, job, NOW)),
    "done": (State.DONE, lambda conn, job: moves.done(conn, job, NOW)),
    "fail": (State.FAILED, lambda conn, job: moves.fail(conn, job, NOW, FAILURE)),
    "begin_round": (State.PLANNED, lambda conn, job: moves.begin_round(conn, job, NOW)),
    "begin_unpaid": (State.PLANNED, lambda conn, job: moves.begin_unpaid(conn, job, NOW)),
    "reopen": (State.SUBMITTING, lambda conn, job: moves.reopen(conn, job, NOW)),
    "abandon": (State.ABANDONED, lambda conn, job: moves.abandon(conn, job, NOW)),
}


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_takes_a_job_along_the_table_only(name: str) -> None:
    new, verb = VERBS[name]
    file = StateFile.in_memory()
    bind(file)
    apply(file, *[job(state.value) for state in State])
    for old in State:
        set_state(file, old.value, old)
        before = jobs.get(file.conn, row_of(file, old.value))
        with file.transaction() as conn:
            if may_become(old, new):
                assert verb(conn, before).state is new
                with pytest.raises(StaleJob):
                    verb(conn, before)
            else:
                with pytest.raises(RunnerError, match=f"cannot go from {old.value} to {new.value}"):
                    verb(conn, before)
                assert jobs.get(conn, before.row) == before
    file.close()
