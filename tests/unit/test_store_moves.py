"""No job goes anywhere but along the table of `lifecycle.rules`: the verbs of the store refuse, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

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
from tests.world import apply, bind, job, reference

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

TOLD = moves.Told(cls="c", code="d", message="e")
OTHER_VERBS: dict[str, Verb] = {
    "send_again": lambda conn, job: moves.send_again(conn, job, NOW, key12="1", window=FIRST),
    "not_sent": lambda conn, job: moves.not_sent(conn, job, NOW),
    "refused": lambda conn, job: moves.refused(conn, job, NOW, conflict=True, pinned=True),
    "unclear": lambda conn, job: moves.unclear(conn, job, NOW, conflict=False, pinned=False),
    "back": lambda conn, job: moves.back(conn, job, NOW, new_bytes=True, fresh_body=True),
    "accepted": lambda conn, job: moves.accepted(conn, job, NOW, task_id=TaskId("t"), word="queued"),
    "still_running": lambda conn, job: moves.still_running(
        conn, job, NOW, word="w", overdue=True, polled=True
    ),
    "overdue": lambda conn, job: moves.overdue(conn, job, NOW),
    "to_download": lambda conn, job: moves.to_download(
        conn, job, NOW, word="w", urls=("https://r/1", "ü"), duration_s=1.5, oddness="o", polled=False
    ),
    "new_urls": lambda conn, job: moves.new_urls(conn, job, NOW, ["https://r/2"]),
    "partly": lambda conn, job: moves.partly(conn, job, NOW),
    "trouble": lambda conn, job: moves.trouble(conn, job, NOW, begins="not_fetched", told=TOLD),
    "no_trouble": lambda conn, job: moves.no_trouble(conn, job, NOW),
    "fail": lambda conn, job: moves.fail(conn, job, NOW, FAILURE, word="failed", polled=True),
    "begin_round": lambda conn, job: moves.begin_round(conn, job, NOW, FAILURE),
    "attach": lambda conn, job: moves.attach(
        conn, job, NOW, task_id=TaskId("t"), word="w", created_at=None, key12="2"
    ),
    "found_round": lambda conn, job: moves.found_round(
        conn, job, NOW, round_=3, edition=2, key="k", submitted_at=NOW
    ),
    "found": lambda conn, job: moves.found(conn, job, NOW, task_id=None, finished_at=None, whole=True),
    "bind": lambda conn, job: moves.bind(conn, job, NOW, [reference("a.png")]),
}


@pytest.mark.parametrize("name", OTHER_VERBS)
def test_what_a_verb_returns_is_what_a_reader_finds(name: str) -> None:
    file = StateFile.in_memory()
    bind(file)
    apply(file, *[job(state.value, axes={"take": 2}) for state in State])
    moved = 0
    for old in State:
        set_state(file, old.value, old)
        before = jobs.get(file.conn, row_of(file, old.value))
        with file.transaction() as conn, suppress(RunnerError):  # it is not for jobs in this state
            after = OTHER_VERBS[name](conn, before)
            assert after.version == before.version + 1
            assert after == jobs.get(conn, before.row)
            moved += 1
    assert moved
    file.close()


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
                after = verb(conn, before)
                assert after.state is new
                assert after == jobs.get(conn, before.row)
                with pytest.raises(StaleJob):
                    verb(conn, before)
            else:
                with pytest.raises(RunnerError, match=f"cannot go from {old.value} to {new.value}"):
                    verb(conn, before)
                assert jobs.get(conn, before.row) == before
    file.close()
