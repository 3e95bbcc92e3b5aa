"""How many tasks may be at the service at once, and how to tell "too many" from "too fast".

Both are answered with 429. "Too fast" is refused whatever is asked; "too many" refuses submits only, at
any speed, until a task ends. So after a refused submit a few polls go first: if they pass and the next
submit is refused again, it is the window. Where that does not tell, the refusals together do: by chance they
would hit polls as well, and submits to fewer tasks than others passed to. Pure: the caller brings the clock.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum, auto

from runner.pace.backoff import FIRST_BACKOFF_S, LATELY_S, LONG_WAIT_S

# A window that was met is tried again after this long, ever more seldom, but quickly once it gives way.
GROW_EVERY_S, SELDOM_GROW_S, QUICK_GROW_S = 20.0, 120.0, 3.0
GROW_BY = 0.02
STILL = 3  # refusals with fewer tasks than fitted before, until fewer it is
# A poll refused so soon after a window was blamed speaks against it; so many of them, and it is given up.
REGRET_S, DOUBTS = 5.0, 3
SHRUNK = 0.7  # of the tasks there were when it was met: what is refused at fewer was no number of tasks
FORGET_S = 60.0
# So many polls have to pass between two refused submits before the refusals are about submits only: when
# we were slow anyway, and at any speed (then without a single submit that passed).
PROOF, PROOF_AT_SPEED = 2, 12
# Or, over many refusals: the logarithm of how much likelier "too many" explains them than "too fast".
# DRIFT is what each refusal takes away besides what one at a random moment would add.
CONVINCED, DRIFT, APART_S = 4.0, 0.2, 1.0


class Cause(Enum):
    """What a refused submit was about."""

    TOO_FAST = auto()
    TOO_MANY = auto()
    UNCLEAR = auto()  # the next refusals will tell


class Window:
    """How many tasks may be at the service at once.

    Args:
        limit: A number never to exceed; None to assume there is none until submits are refused
            while everything else passes.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = math.inf if limit is None else float(limit)
        self._size = self._limit
        self._suspicion = 0
        self._others_passed = 0
        self._shrunk_at = -math.inf
        self._refused_at = -math.inf
        self._refused_with = 0
        self._asked_s = 0.0  # what the last refusal asked for
        self._cleared_s = -1.0  # the same of the last that turned out to be about the rate; negative: none
        self._passed = 0
        self._closed_until = -math.inf
        self._grow_at = -math.inf
        self._grow_every_s = self._patience_s = GROW_EVERY_S
        self._grow_by = GROW_BY
        self._last_shrunk_at = -math.inf
        self._other_refused_at = -math.inf
        self._doubts = 0
        self._evidence = 0.0
        self._met_with = 0.0  # tasks at the first refusal that was about them
        self._met = 0.0  # the number of tasks that was met
        self._fewer = 0  # refusals in a row at fewer tasks than that
        self._level = 0.0  # tasks that ran at the last refusal
        # And with each submit that passed since; -1 for every other request.
        self._passed_at: deque[float] = deque(maxlen=512)

    @property
    def size(self) -> float:
        """Tasks allowed at once; infinite while no limit is known."""
        return self._size

    @property
    def closed_until(self) -> float:
        """When the next submit may go, as far as the window is concerned."""
        return self._closed_until

    def opens_at(self, in_flight: int) -> float:
        """Return when one more task may be begun although none ends; infinite where the number is given."""
        if in_flight >= self._size:
            return max(self._closed_until, self._grow_at) if self._size < self._limit else math.inf
        return self._closed_until

    @property
    def wants_proof(self) -> bool:
        """Whether polls should go before the next submit, to see if only submits are refused."""
        return self._suspicion > 0 and self._others_passed < PROOF

    def room(self, now: float, in_flight: int) -> bool:
        """Whether one more task may be begun."""
        if now < self._closed_until:
            return False
        if in_flight < self._size:
            return True
        if self._size >= self._limit or now < self._grow_at:
            return False
        if self._size < self._met:
            self._size, self._grow_at = self._met, now + self._grow_every_s
            return in_flight < self._size
        # Nothing was refused for a while: try a little more, then wait again. What passes each time was no
        # window at all, so go faster.
        self._size = min(self._size + max(1.0, self._size * self._grow_by), self._limit)
        self._grow_by = min(self._grow_by * 2.0, 1.0)
        self._grow_every_s = max(self._grow_every_s / 2.0, QUICK_GROW_S)
        self._grow_at = now + self._grow_every_s
        return True

    @property
    def convinced(self) -> bool:
        """Whether many refusals, each of which could have been about the rate, cannot all have been."""
        return self._evidence >= CONVINCED

    @property
    def suspected(self) -> bool:
        """Whether there is any evidence that refusals were about "too many"."""
        return self._evidence > 0.0

    @property
    def doubted(self) -> bool:
        """Whether a submit was ever refused: from then on it matters to how many tasks others pass."""
        return self._refused_at > -math.inf

    def submit_passed(self, running: float) -> bool:
        """A submit passed, to `running` tasks. Return whether that clears the last refusal of "too many"."""
        self._passed_at.append(running)
        # One that passes because a task has ended is what "too many" looks like. More than could have
        # ended since we were refused is what it does not look like.
        self._passed += 1
        if self._suspicion == 0 or self._passed <= 1.1 * self._refused_with + 2:
            return False
        self._suspicion, self._cleared_s = 0, self._asked_s
        return True

    def other_passed(self) -> None:
        """A request that is no submit passed."""
        self._others_passed += 1
        self._passed_at.append(-1.0)

    def other_rejected(self, now: float) -> None:
        """A request that is no submit was refused, so it is the rate: take back what was concluded too soon."""
        self._suspicion, self._evidence = 0, 0.0
        self._other_refused_at = now
        if now - self._last_shrunk_at < REGRET_S:
            self._doubts += 1
        if now - self._shrunk_at < REGRET_S or self._doubts >= DOUBTS:
            self._size, self._doubts = self._limit, 0

    def judge(
        self,
        now: float,
        *,
        in_flight: int,
        running: tuple[float, float],
        slow: bool,
        usual: bool,
        retry_after_s: float | None,
    ) -> Cause:
        """Say whether a refused submit means "too many".

        Args:
            now: The clock.
            in_flight: Tasks at the service, and submits on their way, without the refused one.
            running: So many of them most likely still run, and the standard deviation of that.
            slow: Whether we were sending well below the rate known to pass.
            usual: Whether a limit of the rate is known, so that meeting it now and then is no surprise.
            retry_after_s: What the refusal asked for.
        """
        both = now - self._other_refused_at < LATELY_S
        if self._size < self._limit and in_flight >= 0.8 * self._size and not both:
            if in_flight >= SHRUNK * self._met_with:
                return Cause.TOO_MANY
            # Refused at ever fewer tasks: a number would have stayed where it was.
            self._size = self._limit
            self._suspicion, self._evidence = 0, 0.0
            return Cause.TOO_FAST
        if in_flight == 0:
            return Cause.TOO_FAST
        self._weigh(now, *running)
        if self.convinced:
            return Cause.TOO_MANY
        if now - self._refused_at > FORGET_S:
            self._suspicion, self._cleared_s = 0, -1.0
        asked_s = retry_after_s or 0.0
        # A much longer wait than before is about something else than the refusals before.
        first = self._suspicion == 0 or asked_s > 3.0 * max(self._asked_s, 1.0)
        alone = self._passed == 0 and self._others_passed >= PROOF_AT_SPEED
        proof = not first and (alone or (slow and self._others_passed >= PROOF))
        self._refused_at, self._refused_with = now, in_flight
        self._passed = self._others_passed = 0
        self._asked_s = asked_s
        alike = self._asked_s <= max(self._cleared_s, LONG_WAIT_S) and self._cleared_s >= 0.0
        if (first and alike) or not (first or proof):
            return Cause.TOO_FAST
        # After a long wait a rate would have recovered, so a second refusal says more.
        self._suspicion += 2 if asked_s >= LONG_WAIT_S else 1
        if proof and self._suspicion >= 3:
            return Cause.TOO_MANY
        if first and usual and not slow and asked_s < LONG_WAIT_S:
            return Cause.TOO_FAST
        return Cause.UNCLEAR

    def _weigh(self, now: float, running: float, apart: float) -> None:
        """Take a refused submit as evidence.

        If it was about the number of tasks, hardly any submit has passed to as many of them since the last
        refusal; if it was about the rate, any request could have been refused. This keeps the logarithm of
        how much likelier the first is, never below none, less what chance would add each time (CUSUM).
        """
        if now - self._refused_at <= APART_S:
            return
        more = self._level + max(1.0, 2.0 * apart)
        if not self.doubted or any(at > more for at in self._passed_at):
            self._evidence = 0.0  # more fitted since: there was no such number
        else:
            as_many, all_ = sum(1 for at in self._passed_at if at >= running) + 1, len(self._passed_at) + 1
            chance = math.log(all_) - math.lgamma(all_ + 1) / all_
            self._evidence = max(self._evidence + math.log(all_ / as_many) - chance - DRIFT, 0.0)
        self._level = running
        self._passed_at.clear()

    def submit_rejected(self, now: float, *, in_flight: int, retry_after_s: float | None) -> None:
        """Shrink: a submit was refused because too many tasks are at the service."""
        # Fewer than fitted before: perhaps it was the rate after all, so try the old number again soon.
        fewer = self._size < self._limit and in_flight < self._met and self._fewer < STILL
        self._fewer = self._fewer + 1 if fewer else 0
        if self._size == self._limit:
            self._shrunk_at, self._met_with = now, float(in_flight)
        elif now - self._last_shrunk_at > 1.0 and not fewer:
            self._patience_s = min(self._patience_s * 1.5, SELDOM_GROW_S)
        self._last_shrunk_at = now
        self._grow_by, self._grow_every_s = GROW_BY, self._patience_s
        self._size = max(min(float(in_flight), self._size), 1.0)
        if not fewer:
            self._met = self._size
        self._grow_at = now + (max(retry_after_s or 0.0, QUICK_GROW_S) if fewer else self._grow_every_s)
        self._closed_until = max(self._closed_until, now + (retry_after_s or FIRST_BACKOFF_S))
        self._suspicion, self._evidence = 0, 0.0
