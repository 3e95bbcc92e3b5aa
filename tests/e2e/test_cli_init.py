"""`init`: what it writes validates, plans and runs as it is."""

from __future__ import annotations

import pytest

from runner.api.init import starter_manifest
from tests.support import HURRIED, HURRIED_TASKS, Command


def test_the_starter_validates_plans_and_runs_as_it_is(command: Command) -> None:
    wrote = command("init", "my ads/Spring Ads.yaml")
    path = wrote.stdout.strip()
    plan = command("plan", path, "--json").json
    run = command("run", path, "--sandbox", *HURRIED_TASKS, env=HURRIED)
    again = command("init", path)

    assert (wrote.code, run.code, again.code) == (0, 0, 2)
    assert (plan["manifest"], plan["summary"]["new"], plan["warnings"]) == ("spring-ads", 5, [])
    assert "rivya-batch run 'my ads/Spring Ads.yaml' --sandbox" in wrote.stderr
    assert "--force" in again.stderr


def test_a_starter_of_every_model_is_valid(command: Command) -> None:
    models = [model["id"] for model in command("models", "--json").json["models"]]
    for model in models:
        text = starter_manifest(command.workspace / f"{model}.yaml", model)
        command.write(f"{model}.yaml", text)

    checked = command("validate", *(f"{model}.yaml" for model in models), "--json")

    assert checked.code == 0
    assert [(one["jobs"], one["warnings"]) for one in checked.json["manifests"]] == [(5, 0)] * len(models)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Autumn launch", "autumn-launch"), ("Große Öfen", "grosse-ofen"), ("日本", "my-batch")],
)
def test_the_folder_names_a_manifest_that_is_called_manifest(
    command: Command, folder: str, name: str
) -> None:
    (command.workspace / folder).mkdir()

    command("init", cwd=command.workspace / folder)

    text = (command.workspace / folder / "manifest.yaml").read_text(encoding="utf-8")
    assert f"\nname: {name} " in text


def test_credits_shows_what_it_knows_before_it_says_that_the_service_is_away(command: Command) -> None:
    command("init", "m.yaml")
    command("run", "m.yaml", "--sandbox", "--limit", "1", *HURRIED_TASKS, env=HURRIED)
    away = {"RIVYA_BASE_URL": "http://127.0.0.1:9", "RIVYA_API_KEY": "rvya_sk_never_used"}

    known = command("credits", "--sandbox")
    outcome = command("credits", "--state", "state/sandbox.db", env=away)

    assert (known.code, outcome.code) == (0, 5)
    assert outcome.stdout == known.stdout != ""
    assert "balance" in outcome.stderr


@pytest.mark.slow
def test_a_table_is_planned_with_prices_after_two_commands(command: Command) -> None:
    header = "Artikel-Nr;Beschreibung;Sekunden;Format;;"
    lines = [
        header,
        *(f"A-{n};Große Flasche {n}, süß;{6 + n % 3};16:9;;" for n in range(4)),
        header,
        ";;;;;",
        ";;;;;",
    ]
    lines[2] = lines[2].replace("Große Flasche 1, süß", "#REF!")
    table = command.workspace / "Export Herbst.csv"
    table.write_bytes("\r\n".join(lines).encode("cp1252"))

    wrote = command("init", "--from", table.name)
    refused = command("plan", wrote.stdout.strip())
    table.write_bytes("\r\n".join(lines[:5] + lines[6:]).encode("cp1252"))
    plan = command("plan", wrote.stdout.strip(), "--json")
    run = command("run", wrote.stdout.strip(), "--sandbox", *HURRIED_TASKS, env=HURRIED)

    assert (wrote.code, wrote.stdout.strip(), refused.code, plan.code, run.code) == (
        0,
        "Export Herbst.yaml",
        2,
        0,
        0,
    )
    assert "Export Herbst.csv:6:1: this row is the header again" in wrote.stderr
    assert "is `#REF!`" in wrote.stderr
    assert (plan.json["summary"]["new"], plan.json["credits"]["to_spend"] > 0) == (4, True)
    assert [job["id"] for job in plan.json["jobs"]] == ["A-0", "A-1", "A-2", "A-3"]


def test_a_table_is_never_overwritten_by_its_manifest(command: Command) -> None:
    command.write("shots.yaml", "- {id: a, prompt: a cat}\n")

    refused = command("init", "--from", "shots.yaml", "--force")
    wrote = command("init", "--from", "shots.yaml", "m/shots.yaml")

    assert (refused.code, wrote.code) == (2, 0)
    assert "is the table itself" in refused.stderr
    assert command("plan", "m/shots.yaml", "--json").json["summary"]["new"] == 1
