"""What a job would cost that was never paid for: laws found again from a few of their charges."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.contract import Contract
from runner.model import Basis, Json, ModelId, PriceRule
from runner.money.price_book import FittedPrice, PriceBook, PricePoint
from runner.money.pricing import Seen, estimate
from tests.unit.test_pricing import spec

Params = Mapping[str, Json]
Rule = Callable[[Any], float]
DURATIONS, RESOLUTIONS = (6, 10, 15), ("480p", "720p")


def factor(params: Any) -> float:
    return 2.0 if params.get("resolution") == "720p" else 1.0


LAWS: dict[str, Rule] = {
    "constant": lambda params: 10.0,
    "proportional": lambda params: 1.25 * params["duration"],
    "proportional, rounded up": lambda params: math.ceil(1.67 * params["duration"]),
    "proportional, rounded": lambda params: round(1.67 * params["duration"]),
    "affine": lambda params: 5 + 1.2 * params["duration"],
    "affine, rounded up": lambda params: math.ceil(5 + 1.3 * params["duration"]),
    "by resolution": lambda params: 10 * factor(params),
    "by resolution, proportional, rounded up": lambda params: math.ceil(
        1.67 * params["duration"] * factor(params)
    ),
}


def paid(rule: Rule, *params: Params) -> PriceBook:
    return PriceBook([PricePoint(params=each, credits=rule(each)) for each in params])


def grid(durations: Sequence[int] = DURATIONS) -> list[Params]:
    return [{"duration": d, "resolution": r} for d in durations for r in RESOLUTIONS]


@pytest.mark.parametrize("law", LAWS)
def test_a_law_is_found_from_three_durations(law: str) -> None:
    rule, book = LAWS[law], paid(LAWS[law], *grid())

    for params in grid(range(6, 16)):
        found = book.price(params)
        assert found is not None
        assert found.low <= rule(params) + 1e-6
        assert rule(params) <= found.high + 1e-6
        assert found.expected == pytest.approx(rule(params), rel=0.05, abs=1.0)
        assert not found.beyond


def up(amount: Fraction) -> Fraction:
    return Fraction(math.ceil(amount))


def nearest(amount: Fraction) -> Fraction:
    return Fraction(math.floor(amount + Fraction(1, 2)))


def down(amount: Fraction) -> Fraction:
    return Fraction(math.floor(amount))


def exactly(amount: Fraction) -> Fraction:
    return amount


def to(unit: Fraction, rounding: Callable[[Fraction], Fraction]) -> Callable[[Fraction], Fraction]:
    return lambda amount: rounding(amount / unit) * unit


@given(
    base=st.sampled_from([0.0, 0.0, 0.4, 3.0, 7.5]),
    each=st.floats(0.3, 9.0),
    rounding=st.sampled_from([up, nearest, down, exactly]),
    unit=st.sampled_from([Fraction(1), Fraction(1), Fraction(1, 10), Fraction(1, 100)]),
    durations=st.sets(st.integers(1, 30), min_size=2, max_size=8),
    wanted=st.integers(1, 60),
)
@example(5.59375, 0.0, up, Fraction(1), {9, 3, 7}, 18)
def test_the_range_contains_the_charge(
    each: float,
    base: float,
    rounding: Callable[[Fraction], Fraction],
    unit: Fraction,
    durations: set[int],
    wanted: int,
) -> None:
    """Whatever law made the charges, and however they were rounded: nothing but the charges is known of it."""

    def rule(params: Params) -> float:
        return float(to(unit, rounding)(Fraction(base) + Fraction(each) * int(str(params["duration"]))))

    book = paid(rule, *({"duration": n} for n in sorted(durations)))
    found = book.price({"duration": wanted})

    # Where all cost the same, what is beyond of them may cost more.
    same = len({rule({"duration": n}) for n in durations}) == 1
    if found is not None and not (same and not min(durations) <= wanted <= max(durations)):
        assert found.low - 1e-6 <= rule({"duration": wanted}) <= found.high + 1e-6


@given(
    each=st.floats(0.3, 9.0),
    durations=st.sets(st.integers(1, 30), min_size=3, max_size=8),
    wanted=st.integers(1, 30),
)
def test_the_range_is_no_wider_than_what_the_charges_leave_open(
    each: float, durations: set[int], wanted: int
) -> None:
    def rule(params: Params) -> float:
        return float(up(Fraction(each) * int(str(params["duration"]))))

    found = paid(rule, *({"duration": n} for n in sorted(durations))).price({"duration": wanted})

    if found is not None and min(durations) <= wanted <= max(durations):
        assert found.high - found.low <= 2
    if found is not None and wanted in durations:
        assert found.low == found.expected == found.high == rule({"duration": wanted})


def price(book: PriceBook, **params: Json) -> FittedPrice | None:
    return book.price(params)


def test_nothing_is_said_of_what_was_never_paid_for() -> None:
    book = paid(LAWS["proportional"], *({"duration": n, "resolution": "480p"} for n in DURATIONS))

    assert price(book, duration=8, resolution="480p") is not None
    assert price(book, duration=8, resolution="720p") is None, "nobody knows what it costs"
    assert price(book, duration=8) is None, "what is chosen where it is left out is not known"
    assert price(book, duration=8, resolution="480p", audio=True) is None
    assert book.price({"duration": 8, "resolution": "480p"}, ["image"]) is None


def test_a_duration_that_is_sent_as_text_is_a_number_all_the_same() -> None:
    book = paid(lambda each: 2.5 * int(each["duration"]), *({"duration": str(n)} for n in DURATIONS))

    found = price(book, duration="8")

    assert found is not None
    assert found.expected == 20


def test_what_lies_beyond_is_told() -> None:
    found = price(paid(LAWS["proportional"], *({"duration": n} for n in DURATIONS)), duration=30)

    assert found is not None
    assert found.beyond == "duration 6 to 15"


def test_an_option_that_changes_nothing_does_not_matter() -> None:
    book = paid(
        LAWS["proportional"],
        *(
            {"duration": n, "seed": 100 + n, "aspect_ratio": ratio}
            for n in DURATIONS
            for ratio in ("1:1", "16:9")
        ),
    )

    found = price(book, duration=8, seed=7, aspect_ratio="9:16")

    assert found is not None
    assert found.expected == pytest.approx(10.0)


def test_two_options_that_changed_together_leave_it_open_which_one_matters() -> None:
    """Dearer is what counts: the cap is kept whichever of them it is."""
    both = (("480p", "1:1"), ("720p", "16:9"))
    params = [{"duration": n, "resolution": r, "aspect_ratio": a} for n in DURATIONS for r, a in both]
    book = paid(LAWS["by resolution, proportional, rounded up"], *params)

    mixed = price(book, duration=10, resolution="480p", aspect_ratio="16:9")

    assert mixed is not None
    assert (mixed.low, mixed.high) == (17, 34)
    assert mixed.expected >= 33
    assert price(book, duration=10, resolution="720p", aspect_ratio="9:16") is None


@pytest.mark.parametrize(
    "params",
    [
        [{"duration": 6}],
        [{"duration": 6, "resolution": "480p"}, {"duration": 10, "resolution": "720p"}],
        [{"duration": 6, "a": "x"}, {"duration": 10, "a": "y"}, {"duration": 15, "a": "z"}],
    ],
)
def test_too_little_tells_nothing(params: list[Params]) -> None:
    book = paid(lambda each: 7 + 3 * each["duration"] ** 2, *params)

    assert price(book, duration=8, resolution="480p", a="x") is None


MODES = {"fun": 1.0, "normal": 1.5, "spicy": 2.0}


def both_factors(params: Any) -> float:
    return math.ceil(1.67 * params["duration"] * factor(params) * MODES[params["mode"]])


def test_a_combination_that_was_never_paid_has_a_factor_for_each_of_its_options() -> None:
    """720p was paid for in the mode `fun` only, `spicy` at 480p only."""
    paid_for = [("480p", "fun"), ("480p", "normal"), ("480p", "spicy"), ("720p", "fun")]
    params = [{"duration": d, "resolution": r, "mode": m} for d in (6, 10, 15) for r, m in paid_for]
    book = paid(both_factors, *params)

    for duration in range(6, 16):
        wanted = {"duration": duration, "resolution": "720p", "mode": "spicy"}
        found = book.price(wanted)
        assert found is not None
        assert found.low <= both_factors(wanted) <= found.high
        assert found.expected == pytest.approx(both_factors(wanted), rel=0.05)
        assert "a factor for each" in found.words
    assert price(book, duration=10, resolution="1080p", mode="fun") is None


@given(
    each=st.floats(0.3, 9.0),
    factors=st.tuples(st.floats(1.0, 4.0), st.floats(1.0, 4.0)),
    rounding=st.sampled_from([up, nearest, down, exactly]),
    durations=st.sets(st.integers(1, 30), min_size=2, max_size=5),
    wanted=st.integers(1, 60),
)
def test_the_range_contains_the_charge_of_a_combination(
    each: float,
    factors: tuple[float, float],
    rounding: Callable[[Fraction], Fraction],
    durations: set[int],
    wanted: int,
) -> None:
    def rule(params: Params) -> float:
        one, other = factors
        amount = Fraction(each) * int(str(params["duration"]))
        amount *= Fraction(one if params["resolution"] == "720p" else 1)
        return float(rounding(amount * Fraction(other if params["mode"] == "spicy" else 1)))

    three = (("480p", "fun"), ("720p", "fun"), ("480p", "spicy"))
    book = paid(
        rule, *({"duration": d, "resolution": r, "mode": m} for d in sorted(durations) for r, m in three)
    )
    params = {"duration": wanted, "resolution": "720p", "mode": "spicy"}
    found = book.price(params)

    if found is not None and "factor" in found.words:
        assert found.low - 1e-6 <= rule(params) * (1 + 1e-9)
        assert rule(params) <= found.high + 1e-6


def at_least(book: PriceBook, **params: Json) -> tuple[float, str] | None:
    found = book.at_least(params)
    return (found.credits, found.words) if found is not None else None


def test_what_was_never_paid_costs_no_less_than_less_of_it() -> None:
    params = [{"duration": n, "resolution": r} for n in DURATIONS for r in ("480p", "720p")]
    book = paid(LAWS["by resolution, proportional, rounded up"], *params)

    assert price(book, duration=10, resolution="540p") is None
    assert at_least(book, duration=10, resolution="540p") == (
        17,
        "540p, between 480p and 720p, was never paid for",
    )
    assert at_least(book, duration=12, resolution="1080p") == (40, "1080p was never paid for, 720p was")
    assert at_least(book, duration=12, resolution="360p") is None
    assert at_least(book, duration=12, resolution="high") is None


def test_a_single_payment_is_a_lower_bound_for_longer_clips() -> None:
    book = paid(lambda _: 11.0, {"duration": 6})

    assert price(book, duration=10) is None
    assert at_least(book, duration=10) == (11, "nothing like it was paid for, less was")
    assert at_least(book, duration=5) is None


def test_a_number_that_changed_nothing_is_beyond_all_the_same() -> None:
    book = paid(lambda _: 10.0, *({"duration": n, "seed": n * 7} for n in DURATIONS))

    inside, outside = price(book, duration=8, seed=1), price(book, duration=30, seed=1)

    assert inside is not None
    assert outside is not None
    assert (inside.beyond, outside.beyond) == ("", "duration 6 to 15")
    assert (inside.high, outside.expected, outside.high) == (10, 10, 20), "it may cost more, as it is longer"


def many(number: int = 40) -> list[Params]:
    draw = random.Random(5)
    return [
        {
            "duration": draw.randint(3, 30),
            "resolution": draw.choice(RESOLUTIONS),
            "seed": draw.randint(1, 10**6),
        }
        for _ in range(number)
    ]


RULE = LAWS["by resolution, proportional, rounded up"]
WANTED: Params = {"duration": 12, "resolution": "720p", "seed": 3}


def test_one_absurd_charge_moves_nothing() -> None:
    points = [PricePoint(params=each, credits=RULE(each)) for each in many()]
    points[20] = PricePoint(params=points[20].params, credits=40_500)

    found = PriceBook(points).price(WANTED)

    assert found is not None
    assert found.low <= RULE(WANTED) <= found.high < 1.1 * RULE(WANTED)
    assert "40500 is left out" in found.words


def test_prices_that_have_changed_are_those_of_now() -> None:
    points = [
        PricePoint(params=each, credits=RULE(each) * (3 if n < 18 else 1)) for n, each in enumerate(many())
    ]

    found = PriceBook(points).price(WANTED)

    assert found is not None
    assert found.low <= RULE(WANTED) <= found.high < 1.1 * RULE(WANTED)
    assert "older ones were other prices" in found.words


def test_prices_that_waver_are_fitted_and_say_so() -> None:
    draw = random.Random(2)
    points = [PricePoint(params=each, credits=RULE(each) * draw.uniform(0.93, 1.07)) for each in many()]

    found = PriceBook(points).price(WANTED)

    assert found is not None
    assert found.low < RULE(WANTED) < found.high
    assert "off by up to" in found.words


def test_prices_without_a_law_tell_nothing() -> None:
    draw = random.Random(2)

    assert (
        PriceBook(PricePoint(params=each, credits=draw.randint(1, 100)) for each in many()).price(WANTED)
        is None
    )


# --- among the other things that are known of a price ---

CONTRACT = Contract(id=ModelId("grok-imagine-video"), display_name="Grok", base_credits=10)
BOOK = paid(LAWS["proportional, rounded up"], *({"duration": n} for n in DURATIONS))


def test_a_law_is_better_than_a_list_price_and_no_more() -> None:
    job = spec({"duration": 8})

    def basis(seen: Seen | None = None, *rules: PriceRule) -> Basis:
        return estimate(job, contract=CONTRACT, rules=rules, seen=seen, book=lambda: BOOK).basis

    assert basis() is Basis.FITTED
    assert basis(Seen(ends=(14.0,))) is Basis.OBSERVED
    assert basis(None, PriceRule(model=CONTRACT.id, credits=12)) is Basis.GIVEN
    assert (
        estimate(spec({"mode": "x"}), contract=CONTRACT, rules=(), seen=None, book=lambda: BOOK).basis
        is Basis.LISTED
    )


def test_a_reservation_below_the_law_is_no_price() -> None:
    found = estimate(
        spec({"duration": 8}), contract=CONTRACT, rules=(), seen=Seen(named=3.0), book=lambda: BOOK
    )

    assert found.credits == 14
    assert found.reserve >= 14


def test_the_book_is_not_asked_for_what_is_known() -> None:
    def ask() -> PriceBook:
        raise AssertionError("nobody needs it")

    assert estimate(spec(), contract=CONTRACT, rules=(), seen=Seen(ends=(14.0,)), book=ask).credits == 14


def test_prices_that_were_not_seen_since_all_have_changed_follow_the_others() -> None:
    """Twelve prices doubled in November. Those of which nothing was paid since would double too."""
    old = [
        PricePoint(params=each, credits=LAWS["proportional"](each), at=f"2026-10-{n:02}T00:00:00Z")
        for n, each in enumerate(({"duration": d} for d in range(5, 17)), start=1)
    ]
    new = [
        PricePoint(params={"duration": d}, credits=2 * 1.25 * d, at=f"2026-11-{d:02}T00:00:00Z")
        for d in range(17, 30)
    ]
    book = PriceBook([*old, *new])
    job = spec({"duration": 8})

    def expected(at: str, charge: float) -> tuple[float, Basis]:
        found = estimate(
            job, contract=CONTRACT, rules=(), seen=Seen(ends=(charge,), at=at), book=lambda: book
        )
        return found.credits, found.basis

    assert expected("2026-10-04T00:00:00Z", 10.0) == (20.0, Basis.FITTED)
    assert expected("2026-11-29T00:00:00Z", 10.0) == (10.0, Basis.OBSERVED), "seen since then"
    assert expected("2026-10-04T00:00:00Z", 25.0) == (25.0, Basis.OBSERVED), "never below what was seen"


@given(
    paid_for=st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from(["duration", "resolution", "mode", "seed", "audio"]),
                st.sampled_from([5, 10, "480p", "720p", "10", "fun", True, None]),
                max_size=4,
            ),
            st.sampled_from([1.0, 5.0, 10.0, 17.5, 40_500.0]),
        ),
        max_size=12,
    ),
    wanted=st.dictionaries(
        st.sampled_from(["duration", "resolution", "mode", "seed", "audio"]),
        st.sampled_from([5, 7, 30, "480p", "540p", "1080p", "10", "fun", "x", False, None]),
        max_size=5,
    ),
)
def test_whatever_was_paid_for_a_book_says_something_sensible(
    paid_for: list[tuple[dict[str, Json], float]], wanted: dict[str, Json]
) -> None:
    book = PriceBook(PricePoint(params=params, credits=credits) for params, credits in paid_for)

    found, least = book.price(wanted), book.at_least(wanted)

    if found is not None:
        assert 0 <= found.low <= found.expected <= found.high
        assert found.words
    if least is not None:
        assert least.credits > 0
        assert least.words
