"""Three kinds of rate limit let through what they promise."""

from __future__ import annotations

import pytest

from runner.sandbox.limiter import make_limiter


def passed(kind: str, times: list[float], *, rate: float = 2, window_s: float = 10) -> int:
    limiter = make_limiter(kind, rate=rate, window_s=window_s, burst=None)
    assert limiter is not None
    return sum(limiter.wait_s(at) == 0 for at in times)


def test_no_rate_is_no_limit() -> None:
    assert make_limiter("bucket", rate=0, window_s=1, burst=None) is None


@pytest.mark.parametrize(("kind", "expected"), [("bucket", 2), ("window", 20), ("log", 20)])
def test_a_rush_gets_the_burst_or_the_window(kind: str, expected: int) -> None:
    assert passed(kind, [5.0] * 100) == expected


@pytest.mark.parametrize("kind", ["bucket", "window", "log"])
def test_a_steady_stream_at_the_rate_passes_whole(kind: str) -> None:
    assert passed(kind, [n * 0.5 for n in range(200)]) == 200


@pytest.mark.parametrize("kind", ["bucket", "window", "log"])
def test_a_stream_at_twice_the_rate_passes_by_half(kind: str) -> None:
    assert passed(kind, [n * 0.25 for n in range(400)]) == pytest.approx(200, abs=20)


@pytest.mark.parametrize("kind", ["bucket", "window", "log"])
def test_waiting_as_told_is_enough_and_a_refusal_uses_nothing_up(kind: str) -> None:
    limiter = make_limiter(kind, rate=2, window_s=10, burst=None)
    assert limiter is not None
    now = 0.0
    for _ in range(100):
        wait_s = limiter.wait_s(now)
        assert limiter.wait_s(now) >= wait_s > 0 if wait_s else True
        now += wait_s + 1e-9 if wait_s else 0


def test_a_bucket_can_be_told_its_size() -> None:
    limiter = make_limiter("bucket", rate=2, window_s=1, burst=7)
    assert limiter is not None
    assert sum(limiter.wait_s(0) == 0 for _ in range(50)) == 7
