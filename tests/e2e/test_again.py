"""From drafts to finals by the real command: a manifest that a person would have written, valid and priced."""

from __future__ import annotations

import pytest

from tests.imitation.fixtures import Bench, said

HOSTILE = '${a} $${b} "q" \\ \u2028 # no comment: yes\n- ~ null \U0001f989'


def drafts(bench: Bench) -> None:
    place = bench.picture("assets.png")
    params = {"resolution": "480p", "duration": 6}
    bench.write(
        [
            {"id": "a", "params": params},
            {"id": "b", "params": {**params, "aspect_ratio": "9:16"}, "references": [place]},
            {"id": "c", "params": params, "prompt": HOSTILE.replace("${", "$${").replace("$$${", "$$$${")},
            {"id": "d", "params": params},
        ]
    )
    assert bench.run().code == 0
    assert bench.command("pick", bench.manifest, "a", "b", "c").code == 0


@pytest.mark.slow
def test_picked_drafts_become_finals(bench: Bench) -> None:
    drafts(bench)
    out = bench.command.workspace / "more" / "finals.yaml"

    made = bench.command(
        "again", bench.manifest, "--picked", "--set", "resolution=720p", "--set", "duration=10", "--repeat", "2", "-o", out
    )  # fmt: skip

    assert made.code == 0, said(made)
    assert made.stdout.strip() == str(out)
    assert "finals: 6 jobs: 6 new" in made.stderr
    text = out.read_text("utf-8")
    head, _, jobs = text.partition("\njobs:\n")
    assert head.startswith("# yaml-language-server: $schema=")
    for line in (
        "name: finals",
        "model: grok-imagine-video",
        "  resolution: 720p",
        "  duration: 10",
        "max_credits: ",
    ):
        assert line in head
    assert "720p" not in jobs
    assert '"../assets.png"' in jobs
    assert bench.command("validate", out).code == 0
    planned = bench.command("plan", out, "--json").json
    assert planned["summary"]["new"] == 6
    by_id = {each["id"]: each for each in planned["jobs"]}
    assert set(by_id) == {"a-1", "a-2", "b-1", "b-2", "c-1", "c-2"}
    # Near a cap few run at once: here that is not what is looked at.
    ran = bench.command("run", out, "--yes", "--max-credits", "1000")
    assert ran.code == 0, said(ran)
    rows = {row["job"]: row for row in bench.command("export", out, "--format", "jsonl").events}
    old = {row["job"]: row for row in bench.command("export", bench.manifest, "--format", "jsonl").events}
    assert rows["c-1"]["prompt"] == old["c"]["prompt"] == HOSTILE
    assert rows["b-2"]["params"] == {"resolution": "720p", "duration": 10, "aspect_ratio": "9:16"}


def test_changes_that_a_model_refuses_leave_nothing_behind(bench: Bench) -> None:
    drafts(bench)
    out = bench.command.workspace / "finals.yaml"

    refused = bench.command("again", bench.manifest, "--picked", "--set", "resolution=9p", "-o", out)

    assert (refused.code, out.exists()) == (2, False), said(refused)
    assert "resolution" in refused.stderr
    out.write_text("mine")
    kept = bench.command("again", bench.manifest, "--picked", "-o", out)
    assert (kept.code, out.read_text()) == (2, "mine")
    assert bench.command("again", bench.manifest, "-o", "x.yaml").code == 2
    wrong = bench.command("again", bench.manifest, "--only", "*", "--set", "resolution=9000p", "-o", "x.yaml")
    assert wrong.code == 2
    assert "x.yaml was not written" in wrong.stderr
    assert not (bench.command.workspace / "x.yaml").exists()


def test_takes_of_one_combination_are_one_job_with_as_many_takes(bench: Bench) -> None:
    bench.write([{"id": "cat", "repeat": 3}, {"id": "dog"}])
    assert bench.run().code == 0
    assert bench.command("pick", bench.manifest, "cat-1", "cat-3", "dog").code == 0
    out = bench.command.workspace / "finals.yaml"

    made = bench.command("again", bench.manifest, "--picked", "--repeat", "2", "-o", out)

    assert made.code == 0, said(made)
    checked = bench.command("validate", out)
    assert (checked.code, "warning" in checked.stderr + checked.stdout) == (0, False), said(checked)
    ids = [each["id"] for each in bench.command("plan", out, "--json").json["jobs"]]
    assert ids == ["cat-1", "cat-2", "cat-3", "cat-4", "dog-1", "dog-2"]


def test_the_axes_are_kept_so_that_the_page_groups_the_finals(bench: Bench) -> None:
    bench.write(
        [
            {
                "id": "${product}-${light}",
                "matrix": {"product": ["cup", "jar"], "light": ["noon", "first snow"]},
                "repeat": 2,
                "prompt": "${product}, ${light}",
            }
        ]
    )
    assert bench.run().code == 0
    finals = bench.command.workspace / "finals.yaml"

    written = bench.command("again", bench.manifest, "--only", "*", "--set", "resolution=720p", "-o", finals)
    assert written.code == 0, said(written)
    assert bench.command("run", finals, "--yes").code == 0

    rows = bench.command("export", finals, "--format", "jsonl").events
    assert len(rows) == 8
    assert {(row["axes"]["product"], row["axes"]["light"], row["axes"]["take"]) for row in rows} == {
        (product, light, take)
        for product in ("cup", "jar")
        for light in ("noon", "first snow")
        for take in (1, 2)
    }


def test_the_finals_are_run_by_the_same_command_after_the_question(bench: Bench) -> None:
    drafts(bench)
    again = ("again", bench.manifest, "--only", "a", "--set", "resolution=720p", "-o")
    folder = bench.command.workspace

    unasked = bench.command(*again, folder / "one.yaml", "--run")
    paid = len(bench.service.ledger.posts)
    run = bench.command(*again, folder / "two.yaml", "--run", "--yes")
    mistaken = bench.command(*again, folder / "three.yaml", "--yes")

    assert (unasked.code, run.code, mistaken.code) == (2, 0, 2), said(run)
    assert (folder / "one.yaml").is_file()
    assert paid == 4, "something was paid for without a word"
    assert len(bench.service.ledger.posts) == 5
    assert "two: 1 job: 1 new" in run.stderr
    assert not (folder / "three.yaml").exists()
