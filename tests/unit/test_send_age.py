"""How long ago the first send of a body was, and whether it may be sent again: the rules as tables."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runner.lifecycle.rules import may_send, send_age_s, still_open_s


@pytest.mark.parametrize(
    ("wall", "boot", "boot_id", "now_wall", "now_boot", "now_boot_id", "age"),
    [
        # Both clocks agree.
        (1000, 50, "a", 1060, 110, "a", 60),
        # Suspended: both the wall and the boot clock have counted the sleep.
        (1000, 50, "a", 9000, 8050, "a", 8000),
        # Set back by an hour while 61 minutes passed: the boot clock knows better.
        (10_000, 50, "a", 10_060, 3710, "a", 3660),
        # Set forward: the larger of both.
        (1000, 50, "a", 5000, 60, "a", 4000),
        # Set back before the send: negative counts as over, whatever the boot clock says.
        (1000, 50, "a", 999, 60, "a", math.inf),
        (1000, 50, "a", 0, 60, "a", math.inf),
        # A boot clock that ran backwards within one boot knows nothing.
        (1000, 50, "a", 1060, 40, "a", math.inf),
        # Rebooted: only the wall counts; the boot clock began anew.
        (1000, 5000, "a", 1060, 10, "b", 60),
        (1000, 5000, "a", 900, 10, "b", math.inf),
        # A system without a boot clock, or without a name for its boots.
        (1000, None, None, 1060, None, None, 60),
        (1000, 50, None, 1060, 110, None, 60),
        (1000, 50, "a", 1060, 5000, None, 60),
        (1000, 50, None, 1060, 5000, "a", 60),
        (1000, None, "a", 1060, 110, "a", 60),
        (1000, 50, "a", 1060, None, "a", 60),
        (1000, 50, "", 1060, 9999, "", 60),
        # Unknown.
        (None, 50, "a", 1060, 110, "a", math.inf),
        (None, None, None, 1060, None, None, math.inf),
        (1000, 50, "a", 1000, 50, "a", 0),
    ],
)
def test_the_age_of_a_send(
    wall: float | None,
    boot: float | None,
    boot_id: str | None,
    now_wall: float,
    now_boot: float | None,
    now_boot_id: str | None,
    age: float,
) -> None:
    found = send_age_s(
        sent_wall_s=wall,
        sent_boot_s=boot,
        sent_boot_id=boot_id,
        now_wall_s=now_wall,
        now_boot_s=now_boot,
        boot_id=now_boot_id,
    )

    assert found == age


@pytest.mark.parametrize(
    ("sent_service", "now_service", "age"),
    [
        (5000, 5060, 60),
        # All our clocks stood still for ten hours.
        (5000, 41_060, 36_060),
        # Answers of a service may come from several machines: one that is behind says nothing.
        (5000, 4000, 60),
        (5000, None, 60),
        # It had told none: how much of the difference has passed meanwhile nobody knows.
        (None, 99_999, 98_999),
        (None, 939, math.inf),
        (None, 940, 60),
        (None, 1070, 70),
        (None, None, 60),
    ],
)
def test_the_services_clock_counts_where_it_says_more(
    sent_service: float | None, now_service: float | None, age: float
) -> None:
    clocks: dict[str, Any] = {"sent_boot_s": 50, "sent_boot_id": "a", "now_boot_s": 110, "boot_id": "a"}
    service = {"sent_service_s": sent_service, "now_service_s": now_service}

    assert send_age_s(sent_wall_s=1000, now_wall_s=1060, **clocks, **service) == age
    assert send_age_s(sent_wall_s=1000, now_wall_s=999, **clocks, **service) == math.inf


@pytest.mark.parametrize(
    ("last", "now", "wait"),
    [
        (1000, 1000, 20.0),
        (1000, 1013, 7.0),
        (1000, 1020, 0.0),
        (1000, 9000, 0.0),
        # A clock that was set back, or nothing noted: all of it once more.
        (1000, 999, 20.0),
        (None, 1000, 20.0),
    ],
)
def test_what_may_still_be_worked_on_has_time_to_end(last: float | None, now: float, wait: float) -> None:
    assert still_open_s(last_unclear_s=last, now_s=now, resend_after_s=20.0) == wait


@pytest.mark.parametrize(
    ("in_doubt", "age_s", "may"),
    [
        (0, math.inf, True),  # every send was definitely refused: there is nothing to be in doubt of
        (1, 0.0, True),
        (1, 3600.0, True),
        (1, 3600.1, False),
        (1, math.inf, False),
        (9, 10.0, True),
    ],
)
def test_an_unclear_send_is_repeated_only_inside_its_window(in_doubt: int, age_s: float, may: bool) -> None:
    assert may_send(in_doubt=in_doubt, age_s=age_s, resend_within_s=3600.0) is may


def test_a_window_of_zero_allows_no_repeat() -> None:
    assert not may_send(in_doubt=1, age_s=0.001, resend_within_s=0.0)
