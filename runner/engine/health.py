"""Whether the service works: when to wait for it, when to give up, when jobs fail in a row."""

from __future__ import annotations

import math

from runner.backoff import retry_delay_s
from runner.machine import Answer, Failure, FailureClass, Meaning, counts_for_breaker

TEMPORARY = (Meaning.NEVER_LEFT, Meaning.UNCLEAR, Meaning.DISABLED)
NOT_THERE = (Meaning.NEVER_LEFT, Meaning.DISABLED)
# So many answers in a row have to be lost before all others wait: single ones are everyday life.
LOST_IN_A_ROW = 4
PATIENCE_S = 60.0
# A service that never answered once in this run is more likely a wrong address than a bad hour. Who has said
# how long to keep trying is taken at their word.
FIRST_PATIENCE_S = 30.0
BREAKER = 10


class Health:
    """Watches answers for a service that is not there.

    Args:
        patience_s: How long nothing may work before the run gives up; None where nobody has said.
    """

    def __init__(self, patience_s: float | None) -> None:
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._first_patience_s = FIRST_PATIENCE_S if patience_s is None else patience_s
        self._any_good = False
        self._bad_since: float | None = None
        self._lost = 0
        self._lost_submits = 0
        self._paused_at = -math.inf
        self.paused_until = -math.inf
        self.last_trouble = ""

    def submit_answered(self, answer: Answer) -> None:
        """Take the answer to a submit, besides what it says of the service as a whole."""
        self._lost_submits = self._lost_submits + 1 if answer.meaning is Meaning.UNCLEAR else 0

    @property
    def submits_are_lost(self) -> bool:
        """Whether so many submits in a row may have been paid for that no new ones should follow."""
        return self._lost_submits >= LOST_IN_A_ROW

    def answered(self, answer: Answer, now: float, draw: float, *, sent_at: float) -> bool:
        """Take one answer to a request sent at `sent_at`; return whether it was trouble."""
        # One that names no task is there all the same: `Nameless` minds those.
        if answer.meaning not in TEMPORARY or (answer.data is not None and (answer.status or 0) < 300):
            self._any_good = True
            self._bad_since, self._lost, self.paused_until = None, 0, -math.inf
            return False
        self.last_trouble = answer.words() or answer.meaning.value
        if self._bad_since is None:
            self._bad_since = now
        if self.ill and sent_at < self._paused_at:
            return True  # it was on its way when others were lost: the same trouble, not more of it
        if answer.meaning in NOT_THERE:
            self._lost = max(self._lost + 1, LOST_IN_A_ROW)
        elif answer.status is None or not 400 <= answer.status < 500:
            self._lost += 1
        if self._lost >= LOST_IN_A_ROW:
            self._paused_at = now
            self.paused_until = now + retry_delay_s(
                self._lost - LOST_IN_A_ROW + 1, base_s=0.5, cap_s=8.0, draw=0.5 + draw / 2
            )
        return True

    @property
    def ill(self) -> bool:
        """Whether one request at a time should ask if the service is back."""
        return self._lost >= LOST_IN_A_ROW

    @property
    def troubled(self) -> bool:
        """Whether nothing has worked since some trouble."""
        return self._bad_since is not None

    @property
    def gives_up_at(self) -> float:
        """When the patience is over if nothing works until then."""
        if self._bad_since is None:
            return math.inf
        return self._bad_since + self._limit_s()

    def verdict(self, now: float) -> str | None:
        """Return why to give up, None to go on."""
        if now < self.gives_up_at:
            return None
        return f"the service has not answered properly for {self._limit_s():.0f} s: {self.last_trouble}"

    def _limit_s(self) -> float:
        return self._patience_s if self._any_good else self._first_patience_s


class Nameless:
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
        elif answer.meaning is Meaning.UNCLEAR and answer.status is not None and answer.status < 300:
            self._length += 1
        if self._length < self._limit:
            return None
        return (
            f"{self._length} submits in a row were answered without a task id ({answer.words()}); they may have been"
            " paid for, and no more were submitted"
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
