"""Results that are paid for and odd: what came whole is kept and said, what is missing is told and asked for alone."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.imitation.fixtures import PNG, Bench, StartService, said
from tests.imitation.personality import Personality
from tests.imitation.service import CLIP
from tests.imitation.wire import Answer
from tests.support import Command

REFUSED = Answer(status=403, headers=(("Content-Type", "application/xml"),), body=b"<Error>Expired</Error>")
HURRIED = {"TEST_CLOCK_SPEED": "30"}


def typed(answer: Answer, kind: str, *more: tuple[str, str], **changes: Any) -> Answer:
    """Return an answer with another Content-Type."""
    headers = tuple(pair for pair in answer.headers if pair[0] != "Content-Type")
    return replace(answer, headers=(*headers, ("Content-Type", kind), *more), **changes)


WAV = (
    b"RIFF\x24\xf0\xff\x7fWAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\xf0\xff\x7f"
    + bytes(200)
)
ZIP = b"PK\x03\x04" + bytes(300)
LIST = b"#EXTM3U\n#EXT-X-VERSION:3\n"
MESH = b"glTF\2\0\0\0" + bytes(300)
SOUND = CLIP.replace(b"hdlr\0\0\0\0\0\0\0\0vide", b"hdlr\0\0\0\0\0\0\0\0soun")
SAMPLES = b"\xff\xfb\x90\x00" + bytes(range(1, 200)) * 9
# What comes each time: (twist, file name, words of the warning, how often it is fetched).
KEPT: dict[str, tuple[Callable[[Answer], Answer], str, str, int]] = {
    "junk": (lambda right: replace(right, body=CLIP + b"<!-- ad -->" * 3), "junk.mp4", "not a whole", 2),
    "still": (lambda right: typed(right, "image/png", body=PNG[:-12]), "still.png", "IEND", 2),
    "pack": (lambda right: replace(right, body=ZIP), "pack.zip", "ZIP", 2),
    "list": (
        lambda right: typed(right, "application/vnd.apple.mpegurl", body=LIST),
        "list.m3u8",
        "playlist",
        2,
    ),
    "mesh": (lambda right: replace(right, body=MESH), "mesh.glb", "3D model", 2),
    "shape": (lambda right: typed(right, "model/stl", body=b"\1\2" * 99), "shape.stl", "model/stl", 2),
    "noise": (lambda right: replace(right, body=b"\1\2" * 99), "noise.bin", "its type is not known", 2),
    "data": (lambda right: typed(right, "model/gltf+json", body=b'{"asset": {}}'), "data.gltf", "JSON", 2),
    "short": (lambda right: replace(right, body=CLIP[:-9], unframed=True), "short.mp4", "not a whole", 2),
    "wave": (lambda right: replace(right, body=WAV), "wave.wav", "is audio", 1),
    "sound": (lambda right: replace(right, body=SOUND), "sound.m4a", "is audio", 1),
    "raw": (lambda right: typed(right, "audio/pcm", body=SAMPLES), "raw.pcm", "is audio", 1),
    "plain": (lambda right: typed(right, "text/plain", body=b"la la la"), "plain.txt", "plain text", 7),
    "packed": (
        lambda right: typed(right, "video/mp4", ("Content-Encoding", "gzip"), body=gzip.compress(right.body)),
        "packed.mp4",
        "",
        1,
    ),
    "said-packed": (
        lambda right: typed(right, "video/mp4", ("Content-Encoding", "gzip")),
        "said-packed.mp4",
        "",
        1,
    ),
    "open": (lambda right: replace(right, unframed=True), "open.mp4", "", 1),
    "by-proxy": (lambda right: replace(right, status=203), "by-proxy.mp4", "HTTP 203", 2),
    "created": (lambda right: replace(right, status=201), "created.mp4", "HTTP 201", 2),
    "accepted": (lambda right: replace(right, status=202), "accepted.mp4", "HTTP 202", 7),
    "a-part": (lambda right: replace(right, status=206), "a-part.mp4", "HTTP 206", 2),
    "all-parts": (
        lambda right: replace(
            right,
            status=206,
            headers=(*right.headers, ("Content-Range", f"bytes 0-{len(right.body) - 1}/{len(right.body)}")),
        ),
        "all-parts.mp4",
        "",
        1,
    ),
    "answer": (
        lambda right: typed(right, "application/octet-stream", body=b'{"text": "hello"}'),
        "answer+1.json",
        "JSON",
        7,
    ),
    "words": (lambda right: typed(right, "application/octet-stream", body=b"hello"), "words.txt", "text", 7),
}


def test_what_came_whole_is_kept_under_the_name_of_what_it_is_with_a_warning(bench: Bench) -> None:
    """Fetched once more where it is odd, since the same bytes have to come; told wherever a person looks."""
    service = bench.service
    bench.write([{"id": name} for name in KEPT])
    for name, (twist, *_) in KEPT.items():
        service.rule("result", "twist", answer=twist, times=99, where=service.result_of(f"prompt of {name}"))

    outcome = bench.run(env=HURRIED)
    fetched = Counter(
        service.tasks[row.what].data["prompt"].removeprefix("prompt of ") for row in service.ledger.results
    )
    status = json.loads(bench.command("status", bench.manifest, "--json").stdout)["manifests"][0]
    export = [
        json.loads(line)
        for line in bench.command("export", bench.manifest, "--format", "jsonl").stdout.splitlines()
    ]
    page = (bench.out / "report.html").read_text()
    again = bench.run()

    assert outcome.code == 0, said(outcome)
    assert bench.states() == {"done": len(KEPT)}
    # Where this machine is slow, a hurried clock now and then gives one up that comes a moment later.
    assert all(fetched[name] >= times for name, (_, _, _, times) in KEPT.items()), fetched
    assert sum(fetched.values()) <= sum(times for *_, times in KEPT.values()) + 3
    files = {file for _, file, _, _ in KEPT.values()}
    assert set(bench.results()) == {file for file in files if not file.endswith(".json")}
    assert json.loads((bench.out / "answer+1.json").read_text()) == {"text": "hello"}
    assert (bench.out / "list.m3u8").read_bytes() == LIST
    warnings = dict(bench.rows("j.job, a.warning", "artifacts a JOIN jobs j ON j.id = a.job"))
    odd = {name: words for name, (_, _, words, _) in KEPT.items() if words}
    for name, words in odd.items():
        assert words in warnings[name], name
        beside = json.loads((bench.out / f"{name}.json").read_text())
        assert words in beside["artifacts"][0]["warning"]
        assert words in outcome.stderr
        assert words in page
    assert {name for name, warning in warnings.items() if warning} == set(odd)
    assert bench.rows("host", "result_hosts") == [(f"127.0.0.1:{service.host.port}",)]
    assert {row["job"] for row in export if row["warning"]} == set(odd)
    assert status["warned"] == len(odd)
    assert {each["job"] for each in status["warnings"]} <= set(odd)
    assert "with a warning" in bench.command("status", bench.manifest).stdout
    assert again.code == 0, said(again)
    assert len(service.ledger.results) == sum(fetched.values()), "what is kept is not fetched again"


PARTLY: dict[str, tuple[tuple[int, ...], Answer | str]] = {
    "refused": ((3,), REFUSED),
    "gone": ((1,), Answer(status=404)),
    "empty": ((2,), Answer(body=b"")),
    "page": ((4,), Answer(headers=(("Content-Type", "text/html"),), body=b"<html>busy")),
    "down": ((2,), "reset_before"),
    "large": ((3,), Answer(body=CLIP + bytes(900_000))),
    "two": ((1, 4), REFUSED),
}


def test_of_several_results_those_that_can_be_had_are_delivered_and_the_gap_is_told(
    command: Command, start_service: StartService
) -> None:
    """Under the names of their numbers; the next run asks for the missing ones alone, also when the database is lost."""
    service = start_service(Personality(results=4))
    bench = Bench(command, service)
    prompts = bench.write([{"id": name} for name in PARTLY], limits={"max_result_bytes": "0.5MB"})
    for name, (numbers, trouble) in PARTLY.items():
        where = service.result_of(f"prompt of {name}", *numbers)
        if isinstance(trouble, str):
            service.rule("result", trouble, times=999, where=where)
        else:
            service.rule("result", "answer_before", answer=trouble, times=999, where=where)

    outcome = bench.run(env=HURRIED)
    states, files, parts = bench.states(), bench.results(), bench.parts()
    rows = {job: more for job, *more in bench.rows("job, error_class, error_code, error_message")}
    beside = {name: json.loads((bench.out / f"{name}.json").read_text()) for name in PARTLY}
    asked = Counter(row.path.partition("?")[0] for row in service.ledger.results)
    still = bench.run(env=HURRIED)
    asked_again = Counter(row.path.partition("?")[0] for row in service.ledger.results) - asked
    service.rules.clear()
    for path in bench.database.parent.glob("runner.db*"):
        path.unlink()  # what is there is known again by the sidecars
    after = bench.run()

    assert outcome.code == still.code == 5, said(outcome)
    assert states == {"downloading": len(PARTLY)}
    for name, (numbers, _) in PARTLY.items():
        there = [number for number in range(1, 5) if number not in numbers]
        assert {file for file in files if file.startswith(name)} == {
            f"{name}.mp4" if number == 1 else f"{name}+{number}.mp4" for number in there
        }
        assert [item["index"] for item in beside[name]["artifacts"]] == there
        assert beside[name]["missing"] == list(numbers)
        error_class, error_code, message = rows[name]
        assert (error_class, error_code) == ("stuck", "not_fetched")
        assert all(f"result {number} of 4: " in message for number in numbers)
    assert sum(asked.values()) - sum(asked_again.values()) == 4 * len(PARTLY) - 8, "the others once, in all"
    assert not parts
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)
    assert not any(bench.rows("error_class", where="error_class IS NOT NULL"))


def commands(text: str, before: str) -> list[str]:
    """Return which commands the lines name that say what to type."""
    return [line.removeprefix(before).split()[1] for line in text.splitlines() if line.startswith(before)]


def test_a_place_that_cannot_be_taken_keeps_back_its_own_result_only(bench: Bench, tmp_path: Path) -> None:
    """A link that leads out of the folder, a file where a folder should be."""
    bench.write(
        [{"id": "${to}", "matrix": {"to": ["away", "file", "a", "b"]}, "prompt": "film of ${to}"}],
        output={"name": "${to}/film"},
    )
    bench.out.mkdir(parents=True)
    (bench.out / "away").symlink_to(tmp_path)
    (bench.out / "file").write_text("mine")

    outcome = bench.run()
    states = dict(bench.rows())
    status = bench.command("status", bench.manifest)
    (bench.out / "away").unlink()
    (bench.out / "file").unlink()
    after = bench.run()

    assert outcome.code == 5, said(outcome)
    assert states == {"away": "downloading", "file": "downloading", "a": "done", "b": "done"}
    assert "symlink" in outcome.stderr
    assert "something else is where" in outcome.stderr
    for ways in (commands(outcome.stderr, "next: "), commands(status.stdout, "next       ")):
        assert ways == ["run", "resolve", "retry"], "what costs nothing comes first"
    assert "first mend or move away what keeps it" in outcome.stderr
    assert not list(tmp_path.glob("*.mp4"))
    assert after.code == 0, said(after)
    bench.assert_whole([f"film of {to}" for to in states])


@pytest.mark.slow
def test_slow_results_wait_for_nobody_and_nobody_waits_for_them(
    command: Command, start_service: StartService
) -> None:
    """Twice as many drip as may be fetched at once, and come first; a stop is over in a moment and keeps what came."""
    service = start_service(
        Personality(result_bytes=1_500_000, result_ranges=True, result_chunked=False, task_s=(0.05, 0.05))
    )
    bench = Bench(command, service)
    slow = [{"id": f"slow-{number}"} for number in range(6)]
    bench.write([*slow, *({"id": f"fine-{number}"} for number in range(12))], limits={"downloads": 2})
    for each in slow:
        service.rule(
            "result",
            "twist",
            answer=lambda right: replace(right, piece=20_000, drip_s=0.1),
            times=99,
            where=service.result_of(f"prompt of {each['id']}"),
        )

    process = bench.start(env={"TEST_CLOCK_SPEED": "20"})
    assert process.stderr is not None
    for _ in range(12):
        next(line for line in process.stderr if line.startswith("done       fine"))
    states = dict(bench.rows())
    process.terminate()
    code = process.wait(timeout=5)
    kept = list(bench.out.rglob("*.part.json"))  # what can be gone on with
    service.rules.clear()
    after = bench.run()

    assert {name for name, state in states.items() if state == "done"} >= {f"fine-{n}" for n in range(12)}
    assert code == 143
    assert kept
    assert after.code == 0, said(after)
    bench.assert_whole([f"prompt of {name}" for name in states])


def test_a_half_fetched_result_is_gone_on_with_at_a_fresh_url_elsewhere(
    command: Command, start_service: StartService
) -> None:
    service = start_service(
        Personality(result_bytes=1_500_000, result_ranges=True, result_chunked=False, result_moves=True)
    )
    bench = Bench(command, service)
    prompts = bench.write(1)
    service.rule("result", "twist", answer=lambda right: replace(right, cut_at=900_000))
    service.rule("result", "answer_before", answer=REFUSED)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    asked = service.ledger.results
    assert len({row.path.partition("?")[0] for row in asked}) == 2
    ranges = [dict(row.headers).get("range", "bytes=0-") for row in asked]
    assert ranges[0] == "bytes=0-" != ranges[1] == ranges[2]
    assert asked[-1].status == 206


def test_a_host_that_is_gone_for_good_is_got_round_by_a_fresh_url(bench: Bench) -> None:
    service = bench.service
    prompts = bench.write(1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = b"127.0.0.1:%d" % nobody.getsockname()[1]
    there = b"127.0.0.1:%d" % service.host.port
    service.rule(
        "poll",
        "twist",
        answer=lambda right: replace(right, body=right.body.replace(there, closed)),
        where=lambda _: all(task.status(time.monotonic()) == "succeeded" for task in service.tasks.values()),
    )

    outcome = bench.run(env=HURRIED)

    assert outcome.code == 0, said(outcome)
    assert "submits continue" in outcome.stderr
    bench.assert_whole(prompts)


@pytest.mark.slow
def test_nothing_more_is_submitted_while_results_cannot_be_had_from_here(bench: Bench) -> None:
    """The first result shows it; what is paid comes home once the way is mended, and submits continue."""
    service = bench.service
    prompts = bench.write(20, limits={"in_flight": 2})

    def away(right: Answer) -> Answer:
        return replace(
            right, body=right.body.replace(b"http://127.0.0.1:%d/" % service.host.port, b"https://10.0.0.1/")
        )

    service.rule("poll", "twist", answer=away, times=9_999)
    blocked = bench.run(env=HURRIED)
    paid = sum(service.ledger.paid.values())
    states = bench.states()
    service.rules.clear()
    service.rule("poll", "twist", answer=away, times=3)
    after = bench.run()

    assert blocked.code == 5, said(blocked)
    assert paid <= 8
    assert states["planned"] >= 12
    assert "10.0.0.1" in blocked.stderr
    assert commands(blocked.stderr, "next: ") == ["run", "resolve", "retry"]
    assert "no more jobs were submitted" in blocked.stderr
    assert after.code == 0, said(after)
    assert "submits continue" in after.stderr
    bench.assert_whole(prompts)
