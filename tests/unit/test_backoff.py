"""How long to wait before asking again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pace.backoff import retry_delay_s
from runner.service.retry_after import ABSURD_S, parse_retry_after

NOW = datetime(2026, 11, 22, 18, 44, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempt", "draw", "expected"),
    [(1, 0.5, 0.5), (2, 0.5, 1.0), (3, 0.5, 2.0), (1, 0.0, 0.0), (7, 0.5, 30.0), (10_000, 0.5, 30.0)],
)
def test_a_retry_waits_anywhere_below_the_doubled_base(attempt: int, draw: float, expected: float) -> None:
    assert retry_delay_s(attempt, base_s=1.0, cap_s=60.0, draw=draw) == expected


@given(st.integers(1, 10**6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_retry_never_waits_longer_than_the_cap(
    attempt: int, base_s: float, cap_s: float, draw: float
) -> None:
    assert 0.0 <= retry_delay_s(attempt, base_s=base_s, cap_s=cap_s, draw=draw) <= cap_s


def test_a_retry_before_the_first_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="attempt counts from 1, got 0"):
        retry_delay_s(0, base_s=1.0, cap_s=60.0, draw=0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5.0),
        (" 5 ", 5.0),
        ("0.25", 0.25),
        (".5", 0.5),
        ("0", 0.0),
        ("-3", 0.0),
        ("3600", 3600.0),
        ("30000", 30_000.0),  # a quota of the day
        ("4274.5", 4274.5),
        ("2678401", math.inf),
        ("1764000000", math.inf),  # somebody's epoch time
        ("9" * 60, math.inf),
        ("9" * 400, None),
        ("", None),
        ("soon", None),
        ("5s", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("٥", None),  # a digit, but none of HTTP's
        ("Sun, 22 Nov 2026 25:61:00 GMT", None),
        (None, None),
    ],
)
def test_retry_after_in_seconds(text: str | None, expected: float | None) -> None:
    assert parse_retry_after(text, now_epoch_s=NOW.timestamp()) == expected


@pytest.mark.parametrize(
    ("away_s", "expected"), [(30, 30.0), (0, 0.0), (-90, 0.0), (ABSURD_S + 60, math.inf)]
)
def test_retry_after_as_a_date(away_s: float, expected: float) -> None:
    text = format_datetime(NOW + timedelta(seconds=away_s), usegmt=True)

    assert parse_retry_after(text, now_epoch_s=NOW.timestamp()) == expected


@pytest.mark.parametrize("ours_s", [-3000, 0, 3000, 40_000])
@pytest.mark.parametrize(("away_s", "expected"), [(5, 5.0), (-90, 0.0)])
def test_a_wait_to_a_date_is_reckoned_from_the_date_of_the_same_answer(
    away_s: float, expected: float, ours_s: float
) -> None:
    """Fifty minutes slow, our own clock would have made of five seconds the better part of an hour."""
    text, date = (format_datetime(NOW + timedelta(seconds=s), usegmt=True) for s in (away_s, 0))

    assert parse_retry_after(text, now_epoch_s=NOW.timestamp() + ours_s, date=date) == expected


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 22 Nov 2026 25:61:00 GMT", None])
def test_an_answer_without_a_date_is_reckoned_from_our_own_clock(date: str | None) -> None:
    text = format_datetime(NOW + timedelta(seconds=30), usegmt=True)

    assert parse_retry_after(text, now_epoch_s=NOW.timestamp(), date=date) == 30.0


def test_a_date_without_a_zone_is_in_gmt() -> None:
    assert parse_retry_after("Sun, 22 Nov 2026 18:44:37", now_epoch_s=NOW.timestamp()) == 30.0


@given(st.text(max_size=80))
def test_no_header_can_hurt(text: str) -> None:
    wait_s = parse_retry_after(text, now_epoch_s=NOW.timestamp())

    assert wait_s is None or wait_s == math.inf or 0.0 <= wait_s <= ABSURD_S
