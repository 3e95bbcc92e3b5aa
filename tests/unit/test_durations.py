"""How long tasks take: what the curve says after intervals of every kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pace.durations import Curve, Durations

SHAPE = ("grok-imagine-video", "6")


def _curve(*between: tuple[float, float]) -> Curve:
    known = Durations()
    for after_s, by_s in between:
        known.ended(SHAPE, after_s, by_s)
    curve = known.curve(SHAPE)
    assert curve is not None
    return curve


def test_tasks_that_take_the_same_are_known_to_a_few_hundredths() -> None:
    alike = [(9.9 + 0.01 * (number % 5), 10.05 + 0.01 * (number % 5)) for number in range(40)]
    curve = _curve(*alike)
    assert curve.age(0.05) == pytest.approx(10.0, abs=0.4)
    assert curve.age(0.9) == pytest.approx(10.0, abs=0.4)


@pytest.mark.parametrize("number", [1, 7])
def test_a_few_ends_that_are_alike_prove_nothing_yet(number: int) -> None:
    curve = _curve(*[(9.95, 10.05)] * number)
    assert curve.age(0.9) - curve.age(0.1) > 0.25


def test_strays_are_not_lost_where_nearly_all_tasks_take_the_same() -> None:
    alike = [(9.95, 10.05)] * 40
    curve = _curve(*alike, (3.0, 3.1), (30.0, 31.0))
    assert curve.ended(5.0) > 0.01
    assert curve.ended(20.0) < 0.99
    assert curve.age(0.5) == pytest.approx(10.0, abs=0.1)


AGES = st.floats(0.0, 2e5)
BETWEEN = st.tuples(AGES, AGES).map(lambda ages: (min(ages), max(ages)))
NARROW = st.tuples(st.floats(9.0, 11.0), st.floats(0.0, 0.3)).map(lambda at: (at[0], at[0] + at[1]))


@given(
    between=st.lists(NARROW, min_size=8, max_size=40).flatmap(
        lambda narrow: st.lists(BETWEEN, max_size=6).map(lambda more: [*narrow, *more])
    ),
    ages=st.lists(AGES, min_size=2, max_size=8),
    part=st.floats(0.01, 0.99),
)
def test_the_chance_rises_from_none_to_one(
    between: list[tuple[float, float]], ages: list[float], part: float
) -> None:
    curve = _curve(*between)
    chances = [curve.ended(age_s) for age_s in sorted(ages)]
    assert chances == sorted(chances)
    assert all(-1e-12 <= chance <= 1.0 + 1e-12 for chance in chances)
    assert curve.ended(1e6) == pytest.approx(1.0)
    assert curve.ended(curve.age(part)) == pytest.approx(part, abs=1e-3)
