"""Jobs whose intent is committed a moment before their request may leave: then it goes when its permit comes.

A commit takes a while, at a server six trips. So the next few are committed ahead, in one transaction: as many as can be
sent within `AHEAD_S`, and no more than have room at the service now. Until it is sent, or withdrawn, an intent is money
that nobody can tell of after a crash: the key finds out, as for a request that was on its way.
"""

from __future__ import annotations

import math
from collections import deque

from runner.engine import submits
from runner.engine.connections import PLACES
from runner.engine.gates import Gates
from runner.engine.run_state import RunState
from runner.steps.submit import Submitted, intend, withdraw

AHEAD_S = 0.1  # a commit at a server that is far away, with another one before it
STALE_S = 2.0  # what was not sent by then waits for something: it is withdrawn


class Intents:
    """Commits what is to be sent next, and withdraws what is not sent after all.

    Args:
        run_state: The run.
    """

    def __init__(self, run_state: RunState) -> None:
        self._run_state = run_state
        self._ready: deque[Submitted] = deque()
        self._since = math.inf  # when the oldest of them was committed
        self._committing = 0  # jobs
        self._withdrawing = 0

    def __len__(self) -> int:
        """Return how many may be sent now."""
        return len(self._ready)

    @property
    def under_way(self) -> bool:
        """Whether some are committed and not sent, or are about to be."""
        return bool(self._ready or self._committing or self._withdrawing)

    @property
    def stale_at(self) -> float:
        """When what is ready now has waited too long."""
        return self._since + STALE_S if self._ready else math.inf

    def take(self) -> Submitted:
        """Take the one that is sent next."""
        ready = self._ready.popleft()
        self._since = self._run_state.now()
        return ready

    # --- ahead ---

    def ahead(self, open_: Gates, now: float) -> list[int]:
        """Take from the backlog what is to be committed ahead of its turn; the rows.

        Where one at a time is enough there is nothing: a crash before its turn would leave it unclear in vain.
        """
        soon = max(open_.closed_until, self._run_state.scheduler.limits.next_at(now)) <= now + AHEAD_S
        return self.wanted(open_, now) if soon and not open_.ask and self._most > 1 else []

    @property
    def _most(self) -> int:
        run_state = self._run_state
        service = run_state.health.state
        if run_state.balance.trying:
            return 1
        if service.ill or service.submits_are_lost or not service.has_answered:
            return 1
        return min(math.ceil(AHEAD_S * run_state.scheduler.limits.rate_per_s), PLACES)

    def wanted(self, open_: Gates, now: float) -> list[int]:
        """Take from the backlog what is to be committed now; the rows."""
        if self._committing or self._withdrawing:
            return []
        run_state = self._run_state
        backlog, scheduler = run_state.backlog, run_state.scheduler
        near, most = len(self._ready), self._most
        if near > most // 2:
            return []
        rows: list[int] = []
        here = scheduler.in_flight + backlog.unclear
        while near + len(rows) < most and scheduler.tasks.room(now, here + near + len(rows)):
            if backlog.refused and open_.refused.now:
                rows.append(backlog.refused.popleft())
            elif backlog.ready and open_.new.now and run_state.admission.allowance(0):
                rows.append(backlog.ready.popleft()[0])
                run_state.admission.sending(rows[-1])
            else:
                break
        self._committing = len(rows)
        return rows

    async def commit(self, rows: list[int]) -> None:
        """Commit the intents of these, and see to what cannot be sent."""
        run_state = self._run_state
        try:
            found = await intend(run_state.context, rows, soon=bool(self._ready))
        except BaseException:
            for row in rows:
                run_state.admission.sent(row, first=False)
            raise
        finally:
            self._committing = 0
        errors: list[BaseException] = []
        done: list[Submitted] = []
        for row, each in zip(rows, found, strict=True):
            if isinstance(each, BaseException):
                errors.append(each)
                run_state.admission.sent(row, first=False)
            else:
                done.append(each)
                run_state.admission.sent(row, first=each.first_send)
        if not self._ready:
            self._since = run_state.now()
        self._ready.extend(each for each in done if each.may_leave)
        # What goes back goes to the head of its queue: the last one first.
        for each in reversed(done):
            if not each.may_leave:
                await submits.not_sent(run_state, each)
        if errors:
            raise errors[0]

    # --- and back ---

    def take_all(self) -> list[Submitted]:
        """Take all that is ready, to be withdrawn."""
        back = list(self._ready)
        self._ready.clear()
        self._withdrawing += len(back)
        return back

    async def withdraw(self, back: list[Submitted]) -> None:
        """Put back what was committed and not sent."""
        run_state = self._run_state
        try:
            await withdraw(run_state.context, back)
        finally:
            self._withdrawing -= len(back)
        for each in back:
            run_state.admission.returned(each.job.row)
        run_state.backlog.ready.extendleft((each.job.row, each.job.shape) for each in reversed(back))
        run_state.credits_moved()
