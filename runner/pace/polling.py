"""Which of the waiting jobs to ask about next, and when. Pure.

Jobs of one kind that are known to run about equally long wait in one queue, the oldest first; those that nobody has asked
about yet are such a queue too. Each queue stands in one heap, by when its oldest job is due. So what is learned of a kind
moves all of its jobs at once.

Where tasks were seen to end, a plan says when to ask (`inspection`). Beyond that age, and while none has ended, one job
is asked whenever the oldest age asked has grown by a step: the first end is seen soon, and not by everyone's polls.

`min_s` always holds. `max_s` holds where an end is likely: where as good as none ends, none is missed. Those of whose ends
nothing is known wait up to three times as long.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple
from weakref import WeakKeyDictionary

from runner.model import Polling
from runner.pace.durations import Curve, Durations, step_of
from runner.pace.inspection import PollPlan
from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingSettings:
    """Settings of who is asked about, and when."""

    price: float = number(
        0.3, "of the mean duration", "few polls, and not many seconds late: a poll is worth so much"
    )
    hurried_price: float = number(
        0.006, "of the mean duration", "slots are scarce, or the run ends: time until an end is seen is lost"
    )
    followers: float = number(3.0, "times max_s", "few polls of those that outlive all others", off=1.0)
    unknown: float = number(
        0.1, "chance", "too many told from too fast while nothing is known of when tasks end", off=0.0
    )


POLLING = PollingSettings()
RECKON_S = 0.1  # how many still run is reckoned anew so often, more seldom with thousands of jobs
# Of the age, between two polls of one that outlives all others, and at most between two that look for an end.
LONGEST_STEP = 0.035


@dataclass(slots=True, eq=False)
class _Kind:
    """What is common to the jobs of one shape."""

    shape: Hashable
    group: Hashable
    curve: Curve | None = None
    look_s: float = 0.0  # beyond all ends, the age to ask at next
    asked_at: float = -math.inf  # when one of them was last asked for the first time
    # By the step of the age known; -1: never asked; below, one for each that has to wait.
    queues: dict[int, _Queue] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Queue:
    """Jobs of one kind that are known to run about equally long."""

    kind: _Kind
    not_before: float = -math.inf
    jobs: list[tuple[float, int]] = field(default_factory=list)  # heap: when it was accepted, and which
    due: float | None = None  # when its oldest job is; None: it is empty
    look_s: float = 0.0  # of its kind, when that was reckoned


@dataclass(slots=True, eq=False)
class _Waiting:
    """One waiting job."""

    job: int
    kind: _Kind
    start: float
    asked_at: float  # when the last poll was sent; when it was taken up if none was
    known_s: float = 0.0  # age at which it was last known to run
    asked: bool = False
    queue: _Queue | None = None  # None: a poll is on its way


class Due(NamedTuple):
    """The job to ask about first, and when."""

    job: int
    due: float


class Waiting:
    """All jobs at the service, by when to ask about them.

    Args:
        polling: The limits of polling: never before `first_s`, never two polls closer than `min_s`.
        durations: What is known of how long tasks take; what is learned here goes there.
    """

    def __init__(self, polling: Polling, durations: Durations) -> None:
        self._polling = polling
        self._rest_s = POLLING.followers * max(polling.max_s, polling.min_s)
        self._durations = durations
        self._jobs: dict[int, _Waiting] = {}
        self._kinds: dict[Hashable, _Kind] = {}
        self._heap: list[tuple[float, int, _Queue]] = []
        self._number = 0
        self._nudged: dict[int, float] = {}  # job: when it may be asked about
        self._price = POLLING.price
        # Of each curve that is in use, by price.
        self._plans: WeakKeyDictionary[Curve, dict[float, PollPlan]] = WeakKeyDictionary()
        self._gone = self._apart = 0.0  # ended as far as can be told, and the standard deviation
        self._reckoned_at = -math.inf

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: int, *, shape: Hashable, group: Hashable = None, age_s: float, now: float) -> None:
        """Take up a job that the service has accepted `age_s` ago."""
        self.remove(job)
        kind = self._kinds.get(shape)
        if kind is None:
            kind = self._kinds[shape] = _Kind(shape, group)
        self._refresh(kind)
        entry = self._jobs[job] = _Waiting(job, kind, now - age_s, now)
        self._line_up(entry)
        self._tidy()

    def sent(self, job: int, now: float) -> None:
        """A poll of this job is on its way."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        kind, age_s = entry.kind, now - entry.start
        if not entry.asked:
            kind.asked_at = now
        entry.asked, entry.asked_at = True, now
        self._nudged.pop(job, None)
        if kind.curve is None or age_s > kind.curve.frontier_s:
            kind.look_s = max(kind.look_s, age_s * (1.0 + self._step()))
        self._leave(entry)
        self._tidy()

    def still_running(self, job: int, now: float) -> None:
        """The poll found the task still running."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        kind, age_s = entry.kind, max(entry.asked_at - entry.start, 0.0)
        self._durations.runs(kind.shape, entry.known_s, age_s, group=kind.group)
        entry.known_s = max(age_s, entry.known_s)
        self._refresh(kind)
        self._line_up(entry)
        self._tidy()

    def unclear(self, job: int, now: float, delay_s: float) -> None:
        """The poll told nothing: ask again after `delay_s`."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        kind = entry.kind
        if entry.known_s <= 0.0:
            # Nobody was seen to run at that age: another one is looked at for it.
            kind.look_s = min(kind.look_s, max(entry.asked_at - entry.start, 0.0))
            self._replan(kind)
        self._line_up(entry, max(now + delay_s, entry.asked_at + self._polling.min_s))
        self._tidy()

    def ended(self, job: int, now: float) -> float | None:
        """The task has ended: learn from it, and return its duration as well as polls tell it.

        What the service says of its times is not looked at: it ended between the last poll and this one.

        Args:
            job: Which.
            now: When the answer came.

        Returns:
            Seconds; None where the moment of the end is too uncertain to be worth keeping.
        """
        entry = self._jobs.get(job)
        if entry is None:
            return None
        kind, low_s = entry.kind, entry.known_s
        high_s = max((entry.asked_at if entry.asked else now) - entry.start, low_s)
        if low_s <= 0.0 and (kind.curve is None or high_s > kind.curve.frontier_s):
            # Here tasks end: another one is looked at as soon as it is as old.
            kind.look_s = min(kind.look_s, high_s)
        self.remove(job)
        self._gone = max(self._gone - 1.0, 0.0)
        self._durations.ended(kind.shape, low_s, high_s, group=kind.group)
        self._refresh(kind)
        self._tidy()
        return (low_s + high_s) / 2 if high_s - low_s <= 0.25 * high_s else None

    def remove(self, job: int) -> None:
        """Forget a job."""
        entry = self._jobs.pop(job, None)
        if entry is None:
            return
        self._nudged.pop(job, None)
        self._durations.leaves(entry.kind.shape, entry.known_s, group=entry.kind.group)
        self._leave(entry)
        self._tidy()

    def hurry(self, hurried: bool) -> None:
        """Say whether each second in which an end is not seen is lost: then polls are many from now on."""
        price = POLLING.hurried_price if hurried else POLLING.price
        if price == self._price:
            return
        self._price = price
        for kind in self._kinds.values():
            self._replan(kind)
        self._tidy()

    def next(self) -> Due | None:
        """Return the job to ask about first; its `due` may be in the future. None: none is waiting."""
        if not self._heap:
            return None
        due, _, queue = self._heap[0]
        return Due(queue.jobs[0][1], due)

    def nudge(self, job: int, now: float) -> None:
        """Somebody says that this job's task has ended: ask as soon as `min_s` allows, whatever was planned."""
        entry = self._jobs.get(job)
        if entry is not None:
            self._nudged[job] = max(now, entry.asked_at + self._polling.min_s) if entry.asked else now

    def nudged(self) -> Due | None:
        """Return the job to ask about first of those nudged; its `due` may be in the future."""
        if not self._nudged:
            return None
        # One that is being asked about waits for the answer.
        due = ((at, job) for job, at in self._nudged.items() if self._jobs[job].queue is not None)
        first = min(due, default=None)
        return Due(first[1], first[0]) if first is not None else None

    def likely(self, entry: _Waiting, now: float) -> float:
        """Return the chance that a job's task has ended."""
        curve = entry.kind.curve
        return curve.chance(entry.known_s, now - entry.start) if curve is not None else POLLING.unknown

    def reckon(self, now: float) -> tuple[float, float]:
        """Reckon how many tasks still run as far as can be told without asking; return that and its standard deviation.

        A command: it is done anew only now and then; in between, tasks come, and those seen to end had ended before.
        """
        if now - self._reckoned_at > RECKON_S * (1.0 + len(self._jobs) / 1000.0):
            self._reckoned_at = now
            gone = [self.likely(entry, now) for entry in self._jobs.values()]
            self._gone = sum(gone)
            self._apart = math.sqrt(sum(each * (1.0 - each) for each in gone))
        return len(self._jobs) - self._gone, self._apart

    def any_allowed(self, now: float) -> int | None:
        """Return a job that the limits of polling allow to be asked about now, due or not."""
        for due, _, queue in self._heap[:8]:
            if queue.due == due and self._allowed_at(queue) <= now:
                return queue.jobs[0][1]
        return None

    # --- inside ---

    def _allowed_at(self, queue: _Queue) -> float:
        """Return when the limits of polling allow to ask about the oldest of a queue."""
        entry, limits = self._jobs[queue.jobs[0][1]], self._polling
        if entry.asked:
            return entry.asked_at + limits.min_s
        return entry.start + limits.first_s

    def _line_up(self, entry: _Waiting, not_before: float = -math.inf) -> None:
        """Put a job into the queue of those known to run as long; into one of its own where it has to wait."""
        self._leave(entry)
        if not_before > -math.inf:
            key = -2 - entry.job
        else:
            key = step_of(entry.known_s) if entry.known_s > 0.0 else -1
        queues = entry.kind.queues
        queue = queues.get(key)
        if queue is None or queue.not_before != not_before:
            queue = queues[key] = _Queue(entry.kind, not_before)
        entry.queue = queue
        heappush(queue.jobs, (entry.start, entry.job))
        if queue.jobs[0][1] == entry.job:
            self._head(queue)

    def _leave(self, entry: _Waiting) -> None:
        queue, entry.queue = entry.queue, None
        if queue is not None and queue.jobs[0][1] == entry.job:
            self._head(queue)

    def _head(self, queue: _Queue) -> None:
        """Find the oldest job of a queue, and say when it is due."""
        jobs = queue.jobs
        while jobs and not self._stands(queue, *jobs[0]):
            heappop(jobs)
        due = self._due(queue) if jobs else None
        if due != queue.due:
            queue.due = due
            if due is not None:
                self._number += 1
                heappush(self._heap, (due, self._number, queue))

    def _stands(self, queue: _Queue, start: float, job: int) -> bool:
        """Whether a job is in a queue still, as it was put there."""
        entry = self._jobs.get(job)
        return entry is not None and entry.queue is queue and entry.start == start

    def _tidy(self) -> None:
        """Have the queue that is due first on top of the heap: queries read it as it is."""
        heap = self._heap
        while heap:
            due, _, queue = heap[0]
            if queue.due != due:
                heappop(heap)
            elif queue.look_s != queue.kind.look_s:
                # Another one was asked for all that are as old: this one may wait longer.
                self._head(queue)
            else:
                return

    def _due(self, queue: _Queue) -> float:
        entry, kind = self._jobs[queue.jobs[0][1]], queue.kind
        known_s, curve, queue.look_s = entry.known_s, kind.curve, kind.look_s
        allowed, frontier_s = max(self._allowed_at(queue), queue.not_before), 0.0
        if curve is not None and known_s < curve.frontier_s:
            age_s, frontier_s = self._plan(curve).after(known_s), curve.frontier_s
            if age_s <= frontier_s:
                return max(entry.start + age_s, allowed)
        # Beyond all ends seen: one of them is asked whenever the oldest age asked has grown by a step.
        age_s = max(kind.look_s, frontier_s, known_s * (1.0 + LONGEST_STEP))
        # Those that look for an end may never come to one: now and then another one is asked.
        last = entry.asked_at if entry.asked else max(entry.asked_at, kind.asked_at)
        return max(min(entry.start + age_s, last + self._rest_s), allowed)

    def _plan(self, curve: Curve) -> PollPlan:
        plans = self._plans.setdefault(curve, {})
        if self._price not in plans:
            plans[self._price] = PollPlan(curve, self._polling, price=self._price)
        return plans[self._price]

    def _step(self) -> float:
        """Return by which part the oldest age grows between two polls that look for an end.

        A poll costs its price, and each of those that run is seen to end later, by half a step in the mean: while the age
        grows e-fold once, both are least together so.
        """
        return min(math.sqrt(2.0 * self._price / max(len(self._jobs), 1)), LONGEST_STEP)

    def _refresh(self, kind: _Kind) -> None:
        """Take up what was learned about a kind."""
        curve = self._durations.curve(kind.shape, group=kind.group)
        if curve is not kind.curve:
            kind.curve = curve
            self._replan(kind)

    def _replan(self, kind: _Kind) -> None:
        """Say anew when the jobs of a kind are due."""
        for queue in kind.queues.values():
            self._head(queue)
        kind.queues = {key: queue for key, queue in kind.queues.items() if queue.jobs}
