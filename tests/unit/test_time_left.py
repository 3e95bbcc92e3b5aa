"""How long a run will still take, by the pace at which jobs come home."""

from __future__ import annotations

import pytest

from runner.engine.heartbeat import time_left_s


@pytest.mark.parametrize(
    ("left", "done_at", "now", "seconds"),
    [
        (100, [0.0, 5.0, 10.0, 15.0], 20.0, 500.0),
        (100, [10.0, 10.5, 11.0], 12.0, None),  # the first few, at once: nothing is told yet
        (100, [0.0, 1.0], 60.0, None),
        (100, [], 60.0, None),
        (0, [0.0, 5.0, 10.0], 20.0, None),
    ],
)
def test_the_time_left_is_told_once_a_pace_is_there(
    left: int, done_at: list[float], now: float, seconds: float | None
) -> None:
    assert time_left_s(left, done_at, now) == seconds
