"""A factor for each value of two options, told from charges of some of their combinations.

Each combination that was paid for says between which two rates the product of its two factors lies. So far as they
are joined, those say what a combination comes to that was never paid for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Rates = tuple[float, float]  # the lowest and the highest that one may be
_SMALLEST = 1e-9


class Factors:
    """All factors that agree with some rates.

    >>> found = Factors({("480p", "fun"): (10, 10), ("720p", "fun"): (20, 20), ("480p", "spicy"): (15, 15)})
    >>> low, high = found.rates("720p", "spicy")
    >>> round(low, 6), round(high, 6)
    (30.0, 30.0)

    Args:
        rates: By the values of the two options.
    """

    def __init__(self, rates: Mapping[tuple[str, str], Rates]) -> None:
        # The logarithm of a rate is u + v: with w = -v, both edges of it are bounds of a difference, u - w.
        names = {("u", one) for one, _ in rates} | {("w", other) for _, other in rates}
        far = {(a, b): 0.0 if a == b else math.inf for a in names for b in names}
        for (one, other), (low, high) in rates.items():
            u, w = ("u", one), ("w", other)
            far[w, u] = min(far[w, u], math.log(max(high, _SMALLEST)))
            far[u, w] = min(far[u, w], -math.log(max(low, _SMALLEST)))
        for through in names:
            for a in names:
                for b in names:
                    far[a, b] = min(far[a, b], far[a, through] + far[through, b])
        self._far = far
        self.agree = all(far[name, name] >= -_SMALLEST for name in names)

    def rates(self, one: str, other: str) -> Rates | None:
        """Return between which two rates a combination lies; None where nothing tells."""
        u, w = ("u", one), ("w", other)
        high, low = self._far.get((w, u), math.inf), self._far.get((u, w), math.inf)
        if math.inf in (high, low):
            return None
        return math.exp(-low), math.exp(high)
