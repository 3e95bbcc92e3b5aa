"""The manifest schema that editors use: it is what the contracts say, and it names the real mistake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.contract import canonical_params, minimal_job
from runner.contract.params_schema import params_schema
from runner.manifest.json_schema import manifest_schema, render
from runner.schemas import load_contracts, read_schema, schemas_dir
from tests.bundled import load_contract
from tests.schemas import of_its_type

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = read_schema("manifest.schema.json")
VALIDATOR = Draft202012Validator(SCHEMA)
HEAD = {"version": 1, "name": "autumn-launch"}


def errors(*jobs: dict[str, Any], **head: Any) -> list[tuple[str, str]]:
    manifest = {**HEAD, **head, "jobs": list(jobs) or [{"id": "a"}]}
    found = [inside for error in VALIDATOR.iter_errors(manifest) for inside in of_its_type(error)]
    return [(error.json_path, error.message) for error in found]


def paths(*jobs: dict[str, Any], **head: Any) -> set[str]:
    return {path for path, _ in errors(*jobs, **head)}


# Every key at once, as YAML 1.2 reads it.
EXAMPLE: dict[str, Any] = {
    "version": 1,
    "name": "autumn-launch",
    "model": "grok-imagine-video",
    "prompt": "${subject}, ${look}, slow push-in",
    "params": {"mode": "normal", "duration": 6, "resolution": "480p", "aspect_ratio": "16:9"},
    "references": ["assets/bottle.png"],
    "vars": {"brand": "Acme"},
    "budget": {"max_credits": 2000, "max_credits_per_job": 20, "max_credits_per_day": 5000},
    "limits": {
        "requests_per_second": "auto",
        "in_flight": "auto",
        "uploads": 4,
        "downloads": 4,
        "job_deadline": "6h",
        "max_result_bytes": "2GB",
    },
    "polling": {"first_s": 2.5, "min_s": 5, "max_s": 60},
    "retry": {"failed_rounds": 0},
    "idempotency": {"resend_within": "1h"},
    "uploads": {"reuse_within": "1h"},
    "output": {"dir": "out/autumn-launch", "name": "${id}"},
    "prices": {"grok-imagine-video": 12, "kling-3-0": [{"params": {"duration": 10}, "credits": 180}]},
    "jobs": [
        {
            "id": "hero",
            "prompt": "A bottle turning in morning light",
            "params": {"duration": 10},
            "references": ["assets/hero.jpg"],
        },
        {
            "id": "${subject}-${look}",
            "matrix": {"subject": ["cat", "dog"], "look": ["cinematic", "anime"]},
            "exclude": [{"subject": "dog", "look": "anime"}],
            "include": [{"subject": "owl", "look": "cinematic"}],
            "repeat": 3,
        },
        {
            "id": "shot-${row.sku}",
            "rows": "shots.csv",
            "prompt": "${row.text}",
            "params": {"duration": "${row.seconds}", "aspect_ratio": "${row.ratio}", "mode": None},
            "references": ["${row.image}"],
        },
        {"id": "file-${file.stem}", "rows": {"glob": "assets/*.png"}, "model": "${model}"},
    ],
}


def test_the_committed_schema_is_what_the_contracts_say() -> None:
    """If this fails: `make schemas`."""
    committed = (schemas_dir() / "manifest.schema.json").read_text(encoding="utf-8")

    assert committed == render(manifest_schema(load_contracts()))


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_example_of_the_design_passes() -> None:
    assert [error.message for error in VALIDATOR.iter_errors(EXAMPLE)] == []


def test_an_aspect_ratio_as_text_passes_and_as_the_number_of_yaml_1_1_does_not() -> None:
    assert errors(model="grok-imagine-video", params={"aspect_ratio": "16:9"}) == []
    assert paths(model="grok-imagine-video", params={"aspect_ratio": 969}) == {"$.params.aspect_ratio"}


@pytest.mark.parametrize("model", list(load_contracts()))
def test_the_smallest_job_of_every_model_passes(model: str) -> None:
    job = minimal_job(load_contract(model))

    assert errors({"id": "a", **job}) == []
    params = job.get("params", {})
    assert list(Draft202012Validator(params_schema(load_contract(model))).iter_errors(params)) == []


def test_a_typo_names_the_real_mistake_and_nothing_else() -> None:
    assert errors(promt="x") == [("$", "'promt' does not match any of the regexes: '^x-'")]
    assert errors({"id": "a", "parms": {}}, model="grok-imagine-video") == [
        ("$.jobs[0]", "Additional properties are not allowed ('parms' was unexpected)")
    ]
    ((path, message),) = errors({"id": "a", "params": {"mode": "nrmal"}}, model="grok-imagine-video")
    assert path == "$.jobs[0].params.mode"
    assert message.startswith("'nrmal' is not one of ['fun', 'normal', 'spicy'")


def test_the_model_of_a_job_governs_its_params_and_the_models_default_the_rest() -> None:
    assert paths(
        {"id": "a", "model": "kling-2-6", "params": {"sound": True, "duration": 5}},
        {"id": "b", "model": "kling-2-6", "params": {"mode": "fun"}},
        {"id": "c", "params": {"sound": True}},
        {"id": "d", "params": {"mode": "fun"}},
        model="grok-imagine-video",
    ) == {"$.jobs[1].params", "$.jobs[2].params"}


def test_without_any_model_in_sight_params_are_not_judged() -> None:
    assert errors({"id": "a", "params": {"x": 1}}) == []
    assert errors({"id": "a", "model": "${row.model}", "params": {"x": 1}}) == []


def test_an_unknown_model_is_refused_once() -> None:
    assert paths(model="grok-video", params={"x": 1}) == {"$.model"}


def test_an_incomplete_contract_takes_unknown_params_but_no_handmade_references() -> None:
    assert errors(model="wan-2-7-video", params={"new": 1}) == []
    assert "False schema does not allow []" in {
        message for _, message in errors(model="wan-2-7-video", params={"referenceMediaItems": []})
    }


def test_a_prompt_over_the_limit_is_refused_unless_it_is_still_to_be_filled_in() -> None:
    assert paths(model="z-image", prompt="x" * 1001) == {"$.prompt"}
    assert errors(model="z-image", prompt="${a}" * 300) == []
    assert paths(model="z-image", prompt="$${a}" + "x" * 1001) == {"$.prompt"}


@pytest.mark.parametrize(
    ("head", "path"),
    [
        ({"version": 2}, "$.version"),
        ({"version": "1"}, "$.version"),
        ({"name": "Autumn"}, "$.name"),
        ({"name": "-a"}, "$.name"),
        ({"name": "a" * 64}, "$.name"),
        ({"model": 5}, "$.model"),
        ({"prompt": ["x"]}, "$.prompt"),
        ({"params": "x"}, "$.params"),
        ({"references": "a.png"}, "$.references"),
        ({"references": [1]}, "$.references[0]"),
        ({"vars": {"a b": 1}}, "$.vars"),
        ({"vars": {"a": [1]}}, "$.vars.a"),
        ({"budget": {"max_credits": -1}}, "$.budget.max_credits"),
        ({"budget": {"max_credits": None}}, "$.budget.max_credits"),
        ({"budget": {"max": 1}}, "$.budget"),
        ({"limits": {"requests_per_second": 0}}, "$.limits.requests_per_second"),
        ({"limits": {"requests_per_second": "fast"}}, "$.limits.requests_per_second"),
        ({"limits": {"in_flight": 1.5}}, "$.limits.in_flight"),
        ({"limits": {"uploads": 0}}, "$.limits.uploads"),
        ({"limits": {"job_deadline": 6}}, "$.limits.job_deadline"),
        ({"limits": {"job_deadline": "6 h"}}, "$.limits.job_deadline"),
        ({"limits": {"max_result_bytes": "2 gigabytes"}}, "$.limits.max_result_bytes"),
        ({"polling": {"min_s": 0.01}}, "$.polling.min_s"),
        ({"retry": {"failed_rounds": -1}}, "$.retry.failed_rounds"),
        ({"idempotency": {"resend_within": "1w"}}, "$.idempotency.resend_within"),
        ({"uploads": {"reuse_within": True}}, "$.uploads.reuse_within"),
        ({"output": {"dir": ""}}, "$.output.dir"),
        ({"prices": {"grok-imagine-video": -1}}, "$.prices['grok-imagine-video']"),
        ({"prices": {"grok": 1}}, "$.prices"),
        ({"prices": {"kling-3-0": [{"params": {}}]}}, "$.prices['kling-3-0'][0]"),
        ({"surprise": 1}, "$"),
    ],
    ids=str,
)
def test_a_mistake_at_the_top_is_found_at_its_place(head: dict[str, Any], path: str) -> None:
    assert paths(**head) == {path}


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ({}, "$.jobs[0]"),
        ({"id": 5}, "$.jobs[0].id"),
        ({"id": ""}, "$.jobs[0].id"),
        ({"id": "a", "matrix": {}}, "$.jobs[0].matrix"),
        ({"id": "a", "matrix": {"x": []}}, "$.jobs[0].matrix.x"),
        ({"id": "a", "matrix": {"x": "y"}}, "$.jobs[0].matrix.x"),
        ({"id": "a", "exclude": [{"x": 1}]}, "$.jobs[0]"),
        ({"id": "a", "rows": 5}, "$.jobs[0].rows"),
        ({"id": "a", "rows": {"globb": "x"}}, "$.jobs[0].rows"),
        ({"id": "a", "repeat": 0}, "$.jobs[0].repeat"),
        ({"id": "a", "repeat": 1001}, "$.jobs[0].repeat"),
        ({"id": "a", "budget": {}}, "$.jobs[0]"),
        ("a", "$.jobs[0]"),
    ],
    ids=str,
)
def test_a_mistake_in_a_job_is_found_at_its_place(job: Any, path: str) -> None:
    assert paths(job) == {path}


def test_jobs_are_needed() -> None:
    assert not VALIDATOR.is_valid({**HEAD, "jobs": []})
    assert not VALIDATOR.is_valid(HEAD)


@pytest.mark.parametrize("model", list(load_contracts()))
def test_the_schema_and_the_rules_agree_on_every_param(model: str) -> None:
    """A value either passes both or neither, for values as YAML gives them; fractional steps aside."""
    contract = load_contract(model)
    validator = Draft202012Validator(SCHEMA["$defs"][f"model:{model}"])
    base = minimal_job(contract).get("params", {})
    assert isinstance(base, dict)
    values: list[object] = [
        "", "x", "true", "0", "6", "6.5", "-1", "16:9", True, False, 0, 1, 5, 6, 10, 0.5, 6.5, -1, 10**6,
        1e12, [], ["x"], {"a": 1}, [{"voice": "Adam", "text": "x"}],
    ]  # fmt: skip
    for key, param in contract.params.items():
        whole = param.step is None or float(param.step).is_integer()
        for value in [*values, *(param.options or ())]:
            found = [error.message for error in validator.iter_errors({"params": {key: value}})]
            problems = canonical_params(contract, {**base, key: value})[1]
            if isinstance(value, str) and param.type == "number":
                # A schema cannot see whether a number written as text is in range.
                assert not found or problems, (key, value)
            elif whole or not problems or problems[0].code != "off-step":
                assert bool(found) == bool(problems), (key, value, found, problems)


@pytest.mark.parametrize("model", list(load_contracts()))
def test_what_the_rules_let_through_passes_the_strict_schema(model: str) -> None:
    contract = load_contract(model)
    validator = Draft202012Validator(params_schema(contract))
    base = minimal_job(contract).get("params", {})
    assert isinstance(base, dict)
    for key, param in contract.params.items():
        for value in [*(param.options or ()), 6, 6.0, "6", "0.5", True, param.default]:
            canonical, problems = canonical_params(contract, {**base, key: value})
            if not problems:
                assert list(validator.iter_errors(canonical)) == [], (key, value)


def test_a_schema_of_other_contracts_knows_only_them() -> None:
    schema = manifest_schema({contract.id: contract for contract in [load_contract("z-image")]})

    assert Draft202012Validator(schema).is_valid({**HEAD, "model": "z-image", "jobs": [{"id": "a"}]})
    assert not Draft202012Validator(schema).is_valid({**HEAD, "model": "sora-2", "jobs": [{"id": "a"}]})


def derive(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.schemas", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_behind_make_schemas_writes_and_checks(tmp_path: Path) -> None:
    """In a copy, where a price changes: --check says so, --write mends it, and the rest is untouched."""
    for folder in ("runner", "schemas"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("sandbox", "__pycache__")
        )
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "schemas.py", tmp_path / "tests")
    file = tmp_path / "schemas" / "contracts" / "z-image.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"base_credits": 1,', '"base_credits": 2,'))

    before = derive(tmp_path, "--check")
    written = derive(tmp_path, "--write")
    after = derive(tmp_path, "--check")

    assert (before.returncode, written.returncode, after.returncode) == (1, 0, 0)
    assert "make schemas" in before.stderr
    assert "Z-Image: image, from 2 credits" in (tmp_path / "schemas" / "manifest.schema.json").read_text(
        "utf-8"
    )
    assert derive(tmp_path).returncode == 2
