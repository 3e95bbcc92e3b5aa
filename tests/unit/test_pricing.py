"""What a payment is expected to cost: seen here, else given by the user, else the listed lower bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.contract import Contract
from runner.model import (
    Basis,
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
from runner.money.pricing import (
    CHANGED,
    MANY,
    OPTIONS,
    RECENT,
    SMALL,
    Seen,
    estimate,
    shape_of,
    surprises_above,
)

MODEL = ModelId("grok-imagine-video")
CONTRACT = Contract(id=MODEL, display_name="Grok", base_credits=20)
SEEN = Seen(named=90, ends=(80, 80, 90))


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


def price(params: Mapping[str, Json], *rules: PriceRule, seen: Seen | None = None) -> tuple[float, Basis]:
    found = estimate(spec(params), contract=CONTRACT, rules=rules, seen=seen)
    assert found.reserve >= found.credits
    return found.credits, found.basis


def test_what_was_seen_beats_what_was_given_and_that_beats_the_list() -> None:
    given = rule(50)

    assert price({}, given, seen=SEEN) == (80, Basis.OBSERVED)
    assert price({}, given) == (50, Basis.GIVEN)
    assert price({}) == (20, Basis.LISTED)


@pytest.mark.parametrize(
    ("ends", "credits", "reserve"),
    [
        ((40,), 40, 40),
        ((10, 40), 10, 40),
        ((1, 5, 9, 20, 38), 9, 38),
        # One absurd charge stands alone, wherever it came; the second one is a price.
        ((12, 12, 40_500, 12), 12, 12),
        ((12, 40_500), 12, 12),
        ((12, 40_500, 40_500), 40_500, 40_500),
        ((12, 12, 12, 200, 200), 12, 200),
        # Fourfold is not absurd.
        ((10, 10, 40), 10, 40),
        ((10, 10, 40.1), 10, 10),
    ],
)
def test_what_was_charged_is_expected_at_its_median_and_set_aside_at_its_highest(
    ends: tuple[float, ...], credits: float, reserve: float
) -> None:
    """With the last charge alone, one of 40,500 made the next plan expect that of every job."""
    found = estimate(spec(), contract=CONTRACT, rules=(rule(50),), seen=Seen(named=1, ends=ends))

    assert (found.credits, found.reserve, found.basis) == (credits, reserve, Basis.OBSERVED)


def test_the_expectation_follows_a_price_that_has_changed_for_good() -> None:
    assert Seen(ends=(10.0,) * 9 + (40.0,) * (CHANGED - 1)).usual == 10
    assert Seen(ends=(10.0,) * 9 + (40.0,) * CHANGED).usual == 40
    assert Seen(ends=(40.0,) * 9 + (10.0,) * CHANGED).usual == 10
    assert Seen(ends=(10.0,) * 9 + (40.0, 10.0, 41.0)).usual == 10, "which one holds is not known yet"


def test_how_a_price_is_known_is_told() -> None:
    def words(seen: Seen | None, *rules: PriceRule) -> tuple[str, str | None]:
        found = estimate(spec(), contract=CONTRACT, rules=rules, seen=seen)
        return found.words, found.at

    assert words(Seen(ends=(12,) * 14, at="2026-11-29T10:00:00Z")) == (
        "seen 14 times",
        "2026-11-29T10:00:00Z",
    )
    assert words(Seen(ends=(12,))) == ("seen once", None)
    assert words(Seen(ends=(12,) * RECENT)) == (f"seen {RECENT} times or more", None)
    assert words(Seen(named=30)) == ("reserved, not charged yet", None)
    assert words(None, rule(50)) == ("given", None)
    assert words(None) == ("listed", None)


@pytest.mark.parametrize(("named", "credits"), [(1, 20), (20, 20), (45, 45)])
def test_a_reservation_whose_end_is_not_known_is_never_below_the_list(named: float, credits: float) -> None:
    found = estimate(spec(), contract=CONTRACT, rules=(), seen=Seen(named=named))

    assert (found.credits, found.reserve, found.basis) == (credits, credits, Basis.OBSERVED)


@pytest.mark.parametrize("base", [None, 0, -5, float("nan")])
def test_a_lower_bound_that_is_no_amount_is_none(base: float | None) -> None:
    contract = Contract(id=MODEL, display_name="x", base_credits=base)

    found = estimate(spec(), contract=contract, rules=(), seen=None)

    assert (found.credits, found.most) == (0, None)


@pytest.mark.parametrize(
    ("rules", "seen", "named", "accepted", "above"),
    [
        # A listed price is that of the cheapest options; a given one and a seen one are of this very job.
        ((), None, None, 0, OPTIONS * 20),
        ((rule(50),), None, None, 0, MANY * 50),
        ((), Seen(ends=(12, 30)), None, 0, MANY * 30),
        ((), Seen(ends=(12, 12, 40_500)), None, 0, MANY * 20),
        ((), Seen(named=60), None, 0, MANY * 60),
        # What the service itself has reserved for this payment counts too.
        ((), None, 12, 0, OPTIONS * 20),
        ((), None, 100, 0, MANY * 100),
        # So little is nobody's night.
        ((rule(1),), None, None, 0, SMALL),
        ((rule(0),), None, None, 0, SMALL),
        # Who has accepted 500 of the model need not be asked about its other prices, nor about 500 again.
        ((), None, None, 500, MANY * 500),
        ((), Seen(ends=(12, 30)), None, 500, 500),
    ],
)
def test_a_charge_many_times_all_that_is_known_of_it_is_a_surprise(
    rules: tuple[PriceRule, ...], seen: Seen | None, named: float | None, accepted: float, above: float
) -> None:
    found = estimate(spec(), contract=CONTRACT, rules=rules, seen=seen)

    assert surprises_above(most=found.most, seen=seen, named=named, accepted=accepted) == above


def test_what_nobody_has_named_a_price_of_cannot_surprise_until_something_is_known() -> None:
    assert surprises_above(most=None, seen=None, named=None, accepted=0) is None
    assert surprises_above(most=None, seen=None, named=30, accepted=0) == MANY * 30
    assert surprises_above(most=None, seen=Seen(ends=(30,)), named=None, accepted=0) == MANY * 30


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
    found = estimate(spec(), contract=contract, rules=(), seen=None)

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
