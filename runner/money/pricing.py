"""What a payment is expected to cost: observed, else given, else fitted, else listed; which charge a person has to see.

What was seen of a price is kept as its last charges, not as the last one: one absurd charge among twenty
must not make a plan of two thousand jobs absurd, nor pass unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.contract import Contract
from runner.fingerprint import price_shape
from runner.model import Basis, Estimate, Job, JobSpec, PriceRule
from runner.money.price_book import PriceBook

# So many of the last charges tell a price: enough for one odd one to stand alone among them.
RECENT = 20
# A charge more than so many times all that is known of its price is an accident until it comes again. Peak
# hours, rounding or a new price list may well double a price, even twice.
MANY = 4.0
# A listed price is that of a model's cheapest options. The dearest cost up to ten times as much where they are
# five times as long (grok-imagine-video: 6 to 30 s) in twice the resolution.
OPTIONS = 10.0
# Nobody's night is to be stopped for a single charge as small as that.
SMALL = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a workspace has seen of one price."""

    named: float | None = None  # the reservation the service named last
    ends: tuple[
        float, ...
    ] = ()  # what tasks that succeeded were charged in the end: the last `RECENT`, oldest first
    kept: float = 0.0  # credits charged as they had been reserved, since a reservation was last exceeded

    @property
    def usual(self) -> float:
        """The median charge: half of them were no higher."""
        return sorted(self.ends)[(len(self.ends) - 1) // 2] if self.ends else 0.0

    @property
    def highest(self) -> float:
        """The highest charge that is no single accident; 0 while no task has ended.

        >>> Seen(ends=(12, 12, 40_500)).highest, Seen(ends=(12, 200, 200)).highest, Seen(ends=(40_500,)).highest
        (12, 200, 40500)
        """
        *_, second, top = (0.0, 0.0, *sorted(self.ends))
        return second if 0.0 < MANY * second < top else top


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
    job: Job | JobSpec,
    *,
    contract: Contract | None,
    rules: Sequence[PriceRule],
    seen: Seen | None,
    book: Callable[[], PriceBook | None] = lambda: None,
) -> Estimate:
    """Return the expected credits of one payment.

    Args:
        job: What would be paid for.
        contract: Its model's contract, for `base_credits`; None counts as zero.
        rules: The manifest's `prices:`; of those that match, the one with most params wins.
        seen: What this workspace has seen of the same shape.
        book: Returns what it has seen of other prices of the model; asked only where nothing better is known.
    """
    told = _told(job, contract, rules)
    if told.basis is Basis.LISTED and (seen is None or not seen.ends):
        told = _fitted(job, contract, book()) or told
    if seen is not None and seen.ends:
        return Estimate(
            credits=seen.usual,
            reserve=max(seen.usual, seen.highest),
            basis=Basis.OBSERVED,
            most=max(MANY * max(seen.highest, told.credits), SMALL),
        )
    if seen is not None and seen.named:
        # A reservation is no end: it may be a placeholder below the listed price, which is a lower bound.
        credits = max(seen.named, told.credits)
        return _exactly(credits, Basis.OBSERVED, MANY)
    return told


def _told(job: Job | JobSpec, contract: Contract | None, rules: Sequence[PriceRule]) -> Estimate:
    matching = [
        rule
        for rule in rules
        if rule.model == job.model and all(job.params.get(key) == value for key, value in rule.params.items())
    ]
    if matching:
        return _exactly(max(matching, key=lambda rule: len(rule.params)).credits, Basis.GIVEN, MANY)
    listed = float(contract.base_credits or 0) if contract is not None else 0.0
    if not listed > 0:
        return Estimate(
            credits=0.0, reserve=0.0, basis=Basis.LISTED
        )  # a lower bound of nothing tells nothing
    return _exactly(listed, Basis.LISTED, OPTIONS)


def _fitted(job: Job | JobSpec, contract: Contract | None, book: PriceBook | None) -> Estimate | None:
    found = (
        book.price(
            job.params,
            [reference.kind.value for reference in job.references],
            len(job.prompt or "") if contract is not None and contract.metered else 0,
        )
        if book is not None
        else None
    )
    if found is None:
        return None
    return Estimate(
        credits=found.expected,
        reserve=max(found.expected, found.high),
        basis=Basis.FITTED,
        most=max(MANY * found.high, SMALL),
        words=found.words,
        beyond=found.beyond,
    )


def _exactly(credits: float, basis: Basis, many: float) -> Estimate:
    return Estimate(credits=credits, reserve=credits, basis=basis, most=max(many * credits, SMALL))


def surprises_above(
    *, most: float | None, seen: Seen | None, named: float | None, accepted: float
) -> float | None:
    """Return the credits above which a person has to see a charge, None where nothing is known.

    Args:
        most: What the estimate said when it was sent.
        seen: What was seen of its shape until now.
        named: The reservation the service named first for this very payment, if any.
        accepted: The largest such charge of the model that a person has seen, and has gone on; 0 for none.
    """
    highest = seen.highest if seen is not None else 0.0
    # Whoever has accepted what one price of a model came to need not be asked about each of its other prices.
    gone_on = accepted if highest else MANY * accepted
    if most is None and not named and not highest:
        return None
    return max(most or 0.0, MANY * highest, MANY * (named or 0.0), gone_on, SMALL)
