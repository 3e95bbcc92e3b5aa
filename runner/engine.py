"""The run loop: the one place that decides which job's next step is taken now, and waits.

It owns the task group. What may be sent when is the scheduler's word, whether a payment fits is
the budget's (inside the intent), what an answer means is the machine's; here they meet. A waiting
job is an entry in the scheduler's heap and two small records, never a task, a timer or a
connection of its own.
"""

from __future__ import annotations

import fnmatch
import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import anyio.abc

from runner.backoff import retry_delay_s
from runner.budget import Verdict
from runner.clock import epoch
from runner.errors import EXIT_PRECEDENCE, Exit, RunnerError, TemporaryTrouble
from runner.machine import Answer, Failure, FailureClass, Meaning, counts_for_breaker
from runner.model import Job, Reference, State
from runner.scheduler import Call, Scheduler
from runner.steps import poll as polling
from runner.steps import upload as uploading
from runner.steps.desk import Desk
from runner.steps.download import Downloads, Fetched
from runner.steps.submit import Held, Submitted, submit
from runner.store import catalogue, jobs, ledger

API_CALLS = 10  # requests to the API that may be open at once, whatever the number of jobs
LOOKAHEAD = 64  # jobs prepared ahead of their submit
PROBE_LOOKAHEAD = 200  # jobs set aside while a price never seen is being tried
BREAKER = 10
DOWNLOAD_TRIES = 6
TEMPORARY = (Meaning.NEVER_LEFT, Meaning.UNCLEAR, Meaning.DISABLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What one invocation asks for beyond its manifest."""

    limit: int | None = None
    only: str | None = None
    canary: int | None = None
    stop_after_s: float | None = None
    patience_s: float = 60.0


class Progress(Protocol):
    """Whoever shows a run to people or programs."""

    def event(self, kind: str, **data: Any) -> None:
        """Take one thing that happened."""
        ...

    def snapshot(self, view: Snapshot) -> None:
        """Take the state of the run; called about once a second."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at one moment."""

    counts: dict[str, int]
    orphans: int
    charged: float
    reserved: float
    cap: float | None
    rate_per_s: float | None
    requests: int
    rejections: int
    polls: int
    in_flight: int
    elapsed_s: float
    eta_s: float | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended: its exit code, why, and what happened in it."""

    code: Exit
    reasons: tuple[str, ...]
    stats: dict[str, Any]


@dataclass(slots=True)
class _Tally:
    submits: int = 0
    polls: int = 0
    uploads: int = 0
    downloads: int = 0
    rejections: int = 0
    accepted: int = 0
    done: int = 0
    failed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


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
        self._tally = _Tally()
        # Rows by what they wait for.
        self._ready: deque[int] = deque()
        self._resend: deque[int] = deque()
        self._probing: deque[int] = deque()
        self._to_download: deque[int] = deque()
        self._to_renew: deque[int] = deque()
        self._to_upload: deque[uploading.Needed] = deque()
        self._uploads: dict[uploading.Needed, tuple[Reference, set[int]]] = {}
        self._missing: dict[int, set[uploading.Needed]] = {}
        self._later: list[tuple[float, int, deque[Any], Any]] = []
        self._sequence = itertools.count()
        self._seen: dict[int, polling.Seen] = {}
        self._tries: Counter[Any] = Counter()
        self._renewed: set[int] = set()
        self._cursor = (-1, -1)
        self._fed = False
        # What is on its way.
        self._calls = 0
        self._uploads_open = 0
        self._downloads_open = 0
        # Why to stop.
        self._halted = False  # nothing more is begun at all
        self._no_new = False  # nothing new is submitted; what was paid is brought home
        self._no_room = False  # the head of the queue does not fit under a cap now
        self._exits: dict[Exit, str] = {}
        self._fault: BaseException | None = None
        self._first_sends = 0
        self._canaries: set[int] = set()
        self._canary_open = options.canary is not None
        self._streak: tuple[FailureClass | None, int] = (None, 0)
        self._bad_since: float | None = None
        self._bad_count = 0
        self._any_good = False
        self._paused_until = -math.inf
        self._parked = 0
        self._done_times: deque[float] = deque(maxlen=200)
        self._counts: dict[tuple[State, bool], int] = {}

    # --- from outside ------------------------------------------------------------------------

    def stop(self, code: Exit, why: str) -> None:
        """Drain: begin nothing more, let open requests finish and be recorded."""
        self._exits.setdefault(code, why)
        self._halted = True
        self._stir()

    def hold(self, held: bool) -> None:
        """Hold new submits, or go on with them."""
        self._no_new_by_hand = held
        self._stir()

    _no_new_by_hand = False

    async def run(self) -> Ended:
        """Run to the end.

        Raises:
            Exception: A fault of ours; what was open has been recorded before.
        """
        async with anyio.create_task_group() as background:
            background.start_soon(self._desk.writer.serve)
            await self._load()
            background.start_soon(self._beat)
            async with anyio.create_task_group() as calls:
                await self._dispatch(calls)
            background.cancel_scope.cancel()
        await self._desk.writer.flush()
        if self._fault is not None:
            raise self._fault
        return await self._ended()

    # --- what there is to do ---------------------------------------------------------------------

    async def _load(self) -> None:
        """Take up all that an earlier run has left under way."""
        desk = self._desk
        open_jobs = await desk.writer.write(
            lambda conn: jobs.in_states(
                conn, self._name, (State.SUBMITTING, State.WAITING, State.DOWNLOADING)
            )
        )
        wall_s, now = desk.clock.wall_s(), desk.clock.mono_s()
        for job in open_jobs:
            if job.state is State.SUBMITTING:
                self._resend.append(job.row)
            elif job.state is State.DOWNLOADING:
                self._to_download.append(job.row)
            else:
                age_s = max(wall_s - (epoch(job.submitted_at) or wall_s), 0.0)
                self._wait_for(job, age_s=age_s, now=now, polled=job.polls > 0)
        await self._recount()

    def _wait_for(self, job: Job, *, age_s: float, now: float, polled: bool) -> None:
        assert job.task_id is not None
        submitted = epoch(job.submitted_at) or self._desk.clock.wall_s()
        self._seen[job.row] = polling.Seen(
            task_id=job.task_id,
            word=job.task_status or "",
            late_at_s=submitted + self._desk.settings.limits.job_deadline_s,
        )
        self._scheduler.accepted(job.row, shape=job.shape, age_s=age_s, now=now, polled=polled)

    async def _refill(self) -> None:
        """Bring the next jobs of the manifest near, as many as are about to be needed."""
        if self._fed or len(self._ready) + len(self._missing) >= LOOKAHEAD // 2 or not self._may_begin():
            return
        # Not further ahead than will be submitted: nobody wants uploads for jobs beyond --limit.
        wanted = LOOKAHEAD
        for bound, used in (
            (self._options.limit, self._first_sends),
            (self._options.canary, len(self._canaries)),
        ):
            if bound is not None and (bound is not self._options.canary or self._canary_open):
                wanted = min(wanted, max(bound - used - len(self._ready) - len(self._missing), 0))
        if not wanted:
            return
        page = await self._desk.writer.write(
            lambda conn: jobs.page_to_send(conn, self._name, after=self._cursor, limit=LOOKAHEAD)
        )
        if self._options.only is None:
            page = page[:wanted]
        if not page:
            self._fed = True
            return
        self._cursor = (page[-1].position, page[-1].row)
        only = self._options.only
        for job in page:
            if only is None or fnmatch.fnmatchcase(job.id, only):
                await self._prepare(job)

    async def _prepare(self, job: Job) -> None:
        """Put a job where it waits next: for its uploads, or for its submit."""
        if not job.references:
            self._ready.append(job.row)
            return
        missing = await self._desk.writer.write(lambda conn: uploading.missing(conn, self._desk, job))
        if not missing:
            self._ready.append(job.row)
            return
        wants = self._missing.setdefault(job.row, set())
        for reference in missing:
            wanted = uploading.needed(reference, job)
            wants.add(wanted)
            if wanted in self._uploads:
                self._uploads[wanted][1].add(job.row)
            else:
                self._uploads[wanted] = (reference, {job.row})
                self._to_upload.append(wanted)
        await self._desk.writer.write(lambda conn: _mark_uploading(conn, self._desk, job.row))

    def _may_begin(self) -> bool:
        """Whether a new job may be submitted now."""
        if self._halted or self._no_new or self._no_room or self._no_new_by_hand:
            return False
        limit = self._options.limit
        if limit is not None and self._first_sends >= limit:
            return False
        if self._canary_open and len(self._canaries) >= (self._options.canary or 0):
            return False
        return len(self._probing) < PROBE_LOOKAHEAD

    # --- the loop -----------------------------------------------------------------------------------

    async def _dispatch(self, calls: anyio.abc.TaskGroup) -> None:
        while True:
            now = self._desk.clock.mono_s()
            self._wake = anyio.Event()
            self._move_due(now)
            if not self._halted:
                self._judge_trouble(now)
                await self._refill()
            if self._halted:
                if not (self._calls or self._downloads_open):
                    return
                await self._sleep(None)
                continue
            self._begin_downloads(calls)
            until = self._begin_call(calls, self._desk.clock.mono_s())
            if until is None:
                continue
            if self._idle():
                return
            await self._sleep(until)

    def _begin_call(self, calls: anyio.abc.TaskGroup, now: float) -> float | None:
        """Begin one API request, if one is due; else return until when nothing is (None: begun)."""
        if self._calls >= API_CALLS:
            return math.inf
        if now < self._paused_until:
            # While the service is not there, one request at a time asks whether it is back.
            return self._paused_until
        if self._bad_count and self._calls:
            return math.inf
        if self._to_renew:
            at = self._scheduler.governor.next_at(now)
            if at > now:
                return at
            row = self._to_renew.popleft()
            self._start(calls, Call.OTHER, self._renew(row, now))
            return None
        fresh = len(self._ready) if self._may_begin() else 0
        room = max(self._desk.settings.limits.uploads - self._uploads_open, 0)
        choice = self._scheduler.choose(
            now,
            submits=len(self._resend) + fresh,
            uploads=min(len(self._to_upload), room) if self._may_begin() else 0,
            uploads_in_flight=self._uploads_open,
        )
        if choice.call is None or choice.at > now:
            return choice.at
        match choice.call:
            case Call.SUBMIT:
                row = self._resend.popleft() if self._resend else self._ready.popleft()
                self._start(calls, Call.SUBMIT, self._submit(row, now))
            case Call.POLL:
                assert choice.job is not None
                self._start(calls, Call.POLL, self._poll(choice.job, now), choice.job)
            case _:
                wanted = self._to_upload.popleft()
                self._uploads_open += 1
                self._start(calls, Call.UPLOAD, self._upload(wanted, now))
        return None

    def _start(
        self, calls: anyio.abc.TaskGroup, call: Call, step: Coroutine[Any, Any, None], job: int | None = None
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
        except jobs.StaleJob as exc:
            self._progress.event("warning", message=str(exc))
        except TemporaryTrouble as exc:
            self.stop(Exit.TEMPORARY, _with_hint(exc))
        except RunnerError as exc:
            self.stop(exc.exit_code, _with_hint(exc))
        except Exception as exc:  # raised again at the end of the run
            self._fault = self._fault or exc
            self.stop(Exit.FAULT, f"a fault of ours: {exc!r}")
        finally:
            over()
            self._stir()

    def _stir(self) -> None:
        self._wake.set()

    async def _sleep(self, until: float | None) -> None:
        """Wait until something changes, or until a time."""
        due = self._later[0][0] if self._later else math.inf
        limits = [due, self._deadline_s()]
        if until is not None:
            limits.append(until)
        if self._bad_since is not None:
            limits.append(self._bad_since + self._options.patience_s)
        timeout = min(limits) - self._desk.clock.mono_s()
        if timeout == math.inf:
            await self._wake.wait()
            return
        with anyio.move_on_after(max(timeout, 0.0)):
            await self._wake.wait()

    def _deadline_s(self) -> float:
        if self._options.stop_after_s is None or self._halted:
            return math.inf
        return self._began + self._options.stop_after_s

    def _idle(self) -> bool:
        """Whether nothing is under way and nothing more can be begun."""
        if self._calls or self._downloads_open or self._later or self._seen:
            return False
        if self._resend or self._to_download or self._to_renew:
            return False
        if self._no_new_by_hand and (self._ready or not self._fed):
            return False
        blocked = not self._may_begin()
        if blocked or (self._fed and not self._ready and not self._to_upload and not self._missing):
            self._say_what_is_left()
            return True
        return False

    def _say_what_is_left(self) -> None:
        if self._no_room:
            self._exits.setdefault(Exit.CREDITS, "the next job does not fit under the credit cap")
        elif self._probing:
            self._exits.setdefault(
                Exit.INCOMPLETE,
                f"{len(self._probing)} jobs of a price never seen wait until an unclear payment is resolved",
            )

    def _move_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, queue, item = heapq.heappop(self._later)
            queue.append(item)
        if now >= self._deadline_s():
            self.stop(Exit.TIME, "the time limit of --stop-after is over")

    def _in(self, delay_s: float, queue: deque[Any], item: Any) -> None:
        heapq.heappush(self._later, (self._desk.clock.mono_s() + delay_s, next(self._sequence), queue, item))

    # --- trouble ----------------------------------------------------------------------------------------

    def _answered(self, call: Call, answer: Answer | None, sent_at: float) -> None:
        """Tell the scheduler of an answer, and keep watch over the service's health."""
        if answer is None:
            return
        now = self._desk.clock.mono_s()
        rejected = answer.meaning is Meaning.RATE_LIMITED
        bad = answer.meaning in TEMPORARY
        self._scheduler.answered(
            now,
            call,
            sent_at=sent_at,
            rejected=rejected,
            retry_after_s=answer.retry_after_s,
            ok=not bad and not rejected,
        )
        self._tally.statuses[str(answer.status or answer.meaning.value)] += 1
        if rejected:
            self._tally.rejections += 1
        if not bad:
            self._any_good = True
            self._bad_since, self._bad_count, self._paused_until = None, 0, -math.inf
            return
        self._progress.event("trouble", call=call.value, what=answer.words() or answer.message)
        self._bad_since = self._bad_since if self._bad_since is not None else now
        if answer.meaning is not Meaning.UNCLEAR or answer.status is None:
            # Not there, or wholly off: asking with every job at once would only be noise.
            self._bad_count += 1
            self._paused_until = now + retry_delay_s(
                self._bad_count, base_s=0.5, cap_s=8.0, draw=0.5 + self._desk.draw() / 2
            )
        self._last_trouble = answer.words() or answer.message

    _last_trouble = ""

    def _judge_trouble(self, now: float) -> None:
        """Stop when nothing has worked for longer than our patience."""
        if self._bad_since is None:
            return
        patience_s = self._options.patience_s if self._any_good else min(self._options.patience_s, 30.0)
        if now - self._bad_since >= patience_s:
            self.stop(
                Exit.TEMPORARY,
                f"the service has not answered properly for {patience_s:.0f} s: {self._last_trouble}",
            )

    def _stop_for(self, code: Exit | None, answer: Answer | None) -> None:
        if code is None:
            return
        words = answer.words() if answer is not None else ""
        if code is Exit.REFUSED:
            self.stop(code, f"the service refuses our key: {words}")
        elif code is Exit.CREDITS and not self._no_new:
            self._no_new = True
            self._exits.setdefault(code, f"the account has too few credits: {words}")
            self._progress.event("no_credits", message=words)

    def _failed(self, row: int, failure: Failure) -> None:
        self._tally.failed += 1
        if row in self._canaries and self._canary_open:
            self._no_new = True
            self._exits.setdefault(Exit.INCOMPLETE, "a canary failed; nothing more was submitted")
        if not counts_for_breaker(failure.cls):
            return
        cls, length = self._streak
        self._streak = (failure.cls, length + 1 if cls is failure.cls else 1)
        if self._streak[1] >= BREAKER and not self._no_new:
            self._no_new = True
            self._exits.setdefault(
                Exit.TEMPORARY,
                f"{BREAKER} jobs in a row failed ({failure.cls.value}: {failure.message}); no more were submitted",
            )

    def _credits_moved(self) -> None:
        """A payment was corrected or settled: what did not fit may fit now, a price may be known."""
        self._no_room = False
        self._ready.extendleft(reversed(self._probing))
        self._probing.clear()

    # --- steps --------------------------------------------------------------------------------------------

    async def _submit(self, row: int, sent_at: float) -> None:
        done = await submit(self._desk, row)
        self._answered(Call.SUBMIT, done.answer, sent_at)
        if done.answer is None:
            self._scheduler.answered(
                self._desk.clock.mono_s(),
                Call.SUBMIT,
                sent_at=sent_at,
                rejected=False,
                retry_after_s=None,
                ok=False,
            )
        else:
            self._tally.submits += 1
        if done.first_send:
            self._first_sends += 1
            if self._canary_open:
                self._canaries.add(row)
        self._stop_for(done.stop, done.answer)
        if done.held is not None:
            await self._held(done)
            return
        await self._follow(done)

    async def _held(self, done: Submitted) -> None:
        row = done.job.row
        if done.held is Held.UPLOADS:
            await self._prepare(done.job)
        elif done.held is Held.UNCERTAIN:
            self._progress.event(
                "uncertain",
                job=done.job.id,
                message=done.failure.message if done.failure else "",
                credits=None,
            )
            self._uncertain(row)
        elif done.held is Held.BUDGET:
            match done.verdict:
                case Verdict.PROBE_OUT:
                    self._probing.append(row)
                case Verdict.OVER_JOB:
                    self._exits.setdefault(
                        Exit.CREDITS,
                        f"job {done.job.id} costs more than max_credits_per_job and was not sent",
                    )
                    self._progress.event("over_job", job=done.job.id)
                case _:
                    self._ready.appendleft(row)
                    self._no_room = True

    async def _follow(self, done: Submitted) -> None:
        job, row = done.job, done.job.row
        match done.state:
            case State.SUBMITTING:
                self._in(done.delay_s or 0.0, self._resend, row) if done.stop is None else self._park()
            case State.WAITING:
                self._tally.accepted += 1
                self._wait_for(job, age_s=0.0, now=self._desk.clock.mono_s(), polled=False)
                self._progress.event("submitted", job=job.id, task_id=job.task_id)
                self._credits_moved()
            case State.DOWNLOADING:
                self._tally.accepted += 1
                self._progress.event("submitted", job=job.id, task_id=job.task_id)
                self._to_download.append(row)
                self._credits_moved()
            case State.PLANNED:
                self._credits_moved()
                if done.stop is None:
                    await self._prepare(job)
            case State.FAILED:
                self._credits_moved()
                failure = done.failure or _recorded(job)
                self._progress.event("failed", job=job.id, message=failure.message, cls=failure.cls.value)
                self._failed(row, failure)
            case State.UNCERTAIN:
                self._progress.event("uncertain", job=job.id, message=job.error_message or "")
                self._uncertain(row)
            case _:
                pass

    def _uncertain(self, row: int) -> None:
        if row in self._canaries and self._canary_open:
            self._no_new = True
        # An unclear probe keeps other unknown prices back, but known ones may go on.

    def _park(self) -> None:
        self._parked += 1

    async def _poll(self, row: int, sent_at: float) -> None:
        seen = self._seen.get(row)
        if seen is None:
            self._scheduler.forget(row)
            return
        try:
            found = await polling.poll(self._desk, row, seen)
        except BaseException:
            self._scheduler.forget(row)
            self._seen.pop(row, None)
            raise
        self._tally.polls += 1
        self._answered(Call.POLL, found.answer, sent_at)
        self._stop_for(found.stop, found.answer)
        now = self._desk.clock.mono_s()
        if found.overdue and found.state in (None, State.WAITING):
            job = found.job
            self._drop(row)
            self._exits.setdefault(
                Exit.INCOMPLETE, "a task runs longer than limits.job_deadline; the next run asks for it again"
            )
            self._progress.event("overdue", job=job.id if job else "", task_id=seen.task_id)
        elif found.state is State.WAITING:
            if found.word != seen.word:
                self._seen[row] = polling.Seen(
                    task_id=seen.task_id, word=found.word, late_at_s=seen.late_at_s
                )
            self._scheduler.still_running(row, now)
        elif found.state is None:
            if found.stop is not None:
                self._drop(row)
                return
            self._tries["poll", row] += 1
            delay_s = self._desk.settings.polling.min_s
            if found.answer.meaning is not Meaning.RATE_LIMITED:
                delay_s += retry_delay_s(
                    self._tries["poll", row],
                    base_s=1.0,
                    cap_s=self._desk.settings.polling.max_s,
                    draw=self._desk.draw(),
                )
            self._scheduler.poll_unclear(row, now, delay_s)
        else:
            self._tries.pop(("poll", row), None)
            self._seen.pop(row, None)
            self._scheduler.finished(row, now, duration_s=found.duration_s)
            await self._task_ended(row, found)

    def _drop(self, row: int) -> None:
        self._seen.pop(row, None)
        self._scheduler.forget(row)
        self._park()

    async def _task_ended(self, row: int, found: polling.Polled) -> None:
        job = found.job
        assert job is not None
        self._credits_moved()
        if found.state is State.DOWNLOADING:
            self._streak = (None, 0)
            self._progress.event("succeeded", job=job.id, task_id=job.task_id, seconds=found.duration_s)
            self._to_download.append(row)
            return
        if found.failure is not None and found.stop is None:
            self._progress.event(
                "failed",
                job=job.id,
                message=found.failure.message,
                cls=found.failure.cls.value,
                again=found.state is State.PLANNED,
            )
            self._failed(row, found.failure)
        if found.state is State.PLANNED and found.stop is None:
            await self._prepare(job)

    async def _upload(self, wanted: uploading.Needed, sent_at: float) -> None:
        reference, rows = self._uploads[wanted]
        failure: Failure | None = None
        try:
            done = await uploading.upload(self._desk, reference, wanted)
            self._tally.uploads += 1
            self._answered(Call.UPLOAD, done.answer, sent_at)
            failure = done.failure
            if done.answer.meaning is Meaning.KEY_REFUSED:
                self._stop_for(Exit.REFUSED, done.answer)
            if done.copy is None and failure is None:
                self._tries["upload", wanted] += 1
                delay_s = 0.0
                if done.answer.meaning is not Meaning.RATE_LIMITED:
                    delay_s = retry_delay_s(
                        self._tries["upload", wanted],
                        base_s=1.0,
                        cap_s=60.0,
                        draw=0.5 + self._desk.draw() / 2,
                    )
                self._in(delay_s, self._to_upload, wanted)
                return
        except uploading.REFERENCE_ERRORS as exc:
            failure = uploading.reference_failure(exc)
        finally:
            self._uploads_open -= 1
        del self._uploads[wanted]
        for row in sorted(rows):
            if failure is not None:
                await self._refused_reference(row, failure)
            elif row in self._missing:
                self._missing[row].discard(wanted)
                if not self._missing[row]:
                    del self._missing[row]
                    self._ready.append(row)

    async def _refused_reference(self, row: int, failure: Failure) -> None:
        for other in self._missing.pop(row, set()):
            if other in self._uploads:
                self._uploads[other][1].discard(row)
        job = await self._desk.writer.write(
            lambda conn: uploading.fail_for_reference(conn, self._desk, row, failure)
        )
        self._progress.event("failed", job=job.id, message=failure.message, cls=failure.cls.value)
        self._failed(row, failure)

    # --- results --------------------------------------------------------------------------------------------

    def _begin_downloads(self, calls: anyio.abc.TaskGroup) -> None:
        while self._to_download and self._downloads_open < self._desk.settings.limits.downloads:
            row = self._to_download.popleft()
            self._downloads_open += 1
            calls.start_soon(self._guarded, self._download(row), self._download_over)

    def _download_over(self) -> None:
        self._downloads_open -= 1

    async def _download(self, row: int) -> None:
        self._tally.downloads += 1
        result = await self._downloads.fetch(self._desk, row)
        job = result.job
        for warning in result.warnings:
            self._progress.event("warning", job=job.id, message=warning)
        if result.fetched is Fetched.DONE:
            self._tally.done += 1
            self._done_times.append(self._desk.clock.mono_s())
            self._progress.event("done", job=job.id, files=[str(path) for path in result.files])
            if row in self._canaries:
                self._canaries_done(row)
            return
        if result.fetched is Fetched.GONE:
            return
        self._tries["download", row] += 1
        self._progress.event("trouble", call="download", job=job.id, what=result.why)
        if self._tries["download", row] >= DOWNLOAD_TRIES:
            self._park()
            self._exits.setdefault(
                Exit.TEMPORARY,
                f"the result of {job.id} cannot be fetched now ({result.why}); it is paid and kept",
            )
            return
        delay_s = retry_delay_s(
            self._tries["download", row], base_s=0.5, cap_s=20.0, draw=0.5 + self._desk.draw() / 2
        )
        if result.fetched is Fetched.RENEW:
            first = row not in self._renewed
            self._renewed.add(row)
            self._in(0.0 if first else delay_s, self._to_renew, row)
        else:
            self._in(delay_s, self._to_download, row)

    def _canaries_done(self, row: int) -> None:
        self._canaries_finished += 1
        if self._canary_open and self._canaries_finished >= (self._options.canary or 0):
            self._canary_open = False
            self._progress.event(
                "canary", message=f"{self._canaries_finished} canaries are done; going on with the rest"
            )

    _canaries_finished = 0

    async def _renew(self, row: int, sent_at: float) -> None:
        _, answer = await polling.renew(self._desk, row)
        self._answered(Call.OTHER, answer, sent_at)
        if answer.meaning is Meaning.KEY_REFUSED:
            self._stop_for(Exit.REFUSED, answer)
            return
        if answer.meaning is Meaning.RATE_LIMITED:
            self._to_renew.append(row)
            return
        self._to_download.append(row)

    # --- keeping time, saying how it goes ----------------------------------------------------------------------

    async def _beat(self) -> None:
        """Once a second: record that we live, and show how it goes."""
        beats = 0
        while True:
            await self._recount()
            beats += 1
            if beats % 5 == 0:
                await self._remember()
            await anyio.sleep(1.0 if sum(self._counts.values()) < 20_000 else 3.0)

    async def _remember(self) -> None:
        desk = self._desk
        found = self._scheduler.found_rate
        stats = self._stats()

        def record(conn: Any) -> None:
            catalogue.touch_run(conn, desk.run, stats=stats, now=desk.now())
            if found is not None:
                catalogue.save_rate(conn, desk.account.name, found, desk.now())

        await desk.writer.write(record)

    async def _recount(self) -> None:
        def read(conn: Any) -> tuple[dict[tuple[State, bool], int], tuple[float, float]]:
            return jobs.counts(conn, self._name), ledger.totals(conn, self._name)

        self._counts, (charged, reserved) = await self._desk.writer.write(read)
        self._progress.snapshot(self._view(charged, reserved))

    def _view(self, charged: float, reserved: float) -> Snapshot:
        counts: dict[str, int] = {}
        orphans = 0
        for (state, listed), number in self._counts.items():
            if listed:
                counts[state.value] = counts.get(state.value, 0) + number
            else:
                orphans += number
        return Snapshot(
            counts=counts,
            orphans=orphans,
            charged=charged,
            reserved=reserved,
            cap=self._desk.settings.budget.max_credits,
            rate_per_s=self._scheduler.rate_per_s,
            requests=self._tally.submits + self._tally.polls + self._tally.uploads,
            rejections=self._tally.rejections,
            polls=self._tally.polls,
            in_flight=self._scheduler.in_flight,
            elapsed_s=self._desk.clock.mono_s() - self._began,
            eta_s=self._eta_s(counts),
            note=self._last_trouble if self._bad_since is not None else "",
        )

    def _eta_s(self, counts: dict[str, int]) -> float | None:
        left = sum(
            counts.get(name, 0)
            for name in ("planned", "uploading", "ready", "submitting", "waiting", "downloading")
        )
        if len(self._done_times) < 3 or not left:
            return None
        span_s = self._desk.clock.mono_s() - self._done_times[0]
        return left * span_s / len(self._done_times)

    def _stats(self) -> dict[str, Any]:
        tally = self._tally
        return {
            "seconds": round(self._desk.clock.mono_s() - self._began, 3),
            "submits": tally.submits,
            "polls": tally.polls,
            "uploads": tally.uploads,
            "downloads": tally.downloads,
            "rejections": tally.rejections,
            "accepted": tally.accepted,
            "done": tally.done,
            "failed": tally.failed,
            "rate_per_s": self._scheduler.rate_per_s,
            "statuses": dict(tally.statuses),
        }

    async def _ended(self) -> Ended:
        desk = self._desk

        def read(conn: Any) -> tuple[dict[tuple[State, bool], int], int]:
            return jobs.counts(conn, self._name), jobs.overdue(conn, self._name)

        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as background:
                background.start_soon(desk.writer.serve)
                counts, overdue = await desk.writer.write(read)
                await self._remember()
                await self._recount()
                background.cancel_scope.cancel()
        failed = counts.get((State.FAILED, True), 0)
        uncertain = counts.get((State.UNCERTAIN, True), 0) + counts.get((State.UNCERTAIN, False), 0)
        if failed or uncertain or overdue:
            parts = [f"{failed} failed"] * bool(failed) + [f"{uncertain} uncertain"] * bool(uncertain)
            parts += [f"{overdue} overdue"] * bool(overdue)
            self._exits.setdefault(Exit.INCOMPLETE, ", ".join(parts))
        code = next((code for code in EXIT_PRECEDENCE if code in self._exits), Exit.OK)
        reasons = tuple(self._exits[code] for code in EXIT_PRECEDENCE if code in self._exits)
        return Ended(code=code, reasons=reasons, stats=self._stats())


def _mark_uploading(conn: Any, desk: Desk, row: int) -> None:
    job = jobs.get(conn, row)
    if job.state is State.PLANNED:
        jobs.advance(conn, job, desk.now(), state=State.UPLOADING.value)


def _recorded(job: Job) -> Failure:
    return Failure(
        cls=FailureClass(job.error_class or "other"),
        code=job.error_code or "",
        message=job.error_message or "",
    )


def _with_hint(error: RunnerError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
