"""What to send next, and when. Pure: the engine carries out what is chosen here and reports back.

One account, one rate. What we lack decides what it is spent on, and that is told from our own doing, not
from what the service says of itself:

- *Slots* are the bottleneck when there is something to submit and the window has no room; for a moment after
  that, and for a whole run that has spent most of its time so. Each ended task nobody has seen then keeps
  another from beginning, so polls are many, and tasks that fail at once are looked for.
- *The rate* is the bottleneck when, for more than half of the run, something that could have been sent waited for
  the next permit. Submits go first then, and polls wait until they most likely find an end. A few go early
  all the same, so that failures and expiring results are seen.
- *Neither*: polls are few.

How many polls is a budget of wasted ones for each task, not a fixed distance: what is saved where tasks are
alike is there for the last ones, which decide when the run ends.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from runner.model import Polling
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.durations import Durations
from runner.pace.polling import Waiting
from runner.pace.rate import RateLimiter
from runner.pace.rejections import Rejections

EARLY_SHARE = 0.03  # of the requests go to polls even while submits wait
SURE = 0.9  # a poll this likely to find an end wastes nothing
AHEAD = 2  # jobs kept ready by uploads
MINUTES_S = 60.0  # tasks longer than this are worth more polls
LAST = 4.5  # the last few decide when the run ends
START_POLLS = 4.0  # wasted polls that are always granted
POLLS_STEP = 1.12
SPARED = 0.25  # wasted polls left for each task to come, for an idle rate to be used
BOTTLENECK_S = 2.0  # slots count as scarce for so long after they last were


@dataclass(frozen=True, slots=True, kw_only=True)
class _Budget:
    """What may be spent on polls."""

    wasted: float  # polls that find nothing, for each task
    part: float  # of those left, for the plan of a task; the others look for where tasks end
    least: float  # polls a task to plan for
    most: float


SLOTS = _Budget(wasted=3.6, part=1.0, least=2.2, most=4.9)
SLOTS_LONG = _Budget(wasted=5.0, part=1.0, least=2.2, most=6.0)
RATE = _Budget(wasted=0.4, part=1.0, least=1.2, most=1.7)
SPARE = _Budget(wasted=0.92, part=0.9, least=1.5, most=4.0)


class Call(StrEnum):
    """A request under the account's rate."""

    SUBMIT = "submit"
    POLL = "poll"
    UPLOAD = "upload"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to do at `at`. With a `call`: that, now. Without: nothing before `at`, unless something changes.

    `job` is the job to poll; which job to submit, and what to upload, is the engine's order. `at` may be
    infinite: only a change can bring work.
    """

    call: Call | None
    job: int | None
    at: float


class Scheduler:
    """Chooses requests one by one.

    The engine asks `choose`, says `sent` before it sends, `answered` when an HTTP answer came (a submit
    that got none, or was not sent after all, is `answered` too, with `ok` false), and for polls then one of
    `still_running`, `poll_unclear`, `finished` or `forget`. All times are readings of one monotonic clock,
    in seconds.

    Args:
        polling: The limits of polling.
        rate: The rate of the account.
        tasks: How many tasks may be at the service.
        durations: How long tasks take.
    """

    def __init__(
        self, *, polling: Polling, rate: RateLimiter, tasks: ConcurrencyLimit, durations: Durations
    ) -> None:
        self.rate = rate
        self.tasks = tasks
        self._rejections = Rejections(rate, tasks)
        self.durations = durations
        self._polling = polling
        self._waiting = Waiting(polling, durations)
        self._submitting = 0
        self._taken_up = 0
        self._early_credit = 0.0
        self._bottleneck_until = -math.inf
        self._began: float | None = None
        self._bottleneck_s = self._manner_at = 0.0  # time spent short of slots

    @property
    def in_flight(self) -> int:
        """Tasks at the service as far as we know, and submits on their way."""
        return len(self._waiting) + self._submitting

    @property
    def waiting(self) -> int:
        """Jobs waiting for their task to end."""
        return len(self._waiting)

    @property
    def rate_per_s(self) -> float:
        """Requests a second we now allow ourselves."""
        return self.rate.rate_per_s

    @property
    def found_rate(self) -> float | None:
        """The account's limit as met, to be stored for the next run; None while it was not met."""
        return self.rate.found_per_s

    def choose(
        self,
        now: float,
        *,
        submits: int,
        uploads: int,
        uploads_in_flight: int = 0,
        resends: int = 0,
        unclear: int = 0,
        may_poll: bool = True,
        asking: bool = False,
    ) -> Choice:
        """Return what to send next.

        Args:
            now: The clock.
            submits: Jobs that could be submitted now.
            uploads: Uploads that wait and would make jobs ready.
            uploads_in_flight: Uploads on their way.
            resends: Submits to be repeated now because nobody knows what became of them. The same key may
                be sent only so long, and the task may be there already: no number of tasks holds them back.
            unclear: All such submits, also those to be repeated later: they count as tasks.
            may_poll: Whether there is a place for a poll.
            asking: The service does not answer properly: any poll that the limits allow asks whether it is back,
                due or not. A submit that is to be repeated asks as well, and its time is short.
        """
        call, job, at = self._best(now, submits, uploads, uploads_in_flight, resends, unclear, may_poll)
        if asking and may_poll and not resends and (any_ := self._waiting.any_allowed(now)) is not None:
            call, job, at = Call.POLL, any_, now
        if call is None:
            return Choice(call=None, job=None, at=at)
        gate = self.rate.next_at(now)
        if gate > now:
            return Choice(call=None, job=None, at=gate)
        return Choice(call=call, job=job, at=now)

    def sent(self, now: float, call: Call, job: int | None = None) -> None:
        """A request goes out: the permit is used."""
        self.rate.sent(now)
        match call:
            case Call.SUBMIT:
                self.tasks.sent(now, self.in_flight)
                self._submitting += 1
                self._early_credit = min(self._early_credit + EARLY_SHARE, 1.0)
            case Call.POLL:
                self._early_credit = max(self._early_credit - 1.0, 0.0)
                if job is not None:
                    self._waiting.sent(job, now)
            case _:
                pass

    def answered(
        self,
        now: float,
        call: Call,
        *,
        sent_at: float,
        rejected: bool,
        retry_after_s: float | None,
        ok: bool,
        draw: float = 0.5,
    ) -> None:
        """An answer came.

        Args:
            now: When.
            call: To what.
            sent_at: When its request was sent.
            rejected: Whether it was a 429.
            retry_after_s: The wait it asked for, made sane by `backoff.parse_retry_after`; None when absent.
            ok: Whether the service did what was asked; false for errors, and for what was never sent.
            draw: A number from [0, 1) for the jitter of waits the service did not name.
        """
        if call is Call.SUBMIT:
            self._submitting = max(self._submitting - 1, 0)
        submit = call is Call.SUBMIT
        if rejected:
            self._rejections.refused(
                now,
                sent_at=sent_at,
                submit=submit,
                in_flight=self.in_flight,
                running=self._running(now),
                retry_after_s=retry_after_s,
                draw=draw,
            )
        elif ok:
            running = self._waiting.running(now)[0] if submit and self._rejections.counts else 0.0
            self._rejections.passed(now, sent_at=sent_at, submit=submit, running=running)

    def accepted(
        self,
        job: int,
        *,
        shape: Hashable,
        age_s: float,
        now: float,
        polled: bool = False,
        group: Hashable = None,
    ) -> None:
        """The job's task is at the service.

        Args:
            job: Its number.
            shape: What decides how long it takes (model and params).
            age_s: Seconds since the service accepted it: 0 for a fresh submit.
            now: The clock.
            polled: Whether an earlier run has asked about it.
            group: A wider group to learn from while the shape is new (the model).
        """
        self._taken_up += 1
        self._waiting.add(job, shape=shape, group=group, age_s=age_s, now=now, polled=polled)

    def still_running(self, job: int, now: float) -> None:
        """A poll answered: the task has not ended."""
        self._waiting.still_running(job, now)

    def poll_unclear(self, job: int, now: float, delay_s: float) -> None:
        """A poll told nothing (no answer, 5xx, 429): ask again after `delay_s`."""
        self._waiting.unclear(job, now, delay_s)

    def finished(self, job: int, now: float, duration_s: float | None = None) -> float | None:
        """The task has ended. Return its duration as well as it is known, to be stored; None if hardly."""
        return self._waiting.ended(job, now, duration_s)

    def nudge(self, job: int, now: float) -> None:
        """Somebody from outside says that the job's task has ended: ask at the next permit.

        It is a hint: the poll stays the only witness, and two polls of one job stay `min_s` apart.
        """
        self._waiting.nudge(job, now)

    def forget(self, job: int) -> None:
        """Wait for this job no longer."""
        self._waiting.remove(job)

    # --- inside ---

    def _running(self, now: float) -> tuple[float, float]:
        """Return how many tasks run as far as can be told without asking, and its standard deviation."""
        still, apart = self._waiting.running(now)
        return still + self._submitting, apart

    def _best(
        self,
        now: float,
        submits: int,
        uploads: int,
        uploads_in_flight: int,
        resends: int,
        unclear: int,
        may_poll: bool,
    ) -> tuple[Call | None, int | None, float]:
        """Return the best request and when it may be made, were there no rate."""
        waiting = self._waiting
        wanted = submits > 0 or uploads > 0
        in_flight = self.in_flight + unclear
        room = wanted and self.tasks.room(now, in_flight)
        if wanted and not room:
            self._bottleneck_until = now + max(BOTTLENECK_S, 2 * self._polling.min_s)
        self._set_manner(now, submits + uploads + uploads_in_flight)
        poll = waiting.next(now) if may_poll else None
        due = poll.due if poll is not None else math.inf
        if may_poll and (nudged := waiting.nudged()) is not None:
            if nudged.due <= now:
                return Call.POLL, nudged.job, now
            due = min(due, nudged.due)
        short = uploads > 0 and (submits == 0 or submits + uploads_in_flight < AHEAD)
        if resends and now >= self.tasks.closed_until:
            room, short = True, False
        if room:
            if self._rejections.wants_polls and may_poll:
                proof = waiting.any_allowed(now)
                if proof is not None:
                    return Call.POLL, proof, now
            if poll is not None and due <= now and self._worth_it(poll.job, now, submits + resends):
                return Call.POLL, poll.job, due
            return (Call.UPLOAD if short else Call.SUBMIT), None, now
        if poll is not None and due <= now:
            return Call.POLL, poll.job, due
        if short and submits + uploads_in_flight < AHEAD:
            return Call.UPLOAD, None, now
        if resends:
            due = min(due, self.tasks.closed_until)
        elif wanted:
            due = min(due, self.tasks.opens_at(in_flight))
        return None, None, due

    def _set_manner(self, now: float, to_come: int) -> None:
        """Choose how eagerly to poll: by the bottleneck, and by the wasted polls we can still afford."""
        waiting = self._waiting
        if self._began is None:
            self._began = self._manner_at = now
        hurried = now < self._bottleneck_until
        if hurried:
            self._bottleneck_s += now - self._manner_at
        self._manner_at = now
        if hurried or self._bottleneck_s > 0.5 * (now - self._began):
            budget = SLOTS_LONG if waiting.typical_s > MINUTES_S else SLOTS
        elif self.rate.held_s > 0.5 * (now - self._began):
            budget = RATE
        else:
            budget = SPARE
        left = len(waiting) + to_come
        spare = START_POLLS + budget.wasted * (waiting.found + left) - waiting.wasted
        last = not to_come and len(waiting) <= max(4, self._taken_up // 40)
        polls = (
            LAST if last else min(max(1.0 + budget.part * spare / max(left, 1), budget.least), budget.most)
        )
        # In coarse steps: each makes a new plan.
        polls = POLLS_STEP ** round(math.log(polls, POLLS_STEP))
        idle = budget is RATE and not to_come and spare > SPARED * left
        waiting.set_mode(polls, spare=spare, closely=last, hurried=hurried, idle=idle)

    def _worth_it(self, job: int, now: float, submits: int) -> bool:
        """Whether a due poll goes before a submit."""
        if self._early_credit >= 1.0:
            return True
        if self._waiting.likely(job, now) < SURE:
            return False
        # It has to be made some time. Now costs nothing if, once all is submitted, there is still more
        # to ask about than the last task takes.
        backlog_s = (submits + len(self._waiting)) / self.rate.rate_per_s
        return self._early_credit >= EARLY_SHARE and backlog_s > 1.25 * self._waiting.nearly_all_s(job)
