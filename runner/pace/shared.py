"""The limits of an account that several runs share: written down where all of them reach it, and permits from there.

Each run asks for a few permits at a time (`SharedLimits.asks`). Whoever asks takes up the limits, tells them what was
answered since, has them give permits, and writes them down again (`grant`); two never do so at once. So there is one
grid of send times, one gate that a 429 closes, one search for the rate, and one owner of what a 429 means, however many
runs there are; a number of tasks that is to be found is one for all, too. A run that ends has nothing to give back, and
one that comes waits for nobody.

Pure: what carries the question there and the answer back is `engine/permits.py`. Times there are the server's, in
seconds; each run turns them into those of its own clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.pace.concurrency import ConcurrencyLimit, FoundTasks
from runner.pace.gate import GATE
from runner.pace.limits import AccountLimits
from runner.pace.rate import Rate
from runner.pace.rejections import Cause, Response

AHEAD_S = 0.05  # permits are given so far ahead: those who hold some learn so much later of a 429
VOID_S = 0.05  # a permit that was not used for so long is void
ASK_BEFORE_S = 0.01  # a permit that is further off is asked for so long before that
PASSES_KEPT = 200  # of those not told of yet
GONE_S = 30.0  # a run that has not asked for so long has no tasks that count


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What a run asks for, and what it tells.

    `given_per_s` is what its manifest allows, `ceiling_per_s` what a person does; None: the rate is found, no ceiling.
    `known` and `known_tasks` are what it knows of the limits, for the first of all who asks.
    """

    run: str = ""
    number: int = 1
    in_flight: int = 0
    given_per_s: float | None = None
    ceiling_per_s: float | None = None
    tasks: int | None = None  # that its manifest allows
    told: tuple[Response, ...] = ()
    known: Mapping[str, Any] | None = None
    known_tasks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """Permits, when to ask again where there are none, and the limits as they are now."""

    permits: tuple[float, ...]
    again_at: float
    kept: Mapping[str, Any]


def grant(kept: Mapping[str, Any] | None, asks: Asks, *, now: float) -> tuple[dict[str, Any], Granted]:
    """Take up the limits of an account, tell them what is told, and have them give permits; return them and these.

    Args:
        kept: The limits as they were written down; None: they were not yet.
        asks: What a run asks and tells.
        now: The server's clock.
    """
    kept = {**(asks.known or {}), **(kept or {})}
    limits = AccountLimits(given_per_s=asks.given_per_s, tasks=ConcurrencyLimit(asks.tasks))
    limits.take_up(kept)
    runs = {run: each for run, each in kept.get("runs", {}).items() if each[1] > now - GONE_S}
    if not runs:  # those before have told it how many tasks they have met
        limits.tasks.found = FoundTasks()
        if asks.known_tasks is not None:
            limits.tasks.refused(now, asks.known_tasks, retry_after_s=None)
    runs.pop(asks.run, None)
    others = sum(each[0] for each in runs.values())
    for each in asks.told:
        what = replace(each, in_flight=each.in_flight + others, running=each.running + others)
        limits.answered(what)
        if what.submit and not what.rejected:
            limits.tasks.sent(now, what.in_flight)
    last_at = kept.get("last_at", -math.inf)  # under a ceiling: the permit given last
    gap_s = 0.0 if asks.ceiling_per_s is None else 1.0 / asks.ceiling_per_s
    permits: list[float] = []
    again_at = now
    for _ in range(asks.number):
        at = max(limits.next_at(now), last_at + gap_s, now)
        if at > now + AHEAD_S:
            again_at = at - ASK_BEFORE_S
            break
        limits.sent(at)
        permits.append(at)
        # On the average: one that is a little late makes no other late.
        last_at = at if at > last_at + gap_s + GATE.late_s else last_at + gap_s
    runs[asks.run] = [asks.in_flight, now]
    kept = {**kept, **limits.as_kept(), "last_at": last_at, "runs": runs}
    return kept, Granted(permits=tuple(permits), again_at=again_at, kept=kept)


@dataclass(slots=True)
class _ServersTime:
    """How far the server's clock is ahead of ours, by the best look at it of late."""

    ahead_s: float = 0.0
    took_s: float = math.inf
    looked_at: float = -math.inf

    def told(self, server_s: float, *, asked_at: float, answered_at: float) -> None:
        took_s = answered_at - asked_at
        if took_s <= 2.0 * self.took_s or answered_at - self.looked_at > 10.0:
            self.ahead_s = server_s - (asked_at + answered_at) / 2
            self.took_s, self.looked_at = took_s, answered_at


class SharedLimits(AccountLimits):
    """The limits of an account as they were told last. Requests go by permits; what is answered is told to all.

    Args:
        run: The name of the run, unlike all others'.
        given_per_s: What the manifest allows; None: the rate is found.
        rate: What this run knows of the rate.
        tasks: How many tasks may be at the service.
    """

    def __init__(
        self,
        *,
        run: str,
        given_per_s: float | None = None,
        rate: Rate | None = None,
        tasks: ConcurrencyLimit | None = None,
    ) -> None:
        super().__init__(given_per_s=given_per_s, rate=rate, tasks=tasks)
        self._run = run
        self._known = {self._kind: self.as_kept()[self._kind]}
        self._asked_by = 1
        self._time = _ServersTime()
        self._permits: deque[float] = deque()
        self._again_at = -math.inf
        self._asking = False
        self._told: deque[Response] = deque(maxlen=PASSES_KEPT)
        self._in_flight = 0
        self.wake: Callable[[], None] = lambda: None

    def next_at(self, now: float) -> float:
        """Return when the next request may go; infinite while permits are asked for."""
        opens_at = self._gate.opens_at
        for at in self._permits:
            if at + VOID_S >= now:
                return max(at, opens_at)
        return math.inf if self._asking else max(self._again_at, opens_at)

    def has_permit(self, now: float) -> bool:
        """Say whether a request may go now; where there is no permit, some are asked for."""
        while self._permits and self._permits[0] + VOID_S < now:
            self._permits.popleft()
        if self._permits:
            return self._permits[0] <= now
        if not self._asking:
            self._asking = True
            self.wake()
        return False

    def sent(self, now: float, *, submit: bool = False, in_flight: int = 0) -> None:
        """A request goes out: a permit is used."""
        if self._permits:
            self._permits.popleft()
        self._in_flight = in_flight
        if submit:
            self.tasks.sent(now, in_flight)

    def answered(self, what: Response) -> Cause | None:
        """An answer came. After a 429 nothing is sent until all have been told, and it is known for how long."""
        self._told.append(what)
        if what.rejected:
            self._shut(what)
        if what.rejected or self._is_urgent:
            self.wake()
        return None

    def asks(self) -> Asks | None:
        """Return what is to be asked and told now; None: nothing."""
        refused = any(each.rejected for each in self._told)
        if not (self._asking or refused or (self._told and self._is_urgent)):
            return None
        ahead_s, given = self._time.ahead_s, self._given_per_s
        told = tuple(
            replace(each, now=each.now + ahead_s, sent_at=each.sent_at + ahead_s) for each in self._told
        )
        self._told.clear()
        size = self.tasks.found.size
        return Asks(
            run=self._run,
            number=max(math.ceil(AHEAD_S * self.rate_per_s / self._asked_by), 1) if self._asking else 0,
            in_flight=self._in_flight,
            given_per_s=given if given is None else self._set_per_s or given,
            ceiling_per_s=self._set_per_s if given is None else None,
            tasks=self.tasks.manifests,
            told=told,
            known=self._known,
            known_tasks=int(size) if size < math.inf else None,
        )

    def granted(self, told: Granted, *, server_s: float, asked_at: float, answered_at: float) -> None:
        """Take what was answered, at these times of our own clock."""
        self._time.told(server_s, asked_at=asked_at, answered_at=answered_at)
        ahead_s = self._time.ahead_s
        self.take_up(told.kept, later_s=-ahead_s)
        self._asking = False
        self._again_at = told.again_at - ahead_s
        since = [each for each in self._told if each.rejected]
        for what in since:  # the answer knows nothing of that
            self._shut(what)
        if not since:
            self._permits.extend(at - ahead_s for at in told.permits)

    def share_with(self, sharers: int) -> None:
        """Permits are asked for so many at once that all who share them have their turn."""
        self._asked_by = sharers

    def take_up(self, kept: Mapping[str, Any], later_s: float = 0.0) -> None:
        """Be as the limits of all are; of the number of tasks others have their part."""
        super().take_up(kept, later_s)
        runs = {run: each[0] for run, each in kept.get("runs", {}).items() if run != self._run}
        self.tasks.beside(sum(runs.values()), len(runs))

    @property
    def _is_urgent(self) -> bool:
        """Whether all wait for what passes."""
        return self._gate.troubled or self._evidence.unclear

    def _shut(self, what: Response) -> None:
        wait_s = what.retry_after_s or GATE.first_wait_s / 2
        self._gate.opens_at = max(self._gate.opens_at, what.now + wait_s)
        self._permits.clear()
