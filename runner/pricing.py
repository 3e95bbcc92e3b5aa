"""What a payment is expected to cost: observed, else given, else listed."""

from __future__ import annotations

from collections.abc import Sequence

from runner.contract import Contract
from runner.fingerprint import price_shape
from runner.model import Basis, Estimate, Job, JobSpec, PriceRule


def shape_of(spec: JobSpec, contract: Contract) -> str:
    """Return the name of what has one price and one distribution of durations."""
    return price_shape(
        model=spec.model,
        params=spec.params,
        kinds=[reference.kind.value for reference in spec.references],
        metered=contract.metered,
        prompt_length=len(spec.prompt or ""),
    )


def estimate(
    job: Job | JobSpec, *, contract: Contract | None, rules: Sequence[PriceRule], observed: Estimate | None
) -> Estimate:
    """Return the expected credits of one payment.

    Args:
        job: What would be paid for.
        contract: Its model's contract, for `base_credits`; None counts as zero.
        rules: The manifest's `prices:`; of those that match, the one with most params wins.
        observed: What this workspace has seen charged for the same shape.
    """
    if observed is not None:
        return observed
    matching = [
        rule
        for rule in rules
        if rule.model == job.model and all(job.params.get(key) == value for key, value in rule.params.items())
    ]
    if matching:
        credits = max(matching, key=lambda rule: len(rule.params)).credits
        return Estimate(credits=credits, reserve=credits, basis=Basis.GIVEN)
    credits = float(contract.base_credits or 0) if contract is not None else 0.0
    return Estimate(credits=credits, reserve=credits, basis=Basis.LISTED)
