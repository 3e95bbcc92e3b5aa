"""How fast we may send: one rate for all requests of the account, and one gate that a 429 closes for all.

Pure: `now` is the reading of a monotonic clock in seconds, given by the caller; draws are passed in.

Measure what passes, stay just under it, look a little higher now and then. One gate for everyone matters more
than the formula.
"""

from __future__ import annotations

import math
from collections import deque

from runner.pace.backoff import FIRST_BACKOFF_S, LATELY_S, LONG_WAIT_S

# A number given by the user is used up to here: with 2 % to spare, a service that counts one second at
# a time never sees one request too many, though ours arrive up to 20 ms early or late.
USE_OF_GIVEN = 0.98
# A rate that was found is used up to here.
USE_OF_FOUND = 0.985
# How late we may be and still keep to the grid of send times instead of starting a new one.
CATCH_UP_S = 0.02
# Sitting under a limit, we look a little higher this often; seldom at last, where the limit stays.
PROBE_EVERY_S, RARELY_S = 15.0, 60.0
PROBE_STEP, LARGEST_STEP = 0.01, 0.1
# Just after the first refusal the limit is known badly: look around in larger steps.
SETTLE_EVERY_S, SETTLE_STEP = 2.0, 0.06
# Refusals closer than this are duplicates of one, and tell no rate; so many of them do.
CLEAR_S, MANY_DUPLICATES = 1.0, 3
# A pace held for so long before a step up was sound; a cycle so long covers a whole window of most limits.
SOUND_S, WHOLE_S, WHOLE_REQUESTS = 4.0, 8.0, 50
DOWN = 0.9  # the largest cut on weak evidence
MEASURED_S = 15.0
SLOWEST_PER_S = 0.02
START_PER_S = 5.0  # where the search for a limit begins
LONGEST_BACKOFF_S = 30.0  # where a 429 does not say how long
# A streak of refusals is over when something passes that was sent so much later, or after so many that passed.
STREAK_S, STREAK_PASSES = 1.0, 10
MOST_WITH_PASSES = 3  # refusals of a streak that lengthen the wait although something passed between them
# How long a single request may be on its way while the gate is half open, before another one may ask.
HALF_OPEN_S = 2.0


class Governor:
    """One rate for all requests of the account, and one gate that a 429 closes for all.

    Args:
        ceiling_per_s: Requests a second never to exceed; None to find the limit.
        share: The part of the account's rate that is ours, from (0, 1].
        found_per_s: The account's limit as an earlier run found it; None if it never met one.
        start_per_s: Where the search begins.
    """

    def __init__(
        self,
        *,
        ceiling_per_s: float | None = None,
        share: float = 1.0,
        found_per_s: float | None = None,
        start_per_s: float = START_PER_S,
    ) -> None:
        self._ceiling = ceiling_per_s
        self._share = share
        self._found: float | None = None
        if ceiling_per_s is not None:
            self._pace = ceiling_per_s * share * USE_OF_GIVEN
        elif found_per_s is not None and found_per_s > 0:
            self._found = found_per_s * share
            self._pace = self._found * USE_OF_FOUND
        else:
            self._pace = start_per_s * share
        self._climbing = ceiling_per_s is None and self._found is None
        self._next = -math.inf  # when the grid allows the next request
        self._closed_until = -math.inf  # when the gate opens after a 429
        self._opened_at = -math.inf  # what was sent before this knows nothing of the last 429
        self._half_open = False  # two refusals in a row: one request at a time until one passes
        self._refused = 0  # refusals in a row, waves counted as one
        self._streak = 0  # the same, but a pass or two does not end it
        self._passed = 0
        self._shut_s = 0.0  # how long the gate was last closed in all
        self._shut_at = -math.inf
        # The clock of wanting: runs only while we had something to send and the gate or the grid held it.
        self._busy_s = 0.0
        self._seen_at: float | None = None
        self._wanted_until = -math.inf
        self._idle = True
        self._log: deque[float] = deque()  # wanting-clock readings of the last sends
        self._cycle_began_s = 0.0  # wanting-clock reading at the last refusal
        self._cycle_sent = 0
        self._cycle_shut_s = 0.0
        self._safe: float | None = None  # the pace before the last step up
        self._beyond = False
        self._once = (
            0.0  # what passed over a whole cycle, however low a duplicate refusal has pushed us since
        )
        self._probed_s = 0.0
        self._step = PROBE_STEP
        self._every_s = PROBE_EVERY_S
        self._quiet_probes = 0
        self._unexplained = False  # refused, and not yet clear whether for the rate
        self._unexplained_at: tuple[float, int] | None = None  # (wanting-clock, requests of the cycle) then
        self._sent_at: deque[float] = deque(maxlen=64)
        self._second = 0
        self._in_second = 0
        self._most_in_second = 0.0
        self._duplicates = 0

    @property
    def rate_per_s(self) -> float:
        """Requests a second we now allow ourselves."""
        return self._pace

    @property
    def found_per_s(self) -> float | None:
        """The limit of the whole account as far as it was met; None while it was not."""
        return None if self._found is None else self._found / self._share

    @property
    def proven_per_s(self) -> float:
        """The best word on what passes: what was found, and what was lately sent in a second."""
        if self._found is None:
            return min(self._most_in_second, self._pace)
        return max(self._found, min(self._most_in_second / 2, self._pace))

    @property
    def knows_a_limit(self) -> bool:
        """Whether a limit was given or met."""
        return self._ceiling is not None or self._found is not None

    @property
    def opened_at(self) -> float:
        """What was sent before this belongs to a refusal already known."""
        return self._opened_at

    @property
    def share(self) -> float:
        """The part of the account's rate that is ours."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        factor = share / self._share
        self._share = share
        self._pace *= factor
        if self._found is not None:
            self._found *= factor

    @property
    def wanting_s(self) -> float:
        """Seconds so far in which we had something to send and the rate held it back."""
        return self._busy_s

    def lately_per_s(self, now: float) -> float:
        """Return the requests a second of the last two seconds."""
        times = [at for at in self._sent_at if at > now - LATELY_S]
        full = len(times) == self._sent_at.maxlen
        return len(times) / max(now - times[0], 1e-3) if full else len(times) / LATELY_S

    def next_at(self, now: float) -> float:
        """Return when the next request may go; not after `now` means at once."""
        return max(self._next, self._closed_until, -math.inf)

    def want(self, now: float) -> None:
        """Say that there is something to send which has to wait for `next_at`."""
        self._tick(now)
        self._wanted_until = self.next_at(now)
        self._idle = False

    def idle(self, now: float) -> None:
        """Say that there is nothing to send now: this time proves nothing and saves up nothing."""
        self._tick(now)
        self._wanted_until = -math.inf
        self._idle = True

    def sent(self, now: float) -> None:
        """Use a permit."""
        self._tick(now)
        late_s = now - max(self._next, self._closed_until)
        on_grid = not self._idle and 0.0 <= late_s <= CATCH_UP_S
        base = max(self._next, self._closed_until) if on_grid else now
        self._wanted_until = self._next = base + 1.0 / self._pace
        if self._half_open:
            self._next = max(self._next, now + HALF_OPEN_S)
        self._sent_at.append(now)
        self._count(int(now))
        self._cycle_sent += 1
        self._log.append(self._busy_s)
        while self._log and self._log[0] < self._busy_s - MEASURED_S:
            self._log.popleft()
        self._grow()

    def passed(self, now: float, *, sent_at: float) -> None:
        """An answer that was no 429 came to a request sent at `sent_at`."""
        if sent_at >= self._opened_at:
            self._refused = 0
            self._passed += 1
            if sent_at >= self._opened_at + STREAK_S or self._passed >= STREAK_PASSES:
                self._streak = 0
            if self._half_open:
                self._half_open = False
                self._next = min(self._next, max(now, sent_at + 1.0 / self._pace))

    def rejected(
        self,
        now: float,
        *,
        sent_at: float,
        retry_after_s: float | None,
        draw: float = 0.5,
        learn: bool = True,
    ) -> None:
        """A 429 came to a request sent at `sent_at`: close the gate, and learn from it.

        Args:
            now: When the answer came.
            sent_at: When its request went; all that went before the gate last closed is one event.
            retry_after_s: What the answer asked for, already made sane (`backoff`); None when absent.
            draw: A number from [0, 1) for the jitter where it did not say.
            learn: False while it is unclear whether the rate was meant: obey, but stay where we are.
        """
        self._tick(now)
        if sent_at < self._opened_at:
            if retry_after_s:
                self._close(now + retry_after_s)
            return
        self._refused += 1
        self._streak += 1
        self._passed = 0
        if self._refused == 1:
            self._shut_s = max(self._opened_at - self._shut_at, 0.0) if self._shut_at > -math.inf else 0.0
            self._shut_at = now
        if retry_after_s:
            # Refused again right after the wait it asked for: it meant one request, not all of us.
            longer = min(1.5 ** (self._streak - 1), 10.0) if retry_after_s < 1.0 else 1.0
            delay_s = retry_after_s * longer
        else:
            # Zero, a time in the past and silence mean the same: wait a little, and longer each time.
            doublings = max(self._refused, min(self._streak, MOST_WITH_PASSES)) - 1
            doubled = max(FIRST_BACKOFF_S, 1.0 / self._pace) * 2.0 ** min(doublings, 20)
            delay_s = min(doubled, LONGEST_BACKOFF_S) * (0.5 + draw / 2)
        if not learn and not self._unexplained:
            self._unexplained_at = (self._busy_s, self._cycle_sent)
        unlearned = self._refused == 1 or self._unexplained  # the first of a row, or its first that was clear
        self._unexplained = not learn
        if self._refused == 1:
            self._cycle_shut_s += self._shut_s
        else:
            self._half_open = True
        if learn and unlearned:
            self._learn(delay_s)
        self._close(now + delay_s)

    def release(self) -> None:
        """So much has passed since the last refusal that our pace cannot have been the reason."""
        self._unexplained = False

    def unrelated(self) -> None:
        """The last refusals were not about the rate."""
        self._unexplained = False
        self._unexplained_at = None
        self._cycle_began_s = self._busy_s
        self._cycle_sent = 0
        self._cycle_shut_s = 0.0
        self._log.clear()

    def restore(self, pace: float) -> None:
        """Refusals we have learned from were not about the rate: go back to the pace before them."""
        if pace > self._pace:
            self._pace = pace
            self._found = None
            self._safe = None
            self._probed_s = self._busy_s

    def _close(self, until: float) -> None:
        self._closed_until = max(self._closed_until, until)
        self._opened_at = self._closed_until

    def _count(self, second: int) -> None:
        if second != self._second:
            self._most_in_second = max(self._most_in_second, float(self._in_second))
            self._second, self._in_second = second, 0
        self._in_second += 1

    def _tick(self, now: float) -> None:
        if self._seen_at is not None and not self._idle:
            upto = min(now, max(self._wanted_until, self._seen_at) + CATCH_UP_S)
            self._busy_s += max(upto - self._seen_at, 0.0)
        self._seen_at = now if self._seen_at is None else max(now, self._seen_at)

    def _grow(self) -> None:
        """Climb while no limit was met; probe a little now and then after that."""
        passed_s = self._busy_s - self._probed_s
        if self._unexplained:
            self._probed_s = self._busy_s
            return
        if self._climbing:
            self._pace *= 2.0 ** min(passed_s, 1.0)
            self._probed_s = self._busy_s
            return
        if passed_s < self._every_s or self._streak:
            return
        self._probed_s = self._busy_s
        # Nothing refused for long: the limit may have been raised, so look further each time.
        self._quiet_probes += 1
        if self._quiet_probes > 2:
            self._step = min(self._step * 1.5, LARGEST_STEP)
        self._safe = self._pace
        if self._found is not None and self._pace > 1.1 * max(self._found, self._once) and not self._beyond:
            # From here on we are where nothing has ever passed: begin with small steps again.
            self._beyond = True
            self._step, self._every_s = min(self._step, PROBE_STEP * 2), max(self._every_s, PROBE_EVERY_S / 2)
        self._pace *= 1.0 + self._step
        if self._ceiling is not None:
            self._pace = min(self._pace, self._ceiling * self._share * USE_OF_GIVEN)

    def _learn(self, delay_s: float) -> None:
        cycle_s = self._busy_s - self._cycle_began_s
        open_s = cycle_s - self._cycle_shut_s
        if not self._climbing and open_s < CLEAR_S and cycle_s < 3 * CLEAR_S:
            # A duplicate of the last refusal: too little passed in between to tell a rate from. Many of them tell one.
            self._duplicates += 1
            if self._duplicates < MANY_DUPLICATES:
                return
        measured = min(self._measure(cycle_s, delay_s), self._pace)
        if self._climbing:
            found = measured
        elif self._safe is not None and open_s >= SOUND_S:
            # We had just stepped up, and what we did before the step passed for long.
            safe = min(self._safe, self._pace)
            found = safe if measured >= 0.88 * safe else measured
        elif max(delay_s, self._shut_s) <= LONG_WAIT_S:
            # A short closure counts as time in which nothing passed, though the service may have let
            # something pass: the truth lies between, so come down in steps.
            found = max(measured, self._pace * DOWN)
        else:
            found = measured
        lone = self._ceiling is not None and cycle_s > MEASURED_S and measured > 0.95 * self._pace
        self._look(found)
        self._most_in_second = max(found, self._most_in_second * 0.7)
        if self._climbing or (cycle_s >= WHOLE_S and self._cycle_sent >= WHOLE_REQUESTS):
            self._once = found
        else:
            self._once = max(found, self._once * 0.97)
        if not lone:
            self._found = max(found, SLOWEST_PER_S)
            sound = self._climbing or self._cycle_sent >= 30
            lowest = SLOWEST_PER_S if sound else max(self._pace / 2, SLOWEST_PER_S)
            self._pace = max(self._found * USE_OF_FOUND, lowest)
        self._cycle_began_s = self._busy_s
        self._cycle_sent = 0
        self._cycle_shut_s = 0.0
        self._duplicates = 0
        self._log.clear()
        self._probed_s = self._busy_s
        self._quiet_probes = 0
        self._safe = None
        self._beyond = False
        self._unexplained_at = None
        self._climbing = False

    def _look(self, found: float) -> None:
        """Decide how far and how often to probe after meeting the limit at `found`."""
        if self._climbing or self._found is None or abs(found / self._found - 1.0) > 0.1:
            self._step, self._every_s = SETTLE_STEP, SETTLE_EVERY_S
            return
        self._step = max(min(self._step, SETTLE_STEP) / 2, PROBE_STEP)
        self._every_s = min(self._every_s * (2.0 if self._every_s < PROBE_EVERY_S else 1.4), RARELY_S)

    def _measure(self, cycle_s: float, delay_s: float) -> float:
        """Return requests a second that passed, of late and (where the gate closes for long) over all."""
        if cycle_s <= 0.0:
            return self._pace
        whole = max(self._cycle_sent - 1, 1) / (cycle_s + delay_s)
        span_s = min(1.0 if self._climbing else MEASURED_S, cycle_s)
        rate = max(sum(1 for at in self._log if at > self._busy_s - span_s) - 1, 1) / span_s
        if self._unexplained_at is not None:
            # A refusal we have not learned from lies in between: what passed before and after it.
            since_s, sent = self._busy_s - self._unexplained_at[0], self._cycle_sent - self._unexplained_at[1]
            most = max(rate, self._most_in_second)
            least = max(whole, sent / max(since_s + delay_s, 1e-3))
            return min(most, least if delay_s > LONG_WAIT_S else max(least, 0.7 * most))
        if delay_s > LONG_WAIT_S and delay_s > 0.1 * cycle_s:
            return min(rate, whole)
        return rate
