"""What a payment is expected to cost: seen here, else given by the user, else the listed lower bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.contract import Contract
from runner.model import (
    Basis,
    Estimate,
    Fingerprint,
    JobId,
    JobSpec,
    Json,
    Kind,
    ModelId,
    Place,
    PriceRule,
    Reference,
    Sha256,
)
from runner.pricing import estimate, shape_of

MODEL = ModelId("grok-imagine-video")
CONTRACT = Contract(id=MODEL, display_name="Grok", base_credits=20)
SEEN = Estimate(credits=80, reserve=90, basis=Basis.OBSERVED)


def spec(
    params: Mapping[str, Json] | None = None, prompt: str | None = "p", kinds: tuple[Kind, ...] = ()
) -> JobSpec:
    references = tuple(
        Reference(path="a", file=Path("/a"), kind=kind, mime="x/y", size_bytes=1, sha256=Sha256(str(n)))
        for n, kind in enumerate(kinds)
    )
    return JobSpec(
        id=JobId("a"),
        model=MODEL,
        prompt=prompt,
        params=params or {},
        references=references,
        output="a",
        fingerprint=Fingerprint("fp1:0"),
        place=Place(file="m.yaml", line=1, column=1),
    )


def rule(credits: float, model: str = MODEL, **params: Any) -> PriceRule:
    return PriceRule(model=ModelId(model), credits=credits, params=params)


def price(
    params: Mapping[str, Json], *rules: PriceRule, observed: Estimate | None = None
) -> tuple[float, Basis]:
    found = estimate(spec(params), contract=CONTRACT, rules=rules, observed=observed)
    assert found.reserve >= found.credits
    return found.credits, found.basis


def test_what_was_seen_beats_what_was_given_and_that_beats_the_list() -> None:
    given = rule(50)

    assert price({}, given, observed=SEEN) == (80, Basis.OBSERVED)
    assert price({}, given) == (50, Basis.GIVEN)
    assert price({}) == (20, Basis.LISTED)


def test_what_was_seen_keeps_its_own_reserve() -> None:
    assert estimate(spec(), contract=CONTRACT, rules=(), observed=SEEN).reserve == 90


RULES = (rule(50), rule(99, model="sora-2"), rule(70, duration=10), rule(120, duration=10, resolution="720p"))


@pytest.mark.parametrize(
    ("params", "credits"),
    [
        ({}, 50),
        ({"duration": 6}, 50),
        ({"duration": 10}, 70),
        ({"duration": 10.0}, 70),
        ({"duration": 10, "resolution": "480p"}, 70),
        ({"duration": 10, "resolution": "720p"}, 120),
        ({"resolution": "720p"}, 50),
        ({"duration": "10"}, 50),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_the_prices_that_match_the_most_exact_wins(
    params: Mapping[str, Json], credits: float, turned: bool
) -> None:
    assert price(params, *(RULES[::-1] if turned else RULES)) == (credits, Basis.GIVEN)


def test_a_price_of_nothing_is_a_price() -> None:
    assert price({}, rule(0)) == (0, Basis.GIVEN)


@pytest.mark.parametrize("contract", [None, Contract(id=MODEL, display_name="x", base_credits=None)])
def test_without_any_price_the_lower_bound_is_zero(contract: Contract | None) -> None:
    found = estimate(spec(), contract=contract, rules=(), observed=None)

    assert (found.credits, found.reserve, found.basis) == (0.0, 0.0, Basis.LISTED)


def test_one_price_for_all_prompts_unless_the_model_is_metered() -> None:
    metered = Contract(id=MODEL, display_name="x", billing_type="Metered")
    short, long = spec(prompt="a"), spec(prompt="ab")

    assert shape_of(short, CONTRACT) == shape_of(long, CONTRACT)
    assert shape_of(short, metered) != shape_of(long, metered)
    assert shape_of(spec(prompt=None), metered) == shape_of(spec(prompt=""), metered)


def test_references_may_change_the_price_by_their_kinds_not_by_their_content() -> None:
    shapes = [
        shape_of(spec(kinds=kinds), CONTRACT)
        for kinds in ((), (Kind.IMAGE,), (Kind.VIDEO,), (Kind.IMAGE,) * 2)
    ]

    assert len(set(shapes)) == 4
