"""The service's time: asked for before an unclear submit goes out again, and told where it differs from ours.

How long ago a submit was first sent is what decides whether it may be repeated, and all clocks of a machine can
stand still together. An answer of the last moment tells; where there is none, one question more brings it.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from runner.engine.backlog import Backlog
from runner.engine.gates import KNOWN, TimeState
from runner.engine.view import Progress
from runner.host import surroundings
from runner.host.clock import MOMENT_S
from runner.pace.backoff import retry_delay_s
from runner.pace.scheduler import Scheduler
from runner.steps.context import RunContext

# Far more than the time an answer takes and times cut to whole seconds explain, where two clocks agree.
DIFFER_S = 300.0
FIRST_S, LONGEST_S = 1.0, 60.0  # before it is asked again where no answer came


class Times:
    """Watches what the service's answers say of its time."""

    def __init__(
        self, context: RunContext, scheduler: Scheduler, backlog: Backlog, progress: Progress
    ) -> None:
        self._context = context
        self._scheduler = scheduler
        self._backlog = backlog
        self._progress = progress
        self._told_s = 0.0  # by how much its clock is ahead, as people know
        self._told = 0  # how many answers had told it when it was last asked for
        self._answers = 0  # and how many there had been at all
        self._in_vain = 0
        self._ask_at = -math.inf

    def begin(self) -> None:
        """The run begins: what was seen before it was told then."""
        self._told_s = self._context.service_clock.skew_s or 0.0

    @property
    def known(self) -> bool:
        """Whether the next repeat of an unclear submit may go, as far as the time is concerned."""
        resend, clock = self._backlog.resend, self._context.service_clock
        if not resend:
            return True
        # What is asked now has to be known still when the rate lets the next request go.
        clock.moment_s = max(MOMENT_S, 2.0 / self._scheduler.limits.rate_per_s)
        return clock.is_known(resend[0]) or clock.is_silent  # then a person decides

    @property
    def state(self) -> TimeState:
        """What it comes to for what may be begun: where it is not known, it is to be asked for."""
        return KNOWN if self.known else TimeState(known=False, ask_at=self._ask_at)

    def asked(self, now: float) -> None:
        """The service was asked, and has answered or not."""
        self.look()
        clock = self._context.service_clock
        told, self._told = self._told, clock.told
        answers, self._answers = self._answers, clock.answers
        if clock.told == told and clock.answers > answers:
            clock.asked_in_vain()
        if self.known or self._told > told:  # one answer more has told it: another may be wanted, at once
            self._in_vain, self._ask_at = 0, -math.inf
            return
        self._in_vain += 1
        draw = 0.5 + self._context.draw() / 2
        self._ask_at = now + retry_delay_s(self._in_vain, base_s=FIRST_S, cap_s=LONGEST_S, draw=draw)

    def look(self) -> None:
        """Tell people when its clock and ours have come to differ by much."""
        skew_s = self._context.service_clock.skew_s
        if skew_s is not None and abs(skew_s - self._told_s) > DIFFER_S:
            self._told_s = skew_s
            host = urlsplit(self._context.account.base_url).hostname or ""
            self._progress.event("warning", message=surroundings.clock(skew_s, host).words())
