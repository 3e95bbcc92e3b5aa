"""What a changed manifest costs: the diff against the database, and what applying it does to paid work."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from runner.clock import rfc3339
from runner.errors import RunnerError
from runner.model import NEVER_SENT, Basis, Estimate, JobSpec, State
from runner.store import jobs, ledger, staging
from runner.store.database import StateFile
from runner.store.staging import StagedJob
from tests.desk import BEGINNING, CONTRACT, NAME, apply, bind, job, reference, rows, staged, takes

NOW = rfc3339(BEGINNING)
A, B, C = job("a"), job("b"), job("c")


@pytest.fixture
def file() -> Iterator[StateFile]:
    opened = StateFile.in_memory()
    bind(opened)
    yield opened
    opened.close()


def set_state(file: StateFile, name: str, state: State | str, **columns: Any) -> int:
    """Put a job where a run would have brought it; return its row."""
    found = jobs.find(file.conn, NAME, name)[0]
    with file.transaction() as conn:
        jobs.advance(conn, found, NOW, state=State(state).value, **columns)
    return found.row


def pay(
    file: StateFile, name: str, state: State | str = State.DONE, amount: float = 10.0, **columns: Any
) -> int:
    """Submit a job for so many credits; leave it in a state; return its row."""
    found = jobs.find(file.conn, NAME, name)[0]
    with file.transaction() as conn:
        estimate = Estimate(credits=amount, reserve=amount, basis=Basis.LISTED)
        ledger.reserve(conn, found, estimate=estimate, probe=False, base_url="https://rivya.ai", now=NOW)
    return set_state(file, name, state, **columns)


def plan(file: StateFile, *specs: JobSpec) -> dict[str, str]:
    """Stage a manifest without applying it; return what becomes of each job."""
    staging.stage(file.conn, NAME, (staged(spec, file) for spec in specs))
    counts = staging.summary(file.conn, NAME)
    lines = list(staging.lines(file.conn, NAME))
    assert sum(counts.values()) == len(lines)
    assert sum(counts.values()) == len(specs) + counts["orphaned"]
    spent = staging.to_spend(file.conn)
    assert sum(number for number, _ in spent.values()) == sum(bool(line["sends"]) for line in lines)
    assert [line["job"] for line in lines[: len(specs)]] == [spec.id for spec in specs]
    return {
        line["job"] if line["change"] != "orphaned" else f"({line['job']})": line["change"] for line in lines
    }


def table(file: StateFile) -> dict[tuple[str, int], str]:
    """Return {(job, listed): state} of all rows."""
    return {
        (name, listed): state for name, listed, state in rows(file, "SELECT job, listed, state FROM jobs")
    }


def row_of(file: StateFile, name: str) -> int:
    return jobs.find(file.conn, NAME, name)[0].row


def sends(file: StateFile) -> float:
    """Return the credits that a run would spend on what is staged."""
    return sum(credits for _, credits in staging.to_spend(file.conn).values())


# --- new, planned, in states ----------------------------------------------------------------------


def test_everything_is_new_at_first(file: StateFile) -> None:
    assert plan(file, A, B) == {"a": "new", "b": "new"}
    assert sends(file) == 20

    done = apply(file, A, B)

    assert (done.inserted, done.dropped, done.made_uncertain, done.renamed) == (2, 0, 0, ())
    assert table(file) == {("a", 1): "planned", ("b", 1): "planned"}


def test_staging_changes_nothing_until_it_is_applied(file: StateFile) -> None:
    apply(file, A)
    before = list(file.conn.iterdump())

    plan(file, B, C)

    assert list(file.conn.iterdump()) == before


def test_an_unchanged_manifest_changes_nothing(file: StateFile) -> None:
    apply(file, A, B)
    pay(file, "a")
    before = rows(file, "SELECT * FROM jobs")

    done = apply(file, A, B)

    assert (done.inserted, done.dropped, done.made_uncertain) == (0, 0, 0)
    assert rows(file, "SELECT * FROM jobs") == before


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("planned", "planned"),
        ("uploading", "planned"),
        ("ready", "planned"),
        ("submitting", "running"),
        ("waiting", "running"),
        ("downloading", "running"),
        ("uncertain", "uncertain"),
        ("done", "done"),
        ("failed", "failed"),
        ("abandoned", "abandoned"),
    ],
)
def test_a_job_is_counted_by_where_it_stands(file: StateFile, state: str, change: str) -> None:
    apply(file, A)
    set_state(file, "a", state)

    assert plan(file, A) == {"a": change}
    assert sends(file) == (10 if change == "planned" else 0)


def test_order_is_no_change_and_costs_nothing(file: StateFile) -> None:
    apply(file, A, B, C)
    for name in "abc":
        pay(file, name)

    assert plan(file, C, A, B) == {"c": "done", "a": "done", "b": "done"}
    apply(file, C, A, B)

    assert [name for (name,) in rows(file, "SELECT job FROM jobs ORDER BY position")] == ["c", "a", "b"]
    assert len(rows(file, "SELECT 1 FROM jobs")) == 3


def test_an_added_job_is_one_payment(file: StateFile) -> None:
    apply(file, A, C)
    pay(file, "a")
    pay(file, "c")

    assert plan(file, A, B, C) == {"a": "done", "b": "new", "c": "done"}
    assert sends(file) == 10


def test_manifests_of_other_names_are_left_alone(file: StateFile) -> None:
    bind(file, "winter")
    apply(file, A, B, name="winter")
    apply(file, A)
    apply(file)

    assert rows(file, "SELECT manifest, job FROM jobs") == [("winter", "a"), ("winter", "b")]
    assert plan(file, A) == {"a": "new"}


# --- changed --------------------------------------------------------------------------------------

CAUSES = [
    (job("a", "another prompt"), "prompt"),
    (job("a", model="sora-2"), "model"),
    (job("a", params={"duration": 10}), "params"),
    (job("a", references=[reference("x.png")]), "reference"),
    (
        job("a", "another", params={}, references=[reference("x.png")], model="m"),
        "model prompt params reference",
    ),
]


@pytest.mark.parametrize(("edited", "cause"), CAUSES, ids=[cause for _, cause in CAUSES])
def test_an_edited_job_is_paid_again_and_says_why(file: StateFile, edited: JobSpec, cause: str) -> None:
    apply(file, A, B)
    pay(file, "a")

    assert plan(file, edited, B) == {"a": "changed", "b": "planned", "(a)": "orphaned"}
    (line, *_) = staging.lines(file.conn, NAME)
    assert (line["cause"], line["sends"], line["estimate"]) == (cause, 1, 10.0)


def test_the_cause_is_what_differs_from_the_version_that_was_listed_last(file: StateFile) -> None:
    """Edited, and edited back: the newest row is not the one the user sees."""
    first, second = job("a", "one"), job("a", "two")
    apply(file, first)
    pay(file, "a")
    apply(file, second)
    pay(file, "a")
    apply(file, first)

    plan(file, job("a", "two", params={"duration": 10}))

    (line, *_) = staging.lines(file.conn, NAME)
    assert line["cause"] == "prompt params"


def test_a_reference_that_only_moved_is_no_cause(file: StateFile) -> None:
    here, there = reference("here.png", "same"), reference("there.png", "same")
    apply(file, job("a", references=[here]))
    pay(file, "a")

    assert plan(file, job("a", references=[there])) == {"a": "done"}
    plan(file, job("a", "edited", references=[there]))
    (line, *_) = staging.lines(file.conn, NAME)

    assert line["cause"] == "prompt"


def test_params_written_in_another_order_or_as_another_kind_of_number_are_no_cause(file: StateFile) -> None:
    apply(file, job("a", params={"x": 1, "y": 6}))
    pay(file, "a")

    assert plan(file, job("a", params={"y": 6.0, "x": 1})) == {"a": "done"}
    plan(file, job("a", "edited", params={"y": 6.0, "x": 1}))
    (line, *_) = staging.lines(file.conn, NAME)

    assert line["cause"] == "prompt"


@pytest.mark.parametrize("state", ["done", "waiting", "downloading", "uncertain", "failed", "abandoned"])
def test_editing_and_editing_back_pays_for_nothing_twice(file: StateFile, state: str) -> None:
    edited = job("a", "edited")
    apply(file, A)
    first = pay(file, "a", state)
    apply(file, edited)
    pay(file, "a", "done")

    assert plan(file, A)["a"] == {"waiting": "running", "downloading": "running"}.get(state, state)
    assert sends(file) == 0
    apply(file, A)

    assert row_of(file, "a") == first
    assert jobs.get(file.conn, first).state == state
    assert rows(file, "SELECT count(*) FROM jobs WHERE listed = 1") == [(1,)]
    assert plan(file, edited)["a"] == "done"


# --- renamed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state.value for state in State])
def test_a_new_id_with_the_same_request_takes_the_row_over(file: StateFile, state: str) -> None:
    apply(file, A, B)
    first = pay(file, "a", state, key="k", body=b"{}", in_doubt=1)

    assert plan(file, replace(A, id=C.id, output="c"), B) == {"c": "renamed", "b": "planned"}
    (line, *_) = staging.lines(file.conn, NAME)
    assert line["was"] == "a"
    assert bool(line["sends"]) is (State(state) in NEVER_SENT)
    apply(file, replace(A, id=C.id, output="c"), B)

    found = jobs.find(file.conn, NAME, "c")[0]
    assert (found.row, found.state, found.listed, found.output) == (first, state, True, "c")
    # What is committed of a send stays as it is: the same key and bytes, whatever the job is called now.
    assert (found.key, found.body, found.in_doubt) == ("k", b"{}", 1)
    assert jobs.find(file.conn, NAME, "a") == []


def test_swapped_ids_cost_nothing(file: StateFile) -> None:
    one, two = job("a", "one"), job("b", "two")
    apply(file, one, two)
    rows_before = {name: pay(file, name) for name in "ab"}

    swapped = (job("a", "two"), job("b", "one"))
    assert plan(file, *swapped) == {"a": "renamed", "b": "renamed"}
    assert sends(file) == 0
    done = apply(file, *swapped)

    assert sorted(done.renamed) == sorted(rows_before.values())
    assert {name: row_of(file, name) for name in "ab"} == {"a": rows_before["b"], "b": rows_before["a"]}


def test_ids_in_a_ring_cost_nothing(file: StateFile) -> None:
    apply(file, *[job(name, f"p{number}") for number, name in enumerate("abcd")])
    for name in "abcd":
        pay(file, name)

    assert set(
        plan(file, *[job(name, f"p{(number + 1) % 4}") for number, name in enumerate("abcd")]).values()
    ) == {"renamed"}
    apply(file, *[job(name, f"p{(number + 1) % 4}") for number, name in enumerate("abcd")])

    assert len(rows(file, "SELECT 1 FROM jobs")) == 4


def test_a_renamed_job_may_leave_its_old_id_to_a_new_one(file: StateFile) -> None:
    apply(file, A)
    first = pay(file, "a")

    assert plan(file, job("a", "something else"), replace(A, id=B.id)) == {"a": "changed", "b": "renamed"}
    apply(file, job("a", "something else"), replace(A, id=B.id))

    assert row_of(file, "b") == first
    assert jobs.find(file.conn, NAME, "a")[0].state is State.PLANNED


def test_a_result_that_was_superseded_is_taken_over_too(file: StateFile) -> None:
    apply(file, A)
    first = pay(file, "a")
    apply(file, job("a", "edited"))
    pay(file, "a")

    assert plan(file, job("a", "edited"), replace(A, id=B.id)) == {"a": "done", "b": "renamed"}
    apply(file, job("a", "edited"), replace(A, id=B.id))

    assert row_of(file, "b") == first


def test_one_row_is_taken_over_once(file: StateFile) -> None:
    apply(file, A)
    pay(file, "a")

    assert plan(file, replace(A, id=B.id), replace(A, id=C.id)) == {"b": "renamed", "c": "new"}


def test_a_listed_row_is_never_taken_over(file: StateFile) -> None:
    apply(file, A)
    pay(file, "a")

    assert plan(file, A, replace(A, id=B.id)) == {"a": "done", "b": "new"}
    assert plan(file, replace(A, id=B.id), A) == {"b": "new", "a": "done"}


BEST_FIRST = ["done", "downloading", "waiting", "submitting", "uncertain", "planned", "failed", "abandoned"]


def test_what_is_paid_is_taken_over_before_what_would_be_paid_again(file: StateFile) -> None:
    """Else a paid result is orphaned while its failed twin asks for another round."""
    worst_first = BEST_FIRST[::-1]
    apply(file, *takes("x", len(worst_first)))
    for number, state in enumerate(worst_first, start=1):
        pay(file, f"x-{number}", state)

    for count in range(1, len(BEST_FIRST) + 1):
        plan(file, *takes("y", count))
        taken = [line["state"] for line in staging.lines(file.conn, NAME)][:count]
        assert taken == BEST_FIRST[:count]


def test_the_file_of_a_renamed_job_gets_the_new_name_and_the_old_artifacts(file: StateFile) -> None:
    apply(file, A)
    first = pay(file, "a")
    with file.transaction() as conn:
        conn.execute("INSERT INTO artifacts VALUES (?, 1, '/out/a.mp4', 'x', 1, 'video/mp4')", (first,))

    apply(file, replace(A, id=B.id, output="b"))

    assert list(jobs.finished_files(file.conn, NAME)) == [(first, "b", "/out/a.mp4", 1)]


# --- repeat ---------------------------------------------------------------------------------------


def test_repeat_three_two_three_costs_nothing(file: StateFile) -> None:
    apply(file, *takes("x", 3))
    paid = [pay(file, f"x-{number}") for number in (1, 2, 3)]

    assert plan(file, *takes("x", 2)) == {"x-1": "done", "x-2": "done", "(x-3)": "orphaned"}
    apply(file, *takes("x", 2))
    assert plan(file, *takes("x", 3)) == {"x-1": "done", "x-2": "done", "x-3": "done"}
    assert sends(file) == 0
    apply(file, *takes("x", 3))

    assert [row_of(file, f"x-{number}") for number in (1, 2, 3)] == paid


def test_more_takes_pay_for_the_new_ones_only(file: StateFile) -> None:
    apply(file, *takes("x", 2))
    pay(file, "x-1")
    pay(file, "x-2")

    assert plan(file, *takes("x", 5)) == {
        "x-1": "done", "x-2": "done", "x-3": "new", "x-4": "new", "x-5": "new",
    }  # fmt: skip
    assert sends(file) == 30


def test_a_job_that_becomes_repeated_keeps_its_result_as_the_first_take(file: StateFile) -> None:
    once = job("x", "once more")
    apply(file, once)
    first = pay(file, "x")

    assert plan(file, *takes("x", 2)) == {"x-1": "renamed", "x-2": "new"}
    apply(file, *takes("x", 2))
    assert row_of(file, "x-1") == first
    assert plan(file, once) == {"x": "renamed"}


# --- removed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(NEVER_SENT))
def test_a_removed_job_that_was_never_sent_is_dropped(file: StateFile, state: State) -> None:
    apply(file, A, B)
    set_state(file, "b", state)

    assert plan(file, A) == {"a": "planned"}
    assert apply(file, A).dropped == 1
    assert table(file) == {("a", 1): "planned"}


@pytest.mark.parametrize("edited", [True, False])
def test_a_job_removed_or_edited_while_it_is_submitted_becomes_uncertain(
    file: StateFile, edited: bool
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


def test_a_removed_job_whose_every_send_was_refused_owes_nothing(file: StateFile) -> None:
    apply(file, A, B)
    first = pay(file, "b", "submitting", in_doubt=0, key="k", body=b"{}")

    done = apply(file, A)

    assert (done.made_uncertain, done.dropped) == (0, 0)
    assert ledger.totals(file.conn, NAME) == (0.0, 0.0)
    assert jobs.get(file.conn, first).state not in {State.SUBMITTING, State.UNCERTAIN}
    assert not jobs.get(file.conn, first).listed


def test_a_job_that_was_told_to_wait_removed_and_brought_back_is_sent(file: StateFile) -> None:
    """It came back as failed, for having been removed: exit 3, and nothing but `retry` would send it."""
    apply(file, A, B)
    first = pay(file, "b", "submitting", in_doubt=0, key="k", body=b"{}")
    apply(file, A)

    assert plan(file, A, B) == {"a": "planned", "b": "planned"}
    apply(file, A, B)

    found = jobs.get(file.conn, first)
    assert found.state in NEVER_SENT
    assert (found.listed, found.key, found.error_class) == (True, "k", None)


def test_an_unlisted_job_that_a_person_sends_again_stays_submitting(file: StateFile) -> None:
    """`resolve --resend` of a job that is no longer in the manifest: the next run has to send it."""
    apply(file, A, B)
    first = pay(file, "b", "submitting", in_doubt=1)
    apply(file, A)
    with file.transaction() as conn:
        jobs.advance(conn, jobs.get(conn, first), NOW, state="submitting")

    apply(file, A)

    assert jobs.get(file.conn, first).state is State.SUBMITTING


@pytest.mark.parametrize("state", ["waiting", "downloading", "done", "uncertain", "failed", "abandoned"])
def test_a_removed_job_that_was_sent_is_kept_and_still_counts(file: StateFile, state: str) -> None:
    apply(file, A, B)
    first = pay(file, "b", state)

    assert plan(file, A) == {"a": "planned", "(b)": "orphaned"}
    apply(file, A)
    apply(file, A)

    found = jobs.get(file.conn, first)
    assert (found.state, found.listed) == (state, False)
    assert ledger.totals(file.conn, NAME) == (0.0, 10.0)


@pytest.mark.parametrize("state", sorted(NEVER_SENT))
def test_a_removed_job_that_paid_an_earlier_round_is_kept(file: StateFile, state: State) -> None:
    apply(file, A, B)
    first = pay(file, "b", "failed")
    set_state(file, "b", state, round=2)

    assert plan(file, A) == {"a": "planned", "(b)": "orphaned"}
    apply(file, A)

    assert jobs.get(file.conn, first).state is State.FAILED
    assert ledger.totals(file.conn, NAME) == (0.0, 10.0)
    assert plan(file, A) == {"a": "planned", "(b)": "orphaned"}


def test_an_empty_manifest_keeps_all_that_means_money(file: StateFile) -> None:
    states = [state.value for state in State]
    apply(file, *[job(name) for name in states])
    for name in states:
        pay(file, name, name, in_doubt=1)

    apply(file)

    assert len(rows(file, "SELECT 1 FROM jobs")) == len(states)
    assert rows(file, "SELECT count(*) FROM jobs WHERE listed = 1") == [(0,)]
    assert ledger.totals(file.conn, NAME) == (0.0, 10.0 * len(states))


# --- adoption -------------------------------------------------------------------------------------


def test_a_result_that_is_on_disk_already_is_not_paid_for(file: StateFile) -> None:
    apply(file, A)
    staging.stage(file.conn, NAME, (staged(spec) for spec in (A, B, C)))
    found = list(staging.candidates(file.conn))
    assert [(position, name) for position, name, *_ in found] == [(0, "a"), (1, "b"), (2, "c")]

    staging.adopt(file.conn, [1, 2])

    assert staging.summary(file.conn, NAME) == {"planned": 1, "done": 2, "orphaned": 0}
    assert sends(file) == 10
    with file.transaction() as conn:
        staging.apply(conn, NAME, NOW)
        adopted = [jobs.get(conn, staging.row_at(conn, NAME, position)).id for position in (1, 2)]
    assert adopted == ["b", "c"]


def test_only_what_would_be_paid_for_can_be_adopted(file: StateFile) -> None:
    states = [state.value for state in State]
    apply(file, *[job(name) for name in states])
    for name in states:
        set_state(file, name, name)
    plan(file, *[job(name) for name in states])

    assert {name for _, name, *_ in staging.candidates(file.conn)} == NEVER_SENT


def test_a_renamed_job_that_was_never_sent_can_be_adopted_under_its_new_name(file: StateFile) -> None:
    apply(file, A)
    first = row_of(file, "a")

    apply(file, replace(A, id=B.id), adopted=[0])

    assert row_of(file, "b") == first


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_mistake_in_the_last_job_leaves_everything_as_it_was_and_usable(file: StateFile) -> None:
    apply(file, A)
    before = rows(file, "SELECT * FROM jobs")

    def with_a_mistake() -> Iterator[StagedJob]:
        yield staged(B)
        raise RunnerError("row 100,000 has no prompt")

    with pytest.raises(RunnerError, match="100,000"):
        staging.stage(file.conn, NAME, with_a_mistake())

    assert not file.conn.in_transaction
    assert rows(file, "SELECT * FROM jobs") == before
    apply(file, A, B)
    assert table(file) == {("a", 1): "planned", ("b", 1): "planned"}


def test_an_application_that_fails_half_way_leaves_everything_as_it_was(file: StateFile) -> None:
    apply(file, A, B)
    pay(file, "b", "submitting", in_doubt=1)
    before = rows(file, "SELECT * FROM jobs")
    staging.stage(file.conn, NAME, (staged(spec) for spec in (C, replace(A, id=B.id))))

    with pytest.raises(ZeroDivisionError), file.transaction() as conn:
        staging.apply(conn, NAME, NOW)
        raise ZeroDivisionError

    assert rows(file, "SELECT * FROM jobs") == before


def test_a_plan_needs_no_right_to_write(tmp_path: Any) -> None:
    StateFile.open(tmp_path / "s.db").close()
    reader = StateFile.open_readonly(tmp_path / "s.db")

    assert plan(reader, A, B) == {"a": "new", "b": "new"}
    reader.close()


def test_any_text_goes_in_and_comes_out_as_it_was(file: StateFile) -> None:
    odd = job(
        "зима ❄ 1",
        'quote" \0 \x1b[31m \u2028 </script> 🦉' * 50,
        params={"ключ": ["16:9", None, True, 1.5, {"x": []}]},
        references=[reference("שלג.png")],
        axes={"look": "noir", "take": 1},
    )
    apply(file, odd)

    found = jobs.find(file.conn, NAME, "зима ❄ 1")[0]

    assert (found.prompt, found.params, found.references, found.axes) == (
        odd.prompt,
        odd.params,
        odd.references,
        odd.axes,
    )
    assert plan(file, odd) == {"зима ❄ 1": "planned"}


# --- any history ----------------------------------------------------------------------------------


def random_manifest(draw: random.Random) -> list[JobSpec]:
    names = draw.sample(["a", "b", "c", "d", "e"], draw.randrange(6))
    return [job(name, draw.choice(["p", "q", "r"])) for name in names]


@pytest.mark.parametrize("seed", range(25))
def test_no_history_of_edits_loses_a_payment_or_lists_a_job_twice(file: StateFile, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(12):
        specs = random_manifest(draw)
        paid_before = dict(rows(file, "SELECT job, amount FROM ledger"))
        total_before = sum(ledger.totals(file.conn, NAME))
        in_doubt = {row for (row,) in rows(file, "SELECT id FROM jobs WHERE in_doubt > 0")}
        done_prints = rows(file, "SELECT fingerprint FROM jobs WHERE state = 'done'")

        plan(file, *specs)
        to_send = sum(number for number, _ in staging.to_spend(file.conn).values())
        with file.transaction() as conn:
            staging.apply(conn, NAME, NOW)

        listed = rows(file, "SELECT job, fingerprint, position FROM jobs WHERE listed = 1 ORDER BY position")
        assert listed == [(spec.id, spec.fingerprint, place) for place, spec in enumerate(specs)]
        assert dict(rows(file, "SELECT job, amount FROM ledger")) == paid_before
        assert sum(ledger.totals(file.conn, NAME)) == total_before
        kept = dict(rows(file, "SELECT id, state FROM jobs"))
        assert set(paid_before) <= set(kept), "a row that has paid is never dropped"
        assert all(kept[row] != "planned" for row in in_doubt)
        assert rows(file, "SELECT 1 FROM jobs WHERE state = 'submitting' AND listed = 0") == []
        ready = rows(
            file, "SELECT count(*) FROM jobs WHERE listed = 1 AND state IN ('planned','uploading','ready')"
        )
        assert ready == [(to_send,)], "what the plan says is what a run would send"
        # No result on disk is left aside while an equal job is paid for.
        wasted = rows(
            file,
            "SELECT 1 FROM jobs o JOIN jobs n ON n.fingerprint = o.fingerprint AND n.listed = 1"
            " AND n.state = 'planned' AND n.id NOT IN (SELECT job FROM ledger) WHERE o.state = 'done' AND o.listed = 0",
        )
        assert not wasted, done_prints

        for name, row in rows(file, "SELECT job, id FROM jobs WHERE listed = 1 AND state = 'planned'"):
            if draw.random() < 0.7 and row not in paid_before:
                state = draw.choice(["done", "waiting", "submitting", "uncertain", "failed", "downloading"])
                pay(file, name, state, in_doubt=int(state in ("submitting", "uncertain")))


def test_foreign_keys_are_whole_after_any_of_this(file: StateFile) -> None:
    apply(file, A, B)
    pay(file, "a")
    apply(file, B)
    apply(file)

    assert rows(file, "PRAGMA foreign_key_check") == []
    with pytest.raises(sqlite3.IntegrityError), file.conn:
        file.conn.execute("DELETE FROM jobs")
    assert CONTRACT.base_credits == 10
