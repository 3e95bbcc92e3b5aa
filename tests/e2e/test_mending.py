"""`mend: true`, from a manifest to the service: what is planned is what is sent."""

from __future__ import annotations

import json

import pytest

from tests.drawn import encoded, turned
from tests.imitation.fixtures import Bench, said


def write(bench: Bench, name: str, data: bytes) -> str:
    (bench.manifest.parent / name).write_bytes(data)
    return name


def test_the_copy_is_planned_uploaded_and_stays_when_the_run_goes_on(bench: Bench) -> None:
    write(bench, "a.jpg", turned(6))
    write(bench, "b.jpg", encoded("JPEG"))
    jobs = [{"id": "a", "references": ["a.jpg"]}, {"id": "b", "references": ["b.jpg"]}]
    prompts = bench.write(jobs, mend=True)

    plan = bench.command("plan", bench.manifest, "--json").json
    words = bench.command("plan", bench.manifest)
    outcome = bench.run()
    again = bench.run()

    (copy,) = plan["mended"]
    assert copy["path"] == "a.jpg"
    assert copy["file"].startswith(str(bench.command.workspace / "state" / "mended"))
    assert "mended     1 picture: the copies in" in words.stdout
    assert (outcome.code, again.code) == (0, 0), said(outcome) + said(again)
    uploaded = {row.sha256 for row in bench.service.ledger.uploads}
    assert copy["sha256"] in uploaded
    assert len(uploaded) == 2
    assert len(bench.service.ledger.posts) == 2
    bench.assert_whole(prompts)


def test_a_reference_says_it_for_itself(bench: Bench) -> None:
    write(bench, "a.jpg", turned(6))
    bench.write(
        [
            {"id": "a", "references": [{"file": "a.jpg", "mend": True}]},
            {"id": "b", "references": ["a.jpg"]},
        ]
    )

    plan = bench.command("plan", bench.manifest, "--json").json
    bench.write([{"id": "a", "references": [{"file": "a.jpg", "mend": False}]}], mend=True)
    without = bench.command("plan", bench.manifest, "--json").json

    assert [item["path"] for item in plan["mended"]] == ["a.jpg"]
    assert [problem["code"] for problem in plan["warnings"]] == ["picture-turned"]
    assert plan["warnings"][0]["job"] == "b"
    assert without["mended"] == []


def test_a_repaired_jpeg_is_sent_with_a_warning(bench: Bench) -> None:
    write(bench, "a.jpg", encoded("JPEG")[:-2])
    bench.write([{"id": "a", "references": ["a.jpg"]}])
    refused = bench.run()
    bench.write([{"id": "a", "references": ["a.jpg"]}], mend=True)

    outcome = bench.run()

    assert refused.code == 2
    assert "`mend: true`" in refused.stderr
    assert outcome.code == 0, said(outcome)
    assert "a repaired copy is sent" in outcome.stderr


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ({"mend": True}, "is neither or both"),
        ({"file": "a.jpg", "mended": True}, "did you mean `mend`?"),
        ({"file": "a.jpg", "mend": "yes"}, "mend takes true or false"),
        ({"file": ""}, "file is empty"),
        (["a.jpg"], "a reference is the path of a file, not a list"),
    ],
)
def test_what_is_written_wrong_is_said(bench: Bench, reference: object, what: str) -> None:
    write(bench, "a.jpg", turned(6))
    bench.write([{"id": "a", "references": [reference]}])

    told = bench.command("validate", bench.manifest, "--json")

    assert told.code == 2
    found = json.loads(told.stdout)["manifests"][0]["problems"]
    problems = [problem for problem in found if problem["severity"] == "error"]
    assert len(problems) == 1
    assert what in f"{problems[0]['what']}; {problems[0]['hint']}"
