"""Which of the waiting jobs to ask about next, and when. Pure.

Jobs that nobody has asked about yet wait in their shape's line by age, so that what is learned about the shape moves all
of them at once; each other job has a time of its own. All of these are entries in one heap.

Where tasks were seen to end, a plan says when to ask (`inspection`). Beyond that age, and while none has ended, one of
the line is asked whenever the oldest age asked has grown by a small part: the first end is seen soon, and not by
everyone's polls. The part is as small as the wasted polls that can still be afforded allow.

`min_s` always holds. `max_s` holds where an end is likely: a poll is left out while as good as none of the
tasks known ends in between, and those beyond all ends wait up to three times as long.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from runner.model import Polling
from runner.pace.durations import Curve, Durations
from runner.pace.inspection import PollPlan
from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingSettings:
    """Settings of who is asked about, and when."""

    finest: float = number(
        0.012, unit="of the age", serves="the first end is seen soon, where many polls can be spent on it"
    )
    to_find: float = number(
        8.0,
        unit="of the polls left",
        serves="the first end is looked for with an eighth of the polls that can be spared",
    )
    silence: float = number(
        0.3, unit="of the age", serves="the longest silence about a task that outlives all others"
    )
    beyond: float = number(1.25, unit="of the greatest age at an end", serves="so far a plan is followed")
    followers: float = number(
        3.0, unit="times max_s", off=1.0, serves="few polls of those that outlive all others"
    )
    quiet: float = number(
        0.02, unit="chance of an end", off=0.0,
        serves="no poll only because `max_s` has passed: where none end, none is missed",
    )  # fmt: skip
    quick: float = number(
        0.08, unit="of the tasks", off=9.0,
        serves="tasks that fail at once: so many make it worth to ask about all of them early",
    )  # fmt: skip
    unknown: float = number(
        0.1, unit="chance", off=0.0,
        serves="too many told from too fast while nothing is known of when tasks end",
    )  # fmt: skip


POLLING = PollingSettings()
RECKON_S = 0.1  # how many still run is reckoned anew so often, more seldom with thousands of jobs


@dataclass(slots=True, eq=False)
class _Line:
    """The jobs of one shape."""

    shape: Hashable
    group: Hashable
    # Heap of those never asked about, by when they were accepted.
    fresh: list[tuple[float, int, _Waiting]] = field(default_factory=list)
    curve: Curve | None = None
    plan: PollPlan | None = None
    look_s: float = 0.0  # beyond all ends, the age to ask at next
    due: float | None = None  # when its oldest fresh job is
    early_polls: int = 0  # jobs that are asked as soon as the limits allow
    early_ends: int = 0  # and those of them that had ended
    asked_at: float = -math.inf  # when one of them was last asked for the first time

    def first(self) -> _Waiting:
        """Return the job that it stands for in the heap: the oldest."""
        return self.fresh[0][2]


@dataclass(slots=True, eq=False)
class _Waiting:
    """One waiting job."""

    job: int
    line: _Line
    start: float
    asked_at: float  # when the last poll was sent; when it was taken up if none was
    known_s: float = 0.0  # age at which it was last known to run
    asked: bool = False
    early: bool = False  # asked as soon as the limits allow
    due: float | None = None  # None: in its line, or a poll is on its way

    def first(self) -> _Waiting:
        """Return itself: it stands for no other job."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
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
        self._most_s = max(polling.max_s, polling.min_s)  # between two polls, where an end is likely
        self._durations = durations
        self._jobs: dict[int, _Waiting] = {}
        self._lines: dict[Hashable, _Line] = {}
        self._heap: list[tuple[float, int, _Line | _Waiting]] = []
        self._number = 0
        self._nudged: dict[int, float] = {}  # job: when it may be asked about
        self._polls, self._spare = 2.0, 0.0
        self._closely = self._hurried = False
        self.found = 0
        self.wasted = 0
        self._running = (0.0, 0.0)
        self._reckoned_at = -math.inf

    def __len__(self) -> int:
        return len(self._jobs)

    def add(
        self, job: int, *, shape: Hashable, group: Hashable, age_s: float, now: float, polled: bool
    ) -> None:
        """Take up a job that the service has accepted `age_s` ago."""
        self.remove(job)
        line = self._lines.get(shape)
        if line is None:
            line = self._lines[shape] = _Line(shape, group)
            self._refresh(line)
        entry = self._jobs[job] = _Waiting(job, line, now - age_s, now)
        self._running = (self._running[0] + 1.0, self._running[1])
        # What ends long before the plan asks first keeps a slot as long as others: asked at once, while many do.
        late = self._age(line, 0.0) > 2.0 * self._polling.first_s
        part = (line.early_ends + 1.0) / (line.early_polls + 2.0)
        if not polled and self._hurried and late and part > POLLING.quick:
            entry.early = True
            line.early_polls += 1
            self._ask(entry, max(entry.start + self._polling.first_s, now))
            return
        heappush(line.fresh, (entry.start, job, entry))
        self._head(line)

    def sent(self, job: int, now: float) -> None:
        """A poll of this job is on its way."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        line, age_s = entry.line, now - entry.start
        fresh, entry.asked, entry.due, entry.asked_at = not entry.asked, True, None, now
        self._nudged.pop(job, None)
        if line.curve is None or age_s > line.curve.frontier_s:
            line.look_s = max(line.look_s, age_s * (1.0 + self._step()))
        if fresh:
            line.asked_at = now
            self._head(line)
        self._tidy()

    def still_running(self, job: int, now: float) -> None:
        """The poll found the task still running."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        line, age_s = entry.line, max(entry.asked_at - entry.start, 0.0)
        self._durations.runs(line.shape, entry.known_s, age_s, group=line.group)
        entry.known_s = max(age_s, entry.known_s)
        self.wasted += 1
        self._refresh(line)
        self._ask(entry, self._next(entry))

    def unclear(self, job: int, now: float, delay_s: float) -> None:
        """The poll told nothing: ask again after `delay_s`."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        if entry.known_s <= 0.0:
            # Nobody was seen to run at that age: another one is looked at for it.
            entry.line.look_s = min(entry.line.look_s, max(entry.asked_at - entry.start, 0.0))
            self._head(entry.line)
        self._ask(entry, max(now + delay_s, entry.asked_at + self._polling.min_s))

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
        line, low_s = entry.line, entry.known_s
        high_s = max((entry.asked_at if entry.asked else now) - entry.start, low_s)
        self.found += 1
        if low_s <= 0.0 and (line.curve is None or high_s > line.curve.frontier_s):
            # Here tasks end: another one is looked at as soon as it is as old.
            line.look_s = min(line.look_s, high_s)
        self.remove(job)
        self._running = (self._running[0] + 1.0, self._running[1])
        line.early_ends += entry.early and low_s <= 0.0
        self._durations.ended(line.shape, low_s, high_s, group=line.group)
        self._refresh(line)
        self._tidy()
        return (low_s + high_s) / 2 if high_s - low_s <= 0.25 * high_s else None

    def remove(self, job: int) -> None:
        """Forget a job."""
        entry = self._jobs.pop(job, None)
        if entry is None:
            return
        entry.due = None
        self._nudged.pop(job, None)
        self._running = (self._running[0] - 1.0, self._running[1])
        self._durations.leaves(entry.line.shape, entry.known_s, group=entry.line.group)
        self._head(entry.line)
        self._tidy()

    def set_mode(self, polls: float, *, spare: float, closely: bool = False, hurried: bool = False) -> None:
        """Spend about so many polls on a task from now on.

        Args:
            polls: How many.
            spare: So many that find nothing can be afforded in all that is left to do.
            closely: Never be long without asking.
            hurried: Each ended task keeps another one from beginning.
        """
        self._spare, self._hurried = spare, hurried
        if (polls, closely) == (self._polls, self._closely):
            return
        self._polls, self._closely = polls, closely
        for line in self._lines.values():
            line.plan = None
            self._head(line)
        self._replan(None)

    def settle(self, now: float) -> None:
        """Put off what is due but need not be asked any more: what is known may have changed since it was planned."""
        while self._heap and (due := self._heap[0][0]) <= now:
            entry = self._heap[0][2]
            if isinstance(entry, _Line):
                self._head(entry)
            elif entry.known_s > 0.0:
                entry.due = self._next(entry)
            if entry.due == due:
                return
            if entry.due is not None:
                self._push(entry.due, entry)
            self._tidy()

    def next(self, now: float) -> Due | None:
        """Return the job to ask about first; its `due` may be in the future. None: none is waiting."""
        if not self._heap:
            return None
        due, _, entry = self._heap[0]
        return Due(job=entry.first().job, due=due)

    def nudge(self, job: int, now: float) -> None:
        """Somebody says that this job's task has ended: ask as soon as `min_s` allows, whatever was planned."""
        entry = self._jobs.get(job)
        if entry is not None:
            self._nudged[job] = max(now, entry.asked_at + self._polling.min_s) if entry.asked else now

    def nudged(self) -> Due | None:
        """Return the job to ask about first of those nudged; its `due` may be in the future."""
        # One that is being asked about waits for the answer.
        due = ((at, job) for job, at in self._nudged.items() if not self._on_its_way(self._jobs[job]))
        first = min(due, default=None)
        return Due(job=first[1], due=first[0]) if first is not None else None

    def likely(self, entry: _Waiting, now: float) -> float:
        """Return the chance that a job's task has ended."""
        curve = entry.line.curve
        return curve.chance(entry.known_s, now - entry.start) if curve is not None else POLLING.unknown

    def reckon(self, now: float) -> tuple[float, float]:
        """Reckon how many tasks still run as far as can be told without asking; return that and its standard deviation.

        A command: it is done anew only now and then; in between, tasks come, and those seen to end had ended before.
        """
        if now - self._reckoned_at > RECKON_S * (1.0 + len(self._jobs) / 1000.0):
            self._reckoned_at = now
            gone = [self.likely(entry, now) for entry in self._jobs.values()]
            doubt = sum(each * (1.0 - each) for each in gone)
            self._running = (len(gone) - sum(gone), math.sqrt(doubt))
        return self._running

    def any_allowed(self, now: float) -> int | None:
        """Return a job that the limits of polling allow to be asked about now, due or not."""
        for due, _, each in self._heap[:8]:
            if each.due == due and self._allowed_at(each.first()) <= now:
                return each.first().job
        return None

    # --- inside ---

    def _on_its_way(self, entry: _Waiting) -> bool:
        return entry.asked and entry.due is None

    def _allowed_at(self, entry: _Waiting) -> float:
        if self._on_its_way(entry):
            return math.inf
        return max(
            entry.start + self._polling.first_s, entry.asked_at + self._polling.min_s if entry.asked else 0.0
        )

    def _push(self, due: float, entry: _Line | _Waiting) -> None:
        self._number += 1
        heappush(self._heap, (due, self._number, entry))

    def _ask(self, entry: _Waiting, due: float) -> None:
        entry.due = due
        self._push(due, entry)
        self._tidy()

    def _age(self, line: _Line, known_s: float) -> float:
        """Return the age to ask at about a job known to run at `known_s`; 0: never asked."""
        curve, beyond_s = line.curve, line.look_s
        if curve is not None and known_s < curve.frontier_s:
            if line.plan is None:
                line.plan = PollPlan(curve, self._polling, polls=self._polls)
            age_s = line.plan.after(known_s)
            if age_s <= POLLING.beyond * curve.frontier_s:
                return age_s
        # Beyond all ends seen: one of them is asked whenever the oldest age asked has grown by a step.
        return max(beyond_s, known_s * (1.0 + min(4.0 * self._step(), self._silence(line))))

    def _next(self, entry: _Waiting) -> float:
        """Return when to ask again about a job known to run at `known_s`."""
        limits, line, known_s = self._polling, entry.line, entry.known_s
        age_s, most_s = self._age(line, known_s), self._most_s
        if line.curve is not None and age_s > known_s + most_s:
            if known_s >= line.curve.frontier_s:
                most_s *= POLLING.followers
            else:
                # No poll only because so much time has passed: where none end, none is missed.
                most_s = max(most_s, line.curve.age(POLLING.quiet, running_s=known_s) - known_s)
        if self._closely:
            age_s = min(age_s, known_s * (1.0 + self._silence(line)))
        at = max(entry.start + known_s, entry.asked_at)
        return at + min(max(age_s - known_s, limits.min_s), most_s)

    def _silence(self, line: _Line) -> float:
        """Return the part of its age after which one that outlives all others is asked about again."""
        return POLLING.silence / max(self._polls, 1.0) if line.curve is not None else POLLING.silence

    def _step(self) -> float:
        """Return by which part the oldest age grows between two polls that look for the first end."""
        return min(max(POLLING.to_find / max(self._spare, 1.0), POLLING.finest), POLLING.silence / 2)

    def _refresh(self, line: _Line) -> None:
        """Take up what was learned about a line's shape."""
        curve = self._durations.curve(line.shape, group=line.group)
        if curve is line.curve:
            self._head(line)
            return
        before, line.curve, line.plan = line.curve, curve, None
        self._head(line)
        number = before.number if before is not None else 0
        # Planned anew for all when much has changed; else when each is due.
        much = curve is None or curve.number.bit_length() > number.bit_length()
        farther = (
            before is not None and curve is not None and curve.frontier_s > POLLING.beyond * before.frontier_s
        )
        if much or farther:
            self._replan(line)

    def _head(self, line: _Line) -> None:
        """Find the oldest fresh job of a line, and say when it is due."""
        fresh, due = line.fresh, None
        while fresh and (fresh[0][2].asked or self._jobs.get(fresh[0][1]) is not fresh[0][2]):
            heappop(fresh)
        if fresh:
            oldest = fresh[0][2]
            due = oldest.start + max(self._age(line, 0.0), self._polling.first_s)
            if line.curve is None:
                # Those that look for the first end may never come to one: now and then another one is asked.
                due = min(due, max(oldest.asked_at, line.asked_at) + POLLING.followers * self._most_s)
        if due != line.due:
            line.due = due
            if due is not None:
                self._push(due, line)
            self._tidy()

    def _tidy(self) -> None:
        """Drop what is no longer true from the top of the heap: queries read it as it is."""
        heap = self._heap
        while heap and heap[0][2].due != heap[0][0]:
            heappop(heap)

    def _replan(self, line: _Line | None) -> None:
        """Plan anew for the jobs of a line (None: of all) that were asked about before."""
        for entry in self._jobs.values():
            if entry.due is not None and entry.known_s > 0.0 and line in (None, entry.line):
                due = self._next(entry)
                if due != entry.due:
                    entry.due = due
                    self._push(due, entry)
        self._tidy()
