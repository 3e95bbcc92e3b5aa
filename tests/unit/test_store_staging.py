"""Staging: what a manifest changes, what that costs, and that no history of edits loses a payment."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.model import NEVER_SENT, Basis, Budget, Estimate, JobSpec
from runner.money.budget import Committed, Verdict, judge
from runner.store import diff, jobs, ledger, staging
from runner.store.database import StateDatabase
from runner.store.error_words import Contradiction
from runner.store.sqlite import StateFile
from runner.store.staging import StagedJob
from tests import staged as staged_jobs
from tests.staged import NOW, A, B, C, pay, plan, row_of, sends, set_state, table
from tests.world import CONTRACT, NAME, apply, bind, job, reference, rows, staged

file = staged_jobs.file


# --- new, planned, in states ----------------------------------------------------------------------


def test_everything_is_new_at_first(file: StateDatabase) -> None:
    assert plan(file, A, B) == {"a": "new", "b": "new"}
    assert sends(file) == 20

    done = apply(file, A, B)

    assert (done.inserted, done.dropped, done.made_uncertain, done.renamed) == (2, 0, 0, ())
    assert table(file) == {("a", 1): "planned", ("b", 1): "planned"}


def test_staging_changes_nothing_until_it_is_applied(file: StateDatabase) -> None:
    apply(file, A)
    before = rows(file, "SELECT * FROM jobs"), rows(file, "SELECT * FROM manifests")

    plan(file, B, C)

    assert (rows(file, "SELECT * FROM jobs"), rows(file, "SELECT * FROM manifests")) == before


def test_an_unchanged_manifest_changes_nothing(file: StateDatabase) -> None:
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
        ("submitting", "running"),
        ("waiting", "running"),
        ("downloading", "running"),
        ("uncertain", "uncertain"),
        ("done", "done"),
        ("failed", "failed"),
        ("abandoned", "abandoned"),
    ],
)
def test_a_job_is_counted_by_where_it_stands(file: StateDatabase, state: str, change: str) -> None:
    apply(file, A)
    set_state(file, "a", state)

    assert plan(file, A) == {"a": change}
    assert sends(file) == (10 if change == "planned" else 0)


def test_order_is_no_change_and_costs_nothing(file: StateDatabase) -> None:
    apply(file, A, B, C)
    for name in "abc":
        pay(file, name)

    assert plan(file, C, A, B) == {"c": "done", "a": "done", "b": "done"}
    apply(file, C, A, B)

    assert [name for (name,) in rows(file, "SELECT job FROM jobs ORDER BY position")] == ["c", "a", "b"]
    assert len(rows(file, "SELECT 1 FROM jobs")) == 3


def test_an_added_job_is_one_payment(file: StateDatabase) -> None:
    apply(file, A, C)
    pay(file, "a")
    pay(file, "c")

    assert plan(file, A, B, C) == {"a": "done", "b": "new", "c": "done"}
    assert sends(file) == 10


def test_manifests_of_other_names_are_left_alone(file: StateDatabase) -> None:
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
def test_an_edited_job_is_paid_again_and_says_why(file: StateDatabase, edited: JobSpec, cause: str) -> None:
    apply(file, A, B)
    pay(file, "a")

    assert plan(file, edited, B) == {"a": "changed", "b": "planned", "(a)": "orphaned"}
    (line, *_) = diff.lines(file.conn, NAME)
    assert (line.cause, line.sends, line.estimate) == (cause, 1, 10.0)


def test_the_cause_is_what_differs_from_the_version_that_was_listed_last(file: StateDatabase) -> None:
    """Edited, and edited back: the newest row is not the one the user sees."""
    first, second = job("a", "one"), job("a", "two")
    apply(file, first)
    pay(file, "a")
    apply(file, second)
    pay(file, "a")
    apply(file, first)

    plan(file, job("a", "two", params={"duration": 10}))

    (line, *_) = diff.lines(file.conn, NAME)
    assert line.cause == "prompt params"


def test_a_reference_that_only_moved_is_no_cause(file: StateDatabase) -> None:
    here, there = reference("here.png", "same"), reference("there.png", "same")
    apply(file, job("a", references=[here]))
    pay(file, "a")

    assert plan(file, job("a", references=[there])) == {"a": "done"}
    plan(file, job("a", "edited", references=[there]))
    (line, *_) = diff.lines(file.conn, NAME)

    assert line.cause == "prompt"


def test_params_written_in_another_order_or_as_another_kind_of_number_are_no_cause(
    file: StateDatabase,
) -> None:
    apply(file, job("a", params={"x": 1, "y": 6}))
    pay(file, "a")

    assert plan(file, job("a", params={"y": 6.0, "x": 1})) == {"a": "done"}
    plan(file, job("a", "edited", params={"y": 6.0, "x": 1}))
    (line, *_) = diff.lines(file.conn, NAME)

    assert line.cause == "prompt"


@pytest.mark.parametrize("state", ["done", "waiting", "downloading", "uncertain", "failed", "abandoned"])
def test_editing_and_editing_back_pays_for_nothing_twice(file: StateDatabase, state: str) -> None:
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


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_mistake_in_the_last_job_leaves_everything_as_it_was_and_usable(file: StateDatabase) -> None:
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


def test_an_application_that_fails_half_way_leaves_everything_as_it_was(file: StateDatabase) -> None:
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


def test_any_text_goes_in_and_comes_out_as_it_was(file: StateDatabase) -> None:
    odd = job(
        "зима ❄ 1",
        'quote" \x1b[31m \u2028 </script> 🦉' * 50,
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
def test_no_history_of_edits_loses_a_payment_or_lists_a_job_twice(file: StateDatabase, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(12):
        specs = random_manifest(draw)
        paid_before = dict(rows(file, "SELECT job, amount FROM ledger"))
        total_before = sum(ledger.totals(file.conn, NAME))
        in_doubt = {row for (row,) in rows(file, "SELECT id FROM jobs WHERE in_doubt > 0")}
        done_prints = rows(file, "SELECT fingerprint FROM jobs WHERE state = 'done'")

        plan(file, *specs)
        to_send = sum(each.jobs for each in diff.to_spend(file.conn).values())
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
        ready = rows(file, "SELECT count(*) FROM jobs WHERE listed = 1 AND state IN ('planned','uploading')")
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


def test_foreign_keys_are_whole_after_any_of_this(file: StateDatabase) -> None:
    apply(file, A, B)
    pay(file, "a")
    apply(file, B)
    apply(file)

    assert not rows(file, "SELECT 1 FROM ledger WHERE job NOT IN (SELECT id FROM jobs)")
    with pytest.raises(Contradiction), file.transaction() as conn:
        conn.execute("DELETE FROM jobs")
    assert CONTRACT.base_credits == 10


def test_the_database_and_the_rules_agree_on_what_was_never_sent() -> None:
    assert set(re.findall(r"'(\w+)'", jobs.NEVER_SENT_SQL)) == {state.value for state in NEVER_SENT}


# --- jobs that are left out -----------------------------------------------------------------------


def stage_without(
    file: StateDatabase, *specs: JobSpec, ids: tuple[str, ...] = (), others: bool = False
) -> None:
    """Make jobs the listed ones while others of the manifest are left out."""
    not_staged = staging.NotStaged(ids=ids, others=others)
    staging.stage(file.conn, NAME, (staged(spec, file) for spec in specs), not_staged=lambda: not_staged)
    with file.transaction() as conn:
        staging.apply(conn, NAME, NOW)


def test_the_row_of_a_job_that_is_left_out_stays_as_it_is_and_others_are_removed(file: StateDatabase) -> None:
    apply(file, A, B, C)
    pay(file, "b", "submitting")
    before = rows(file, "SELECT * FROM jobs WHERE job = 'b'")

    stage_without(file, A, ids=("b",))

    assert rows(file, "SELECT * FROM jobs WHERE job = 'b'") == before
    assert table(file) == {("a", 1): "planned", ("b", 1): "submitting"}
    assert staging.rows_not_staged(file.conn, NAME) == {row_of(file, "b")}
    assert diff.summary(file.conn, NAME)["orphaned"] == 0


def test_another_job_does_not_take_over_the_row_of_one_that_is_left_out(file: StateDatabase) -> None:
    apply(file, A)
    pay(file, "a")

    stage_without(file, replace(A, id="twin"), ids=("a",))

    assert table(file) == {("a", 1): "done", ("twin", 1): "planned"}


def test_where_ids_are_not_known_no_row_is_removed_but_edits_and_new_names_still_count(
    file: StateDatabase,
) -> None:
    apply(file, A, B, C)
    pay(file, "b")
    edited = replace(A, prompt="another", fingerprint="fp1:" + "e" * 64)

    stage_without(file, edited, replace(B, id="new-name"), others=True)

    assert table(file) == {("a", 1): "planned", ("new-name", 1): "done", ("c", 1): "planned"}
    assert staging.rows_not_staged(file.conn, NAME) == {row_of(file, "c")}


def test_an_id_that_is_used_twice_is_staged_once_and_not_held(file: StateDatabase) -> None:
    apply(file, A)

    stage_without(file, A, ids=("a",))

    assert staging.rows_not_staged(file.conn, NAME) == frozenset()


@pytest.mark.parametrize(("cap", "fits"), [(11.0, False), (12.0, True)])
def test_a_plan_judges_the_cap_of_a_job_by_what_a_run_judges_it_by(
    file: StateDatabase, cap: float, fits: bool
) -> None:
    """The service reserves 12 for it and charges 10: it was promised by the plan, and held back by the run."""
    seen = Estimate(credits=10, reserve=12, basis=Basis.OBSERVED)
    staging.stage(file.conn, NAME, [replace(staged(A), estimate=seen)])

    verdict = judge(
        budget=Budget(max_credits_per_job=cap),
        estimate=seen.reserve,
        price_seen=True,
        committed=Committed(total=0, day=0, job=0),
    )

    assert (verdict is Verdict.YES, diff.above(file.conn, cap) == 0) == (fits, fits)
    assert diff.to_spend(file.conn) == {"observed": (1, 10, 12, 2)}, "2 must be free beside what is spent"
