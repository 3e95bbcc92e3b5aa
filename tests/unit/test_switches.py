"""What is switched off, in both kinds of database: only what was not sent, by id, and counted apart."""

from __future__ import annotations

from runner.model import State
from runner.store import jobs, switches
from runner.store.database import StateDatabase
from runner.store.switches import Switchable, Switched
from tests import report_rows
from tests.report_rows import Row, add

state = report_rows.state
NOW = "2026-11-30T09:00:00.000Z"


def move(file: StateDatabase, *wanted: Switchable, off: bool = True) -> Switched:
    with file.transaction() as conn:
        return switches.put(conn, "night", wanted, off=off, now=NOW)


def known(file: StateDatabase, *ids: str) -> list[Switchable]:
    rows = file.conn.execute("SELECT id, job FROM jobs").fetchall()
    found = switches.listed(file.conn, "night", [row["id"] for row in rows])
    return [job for id_ in ids for job in found if job.id == id_]


def test_only_what_was_not_sent_is_switched_off(state: StateDatabase) -> None:
    sent = [each for each in State if each not in (State.PLANNED, State.UPLOADING)]
    add(state, "night", [Row(id=each.value, state=each.value, charges=()) for each in State])

    moved = move(state, *known(state, *(each.value for each in State)))

    assert set(moved.sent) == {each.value for each in sent}
    assert moved.changed == ("planned", "uploading")
    assert switches.off_ids(state.conn, "night") == {"planned", "uploading"}
    assert switches.ask(state.conn, "night", "planned")()
    assert not switches.ask(state.conn, "night", "done")()


def test_off_is_undone_and_what_changes_nothing_is_no_change(state: StateDatabase) -> None:
    add(state, "night", [Row(id="a", state="planned", charges=()), Row(id="b", state="planned", charges=())])
    a = known(state, "a")

    assert move(state, *a).changed == ("a",)
    last = switches.last(state.conn, "night")
    assert move(state, *a).changed == ()
    assert switches.changed(state.conn, "night", last) == ()
    assert move(state, *a, off=False).changed == ("a",)
    assert switches.changed(state.conn, "night", last) == (a[0].row,)
    assert switches.off_ids(state.conn, "night") == frozenset()


def test_an_edited_job_is_another_payment_under_an_id_that_was_sent(state: StateDatabase) -> None:
    """Its old version is done; what would be paid for now is not sent yet."""
    add(state, "night", [Row(id="a", state="done")])

    assert move(state, Switchable("a", "fp1:edited", None)).changed == ("a",)
    assert switches.counts(state.conn, "night") == {}, "of the old version it says nothing"


def test_a_renamed_job_that_runs_under_its_old_id_was_sent(state: StateDatabase) -> None:
    add(state, "night", [Row(id="old", state="waiting")])
    (old,) = known(state, "old")

    assert move(state, Switchable("new", old.fingerprint, old.row)).sent == ("new",)


def test_what_is_off_is_counted_apart(state: StateDatabase) -> None:
    rows = [Row(id=f"job-{n}", state="planned", charges=()) for n in range(4)]
    add(state, "night", [*rows, Row(id="there", state="done")])
    move(state, *known(state, "job-1", "job-2"))

    counts, _ = jobs.by_state(jobs.counts(state.conn, "night"), switches.counts(state.conn, "night"))

    assert counts == {"planned": 2, "done": 1, "off": 2}
