"""What to send next, and when. Pure: the engine carries out what is chosen here and reports back.

One account, one rate. What we lack decides what it is spent on, and that is told from our own doing, not
from what the service says of itself:

- *Slots* are the bottleneck when there is something to submit and no room for one more task, and for a moment after
  that. Each ended task that nobody has seen then keeps another from beginning, so a poll is cheap beside it. So it is
  for the last few tasks, which decide when the run ends.
- *The rate* is what all others wait for. Submits go first. A few polls go before them all the same, so that failures and
  expiring results are seen.

`choose` changes nothing. All else is told: what there is to send (`offer`), what was sent, what was answered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from runner.model import Polling
from runner.pace.durations import Durations
from runner.pace.gate import LATELY_S
from runner.pace.limits import AccountLimits
from runner.pace.numbers import number
from runner.pace.polling import Waiting
from runner.pace.rejections import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """Settings of what goes first."""

    early: float = number(
        0.03, "of the requests", "polls while submits wait: failures and expiring results are seen", off=0.0
    )


SCHEDULER = SchedulerSettings()
AHEAD = 2  # jobs kept ready by uploads
LAST = 10  # so few tasks decide when the run ends


class Call(StrEnum):
    """A request under the account's rate."""

    SUBMIT = "submit"
    POLL = "poll"
    UPLOAD = "upload"
    OTHER = "other"


class Choice(NamedTuple):
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
    came (a submit that got none, or was not sent after all, is `answered` too, with `ok` false). Of tasks it tells
    `waiting`: `add` when one is at the service, and after each poll one of `still_running`, `unclear`, `ended` or
    `remove`. All times are readings of one monotonic clock, in seconds.

    Args:
        polling: The limits of polling.
        limits: The limits of the account.
        durations: How long tasks take.
    """

    def __init__(self, *, polling: Polling, limits: AccountLimits, durations: Durations) -> None:
        self.limits = limits
        self.tasks = limits.tasks
        self.durations = durations
        self._polling = polling
        self.waiting = Waiting(polling, durations)
        self._offer = Offer(submits=0, uploads=0)
        self._submitting = 0
        self._sent_with: dict[float, int] = {}  # when a submit was sent -> the tasks in flight then
        self._early_credit = 0.0
        self._short_of_slots_until = -math.inf

    @property
    def in_flight(self) -> int:
        """Tasks at the service as far as we know, and submits on their way."""
        return len(self.waiting) + self._submitting

    def choose(self, now: float) -> Choice:
        """Return what to send next."""
        offer, best = self._offer, self._best(now)
        if offer.asking and offer.may_poll and not offer.resends:
            job = self.waiting.any_allowed(now)
            best = best if job is None else Choice(Call.POLL, job, now)
        if best.call is not None and (gate := self.limits.next_at(now)) > now:
            return Choice(None, None, gate)
        return best

    def offer(self, now: float, offer: Offer) -> None:
        """This could be sent now."""
        self._offer = offer
        if (offer.submits or offer.uploads) and not self.tasks.room(now, self.in_flight + offer.unclear):
            self._short_of_slots_until = now + max(LATELY_S, 2 * self._polling.min_s)
        to_come = offer.submits or offer.uploads or offer.uploads_in_flight
        last = not to_come and len(self.waiting) <= LAST
        self.waiting.hurry(last or now < self._short_of_slots_until)

    def sent(self, now: float, call: Call, job: int | None = None) -> None:
        """A request goes out: the permit is used."""
        self.limits.sent(now, submit=call is Call.SUBMIT, in_flight=self.in_flight)
        match call:
            case Call.SUBMIT:
                self._sent_with[now] = self.in_flight
                self._submitting += 1
                self._early_credit = min(self._early_credit + SCHEDULER.early, 1.0)
            case Call.POLL:
                self._early_credit = max(self._early_credit - 1.0, 0.0)
                if job is not None:
                    self.waiting.sent(job, now)
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
        running = apart = 0.0
        if rejected or (submit and self.limits.counts):
            running, apart = self.waiting.reckon(now)
        if rejected or ok:
            self.limits.answered(
                Response(
                    now=now,
                    sent_at=sent_at,
                    rejected=rejected,
                    submit=submit,
                    in_flight=in_flight,
                    running=running + (self._submitting if rejected else 0),
                    apart=apart,
                    retry_after_s=retry_after_s,
                    draw=draw,
                )
            )

    def nudge(self, job: int, now: float) -> None:
        """Somebody from outside says that the job's task has ended: ask at the next permit.

        It is a hint: the poll stays the only witness, and two polls of one job stay `min_s` apart.
        """
        self.waiting.nudge(job, now)

    # --- inside ---

    def _best(self, now: float) -> Choice:
        """Return the best request and when it may be made, were there no rate."""
        waiting, offer = self.waiting, self._offer
        wanted = offer.submits > 0 or offer.uploads > 0
        in_flight = self.in_flight + offer.unclear
        room = wanted and self.tasks.room(now, in_flight)
        poll, nudged = (waiting.next(), waiting.nudged()) if offer.may_poll else (None, None)
        if nudged is not None and nudged.due <= now:
            return Choice(Call.POLL, nudged.job, now)
        at = min(poll.due if poll is not None else math.inf, nudged.due if nudged is not None else math.inf)
        ask = Choice(Call.POLL, poll.job, now) if poll is not None and poll.due <= now else None
        ready = offer.submits + offer.uploads_in_flight
        short = offer.uploads > 0 and (offer.submits == 0 or ready < AHEAD)
        if offer.resends and now >= self.tasks.closed_until:
            room, short = True, False
        if room:
            if self.limits.wants_polls and offer.may_poll:
                proof = waiting.any_allowed(now)
                if proof is not None:
                    return Choice(Call.POLL, proof, now)
            if ask is not None and (self._early_credit >= 1.0 or self.limits.unclear):
                return ask
            return Choice(Call.UPLOAD if short else Call.SUBMIT, None, now)
        if ask is not None:
            return ask
        if short and ready < AHEAD:
            return Choice(Call.UPLOAD, None, now)
        if offer.resends:
            at = min(at, self.tasks.closed_until)
        elif wanted:
            at = min(at, self.tasks.opens_at(in_flight))
        return Choice(None, None, at)
