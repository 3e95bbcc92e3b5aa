"""The account's balance as a witness, where a service names no amounts: what it charges shows nowhere else.

Whatever else is spent from the same account moves the balance too, so it proves nothing of one payment and nothing is
computed from it. But a fall far beyond what is counted is for a person to see before a cap is trusted.
"""

from __future__ import annotations

from runner.money.budget import EPSILON

# So many payments are tried one by one before a service that names no amounts is believed to name none.
FIRST_LOOK = 3
# The smallest mistake in whole credits is 2 for 1; less may be rounding, or a little that was spent elsewhere.
FAR = 1.5


class Balance:
    """Compares how far the balance has fallen in a run with what is counted.

    `wanted` says that it is to be asked for now; until it is told, nothing new is paid for. `trying` says that a service
    was silent in earlier runs, and that the balance has not spoken for it in this one: payments go one by one.
    """

    def __init__(self) -> None:
        self._start: float | None = None
        self._charged_before = 0.0
        self._not_named = 0
        self._look_at = FIRST_LOOK
        self.wanted = False
        self.trying = False

    def begins(self, balance: float | None, *, charged: float, silent: bool) -> None:
        """A run begins.

        Args:
            balance: The account's credits, None where nobody knows: then nothing is ever wanted.
            charged: What counts as charged by then, in credits.
            silent: The service is known to name no amounts.
        """
        self._start, self._charged_before = balance, charged
        self.trying = silent and balance is not None

    def not_named(self) -> None:
        """A payment has ended, and the service has named no amount for it at any time."""
        self._not_named += 1
        self.wanted = self.wanted or (self._start is not None and self._not_named >= self._look_at)

    def told(self, balance: float | None, *, counted: float) -> str | None:
        """Take the balance of now; return why a person has to look, None where nothing speaks for that.

        Args:
            balance: None where the answer named none: it is asked for again when the next payment ends.
            counted: What counts as charged or reserved now, in credits.
        """
        if not self.wanted or self._start is None:
            return None
        self.wanted = self.trying = False
        if balance is None:
            self._look_at = self._not_named + 1
            return None
        self._look_at = 2 * self._not_named
        fallen, ours = self._start - balance, counted - self._charged_before
        if fallen <= FAR * ours + EPSILON:
            return None
        return (
            f"the service names no amounts, and its balance has fallen by {fallen:g} credits since this run began, where"
            f" {ours:g} are counted, so a cap may not hold; no more jobs were submitted. If nothing else has spent them,"
            " give the price in the manifest (`prices:`), then run again"
        )
