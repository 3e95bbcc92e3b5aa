"""Caps: spent + reserved + about to be reserved, and what is on its way at what it may come to."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from runner.model import Budget
from runner.money.budget import (
    EPSILON,
    KEPT,
    RISE,
    UNTRIED,
    Committed,
    OnTheWay,
    Verdict,
    beyond,
    is_capped,
    judge,
    may_come_to,
)

NOTHING = Committed(total=0, day=0, job=0, probes_out=0)


def verdict(
    budget: Budget,
    estimate: float = 10,
    *,
    seen: bool = True,
    total: float = 0,
    day: float = 0,
    job: float = 0,
    probes: int = 0,
) -> Verdict:
    committed = Committed(total=total, day=day, job=job, probes_out=probes)
    return judge(budget=budget, estimate=estimate, price_seen=seen, committed=committed)


@pytest.mark.parametrize(
    ("budget", "given", "expected"),
    [
        (Budget(), {"total": 1e12, "day": 1e12, "job": 1e12}, Verdict.YES),
        # Exactly at the cap is within it.
        (Budget(max_credits=20), {"total": 10}, Verdict.YES),
        (Budget(max_credits=20), {"total": 10.01}, Verdict.OVER_TOTAL),
        (Budget(max_credits=20), {"total": 500}, Verdict.OVER_TOTAL),
        (Budget(max_credits_per_day=20), {"day": 10}, Verdict.YES),
        (Budget(max_credits_per_day=20), {"day": 10.01}, Verdict.OVER_DAY),
        (Budget(max_credits_per_day=20), {"total": 500}, Verdict.YES),
        (Budget(max_credits=20), {"day": 500}, Verdict.YES),
        (Budget(max_credits_per_job=10), {}, Verdict.YES),
        (Budget(max_credits_per_job=9.99), {}, Verdict.OVER_JOB),
        # A job pays for all its rounds together.
        (Budget(max_credits_per_job=15), {"job": 10}, Verdict.OVER_JOB),
        # The job's own cap is said first: it never fits, so waiting for room would be in vain.
        (Budget(max_credits_per_job=5, max_credits=5), {}, Verdict.OVER_JOB),
        (Budget(max_credits=0), {}, Verdict.OVER_TOTAL),
        (Budget(max_credits_per_day=0), {}, Verdict.OVER_DAY),
    ],
)
def test_a_payment_fits_or_names_the_cap_it_would_break(
    budget: Budget, given: dict[str, float], expected: Verdict
) -> None:
    assert verdict(budget, **given) is expected


@pytest.mark.parametrize(
    "budget", [Budget(max_credits=1e6), Budget(max_credits_per_job=1e6), Budget(max_credits_per_day=1e6)]
)
def test_under_any_cap_one_price_never_seen_is_tried_at_a_time(budget: Budget) -> None:
    assert verdict(budget, seen=False) is Verdict.YES
    assert verdict(budget, seen=False, probes=1) is Verdict.PROBE_OUT
    assert verdict(budget, seen=True, probes=1) is Verdict.YES


def test_a_cap_for_the_day_minds_probes_of_the_other_manifests_it_bounds() -> None:
    out = Committed(total=0, day=10, job=0, probes_out=0, probes_elsewhere=1)

    def said(budget: Budget, *, seen: bool) -> Verdict:
        return judge(budget=budget, estimate=10, price_seen=seen, committed=out)

    assert said(Budget(max_credits_per_day=1e6), seen=False) is Verdict.PROBE_ELSEWHERE
    assert said(Budget(max_credits_per_day=1e6), seen=True) is Verdict.YES
    assert said(Budget(max_credits=1e6), seen=False) is Verdict.YES


@pytest.mark.parametrize(
    ("beyond", "expected"),
    [
        ({}, Verdict.YES),
        ({"beyond": 30}, Verdict.YES),
        ({"beyond": 30.1}, Verdict.WAIT),
        ({"beyond_day": 30, "beyond_own": 30}, Verdict.YES),
        ({"beyond_day": 60, "beyond_own": 10}, Verdict.WAIT),
        ({"beyond_day": 60}, Verdict.WAIT_ELSEWHERE),
    ],
)
def test_what_is_on_its_way_has_to_fit_at_what_it_may_come_to(
    beyond: dict[str, float], expected: Verdict
) -> None:
    def said(budget: Budget) -> Verdict:
        committed = Committed(total=60, day=60, job=0, **beyond)
        return judge(budget=budget, estimate=10, price_seen=True, committed=committed)

    assert said(Budget(max_credits=100, max_credits_per_day=100)) is expected
    # The room of a cap that is not set is not looked at, and what does not fit at all is not waited for.
    assert said(Budget()) is Verdict.YES
    assert said(Budget(max_credits=69)) is Verdict.OVER_TOTAL


ON_THE_WAY = OnTheWay(payments=3, amount=30)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        # Nothing is known: a model never tried, a shape of a model that was, ends of this shape.
        ({"tried": False}, UNTRIED * 30),
        ({}, RISE * 30),
        ({"highest": 10}, RISE * 30),
        # What the shape was charged in the end counts, whatever was estimated or reserved.
        ({"highest": 40}, RISE * 120),
        ({"highest": 40, "amount": 3, "named": 3, "kept": 0}, RISE * 120),
        # A reservation that is named counts for little more, for as many credits as were kept to.
        ({"named": 30}, RISE * 30),
        ({"named": 30, "kept": 10, "highest": 10}, KEPT * 10 + RISE * 20),
        ({"named": 30, "kept": 999, "highest": 10}, KEPT * 30),
        ({"named": 10, "kept": 999, "highest": 10}, KEPT * 10 + RISE * 20),
        ({"kept": 999, "highest": 10}, RISE * 30),
    ],
)
def test_what_payments_on_their_way_may_come_to(more: dict[str, Any], expected: float) -> None:
    assert may_come_to(replace(ON_THE_WAY, **more)) == expected


def test_payments_of_several_prices_may_all_be_dearer() -> None:
    out = [ON_THE_WAY, replace(ON_THE_WAY, named=30, kept=30, highest=10)]

    assert beyond(out) == (RISE - 1) * 30 + (KEPT - 1) * 30
    assert beyond([]) == 0


def test_the_cap_of_a_job_waits_for_the_first_end_of_a_price_unless_it_fits_in_any_case() -> None:
    def said(cap: float, first_out: int) -> Verdict:
        committed = Committed(total=0, day=0, job=0, first_out=first_out)
        return judge(
            budget=Budget(max_credits_per_job=cap), estimate=10, price_seen=True, committed=committed
        )

    assert said(20, 0) is Verdict.YES
    assert said(20, 1) is Verdict.PROBE_OUT
    assert said(RISE * 10, 1) is Verdict.YES


def test_without_a_cap_there_is_no_probing() -> None:
    assert verdict(Budget(), seen=False, probes=50) is Verdict.YES


@pytest.mark.parametrize("field", ["max_credits", "max_credits_per_job", "max_credits_per_day"])
def test_a_cap_of_zero_is_a_cap(field: str) -> None:
    assert is_capped(Budget(**{field: 0.0}))
    assert not is_capped(Budget())


def test_an_estimate_of_nothing_fits_under_a_cap_that_is_reached() -> None:
    assert verdict(Budget(max_credits=20), 0, total=20) is Verdict.YES


def test_decimals_that_double_arithmetic_cannot_hold_still_fit_exactly() -> None:
    total = sum([0.1] * 9)

    assert total + 0.1 != 1.0
    assert verdict(Budget(max_credits=1.0), 0.1, total=total) is Verdict.YES


def test_no_order_of_payments_passes_a_cap() -> None:
    """Prices are known and true; payments come, settle lower, and are released in any order."""
    for seed in range(200):
        draw = random.Random(seed)
        cap = draw.choice([0, 1, 17.5, 100])
        out: list[float] = []
        charged = 0.0
        for _ in range(40):
            if out and draw.random() < 0.4:
                paid = out.pop(draw.randrange(len(out)))
                charged += paid * draw.choice([0, 0.5, 1])
            else:
                price = draw.choice([0.3, 1, 5, 12.7])
                if verdict(Budget(max_credits=cap), price, total=charged + sum(out)) is Verdict.YES:
                    out.append(price)
            assert charged + sum(out) <= cap + EPSILON


def test_the_verdict_never_softens_when_more_counts_already() -> None:
    budgets = [Budget(max_credits=20, max_credits_per_job=15, max_credits_per_day=30)]
    amounts = [0, 5, 10, 15, 20, 30]
    for budget, seen in itertools.product(budgets, (True, False)):
        for total, day, job, probes in itertools.product(amounts, amounts, amounts, (0, 1)):
            if verdict(budget, seen=seen, total=total, day=day, job=job, probes=probes) is not Verdict.YES:
                worse = {"total": total + 5, "day": day + 5, "job": job + 5, "probes": probes + 1}
                assert verdict(budget, seen=seen, **worse) is not Verdict.YES
