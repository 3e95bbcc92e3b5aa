"""The one place that decides which job's next step is taken now, and waits.

It owns the task group. What may be sent when is the scheduler's word, whether a payment fits is
the budget's (inside the intent), what an answer means is the machine's; here they meet. A waiting
job is an entry in the scheduler's heap and a small record, never a task, a timer or a connection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.abc

from runner.budget import Verdict
from runner.clock import epoch
from runner.engine import polls, submits, uploads
from runner.engine.ending import look_at_the_ledger
from runner.engine.floor import Floor, in_words
from runner.engine.pulse import Pulse
from runner.engine.results import Results
from runner.engine.view import Ended, Progress, RunOptions
from runner.errors import Exit, RunnerError
from runner.model import Job, State
from runner.scheduler import Call, Scheduler
from runner.steps.desk import Desk
from runner.steps.download import Downloads
from runner.steps.submit import take_back, wait_to_resend_s
from runner.store import jobs

ASK_S = 1.0  # how long to wait for a task that may be asked about, while the service does not answer
API_CALLS = 10  # requests to the API that may be open at once, whatever the number of jobs

NO_ROOM = {
    Verdict.OVER_TOTAL: "the next job does not fit under budget.max_credits; raise it, or use --max-credits N",
    Verdict.OVER_DAY: "the next job does not fit under budget.max_credits_per_day; raise it, or run again when the"
    " last 24 hours of this workspace hold less",
}


class Engine:
    """Runs all jobs of one manifest until there is nothing more to do, or a reason to stop."""

    def __init__(
        self, desk: Desk, scheduler: Scheduler, downloads: Downloads, options: RunOptions, progress: Progress
    ) -> None:
        self._desk = desk
        self._scheduler = scheduler
        self._began = desk.clock.mono_s()
        self._wake = anyio.Event()
        self._floor = Floor(desk, scheduler, options, progress, self._stir)
        self._backlog = self._floor.backlog
        self._reasons = self._floor.reasons
        self._results = Results(self._floor, downloads)
        self._pulse = Pulse(self._floor, self._results)
        self._calls = 0
        self._fault: BaseException | None = None

    # --- from outside ------------------------------------------------------------------------

    def stop(self, code: Exit, why: str) -> None:
        """Drain: begin nothing more, let open requests finish and be recorded."""
        self._floor.stop(code, why)

    def hold(self, held: bool) -> None:
        """Hold new submits, or go on with them."""
        self._floor.admission.held = held
        self._stir()

    async def run(self) -> Ended:
        """Run to the end.

        Raises:
            Exception: A fault of ours; what was open has been recorded before.
        """
        async with anyio.create_task_group() as background:
            background.start_soon(self._desk.writer.serve)
            try:
                await self._load()
            except Exception as exc:
                self._blame(exc)
            background.start_soon(self._pulse.beat)
            async with anyio.create_task_group() as calls:
                await self._dispatch(calls)
            if self._fault is None:
                await self._judge_end()
            background.cancel_scope.cancel()
        if self._fault is not None:
            raise self._fault
        return Ended(code=self._reasons.code(), reasons=self._reasons.words(), stats=self._pulse.stats())

    # --- the loop -----------------------------------------------------------------------------

    async def _load(self) -> None:
        """Take up all that an earlier run has left under way."""
        desk = self._desk

        def read(conn: Any) -> list[Job]:
            take_back(conn, desk)
            return jobs.in_states(
                conn, desk.settings.name, (State.SUBMITTING, State.WAITING, State.DOWNLOADING)
            )

        open_jobs = await desk.writer.write(read)
        wall_s = desk.clock.wall_s()
        for job in open_jobs:
            if job.state is State.SUBMITTING:
                self._backlog.resend_after(wait_to_resend_s(desk, job), job.row)
            elif job.state is State.DOWNLOADING:
                self._backlog.to_download.append(job.row)
            else:
                age_s = max(wall_s - (epoch(job.submitted_at) or wall_s), 0.0)
                self._floor.wait_for(job, age_s=age_s, polled=job.polls > 0)
        await self._pulse.recount()

    async def _dispatch(self, calls: anyio.abc.TaskGroup) -> None:
        while True:
            now = self._desk.clock.mono_s()
            self._wake = anyio.Event()
            self._backlog.move_due(now)
            self._judge_time(now)
            if self._reasons.halted:
                if not (self._calls or self._results.open):
                    return
                await self._sleep(self._results.stop(now))
                continue
            if self._may_begin():
                try:
                    await self._backlog.refill()
                except Exception as exc:  # it would tear down the open requests with it
                    self._blame(exc)
                    continue
            until_download = self._results.begin(
                lambda step: calls.start_soon(self._guarded, step, self._stir), self._desk.clock.mono_s()
            )
            until = self._begin_call(calls, self._desk.clock.mono_s())
            if until is None:
                continue
            if self._idle():
                return
            await self._sleep(min(until, until_download))

    def _judge_time(self, now: float) -> None:
        if self._reasons.halted:
            return
        if now >= self._time_limit():
            self._reasons.halt(Exit.TIME, "the time limit of --stop-after is over")
        if (why := self._floor.health.verdict(now)) is not None:
            self._reasons.halt(Exit.TEMPORARY, why)

    def _time_limit(self) -> float:
        stop_after_s = self._floor.options.stop_after_s
        return math.inf if stop_after_s is None else self._began + stop_after_s

    def _may_begin(self) -> bool:
        """Whether a new job may be submitted now."""
        return not (self._reasons.halted or self._reasons.no_new or self._results.held) and (
            self._floor.admission.open()
        )

    def _may_repeat(self) -> bool:
        """Whether a job whose every send was refused may be sent again now: it counts as begun already."""
        held = self._floor.admission.held or self._results.held
        return not (self._reasons.halted or self._reasons.no_new or held)

    def _begin_call(self, calls: anyio.abc.TaskGroup, now: float) -> float | None:
        """Begin one API request, if one is due; else return until when none is (None: begun)."""
        health, backlog = self._floor.health, self._backlog
        if self._calls >= API_CALLS or (health.ill and self._calls):
            return math.inf
        if now < health.paused_until:
            return health.paused_until
        if backlog.to_renew:
            at = self._scheduler.governor.next_at(now)
            if at > now:
                return at
            self._start(calls, Call.OTHER, self._results.renew(backlog.to_renew.popleft(), now))
            return None
        backlog.set_aside_unseen()
        # Whether the service is back is asked with what is there already: a new job might be paid for nothing.
        waits = bool(backlog.unclear or self._scheduler.waiting)
        asking = (health.ill and waits) or (health.submits_are_lost and backlog.unclear > 0)
        begin = self._may_begin() and not asking
        fresh = len(backlog.ready) if begin else 0
        refused = len(backlog.refused) if self._may_repeat() and not asking else 0
        room = max(self._desk.settings.limits.uploads - self._floor.uploads_open, 0)
        choice = self._scheduler.choose(
            now,
            resends=len(backlog.resend),
            unclear=backlog.unclear,
            submits=refused + fresh,
            uploads=min(len(backlog.to_upload), room) if begin else 0,
            uploads_in_flight=self._floor.uploads_open,
            asking=asking,
        )
        if choice.call is None or choice.at > now:
            return min(choice.at, now + ASK_S) if asking else choice.at
        match choice.call:
            case Call.SUBMIT:
                self._start(calls, Call.SUBMIT, submits.send(self._floor, self._next_submit(refused), now))
            case Call.POLL:
                assert choice.job is not None
                self._start(calls, Call.POLL, polls.ask(self._floor, choice.job, now), choice.job)
            case _:
                self._floor.uploads_open += 1
                self._start(calls, Call.UPLOAD, uploads.send(self._floor, backlog.to_upload.popleft(), now))
        return None

    def _next_submit(self, refused: int) -> int:
        """Take the job that is sent next: one that may have been accepted, one that was not, a new one."""
        backlog = self._backlog
        if backlog.resend:
            return backlog.resend.popleft()
        if refused:
            return backlog.refused.popleft()
        row, _ = backlog.ready.popleft()
        self._floor.admission.sending(row)
        return row

    def _start(
        self,
        calls: anyio.abc.TaskGroup,
        call: Call,
        step: Coroutine[Any, Any, None],
        job: int | None = None,
    ) -> None:
        self._calls += 1
        self._scheduler.sent(self._desk.clock.mono_s(), call, job)
        calls.start_soon(self._guarded, step, self._call_over)

    def _call_over(self) -> None:
        self._calls -= 1

    async def _guarded(self, step: Coroutine[Any, Any, None], over: Callable[[], None]) -> None:
        """Run one step; an error of one job stops the run in good order, it never tears it down."""
        try:
            await step
        except Exception as exc:
            self._blame(exc)
        finally:
            over()
            self._stir()

    def _blame(self, exc: Exception) -> None:
        """Stop in good order for an error; a fault of ours is raised again at the end of the run."""
        if isinstance(exc, jobs.StaleJob):
            self._floor.progress.event("warning", message=str(exc))
        elif isinstance(exc, RunnerError):
            self._floor.stop_for(exc)
        else:
            self._fault = self._fault or exc
            self.stop(Exit.FAULT, f"a fault of ours: {exc!r}")

    def _stir(self) -> None:
        self._wake.set()

    async def _sleep(self, until: float) -> None:
        """Wait until something changes, or until a time."""
        if not self._reasons.halted:
            until = min(until, self._backlog.next_due, self._time_limit(), self._floor.health.gives_up_at)
        if until == math.inf:
            await self._wake.wait()
            return
        with anyio.move_on_after(max(until - self._desk.clock.mono_s(), 0.0)):
            await self._wake.wait()

    # --- the end ------------------------------------------------------------------------------

    def _idle(self) -> bool:
        """Whether nothing is under way and nothing more can be begun."""
        admission = self._floor.admission
        if self._calls or self._results.open or self._results.waiting or self._floor.seen:
            return False
        if not self._backlog.empty(may_begin=self._may_begin, may_repeat=self._may_repeat):
            return False
        if admission.held and not self._reasons.no_new and self._more_to_come():
            return False
        if admission.elsewhere and not self._floor.alone and self._may_repeat():
            return False
        if admission.aside and not admission.full:
            whose = " of another manifest of this workspace" if admission.elsewhere else ""
            self._reasons.note(
                Exit.INCOMPLETE,
                f"{len(admission.aside)} jobs wait until it is known what an unclear payment{whose} costs: resolve it",
            )
        return True

    def _more_to_come(self) -> bool:
        """Whether a person's hand on the gate is all that keeps jobs back; a held run that has none left ends."""
        backlog = self._backlog
        return bool(backlog.ready or backlog.missing or backlog.refused or self._pulse.unsent)

    async def _judge_end(self) -> None:
        """Note what else the code has to tell of: of this run, and of what the ledger holds."""
        if (cap := self._floor.admission.full) is not None:  # whatever else may have ended the run
            self._reasons.note(Exit.CREDITS, NO_ROOM[cap])
        self._results.note_missing()
        try:
            await look_at_the_ledger(self._floor)
            await self._pulse.remember()
            await self._pulse.recount()
        except RunnerError as exc:
            self._reasons.note(exc.exit_code, in_words(exc))
