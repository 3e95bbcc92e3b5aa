"""The scheduler against simulated services: the limits of polling always kept, everything found, near the oracle."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.model import Polling
from tests.regimes import MOST_RATIO, REGIMES, score
from tests.simulation import KINDS, Client, World, draw_durations, scheduler

TELLING = ("bimodal", "failing")
QUICK = Polling(first_s=0.2, min_s=0.2, max_s=2.0)


@pytest.mark.parametrize("regime", REGIMES)
def test_a_run_is_near_the_oracle_with_few_polls(regime: str) -> None:
    scores = [score(regime, kind, seed) for kind in TELLING for seed in range(2)]

    # Single runs scatter about the means, which `python -m tests.regimes 50` prints.
    assert statistics.mean(one.ratio for one in scores) <= MOST_RATIO
    assert max(one.ratio for one in scores) <= 1.25
    assert statistics.mean(one.polls for one in scores) <= REGIMES[regime].most_polls
    assert max(one.rejected for one in scores) <= 4.0


@pytest.mark.parametrize("limiter", ["bucket", "log", "window"])
def test_a_hundred_tasks_fifty_at_once(limiter: str) -> None:
    world = World(durations_s=[5.0] * 100, rate=20.0, kind=limiter)

    outcome = Client(world, scheduler(given=20.0, window=50, polling=QUICK)).run()

    assert outcome.makespan_s <= 18.0
    assert outcome.rejected <= 10


@pytest.mark.parametrize("limiter", ["bucket", "log", "window"])
def test_a_hundred_uneven_tasks_at_ten_a_second(limiter: str) -> None:
    rng = random.Random(1)
    world = World(durations_s=[rng.uniform(8, 16) for _ in range(100)], rate=10.0, kind=limiter)

    assert Client(world, scheduler(given=10.0, polling=QUICK)).run().makespan_s <= 31.0


def test_five_hundred_tasks_two_hundred_at_once() -> None:
    world = World(durations_s=[10.0] * 500, rate=0.0, in_flight=200)

    outcome = Client(world, scheduler(given=200.0, window=200, polling=QUICK)).run()

    assert outcome.makespan_s <= 35.0
    assert outcome.polls_a_task <= 2.5


@pytest.mark.parametrize("typical_s", [0.5, 2.0])
def test_tasks_that_end_before_they_may_be_asked_about_are_asked_as_soon_as_they_may(
    typical_s: float,
) -> None:
    polling = Polling()
    world = World(durations_s=[typical_s] * 500, rate=200, in_flight=50)

    outcome = Client(world, scheduler(given=200, window=50, polling=polling)).run()

    rounds = 500 / 50
    assert outcome.makespan_s <= 1.1 * rounds * polling.first_s
    assert outcome.polls == 500


def test_a_resume_with_thousands_waiting_asks_once_and_at_the_pace() -> None:
    rng = random.Random(2)
    world = World(durations_s=[rng.uniform(60, 180) for _ in range(2000)], rate=20.0)
    client = Client(world, scheduler(given=20.0, polling=Polling()))
    client.resume([rng.uniform(300, 3600) for _ in range(2000)])

    outcome = client.run()

    assert outcome.rejected == 0
    assert outcome.polls_a_task <= 1.05
    assert outcome.makespan_s <= 1.08 * 2000 / 20.0


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    jobs=st.integers(1, 80),
    typical_s=st.floats(0.5, 60.0),
    rate=st.floats(2.0, 100.0),
    window=st.none() | st.integers(1, 60),
    lost=st.sampled_from([0.0, 0.2]),
    upload_s=st.none() | st.just(0.3),
    seed=st.integers(0, 1000),
)
def test_manners_are_kept_and_everything_is_found(
    kind: str,
    jobs: int,
    typical_s: float,
    rate: float,
    window: int | None,
    lost: float,
    upload_s: float | None,
    seed: int,
) -> None:
    durations_s = draw_durations(kind, jobs, typical_s, random.Random(seed))
    world = World(durations_s=durations_s, rate=rate, lost=lost, upload_s=upload_s)
    limits = Polling(first_s=0.5, min_s=0.4, max_s=10.0)

    outcome = Client(world, scheduler(given=rate, window=window, polling=limits), seed=seed).run()

    assert len(outcome.found_at) == jobs
    assert outcome.earliest_poll_s >= limits.first_s - 1e-6
    # The simulated client asks for 0.2 s after an unclear poll; the scheduler keeps to the limits.
    assert outcome.closest_polls_s >= limits.min_s - 1e-6
    assert window is None or outcome.most_in_flight <= window
