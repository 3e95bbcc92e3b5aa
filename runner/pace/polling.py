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

# Where nothing is known of when tasks end, one after another is asked about, the oldest first, each time
# the oldest has got older by this part: coarser when there are few jobs to spend polls on, finer when the
# polls would otherwise not be made at all.
FINEST_STEP, COARSEST_STEP, POLLS_TO_FIND, IDLE_POLLS_TO_FIND = 0.008, 0.15, 16.0, 4.0
AMONG_ENDS = 0.25  # of that step, once some have ended
FOLLOW, FARTHER, FEWEST_LEADERS = 1.25, 1.08, 3
# Times `max_s`: the silence about those that follow, and about all when too many polls found nothing.
FOLLOWERS, SPARING = 3.0, 1.5
LONGEST_STEP = 0.3  # of its age: the longest silence about a task that outlives all others
QUIET = 0.02  # chance of an end that is as good as none
NEAR_S = 0.05  # seconds between two of those at least
FEW_ENDS = 5
MANY_ENDS = 32  # ends seen: by then the curve has its form
QUICK = 0.08  # part of the tasks that end at once which makes it worth asking all of them
EARLY_EVERY = 32  # one job of so many is asked about early, to see failures and faster times
RIPE = 0.4  # part of the tasks that must have ended by the age at which one is asked first while idle
# How fast a drift is followed; how flat a curve says nothing of it; the most it may come to; over which
# part of its age the curve's slope is taken.
TRACK, FLAT, MOST_SCALE, NEARBY = 0.1, 1.0, 1.5, 1.02
UNKNOWN = 0.1  # chance that a task has ended, where nothing is known of when they do
GOLDEN = 0.6180339887498949
# How many have ended unseen is reckoned anew so often: a fixed time, and one for each job.
RECKON_S, RECKON_EACH_S = 0.1, 1e-4


class _Line:
    """The jobs of one shape."""

    __slots__ = (
        "age_s",
        "asked",
        "curve",
        "due",
        "early_ends",
        "early_planned",
        "early_polls",
        "fresh",
        "group",
        "hit_rate",
        "leaders",
        "looking",
        "next_look_s",
        "oldest",
        "oldest_known_s",
        "plan",
        "scale",
        "seen",
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
        self.hit_rate = 0.0  # how many of the last first polls found an end, from 0 to 1
        self.oldest_known_s = 0.0  # the greatest age one of them is known to run at
        self.next_look_s = 0.0  # the age to look at next
        self.scale = 1.0  # how much longer the tasks of now take than those the curve rests on
        self.due = math.inf  # when its oldest fresh job is due
        self.plan: PollPlan | None = None
        self.asked = 0  # jobs that were found running
        self.leaders = 0  # those of them that are asked about closely
        self.oldest = math.inf  # when the oldest of these was accepted
        self.seen = 0
        self.early_planned = 0  # jobs to be asked as soon as the limits and the rate allow
        self.early_polls = 0  # those that were
        self.early_ends = 0  # and those of them that had ended


class _Waiting:
    """One waiting job."""

    __slots__ = ("asked_at", "due", "early", "gone", "known_s", "leader", "line", "start")

    def __init__(self, line: _Line, start: float) -> None:
        self.line = line
        self.start = start
        self.known_s = 0.0  # age at which it was last known to run
        self.gone = 0.0  # chance that it had ended, when that was last reckoned
        self.leader = False
        self.early = False  # asked as soon as the limits allow
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
        polling: The limits of polling: never before `first_s`, never two polls closer than `min_s`.
        durations: What is known of how long tasks take; what is learned here goes there.
    """

    def __init__(self, polling: Polling, durations: Durations) -> None:
        self._polling = polling
        self._durations = durations
        self._jobs: dict[int, _Waiting] = {}
        self._lines: dict[Hashable, _Line] = {}
        self._heads: list[tuple[float, int, _Line]] = []
        self._asked: list[tuple[float, int]] = []  # heap of (due, job): leaders, early ones, asked before
        self._polls, self._spare = 2.0, 0.0
        self._closely = self._hurried = self._idle = False
        self._nudged: dict[int, float] = {}  # job: when it may be asked about
        self._plans: dict[float, tuple[Curve, PollPlan]] = {}
        self.found = 0
        self.typical_s = 0.0  # age at which the last ends were seen
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
            line = self._lines[shape] = _Line(shape, group)
            self._refresh(line)
        entry = self._jobs[job] = _Waiting(line, now - age_s)
        line.seen += 1
        if not polled:
            early_s = self._early_s(line)
            if early_s is not None:
                entry.early = early_s == self._polling.first_s
                line.early_planned += entry.early
                self._ask(job, entry, max(entry.start + early_s, now))
                return
        heappush(line.fresh, (entry.start, job))
        if line.fresh[0][1] == job:
            self._head(line)

    def _early_s(self, line: _Line) -> float | None:
        """Return the age to ask a job of this line at ahead of the others; None: it goes with them."""
        first_s = self._polling.first_s
        polls = line.early_polls + line.early_planned
        if self._hurried and line.age_s > 2.0 * first_s and (line.early_ends + 1.0) / (polls + 2.0) > QUICK:
            # Some may fail at once, and each would keep a slot for as long as the others take.
            return first_s
        if line.curve is None or line.seen % EARLY_EVERY:
            return None
        return max(first_s, line.age_s * ((line.seen // EARLY_EVERY * GOLDEN) % 1.0))

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
        if line.looking and first:
            # The oldest goes ahead; the others follow when they are as old and a little older.
            age_s = now - entry.start
            step = self._step() * (1.0 - line.hit_rate) ** 2
            if line.curve is not None and line.curve.number < FEW_ENDS:
                step *= AMONG_ENDS
            line.next_look_s = max(line.next_look_s, age_s + max(step * age_s, NEAR_S))
            self._aim(line)

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
            line.hit_rate *= 0.75
            self._compare(entry, age_s, ended=False)
            line.early_polls += entry.early
            line.early_planned -= entry.early
        self._durations.runs(line.shape, entry.known_s, age_s, group=line.group)
        entry.known_s = max(age_s, entry.known_s)
        line.oldest_known_s = max(line.oldest_known_s, age_s)
        self.wasted += 1
        if line.curve is not None:
            self._refresh(line)
        else:
            self._aim(line)
        self._ask(job, entry, self._plan_next(entry))

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
        if duration_s is not None:
            # What polls saw bounds what the service says: it may reckon with a wrong clock.
            duration_s = min(max(duration_s, entry.known_s), max(now - entry.start, entry.known_s))
        low_s, high_s = (entry.known_s, by_s) if duration_s is None else (duration_s, duration_s)
        fresh = entry.known_s <= 0.0
        self.typical_s += (by_s - self.typical_s) * max(0.05, 1.0 / self.found)
        self.remove(job)
        self._durations.ended(line.shape, low_s, max(high_s, low_s), group=line.group)
        if fresh:
            line.hit_rate += 0.25 * (1.0 - line.hit_rate)
            self._compare(entry, by_s, ended=True)
        if fresh and entry.early:
            line.early_polls += 1
            line.early_ends += 1
        if fresh and line.looking:
            # Here tasks end: look at the next as soon as it is as old.
            line.next_look_s = max(min(line.next_look_s, by_s), self._polling.first_s)
            self._aim(line)
        self._refresh(line)
        if duration_s is not None:
            return duration_s
        return (low_s + high_s) / 2 if high_s - low_s <= 0.25 * high_s else None

    def remove(self, job: int) -> None:
        """Forget a job."""
        self._nudged.pop(job, None)
        entry = self._jobs.pop(job, None)
        if entry is None:
            return
        self._reckon(entry, 0.0)
        if entry.known_s > 0.0:
            entry.line.asked -= 1
        else:
            entry.line.early_planned -= entry.early
        if entry.leader:
            entry.line.leaders -= 1
            if entry.start == entry.line.oldest:
                entry.line.oldest = math.inf
        self._durations.leaves(entry.line.shape, entry.known_s, group=entry.line.group)
        if entry.line.fresh and entry.line.fresh[0][1] == job:
            self._head(entry.line)

    def set_mode(
        self,
        polls: float,
        *,
        spare: float,
        closely: bool = False,
        hurried: bool = False,
        idle: bool = False,
    ) -> None:
        """Spend about so many polls on a task from now on.

        Args:
            polls: How many.
            spare: So many that find nothing can be afforded in all that is left to do.
            closely: Never be long without asking.
            hurried: Each ended task keeps another one from beginning.
            idle: The rate decides when all is done, and a poll not made now is a permit lost.
        """
        self._hurried, self._spare = hurried, spare
        if (polls, closely, idle) == (self._polls, self._closely, self._idle):
            return
        self._polls, self._closely, self._idle = polls, closely, idle
        for line in self._lines.values():
            if line.curve is not None:
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

    def nudge(self, job: int, now: float) -> None:
        """Somebody says that this job's task has ended: ask as soon as `min_s` allows, whatever was planned."""
        entry = self._jobs.get(job)
        if entry is not None:
            asked = entry.asked_at > entry.start
            self._nudged[job] = max(now, entry.asked_at + self._polling.min_s) if asked else now

    def nudged(self) -> Next | None:
        """Return the job to ask about first of those nudged; its `due` may be in the future."""
        # One that is being asked about waits for the answer.
        due = ((at, job) for job, at in self._nudged.items() if self._jobs[job].due is not None)
        first = min(due, default=None)
        return Next(job=first[1], due=first[0]) if first is not None else None

    def likely(self, job: int, now: float) -> float:
        """Return the chance that the job's task has ended."""
        entry = self._jobs[job]
        curve = entry.line.curve
        return curve.chance(entry.known_s, now - entry.start) if curve is not None else UNKNOWN

    def running(self, now: float) -> tuple[float, float]:
        """Return how many tasks still run as far as can be told without asking, and its standard deviation."""
        if now - self._reckoned_at > RECKON_S + RECKON_EACH_S * len(self._jobs):
            self._reckoned_at = now
            for job, entry in self._jobs.items():
                self._reckon(entry, self.likely(job, now))
        return len(self._jobs) - max(self._gone, 0.0), math.sqrt(max(self._doubt, 0.0))

    def nearly_all_s(self, job: int) -> float:
        """Return the age by which nearly all tasks like this one have ended; infinite if unknown."""
        curve = self._jobs[job].line.curve
        return curve.age(0.95) if curve is not None else math.inf

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

    def _compare(self, entry: _Waiting, age_s: float, *, ended: bool) -> None:
        """Learn from a first poll how much longer tasks take now than those the curve rests on.

        A step towards where the polls find as many ended as the curve says (stochastic approximation). Only
        where one task begins when another ends: where all begin at once, those asked first are not like
        those asked last.
        """
        line = entry.line
        curve = line.curve
        if curve is None or line.looking or entry.early or not self._hurried or curve.number < MANY_ENDS:
            return
        age_s /= line.scale
        if age_s > curve.frontier_s:
            return
        steep = (curve.ended(age_s * NEARBY) - curve.ended(age_s / NEARBY)) / (2.0 * math.log(NEARBY))
        step = TRACK * (curve.ended(age_s) - ended) * steep / (steep**2 + FLAT)
        line.scale = min(max(line.scale * math.exp(step), 1.0 / MOST_SCALE), MOST_SCALE)
        self._aim(line)

    def _plan_next(self, entry: _Waiting) -> float:
        """Settle who asks closely, and return when to ask again about a job known to run at `known_s`."""
        limits, age_s, line = self._polling, entry.known_s, entry.line
        longest_s = self._silence(line) * age_s
        following = False
        if line.plan is not None and line.curve is not None and age_s < line.curve.frontier_s:
            wait_s = line.plan.after(age_s / line.scale) * line.scale - age_s
            if self._closely:
                wait_s = min(wait_s, longest_s)
        elif self._appoint(entry):
            # It outlives all that ended so far: a few of those ask in turns...
            wait_s = min(self._step() * self._take_turns(entry) * age_s, longest_s)
        else:
            # ... and the others follow at a distance.
            wait_s = max(FOLLOW * max(line.oldest_known_s, age_s) - age_s, longest_s)
            following = line.curve is not None
        most_s = max(limits.max_s, limits.min_s)
        if following or self._polls < SPARING:
            most_s *= FOLLOWERS
        if line.curve is not None and wait_s > most_s:
            # No poll only because so much time has passed: where none end, none is missed.
            most_s = max(most_s, line.curve.age(QUIET, running_s=age_s) - age_s)
        wait_s = min(max(wait_s, limits.min_s), most_s)
        return max(entry.start + age_s, entry.asked_at) + wait_s

    def _take_turns(self, entry: _Waiting) -> int:
        """Count this job among those asked about closely; return after how many of their polls its turn comes again."""
        line = entry.line
        if line.curve is not None:
            return line.leaders
        line.oldest = min(line.oldest, entry.start)
        return 2 if entry.start == line.oldest else 2 * (line.leaders - 1)

    def _appoint(self, entry: _Waiting) -> bool:
        """Make this job one of the few asked about closely, if there is room; return whether it is one."""
        line = entry.line
        if not entry.leader and line.leaders < self._most_leaders(line):
            entry.leader = True
            line.leaders += 1
        return entry.leader

    def _silence(self, line: _Line) -> float:
        """Return the part of its age after which one that outlives all others is asked about again."""
        return LONGEST_STEP / max(self._polls, 1.0) if line.curve is not None else LONGEST_STEP

    def _most_leaders(self, line: _Line) -> float:
        turns = self._silence(line) / self._step()
        return max(turns if line.curve is not None else turns / 2.0, FEWEST_LEADERS)

    def _step(self) -> float:
        """Return by which part the oldest age grows between two polls that look for the first end."""
        polls = IDLE_POLLS_TO_FIND if self._idle else POLLS_TO_FIND
        return min(max(polls / max(self._spare, 1.0), FINEST_STEP), COARSEST_STEP)

    def _refresh(self, line: _Line) -> None:
        """Take up what was learned about a line's shape."""
        curve, version = self._durations.curve(line.shape, group=line.group)
        if version == line.version and curve is line.curve and line.age_s > 0.0:
            return
        looking, number = line.looking, curve.number if curve is not None else 0
        before = line.curve.number if line.curve is not None else 0
        farther = (
            curve is not None
            and line.curve is not None
            and curve.frontier_s > FARTHER * line.curve.frontier_s
        )
        line.curve, line.version = curve, version
        self._aim(line)
        grown = before.bit_length() < number.bit_length()
        if grown or farther or line.looking != looking:
            self._replan()

    def _aim(self, line: _Line) -> None:
        """Find the age at which to ask first about a line's jobs."""
        line.looking, age_s = True, line.next_look_s
        if line.curve is None:
            if line.asked >= self._most_leaders(line):
                # Enough of them look for the first end in turns; the others follow at a distance.
                age_s = max(age_s, FOLLOW * line.oldest_known_s)
        else:
            line.plan = self._plan(line.curve)
            first_s = line.plan.after(0.0) * line.scale
            if self._idle:
                first_s = min(first_s, line.curve.age(RIPE))
            # While few ends were seen, or most tasks outlive them, we go on looking for where they end.
            beyond = first_s > FARTHER * line.curve.frontier_s
            line.looking = beyond or line.curve.number < FEW_ENDS
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
            again = self._plan_next(entry)
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
                entry.due = due = self._plan_next(entry)
            planned.append((due, job))
        heapify(planned)
        self._asked = planned
