"""Staging: jobs that are renamed, repeated, removed or found on the disk cost nothing twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.errors import RunnerError
from runner.model import NEVER_SENT, State
from runner.store import diff, jobs, ledger, staging
from runner.store.database import StateDatabase
from tests import staged as staged_jobs
from tests.staged import NOW, A, B, C, changed, pay, plan, row_of, sends, set_state, table
from tests.world import NAME, apply, job, rows, staged, takes

file = staged_jobs.file


# --- renamed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state.value for state in State])
def test_a_new_id_with_the_same_request_takes_the_row_over(file: StateDatabase, state: str) -> None:
    apply(file, A, B)
    first = pay(file, "a", state, key="k", body=b"{}", in_doubt=1)

    assert plan(file, replace(A, id=C.id, output="c"), B) == {"c": "renamed", "b": "planned"}
    (line, *_) = diff.lines(file.conn, NAME)
    assert line.was == "a"
    assert bool(line.sends) is (State(state) in NEVER_SENT)
    apply(file, replace(A, id=C.id, output="c"), B)

    found = jobs.find(file.conn, NAME, "c")[0]
    assert (found.row, found.state, found.listed, found.output) == (first, state, True, "c")
    # What is committed of a send stays as it is: the same key and bytes, whatever the job is called now.
    assert (found.key, found.body, found.in_doubt) == ("k", b"{}", 1)
    assert jobs.find(file.conn, NAME, "a") == []


def test_swapped_ids_cost_nothing(file: StateDatabase) -> None:
    one, two = job("a", "one"), job("b", "two")
    apply(file, one, two)
    rows_before = {name: pay(file, name) for name in "ab"}

    swapped = (job("a", "two"), job("b", "one"))
    assert plan(file, *swapped) == {"a": "renamed", "b": "renamed"}
    assert sends(file) == 0
    done = apply(file, *swapped)

    assert sorted(done.renamed) == sorted(rows_before.values())
    assert {name: row_of(file, name) for name in "ab"} == {"a": rows_before["b"], "b": rows_before["a"]}


def test_ids_in_a_ring_cost_nothing(file: StateDatabase) -> None:
    apply(file, *[job(name, f"p{number}") for number, name in enumerate("abcd")])
    for name in "abcd":
        pay(file, name)

    assert set(
        plan(file, *[job(name, f"p{(number + 1) % 4}") for number, name in enumerate("abcd")]).values()
    ) == {"renamed"}
    apply(file, *[job(name, f"p{(number + 1) % 4}") for number, name in enumerate("abcd")])

    assert len(rows(file, "SELECT 1 FROM jobs")) == 4


def test_a_renamed_job_may_leave_its_old_id_to_a_new_one(file: StateDatabase) -> None:
    apply(file, A)
    first = pay(file, "a")

    assert plan(file, job("a", "something else"), replace(A, id=B.id)) == {"a": "changed", "b": "renamed"}
    apply(file, job("a", "something else"), replace(A, id=B.id))

    assert row_of(file, "b") == first
    assert jobs.find(file.conn, NAME, "a")[0].state is State.PLANNED


def test_a_result_that_was_superseded_is_taken_over_too(file: StateDatabase) -> None:
    apply(file, A)
    first = pay(file, "a")
    apply(file, job("a", "edited"))
    pay(file, "a")

    assert plan(file, job("a", "edited"), replace(A, id=B.id)) == {"a": "done", "b": "renamed"}
    apply(file, job("a", "edited"), replace(A, id=B.id))

    assert row_of(file, "b") == first


def test_one_row_is_taken_over_once(file: StateDatabase) -> None:
    apply(file, A)
    pay(file, "a")

    assert plan(file, replace(A, id=B.id), replace(A, id=C.id)) == {"b": "renamed", "c": "new"}


def test_a_listed_row_is_never_taken_over(file: StateDatabase) -> None:
    apply(file, A)
    pay(file, "a")

    assert plan(file, A, replace(A, id=B.id)) == {"a": "done", "b": "new"}
    assert plan(file, replace(A, id=B.id), A) == {"b": "new", "a": "done"}


BEST_FIRST = ["done", "downloading", "waiting", "submitting", "uncertain", "planned", "failed", "abandoned"]


def test_rows_that_began_alike_never_share_a_key(file: StateDatabase) -> None:
    """A key of two rows is one task for both: the first of them was dropped, and the next got the second's."""
    x, y, z = job("x", "one"), job("y", "one"), job("z", "one")
    apply(file, x)
    apply(file, y)
    apply(file, y, x)  # two rows that began as x
    pay(file, "x", "waiting")
    apply(file, x)  # y was never sent, so it is dropped
    apply(file, z)
    apply(file, z, x)

    began = rows(file, "SELECT origin, fingerprint, serial FROM jobs")
    assert len(began) == 2
    assert len(set(began)) == 2


def test_what_is_paid_is_taken_over_before_what_would_be_paid_again(file: StateDatabase) -> None:
    """Else a paid result is orphaned while its failed twin asks for another round."""
    worst_first = BEST_FIRST[::-1]
    apply(file, *takes("x", len(worst_first)))
    for number, state in enumerate(worst_first, start=1):
        pay(file, f"x-{number}", state)

    for count in range(1, len(BEST_FIRST) + 1):
        plan(file, *takes("y", count))
        taken = [line.state for line in diff.lines(file.conn, NAME)][:count]
        assert taken == BEST_FIRST[:count]


def test_the_file_of_a_renamed_job_gets_the_new_name_and_the_old_artifacts(file: StateDatabase) -> None:
    apply(file, A)
    first = pay(file, "a")
    with file.transaction() as conn:
        conn.execute(
            "INSERT INTO artifacts (job, number, path, sha256, size_bytes, mime)"
            " VALUES (?, 1, '/out/a.mp4', 'x', 1, 'video/mp4')",
            (first,),
        )

    apply(file, replace(A, id=B.id, output="b"))

    assert list(jobs.finished_files(file.conn, NAME)) == [(first, "b", "/out/a.mp4", 1)]


# --- repeat ---------------------------------------------------------------------------------------


def test_repeat_three_two_three_costs_nothing(file: StateDatabase) -> None:
    apply(file, *takes("x", 3))
    paid = [pay(file, f"x-{number}") for number in (1, 2, 3)]

    assert plan(file, *takes("x", 2)) == {"x-1": "done", "x-2": "done", "(x-3)": "orphaned"}
    apply(file, *takes("x", 2))
    assert plan(file, *takes("x", 3)) == {"x-1": "done", "x-2": "done", "x-3": "done"}
    assert sends(file) == 0
    apply(file, *takes("x", 3))

    assert [row_of(file, f"x-{number}") for number in (1, 2, 3)] == paid


def test_more_takes_pay_for_the_new_ones_only(file: StateDatabase) -> None:
    apply(file, *takes("x", 2))
    pay(file, "x-1")
    pay(file, "x-2")

    assert plan(file, *takes("x", 5)) == {
        "x-1": "done", "x-2": "done", "x-3": "new", "x-4": "new", "x-5": "new",
    }  # fmt: skip
    assert sends(file) == 30


def test_a_job_that_becomes_repeated_keeps_its_result_as_the_first_take(file: StateDatabase) -> None:
    once = job("x", "once more")
    apply(file, once)
    first = pay(file, "x")

    assert plan(file, *takes("x", 2)) == {"x-1": "renamed", "x-2": "new"}
    apply(file, *takes("x", 2))
    assert row_of(file, "x-1") == first
    assert plan(file, once) == {"x": "renamed"}


# --- removed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(NEVER_SENT))
def test_a_removed_job_that_was_never_sent_is_dropped(file: StateDatabase, state: State) -> None:
    apply(file, A, B)
    set_state(file, "b", state)

    assert plan(file, A) == {"a": "planned"}
    assert apply(file, A).dropped == 1
    assert table(file) == {("a", 1): "planned"}


@pytest.mark.parametrize("edited", [True, False])
def test_a_job_removed_or_edited_while_it_is_submitted_becomes_uncertain(
    file: StateDatabase, edited: bool
) -> None:
    apply(file, A, B)
    first = pay(file, "b", "submitting", in_doubt=1, key="k", body=b"{}", first_sent_at=NOW)
    listed = (A, job("b", "edited")) if edited else (A,)

    assert plan(file, *listed)["(b)"] == "orphaned"
    done = apply(file, *listed)

    assert done.made_uncertain == 1
    found = jobs.get(file.conn, first)
    assert (found.state, found.listed, found.key, found.body) == (State.UNCERTAIN, False, "k", b"{}")
    assert ledger.totals(file.conn, NAME) == (0.0, 10.0), "its reservation is kept"
    assert apply(file, *listed).made_uncertain == 0


def test_a_removed_job_whose_every_send_was_refused_owes_nothing(file: StateDatabase) -> None:
    apply(file, A, B)
    first = pay(file, "b", "submitting", in_doubt=0, key="k", body=b"{}")
    file.conn.execute("UPDATE jobs SET updated_at = '2020-01-01T00:00:00.000Z'")

    done = apply(file, A)

    assert (done.made_uncertain, done.dropped) == (0, 0)
    assert rows(file, "SELECT state, updated_at FROM jobs WHERE id = ?", first) == [("planned", NOW)]
    assert ledger.totals(file.conn, NAME) == (0.0, 0.0)
    assert jobs.get(file.conn, first).state not in {State.SUBMITTING, State.UNCERTAIN}
    assert not jobs.get(file.conn, first).listed


def test_a_job_that_was_told_to_wait_removed_and_brought_back_is_sent(file: StateDatabase) -> None:
    """It came back as failed, for having been removed: exit 3, and nothing but `retry` would send it."""
    apply(file, A, B)
    first = pay(file, "b", "submitting", in_doubt=0, key="k", body=b"{}")
    apply(file, A)

    assert plan(file, A, B) == {"a": "planned", "b": "planned"}
    apply(file, A, B)

    found = jobs.get(file.conn, first)
    assert found.state in NEVER_SENT
    assert (found.listed, found.key, found.error_class) == (True, "k", None)


def test_an_unlisted_job_that_a_person_sends_again_stays_submitting(file: StateDatabase) -> None:
    """`resolve --resend` of a job that is no longer in the manifest: the next run has to send it."""
    apply(file, A, B)
    first = pay(file, "b", "submitting", in_doubt=1)
    apply(file, A)
    with file.transaction() as conn:
        changed(conn, jobs.get(conn, first), NOW, State.SUBMITTING)

    apply(file, A)

    assert jobs.get(file.conn, first).state is State.SUBMITTING


@pytest.mark.parametrize("state", ["waiting", "downloading", "done", "uncertain", "failed", "abandoned"])
def test_a_removed_job_that_was_sent_is_kept_and_still_counts(file: StateDatabase, state: str) -> None:
    apply(file, A, B)
    first = pay(file, "b", state)

    assert plan(file, A) == {"a": "planned", "(b)": "orphaned"}
    apply(file, A)
    apply(file, A)

    found = jobs.get(file.conn, first)
    assert (found.state, found.listed) == (state, False)
    assert ledger.totals(file.conn, NAME) == (0.0, 10.0)


@pytest.mark.parametrize("state", sorted(NEVER_SENT))
def test_a_removed_job_that_paid_an_earlier_round_is_kept(file: StateDatabase, state: State) -> None:
    apply(file, A, B)
    first = pay(file, "b", "failed")
    set_state(file, "b", state, round=2)

    assert plan(file, A) == {"a": "planned", "(b)": "orphaned"}
    apply(file, A)

    assert jobs.get(file.conn, first).state is State.FAILED
    assert ledger.totals(file.conn, NAME) == (0.0, 10.0)
    assert plan(file, A) == {"a": "planned", "(b)": "orphaned"}


def test_an_empty_manifest_keeps_all_that_means_money(file: StateDatabase) -> None:
    states = [state.value for state in State]
    apply(file, *[job(name) for name in states])
    for name in states:
        pay(file, name, name, in_doubt=1)

    apply(file)

    assert len(rows(file, "SELECT 1 FROM jobs")) == len(states)
    assert rows(file, "SELECT count(*) FROM jobs WHERE listed = 1") == [(0,)]
    assert ledger.totals(file.conn, NAME) == (0.0, 10.0 * len(states))


# --- adoption -------------------------------------------------------------------------------------


def test_a_result_that_is_on_disk_already_is_not_paid_for(file: StateDatabase) -> None:
    apply(file, A)
    staging.stage(file.conn, NAME, (staged(spec) for spec in (A, B, C)))
    found = list(diff.candidates(file.conn))
    assert [(position, name) for position, name, *_ in found] == [(0, "a"), (1, "b"), (2, "c")]

    staging.adopt(file.conn, [1, 2])

    assert diff.summary(file.conn, NAME) == {"planned": 1, "done": 2, "orphaned": 0}
    assert sends(file) == 10
    with file.transaction() as conn:
        staging.apply(conn, NAME, NOW)
        adopted = [jobs.get(conn, staging.row_at(conn, NAME, position)).id for position in (1, 2)]
    assert adopted == ["b", "c"]


def test_sidecars_are_looked_for_where_the_database_knows_no_result(file: StateDatabase) -> None:
    states = [state.value for state in State]
    apply(file, *[job(name) for name in states])
    for name in states:
        set_state(file, name, name)
    plan(file, *[job(name) for name in states])

    assert {each.job: each.state for each in diff.candidates(file.conn)} == {
        name: name for name in states if name != "done"
    }


def test_a_renamed_job_that_was_never_sent_can_be_adopted_under_its_new_name(file: StateDatabase) -> None:
    apply(file, A)
    first = row_of(file, "a")

    apply(file, replace(A, id=B.id), adopted=[0])

    assert row_of(file, "b") == first


def test_what_staging_changes_is_held_against_the_table_as_well(
    file: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.store.moves.may_become", lambda old, new: new is not State.UNCERTAIN)

    with pytest.raises(RunnerError, match="cannot go from submitting to uncertain"):
        apply(file, job("a"))
