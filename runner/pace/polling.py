"""Which of the waiting jobs to ask about next, and when. Pure.

A waiting job is one small record and one entry in a heap. Jobs nobody has asked about yet wait in their
shape's line by age, so that what is learned about the shape moves all of them at once.

Where tasks were seen to end, a plan says when to ask (`inspection`). Where none was, or a task outlives all
that ended, a few go ahead and are asked in turns, each time the oldest age has grown by a small part, and
the others follow at a distance: the first end is seen soon, and not by everyone's polls. The part is as
small as the wasted polls that can still be afforded allow. While none has ended, the oldest is asked every
other time: where all take the same, it is the first.

`min_s` always holds. `max_s` holds where an end is likely: a poll is left out while as good as none of the
tasks known ends in between, and those that follow wait up to three times as long.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from runner.model import Polling
from runner.pace.durations import Curve, Durations
from runner.pace.inspection import PollPlan, plan_for
from runner.pace.numbers import number


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingSettings:
    """Settings of who is asked about, and when."""

    finest: float = number(
        0.012, unit="of the age", serves="the first end is seen soon, where many polls can be spent on it"
    )
    to_find: float = number(
        16.0,
        unit="of the polls left",
        serves="the first end is looked for with a sixteenth of the polls that can be spared",
    )
    follow: float = number(
        1.25,
        unit="of the oldest age",
        off=1.0,
        serves="those behind do not ask what those ahead have just asked",
    )
    silence: float = number(
        0.3, unit="of the age", serves="the longest silence about a task that outlives all others"
    )
    followers: float = number(
        3.0,
        unit="times max_s",
        off=1.0,
        serves="few polls of those that follow, where others are asked in turns",
    )
    quiet: float = number(
        0.02,
        unit="chance of an end",
        off=0.0,
        serves="no poll only because `max_s` has passed: where none end, none is missed",
    )
    quick: float = number(
        0.08,
        unit="of the tasks",
        off=9.0,
        serves="tasks that fail at once: so many make it worth to ask about all of them early",
    )
    unknown: float = number(
        0.1,
        unit="chance",
        off=0.0,
        serves="too many told from too fast while nothing is known of when tasks end",
    )


POLLING = PollingSettings()
RECKON_S = 0.1  # how many have ended unseen is reckoned anew so often, more seldom with thousands of jobs


class _Cohort:
    """The jobs of one shape."""

    __slots__ = (
        "age_s",
        "asked",
        "curve",
        "due",
        "early_ends",
        "early_polls",
        "first_asked_at",
        "fresh",
        "group",
        "leaders",
        "looking",
        "next_look_s",
        "oldest_known_s",
        "poll_plan",
        "shape",
        "version",
    )

    def __init__(self, shape: Hashable, group: Hashable) -> None:
        self.shape = shape
        self.group = group
        self.fresh: list[tuple[float, int]] = []  # heap of (accepted at, job), never asked about
        self.curve: Curve | None = None
        self.version = 0
        self.age_s = 0.0  # the age to ask first at
        self.looking = True  # for the age at which the first of them end
        self.oldest_known_s = 0.0  # the greatest age one of them is known to run at
        self.next_look_s = 0.0  # the age to look at next
        self.first_asked_at = -math.inf  # when one of them was last asked for the first time
        self.due = math.inf  # when its oldest fresh job is due
        self.poll_plan: PollPlan | None = None
        self.asked = 0  # jobs that were found running
        self.leaders = 0  # those of them that are asked about closely
        self.early_polls = 0  # jobs that are asked as soon as the limits allow
        self.early_ends = 0  # and those of them that had ended


class _Waiting:
    """One waiting job."""

    __slots__ = (
        "aim_s",
        "asked_at",
        "due",
        "early",
        "gone",
        "known_s",
        "leader",
        "line",
        "start",
        "taken_at",
    )

    def __init__(self, line: _Cohort, start: float, taken_at: float) -> None:
        self.line = line
        self.start = start
        self.taken_at = taken_at
        self.known_s = 0.0  # age at which it was last known to run
        self.aim_s = math.inf  # the age it was first to be asked at
        self.gone = 0.0  # chance that it had ended, when that was last reckoned
        self.leader = False
        self.early = False  # asked as soon as the limits allow
        self.asked_at = start  # when the last poll was sent; the start if none was
        # Its valid heap entry: the start while in its line, else when it is due; None: a poll is on its way.
        self.due: float | None = start


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The job to ask about first, when, and how likely it then has ended."""

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
        self._durations = durations
        self._most_s = max(polling.max_s, polling.min_s)  # between two polls, where nothing else is known
        self._jobs: dict[int, _Waiting] = {}
        self._lines: dict[Hashable, _Cohort] = {}
        self._heads: list[tuple[float, int, _Cohort]] = []
        self._asked: list[tuple[float, int]] = []  # heap of (due, job): leaders, early ones, asked before
        self._polls, self._spare = 2.0, 0.0
        self._closely = self._hurried = False
        self._nudged: dict[int, float] = {}  # job: when it may be asked about
        self._plans: dict[float, tuple[Curve, PollPlan]] = {}
        self.found = 0
        self.wasted = 0
        self._number = 0
        self._gone = self._doubt = 0.0  # how many have most likely ended unseen, and the variance of that
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
            line = self._lines[shape] = _Cohort(shape, group)
            self._refresh(line)
        entry = self._jobs[job] = _Waiting(line, now - age_s, now)
        if not polled and self._fails_early(line):
            entry.early = True
            line.early_polls += 1
            self._ask(job, entry, max(entry.start + self._polling.first_s, now))
            return
        heappush(line.fresh, (entry.start, job))
        if line.fresh[0][1] == job:
            self._head(line)
        self._tidy()

    def _fails_early(self, line: _Cohort) -> bool:
        """Whether so many tasks end at once that each is worth an early poll: it would keep a slot as long as others."""
        far = line.age_s > 2.0 * self._polling.first_s
        part = (line.early_ends + 1.0) / (line.early_polls + 2.0)
        return self._hurried and far and part > POLLING.quick

    def sent(self, job: int, now: float) -> None:
        """A poll of this job is on its way."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        first = entry.asked_at <= entry.start
        entry.due = None
        entry.asked_at = now
        self._nudged.pop(job, None)
        line = entry.line
        if first:
            line.first_asked_at = now
        if line.looking and first:
            # The oldest goes ahead; the others follow when they are as old and a little older.
            age_s, entry.aim_s = now - entry.start, line.age_s
            line.next_look_s = max(line.next_look_s, age_s + self._step() * age_s)
            self._aim(line)
        self._tidy()

    def still_running(self, job: int, now: float) -> None:
        """The poll found the task still running."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        line = entry.line
        age_s = max(entry.asked_at - entry.start, 0.0)
        self._reckon(entry, 0.0)
        if entry.known_s <= 0.0:
            line.asked += 1
        self._durations.runs(line.shape, entry.known_s, age_s, group=line.group)
        entry.known_s = max(age_s, entry.known_s)
        line.oldest_known_s = max(line.oldest_known_s, age_s)
        self.wasted += 1
        if line.curve is not None:
            self._refresh(line)
        else:
            self._aim(line)
        self._ask(job, entry, self._plan_next(entry))
        self._tidy()

    def unclear(self, job: int, now: float, delay_s: float) -> None:
        """The poll told nothing: ask again after `delay_s`."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        self._ask(job, entry, max(now + delay_s, entry.asked_at + self._polling.min_s))
        line = entry.line
        if line.looking and entry.known_s <= 0.0:
            # Nobody was seen to run at that age: another one is looked at for it.
            line.next_look_s = min(line.next_look_s, max(entry.asked_at - entry.start, 0.0))
            self._aim(line)
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
        line = entry.line
        self.found += 1
        low_s = entry.known_s
        high_s = max((entry.asked_at if entry.asked_at > entry.start else now) - entry.start, low_s)
        fresh = low_s <= 0.0
        self.remove(job)
        self._durations.ended(line.shape, low_s, high_s, group=line.group)
        line.early_ends += fresh and entry.early
        if fresh and line.looking:
            # Here tasks end: look at the next as soon as it is as old as this one was to be, however late it was
            # asked. Where none was ever seen to run, nothing says that they take even so long.
            look_s = min(line.next_look_s, entry.aim_s, high_s) if line.oldest_known_s > 0.0 else 0.0
            line.next_look_s = max(look_s, self._polling.first_s)
            self._aim(line)
        self._refresh(line)
        self._tidy()
        return (low_s + high_s) / 2 if high_s - low_s <= 0.25 * high_s else None

    def remove(self, job: int) -> None:
        """Forget a job."""
        self._nudged.pop(job, None)
        entry = self._jobs.pop(job, None)
        if entry is None:
            return
        self._reckon(entry, 0.0)
        entry.line.asked -= entry.known_s > 0.0
        entry.line.leaders -= entry.leader
        self._durations.leaves(entry.line.shape, entry.known_s, group=entry.line.group)
        if entry.line.fresh and entry.line.fresh[0][1] == job:
            self._head(entry.line)
        self._tidy()

    def set_mode(
        self,
        polls: float,
        *,
        spare: float,
        closely: bool = False,
        hurried: bool = False,
    ) -> None:
        """Spend about so many polls on a task from now on.

        Args:
            polls: How many.
            spare: So many that find nothing can be afforded in all that is left to do.
            closely: Never be long without asking.
            hurried: Each ended task keeps another one from beginning.
        """
        self._hurried, self._spare = hurried, spare
        if (polls, closely) == (self._polls, self._closely):
            return
        self._polls, self._closely = polls, closely
        for line in self._lines.values():
            if line.curve is not None:
                self._aim(line)
        self._replan()
        self._tidy()

    def settle(self, now: float) -> None:
        """Put off what is due but need not be asked any more: the curve may have moved since it was planned."""
        while self._asked and (due := self._asked[0][0]) <= now:
            job = self._asked[0][1]
            entry = self._jobs[job]
            if entry.known_s <= 0.0 or entry.line.curve is None or (again := self._plan_next(entry)) <= now:
                return
            assert due == entry.due
            heappop(self._asked)
            self._ask(job, entry, again)
            self._tidy()

    def next(self, now: float) -> Due | None:
        """Return the job to ask about first; its `due` may be in the future. None: none is waiting."""
        head = self._heads[0] if self._heads else None
        asked = self._asked[0] if self._asked else None
        if head is not None and asked is not None and head[0] <= now and asked[0] <= now:
            # More is due than can be asked: first what has most likely ended.
            job = head[2].fresh[0][1]
            fresh_first = self.likely(job, now) >= self.likely(asked[1], now)
            return Due(job=job, due=head[0]) if fresh_first else Due(job=asked[1], due=asked[0])
        if head is not None and (asked is None or head[0] <= asked[0]):
            return Due(job=head[2].fresh[0][1], due=head[0])
        return Due(job=asked[1], due=asked[0]) if asked is not None else None

    def nudge(self, job: int, now: float) -> None:
        """Somebody says that this job's task has ended: ask as soon as `min_s` allows, whatever was planned."""
        entry = self._jobs.get(job)
        if entry is not None:
            asked = entry.asked_at > entry.start
            self._nudged[job] = max(now, entry.asked_at + self._polling.min_s) if asked else now

    def nudged(self) -> Due | None:
        """Return the job to ask about first of those nudged; its `due` may be in the future."""
        # One that is being asked about waits for the answer.
        due = ((at, job) for job, at in self._nudged.items() if self._jobs[job].due is not None)
        first = min(due, default=None)
        return Due(job=first[1], due=first[0]) if first is not None else None

    def likely(self, job: int, now: float) -> float:
        """Return the chance that the job's task has ended."""
        entry = self._jobs[job]
        curve = entry.line.curve
        return curve.chance(entry.known_s, now - entry.start) if curve is not None else POLLING.unknown

    def reckon(self, now: float) -> tuple[float, float]:
        """Reckon how many tasks still run as far as can be told without asking; return that and its standard deviation.

        A command: it is done anew only now and then, each job's last chance is kept.
        """
        if now - self._reckoned_at > RECKON_S * (1.0 + len(self._jobs) / 1000.0):
            self._reckoned_at = now
            for job, entry in self._jobs.items():
                self._reckon(entry, self.likely(job, now))
        return len(self._jobs) - max(self._gone, 0.0), math.sqrt(max(self._doubt, 0.0))

    def any_allowed(self, now: float) -> int | None:
        """Return a job that the limits of polling allow to be asked about now, due or not."""
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

    def _reckon(self, entry: _Waiting, gone: float) -> None:
        self._gone += gone - entry.gone
        self._doubt += gone * (1.0 - gone) - entry.gone * (1.0 - entry.gone)
        entry.gone = gone

    def _ask(self, job: int, entry: _Waiting, due: float) -> None:
        entry.due = due
        heappush(self._asked, (due, job))

    def _plan_next(self, entry: _Waiting) -> float:
        """Settle who asks closely, and return when to ask again about a job known to run at `known_s`."""
        limits, age_s, line = self._polling, entry.known_s, entry.line
        longest_s = self._silence(line) * age_s
        following = False
        if line.poll_plan is not None and line.curve is not None and age_s < line.curve.frontier_s:
            wait_s = line.poll_plan.after(age_s) - age_s
            if self._closely:
                wait_s = min(wait_s, longest_s)
        elif self._appoint(entry):
            # It outlives all that ended so far: a few of those ask in turns...
            wait_s = min(self._step() * line.leaders * age_s, longest_s)
        else:
            # ... and the others follow at a distance.
            wait_s = max(POLLING.follow * max(line.oldest_known_s, age_s) - age_s, longest_s)
            following = line.curve is not None
        most_s = self._most_s
        if following:
            most_s *= POLLING.followers
        if line.curve is not None and wait_s > most_s:
            # No poll only because so much time has passed: where none end, none is missed.
            most_s = max(most_s, line.curve.age(POLLING.quiet, running_s=age_s) - age_s)
        wait_s = min(max(wait_s, limits.min_s), most_s)
        return max(entry.start + age_s, entry.asked_at) + wait_s

    def _appoint(self, entry: _Waiting) -> bool:
        """Make this job one of the few asked about closely, if there is room; return whether it is one."""
        line = entry.line
        if not entry.leader and line.leaders < self._most_leaders(line):
            entry.leader = True
            line.leaders += 1
        return entry.leader

    def _silence(self, line: _Cohort) -> float:
        """Return the part of its age after which one that outlives all others is asked about again."""
        return POLLING.silence / max(self._polls, 1.0) if line.curve is not None else POLLING.silence

    def _most_leaders(self, line: _Cohort) -> float:
        return max(self._silence(line) / self._step(), 1.0)

    def _step(self) -> float:
        """Return by which part the oldest age grows between two polls that look for the first end."""
        return min(max(POLLING.to_find / max(self._spare, 1.0), POLLING.finest), POLLING.silence / 2)

    def _refresh(self, line: _Cohort) -> None:
        """Take up what was learned about a line's shape."""
        curve, version = self._durations.curve(line.shape, group=line.group)
        if version == line.version and curve is line.curve and line.age_s > 0.0:
            return
        looking, number = line.looking, curve.number if curve is not None else 0
        before = line.curve.number if line.curve is not None else 0
        farther = (
            curve is not None
            and line.curve is not None
            and curve.frontier_s > POLLING.follow * line.curve.frontier_s
        )
        line.curve, line.version = curve, version
        self._aim(line)
        grown = before.bit_length() < number.bit_length()
        if grown or farther or line.looking != looking:
            self._replan()

    def _aim(self, line: _Cohort) -> None:
        """Find the age at which to ask first about a line's jobs."""
        line.looking, age_s = True, line.next_look_s
        if line.curve is None:
            if line.asked >= self._most_leaders(line):
                # Enough of them look for the first end in turns; the others follow at a distance.
                age_s = max(age_s, POLLING.follow * line.oldest_known_s)
        else:
            line.poll_plan = self._plan(line.curve)
            first_s = line.poll_plan.after(0.0)
            # Where most tasks outlive the ends seen, we go on looking for where they end.
            line.looking = first_s > POLLING.follow * line.curve.frontier_s
            age_s = min(first_s, line.next_look_s) if line.looking else first_s
        age_s = max(age_s, self._polling.first_s)
        if age_s != line.age_s:
            line.age_s = age_s
            self._head(line)

    def _plan(self, curve: Curve) -> PollPlan:
        """Return the plan for a curve, which several lines may share."""
        known = self._plans.get(self._polls)
        if known is not None and known[0] is curve:
            return known[1]
        cost = known[1].cost if known is not None else 0.05
        plan = plan_for(curve, polls=self._polls, limits=self._polling, cost=cost)
        self._plans[self._polls] = (curve, plan)
        return plan

    def _head(self, line: _Cohort) -> None:
        """Find the oldest fresh job of a line, and say when it is due."""
        fresh = line.fresh
        while fresh and not self._is_fresh(fresh[0]):
            heappop(fresh)
        due = fresh[0][0] + line.age_s if fresh else math.inf
        if fresh and line.curve is None:
            # Those that look for the first end may never come to one: now and then another one is asked.
            since = max(self._jobs[fresh[0][1]].taken_at, line.first_asked_at)
            due = min(due, since + POLLING.followers * self._most_s)
        if due == line.due:
            return
        line.due = due
        if fresh:
            self._number += 1
            heappush(self._heads, (due, self._number, line))

    def _is_fresh(self, item: tuple[float, int]) -> bool:
        entry = self._jobs.get(item[1])
        return entry is not None and entry.due == item[0] and entry.start == item[0]

    def _tidy(self) -> None:
        """Drop what is no longer true from the tops of the heaps: queries read them as they are."""
        heads, asked = self._heads, self._asked
        while heads:
            due, _, line = heads[0]
            if due == line.due and line.fresh and self._is_fresh(line.fresh[0]):
                break
            heappop(heads)
            if due == line.due:
                line.due = math.inf
                self._head(line)
        while asked and (asked[0][1] not in self._jobs or self._jobs[asked[0][1]].due != asked[0][0]):
            heappop(asked)

    def _replan(self) -> None:
        """Plan anew for all jobs asked about before."""
        planned: list[tuple[float, int]] = []
        for due, job in self._asked:
            entry = self._jobs.get(job)
            if entry is None or entry.due != due:
                continue
            if entry.known_s > 0.0:
                entry.due = due = self._plan_next(entry)
            planned.append((due, job))
        heapify(planned)
        self._asked = planned
