"""Prices that people give: in a manifest, and in the file that the manifests of a workspace share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.contract import Contract
from runner.model import Basis, Json, ModelId, PriceRule
from runner.money.pricing import estimate
from tests.manifest_reading import HEAD, load
from tests.unit.test_listing import Place
from tests.unit.test_pricing import spec

JOBS = "jobs: [{id: a}]\n"
GROK = ModelId("grok-imagine-video")
RULE = "{credits: 2, per: {duration: 1.5}, factors: {resolution: {720p: 2}}, round: up}"


def given(folder: Path, prices: str, **params: Json) -> tuple[float, str] | None:
    """Return what a manifest with these prices says that a job costs; None where it says nothing."""
    settings = load(folder, f"{HEAD}{JOBS}prices: {prices}\n").settings
    assert settings is not None
    found = estimate(
        spec(params),
        contract=Contract(id=GROK, display_name="Grok", base_credits=10),
        rules=settings.prices,
        seen=None,
    )
    return (found.credits, found.words) if found.basis is Basis.GIVEN else None


@pytest.mark.parametrize(
    ("prices", "params", "credits"),
    [
        (f"{{grok-imagine-video: {RULE}}}", {"duration": 7, "resolution": "480p"}, 13),
        (f"{{grok-imagine-video: {RULE}}}", {"duration": 7, "resolution": "720p"}, 25),
        (f"{{grok-imagine-video: {RULE}}}", {}, 11),  # 6 s at 480p, which the contract has by default
        ("{grok-imagine-video: {per: {duration: 0.1}, round: up}}", {"duration": 30}, 3),
        ("{grok-imagine-video: {per: {duration: 1.25}, round: down}}", {"duration": 7}, 8),
        ("{grok-imagine-video: {per: {duration: 1.25}}}", {"duration": 7}, 8.75),
        (
            "{grok-imagine-video: [{credits: 9}, {params: {mode: fun}, per: {duration: 2}}]}",
            {"duration": 7},
            9,
        ),
        (
            "{grok-imagine-video: [{credits: 9}, {params: {mode: fun}, per: {duration: 2}}]}",
            {"duration": 7, "mode": "fun"},
            14,
        ),
    ],
)
def test_a_rule_says_what_a_job_costs(
    tmp_path: Path, prices: str, params: dict[str, Json], credits: float
) -> None:
    assert given(tmp_path, prices, **params) == (credits, "given")


@pytest.mark.parametrize(
    ("prices", "code"),
    [
        ("{factors: {mode: {fun: 2}}}", "missing-key"),
        ("{per: {duraton: 2}}", "unknown-param"),
        ("{per: {mode: 2}}", "wrong-type"),
        ("{per: {duration: -1}}", "out-of-range"),
        ("{credits: 1, factors: {resolution: {9000p: 2}}}", "not-an-option"),
        ("{credits: 1, factors: {resolutoin: {720p: 2}}}", "unknown-param"),
        ("{credits: 1, round: sideways}", "not-an-option"),
    ],
)
def test_a_mistake_in_a_rule_is_told(tmp_path: Path, prices: str, code: str) -> None:
    found = load(tmp_path, f"{HEAD}{JOBS}prices: {{grok-imagine-video: {prices}}}\n").only(code)

    assert found.place.line == 6


def test_the_file_of_a_workspace_holds_where_the_manifest_says_nothing(tmp_path: Path) -> None:
    shared = {"state/prices.yaml": f"prices: {{grok-imagine-video: {RULE}, z-image: 3}}\n"}
    settings = load(tmp_path, HEAD + JOBS + "prices: {z-image: 5}\n", shared).settings
    assert settings is not None

    def price(model: str, **params: Json) -> tuple[float, str]:
        contract = Contract(id=ModelId(model), display_name="x", base_credits=1)
        job = replace(spec(params), model=ModelId(model))
        found = estimate(job, contract=contract, rules=settings.prices, seen=None)
        return found.credits, found.words

    assert price("grok-imagine-video", duration=7) == (13, "given in state/prices.yaml")
    assert price("z-image") == (5, "given")


def test_a_mistake_in_the_file_of_a_workspace_is_told_with_its_place(tmp_path: Path) -> None:
    shared = {"state/prices.yaml": "prices:\n  grok-imagine-video: cheap\n"}

    found = load(tmp_path, HEAD + JOBS, shared).only("wrong-type")

    assert (found.place.file, found.place.line, found.place.column) == ("state/prices.yaml", 2, 23)


@pytest.mark.parametrize("text", ["12\n", "price: {z-image: 3}\n", "prices: {z-image: 3}\nname: x\n"])
def test_a_file_of_prices_has_nothing_else(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, HEAD + JOBS, {"state/prices.yaml": text}).errors


def test_a_file_of_prices_that_was_edited_is_judged_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    try:
        place.apply()
        assert place.stage(), "nothing was edited"
        (tmp_path / "state" / "prices.yaml").write_text("prices: {grok-imagine-video: 7}\n", encoding="utf-8")
        assert not place.stage()
        place.apply()
        assert place.stage()
    finally:
        place.file.close()


def test_rules_of_two_manifests_are_their_own(tmp_path: Path) -> None:
    one = PriceRule(model=GROK, credits=5)
    other = PriceRule(model=GROK, credits=7, params={"mode": "fun"}, shared=True)
    contract = Contract(id=GROK, display_name="x", base_credits=1)

    found = estimate(spec({"mode": "fun"}), contract=contract, rules=(other, one), seen=None)

    assert found.credits == 5, "the manifest's own wins, also where the shared one names more params"
