"""`models MODEL`: one model as a page."""

from __future__ import annotations

import pytest

from runner.cli.models import line, page
from runner.model import ModelId
from runner.schemas import load_contracts

CONTRACTS = load_contracts()


@pytest.mark.parametrize("model", sorted(CONTRACTS))
def test_each_model_has_a_page_and_a_line(model: ModelId) -> None:
    told = page(CONTRACTS[model])

    assert told[0].startswith(f"{model}: ")
    assert told[-1] == f"source     {CONTRACTS[model].source}"
    assert [text for text in told if text.startswith("  ")] != [] or not CONTRACTS[model].params
    assert line(CONTRACTS[model]).startswith(f"{model} ")


def test_types_of_references_are_told_where_somebody_has_documented_them() -> None:
    def references(model: str) -> list[str]:
        return [text for text in page(CONTRACTS[ModelId(model)]) if text.startswith("references")]

    assert references("grok-imagine-video") == ["references up to 1: image image/jpeg, image/png, image/webp"]
    assert references("flux-kontext-pro") == ["references up to 1: image of undocumented types"]
    assert references("z-image") == ["references none"]
