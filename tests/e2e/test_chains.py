"""Jobs that take other jobs' results, by the real command against a service that keeps its own book."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.imitation.fixtures import Bench, said
from tests.imitation.tasks import Fate

STILL: dict[str, Any] = {"model": "z-image"}


def still(id_: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, **STILL, **more}


def film(id_: str, job: str, **more: Any) -> dict[str, Any]:
    """A job that takes another one's result; `result`, `frame` and `pick` are said of that."""
    of = {key: more.pop(key) for key in ("result", "frame", "pick") if key in more}
    return {"id": id_, "references": [{"job": job, **of}], **more}


def sent_with(bench: Bench, id_: str, prompt: str = "") -> list[str]:
    """The SHA-256 of the files that the submit of a job names, as the service has them."""
    post = bench.service.ledger.of(prompt or f"prompt of {id_}")[-1]
    return [bench.service.files[item["url"]][0] for item in post.data["params"]["referenceMediaItems"]]


def on_disk(bench: Bench, name: str) -> str:
    (path,) = [each for each in bench.out.iterdir() if each.stem == name and each.suffix != ".json"]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plan(bench: Bench, *options: str) -> dict[str, Any]:
    told = bench.command("plan", bench.manifest, "--json", *options)
    assert told.code == 0, said(told)
    return told.json


def changes(bench: Bench) -> dict[str, str]:
    return {job["id"]: job["status"] for job in plan(bench)["jobs"] if job["status"] != "orphaned"}


def order_of_posts(bench: Bench) -> list[str]:
    return [post.prompt.removeprefix("prompt of ") for post in bench.service.ledger.posts]


def test_a_film_begins_with_the_still_that_the_run_has_made(bench: Bench) -> None:
    """Also where it is written above what it needs; the file that is sent is the one on the disk."""
    prompts = bench.write([film("film", "still"), still("still"), still("other")])

    before = plan(bench)
    outcome = bench.run()
    again = bench.run()

    assert (outcome.code, again.code) == (0, 0), said(outcome)
    assert before["submits"] == 3
    assert before["waits"]["for_results"] == 1
    assert [job["waits"] for job in before["jobs"]] == ["result", None, None]
    assert order_of_posts(bench)[-1] == "film"
    assert sent_with(bench, "film") == [on_disk(bench, "still")]
    bench.assert_whole(prompts)


def test_a_chain_of_three_with_the_last_picture_of_a_film(bench: Bench) -> None:
    pytest.importorskip("av")
    bench.write([still("one"), film("two", "one"), film("three", "two", frame="last")])

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert order_of_posts(bench) == ["one", "two", "three"]
    (frame,) = (bench.command.workspace / "state" / "frames").iterdir()
    assert sent_with(bench, "three") == [hashlib.sha256(frame.read_bytes()).hexdigest()]
    assert frame.read_bytes().startswith(b"\x89PNG")
    names = [
        item["name"]
        for item in bench.service.ledger.of("prompt of three")[-1].data["params"]["referenceMediaItems"]
    ]
    assert names == [frame.name]


def test_a_picture_of_a_film_that_cannot_be_kept_ends_the_run_in_good_order(bench: Bench) -> None:
    pytest.importorskip("av")
    bench.write(
        [
            {"id": "film"},
            {"id": "next", "model": "nano-banana", "references": [{"job": "film", "frame": "last"}]},
        ]
    )
    frames = bench.command.workspace / "state" / "frames"
    frames.parent.mkdir(exist_ok=True)
    frames.touch()

    without = bench.run()
    frames.unlink()
    last = bench.run()

    assert (without.code, last.code) == (5, 0), said(without) + said(last)
    assert f"cannot be kept in {frames}" in without.stderr
    assert bench.service.ledger.paid_twice == {}


def test_a_job_waits_for_a_persons_choice_among_takes(bench: Bench) -> None:
    bench.write(
        [still("still", repeat=3), film("film", "still", pick=True), film("plain", "still-1")],
        prices={"z-image": 1},
    )

    before = plan(bench)
    first = bench.run()
    idle = bench.run()

    assert (first.code, idle.code) == (3, 3), said(first)
    assert before["submits"] == 4
    assert before["waits"]["for_choice"] == ["film"]
    assert "1 job waits for your choice: film" in first.stderr
    to_type = [line for line in first.stderr.splitlines() if line.startswith("next: ")]
    assert [line.split()[1:3] for line in to_type] == [["rivya-batch", "pick"], ["rivya-batch", "run"]]
    assert "once you have picked" in to_type[1]
    assert bench.service.ledger.paid["prompt of film"] == 0
    assert bench.states() == {"done": 4, "planned": 1}
    status = bench.command("status", bench.manifest)
    assert "waiting    1 job waits for your choice: film" in status.stdout

    assert bench.command("pick", bench.manifest, "still-2").code == 0
    assert changes(bench)["film"] == "planned"
    assert plan(bench)["submits"] == 1
    last = bench.run()

    assert last.code == 0, said(last)
    assert sent_with(bench, "film") == [on_disk(bench, "still-2")]
    assert bench.service.ledger.paid_twice == {"prompt of still": 3}  # its takes
    # What was made with a choice stays made with it, until there is another one.
    bench.command("pick", bench.manifest, "still-2", "--clear")
    assert (changes(bench)["film"], bench.run().code) == ("done", 0)
    bench.command("pick", bench.manifest, "still-3")
    assert changes(bench)["film"] == "changed"
    assert bench.run().code == 0
    assert sent_with(bench, "film") == [on_disk(bench, "still-3")]


@pytest.mark.slow
def test_two_picks_are_no_choice(bench: Bench) -> None:
    bench.write([still("still", repeat=2), film("film", "still", pick=True)])
    assert bench.run().code == 3
    bench.command("pick", bench.manifest, "still-1", "still-2")

    outcome = bench.run()

    assert outcome.code == 3
    assert bench.service.ledger.paid["prompt of film"] == 0


def test_a_choice_among_some_takes_is_none_among_others_of_the_same_prompt(bench: Bench) -> None:
    same = [still("a", repeat=2, prompt="same"), film("of-a", "a", pick=True)]
    bench.write(same)
    assert bench.run().code == 3
    bench.command("pick", bench.manifest, "a-2")
    assert bench.run().code == 0
    bench.write([*same, still("b", repeat=2, prompt="same"), film("of-b", "b", pick=True)])

    outcome = bench.run("--accept-warnings")

    assert outcome.code == 3, said(outcome)
    assert "1 job waits for your choice: of-b" in outcome.stderr
    assert bench.service.ledger.paid["prompt of of-b"] == 0


def test_a_job_left_out_at_the_place_of_another_is_not_taken_for_it(bench: Bench) -> None:
    """Rows of jobs with mistakes stay listed where they were, and those of others may come to stand there too."""
    bench.write([still("x"), still("a"), film("film", "a")])
    assert bench.run("--only", "[xa]").code == 0
    bench.write([still("a"), still("x", params={"aspect_ratio": "nonsense"}), film("film", "a")])

    outcome = bench.run("--skip-invalid")

    assert outcome.code == 3, said(outcome)
    assert sent_with(bench, "film") == [on_disk(bench, "a")]
    assert len(bench.rows("*", "needs")) == 1


def test_a_job_that_failed_stops_only_what_needs_it_and_retry_sets_it_free(bench: Bench) -> None:
    bench.service.fates["prompt of bad"] = Fate(status="failed", times=1)
    bench.write(
        [still("bad"), still("good"), film("stuck", "bad"), film("free", "good"), film("after", "bad")]
    )

    first = bench.run()
    idle = plan(bench)
    retried = bench.command("retry", bench.manifest, "--yes")
    last = bench.run()

    assert (first.code, retried.code, last.code) == (3, 0, 0), said(first) + said(retried)
    assert "2 jobs were not sent, since jobs that they need failed (bad)" in first.stderr
    assert "rivya-batch retry" in first.stderr
    assert "continues where this stopped" not in first.stderr
    assert "(makes what waits for them)" in first.stderr
    assert idle["submits"] == 0
    assert idle["waits"]["held"] == {"failed": ["bad"]}
    assert bench.service.ledger.paid["prompt of stuck"] == 1
    assert bench.states() == {"done": 5}
    assert changes(bench).keys() == {"bad", "good", "stuck", "free", "after"}
    assert set(changes(bench).values()) == {
        "done"
    }  # a failed round has made nothing: what waited is the same


def test_what_is_made_of_a_result_that_is_made_again_is_paid_again_after_a_plan_has_shown_it(
    bench: Bench,
) -> None:
    bench.write([still("still"), film("film", "still"), still("other")])
    assert bench.run().code == 0

    retried = bench.command("retry", bench.manifest, "--only", "still", "--done", "--yes")
    changed = changes(bench)
    last = bench.run()

    assert (retried.code, last.code) == (0, 0), said(retried) + said(last)
    assert "1 job made of these results will count as changed" in retried.stderr
    assert changed == {"still": "done", "film": "changed", "other": "done"}
    assert [bench.service.ledger.paid[f"prompt of {job}"] for job in ("still", "film", "other")] == [2, 2, 1]
    assert changes(bench) == {"still": "done", "film": "done", "other": "done"}


def test_an_automatic_round_of_the_first_sets_the_second_free_in_the_same_run(bench: Bench) -> None:
    bench.service.fates["prompt of still"] = Fate(status="failed", times=1)
    bench.write([still("still"), film("film", "still")], retry={"failed_rounds": 1})

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert set(changes(bench).values()) == {"done"}
    assert bench.rows("job, round") == [("still", 2), ("film", 1)]


def test_an_edited_first_job_is_two_changes_and_a_renamed_one_is_none(bench: Bench) -> None:
    bench.write([still("still"), film("film", "still"), still("other")])
    assert bench.run().code == 0

    bench.write([still("first", prompt="prompt of still"), film("film", "first"), still("other")])
    assert changes(bench) == {"first": "renamed", "film": "done", "other": "done"}
    assert bench.run().code == 0
    bench.write([still("first", prompt="another"), film("film", "first"), still("other")])
    edited = plan(bench)
    assert {job["id"]: job["cause"] for job in edited["jobs"] if job["status"] == "changed"} == {
        "first": ["prompt"],
        "film": ["reference"],
    }
    assert bench.run().code == 0

    assert bench.service.ledger.paid == {
        "prompt of still": 1,
        "prompt of film": 2,
        "prompt of other": 1,
        "another": 1,
    }
    assert sent_with(bench, "film") == [on_disk(bench, "first")]


def test_what_was_made_of_a_result_that_is_replaced_is_made_anew_after_its_price_was_shown(
    bench: Bench,
) -> None:
    """The file is gone, and so is its task: a person gives it up and has it made once more."""
    bench.write([still("still"), film("film", "still")])
    assert bench.run().code == 0
    (bench.out / "still.png").unlink()
    next(iter(bench.service.tasks.values())).fate = Fate(gone=True)
    lost = bench.run("--stop-after", "1s")
    given_up = bench.command("resolve", bench.manifest, "still", "--abandon", "--yes")
    waiting = plan(bench)
    retried = bench.command("retry", bench.manifest, "--only", "still", "--yes")
    after = plan(bench)
    last = bench.run()

    assert lost.code == 10, said(lost)
    assert (given_up.code, retried.code, last.code) == (0, 0, 0), said(given_up) + said(retried) + said(last)
    assert waiting["submits"] == 0
    assert [(job["id"], job["status"], job["cause"]) for job in after["jobs"]] == [
        ("still", "done", []),
        ("film", "changed", ["reference"]),
        ("film", "orphaned", []),
    ]
    assert after["submits"] == 1
    assert bench.service.ledger.paid == {"prompt of still": 2, "prompt of film": 2}
    assert sent_with(bench, "film") == [on_disk(bench, "still")]


def test_a_new_twin_above_one_that_was_made_again_is_paid_for_once(bench: Bench) -> None:
    old = [still("s", prompt="same"), film("f", "s")]
    bench.write(old)
    assert bench.run().code == 0
    assert bench.command("retry", bench.manifest, "--only", "s", "--done", "--yes").code == 0
    assert bench.run().code == 0
    bench.write([still("new", prompt="same"), film("g", "new"), *old])

    assert changes(bench) == {"new": "new", "g": "new", "s": "done", "f": "done"}
    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert changes(bench) == {"new": "done", "g": "done", "s": "done", "f": "done"}
    assert bench.service.ledger.paid["prompt of g"] == 1


def test_a_still_that_is_gone_is_fetched_again_and_one_that_was_edited_is_not_sent(bench: Bench) -> None:
    bench.write([still("still"), film("film", "still")])
    assert bench.run("--only", "still").code == 0
    (path,) = bench.out.glob("still.png")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + b"x" * 20)

    edited = bench.run()
    paid = bench.service.ledger.paid["prompt of film"]
    path.unlink()
    last = bench.run()

    assert (edited.code, last.code) == (3, 0), said(edited) + said(last)
    assert paid == 0
    assert (
        f"{path}, the result of still, was changed or removed since it was fetched; 1 job that takes it was not sent"
        in edited.stderr
    )
    assert "put the old file back, or remove this one" in edited.stderr
    assert sent_with(bench, "film") == [hashlib.sha256(whole).hexdigest()]
    assert bench.service.ledger.paid_twice == {}


def test_a_first_job_that_is_switched_off_is_named_and_one_that_waits_is_not_waited_for(bench: Bench) -> None:
    bench.write(
        [still("still"), film("film", "still"), still("take", repeat=2), film("pick", "take", pick=True)]
    )
    assert bench.command("switch", bench.manifest, "still", "pick", "--off").code == 0

    before = plan(bench)
    without = bench.run()
    bench.command("switch", bench.manifest, "still", "--on")
    last = bench.run()

    assert before["waits"]["held"] == {"are switched off": ["still"]}
    assert (without.code, last.code) == (3, 0), said(without) + said(last)
    assert "1 job was not sent, since jobs that it needs are switched off (still)" in without.stderr
    assert "not everything is done" not in without.stderr
    assert "your choice" not in without.stderr
    assert bench.states() == {"done": 4, "planned": 1}


def test_only_the_second_is_asked_for(bench: Bench) -> None:
    bench.write([still("still"), film("film", "still")])

    without = bench.run("--only", "film")
    stills = bench.run("--only", "still")
    films = bench.run("--only", "film")

    assert [each.code for each in (without, stills, films)] == [3, 0, 0], said(without)
    assert "were not asked for (still)" in without.stderr
    assert order_of_posts(bench) == ["still", "film"]


@pytest.mark.slow
def test_a_limit_counts_what_was_submitted(bench: Bench) -> None:
    bench.write([still("a"), still("b"), film("film-a", "a"), film("film-b", "b")])

    outcomes = [bench.run("--limit", "1") for _ in range(4)]

    assert [each.code for each in outcomes] == [0, 0, 0, 0], said(outcomes[0])
    assert order_of_posts(bench) == ["a", "b", "film-a", "film-b"]


@pytest.mark.slow
def test_a_saved_plan_of_a_chain_is_run_whole(bench: Bench) -> None:
    bench.write([still("still"), film("film", "still")], prices={"z-image": 1, "grok-imagine-video": 10})
    saved = bench.command.workspace / "plan.json"
    assert bench.command("plan", bench.manifest, "--out", saved).code == 0

    outcome = bench.command("run", saved, "--yes")

    assert outcome.code == 0, said(outcome)
    assert bench.states() == {"done": 2}


@pytest.mark.slow
def test_a_probe_pays_for_what_it_needs_too(bench: Bench) -> None:
    bench.write([still("a"), still("b"), film("film", "b")])

    outcome = bench.run("--probe")

    assert outcome.code == 0, said(outcome)
    assert "and 1 job that they need" in outcome.stderr
    assert sorted(order_of_posts(bench)) == ["a", "b", "film"]


def test_what_a_job_was_made_of_is_told_everywhere(bench: Bench) -> None:
    bench.write([still("still", repeat=2), film("film", "still-2")])
    assert bench.run().code == 0

    sidecar = json.loads((bench.out / "film.json").read_text(encoding="utf-8"))
    (row,) = bench.command("export", bench.manifest, "--format", "jsonl", "--only", "film").events
    again = bench.command(
        "again", bench.manifest, "--only", "film", "-o", bench.command.workspace / "finals.yaml"
    )

    assert sidecar["references"] == [
        {"path": "job: still-2", "sha256": on_disk(bench, "still-2"), "job": "still-2"}
    ]
    assert row["references"] == ["job: still-2"]
    assert again.code == 0, said(again)
    written = (bench.command.workspace / "finals.yaml").read_text(encoding="utf-8")
    assert "out/night/still-2.png" in written
    assert "job: still-2" in (bench.out / "report.html").read_text(encoding="utf-8")


def test_again_names_the_very_file_also_once_that_has_another_name(bench: Bench) -> None:
    """Two stills have changed names, and with them their files: what stands at the old place is the other's."""
    films = [film("of-red", "a", prompt="red moves"), film("of-blue", "b", prompt="blue moves")]
    bench.write([still("a", prompt="red"), still("b", prompt="blue"), *films])
    assert bench.run().code == 0
    films = [film("of-red", "b", prompt="red moves"), film("of-blue", "a", prompt="blue moves")]
    bench.write([still("b", prompt="red"), still("a", prompt="blue"), *films])
    assert bench.run().code == 0

    finals = bench.command.workspace / "finals.yaml"
    again = bench.command("again", bench.manifest, "--only", "of-red", "-o", finals)

    assert again.code == 0, said(again)
    assert "out/night/b.png" in finals.read_text(encoding="utf-8")
    assert sent_with(bench, "of-red", "red moves") == [on_disk(bench, "b")]
    assert bench.service.ledger.paid_twice == {}


def test_without_its_database_nothing_of_a_chain_is_paid_again(bench: Bench) -> None:
    bench.write([still("still"), film("film", "still")])
    assert bench.run().code == 0
    for path in (bench.command.workspace / "state").glob("runner.db*"):
        path.unlink()

    outcome = (
        bench.run("--may-pay-twice")
        if "--may-pay-twice" in bench.command("run", "--help").stdout
        else bench.run()
    )

    assert bench.service.ledger.paid_twice == {}, said(outcome)


def made_again_and_lost(bench: Bench) -> None:
    """A still is made again, and a film of the new one; then the database is lost."""
    bench.write([still("s"), film("f", "s")])
    assert bench.run().code == 0
    assert bench.command("retry", bench.manifest, "--only", "s", "--done", "--yes").code == 0
    assert bench.run().code == 0
    assert bench.service.ledger.paid == {"prompt of s": 2, "prompt of f": 2}
    for path in bench.database.parent.glob("runner.db*"):
        path.unlink()


def test_what_was_made_of_a_result_that_was_made_again_is_found_without_the_database(bench: Bench) -> None:
    made_again_and_lost(bench)

    assert changes(bench) == {"s": "done", "f": "done"}
    outcome = bench.run("--may-pay-twice")

    assert outcome.code == 0, said(outcome)
    assert bench.service.ledger.paid == {"prompt of s": 2, "prompt of f": 2}
    assert bench.rows("job, round, edition") == [("s", 2, 1), ("f", 1, 0)]
    assert changes(bench) == {"s": "done", "f": "done"}


def test_what_was_made_of_a_result_that_was_made_again_is_found_with_an_old_database(bench: Bench) -> None:
    bench.write([still("s"), film("f", "s")])
    assert bench.run("--limit", "0").code == 0
    backup = bench.command.workspace / "backup"
    shutil.copytree(bench.database.parent, backup)
    assert bench.run().code == 0
    assert bench.command("retry", bench.manifest, "--only", "s", "--done", "--yes").code == 0
    assert bench.run().code == 0
    shutil.rmtree(bench.database.parent)
    shutil.copytree(backup, bench.database.parent)

    outcome = bench.run("--may-pay-twice")

    assert outcome.code == 0, said(outcome)
    assert set(changes(bench).values()) == {"done"}
    assert bench.service.ledger.paid == {"prompt of s": 2, "prompt of f": 2}


def test_sidecars_that_do_not_say_how_often_a_result_was_made_are_taken_over_and_the_run_ends(
    bench: Bench,
) -> None:
    made_again_and_lost(bench)
    for path in bench.out.glob("*.json"):
        said_there = json.loads(path.read_text(encoding="utf-8"))
        said_there.pop("edition", None)
        path.write_text(json.dumps(said_there), encoding="utf-8")

    assert changes(bench) == {"s": "done", "f": "new"}
    bench.service.forget_keys()
    outcome = bench.run("--may-pay-twice")

    assert outcome.code == 0, said(outcome)


def test_jobs_left_out_for_mistakes_take_those_that_need_them_along(bench: Bench) -> None:
    bench.write(
        [
            still("bad", params={"aspect_ratio": "nonsense"}),
            film("stuck", "bad"),
            still("good"),
            film("free", "good"),
        ]
    )

    refused = bench.run()
    outcome = bench.run("--skip-invalid")

    assert (refused.code, outcome.code) == (2, 3), said(outcome)
    assert 'it needs the result of "bad", which has mistakes itself' in refused.stderr
    assert bench.states() == {"done": 2}
    assert "left out for mistakes: 2 jobs (bad, stuck)" in outcome.stderr


def test_a_first_job_that_is_no_longer_listed_is_told_before_anything_is_paid(bench: Bench) -> None:
    bench.write([still("still"), film("film", "still")])
    assert bench.run("--only", "still").code == 0
    bench.write([film("film", "still")])

    outcome = bench.run()

    assert outcome.code == 2
    assert 'there is no job "still" in this manifest' in outcome.stderr


def test_a_result_that_was_not_made_is_no_matter_of_another_try(bench: Bench) -> None:
    bench.write([still("s"), film("m", "s", result=2, model="nano-banana"), film("g", "m")])

    outcome = bench.run()
    later = bench.run()

    assert (outcome.code, later.code) == (3, 3), said(outcome)
    assert "s has 1 result, and result 2 is asked for: change `result: 2` in the manifest" in outcome.stdout
    assert "failed for what they are (m): mend these in the manifest, then run again" in outcome.stderr
    for each in (outcome, later):
        assert "next:" not in each.stderr  # neither another try nor another run helps


@pytest.mark.parametrize("written", [("takes", "film"), ("film", "takes")])
def test_the_id_of_a_job_in_the_place_of_a_file_is_told(bench: Bench, written: tuple[str, str]) -> None:
    entries = {"takes": still("takes", repeat=2), "film": {"id": "film", "references": ["takes-1"]}}
    bench.write([entries[each] for each in written])

    outcome = bench.command("validate", bench.manifest)

    assert outcome.code == 2
    assert "for the result of that job write {job: takes-1}" in said(outcome)


@pytest.mark.slow
def test_rows_and_a_matrix_name_the_jobs_they_need(bench: Bench, tmp_path: Path) -> None:
    (bench.manifest.parent / "shots.csv").write_text("sku,text\na,red\nb,blue\n", encoding="utf-8")
    bench.write(
        [
            still("still-${row.sku}", rows="shots.csv", prompt="prompt of still-${row.sku}"),
            film(
                "film-${sku}-${look}",
                "still-${sku}",
                matrix={"sku": ["a", "b"], "look": ["slow", "fast"]},
                prompt="prompt of film-${sku}-${look}",
            ),
        ]
    )

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    for look in ("slow", "fast"):
        assert sent_with(bench, f"film-a-{look}") == [on_disk(bench, "still-a")]
    assert (
        len({upload.sha256 for upload in bench.service.ledger.uploads})
        == len(bench.service.ledger.uploads)
        == 2
    )


def test_the_picture_that_was_picked_of_several_is_what_the_film_is_made_of(bench: Bench) -> None:
    """Two pictures picked are no choice yet; another choice later is another film."""
    bench.service.become(results=4)
    bench.write(
        [
            {"id": "still", "model": "z-image"},
            {"id": "film", "references": [{"job": "still", "pick": True}]},
        ]
    )
    assert bench.run().code == 3
    bench.command("pick", bench.manifest, "still:2", "still:3")
    assert bench.run().code == 3

    bench.command("pick", bench.manifest, "still:2", "--clear")
    before = plan(bench)
    assert bench.run().code == 0

    (made,) = [job for job in before["jobs"] if job["id"] == "film"]
    assert made["references"] == ["job: still, pick: true, result: 3"]
    assert sent_with(bench, "film") == [on_disk(bench, "still+3")]
    bench.command("pick", bench.manifest, "still:3", "--clear")
    assert changes(bench)["film"] == "done"  # for as long as there is no other choice
    bench.command("pick", bench.manifest, "still:4")
    later = bench.command("plan", bench.manifest, "--json").json["jobs"]
    found = [(job["status"], job["cause"]) for job in later if job["id"] == "film"]
    assert ("changed", ["reference"]) in found
