"""Whether one more payment fits: the only place where a cap is judged.

Source: design §8. A cap bounds spent + reserved + what is about to be reserved; the one thing no
client can bound is the first charge of a price never seen, so at most one such probe is out. A price
that was seen may have risen since: what is on its way, its credits not named yet, has to fit even then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runner.model import Budget

# Credits are sums of decimals kept as doubles; a millionth of a credit is nobody's money.
EPSILON = 1e-6
# So many times what was seen before may be charged today, and only one payment's surprise can pass a cap.
RISE = 4.0


class Verdict(StrEnum):
    """What the budget says to one more payment."""

    YES = "yes"
    OVER_JOB = "over_job"  # this job alone is above `max_credits_per_job`: never in this run
    OVER_TOTAL = "over_total"  # no room under `max_credits` now; released credits may make some
    OVER_DAY = "over_day"  # no room under `max_credits_per_day` now
    # A price never seen, and another such probe is still out; or payments are on their way that leave
    # too little room should their prices have risen.
    PROBE_OUT = "probe_out"
    PROBE_ELSEWHERE = "probe_elsewhere"  # the same, of another manifest under the same cap for the day


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Credits that count already: charged, or reserved with an unknown or running outcome."""

    total: float  # of this manifest name, for ever
    day: float  # of the workspace, in the last 24 hours
    job: float  # of this job, in all its rounds
    probes_out: int  # payments of a price never seen whose `reserved_credits` is not known yet
    probes_elsewhere: int = 0  # the same of the workspace's other manifests
    # Of `total` and of `day`: what the service has not named its credits of yet.
    unnamed: float = 0.0
    unnamed_day: float = 0.0
    unnamed_elsewhere: float = 0.0  # of `day`, by other manifests


def judge(*, budget: Budget, estimate: float, price_seen: bool, committed: Committed) -> Verdict:
    """Judge one payment of `estimate` credits against every cap.

    >>> judge(budget=Budget(max_credits=20), estimate=10, price_seen=True,
    ...       committed=Committed(total=10, day=10, job=0, probes_out=0))
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
    return _when_prices_have_risen(budget, estimate, committed)


def _when_prices_have_risen(budget: Budget, estimate: float, committed: Committed) -> Verdict:
    """Judge a payment as if all that is on its way had become dearer: its own surprise is then the only one."""
    more = RISE - 1.0
    if _over(committed.total + more * committed.unnamed + estimate, budget.max_credits):
        return Verdict.PROBE_OUT
    day = committed.day + more * (committed.unnamed_day + committed.unnamed_elsewhere) + estimate
    if _over(day, budget.max_credits_per_day):
        return Verdict.PROBE_OUT if committed.unnamed_day else Verdict.PROBE_ELSEWHERE
    return Verdict.YES


def is_capped(budget: Budget) -> bool:
    """Say whether any cap is set; without one there is no probing."""
    return any(
        cap is not None
        for cap in (budget.max_credits, budget.max_credits_per_job, budget.max_credits_per_day)
    )


def _over(amount: float, cap: float | None) -> bool:
    return cap is not None and amount > cap + EPSILON
