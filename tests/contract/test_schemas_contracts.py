"""The bundled contracts keep to their schema, and the schema refuses what a slip of the hand would make."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.contract import contract_from_json
from runner.schemas import load_contracts, read_schema, schemas_dir
from tests.bundled import load_contract

FILES = sorted((schemas_dir() / "contracts").glob("*.json"))
SCHEMA = read_schema("contract.schema.json")
VALIDATOR = Draft202012Validator(SCHEMA)


def contract(model: str = "grok-imagine-video") -> dict[str, Any]:
    return copy.deepcopy(read_schema(f"contracts/{model}.json"))


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_all_fifty_two_models_are_here() -> None:
    assert len(FILES) == 52
    assert [file.stem for file in FILES] == list(load_contracts())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_contract_keeps_to_the_schema(file: Any) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))

    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert document["id"] == file.stem
    assert contract_from_json(document) == load_contract(file.stem)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_contract_agrees_with_itself(file: Any) -> None:
    """What a schema cannot say: defaults are options or in range, keys are unique, kinds match the table."""
    document = json.loads(file.read_text(encoding="utf-8"))
    keys = [param["key"] for param in document["params"]]
    assert len(keys) == len(set(keys))
    for param in document["params"]:
        default = param["default"]
        if param["type"] == "select" and default is not None:
            assert default in param["options"]
        if param["type"] == "number" and default is not None:
            assert param["min"] <= default <= param["max"]
        if param["min"] is not None and param["max"] is not None:
            assert param["min"] < param["max"]
        if param["type"] == "select" and param["options"] is None:
            assert not document["complete"]
    uploads = document["uploads"]
    if uploads["max_files"] == 0:
        assert (uploads["kinds"], document["file_kinds"]) == ([], [])
    if uploads["kinds"]:
        assert document["file_kinds"] == [kind["kind"] for kind in uploads["kinds"]]
    if document["complete"]:
        assert uploads["max_files"] is not None
        assert all(kind["max_mb"] and kind["mime"] for kind in uploads["kinds"])


def test_the_flagship_is_word_for_word_what_its_page_says() -> None:
    """The page's own numbers, typed again from the page, so that a slip in either place shows."""
    rows = [
        (param["key"], param["type"], param["required"], param["default"], param["options"])
        for param in contract()["params"]
    ]

    assert rows == [
        ("mode", "select", False, "normal", ["fun", "normal", "spicy"]),
        ("duration", "number", False, 6, None),
        ("resolution", "select", False, "480p", ["480p", "720p"]),
        ("aspect_ratio", "select", False, "2:3", ["1:1", "16:9", "9:16", "2:3", "3:2"]),
    ]
    assert contract()["uploads"]["kinds"] == [
        {"kind": "image", "max_mb": 10, "mime": ["image/jpeg", "image/png", "image/webp"]}
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["id"], "Grok Imagine"),
        (["category"], "Video"),
        (["runtime"], None),
        (["base_credits"], 0),
        (["base_credits"], "10"),
        (["billing_type"], "fixed"),
        (["max_prompt_length"], 0),
        (["api_status"], "maybe"),
        (["supported_api_inputs"], ["text", "text"]),
        (["source"], "http://rivya.ai/x"),
        (["surprise"], 1),
        (["params", 0, "type"], "enum"),
        (["params", 0, "options"], ["a", "a"]),
        (["params", 0, "options"], [1]),
        (["params", 0, "options"], []),
        (["params", 0, "min"], 1),
        (["params", 0, "default"], 1),
        (["params", 0, "surprise"], 1),
        (["params", 0, "items"], {"type": "object", "required": []}),
        (["params", 1, "default"], "6"),
        (["params", 1, "options"], ["6"]),
        (["params", 1, "step"], 0),
        (["uploads", "max_files"], -1),
        (["uploads", "kinds", 0, "kind"], "pdf"),
        (["uploads", "kinds", 0, "mime"], []),
        (["uploads", "kinds", 0, "max_mb"], 0),
        (["uploads", "combinations"], [{}]),
        (["complete"], None),
    ],
    ids=lambda part: ".".join(map(str, part)) if isinstance(part, list) else json.dumps(part),
)
def test_a_slip_of_the_hand_is_refused(path: list[str | int], value: object) -> None:
    broken = contract()
    place: Any = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    assert not VALIDATOR.is_valid(broken)


@pytest.mark.parametrize("key", SCHEMA["required"])
def test_a_missing_key_is_refused(key: str) -> None:
    broken = contract()
    del broken[key]

    assert not VALIDATOR.is_valid(broken)
