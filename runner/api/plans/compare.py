"""Two plans side by side: what each comes to, and which jobs make the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.api.plans.groups import Range, Totals, range_of
from runner.model import Estimate
from runner.store import plan_groups as store
from runner.store.connection import Connection

EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a plan would pay: in all, and for each job by its id, in credits."""

    name: str
    path: str
    all: Range
    jobs: Mapping[str, float]


def costs(conn: Connection, name: str, path: str, sums: Totals, prices: Mapping[str, Estimate]) -> Costs:
    """Return what a staged plan would pay."""
    jobs = {job.job: range_of(prices[job.shape]).expected for job in store.to_send(conn)}
    return Costs(name=name, path=path, all=sums.all, jobs=jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How one plan differs from another. Each list has `EXAMPLES` ids at most; the numbers count all."""

    this: Costs
    other: Costs
    only_here: int
    only_there: int
    dearer: int
    cheaper: int
    here: Sequence[str]
    there: Sequence[str]
    differing: Sequence[str]


def compared(this: Costs, other: Costs) -> Comparison:
    """Compare two plans."""
    here = [job for job in this.jobs if job not in other.jobs]
    there = [job for job in other.jobs if job not in this.jobs]
    differing = [job for job, credits in this.jobs.items() if other.jobs.get(job, credits) != credits]
    dearer = sum(this.jobs[job] > other.jobs[job] for job in differing)
    return Comparison(
        this=this,
        other=other,
        only_here=len(here),
        only_there=len(there),
        dearer=dearer,
        cheaper=len(differing) - dearer,
        here=here[:EXAMPLES],
        there=there[:EXAMPLES],
        differing=differing[:EXAMPLES],
    )
