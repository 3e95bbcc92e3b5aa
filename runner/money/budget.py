"""Whether one more payment fits: the only place where a cap is judged.

A cap bounds what was charged, what is on its way and what is about to be sent. What is on its way has no
price yet: a service may name none, may name one and charge another, and may charge more today than it ever
did. So each payment on its way counts with the larger of what was reserved for it and what its shape was
charged in the end, and has to fit the cap even if it comes to several times that:

- `UNTRIED` times, while no task of the model has ended: its only price is a listed lower bound. So one job is
  tried first, or as many as the cap can bear at that price;
- `RISE` times, while the service has not named a reservation, or did not keep to the last ones;
- `KEPT` times, where it has named one. This holds for as many credits as have ended as they were reserved:
  what may be on its way doubles with every round of ends, and begins anew when a reservation is exceeded.

The arithmetic: let `t` be what counts already, `m` what the payments on their way may come to beyond that,
`e` the estimate of one more. It is sent if t + m + e <= cap. Whatever becomes of the others within `m`, the sum
is then at most cap - e plus the charge of this one. The same was true of those before it. So the sum passes the
cap by the surprise of one payment at most (its charge minus its estimate), as long as no charge is more than
those multiples of what was known of it. Where one is, what was on its way at that moment can pass the cap, and
near the cap that is a few payments at most. `max_credits_per_job` bounds each payment alone: there the first end of
a shape is waited for, unless it would fit at `RISE` times its estimate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from runner.model import Budget
from runner.money.pricing import MANY, OPTIONS

# Credits are sums of decimals kept as doubles; a millionth of a credit is nobody's money.
EPSILON = 1e-6
# A reservation that is named, by a service that keeps to them, is exceeded by no more than what would be an
# accident, and an accident stops a run.
KEPT = MANY
# Nothing bounds how far a price may rise unseen. All options charged at the price of the dearest is tenfold, and a
# new price list on the same day doubles that.
RISE = 2 * OPTIONS
# A listed price may be that of other options, and may have risen besides.
UNTRIED = OPTIONS * RISE


class Verdict(StrEnum):
    """What the budget says to one more payment."""

    YES = "yes"
    OVER_JOB = "over_job"  # this job alone is above `max_credits_per_job`: never in this run
    OVER_TOTAL = "over_total"  # no room under `max_credits` now; released credits may make some
    OVER_DAY = "over_day"  # no room under `max_credits_per_day` now
    PROBE_OUT = "probe_out"  # a price of which too little is known, and another payment that will tell is out
    PROBE_ELSEWHERE = "probe_elsewhere"  # the same, of another manifest under the same cap for the day
    WAIT = "wait"  # there may be room once it is known what the payments on their way cost
    WAIT_ELSEWHERE = "wait_elsewhere"  # the same, and they are all of other manifests


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheWay:
    """Payments of one shape whose end is not known."""

    payments: int
    amount: float  # credits they count with
    named: float = 0.0  # of that: where the service has named a reservation
    kept: float = 0.0  # credits of this shape that have ended as they were reserved
    highest: float = 0.0  # what this shape was charged in the end, at most; 0 while no task has ended
    tried: bool = True  # a task of the model has ended


def may_come_to(payments: OnTheWay) -> float:
    """Return the credits that payments on their way have to fit with.

    >>> may_come_to(OnTheWay(payments=3, amount=30, named=30, kept=20, highest=10))
    280.0
    """
    counted = max(payments.amount, payments.payments * payments.highest)
    kept = min(payments.named, payments.kept)
    return KEPT * kept + (RISE if payments.tried else UNTRIED) * (counted - kept)


def beyond(payments: Iterable[OnTheWay]) -> float:
    """Return by how much payments on their way may exceed what they count with."""
    return sum(may_come_to(each) - each.amount for each in payments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Credits that count already: charged, or reserved with an unknown or running outcome."""

    total: float  # of this manifest name, for ever
    day: float  # of the workspace, in the last 24 hours
    job: float  # of this job, in all its rounds
    first_out: int = 0  # payments of this job's shape, of which no end was ever seen
    probes_out: int = 0  # payments of a price of which the service has never named anything
    probes_elsewhere: int = 0  # the same of the workspace's other manifests
    beyond: float = 0.0  # how much more than `total` it may come to
    beyond_day: float = 0.0  # how much more than `day`
    beyond_own: float = 0.0  # of that, by payments of this manifest


def judge(*, budget: Budget, estimate: float, price_seen: bool, committed: Committed) -> Verdict:
    """Judge one payment of `estimate` credits against every cap.

    >>> judge(budget=Budget(max_credits=20), estimate=10, price_seen=True,
    ...       committed=Committed(total=10, day=10, job=0))
    <Verdict.YES: 'yes'>
    """
    if _over(committed.job + estimate, budget.max_credits_per_job):
        return Verdict.OVER_JOB
    if _over(committed.total + estimate, budget.max_credits):
        return Verdict.OVER_TOTAL
    if _over(committed.day + estimate, budget.max_credits_per_day):
        return Verdict.OVER_DAY
    if not price_seen and committed.probes_out > 0 and is_capped(budget):
        return Verdict.PROBE_OUT
    if not price_seen and committed.probes_elsewhere > 0 and budget.max_credits_per_day is not None:
        return Verdict.PROBE_ELSEWHERE
    if committed.first_out and _over(committed.job + RISE * estimate, budget.max_credits_per_job):
        return Verdict.PROBE_OUT
    if _over(committed.total + committed.beyond + estimate, budget.max_credits):
        return Verdict.WAIT
    if _over(committed.day + committed.beyond_day + estimate, budget.max_credits_per_day):
        return Verdict.WAIT if committed.beyond_own else Verdict.WAIT_ELSEWHERE
    return Verdict.YES


def is_capped(budget: Budget) -> bool:
    """Say whether any cap is set; without one there is no probing."""
    return any(
        cap is not None
        for cap in (budget.max_credits, budget.max_credits_per_job, budget.max_credits_per_day)
    )


def _over(amount: float, cap: float | None) -> bool:
    return cap is not None and amount > cap + EPSILON
