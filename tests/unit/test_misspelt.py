"""A misspelt key hides no other mistake: what stands under it is checked as what is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.manifest.json_schema import schema_of_manifests
from runner.manifest.misspelt import JOB_KEYS, TOP_KEYS
from runner.schemas import load_contracts
from tests.manifest_reading import HEAD, load


def test_the_keys_are_those_of_the_schema() -> None:
    schema = schema_of_manifests(load_contracts())

    assert {*schema["properties"]} == TOP_KEYS
    assert {*schema["$defs"]["job"]["properties"]} == JOB_KEYS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("param: {duration: 99}\njobs:\n  - {id: a}\n", ["unknown-key 5:1", "out-of-range 5:19"]),
        ("budgets: {max_credit: 9}\njobs:\n  - {id: a}\n", ["unknown-key 5:1", "unknown-key 5:11"]),
        ("jobs:\n  - {id: a, promt: ' '}\n", ["unknown-key 6:13", "blank-prompt 6:20"]),
        ("jobs:\n  - {id: a, repeats: three}\n", ["unknown-key 6:13", "wrong-type 6:22"]),
        (
            "jobs:\n  - {id: a, refrences: [missing.png]}\n",
            ["unknown-key 6:13", "reference-missing 6:25"],
        ),
        (
            "jobs:\n  - {id: a, params: {resolutoin: 4k}}\n",
            ["unknown-param 6:22", "not-an-option 6:34"],
        ),
        ("job:\n  - {id: a, params: {duration: 99}}\n", ["unknown-key 5:1", "out-of-range 6:32"]),
        # A key that is there is not replaced; a param beside `params:` is not a misspelt `model`.
        ("jobs:\n  - {id: a, prompt: x, promt: ' '}\n", ["unknown-key 6:24"]),
        ("jobs:\n  - {id: a, mode: fun}\n", ["unknown-key 6:13"]),
    ],
)
def test_what_stands_under_a_misspelt_key_is_checked_too(tmp_path: Path, text: str, told: list[str]) -> None:
    loaded = load(tmp_path, HEAD + text)

    found = [f"{each.code} {each.place.line}:{each.place.column}" for each in loaded.problems]
    assert found == told
    assert len(loaded.errors) == len(told)


def test_a_job_with_a_misspelt_key_is_left_out_and_the_others_are_not(tmp_path: Path) -> None:
    shared = "x-p: &p {duratoin: 8}\njobs:\n  - {id: a, params: *p}\n  - {id: b, params: {duration: 8}}\n"

    loaded = load(tmp_path, HEAD + shared)

    assert loaded.ids == ["b"]
    assert loaded.only("unknown-param").job == "a"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{id: a, image: a.png}", "write `references: [a.png]`"),
        ("{id: a, count: 4}", "for several takes write `repeat: 3`"),
        ("{id: a, duration: 8}", "write `duration` under `params:`"),
        (
            "{id: a, prompt: [x, y]}",
            'for a job of each write `matrix: {text: […]}`, `prompt: "${text}"`, and ${text} in the id',
        ),
    ],
)
def test_what_is_written_in_other_programs_is_answered_with_our_key(
    tmp_path: Path, text: str, hint: str
) -> None:
    [problem] = load(tmp_path, HEAD + f"jobs:\n  - {text}\n").problems

    assert problem.hint == hint
