"""What to send next, and when. Pure: the engine carries out what is chosen here and reports back.

One account, one rate. What we lack decides what it is spent on, and that is told from our own doing, not
from what the service says of itself:

- *Slots* are the bottleneck when there is something to submit and no room for one more task; for a moment after
  that, and for a whole run that has spent most of its time so. Each ended task nobody has seen then keeps
  another from beginning, so polls are many, and tasks that fail at once are looked for.
- *The rate* is the bottleneck when, for more than half of the run, something that could have been sent waited for
  the next permit. Submits go first then, and polls wait until they most likely find an end. A few go early
  all the same, so that failures and expiring results are seen.
- *Neither*: polls are few.

How many polls is a budget of wasted ones for each task, not a fixed distance: what is saved where tasks are
alike is there for the last ones, which decide when the run ends.

`choose` changes nothing. All else is told: what there is to send (`offer`), what was sent, what was answered.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from runner.model import Polling
from runner.pace.concurrency import ConcurrencyLimit
from runner.pace.durations import Durations
from runner.pace.gate import LATELY_S
from runner.pace.numbers import number
from runner.pace.polling import Waiting
from runner.pace.rate import RateLimiter
from runner.pace.rejections import Rejections


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """Settings of what goes first, and of how many polls are spent."""

    early: float = number(
        0.03,
        unit="of the requests",
        off=0.0,
        serves="polls while submits wait: failures and expiring results are seen",
    )
    slots_wasted: float = number(
        3.8, unit="polls a task", serves="slots are scarce: each second in which an end is not seen idles one"
    )
    rate_wasted: float = number(
        0.4, unit="polls a task", serves="the rate is scarce: a poll is a submit not made"
    )
    spare_wasted: float = number(
        0.92, unit="polls a task", serves="neither is scarce: few polls, and not many seconds late"
    )
    last: float = number(4.5, unit="polls a task", serves="the last few tasks decide when the run ends")


SCHEDULER = SchedulerSettings()
AHEAD = 2  # jobs kept ready by uploads
STEP = 1.12  # polls a task are reckoned in steps: each makes new plans


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What could be sent now.

    Attributes:
        submits: Jobs that could be submitted.
        uploads: Uploads that wait and would make jobs ready.
        uploads_in_flight: Uploads on their way.
        resends: Submits to be repeated now because nobody knows what became of them. The same key may
            be sent only so long, and the task may be there already: no number of tasks holds them back.
        unclear: All such submits, also those to be repeated later: they count as tasks.
        may_poll: Whether there is a place for a poll.
        asking: The service does not answer properly: any poll that the limits allow asks whether it is back,
            due or not. A submit that is to be repeated asks as well, and its time is short.
    """

    submits: int
    uploads: int
    uploads_in_flight: int = 0
    resends: int = 0
    unclear: int = 0
    may_poll: bool = True
    asking: bool = False


class Scheduler:
    """Chooses requests one by one.

    The engine says what it has (`offer`), asks `choose`, says `sent` before it sends, `answered` when an HTTP answer
    came (a submit that got none, or was not sent after all, is `answered` too, with `ok` false), and for polls then
    one of `still_running`, `poll_unclear`, `finished` or `forget`. All times are readings of one monotonic clock,
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
        self.durations = durations
        self._rejections = Rejections(rate, tasks)
        self._polling = polling
        self._waiting = Waiting(polling, durations)
        self._offer = Offer(submits=0, uploads=0)
        self._submitting = 0
        self._sent_with: dict[float, int] = {}  # when a submit was sent -> the tasks in flight then
        self._taken_up = 0
        self._early_credit = 0.0
        self._bottleneck_until = -math.inf
        self._began: float | None = None
        self._bottleneck_s = self._offered_at = 0.0  # time spent short of slots

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

    def choose(self, now: float) -> Choice:
        """Return what to send next."""
        call, job, at = self._best(now)
        if self._offer.asking and self._offer.may_poll and not self._offer.resends:
            any_ = self._waiting.any_allowed(now)
            call, job, at = (call, job, at) if any_ is None else (Call.POLL, any_, now)
        if call is None:
            return Choice(call=None, job=None, at=at)
        gate = self.rate.next_at(now)
        if gate > now:
            return Choice(call=None, job=None, at=gate)
        return Choice(call=call, job=job, at=now)

    def offer(self, now: float, offer: Offer) -> None:
        """This could be sent now: decide how many polls there are to spend."""
        self._offer = offer
        if self._began is None:
            self._began = self._offered_at = now
        wanted = offer.submits > 0 or offer.uploads > 0
        if wanted and not self.tasks.room(now, self.in_flight + offer.unclear):
            self._bottleneck_until = now + max(LATELY_S, 2 * self._polling.min_s)
        hurried = now < self._bottleneck_until
        if hurried:
            self._bottleneck_s += now - self._offered_at
        self._offered_at = now
        self._spend_polls(now, offer.submits + offer.uploads + offer.uploads_in_flight, hurried=hurried)
        self._waiting.settle(now)

    def sent(self, now: float, call: Call, job: int | None = None) -> None:
        """A request goes out: the permit is used."""
        self.rate.sent(now)
        match call:
            case Call.SUBMIT:
                self.tasks.sent(now, self.in_flight)
                self._sent_with[now] = self.in_flight
                self._submitting += 1
                self._early_credit = min(self._early_credit + SCHEDULER.early, 1.0)
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
        submit = call is Call.SUBMIT
        in_flight = self.in_flight
        if submit:
            self._submitting = max(self._submitting - 1, 0)
            # What has ended meanwhile was still there when it came.
            in_flight = self._sent_with.pop(sent_at, self.in_flight)
        if rejected:
            running, apart = self._waiting.reckon(now)
            self._rejections.refused(
                now,
                sent_at=sent_at,
                submit=submit,
                in_flight=in_flight,
                running=(running + self._submitting, apart),
                retry_after_s=retry_after_s,
                draw=draw,
            )
        elif ok:
            running = self._waiting.reckon(now)[0] if submit and self._rejections.counts else 0.0
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

    def finished(self, job: int, now: float) -> float | None:
        """The task has ended. Return its duration as well as polls tell it, to be stored; None if hardly."""
        return self._waiting.ended(job, now)

    def nudge(self, job: int, now: float) -> None:
        """Somebody from outside says that the job's task has ended: ask at the next permit.

        It is a hint: the poll stays the only witness, and two polls of one job stay `min_s` apart.
        """
        self._waiting.nudge(job, now)

    def forget(self, job: int) -> None:
        """Wait for this job no longer."""
        self._waiting.remove(job)

    # --- inside ---

    def _best(self, now: float) -> tuple[Call | None, int | None, float]:
        """Return the best request and when it may be made, were there no rate."""
        waiting, offer = self._waiting, self._offer
        wanted = offer.submits > 0 or offer.uploads > 0
        in_flight = self.in_flight + offer.unclear
        room = wanted and self.tasks.room(now, in_flight)
        poll = waiting.next(now) if offer.may_poll else None
        due = poll.due if poll is not None else math.inf
        if offer.may_poll and (nudged := waiting.nudged()) is not None:
            if nudged.due <= now:
                return Call.POLL, nudged.job, now
            due = min(due, nudged.due)
        short = offer.uploads > 0 and (offer.submits == 0 or offer.submits + offer.uploads_in_flight < AHEAD)
        if offer.resends and now >= self.tasks.closed_until:
            room, short = True, False
        if room:
            if self._rejections.wants_polls and offer.may_poll:
                proof = waiting.any_allowed(now)
                if proof is not None:
                    return Call.POLL, proof, now
            if poll is not None and due <= now and self._early_credit >= 1.0:
                return Call.POLL, poll.job, due
            return (Call.UPLOAD if short else Call.SUBMIT), None, now
        if poll is not None and due <= now:
            return Call.POLL, poll.job, due
        if short and offer.submits + offer.uploads_in_flight < AHEAD:
            return Call.UPLOAD, None, now
        if offer.resends:
            due = min(due, self.tasks.closed_until)
        elif wanted:
            due = min(due, self.tasks.opens_at(in_flight))
        return None, None, due

    def _spend_polls(self, now: float, to_come: int, *, hurried: bool) -> None:
        """Say how many polls a task are spent: by the bottleneck, and by the wasted ones we can still afford."""
        waiting, began = self._waiting, self._began or 0.0
        if hurried or self._bottleneck_s > 0.5 * (now - began):
            wasted = SCHEDULER.slots_wasted
        elif self.rate.held_s > 0.5 * (now - began):
            wasted = SCHEDULER.rate_wasted
        else:
            wasted = SCHEDULER.spare_wasted
        left = len(waiting) + to_come
        # What a few tasks alone would have is granted in any case.
        spare = SCHEDULER.last + wasted * (waiting.found + left) - waiting.wasted
        last = not to_come and len(waiting) <= max(4, self._taken_up // 40)
        even = 1.0 + wasted
        polls = SCHEDULER.last if last else min(max(1.0 + spare / max(left, 1), even / 2, 1.2), 1.25 * even)
        polls = STEP ** round(math.log(polls) / math.log(STEP))
        waiting.set_mode(polls, spare=spare, closely=last, hurried=hurried)
