"""The one place that decides which job's next step is taken now, and waits.

It owns the task group. What may be sent when is the scheduler's word, whether a payment fits is
the budget's (inside the intent), what follows from an answer is `lifecycle`'s; here they meet. A waiting
job is an entry in the scheduler's heap and a small record, never a task, a timer or a connection.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.abc

from runner.engine import chained, polls, questions, submits, uploads
from runner.engine.completeness import NO_ROOM, look_at_the_ledger
from runner.engine.connections import Connections
from runner.engine.ending import Ending
from runner.engine.gates import Conditions, Gates, gates
from runner.engine.heartbeat import Heartbeat
from runner.engine.intents import Intents
from runner.engine.results import Results
from runner.engine.run_state import RunState, in_words, named
from runner.engine.share import ClaimedJobs
from runner.engine.view import Ended, Progress, RunOptions
from runner.errors import Exit, RunnerError
from runner.host.clock import epoch
from runner.model import Job, State
from runner.money.budget import is_capped
from runner.pace.scheduler import Call, Offer, Scheduler
from runner.steps.context import RunContext
from runner.steps.download import Downloads
from runner.steps.submit import wait_to_resend_s
from runner.store import jobs

POSTPONE_S = (
    1.0  # when a task that was slow to be told of is looked at again, while others like it are asked about
)


class Engine:
    """Runs all jobs of one manifest until there is nothing more to do, or a reason to stop."""

    def __init__(
        self,
        context: RunContext,
        scheduler: Scheduler,
        downloads: Downloads,
        options: RunOptions,
        progress: Progress,
    ) -> None:
        self._context = context
        self._scheduler = scheduler
        self._time_limit = context.clock.mono_s() + (
            math.inf if options.stop_after_s is None else options.stop_after_s
        )
        self._wake = asyncio.Event()
        self._run_state = RunState(context, scheduler, options, progress, self._notify)
        self._backlog = self._run_state.backlog
        self._reasons = self._run_state.reasons
        self._results = Results(self._run_state, downloads)
        self._ending = Ending(options.stop_at_s, context, scheduler)
        self._heartbeat = Heartbeat(self._run_state, self._results)
        self._connections = Connections()
        self._intents = Intents(self._run_state)
        self._fault: BaseException | None = None
        self._waits_since = math.inf  # how often it was looked by then what all runs have begun

    # --- from outside ------------------------------------------------------------------------

    def stop(self, code: Exit, why: str) -> None:
        """Drain: begin nothing more, let open requests finish and be recorded."""
        self._run_state.stop(code, why)

    def hold(self, held: bool) -> None:
        """Hold new submits, or go on with them."""
        self._run_state.hold(held)

    @property
    def held(self) -> bool:
        """Whether a person holds new submits."""
        return self._run_state.admission.paused

    @property
    def stopping(self) -> bool:
        """Whether nothing more is begun."""
        return self._reasons.halted

    def submit_nothing(self, why: str) -> None:
        """Submit nothing new in this run, for trouble that may pass; what is paid is brought home."""
        self._reasons.stop_submitting(Exit.TEMPORARY, why)
        self._notify()

    def service_answers(self) -> None:
        """Take it that the service has answered properly in this run, before it came to this."""
        self._run_state.health.has_answered = True

    def balance_is(self, balance: float | None, *, charged: float, silent: bool) -> None:
        """Take the account's credits before this run pays for anything, and what is known by then.

        Args:
            balance: None where it is not known.
            charged: What counts as charged, in credits.
            silent: The service names no amounts.
        """
        capped = is_capped(self._context.budget)
        self._run_state.balance.begins(balance if capped else None, charged=charged, silent=silent)

    async def run(self) -> Ended:
        """Run to the end.

        Raises:
            Exception: A bug of ours; what was open has been recorded before.
        """
        async with anyio.create_task_group() as background:
            background.start_soon(self._context.writer.serve)
            try:
                await self._join(background)
                await self._load()
            except Exception as exc:
                self._blame(exc)
            background.start_soon(self._heartbeat.beat)
            async with anyio.create_task_group() as calls:
                await self._dispatch(calls)
            if self._fault is None:
                await self._judge_end()
            background.cancel_scope.cancel()
        if self._fault is not None:
            raise self._fault
        return Ended(
            code=self._reasons.code(),
            reasons=self._reasons.words(),
            stats=self._heartbeat.stats(),
            to_see=self._reasons.to_see,
        )

    async def _join(self, background: anyio.abc.TaskGroup) -> None:
        """Where others work at the same, or for the same account, work together with them."""
        share, lease = self._run_state.share, self._context.lease
        if lease is None or not isinstance(share, ClaimedJobs):
            return
        from runner.engine.permits import Permits
        from runner.engine.together import Together
        from runner.pace.shared import SharedLimits

        limits = self._scheduler.limits
        assert isinstance(limits, SharedLimits)
        background.start_soon(Permits(self._run_state, limits, lease).serve)
        together = Together(self._run_state, share, lease, self._take_up)
        await together.begin()
        background.start_soon(together.keep)

    # --- the loop -----------------------------------------------------------------------------

    async def _load(self) -> None:
        """Take up all that an earlier run has left under way."""
        context = self._context
        self._run_state.times.begin()

        self._run_state.backlog.bound = partial(chained.follow, self._run_state)
        self._run_state.chained = await context.writer.write(partial(chained.begin, context))
        self._take_up(await context.writer.write(self._run_state.share.take_up))
        await self._heartbeat.recount()

    def _take_up(self, open_jobs: Sequence[Job]) -> None:
        """Go on with jobs that are under way."""
        context = self._context
        wall_s = context.clock.wall_s()
        unclear: list[float] = []
        for job in open_jobs:
            if job.state is State.SUBMITTING:
                unclear.append(wait_to_resend_s(context, job))
                self._backlog.resend_after(unclear[-1], job.row)
            elif job.state is State.DOWNLOADING:
                self._backlog.to_download.append(job.row)
            else:
                age_s = max(wall_s - (epoch(job.submitted_at) or wall_s), 0.0)
                self._run_state.wait_for(job, age_s=age_s)
        self._run_state.unclear_wait(unclear)

    async def _dispatch(self, calls: anyio.abc.TaskGroup) -> None:
        def start_download(step: Coroutine[Any, Any, None]) -> None:
            calls.start_soon(self._guarded, step, self._notify)

        while True:
            now = self._context.clock.mono_s()
            self._wake.clear()
            self._backlog.move_due(now)
            self._judge_time(now)
            if self._reasons.halted:
                self._intents_back(calls)
                if not self._under_way():
                    return
                await self._sleep(self._results.stop(now))
                continue
            if now >= self._intents.stale_at:
                self._intents_back(calls)
            until_download = self._results.begin(start_download, now)
            permit_at = self._scheduler.limits.next_at(now)
            if permit_at > now and self._under_way():
                # Whatever has changed, no request goes before that.
                await self._sleep(min(permit_at, until_download))
                continue
            open_ = self._gates(now)
            if self._backlog.runs_low and open_.new.ever:
                try:
                    await self._backlog.refill()
                except Exception as exc:  # it would tear down the open requests with it
                    self._blame(exc)
                    continue
                now = self._context.clock.mono_s()
                open_ = self._gates(now)
            self._see_to_intents(calls, open_, now)
            until = self._begin_call(calls, open_, now)
            if until is None:
                until = self._scheduler.limits.next_at(now)
                if until <= now:
                    continue
            elif self._run_state.share.may_end(self._idle(open_)):
                return
            await self._sleep(min(until, until_download))

    def _judge_time(self, now: float) -> None:
        if self._reasons.halted:
            return
        self._heartbeat.felt(now)
        if now >= self._time_limit:
            self._reasons.halt(Exit.TIME, "the time limit of --stop-after is reached")
        if (why := self._ending.over(now)) is not None:
            self._reasons.halt(Exit.TIME, why)
        if not self._reasons.no_new and (why := self._ending.too_late(now, self._backlog)) is not None:
            self._reasons.stop_submitting(Exit.TIME, why)
        if (why := self._run_state.health.verdict(now)) is not None:
            self._reasons.halt(Exit.TEMPORARY, f"{why}{named(self._run_state.unanswered)}")

    def _gates(self, now: float) -> Gates:
        """Return what may be begun at this moment."""
        self._backlog.set_aside_unseen()
        run_state, connections = self._run_state, self._connections
        admission = run_state.admission
        return gates(
            Conditions(
                now,
                stopped=self._reasons.halted,
                nothing_new=self._reasons.no_new,
                paused=admission.paused,
                room=admission.has_room(),
                balance_wanted=run_state.balance.wanted,
                one_by_one=run_state.balance.trying,
                hosts_away=self._results.out_of_reach,
                closed_until=self._scheduler.tasks.closed_until,
                question_open=run_state.question_open,
                submits_open=connections.open(Call.SUBMIT),
                unclear=self._backlog.unclear,
                tasks=len(self._scheduler.waiting),
                places=connections.places(now),
                service=run_state.health.state,
                key=run_state.key.state,
                time=run_state.times.state,
                holds=run_state.waits.holds(now, connections.open),
            )
        )

    def _see_to_intents(self, calls: anyio.abc.TaskGroup, open_: Gates, now: float) -> None:
        """Have the intents of what is sent next committed, and those withdrawn that are not sent after all."""
        if not open_.refused.ever:
            self._intents_back(calls)
        else:
            self._commit(calls, self._intents.ahead(open_, now))

    def _commit(self, calls: anyio.abc.TaskGroup, rows: list[int]) -> None:
        if rows:
            calls.start_soon(self._guarded, self._intents.commit(rows), self._notify)

    def _intents_back(self, calls: anyio.abc.TaskGroup) -> None:
        """Have what is ready withdrawn: nothing is sent any more, or it waits for something."""
        if self._intents:
            calls.start_soon(self._guarded, self._intents.withdraw(self._intents.take_all()), self._notify)

    def _begin_call(self, calls: anyio.abc.TaskGroup, open_: Gates, now: float) -> float | None:
        """Begin one API request, if one is due; else return until when none is (None: begun)."""
        if open_.closed_until > now:
            return open_.closed_until
        if open_.ask:
            return self._ask(calls, now)
        if self._backlog.to_renew and open_.polls.now:
            if (at := self._permit_at(now)) > now:
                return at
            self._start(calls, Call.POLL, self._results.renew(self._backlog.to_renew.popleft(), now))
            return None
        return self._begin_best(calls, open_, now)

    def _ask(self, calls: anyio.abc.TaskGroup, now: float) -> float | None:
        """Ask the question that is no job's, once the rate allows."""
        if (at := self._permit_at(now)) > now:
            return at
        self._run_state.question_open = True
        self._start(calls, Call.OTHER, questions.ask(self._run_state, now))
        return None

    def _begin_best(self, calls: anyio.abc.TaskGroup, open_: Gates, now: float) -> float | None:
        """Begin the best request of a job, if one is due; else return until when none is (None: begun)."""
        run_state, backlog, connections = self._run_state, self._backlog, self._connections
        asking = run_state.health.question_failed
        again = len(self._intents) + len(backlog.refused) if open_.refused.now else 0
        places = self._context.settings.limits.uploads - run_state.uploads_open if open_.uploads.now else 0
        offer = Offer(
            resends=len(backlog.resend) if open_.unclear.now else 0,
            unclear=backlog.unclear,
            submits=again + (len(backlog.ready) if open_.new.now else 0),
            uploads=min(len(backlog.to_upload), max(places, 0)) if open_.new.now else 0,
            uploads_in_flight=run_state.uploads_open,
            may_poll=open_.polls.now,
            asking=asking,
        )
        self._scheduler.offer(now, offer)
        choice = self._scheduler.choose(now)
        while choice.job is not None and not connections.may_ask(choice.job):
            self._scheduler.waiting.unclear(choice.job, now, POSTPONE_S)
            choice = self._scheduler.choose(now)
        if choice.call is None or choice.at > now:
            if asking and self._scheduler.limits.next_at(now) <= now:
                return self._ask(calls, now)  # no other request could ask
            return min(choice.at, open_.opens_at)
        repeat = choice.call is Call.SUBMIT and bool(backlog.resend) and open_.unclear.now
        if choice.call is Call.SUBMIT and not (repeat or self._intents):
            self._commit(calls, self._intents.wanted(open_, now))
            return open_.opens_at
        if (at := self._permit_at(now)) > now:
            return min(at, open_.opens_at)
        match choice.call:
            case Call.SUBMIT if repeat:
                self._start(calls, Call.SUBMIT, submits.repeat(run_state, backlog.resend.popleft(), now))
            case Call.SUBMIT:
                self._start(calls, Call.SUBMIT, submits.send(run_state, self._intents.take(), now))
            case Call.POLL:
                assert choice.job is not None
                self._start(calls, Call.POLL, polls.ask(run_state, choice.job, now), choice.job)
            case _:
                run_state.uploads_open += 1
                self._start(calls, Call.UPLOAD, uploads.send(run_state, backlog.to_upload.popleft(), now))
        return None

    def _permit_at(self, now: float) -> float:
        """Return when there is a permit for a request that is to be made; not after `now`: it may be made."""
        limits = self._scheduler.limits
        at = limits.next_at(now)
        return at if at > now or limits.has_permit(now) else limits.next_at(now)

    def _start(
        self,
        calls: anyio.abc.TaskGroup,
        call: Call,
        step: Coroutine[Any, Any, None],
        job: int | None = None,
    ) -> None:
        now = self._context.clock.mono_s()
        number = self._connections.begin(call, job, now)
        # A request for fresh urls is not one that the scheduler plans.
        self._scheduler.sent(now, Call.OTHER if call is Call.POLL and job is None else call, job)

        def over() -> None:
            self._connections.end(call, number, self._context.clock.mono_s())

        calls.start_soon(self._guarded, step, over)

    async def _guarded(self, step: Coroutine[Any, Any, None], over: Callable[[], None]) -> None:
        """Run one step; an error of one job stops the run in good order, it never tears it down."""
        try:
            await step
        except Exception as exc:
            self._blame(exc)
        finally:
            over()
            self._notify()

    def _blame(self, exc: Exception) -> None:
        """Stop in good order for an error; a bug of ours is raised again at the end of the run."""
        if isinstance(exc, jobs.StaleJob):
            self._run_state.progress.event("warning", message=str(exc))
        elif isinstance(exc, RunnerError):
            self._run_state.stop_for(exc)
        else:
            self._fault = self._fault or exc
            self.stop(Exit.FAULT, f"a bug in rivya-batch: {exc!r}")

    def _notify(self) -> None:
        self._wake.set()

    async def _sleep(self, until: float) -> None:
        """Wait until something changes, or until a time."""
        if not self._reasons.halted:
            run_state, now = self._run_state, self._context.clock.mono_s()
            key_at = run_state.key.ask_at if run_state.key.ask_at > now else math.inf
            until = min(
                until,
                self._backlog.next_due,
                self._time_limit,
                self._ending.next_at(now),
                self._intents.stale_at,
                run_state.health.gives_up_at,
                run_state.waits.next_at(now),
                key_at,
            )
        wait_s, timer = until - self._context.clock.mono_s(), None
        if wait_s < math.inf:
            # A cancel scope each time costs more than all else that a turn does before it sends something.
            timer = asyncio.get_running_loop().call_later(max(wait_s, 0.0), self._notify)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # --- the end ------------------------------------------------------------------------------

    def _idle(self, open_: Gates) -> bool:
        """Whether nothing is under way and nothing more can be begun."""
        admission = self._run_state.admission
        if self._under_way() or self._results.waiting:
            return False
        if self._run_state.waiting and open_.polls.ever:
            return False
        if not self._backlog.empty(open_):
            if self._backlog.waits_for_places(open_):
                self._run_state.share.rest()
            return False
        if admission.paused and not self._reasons.no_new and self._more_to_come():
            return False
        if self._waits_for_canaries():
            self._run_state.share.rest()
            return False
        if admission.elsewhere and not self._run_state.alone and open_.refused.ever:
            self._run_state.share.rest()
            return False
        if admission.waits and not self._reasons.no_new:
            others = admission.elsewhere and self._context.lease is None
            whose = " of another manifest of this workspace" if others else ""
            self._reasons.note(
                Exit.INCOMPLETE,
                f"some jobs were not sent: near the cap they wait until the cost of an unclear payment{whose} is known"
                " (`rivya-batch status` shows it): resolve it, or raise the cap",
            )
        return True

    def _waits_for_canaries(self) -> bool:
        """Whether the rest waits for canaries of all runs together, and two looks have not shown that it always will."""
        admission = self._run_state.admission
        if admission.shared_canaries is None or self._reasons.no_new or not self._heartbeat.unsent:
            self._waits_since = math.inf
            return False
        self._waits_since = min(self._waits_since, admission.shared_looks)
        return admission.shared_looks < self._waits_since + 2

    def _under_way(self) -> bool:
        if self._intents.under_way or self._run_state.freeing > 0:
            return True
        return self._connections.open() > 0 or self._results.open > 0

    def _more_to_come(self) -> bool:
        """Whether a person's hand on the gate is all that keeps jobs back; a held run that has none left ends."""
        backlog = self._backlog
        return bool(backlog.ready or backlog.missing or backlog.refused or self._heartbeat.unsent)

    async def _judge_end(self) -> None:
        """Note what else the code has to tell of: of this run, and of what the ledger holds."""
        if (cap := self._run_state.admission.full) in NO_ROOM:  # whatever else may have ended the run
            self._reasons.note(Exit.CREDITS, NO_ROOM[cap])
        for wait in self._run_state.waits.all_beyond(self._context.clock.mono_s()):
            self._reasons.note(Exit.TEMPORARY, f"{self._run_state.wait_in_words(wait)}; run again then")
        self._results.note_missing()
        try:
            await look_at_the_ledger(self._run_state)
            await self._heartbeat.remember()
            await self._heartbeat.recount()
        except RunnerError as exc:
            self._reasons.note(exc.exit_code, in_words(exc))
