"""What a payment is expected to cost: observed, else given, else fitted, else listed; which charge a person has to see.

What was seen of a price is kept as its last charges, not as the last one: one absurd charge among twenty
must not make a plan of two thousand jobs absurd, nor pass unseen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from runner.contract import Contract
from runner.fingerprint import canonical, price_shape
from runner.model import Basis, Estimate, Job, JobSpec, Json, PriceRule
from runner.money.price_book import PriceBook, number_in
from runner.money.price_lines import ALIKE

# So many of the last charges tell a price: enough for one odd one to stand alone among them.
RECENT = 20
# So many alike are a new price, whatever was charged before.
CHANGED = 3
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
    at: str | None = field(default=None, compare=False)  # when it was seen last

    @property
    def usual(self) -> float:
        """The median charge, half of them were no higher; or what the last ones agree on: a price may have changed.

        >>> Seen(ends=(10, 10, 10, 40_500)).usual, Seen(ends=(10, 10, 10, 10, 12, 12, 12)).usual
        (10, 12)
        """
        return _usual(self.ends)

    @property
    def highest(self) -> float:
        """The highest charge that is no single accident; 0 while no task has ended.

        >>> Seen(ends=(12, 12, 40_500)).highest, Seen(ends=(12, 200, 200)).highest, Seen(ends=(40_500,)).highest
        (12, 200, 40500)
        """
        return _highest(self.ends)


# One price is asked for with each job, and its last charges are the same for a long time.
@lru_cache(maxsize=200)
def _usual(ends: tuple[float, ...]) -> float:
    if not ends:
        return 0.0
    *_, last = newest = ends[-CHANGED:]
    if len(newest) == CHANGED and all(abs(each - last) <= ALIKE * last for each in newest):
        return last
    return sorted(ends)[(len(ends) - 1) // 2]


@lru_cache(maxsize=200)
def _highest(ends: tuple[float, ...]) -> float:
    *_, second, top = (0.0, 0.0, *sorted(ends))
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
        rules: The manifest's `prices:`; of those that match, the manifest's own, then the one with most params wins.
        seen: What this workspace has seen of the same shape.
        book: Returns what it has seen of other prices of the model; asked where nothing better is known, and whether these
            have changed since.
    """
    told = _told(job, contract, rules)
    if told.basis is Basis.LISTED and (seen is None or not seen.ends):
        told = _fitted(job, contract, book(), told)
    if seen is not None and seen.ends:
        risen = _risen(job, contract, seen, book)
        if risen is not None:
            return risen
        return Estimate(
            credits=seen.usual,
            reserve=max(seen.usual, seen.highest),
            basis=Basis.OBSERVED,
            most=max(MANY * max(seen.highest, told.credits), SMALL),
            words=f"seen {_times(len(seen.ends))}",
            at=seen.at,
            at_least=min(seen.ends),
        )
    if seen is not None and seen.named:
        # A reservation is no end: it may be a placeholder below the listed price, which is a lower bound.
        credits = max(seen.named, told.credits)
        return _exactly(credits, Basis.OBSERVED, MANY, words="reserved, not charged yet", at=seen.at)
    return told


def _risen(
    job: Job | JobSpec, contract: Contract | None, seen: Seen, book: Callable[[], PriceBook | None]
) -> Estimate | None:
    """Return what a price is likely to be now, where all prices of the model have changed since it was seen last.

    Never less than what it was: that is known.
    """
    known = book() if seen.at is not None and contract is not None else None
    if known is None or seen.at is None or not seen.at < known.changed_at:
        return None
    nothing = Estimate(credits=0.0, reserve=0.0, basis=Basis.LISTED)
    now = _fitted(job, contract, known, nothing)
    if now.basis is not Basis.FITTED or now.credits <= seen.usual:
        return None
    return replace(now, reserve=max(now.reserve, seen.highest))


def _times(number: int) -> str:
    if number >= RECENT:
        return f"{RECENT} times or more"
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _told(job: Job | JobSpec, contract: Contract | None, rules: Sequence[PriceRule]) -> Estimate:
    matching = [
        (rule, credits)
        for rule in rules
        if rule.model == job.model
        and all(job.params.get(key) == value for key, value in rule.params.items())
        and (credits := given_price(rule, job.params)) is not None
    ]
    if matching:
        rule, credits = max(matching, key=lambda each: (not each[0].shared, len(each[0].params)))
        words = "given in state/prices.yaml" if rule.shared else "given"
        return _exactly(credits, Basis.GIVEN, MANY, words=words)
    listed = float(contract.base_credits or 0) if contract is not None else 0.0
    if not listed > 0:
        # A lower bound of nothing tells nothing.
        return Estimate(credits=0.0, reserve=0.0, basis=Basis.LISTED, words="not listed")
    return _exactly(listed, Basis.LISTED, OPTIONS, words="listed")


def given_price(rule: PriceRule, params: Mapping[str, Json]) -> float | None:
    """Return what a rule says of a job with these params; None where a number is left out and has no default.

    >>> rule = PriceRule(model="m", credits=2, per={"duration": 1.5}, factors={"mode": {'"fun"': 2}}, rounding="up")
    >>> given_price(rule, {"duration": 5, "mode": "fun"}), given_price(rule, {"duration": 5}), given_price(rule, {})
    (19.0, 10.0, None)
    """
    credits = rule.credits
    for name, each in rule.per.items():
        number = number_in(params.get(name, rule.defaults.get(name)))
        if number is None:
            return None
        credits += each * number
    for name, factors in rule.factors.items():
        credits *= factors.get(canonical(params.get(name, rule.defaults.get(name))), 1.0)
    return ROUNDINGS[rule.rounding](credits)


# Of what arithmetic in doubles makes of 0.1 x 30.
_HAIR = 1e-9
ROUNDINGS: Mapping[str, Callable[[float], float]] = {
    "": lambda credits: credits,
    "up": lambda credits: float(math.ceil(credits - _HAIR)),
    "nearest": lambda credits: float(math.floor(credits + 0.5 + _HAIR)),
    "down": lambda credits: float(math.floor(credits + _HAIR)),
}


def _fitted(
    job: Job | JobSpec, contract: Contract | None, book: PriceBook | None, listed: Estimate
) -> Estimate:
    """Return what a law says of a price that was never paid; else what is listed, or more if less of it cost more."""
    if book is None:
        return listed
    kinds = [reference.kind.value for reference in job.references]
    length = len(job.prompt or "") if contract is not None and contract.metered else 0
    found = book.price(job.params, kinds, length)
    if found is None:
        least = book.at_least(job.params, kinds, length)
        if least is None or least.credits <= listed.credits:
            return listed
        return _exactly(least.credits, Basis.LISTED, OPTIONS, words=least.words)
    return Estimate(
        credits=found.expected,
        reserve=max(found.expected, found.high),
        basis=Basis.FITTED,
        most=max(MANY * found.high, SMALL),
        words=found.words,
        beyond=found.beyond,
        at_least=found.low,
    )


def _exactly(
    credits: float, basis: Basis, many: float, *, words: str = "", at: str | None = None
) -> Estimate:
    most = max(many * credits, SMALL)
    return Estimate(credits=credits, reserve=credits, basis=basis, most=most, words=words, at=at)


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
