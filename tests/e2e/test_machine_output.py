"""What programs read from the command agrees with its committed schemas, and adds up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from runner.schemas import read_schema
from tests.support import HURRIED, HURRIED_TASKS, Command
from tests.warm import SPEED


def check(schema: str, document: Any) -> None:
    Draft202012Validator(read_schema(schema)).validate(document)


def test_a_plan_agrees_with_its_schema_before_and_after_a_run(command: Command, examples: Path) -> None:
    manifest = examples / "01-first-steps.yaml"
    before = command("plan", manifest, "--sandbox", "--json").json
    assert command("run", manifest, "--sandbox", *HURRIED_TASKS, env=HURRIED).code == 0
    text = manifest.read_text(encoding="utf-8").replace("id: hero", "id: heroine", 1)
    manifest.write_text(text, encoding="utf-8")
    after = command("plan", manifest, "--sandbox", "--json").json

    for plan in (before, after):
        check("plan.schema.json", plan)
        counts = dict(plan["summary"])
        total = counts.pop("total")
        assert total == sum(counts.values()) == len(plan["jobs"])
        assert plan["credits"]["to_spend"] == sum(job["credits"] for job in plan["jobs"])
    assert before["summary"]["new"] == before["summary"]["total"] == 7
    assert before["credits"]["basis"] == "listed"
    assert (after["summary"]["done"], after["summary"]["renamed"]) == (6, 1)
    assert (after["credits"]["to_spend"], after["credits"]["spent"], after["credits"]["basis"]) == (
        0,
        70,
        None,
    )


def test_the_events_of_a_run_agree_with_their_schema(command: Command, examples: Path) -> None:
    flags = "--faults flaky --seed 3 --duration 0.1:0.4"
    manifest = examples / "01-first-steps.yaml"

    outcome = command("run", manifest, "--sandbox", "--json", "--sandbox-options", flags, env={SPEED: "25"})

    events = outcome.events
    for event in events:
        check("events.schema.json", event)
    assert events[-1]["type"] == "summary"
    assert events[-1]["exit_code"] == outcome.code == 0
    assert sum(event["type"] == "done" for event in events) == events[-1]["counts"]["done"] == 7


def test_an_error_is_an_object_too(command: Command) -> None:
    path = command.write("wrong.yaml", "version: 1\nname: x\njobs:\n  - id: a\n    promt: hello\n")

    for arguments in (("plan", path), ("run", path, "--sandbox")):
        outcome = command(*arguments, "--json")
        assert outcome.code == 2
        assert outcome.json["type"] == "error"
        assert any("prompt" in problem["hint"] for problem in outcome.json["problems"])
        assert all(
            {"file", "line", "column", "what"} <= problem.keys() for problem in outcome.json["problems"]
        )
