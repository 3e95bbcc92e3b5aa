"""Which of the waiting jobs to ask about next, and when. Pure.

A waiting job is one small record and one entry in a heap. Jobs nobody has asked about yet wait in their
shape's line by age, so that what is learned about the shape moves all of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from runner.durations import Curve, Durations
from runner.model import Polling

LONGEST_STEP = 0.35  # of the age: a tail of a few very long tasks is followed at least so closely
FINEST = 0.02  # of the age: asking more often than this gains nothing
SCOUTS = 3  # jobs of a shape never seen that are asked about closely, for all
SCOUT_STEP = 0.12  # of its age: how long a scout waits between polls
EARLY_EVERY = 32  # one job of so many is asked about early, to see failures and faster times
GOLDEN = 0.6180339887498949


class _Line:
    """The jobs of one shape."""

    __slots__ = ("age_s", "curve", "due", "fresh", "kin", "scouted_s", "scouts", "seen", "shape", "version")

    def __init__(self, shape: Hashable, kin: Hashable) -> None:
        self.shape = shape
        self.kin = kin
        self.fresh: list[tuple[float, int]] = []  # heap of (accepted at, job), never asked about
        self.curve: Curve | None = None
        self.version = 0
        self.age_s = 0.0  # the age to ask first at
        self.due = math.inf  # when its oldest fresh job is due
        self.scouts = 0
        self.scouted_s = 0.0  # the greatest age a scout is known to run at
        self.seen = 0


class _Waiting:
    """One waiting job."""

    __slots__ = ("asked_at", "due", "known_s", "line", "scout", "start")

    def __init__(self, line: _Line, start: float) -> None:
        self.line = line
        self.start = start
        self.known_s = 0.0  # age at which it was last known to run
        self.scout = False
        self.asked_at = start  # when the last poll was sent; the start if none was
        # Its valid heap entry: the start while in its line, else when it is due; None: a poll is on its way.
        self.due: float | None = start


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """The job to ask about first, when, and how likely it then has ended."""

    job: int
    due: float


class Waiting:
    """All jobs at the service, by when to ask about them.

    Args:
        polling: The documented manners: never before `first_s`, never two polls closer than `min_s`.
        durations: What is known of how long tasks take; what is learned here goes there.
    """

    def __init__(self, polling: Polling, durations: Durations) -> None:
        self._polling = polling
        self._durations = durations
        self._jobs: dict[int, _Waiting] = {}
        self._lines: dict[Hashable, _Line] = {}
        self._heads: list[tuple[float, int, _Line]] = []
        self._asked: list[tuple[float, int]] = []  # heap of (due, job): scouts, early ones, asked before
        self._part = 0.5
        self.found = 0
        self.wasted = 0
        self._number = 0
        self._on_their_way = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: int) -> bool:
        return job in self._jobs

    @property
    def on_their_way(self) -> int:
        """Jobs with a poll under way."""
        return self._on_their_way

    def add(
        self, job: int, *, shape: Hashable, kin: Hashable, age_s: float, now: float, polled: bool
    ) -> None:
        """Take up a job that the service has accepted `age_s` ago."""
        self.remove(job)
        line = self._lines.get(shape)
        if line is None:
            line = self._lines[shape] = _Line(shape, kin)
            self._refresh(line)
        entry = self._jobs[job] = _Waiting(line, now - age_s)
        line.seen += 1
        if line.curve is None:
            if (line.scouts < SCOUTS or line.seen % EARLY_EVERY == 0) and not polled:
                line.scouts += 1
                entry.scout = True
                self._ask(job, entry, max(entry.start + self._polling.first_s, now))
                return
        elif line.seen % EARLY_EVERY == 0 and not polled:
            part = (line.seen // EARLY_EVERY * GOLDEN) % 1.0
            early_s = max(self._polling.first_s, line.age_s * part)
            self._ask(job, entry, max(entry.start + early_s, now))
            return
        heappush(line.fresh, (entry.start, job))
        if line.fresh[0][1] == job:
            self._head(line)

    def sent(self, job: int, now: float) -> None:
        """A poll of this job is on its way."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        if entry.due is not None:
            self._on_their_way += 1
        entry.due = None
        entry.asked_at = now

    def running(self, job: int, now: float) -> None:
        """The poll found the task still running."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        line = entry.line
        age_s = max(entry.asked_at - entry.start, 0.0)
        self._durations.runs(line.shape, entry.known_s, age_s, kin=line.kin)
        entry.known_s = max(age_s, entry.known_s)
        if line.curve is not None:
            self.wasted += 1
            self._refresh(line)
        elif entry.known_s > line.scouted_s:
            line.scouted_s = entry.known_s
            self._aim(line)
        self._ask(job, entry, self._again(entry))

    def unclear(self, job: int, now: float, delay_s: float) -> None:
        """The poll told nothing: ask again after `delay_s`."""
        entry = self._jobs.get(job)
        if entry is not None:
            self._ask(job, entry, max(now + delay_s, entry.asked_at + self._polling.min_s))

    def ended(self, job: int, now: float, duration_s: float | None) -> float | None:
        """The task has ended: learn from it, and return its duration as well as it is known.

        Args:
            job: Which.
            now: When the answer came.
            duration_s: What the service says it took; None when it does not say.

        Returns:
            Seconds; None where the moment of the end is too uncertain to be worth keeping.
        """
        entry = self._jobs.get(job)
        if entry is None:
            return duration_s
        line = entry.line
        self.found += 1
        by_s = max((entry.asked_at if entry.asked_at > entry.start else now) - entry.start, 0.0)
        low_s, high_s = (entry.known_s, by_s) if duration_s is None else (duration_s, duration_s)
        self.remove(job)
        self._durations.ended(line.shape, low_s, max(high_s, low_s), kin=line.kin)
        self._refresh(line)
        if duration_s is not None:
            return duration_s
        return (low_s + high_s) / 2 if high_s - low_s <= 0.25 * high_s else None

    def remove(self, job: int) -> None:
        """Forget a job."""
        entry = self._jobs.pop(job, None)
        if entry is None:
            return
        if entry.due is None:
            self._on_their_way -= 1
        self._durations.leaves(entry.line.shape, entry.known_s, kin=entry.line.kin)
        if entry.line.fresh and entry.line.fresh[0][1] == job:
            self._head(entry.line)

    def be(self, part: float) -> None:
        """Ask from now on when this part of the tasks still running should have ended."""
        if part == self._part:
            return
        self._part = part
        for line in self._lines.values():
            self._aim(line)
        self._replan()

    def next(self, now: float) -> Next | None:
        """Return the job to ask about first; its `due` may be in the future. None: none is waiting."""
        self._settle(now)
        head = self._heads[0] if self._heads else None
        asked = self._asked[0] if self._asked else None
        if head is not None and asked is not None and head[0] <= now and asked[0] <= now:
            # More is due than can be asked: first what has most likely ended.
            job = head[2].fresh[0][1]
            fresh_first = self.likely(job, now) >= self.likely(asked[1], now)
            return Next(job=job, due=head[0]) if fresh_first else Next(job=asked[1], due=asked[0])
        if head is not None and (asked is None or head[0] <= asked[0]):
            return Next(job=head[2].fresh[0][1], due=head[0])
        return Next(job=asked[1], due=asked[0]) if asked is not None else None

    def likely(self, job: int, now: float) -> float:
        """Return the chance that the job's task has ended; 0 where nothing is known."""
        entry = self._jobs[job]
        curve = entry.line.curve
        return curve.chance(entry.known_s, now - entry.start) if curve is not None else 0.0

    def nearly_all_s(self, job: int) -> float:
        """Return the age by which nearly all tasks like this one have ended; infinite if unknown."""
        curve = self._jobs[job].line.curve
        return curve.age(0.95) if curve is not None else math.inf

    def any_allowed(self, now: float) -> int | None:
        """Return a job that good manners allow to be asked about now, due or not."""
        found = self.next(now)
        if found is not None and found.due <= now:
            return found.job
        for _, _, line in self._heads[:4]:
            start, job = line.fresh[0]
            if now - start >= self._polling.first_s:
                return job
        for _, job in self._asked[:8]:
            entry = self._jobs.get(job)
            if (
                entry is not None
                and entry.due is not None
                and now - entry.start >= self._polling.first_s
                and (entry.asked_at <= entry.start or now - entry.asked_at >= self._polling.min_s)
            ):
                return job
        return None

    # --- inside ---

    def _ask(self, job: int, entry: _Waiting, due: float) -> None:
        if entry.due is None:
            self._on_their_way -= 1
        entry.due = due
        heappush(self._asked, (due, job))

    def _again(self, entry: _Waiting) -> float:
        """Return when to ask again about a job known to run at `known_s`."""
        manners, age_s, curve = self._polling, entry.known_s, entry.line.curve
        if curve is not None:
            wait_s = curve.age(self._part, running_s=age_s) - age_s
            wait_s = min(max(wait_s, FINEST * age_s), LONGEST_STEP * max(self._part, 0.2) * 2 * age_s)
        else:
            # A scout: close enough to learn from, further apart as it gets older. The others follow.
            wait_s = SCOUT_STEP * age_s if entry.scout else manners.max_s
        wait_s = min(max(wait_s, manners.min_s), max(manners.max_s, manners.min_s))
        return max(entry.start + age_s, entry.asked_at) + wait_s

    def _refresh(self, line: _Line) -> None:
        """Take up what was learned about a line's shape."""
        curve, version = self._durations.curve(line.shape, kin=line.kin)
        if version == line.version and curve is line.curve and line.age_s > 0.0:
            return
        first = line.curve is None and curve is not None
        line.curve, line.version = curve, version
        self._aim(line)
        if first:
            self._replan()

    def _aim(self, line: _Line) -> None:
        manners = self._polling
        if line.curve is None:
            # Scouts of this age still run, so asking the others would be in vain.
            age_s = max(manners.max_s, manners.first_s, 1.25 * line.scouted_s)
        else:
            # What lies beyond all that was seen is a guess, and no reason to be silent for long.
            guess_s = min(line.curve.age(self._part), 1.2 * line.curve.longest_s)
            age_s = max(guess_s, manners.first_s)
        if age_s != line.age_s:
            line.age_s = age_s
            self._head(line)

    def _head(self, line: _Line) -> None:
        """Find the oldest fresh job of a line, and say when it is due."""
        fresh = line.fresh
        while fresh and not self._is_fresh(fresh[0]):
            heappop(fresh)
        due = fresh[0][0] + line.age_s if fresh else math.inf
        if due == line.due:
            return
        line.due = due
        if fresh:
            self._number += 1
            heappush(self._heads, (due, self._number, line))

    def _is_fresh(self, item: tuple[float, int]) -> bool:
        entry = self._jobs.get(item[1])
        return entry is not None and entry.due == item[0] and entry.start == item[0]

    def _settle(self, now: float) -> None:
        """Drop what is no longer true from the tops of the heaps."""
        heads, asked = self._heads, self._asked
        while heads:
            due, _, line = heads[0]
            if due == line.due and line.fresh and self._is_fresh(line.fresh[0]):
                break
            heappop(heads)
            if due == line.due:
                line.due = math.inf
                self._head(line)
        while asked:
            due, job = asked[0]
            entry = self._jobs.get(job)
            if entry is None or entry.due != due:
                heappop(asked)
                continue
            if due > now or entry.known_s <= 0.0 or entry.line.curve is None:
                break
            # The curve may have moved since this was planned; it is only ever put off by what it says now.
            again = self._again(entry)
            if again <= now:
                break
            heappop(asked)
            self._ask(job, entry, again)

    def _replan(self) -> None:
        """Plan anew for all jobs asked about before."""
        planned: list[tuple[float, int]] = []
        for due, job in self._asked:
            entry = self._jobs.get(job)
            if entry is None or entry.due != due:
                continue
            if entry.known_s > 0.0:
                entry.due = due = self._again(entry)
            planned.append((due, job))
        heapify(planned)
        self._asked = planned
