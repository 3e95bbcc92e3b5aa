"""The same scheduler in virtual time: an hour of waiting in seconds (`tests/simulation.py`)."""

from __future__ import annotations

import random
import statistics

from runner.model import Polling
from tests.bench.ideal import ideal_s
from tests.bench.table import Line, Target
from tests.regimes import MOST_RATIO, REGIMES, rows
from tests.simulation import Client, World, scheduler


def slow_account(jobs: int, seeds: int) -> Line:
    """Run jobs of 60 to 180 s at 2 requests/s, with the default limits of polling."""
    ratios, polls, makespans, ideals, rejected = [], [], [], [], []
    for seed in range(seeds):
        draws = random.Random(seed)
        world = World(durations_s=[draws.uniform(60, 180) for _ in range(jobs)], rate=2.0, burst=2)
        outcome = Client(world, scheduler(given=2.0, polling=Polling()), seed=seed).run()
        best_s = ideal_s(world.durations_s, rate=2.0, burst=2)
        ratios.append(outcome.makespan_s / best_s)
        polls.append(outcome.polls_a_task)
        makespans.append(outcome.makespan_s)
        ideals.append(best_s)
        rejected.append(outcome.rejected)
    return Line(
        work=f"{jobs:,} of 60-180 s at 2/s, virtual time",
        jobs=jobs,
        done=jobs,
        makespan_s=statistics.median(makespans),
        ideal_s=statistics.median(ideals),
        rejected=int(statistics.median(rejected)),
        polls=statistics.median(polls),
        note=f"median of {seeds} seeds, worst ratio {max(ratios):.2f}",
        targets=(Target(field="ratio", most=1.1), Target(field="polls", most=1.6)),
    )


def regimes(seeds: int) -> list[Line]:
    """Run all regimes with all kinds of durations; the numbers are means of all seeds."""
    return [
        Line(
            work=f"{row.regime}, {row.kind}, virtual time",
            jobs=REGIMES[row.regime].jobs,
            done=REGIMES[row.regime].jobs,
            makespan_s=row.makespan_s,
            ideal_s=row.makespan_s / row.ratio,
            polls=row.polls,
            note=f"{seeds} seeds, worst ratio {row.worst_ratio:.2f}, worst polls {row.worst_polls:.2f}",
            targets=(
                Target(field="ratio", most=MOST_RATIO),
                Target(field="polls", most=REGIMES[row.regime].most_polls),
            ),
        )
        for row in rows(seeds)
    ]
