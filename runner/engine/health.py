"""Whether the service works: when to wait for it, when to give up, when jobs fail in a row."""

from __future__ import annotations

import math

from runner.engine.gates import WELL, ServiceState
from runner.lifecycle.rules import Failure, counts_for_breaker
from runner.pace.backoff import retry_delay_s
from runner.service.protocol import Answer, FailureClass, Meaning

TEMPORARY = (Meaning.NEVER_LEFT, Meaning.UNCLEAR, Meaning.DISABLED)
NOT_THERE = (Meaning.NEVER_LEFT, Meaning.DISABLED)
# So many answers in a row have to be lost before all others wait: single losses are normal.
LOST_IN_A_ROW = 4
PATIENCE_S = 60.0
# A service that never answered once in this run is more likely a wrong address than a bad hour. A
# patience that a person has set is kept to.
FIRST_PATIENCE_S = 30.0
# Between two requests that ask whether it is back: from the first to the longest wait. Where it says itself for how
# long it will be away, and that is more than we have patience for, it is still asked now and then: a maintenance
# page may be an old one.
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_AWAY_S = 0.5, 8.0, 30.0
BREAKER = 10


class Health:
    """Watches answers for a service that is not there.

    While it is `ill`, one request at a time asks whether it is back: a question that is no job's (GET /credits). So
    no job is sent for nothing, and a few tasks that the service cannot tell of do not make it seem away. Where the
    question fails, a job's request asks next, since the question may be all that fails; and so on in turns.

    Until it has answered properly for the first time in a run, one lost answer is enough: it may be that none of its
    answers can be read, while it works and takes its price.

    Args:
        patience_s: How long nothing may work before the run gives up; None where nobody has said.
    """

    def __init__(self, patience_s: float | None) -> None:
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._first_patience_s = FIRST_PATIENCE_S if patience_s is None else patience_s
        self.has_answered = False  # properly, in this run, whatever was asked
        self._any_good = False
        self._bad_since: float | None = None
        self._lost = 0
        self._paused_at = self._asked_at = -math.inf
        self._answers: bool | None = (
            None  # whether the question was, if it was asked since a job's request was lost
        )
        self._lost_submits = 0
        self._submits_paused_at = -math.inf
        self.submits_paused_until = -math.inf
        self.paused_until = -math.inf
        self.last_trouble = ""

    # --- the service as a whole ---

    def answered(self, answer: Answer, now: float, draw: float, *, sent_at: float) -> bool:
        """Take one answer to a request of a job, sent at `sent_at`; return whether it was trouble."""
        self.has_answered |= answer.proper
        if not _is_trouble(answer):
            self._any_good = True
            self._bad_since, self._lost, self.paused_until = None, 0, -math.inf
            return False
        self._worse(answer, now, draw, sent_at, asked=False)
        return True

    def question_answered(self, answer: Answer, now: float, draw: float, *, sent_at: float) -> bool:
        """Take the answer to a question that is no job's; return whether it was trouble.

        A good one lets all go on. It does not make good what jobs have met, so it is no reason for more
        patience: only their own requests are.
        """
        self.has_answered |= answer.proper
        if _is_trouble(answer):
            self._worse(answer, now, draw, sent_at, asked=True)
            return True
        self._any_good = self._answers = True
        self._lost, self.paused_until, self._asked_at = 0, -math.inf, sent_at
        return False

    def _worse(self, answer: Answer, now: float, draw: float, sent_at: float, *, asked: bool) -> None:
        self.last_trouble = answer.words() or answer.meaning.value
        if self._bad_since is None:
            self._bad_since = now
        if sent_at < (self._paused_at if self.ill else self._asked_at):
            return  # it was on its way when others were lost: the same trouble, not more of it
        self._answers = False if asked else None
        self._lost += 1
        if answer.meaning in NOT_THERE or not self.has_answered:
            self._lost = max(self._lost, LOST_IN_A_ROW)
        if self.ill:
            self._paused_at = now
            self.paused_until = now + self._pause_s(answer, now, draw)

    def _pause_s(self, answer: Answer, now: float, draw: float) -> float:
        pause_s = retry_delay_s(
            self._lost - LOST_IN_A_ROW + 1, base_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, draw=0.5 + draw / 2
        )
        asked_s = answer.retry_after_s or 0.0
        return max(pause_s, asked_s if now + asked_s < self.gives_up_at else min(asked_s, LONGEST_AWAY_S))

    @property
    def ill(self) -> bool:
        """Whether one request at a time should ask if the service is back."""
        return self._lost >= LOST_IN_A_ROW

    @property
    def question_first(self) -> bool:
        """Whether a question that is no job's is asked next, whatever jobs there are."""
        return self.ill and self._answers is None

    @property
    def question_failed(self) -> bool:
        """Whether that question failed as well: a job that waits already asks next; where none does, it again."""
        return self.ill and self._answers is False

    @property
    def troubled(self) -> bool:
        """Whether nothing has worked since some trouble."""
        return self._bad_since is not None

    @property
    def gives_up_at(self) -> float:
        """When the patience is over if nothing works until then.

        Not while its last word was a good one: then the next request of a job decides.
        """
        if self._bad_since is None or self._answers:
            return math.inf
        return self._bad_since + self._limit_s()

    def verdict(self, now: float) -> str | None:
        """Return why to give up, None to go on."""
        if now < self.gives_up_at:
            return None
        return f"the service has not responded properly for {self._limit_s():.0f} s: {self.last_trouble}"

    def _limit_s(self) -> float:
        return self._patience_s if self._any_good else self._first_patience_s

    def slept(self, seconds: float) -> None:
        """We did not run for so long, so nobody asked: that is no impatience."""
        if self._bad_since is not None:
            self._bad_since += seconds

    @property
    def state(self) -> ServiceState:
        """What it comes to for what may be begun."""
        if not self._lost and not self._lost_submits and self.has_answered:
            return WELL
        return ServiceState(
            ill=self.ill,
            away_until=self.paused_until,
            question_first=self.question_first,
            question_failed=self.question_failed,
            has_answered=self.has_answered,
            submit_is_lost=self.first_submit_is_lost,
            submits_are_lost=self.submits_are_lost,
            submits_paused_until=self.submits_paused_until,
        )

    # --- submits ---

    def submit_answered(self, answer: Answer, now: float, draw: float, *, sent_at: float) -> None:
        """Take the answer to a submit, besides what it says of the service as a whole."""
        if answer.meaning is Meaning.NEVER_LEFT:
            return
        if answer.meaning not in TEMPORARY:
            self._lost_submits, self.submits_paused_until = 0, -math.inf
            return
        if self.submits_are_lost and sent_at < self._submits_paused_at:
            return
        self._lost_submits += 1
        if self.submits_are_lost:
            self._submits_paused_at = now
            self.submits_paused_until = now + retry_delay_s(
                self._lost_submits - LOST_IN_A_ROW + 1,
                base_s=FIRST_PAUSE_S,
                cap_s=LONGEST_AWAY_S,
                draw=0.5 + draw / 2,
            )

    @property
    def first_submit_is_lost(self) -> bool:
        """Whether a submit may have been paid for in this run, and no answer of any kind was ever a proper one."""
        return not self.has_answered and self._lost_submits > 0

    @property
    def submits_are_lost(self) -> bool:
        """Whether so many submits in a row may have been paid for that they follow one by one, after a pause each."""
        return self._lost_submits >= LOST_IN_A_ROW


def _is_trouble(answer: Answer) -> bool:
    # An answer without a task's id still shows that the service is there; `MissingTaskIds` counts those.
    return answer.meaning in TEMPORARY and not (answer.data is not None and answer.success)


class MissingTaskIds:
    """Counts submits in a row that were answered as if accepted, but without a task's id.

    Each may have been paid, and nobody can ask for its result.
    """

    def __init__(self, limit: int = BREAKER) -> None:
        self._limit = limit
        self._length = 0

    def answered(self, answer: Answer) -> str | None:
        """Take the answer to a submit; return why to stop submitting, None to go on."""
        if answer.meaning is Meaning.OK:
            self._length = 0
        elif answer.meaning is Meaning.UNCLEAR and answer.success:
            self._length += 1
        if self._length < self._limit:
            return None
        return (
            f"{self._length} submits in a row were answered without a task id ({answer.words()}); they may have been"
            " paid for; no more were submitted"
        )


class Breaker:
    """Counts jobs that fail in a row for one and the same class of reason."""

    def __init__(self, limit: int = BREAKER) -> None:
        self._limit = limit
        self._cls: FailureClass | None = None
        self._length = 0

    def succeeded(self) -> None:
        """A task has succeeded."""
        self._cls, self._length = None, 0

    def failed(self, failure: Failure) -> str | None:
        """A job has failed; return why to stop submitting, None to go on."""
        if not counts_for_breaker(failure.cls):
            return None
        self._length = self._length + 1 if self._cls is failure.cls else 1
        self._cls = failure.cls
        if self._length < self._limit:
            return None
        return f"{self._length} jobs in a row failed ({failure.cls.value}: {failure.message}); no more were submitted"
