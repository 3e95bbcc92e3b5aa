"""A saved page of a model, read whatever its language, as a web page or as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.contract import Contract, ParamType
from runner.contract.catalogue import compare_contracts, with_pages
from runner.contract.json_contract import contract_as_json, contract_from_json
from runner.model import Kind, ModelId
from runner.schemas import load_contracts
from runner.service.rivya.model_page import contract_of_page

PAGES = Path(__file__).parents[1] / "fixtures" / "pages"
MODEL = ModelId("tall-tales-1")


def read(name: str) -> Contract:
    return contract_from_json(contract_of_page((PAGES / name).read_text(encoding="utf-8")))


def without_texts(contract: Contract) -> Contract:
    params = {key: replace(param, description="") for key, param in contract.params.items()}
    return replace(contract, params=params)


def test_a_page_saved_as_text_has_its_cells_told_apart() -> None:
    contract = read("tall-tales-1.txt")

    assert (contract.id, contract.display_name, contract.category) == (MODEL, "Tall Tales 1", "video")
    assert (contract.base_credits, contract.billing_type, contract.max_prompt_length) == (12, "METERED", 2500)
    assert (contract.prompt_required, contract.complete, contract.api_status) == (True, True, "available")
    mood, seconds, strength, language = contract.params.values()
    assert (mood.type, mood.required, mood.default, mood.options) == (
        ParamType.SELECT, True, "calm", ("calm", "wild", "sad"),
    )  # fmt: skip
    assert (seconds.default, seconds.minimum, seconds.maximum, seconds.step) == (8, 4, 20, 2)
    assert (strength.default, strength.step) == (0.5, 0.05)
    assert (language.type, language.default, language.options) == (ParamType.TEXT, None, None)
    uploads = contract.uploads
    assert uploads.max_files == 3
    assert [(each.kind, each.max_mb, each.mime) for each in uploads.kinds] == [
        (Kind.IMAGE, 20, ("image/jpeg", "image/png")),
        (Kind.AUDIO, 7.5, ("audio/mpeg",)),
    ]


def test_the_same_page_as_html_says_the_same() -> None:
    assert without_texts(read("tall-tales-1.html")) == without_texts(read("tall-tales-1.txt"))


def test_an_option_that_runs_into_its_description_is_a_gap_and_no_guess() -> None:
    text = (PAGES / "tall-tales-1.txt").read_text(encoding="utf-8")

    contract = contract_from_json(contract_of_page(text.replace("sadÜber die Stimmung", "sadmood")))

    assert not contract.complete


@pytest.mark.parametrize(
    "text", ["", "Hello", '{"model": 1}', '{"model": "x"}', "<html><body><p>Not found</p></body></html>"]
)
def test_what_is_no_page_of_a_model_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="it has no"):
        contract_of_page(text)


@pytest.mark.parametrize("model", sorted(load_contracts()))
def test_a_contract_comes_back_from_its_json(model: ModelId) -> None:
    contract = load_contracts()[model]

    assert contract_from_json(contract_as_json(contract)) == contract


def test_a_whole_page_decides_and_one_with_gaps_only_widens() -> None:
    known = read("tall-tales-1.txt")
    seconds = replace(known.params["seconds"], maximum=10)
    page = replace(known, params={"seconds": seconds}, category="", display_name="x")

    decided = with_pages({MODEL: known}, {MODEL: page})[MODEL]
    widened = with_pages({MODEL: known}, {MODEL: replace(page, complete=False)})[MODEL]

    assert (list(decided.params), decided.params["seconds"].maximum) == (["seconds"], 10)
    assert decided.category == "video", "what the page leaves out stays"
    assert (len(widened.params), widened.params["seconds"].maximum) == (4, 20)
    assert compare_contracts({MODEL: known}, {MODEL: widened}) == []


def test_a_page_in_another_language_changes_nothing_that_is_known() -> None:
    known = read("tall-tales-1.html")

    assert with_pages({MODEL: known}, {MODEL: read("tall-tales-1.txt")}) == {MODEL: known}
