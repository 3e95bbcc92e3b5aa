"""The schema decides: what it says is what a manifest may say, with no code in between."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from runner.contract import Contract, contract_from_json
from runner.contract.judging import Judge
from runner.manifest import open_manifest
from runner.manifest.json_schema import manifest_schema
from runner.manifest.yaml12 import read_yaml
from runner.model import ModelId
from runner.schemas import load_contracts, read_schema, schemas_dir
from tests.bundled import load_contract
from tests.manifest_reading import HEAD, Pictures, load
from tests.schemas import of_its_type
from tests.unit.test_manifest_schema import BAD_HEADS, BAD_JOBS, GOOD_HEADS, GOOD_JOBS, with_head

SCHEMA = read_schema("manifest.schema.json")
TEXTS = [
    *map(with_head, [*GOOD_HEADS, *BAD_HEADS]),
    *(f"{HEAD}jobs:\n  - {job}\n  - {{id: z}}\n" for job in [*GOOD_JOBS, *BAD_JOBS]),
    "version: 1\nname: t\njobs: [{id: a, params: {seed: 1}}, {id: b, model: sora-2, params: {seed: 1}}]\n",
]


def test_what_is_quicker_says_the_same_as_the_library_alone() -> None:
    """The keywords we exchange in the library's validator, on every manifest that the other tests judge."""
    judge, plain = Judge(SCHEMA), Draft202012Validator(SCHEMA)
    for text in TEXTS:
        document = read_yaml(text, file="m.yaml").value

        ours = {(refusal.keyword, json.dumps(refusal.value)) for refusal in judge.refusals(document)}
        theirs = {
            (inside.validator or "", json.dumps(inside.instance))
            for error in plain.iter_errors(document)
            for inside in of_its_type(error)
        }

        assert ours == theirs, text


def edited(model: str, key: str, **change: object) -> dict[ModelId, Contract]:
    """Return the bundled contracts with one param of one model changed in its JSON file's terms."""
    data = json.loads((schemas_dir() / "contracts" / f"{model}.json").read_text("utf-8"))
    for param in data["params"]:
        if param["key"] == key:
            param.update(change)
    return {**load_contracts(), ModelId(model): contract_from_json(data)}


@pytest.mark.parametrize(
    ("key", "change", "written"),
    [
        ("mode", {"options": ["fun", "normal", "spicy", "noir"]}, "mode: noir"),
        ("duration", {"max": 60}, "duration: 45"),
        ("resolution", {"options": None}, "resolution: 8k"),
    ],
)
def test_a_changed_contract_alone_changes_what_is_accepted(
    tmp_path: Path, key: str, change: dict[str, object], written: str
) -> None:
    (tmp_path / "m.yaml").write_text(HEAD + f"jobs: [{{id: a, params: {{{written}}}}}]\n")
    contracts = edited("grok-imagine-video", key, **change)

    before = open_manifest(tmp_path / "m.yaml", contracts=load_contracts(), references=Pictures())
    after = open_manifest(tmp_path / "m.yaml", contracts=contracts, references=Pictures())

    assert (list(before.jobs()), before.errors) == ([], 1)
    assert ([job.id for job in after.jobs()], after.problems) == (["a"], [])


def test_a_model_that_only_a_changed_catalogue_knows_may_be_named(tmp_path: Path) -> None:
    new = replace(load_contract("z-image"), id=ModelId("z-image-2"))
    text = "version: 1\nname: t\nmodel: z-image-2\nprompt: x\njobs: [{id: a}]\n"
    (tmp_path / "m.yaml").write_text(text)

    known = open_manifest(tmp_path / "m.yaml", contracts={new.id: new}, references=Pictures())

    assert ([job.model for job in known.jobs()], known.problems) == (["z-image-2"], [])
    assert Draft202012Validator(manifest_schema({new.id: new})).is_valid(read_yaml(text, file="m").value)
    assert [problem.code for problem in load(tmp_path, text).problems] == ["unknown-model"]


def test_a_rule_of_the_schema_that_has_no_words_yet_refuses_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stricter = json.loads(json.dumps(SCHEMA))
    stricter["properties"]["vars"]["maxProperties"] = 1
    monkeypatch.setattr("runner.manifest.json_schema.read_schema", lambda _: stricter)

    problem = load(tmp_path, HEAD + "vars: {a: 1, b: 2}\njobs: [{id: a}]\n").only("refused")

    assert (problem.place.line, problem.place.column) == (5, 7)
    assert "`vars`" in problem.what
    assert "maxProperties: 1" in problem.hint


def test_a_misspelt_model_does_not_hide_the_other_mistakes(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: t\nmodel: grok-imagine-vid\nprompt: x\n"
        "jobs:\n  - {id: a, params: {resolution: 1080p, aspect_ratio: 16:10, seed: 1}}\n"
        "  - {id: b, model: z-imge, params: {duration: 6}}\n"
    )

    read = load(tmp_path, text)

    assert sorted((problem.place.line, problem.code) for problem in read.problems) == [
        (3, "unknown-model"),
        (6, "not-an-option"),
        (6, "not-an-option"),
        (6, "unknown-param"),
        (7, "unknown-model"),
        (7, "unknown-param"),
    ]
    assert read.jobs == []


PROGRAM = """
import sys
from pathlib import Path
from runner.api.plan import make_plan
from runner.api.manifests.opened import read_manifest
from runner.store.sqlite import StateFile
from runner.store import manifests, staging

path = Path(sys.argv[1])
with_file = StateFile.open(path.parent / "state.db")
opened = read_manifest(path, state=str(path.parent / "state.db"), sandbox=False, file=with_file)
plan = make_plan(opened, with_file, base_url="https://rivya.ai", now_s=0.0)
with with_file.transaction() as conn:
    manifests.bind(conn, name=plan.name, path=str(path), base_url="https://rivya.ai", key12="k", output_dir="o", now="n")
    staging.apply(conn, plan.name, "2026-01-01T00:00:00Z", source=plan.source)
print(plan.name, "jsonschema" in sys.modules)
"""


def test_a_manifest_that_is_as_it_was_is_taken_up_without_jsonschema(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(HEAD + "jobs: [{id: a}]\n")

    said = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "m.yaml")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]

    assert said == [["test", "True"], ["test", "False"]]
