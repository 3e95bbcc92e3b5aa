"""Contracts from the bundled files and from the service's list, whose shape is only half documented."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runner.contract import Contract, ParamType, canonical_params, contract_from_json
from runner.contract.catalogue import FactChange, compare_contracts, merge_contracts
from runner.model import ModelId
from runner.schemas import load_contracts
from runner.service.rivya.model_list import contracts_from_list
from tests.bundled import load_contract

# The one element the documentation of GET /api/v1/models shows.
DOCUMENTED: dict[str, Any] = {
    "id": "z-image",
    "display_name": "Z-Image",
    "category": "image",
    "runtime": "async_task",
    "base_credits": 1,
    "billing_type": "FIXED",
    "supported_modes": ["text-to-image"],
    "max_prompt_length": 1000,
    "reference_media": None,
    "params": [],
    "api_status": "available",
    "api_input_status": "available_text",
    "supported_api_inputs": ["text"],
    "requires_files_api": False,
    "requires_upload_for_modes": [],
    "url_input_supported": False,
    "file_kinds": [],
    "chat_capabilities": None,
    "notices": [],
}
Z_IMAGE = ModelId("z-image")


def live(**changes: Any) -> dict[ModelId, Contract]:
    return contracts_from_list({"object": "list", "data": [{**DOCUMENTED, **changes}]})


def bundled() -> dict[ModelId, Contract]:
    return {Z_IMAGE: load_contract("z-image")}


def test_the_flagship_is_as_its_page_says() -> None:
    contract = load_contract("grok-imagine-video")

    assert (
        contract.category,
        contract.base_credits,
        contract.billing_type,
        contract.max_prompt_length,
        contract.prompt_required,
    ) == ("video", 10, "FIXED", 5000, True)
    assert list(contract.params) == ["mode", "duration", "resolution", "aspect_ratio"]
    assert (
        contract.params["duration"].minimum,
        contract.params["duration"].maximum,
        contract.params["duration"].step,
    ) == (6, 30, 1)
    assert contract.params["aspect_ratio"].options == ("1:1", "16:9", "9:16", "2:3", "3:2")
    assert contract.complete
    assert contract.callable
    assert not contract.metered


def test_only_the_four_elevenlabs_models_are_metered() -> None:
    assert {
        "elevenlabs-turbo-2-5",
        "elevenlabs-multilingual-v2",
        "elevenlabs-dialogue-v3",
        "elevenlabs-sound-effect-v2",
    } == {model for model, contract in load_contracts().items() if contract.metered}


def test_a_contract_cannot_be_changed_by_accident() -> None:
    contract = load_contract("z-image")

    with pytest.raises(TypeError):
        contract.params["new"] = contract.params["aspect_ratio"]  # type: ignore[index]  # that is the point
    with pytest.raises(AttributeError):
        contract.base_credits = 0  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    "params",
    [
        [{"key": "d", "type": "number", "min": 1, "max": 9, "step": 1, "options": None}],
        [{"name": "d", "type": "integer", "range": {"min": 1, "max": 9, "step": 1}}],
        {"d": {"type": "number", "min": 1, "max": 9}},
    ],
    ids=["as the model pages", "nested range", "mapping"],
)
def test_params_of_the_live_list_are_read_in_several_plausible_shapes(params: object) -> None:
    contract = contract_from_json({"id": "m", "params": params})

    assert [problem.code for problem in canonical_params(contract, {"d": 10})[1]] == ["out-of-range"]


def test_options_of_the_live_list_may_be_objects_or_not_texts() -> None:
    contract = contract_from_json(
        {"id": "m", "params": [{"key": "s", "options": [{"value": "a", "label": "A"}, True, 5]}]}
    )

    assert contract.params["s"].options == ("a", "true", "5")


@pytest.mark.parametrize("value", [None, 5, "text", [], {}, [1, None, "x"], [[]], math.nan, True])
@pytest.mark.parametrize("key", [key for key in DOCUMENTED if key != "id"])
def test_no_surprise_in_the_live_list_stops_us(key: str, value: object) -> None:
    assert list(live(**{key: value})) == [Z_IMAGE]


@pytest.mark.parametrize("key", ["key", "type", "options", "min", "range", "required", "default", "items"])
@pytest.mark.parametrize("value", [None, 5, "text", [], {}, [None], math.inf])
def test_no_surprise_in_a_live_param_stops_us(key: str, value: object) -> None:
    assert list(live(params=[{"key": "a", "type": "number", key: value}])) == [Z_IMAGE]


@pytest.mark.parametrize(
    "document", [None, [], {}, "text", {"data": None}, {"data": [None, 1, {}, {"id": ""}]}]
)
def test_a_list_without_models_is_empty(document: object) -> None:
    assert contracts_from_list(document) == {}


def test_the_documented_example_differs_in_nothing_from_the_bundled_contract() -> None:
    """Its `params` is abbreviated to an empty list: that is silence, not a difference."""
    assert compare_contracts(bundled(), live()) == []


def test_a_contract_is_no_different_from_itself() -> None:
    assert compare_contracts(load_contracts(), load_contracts()) == []


def test_a_new_price_a_new_model_and_a_gone_one_are_differences() -> None:
    ours = {**bundled(), ModelId("old"): contract_from_json({"id": "old"})}
    theirs = {**live(base_credits=2), ModelId("brand-new"): contract_from_json({"id": "brand-new"})}

    assert [str(difference) for difference in compare_contracts(ours, theirs)] == [
        "brand-new is new",
        "old is not in the live list",
        "z-image: base_credits was 1, is now 2",
    ]


def test_params_are_compared_where_the_live_list_has_any() -> None:
    theirs = live(
        params=[
            {
                "key": "aspect_ratio",
                "type": "select",
                "options": ["9:16", "1:1", "4:3", "3:4", "16:9", "21:9"],
            },
            {"key": "seed", "type": "number"},
        ]
    )

    found = compare_contracts(bundled(), theirs)

    assert [(difference.key, difference.change) for difference in found] == [
        ("params.aspect_ratio.options", FactChange.CHANGED),
        ("params.seed", FactChange.NEW),
    ]


def test_the_order_of_options_is_no_difference() -> None:
    options = list(reversed(load_contract("z-image").params["aspect_ratio"].options or ()))

    assert compare_contracts(bundled(), live(params=[{"key": "aspect_ratio", "options": options}])) == []


def test_together_they_take_the_live_price_and_accept_what_either_accepts() -> None:
    theirs = live(
        base_credits=2,
        params=[
            {"key": "aspect_ratio", "type": "select", "options": ["21:9"], "required": True},
            {"key": "seed"},
        ],
    )

    contract = merge_contracts(bundled(), theirs)[Z_IMAGE]

    assert contract.base_credits == 2
    assert canonical_params(contract, {"aspect_ratio": "21:9", "seed": 7}) == (
        {"aspect_ratio": "21:9", "seed": 7},
        [],
    )
    assert canonical_params(contract, {"aspect_ratio": "16:9"}) == ({"aspect_ratio": "16:9"}, [])
    assert canonical_params(contract, {}) == ({}, [])
    assert contract.params["aspect_ratio"].type is ParamType.SELECT


def test_a_model_that_cannot_be_called_says_so() -> None:
    assert not merge_contracts(bundled(), live(api_status="studio_only"))[Z_IMAGE].callable
    assert not contract_from_json({"id": "chatty", "category": "chat"}).callable
