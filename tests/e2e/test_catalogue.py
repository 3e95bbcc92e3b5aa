"""What a workspace knows of models: taken over from the service or a page, it decides what manifests may say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imitation.fixtures import said
from tests.support import ROOT, Command, Sandbox

PAGE = ROOT / "tests" / "fixtures" / "pages" / "tall-tales-1.html"


def manifest(command: Command, model: str, params: str = "{}") -> Path:
    text = f"version: 1\nname: tales\nmodel: {model}\nprompt: x\nparams: {params}\njobs: [{{id: a}}]\n"
    return command.write("tales.yaml", text)


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """Those of the service: two have changed since."""
    folder = tmp_path / "contracts"
    shutil.copytree(ROOT / "schemas" / "contracts", folder)
    for model, change in (
        ("z-image", {"api_status": "coming_soon"}),
        ("veo3-1-lite", {"api_status": "studio_only"}),
        ("grok-imagine-video", {"base_credits": 15}),
    ):
        path = folder / f"{model}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder


@pytest.fixture
def sandbox(tmp_path: Path, contracts: Path) -> Iterator[Sandbox]:
    running = Sandbox.start("--contracts", str(contracts), state=tmp_path / "service.db")
    yield running
    running.close()


def test_a_saved_page_makes_a_model_that_manifests_and_editors_know(command: Command) -> None:
    path = manifest(command, "tall-tales-1", "{mood: wild, seconds: 6}")
    assert command("validate", path).code == 2

    outcome = command("models", "import", PAGE, "--json")

    assert outcome.code == 0, said(outcome)
    assert outcome.json["touched"] == {str(path): ["tall-tales-1"]}
    assert command("validate", path).code == 0
    wrong = command("validate", manifest(command, "tall-tales-1", "{mood: wild, seconds: 7}"))
    assert (wrong.code, "seconds" in said(wrong)) == (2, True)
    schema = Path(outcome.json["schema"]).read_text()
    assert json.loads(schema) == command("schema").json
    assert "tall-tales-1" in schema
    listed = command("models")
    assert "tall-tales-1" in listed.stdout
    assert "mood" in command("models", "tall-tales-1").stdout
    assert command("models", "tall-tales-1", "--json").json["base_credits"] == 12


def test_a_synced_list_says_what_changed_and_whom_that_touches(command: Command, sandbox: Sandbox) -> None:
    command.use(sandbox)
    path = manifest(command, "z-image")
    assert command("validate", path).code == 0

    first = command("models", "sync")
    again = command("models", "sync", "--json")

    assert first.code == 0, said(first)
    assert "z-image: api_status was" in first.stdout
    assert "grok-imagine-video: base_credits was 10, is now 15" in first.stdout
    assert "touches     tales.yaml: z-image" in first.stdout
    assert (again.json["changed"], again.json["touched"]) == ([], {})
    for model, reason in (("z-image", "coming_soon"), ("veo3-1-lite", "studio_only")):
        refused = command("validate", manifest(command, model))
        assert refused.code == 2, said(refused)
        assert reason in said(refused)
        assert "the API cannot run it as a job" in said(refused)
    assert "(coming_soon: not for jobs)" in command("models").stdout


def test_what_was_imported_outlives_a_sync(command: Command, sandbox: Sandbox) -> None:
    command.use(sandbox)
    assert command("models", "import", PAGE).code == 0

    assert command("models", "sync").code == 0

    assert command("validate", manifest(command, "tall-tales-1", "{mood: calm}")).code == 0


def test_json_is_imported_too_and_the_same_changes_nothing(command: Command) -> None:
    contract = ROOT / "schemas" / "contracts" / "grok-imagine-video.json"

    outcome = command("models", "import", contract, "--json")

    assert outcome.code == 0, said(outcome)
    assert (outcome.json["differences"], outcome.json["changed"]) == ([], [])


@pytest.mark.parametrize("text", ["", "no page", "[]", '{"data": []}', "\x00\xff"])
def test_a_file_that_is_neither_is_bad_usage(command: Command, text: str) -> None:
    path = command.write("page.txt", text)

    outcome = command("models", "import", path)

    assert outcome.code == 2, said(outcome)
    assert not (command.workspace / "state" / "models.json").exists()


def test_a_kept_list_that_is_damaged_is_said_and_written_anew(command: Command) -> None:
    command.write("state/models.json", '{"imported": 3}')
    assert command("models").code == 2

    command.write("state/models.json", "{}")
    assert "models sync" in said(command("validate", manifest(command, "z-image")))
