"""Picks by the real command: said, listed, taken from a file, kept over runs and meant by other commands."""

from __future__ import annotations

import json
import os

import pytest

from tests.imitation.fixtures import Bench, said


def picks_of(bench: Bench) -> dict[str, tuple[str | None, int | None, str]]:
    told = bench.command("pick", bench.manifest, "--json").json["picks"]
    return {each["id"]: (each["verdict"], each["rating"], each["word"]) for each in told}


def test_what_is_picked_is_kept_and_meant_by_other_commands(bench: Bench) -> None:
    bench.write(5)
    assert bench.run().code == 0

    picked = bench.command("pick", bench.manifest, "job-1", "job-3")
    assert picked.code == 0, said(picked)
    assert "2 changed; 2 picked, 0 rejected" in picked.stderr
    assert bench.command("pick", bench.manifest, "job-[45]", "--reject", "--word", "too dark").code == 0
    assert bench.command("pick", bench.manifest, "job-3", "--rate", "4").code == 0
    assert bench.run().code == 0  # another run changes nothing of it

    assert picks_of(bench) == {
        "job-1": ("picked", None, ""),
        "job-3": ("picked", 4, ""),
        "job-4": ("rejected", None, "too dark"),
        "job-5": ("rejected", None, "too dark"),
    }
    rows = bench.command("export", bench.manifest, "--format", "jsonl", "--picked").events
    assert [(row["job"], row["pick"], row["rating"]) for row in rows] == [
        ("job-1", "picked", None), ("job-3", "picked", 4),
    ]  # fmt: skip
    playlist = bench.command("export", bench.manifest, "--format", "m3u", "--rejected").stdout
    assert playlist.count("#EXTINF") == 2
    assert bench.command("pick", bench.manifest, "job-1", "--clear").code == 0
    assert "job-1" not in picks_of(bench)


def test_the_picked_files_are_linked_into_a_folder(bench: Bench) -> None:
    bench.write(3)
    assert bench.run().code == 0
    bench.command("pick", bench.manifest, "job-2")
    folder = bench.command.workspace / "picks"

    first = bench.command("export", bench.manifest, "--picked", "--copy-to", folder)
    again = bench.command("export", bench.manifest, "--picked", "--copy-to", folder)

    assert (first.code, again.code) == (0, 0), said(first)
    (copied,) = folder.iterdir()
    assert copied.name.startswith("job-2")
    assert os.path.samefile(copied, bench.out / copied.name)  # noqa: PTH121
    assert "1 of them were there" in again.stderr
    copied.unlink()
    copied.write_bytes(b"somebody's own")
    refused = bench.command("export", bench.manifest, "--picked", "--copy-to", folder)
    assert (refused.code, copied.read_bytes()) == (2, b"somebody's own")


def test_picks_come_from_what_a_report_saved_and_from_ids(bench: Bench) -> None:
    bench.write(3)
    assert bench.run().code == 0
    saved = bench.command.workspace / "night-picks.json"
    told = [
        {"id": "job-1", "round": 1, "verdict": "picked", "rating": 5, "word": "Jürgen's ☂"},
        {"id": "job-2", "round": 2, "verdict": "rejected"},
        {"id": "gone", "round": 1, "verdict": "picked"},
    ]
    saved.write_text(json.dumps({"rivya_batch_picks": 1, "manifest": "night", "picks": told}))

    taken = bench.command("pick", bench.manifest, "--from", saved)
    ids = bench.command("pick", bench.manifest, "--from", "-", stdin="job-3\n")

    assert (taken.code, ids.code) == (0, 0), said(taken)
    assert "gone: not in this manifest" in taken.stderr
    assert "job-2: run again since" in taken.stderr
    assert picks_of(bench) == {"job-1": ("picked", 5, "Jürgen's ☂"), "job-3": ("picked", None, "")}
    named = bench.command("export", bench.manifest, "--format", "jsonl", "--ids", saved).events
    assert [row["job"] for row in named] == ["job-1"]


@pytest.mark.parametrize("text", ["{", '{"rivya_batch_picks": 1}', '{"rivya_batch_picks": 2}', "\udcff",
                                  '{"rivya_batch_picks": 1, "manifest": "night", "picks": [{"id": "job-1", "rating": 9}]}',
                                  '{"rivya_batch_picks": 1, "manifest": "other", "picks": []}'])  # fmt: skip
def test_a_file_that_holds_no_picks_changes_nothing(bench: Bench, text: str) -> None:
    bench.write(1)
    assert bench.run().code == 0
    place = bench.command.workspace / "picks.json"
    place.write_bytes(text.encode("utf-8", "surrogateescape"))

    refused = bench.command("pick", bench.manifest, "--from", place)

    assert refused.code == 2, said(refused)
    assert picks_of(bench) == {}


def test_an_unknown_id_changes_nothing(bench: Bench) -> None:
    bench.write(1)
    assert bench.run().code == 0

    refused = bench.command("pick", bench.manifest, "job-1", "job-9")

    assert (refused.code, "no job job-9" in refused.stderr) == (2, True)
    assert picks_of(bench) == {}
    nothing = bench.command("export", bench.manifest, "--picked")
    assert (nothing.code, "no job of night is picked" in nothing.stderr) == (2, True)


def test_only_the_jobs_of_a_list_are_submitted(bench: Bench) -> None:
    bench.write(4)
    place = bench.command.write("ids.txt", "job-2\njob-4\n")

    assert bench.run("--ids", str(place)).code == 0

    assert len(bench.service.ledger.posts) == 2


def test_one_picture_of_several_is_picked_and_only_that_is_taken_away(bench: Bench) -> None:
    bench.service.become(results=4)
    bench.write([{"id": "a"}, {"id": "b"}, {"id": "c"}])
    assert bench.run().code == 0

    assert bench.command("pick", bench.manifest, "a:2", "b:1", "b:4", "c").code == 0
    lines = bench.command("pick", bench.manifest).stdout.split()
    folder = bench.command.workspace / "picks"
    copied = bench.command("export", bench.manifest, "--picked", "--copy-to", folder)
    playlist = bench.command("export", bench.manifest, "--picked", "--format", "m3u").stdout
    shared = bench.command("share", bench.manifest, "--picked", "-o", bench.command.workspace / "client")

    assert copied.code == 0, said(copied)
    assert lines == ["picked", "a:2", "picked", "b:1,4", "picked", "c"]
    assert sorted(path.stem for path in folder.iterdir()) == [
        "a+2", "b", "b+4", "c", "c+2", "c+3", "c+4",
    ]  # fmt: skip
    assert playlist.count("#EXTINF") == 7
    assert "7 files of 3 jobs" in shared.stderr
    bench.command("pick", bench.manifest, "c:3", "b:4", "--clear")
    told = bench.command("pick", bench.manifest, "--json").json["picks"]
    assert [(each["id"], each["results"]) for each in told] == [("a", [2]), ("b", [1]), ("c", [1, 2, 4])]
    bench.command("pick", bench.manifest, "a:2", "--clear")
    assert "a" not in picks_of(bench)
    for wrong in (["a:5"], ["a:2", "--reject"], ["x:1"]):
        assert bench.command("pick", bench.manifest, *wrong).code == 2


def test_what_was_rejected_is_made_again_after_its_price_was_shown(bench: Bench) -> None:
    bench.write(3)
    assert bench.run().code == 0
    (before,) = bench.out.glob("job-2.*4")
    content = before.read_bytes()
    bench.command("pick", bench.manifest, "job-2", "--reject")

    asked = bench.command("retry", bench.manifest, "--rejected")
    paid_then = dict(bench.service.ledger.paid)
    stopped = bench.command("retry", bench.manifest, "--rejected", "--yes", "--max-credits", "0.5")
    outcome = bench.run()

    assert asked.code == 2
    assert "another round for 1 job: about" in asked.stderr
    assert "1 done: paid again: about" in asked.stderr
    assert set(paid_then.values()) == {1}
    assert stopped.code == 8, said(stopped)
    assert bench.service.ledger.paid["prompt of job-2"] == 2, "the rejected result was taken for the new one"
    assert outcome.code == 0, said(outcome)
    assert bench.rows("job, state, round") == [
        ("job-1", "done", 1),
        ("job-2", "done", 2),
        ("job-3", "done", 1),
    ]
    assert [path.read_bytes() for path in (bench.out / ".old").glob("job-2.1.*4")] == [content]
    assert picks_of(bench) == {}, "nobody has seen the new one"
    assert sum(bench.service.ledger.paid.values()) == 4


def test_what_is_done_is_made_again_only_where_that_is_said(bench: Bench) -> None:
    bench.write(2)
    assert bench.run().code == 0

    named = bench.command("retry", bench.manifest, "--only", "job-1", "--yes")
    all_of_them = bench.command("retry", bench.manifest, "--done", "--yes")
    again = bench.command("retry", bench.manifest, "--only", "job-1", "--done", "--yes")

    assert (named.code, all_of_them.code, again.code) == (0, 2, 0), said(again)
    assert "job-1 is done: add --done to pay for it again" in named.stderr
    assert "add --only GLOB" in all_of_them.stderr
    assert [bench.service.ledger.paid[f"prompt of job-{number}"] for number in (1, 2)] == [2, 1]
