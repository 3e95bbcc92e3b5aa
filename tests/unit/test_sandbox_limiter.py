"""The sandbox's limits let pass what they promise and no more."""

from __future__ import annotations

from bisect import bisect_left

import pytest

from runner.sandbox.limiter import make_limiter


@pytest.mark.parametrize("began_s", [0.0, 0.1, 1234.567])
@pytest.mark.parametrize(
    ("kind", "window_s", "most"), [("bucket", 1.0, 40), ("log", 1.0, 20), ("log", 0.3, 7)]
)
def test_one_who_comes_back_to_the_instant_gets_no_more_than_the_limit(
    kind: str, window_s: float, most: int, began_s: float
) -> None:
    limiter = make_limiter(kind, rate=most / window_s if kind == "log" else 20.0, window_s=window_s, burst=20)
    assert limiter is not None
    now = began_s
    passed: list[float] = []
    while len(passed) < 500:
        wait_s = limiter.wait_s(now)
        if wait_s > 0:
            now += max(wait_s, 1e-9)
        else:
            passed.append(now)

    for first, at in enumerate(passed):
        assert bisect_left(passed, at + window_s - 1e-6) - first <= most


@pytest.mark.parametrize("window_s", [0.1, 0.3, 1.0])
def test_a_window_lets_so_many_pass_each_time_and_refuses_the_rest(window_s: float) -> None:
    limiter = make_limiter("window", rate=10 / window_s, window_s=window_s, burst=None)
    assert limiter is not None
    now, passed = 0.0, 0
    while now < 30.0 * window_s - 1e-6:
        wait_s = limiter.wait_s(now)
        now += wait_s
        passed += wait_s == 0

    assert passed == 300
