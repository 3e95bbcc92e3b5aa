"""Jobs with mistakes: by default they stop everything; left out, they lose nothing of what is known of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.imitation.fixtures import Bench, said

CUT = b"\x89PNG\r\n\x1a\n cut"
JOBS: list[dict[str, Any]] = [{"id": "good"}, {"id": "bad", "references": ["bad.png"]}]


def broken(bench: Bench) -> None:
    (bench.manifest.parent / "bad.png").write_bytes(CUT)


def test_one_bad_picture_stops_everything_by_default(bench: Bench) -> None:
    broken(bench)
    bench.write(JOBS)

    outcome = bench.run()

    assert outcome.code == 2
    assert not bench.service.ledger.posts


def test_the_others_run_and_the_run_says_which_was_left_out(bench: Bench) -> None:
    broken(bench)
    prompts = bench.write(JOBS)

    outcome = bench.run("--skip-invalid")

    assert outcome.code == 3, said(outcome)
    assert "left out for mistakes: 1 job (bad)" in outcome.stderr
    assert "bad.png is not a whole image/png file" in outcome.stderr
    assert bench.states() == {"done": 1}
    assert [post.prompt for post in bench.service.ledger.posts] == prompts[:1]


def test_once_mended_the_job_runs_and_the_others_are_not_paid_again(bench: Bench) -> None:
    broken(bench)
    prompts = bench.write(JOBS)
    bench.run("--skip-invalid")
    bench.picture("bad.png")

    outcome = bench.run("--skip-invalid")

    assert outcome.code == 0, said(outcome)
    assert [post.prompt for post in bench.service.ledger.posts] == prompts


def test_what_was_paid_for_a_job_that_is_left_out_stays_listed(bench: Bench) -> None:
    bench.picture("bad.png")
    bench.write(JOBS)
    assert bench.run().code == 0
    broken(bench)
    bench.write([*JOBS, {"id": "more"}])

    outcome = bench.run("--skip-invalid")

    assert outcome.code == 3, said(outcome)
    assert bench.states() == {"done": 3}
    assert len(bench.service.ledger.posts) == 3


def test_a_planned_job_is_not_sent_as_it_was_once_mistakes_are_found_in_it(bench: Bench) -> None:
    bench.picture("bad.png")
    bench.write(JOBS)
    assert bench.run("--limit", "0").code == 0
    broken(bench)

    outcome = bench.run("--skip-invalid")

    assert outcome.code == 3, said(outcome)
    assert sorted(bench.rows(where="listed")) == [("bad", "planned"), ("good", "done")]
    assert len(bench.service.ledger.posts) == 1


def test_an_unreadable_row_removes_no_job(bench: Bench) -> None:
    rows = bench.manifest.parent / "rows.csv"
    rows.write_text("n,word\n1,one\n2,two\n3,three\n")
    bench.write([{"id": "row-${row.n}", "rows": "rows.csv", "prompt": "a ${row.word}"}])
    assert bench.run().code == 0
    rows.write_text("n,word\n1,one\n2,two,too,many\n3,three\n4,four\n")

    outcome = bench.run("--skip-invalid")

    assert outcome.code == 3, said(outcome)
    assert "1 row or item that cannot be read as jobs" in outcome.stderr
    assert bench.states() == {"done": 4}
    assert len(bench.service.ledger.posts) == 4


def test_only_does_not_stumble_over_what_it_leaves_out(bench: Bench) -> None:
    broken(bench)
    bench.write(JOBS)

    wanted, other = bench.run("--only", "go*"), bench.run("--only", "b*")

    assert wanted.code == 0, said(wanted)
    assert bench.states() == {"done": 1}
    assert other.code == 2


def test_a_mistake_of_the_manifest_itself_is_left_out_by_nothing(bench: Bench) -> None:
    bench.write(2, colour="red")

    outcome = bench.run("--skip-invalid")

    assert outcome.code == 2
    assert not bench.service.ledger.posts


def test_plan_and_validate_name_what_is_left_out(bench: Bench) -> None:
    broken(bench)
    bench.write(JOBS)

    plan = bench.command("plan", bench.manifest, "--skip-invalid", "--json")
    validated = bench.command("validate", bench.manifest, "--skip-invalid", "--json")
    strict = bench.command("validate", bench.manifest)
    words = bench.command("plan", bench.manifest, "--skip-invalid")

    assert (plan.code, validated.code, strict.code, words.code) == (3, 3, 2, 3)
    assert json.loads(plan.stdout)["left_out"] == {"jobs": ["bad"], "nameless": 0}
    assert [job["id"] for job in json.loads(plan.stdout)["jobs"]] == ["good"]
    found = json.loads(validated.stdout)["manifests"][0]
    assert (found["jobs"], found["left_out"]) == (1, {"jobs": ["bad"], "nameless": 0})
    assert "left out   1 job (bad)" in words.stdout


def test_a_plan_of_some_jobs_counts_only_these_as_spending(bench: Bench) -> None:
    bench.write([{"id": "cat-1"}, {"id": "cat-2"}, {"id": "dog"}])

    some = bench.command("plan", bench.manifest, "--only", "cat-*")
    program = json.loads(bench.command("plan", bench.manifest, "--only", "cat-*", "--json").stdout)
    everything = json.loads(bench.command("plan", bench.manifest, "--json").stdout)
    none = bench.command("plan", bench.manifest, "--only", "cow")
    bench.run("--only", "dog")
    later = bench.command("plan", bench.manifest, "--only", "cat-1", "--json")

    assert "2 jobs to submit" in some.stdout
    assert "2 jobs with an id like cat-*; the others are not submitted" in some.stdout
    assert "dog" not in some.stdout
    assert program["submits"] == 2
    assert program["summary"]["new"] == 3
    assert program["credits"]["to_spend"] == pytest.approx(everything["credits"]["to_spend"] * 2 / 3)
    assert {job["id"]: job["sends"] for job in program["jobs"]} == {
        "cat-1": True,
        "cat-2": True,
        "dog": False,
    }
    assert "no job has an id like cow" in none.stdout
    assert (json.loads(later.stdout)["submits"], bench.states()) == (1, {"planned": 2, "done": 1})


def test_a_mistake_that_the_schema_finds_is_told_each_time_and_its_job_is_not_sent_as_it_was(
    bench: Bench,
) -> None:
    bench.write([{"id": "fixed"}, {"id": "other"}])
    assert bench.run("--only", "other").code == 0
    bench.write([{"id": "fixed", "prompt": "edited", "params": {"duration": "nonsense"}}, {"id": "other"}])

    outcomes = [bench.run("--skip-invalid") for _ in range(2)]
    refused = bench.run()

    assert [each.code for each in (*outcomes, refused)] == [3, 3, 2], said(outcomes[1])
    assert "left out for mistakes: 1 job (fixed)" in outcomes[1].stderr
    assert [post.prompt for post in bench.service.ledger.posts] == ["prompt of other"]
