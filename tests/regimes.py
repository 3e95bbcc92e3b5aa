"""The regimes a scheduler has to do well in, and what well means. `python -m tests.regimes 50` prints the table;
`python -m tests.regimes --ablate 2` what each number of `runner/pace/` is good for (`tests/ablation.py`);
`python -m tests.regimes --several 3` how three runs that share an account do beside one.

The first wall differs: the rate, the slots at the service, or neither.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from runner.model import Polling
from tests.ablation import KINDS, table, write
from tests.simulation import Client, World, draw_durations, oracle_s, run_several, scheduler

MOST_RATIO = 1.10  # of the oracle

QUICK = Polling(first_s=0.2, min_s=0.2, max_s=2.0)
BRISK = Polling(first_s=1.0, min_s=1.0, max_s=10.0)
DOCUMENTED = Polling()

# What a task takes does not depend on when it was submitted, so what was learned stays true.
STEADY = ("constant", "uniform", "wide", "lognormal", "bimodal", "heavy")
# It does, or some tasks fail long before the others end.
CHANGING = ("drifting", "speeding", "failing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """A run of `jobs` tasks of about `typical_s`; `most_polls` a task are allowed."""

    jobs: int
    typical_s: float
    rate: float
    in_flight: int | None = None
    polling: Polling
    most_polls: float
    window_s: float = 1.0  # over which the service counts
    retry_after: str = "seconds"

    def world(self, kind: str, seed: int) -> World:
        """Return a service of this regime: durations of a kind, limits of the three kinds in turn."""
        durations_s = draw_durations(kind, self.jobs, self.typical_s, random.Random(seed))
        limiter = ("bucket", "log", "window")[seed % 3]
        return World(
            durations_s=durations_s,
            rate=self.rate,
            in_flight=self.in_flight,
            kind=limiter,
            window_s=self.window_s,
            retry_after=self.retry_after,
        )


REGIMES = {
    "rate, short tasks": Regime(jobs=400, typical_s=12, rate=20, polling=QUICK, most_polls=1.6),
    "rate, long tasks": Regime(jobs=300, typical_s=120, rate=2, polling=DOCUMENTED, most_polls=1.6),
    "rate as scarce as time": Regime(jobs=600, typical_s=40, rate=20, polling=DOCUMENTED, most_polls=1.6),
    "slots, images": Regime(jobs=500, typical_s=10, rate=50, in_flight=100, polling=QUICK, most_polls=5),
    "slots, videos": Regime(jobs=200, typical_s=150, rate=10, in_flight=50, polling=DOCUMENTED, most_polls=8),
    "few slots": Regime(jobs=120, typical_s=30, rate=20, in_flight=20, polling=BRISK, most_polls=5),
    "neither, one cohort": Regime(jobs=150, typical_s=40, rate=50, polling=DOCUMENTED, most_polls=2.2),
    "rate by the minute": Regime(
        jobs=300,
        typical_s=120,
        rate=1,
        polling=DOCUMENTED,
        most_polls=1.6,
        window_s=60.0,
        retry_after="none",
    ),
    "neither, brisk": Regime(jobs=300, typical_s=30, rate=100, polling=BRISK, most_polls=2.2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one run came to."""

    makespan_s: float
    ratio: float  # makespan / oracle
    polls: float  # a task
    rejected: float  # answers 429 per 1,000 successes


def score(regime: str, kind: str, seed: int, *, given: bool = True, runs: int = 1) -> Score:
    """Run one world of a regime with its limits given, or to be found; by several runs, which share the account."""
    case = REGIMES[regime]
    world = case.world(kind, seed)
    rate, window = (case.rate, case.in_flight) if given else (None, None)
    if runs > 1:
        outcome = run_several(world, runs, given=rate, window=window, polling=case.polling, seed=seed)
    else:
        outcome = Client(world, scheduler(given=rate, window=window, polling=case.polling), seed=seed).run()
    return Score(
        makespan_s=outcome.makespan_s,
        ratio=outcome.makespan_s / oracle_s(world),
        polls=outcome.polls_a_task,
        rejected=outcome.per_thousand,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the runs of one regime and one kind of durations came to."""

    regime: str
    kind: str
    makespan_s: float  # mean of all seeds, as the other numbers
    ratio: float
    worst_ratio: float
    polls: float
    worst_polls: float
    rejected: float  # the most in one run, per 1,000 successes

    @property
    def held(self) -> bool:
        """Whether the mean holds the bar."""
        return self.ratio <= MOST_RATIO and self.polls <= REGIMES[self.regime].most_polls

    def __str__(self) -> str:
        return (
            f"{self.regime:24} {self.kind:10} {self.ratio:6.3f} {self.worst_ratio:6.3f} {self.polls:6.2f}"
            f" {self.worst_polls:6.2f} {REGIMES[self.regime].most_polls:4} {self.rejected:5.1f}"
            f"{'' if self.held else '  missed'}"
        )


HEAD = (
    f"{'regime':24} {'durations':10} {'ratio':>6} {'worst':>6} {'polls':>6} {'worst':>6} {'of':>4} {'429':>5}"
)


def rows(seeds: int) -> Iterator[Row]:
    """Run all regimes with all kinds of durations, on all cores."""
    with ProcessPoolExecutor() as workers:
        for name in REGIMES:
            for kind in (*STEADY, *CHANGING):
                scores = list(workers.map(score, [name] * seeds, [kind] * seeds, range(seeds)))
                ratios, polls = [one.ratio for one in scores], [one.polls for one in scores]
                yield Row(
                    regime=name,
                    kind=kind,
                    makespan_s=statistics.mean(one.makespan_s for one in scores),
                    ratio=statistics.mean(ratios),
                    worst_ratio=max(ratios),
                    polls=statistics.mean(polls),
                    worst_polls=max(polls),
                    rejected=max(one.rejected for one in scores),
                )


def beside_one(runs: int, seeds: int) -> Iterator[str]:
    """Yield how so many runs do beside one, each regime once with its limits given and once with them to be found."""
    yield f"{'regime':24} {'limits':8} {'ratio':>6} {'alone':>6} {'polls':>6} {'alone':>6} {'429':>5} {'alone':>6}"
    with ProcessPoolExecutor() as workers:
        for given in (True, False):
            for regime in REGIMES:
                found: list[tuple[float, float, float]] = []
                for number in (runs, 1):
                    work = partial(score, given=given, runs=number)
                    kinds = [STEADY[seed % len(STEADY)] for seed in range(seeds)]
                    scores = list(workers.map(work, [regime] * seeds, kinds, range(seeds)))
                    found.append(
                        (
                            statistics.mean(one.ratio for one in scores),
                            statistics.mean(one.polls for one in scores),
                            statistics.mean(one.rejected for one in scores),
                        )
                    )
                (ratio, polls, rejected), alone = found
                limits = "given" if given else "found"
                yield (
                    f"{regime:24} {limits:8} {ratio:6.3f} {alone[0]:6.3f} {polls:6.2f} {alone[1]:6.2f}"
                    f" {rejected:5.1f} {alone[2]:6.1f}"
                )


def ablated(regime: str, seed: int, given: bool) -> tuple[float, float, float]:
    """Run one world for `tests.ablation`; each seed has a kind of durations of its own."""
    one = score(regime, KINDS[seed % len(KINDS)], seed, given=given)
    return one.ratio, one.polls, one.rejected


if __name__ == "__main__":
    asked = [argument for argument in sys.argv[1:] if argument.isdecimal()]
    if "--several" in sys.argv:
        for told in beside_one(int(asked[0]) if asked else 3, 9):
            print(told, flush=True)
    elif "--ablate" in sys.argv:
        seeds = int(asked[0]) if asked else 2
        lines = []
        for line in table(run=ablated, regimes=tuple(REGIMES), seeds=seeds):
            lines.append(line)
            print(line, flush=True)
        if "--write" in sys.argv:
            write(lines)
    else:
        print(HEAD)
        for row in rows(int(asked[0]) if asked else 10):
            print(row, flush=True)
