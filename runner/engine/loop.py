"""The one place that decides which job's next step is taken now, and waits.

It owns the task group. What may be sent when is the scheduler's word, whether a payment fits is
the budget's (inside the intent), what an answer means is the machine's; here they meet. A waiting
job is an entry in the scheduler's heap and a small record, never a task, a timer or a connection.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.abc

from runner.backoff import retry_delay_s
from runner.budget import Verdict
from runner.clock import epoch
from runner.engine.admission import Admission
from runner.engine.backlog import Backlog
from runner.engine.health import Breaker, Health
from runner.engine.reasons import Reasons
from runner.engine.view import Ended, Progress, RunOptions, Snapshot, Tally
from runner.errors import Exit, RunnerError
from runner.machine import Answer, Failure, FailureClass, Meaning
from runner.model import Job, State
from runner.scheduler import Call, Scheduler
from runner.steps import poll as polling
from runner.steps import upload as uploading
from runner.steps.desk import Desk
from runner.steps.download import Downloads, Fetched
from runner.steps.submit import Held, Submitted, submit, take_back
from runner.store import catalogue, jobs, ledger

API_CALLS = 10  # requests to the API that may be open at once, whatever the number of jobs
DOWNLOAD_TRIES = 6
REMEMBER_EVERY = 5  # beats


class Engine:
    """Runs all jobs of one manifest until there is nothing more to do, or a reason to stop."""

    def __init__(
        self, desk: Desk, scheduler: Scheduler, downloads: Downloads, options: RunOptions, progress: Progress
    ) -> None:
        self._desk = desk
        self._scheduler = scheduler
        self._downloads = downloads
        self._options = options
        self._progress = progress
        self._name = desk.settings.name
        self._began = desk.clock.mono_s()
        self._wake = anyio.Event()
        self._tally = Tally()
        self._reasons = Reasons()
        self._health = Health(options.patience_s)
        self._breaker = Breaker()
        self._admission = Admission(options)
        self._backlog = Backlog(desk, self._admission, options)
        self._seen: dict[int, polling.Seen] = {}
        self._renewed: set[int] = set()
        self._calls = 0
        self._uploads_open = 0
        self._downloads_open = 0
        self._fault: BaseException | None = None
        self._done_times: deque[float] = deque(maxlen=200)
        self._counts: dict[tuple[State, bool], int] = {}

    # --- from outside ------------------------------------------------------------------------

    def stop(self, code: Exit, why: str) -> None:
        """Drain: begin nothing more, let open requests finish and be recorded."""
        self._reasons.halt(code, why)
        self._stir()

    def hold(self, held: bool) -> None:
        """Hold new submits, or go on with them."""
        self._admission.held = held
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
            background.start_soon(self._beat)
            async with anyio.create_task_group() as calls:
                await self._dispatch(calls)
            if self._fault is None:
                await self._judge_end()
            background.cancel_scope.cancel()
        if self._fault is not None:
            raise self._fault
        return Ended(code=self._reasons.code(), reasons=self._reasons.words(), stats=self._stats())

    # --- the loop -----------------------------------------------------------------------------

    async def _load(self) -> None:
        """Take up all that an earlier run has left under way."""
        desk = self._desk

        def read(conn: Any) -> list[Job]:
            take_back(conn, desk)
            return jobs.in_states(conn, self._name, (State.SUBMITTING, State.WAITING, State.DOWNLOADING))

        open_jobs = await desk.writer.write(read)
        wall_s, now = desk.clock.wall_s(), desk.clock.mono_s()
        for job in open_jobs:
            if job.state is State.SUBMITTING:
                self._backlog.resend.append(job.row)
            elif job.state is State.DOWNLOADING:
                self._backlog.to_download.append(job.row)
            else:
                age_s = max(wall_s - (epoch(job.submitted_at) or wall_s), 0.0)
                self._wait_for(job, age_s=age_s, now=now, polled=job.polls > 0)
        await self._recount()

    def _wait_for(
        self, job: Job, *, age_s: float, now: float, polled: bool, reserved: float | None = None
    ) -> None:
        assert job.task_id is not None
        submitted = epoch(job.submitted_at) or self._desk.clock.wall_s()
        self._seen[job.row] = polling.Seen(
            task_id=job.task_id,
            word=job.task_status or "",
            late_at_s=submitted + self._desk.settings.limits.job_deadline_s,
            reserved=reserved,
        )
        self._scheduler.accepted(job.row, shape=job.shape, kin=job.model, age_s=age_s, now=now, polled=polled)

    async def _dispatch(self, calls: anyio.abc.TaskGroup) -> None:
        while True:
            now = self._desk.clock.mono_s()
            self._wake = anyio.Event()
            self._backlog.move_due(now)
            self._judge_time(now)
            if self._reasons.halted:
                if not (self._calls or self._downloads_open):
                    return
                await self._sleep(math.inf)
                continue
            if self._may_begin():
                try:
                    await self._backlog.refill()
                except Exception as exc:  # it would tear down the open requests with it
                    self._blame(exc)
                    continue
            self._begin_downloads(calls)
            until = self._begin_call(calls, self._desk.clock.mono_s())
            if until is None:
                continue
            if self._idle():
                return
            await self._sleep(until)

    def _judge_time(self, now: float) -> None:
        if self._reasons.halted:
            return
        if now >= self._time_limit():
            self._reasons.halt(Exit.TIME, "the time limit of --stop-after is over")
        if (why := self._health.verdict(now)) is not None:
            self._reasons.halt(Exit.TEMPORARY, why)

    def _time_limit(self) -> float:
        if self._options.stop_after_s is None:
            return math.inf
        return self._began + self._options.stop_after_s

    def _may_begin(self) -> bool:
        """Whether a new job may be submitted now."""
        return not (self._reasons.halted or self._reasons.no_new) and self._admission.open()

    def _begin_call(self, calls: anyio.abc.TaskGroup, now: float) -> float | None:
        """Begin one API request, if one is due; else return until when none is (None: begun)."""
        if self._calls >= API_CALLS or (self._health.ill and self._calls):
            return math.inf
        if now < self._health.paused_until:
            return self._health.paused_until
        backlog = self._backlog
        if backlog.to_renew:
            at = self._scheduler.governor.next_at(now)
            if at > now:
                return at
            self._start(calls, Call.OTHER, self._renew(backlog.to_renew.popleft(), now))
            return None
        backlog.set_aside_unseen()
        fresh = len(backlog.ready) if self._may_begin() else 0
        room = max(self._desk.settings.limits.uploads - self._uploads_open, 0)
        choice = self._scheduler.choose(
            now,
            submits=len(backlog.resend) + fresh,
            uploads=min(len(backlog.to_upload), room) if self._may_begin() else 0,
            uploads_in_flight=self._uploads_open,
        )
        if choice.call is None or choice.at > now:
            return choice.at
        match choice.call:
            case Call.SUBMIT:
                if backlog.resend:
                    row = backlog.resend.popleft()
                else:
                    row, _ = backlog.ready.popleft()
                    self._admission.sending(row)
                self._start(calls, Call.SUBMIT, self._submit(row, now))
            case Call.POLL:
                assert choice.job is not None
                self._start(calls, Call.POLL, self._poll(choice.job, now), choice.job)
            case _:
                self._uploads_open += 1
                self._start(calls, Call.UPLOAD, self._upload(backlog.to_upload.popleft(), now))
        return None

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
            self._progress.event("warning", message=str(exc))
        elif isinstance(exc, RunnerError):
            self.stop(exc.exit_code, f"{exc.message}; {exc.hint}" if exc.hint else exc.message)
        else:
            self._fault = self._fault or exc
            self.stop(Exit.FAULT, f"a fault of ours: {exc!r}")

    def _stir(self) -> None:
        self._wake.set()

    async def _sleep(self, until: float) -> None:
        """Wait until something changes, or until a time."""
        if not self._reasons.halted:
            until = min(until, self._backlog.next_due, self._time_limit(), self._health.gives_up_at)
        if until == math.inf:
            await self._wake.wait()
            return
        with anyio.move_on_after(max(until - self._desk.clock.mono_s(), 0.0)):
            await self._wake.wait()

    def _idle(self) -> bool:
        """Whether nothing is under way and nothing more can be begun."""
        if self._calls or self._downloads_open or self._seen:
            return False
        if not self._backlog.empty(may_begin=self._may_begin):
            return False
        if self._admission.held and not self._reasons.no_new and self._more_to_come():
            return False
        if self._admission.aside and not self._admission.full:
            self._reasons.note(
                Exit.INCOMPLETE,
                f"{len(self._admission.aside)} jobs of a price never seen wait until an unclear payment is resolved",
            )
        return True

    def _more_to_come(self) -> bool:
        """Whether a person's hand on the gate is all that keeps jobs back; a held run that has none left ends."""
        unsent = (State.PLANNED, State.UPLOADING, State.READY)
        return bool(self._backlog.ready or self._backlog.missing) or any(
            self._counts.get((state, True)) for state in unsent
        )

    # --- answers -------------------------------------------------------------------------------

    def _answered(self, call: Call, answer: Answer, sent_at: float) -> None:
        """Tell everyone who learns from answers."""
        now = self._desk.clock.mono_s()
        rejected = answer.meaning is Meaning.RATE_LIMITED
        bad = self._health.answered(answer, now, self._desk.draw())
        self._scheduler.answered(
            now,
            call,
            sent_at=sent_at,
            rejected=rejected,
            retry_after_s=answer.retry_after_s,
            ok=not (bad or rejected),
            draw=self._desk.draw(),
        )
        self._tally.statuses[str(answer.status or answer.meaning.value)] += 1
        self._tally.rejections += rejected
        if bad:
            self._progress.event("trouble", call=call.value, what=self._health.last_trouble)

    def _heed(self, code: Exit | None, words: str) -> None:
        """Act on a reason to stop that an answer has brought."""
        if code is Exit.REFUSED:
            self.stop(code, f"the service refuses our key: {words}")
        elif code is Exit.CREDITS and not self._reasons.no_new:
            self._reasons.stop_submitting(code, f"the account has too few credits: {words}")
            self._progress.event("no_credits", message=words)

    def _job_failed(self, job: Job, failure: Failure, *, again: bool = False) -> None:
        self._tally.failed += 1
        self._progress.event(
            "failed",
            job=job.id,
            cls=failure.cls.value,
            code=failure.code,
            message=failure.message,
            again=again,
        )
        if self._admission.is_canary(job.row) and not again:
            self._reasons.stop_submitting(Exit.INCOMPLETE, "a canary failed; nothing more was submitted")
        if (why := self._breaker.failed(failure)) is not None and not self._reasons.no_new:
            self._reasons.stop_submitting(Exit.TEMPORARY, why)

    def _job_uncertain(self, job: Job, why: str) -> None:
        self._progress.event("uncertain", job=job.id, message=why)
        if self._admission.is_canary(job.row):
            self._reasons.stop_submitting(
                Exit.INCOMPLETE, "a canary is uncertain; nothing more was submitted"
            )

    def _credits_moved(self) -> None:
        self._backlog.put_back(self._admission.credits_moved())

    # --- submits --------------------------------------------------------------------------------

    async def _submit(self, row: int, sent_at: float) -> None:
        try:
            done = await submit(self._desk, row)
        except BaseException:
            self._admission.sent(row, first=False)
            self._never_sent(sent_at)
            raise
        self._admission.sent(row, first=done.first_send)
        if done.answer is None:
            self._never_sent(sent_at)
        else:
            self._tally.submits += 1
            self._answered(Call.SUBMIT, done.answer, sent_at)
            self._heed(done.stop, done.answer.words())
        if done.held is not None:
            await self._held(done)
        else:
            await self._sent(done)

    def _never_sent(self, sent_at: float) -> None:
        now = self._desk.clock.mono_s()
        self._scheduler.answered(
            now, Call.SUBMIT, sent_at=sent_at, rejected=False, retry_after_s=None, ok=False
        )

    async def _held(self, done: Submitted) -> None:
        job = done.job
        match done.held:
            case Held.UPLOADS:
                await self._backlog.prepare(job)
            case Held.UNCERTAIN:
                self._job_uncertain(job, done.failure.message if done.failure else "")
            case Held.BUDGET if done.verdict is Verdict.PROBE_OUT:
                self._admission.set_aside(job.row, job.shape)
            case Held.BUDGET if done.verdict is Verdict.OVER_JOB:
                self._reasons.note(
                    Exit.CREDITS, f"job {job.id} costs more than budget.max_credits_per_job and was not sent"
                )
                self._progress.event("over_job", job=job.id)
            case Held.BUDGET:
                self._backlog.ready.appendleft((job.row, job.shape))
                self._admission.full = True
            case _:
                pass

    async def _sent(self, done: Submitted) -> None:
        job = done.job
        if done.state is State.SUBMITTING:
            # Out of credits with an unclear send behind it: the next run asks again.
            if done.stop is None:
                self._backlog.after(done.delay_s or 0.0, self._backlog.resend, job.row)
            return
        self._credits_moved()
        match done.state:
            case State.WAITING | State.DOWNLOADING:
                self._tally.accepted += 1
                self._progress.event("submitted", job=job.id, task_id=job.task_id)
                if done.state is State.WAITING:
                    self._wait_for(
                        job,
                        age_s=0.0,
                        now=self._desk.clock.mono_s(),
                        polled=False,
                        reserved=done.reserved,
                    )
                else:
                    self._breaker.succeeded()
                    self._backlog.to_download.append(job.row)
            case State.PLANNED:
                self._admission.returned(job.row)
                if done.failure is not None:
                    self._job_failed(job, done.failure, again=True)
                if done.stop is None:
                    await self._backlog.prepare(job)
            case State.FAILED:
                self._job_failed(job, done.failure or _recorded(job))
            case State.UNCERTAIN:
                self._job_uncertain(job, job.error_message or "")
            case _:
                pass

    # --- polls ------------------------------------------------------------------------------------

    async def _poll(self, row: int, sent_at: float) -> None:
        seen = self._seen.get(row)
        if seen is None:
            self._scheduler.forget(row)
            return
        try:
            found = await polling.poll(self._desk, row, seen)
        except BaseException:
            self._drop(row)
            raise
        self._tally.polls += 1
        self._answered(Call.POLL, found.answer, sent_at)
        self._heed(found.stop, found.failure.message if found.failure else found.answer.words())
        now = self._desk.clock.mono_s()
        if found.overdue and found.state in (None, State.WAITING):
            self._drop(row)
            self._reasons.note(
                Exit.INCOMPLETE, "a task runs longer than limits.job_deadline; the next run asks for it again"
            )
            self._progress.event("overdue", job=found.job.id if found.job else "", task_id=seen.task_id)
        elif found.state is State.WAITING:
            if found.word != seen.word or found.reserved:
                self._seen[row] = polling.Seen(
                    task_id=seen.task_id,
                    word=found.word,
                    late_at_s=seen.late_at_s,
                    reserved=found.reserved or seen.reserved,
                )
            if found.credits_moved:
                self._credits_moved()
            self._scheduler.still_running(row, now)
        elif found.state is None:
            self._poll_again(row, found, now)
        else:
            self._seen.pop(row, None)
            learned_s = self._scheduler.finished(row, now, duration_s=found.duration_s)
            await self._task_ended(found, learned_s)

    def _poll_again(self, row: int, found: polling.Polled, now: float) -> None:
        if found.stop is not None:
            self._drop(row)
            return
        delay_s = self._desk.settings.polling.min_s
        if found.answer.meaning is not Meaning.RATE_LIMITED:
            self._backlog.tries["poll", row] += 1
            delay_s += retry_delay_s(
                self._backlog.tries["poll", row],
                base_s=min(1.0, delay_s),
                cap_s=self._desk.settings.polling.max_s,
                draw=self._desk.draw(),
            )
        self._scheduler.poll_unclear(row, now, delay_s)

    def _drop(self, row: int) -> None:
        """Wait for this task no longer in this run."""
        self._seen.pop(row, None)
        self._scheduler.forget(row)

    async def _task_ended(self, found: polling.Polled, learned_s: float | None) -> None:
        job = found.job
        assert job is not None
        self._credits_moved()
        if found.state is State.DOWNLOADING:
            self._breaker.succeeded()
            self._progress.event("succeeded", job=job.id, task_id=job.task_id, seconds=found.duration_s)
            self._backlog.to_download.append(job.row)
            if found.duration_s is None and learned_s is not None:
                self._learn(job, learned_s)
            return
        if found.failure is not None and (found.stop is None or found.state is State.FAILED):
            self._job_failed(job, found.failure, again=found.state is State.PLANNED)
        if found.state is State.PLANNED:
            self._admission.returned(job.row)
        if found.state is State.PLANNED and found.stop is None:
            await self._backlog.prepare(job)

    def _learn(self, job: Job, seconds: float) -> None:
        """Keep a duration the service did not name, as well as our polls tell it."""
        service = self._desk.account.service
        self._desk.writer.write_soon(
            lambda conn: catalogue.save_duration(
                conn, base_url=service, model=job.model, shape=job.shape, seconds=seconds
            )
        )

    # --- uploads -----------------------------------------------------------------------------------

    async def _upload(self, wanted: uploading.Needed, sent_at: float) -> None:
        reference, _ = self._backlog.uploads[wanted]
        try:
            done = await uploading.upload(self._desk, reference, wanted)
        except uploading.REFERENCE_ERRORS as exc:
            await self._unusable(wanted, uploading.reference_failure(exc))
            return
        finally:
            self._uploads_open -= 1
        self._tally.uploads += 1
        self._answered(Call.UPLOAD, done.answer, sent_at)
        if done.answer.meaning is Meaning.KEY_REFUSED:
            self._heed(Exit.REFUSED, done.answer.words())
        elif done.answer.meaning is Meaning.NO_CREDITS:
            self._heed(Exit.CREDITS, done.answer.words())
        if done.copy is not None:
            self._backlog.uploaded(wanted)
        elif done.failure is not None:
            await self._unusable(wanted, done.failure)
        else:
            delay_s = 0.0
            if done.answer.meaning is not Meaning.RATE_LIMITED:
                self._backlog.tries["upload", wanted] += 1
                delay_s = self._back_off(self._backlog.tries["upload", wanted], base_s=1.0, cap_s=60.0)
            self._backlog.after(delay_s, self._backlog.to_upload, wanted)

    async def _unusable(self, wanted: uploading.Needed, failure: Failure) -> None:
        for row in self._backlog.unusable(wanted):
            job = await self._desk.writer.write(
                lambda conn, row=row: uploading.fail_for_reference(conn, self._desk, row, failure)  # type: ignore[misc]  # bound now
            )
            self._job_failed(job, failure)

    def _back_off(self, attempt: int, *, base_s: float, cap_s: float) -> float:
        return retry_delay_s(attempt, base_s=base_s, cap_s=cap_s, draw=0.5 + self._desk.draw() / 2)

    # --- results -------------------------------------------------------------------------------------

    def _begin_downloads(self, calls: anyio.abc.TaskGroup) -> None:
        while self._backlog.to_download and self._downloads_open < self._desk.settings.limits.downloads:
            self._downloads_open += 1
            calls.start_soon(
                self._guarded, self._download(self._backlog.to_download.popleft()), self._download_over
            )

    def _download_over(self) -> None:
        self._downloads_open -= 1

    async def _download(self, row: int) -> None:
        self._tally.downloads += 1
        result = await self._downloads.fetch(self._desk, row)
        job = result.job
        for warning in result.warnings:
            self._progress.event("warning", job=job.id, message=warning)
        if result.fetched is Fetched.GONE:
            return
        if result.fetched is Fetched.DONE:
            self._tally.done += 1
            self._done_times.append(self._desk.clock.mono_s())
            self._progress.event("done", job=job.id, files=[str(path) for path in result.files])
            if (canaries := self._admission.canary_done(row)) is not None:
                self._progress.event(
                    "canary", message=f"{canaries} canaries are done; going on with the rest"
                )
            return
        self._progress.event("trouble", call="download", job=job.id, what=result.why)
        tries = self._backlog.tries
        tries["download", row] += 1
        if tries["download", row] >= DOWNLOAD_TRIES:
            self._reasons.note(
                Exit.TEMPORARY,
                f"the result of {job.id} cannot be fetched now ({result.why}); it is paid and kept",
            )
            return
        delay_s = self._back_off(tries["download", row], base_s=0.5, cap_s=20.0)
        if result.fetched is Fetched.LATER:
            self._backlog.after(delay_s, self._backlog.to_download, row)
        else:
            # The first time at once: most often a url has just expired.
            self._backlog.after(delay_s if row in self._renewed else 0.0, self._backlog.to_renew, row)
            self._renewed.add(row)

    async def _renew(self, row: int, sent_at: float) -> None:
        _, answer = await polling.renew(self._desk, row)
        self._tally.polls += 1
        self._answered(Call.OTHER, answer, sent_at)
        if answer.meaning is Meaning.KEY_REFUSED:
            self._heed(Exit.REFUSED, answer.words())
        elif answer.meaning is Meaning.RATE_LIMITED:
            self._backlog.to_renew.append(row)
        else:
            self._backlog.to_download.append(row)

    # --- saying how it goes ------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Once a second: show how it goes; now and then record that we live and what was learned."""
        beats = 0
        while True:
            try:
                await self._recount()
                if beats % REMEMBER_EVERY == 0:
                    await self._remember()
            except RunnerError as exc:
                self.stop(exc.exit_code, f"{exc.message}; {exc.hint}" if exc.hint else exc.message)
                return
            beats += 1
            await anyio.sleep(1.0 if sum(self._counts.values()) < 20_000 else 3.0)

    async def _remember(self) -> None:
        desk = self._desk
        found, stats = self._scheduler.found_rate, self._stats()

        def record(conn: Any) -> int:
            catalogue.touch_run(conn, desk.run, stats=stats, now=desk.now())
            if found is not None:
                catalogue.save_rate(conn, desk.account.name, found, desk.now())
            return catalogue.live_runs(
                conn, base_url=desk.account.service, key12=desk.account.key12, now_s=desk.clock.wall_s()
            )

        # One account, one rate: runs that live side by side share it.
        self._scheduler.governor.share = 1.0 / max(await desk.writer.write(record), 1)

    async def _recount(self) -> None:
        def read(conn: Any) -> tuple[dict[tuple[State, bool], int], tuple[float, float]]:
            return jobs.counts(conn, self._name), ledger.totals(conn, self._name)

        self._counts, (charged, reserved) = await self._desk.writer.write(read)
        if self._admission.held:
            self._stir()
        self._progress.snapshot(self._view(charged, reserved))

    def _view(self, charged: float, reserved: float) -> Snapshot:
        counts: dict[str, int] = {}
        for (state, listed), number in self._counts.items():
            if listed:
                counts[state.value] = counts.get(state.value, 0) + number
        return Snapshot(
            counts=counts,
            orphans=sum(number for (_, listed), number in self._counts.items() if not listed),
            charged=charged,
            reserved=reserved,
            cap=self._desk.settings.budget.max_credits,
            rate_per_s=self._scheduler.rate_per_s,
            requests=self._tally.requests,
            rejections=self._tally.rejections,
            polls=self._tally.polls,
            in_flight=self._scheduler.in_flight,
            elapsed_s=self._desk.clock.mono_s() - self._began,
            eta_s=self._eta_s(),
            note=self._note(),
        )

    def _note(self) -> str:
        return self._health.last_trouble if self._health.troubled else ""

    def _eta_s(self) -> float | None:
        ended = (State.DONE, State.FAILED, State.ABANDONED, State.UNCERTAIN)
        left = sum(
            number for (state, listed), number in self._counts.items() if listed and state not in ended
        )
        if len(self._done_times) < 3 or not left or self._admission.held:
            return None
        return left * (self._desk.clock.mono_s() - self._done_times[0]) / len(self._done_times)

    def _stats(self) -> dict[str, Any]:
        return {
            "seconds": round(self._desk.clock.mono_s() - self._began, 3),
            "rate_per_s": self._scheduler.rate_per_s,
            "in_flight": self._scheduler.in_flight,
            "eta_s": self._eta_s(),
            "cap": self._desk.settings.budget.max_credits,
            "held": self._admission.held,
            "stopping": self._reasons.halted,
            "note": self._note(),
            **self._tally.as_stats(),
        }

    async def _judge_end(self) -> None:
        """Look at the ledger once more: jobs that failed or are uncertain, of this or an earlier run."""
        if self._admission.full:  # whatever else may have ended the run
            self._reasons.note(Exit.CREDITS, "the next job does not fit under the credit cap")

        def read(conn: Any) -> tuple[dict[tuple[State, bool], int], int]:
            return jobs.counts(conn, self._name), jobs.overdue(conn, self._name)

        try:
            counts, overdue = await self._desk.writer.write(read)
            await self._remember()
            await self._recount()
        except RunnerError as exc:
            self._reasons.note(exc.exit_code, f"{exc.message}; {exc.hint}" if exc.hint else exc.message)
            return
        found = {
            "failed": counts.get((State.FAILED, True), 0),
            "uncertain": counts.get((State.UNCERTAIN, True), 0) + counts.get((State.UNCERTAIN, False), 0),
            "overdue": overdue,
        }
        if any(found.values()):
            words = ", ".join(f"{number} {name}" for name, number in found.items() if number)
            self._reasons.note(Exit.INCOMPLETE, words)


def _recorded(job: Job) -> Failure:
    cls = FailureClass(job.error_class or FailureClass.OTHER.value)
    return Failure(cls=cls, code=job.error_code or "", message=job.error_message or "")
