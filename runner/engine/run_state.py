"""What everything in one run shares: the queues, the gates, what answers have taught, why it may end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from runner.engine.admission import Admission
from runner.engine.aside import Aside
from runner.engine.backlog import LOOKAHEAD, Backlog
from runner.engine.balance import Balance
from runner.engine.health import PATIENCE_S, Breaker, Health, MissingTaskIds
from runner.engine.key import KeyCheck
from runner.engine.limits import LimitsKept
from runner.engine.reasons import Reasons
from runner.engine.share import ClaimedJobs, WholeManifest
from runner.engine.times import Times
from runner.engine.view import OutJob, Progress, RunOptions, Tally
from runner.engine.waits import Wait, Waits, is_quota
from runner.errors import Exit, RunnerError
from runner.host.clock import epoch
from runner.lifecycle.rules import Failure
from runner.lifecycle.ways import Trouble, is_given_up
from runner.model import Job
from runner.money.pricing import MANY
from runner.pace.backoff import retry_delay_s
from runner.pace.scheduler import Call, Scheduler
from runner.service.protocol import Answer, Meaning, TaskStatus
from runner.steps import poll as poll_step
from runner.steps.context import RunContext
from runner.store.ledger import Paid, Surprise

NAMED = 5  # jobs in one sentence
WORTH_TELLING_S = 5.0
WAITING_FOR = {
    Call.SUBMIT: "submits",
    Call.POLL: "polls",
    Call.UPLOAD: "uploads",
    Call.OTHER: "requests",
}


class RunState:
    """What the steps of a run share; it sends nothing and decides no job's next step.

    `waiting` holds one small record for each task that is waited for.

    Args:
        context: One run's view of the world.
        scheduler: What may be sent when.
        options: What this invocation asks for.
        progress: Who is told.
        notify: Wakes the loop: something has changed.
    """

    def __init__(
        self,
        context: RunContext,
        scheduler: Scheduler,
        options: RunOptions,
        progress: Progress,
        notify: Callable[[], None],
    ) -> None:
        self.context = context
        self.scheduler = scheduler
        self.options = options
        self.progress = progress
        self.notify = notify
        self.limits = LimitsKept(context, scheduler)
        self.tally = Tally()
        self.reasons = Reasons()
        self.health = Health(options.patience_s)
        self.key = KeyCheck()
        self.balance = Balance()
        self.waits = Waits(PATIENCE_S if options.patience_s is None else options.patience_s)
        # What all who work at the manifest have together is counted in the database.
        own = options if context.quota is None else replace(options, limit=None, canary=None)
        self.admission = Admission(own)
        lease = context.lease
        self.share = WholeManifest(context) if lease is None else ClaimedJobs(context, lease.worker)
        self.backlog = Backlog(context, self.admission, options, self.share)
        self.times = Times(context, scheduler, self.backlog, progress)
        self.waiting: dict[int, poll_step.WaitingTask] = {}
        self.aside = Aside()
        # Since when this run has met a trouble of a row, and how often.
        self._troubled: dict[tuple[int, Trouble], tuple[float, int]] = {}
        self.told: set[int] = set()  # rows that are left as they are, for a reason that was noted
        self.holds_keys = False  # the service was seen to answer a repeat with a conflict
        self.unanswered: dict[int, str] = {}  # row: id of the jobs whose last request was trouble
        self.uploads_open = 0
        self.chained = False  # some jobs take others' results
        self.freeing = 0  # jobs of which it is being looked at who waits for them
        self.question_open = False
        self.counts_downloads = False  # results come from the API itself: its rate is for them as well
        self.alone = False  # no other run was there when we waited for one
        self._odd_words: set[str] = set()  # that were told of
        self._breaker = Breaker()
        self._missing_task_ids = MissingTaskIds()
        self._told_of_nothing = self._unread = False
        self._surprises: dict[str, float] = {}  # id: the credits that were told

    def now(self) -> float:
        """Return the run's monotonic clock, in seconds."""
        return self.context.clock.mono_s()

    def draw_back_off(self, attempt: int, *, base_s: float, cap_s: float) -> float:
        """Return how long to wait before trying something once more, in seconds."""
        return retry_delay_s(attempt, base_s=base_s, cap_s=cap_s, draw=0.5 + self.context.draw() / 2)

    # --- why it may end ---

    def stop(self, code: Exit, why: str) -> None:
        """Begin nothing more, let open requests finish and be recorded."""
        self.reasons.halt(code, why)
        self.notify()

    def hold(self, held: bool) -> None:
        """Hold new submits, or go on with them."""
        self.admission.paused = held
        self.notify()

    def stop_for(self, exc: RunnerError) -> None:
        """Stop in good order for an error that has words for people."""
        self.stop(exc.exit_code, in_words(exc))

    def handle_stop(self, code: Exit | None, answer: Answer, words: str = "") -> None:
        """Act on a reason to stop that an answer has brought; whether our key is refused, `answered` finds out."""
        words = words or answer.words()
        if code is Exit.CREDITS and not self.reasons.no_new:
            self.reasons.stop_submitting(
                code, f"the account has too few credits: {words}; top it up, then run again"
            )
            self.progress.event("no_credits", message=words)

    # --- what answers teach ---

    def answered(self, call: Call, answer: Answer, sent_at: float, job: Job | None = None) -> None:
        """Tell everyone who learns from answers.

        Args:
            call: What was asked; a poll is one also where it asks for fresh urls.
            answer: The answer.
            sent_at: When the request was sent.
            job: What it was for, as it is now.
        """
        now = self.now()
        self.times.look()
        bad = self.health.answered(answer, now, self.context.draw(), sent_at=sent_at)
        row = job.row if job is not None else None
        self._refused_key(self.key.answered(call, answer, now, sent_at=sent_at, row=row), call)
        if call is Call.SUBMIT:
            self._submit_answered(answer, now, sent_at)
        quota = is_quota(answer)
        if quota:
            # A submit in doubt still is a repeat: its earlier send may have been accepted.
            repeat = job is not None and job.in_doubt > 0
            self._wait(self.waits.refused(call, answer, now, sent_at=sent_at, repeat=repeat))
        elif answer.meaning is Meaning.OK:
            self.waits.passed(call, sent_at=sent_at)
        self._told(call, answer, now, sent_at, bad=bad, quota=quota)
        if job is not None and not bad:
            self.unanswered.pop(job.row, None)
        if bad:
            if job is not None:
                self.unanswered[job.row] = job.id
            whose = {"job": job.id, "attempt": job.attempts} if job is not None else {}
            whose |= {"request_id": answer.request_id}
            self.progress.event("trouble", call=call.value, what=self.health.last_trouble, **whose)

    def question_answered(self, answer: Answer, sent_at: float) -> None:
        """Tell those who asked."""
        now = self.now()
        bad = self.health.question_answered(answer, now, self.context.draw(), sent_at=sent_at)
        self._refused_key(self.key.question_answered(answer, now, sent_at=sent_at))
        self.times.asked(now)
        self.tally.questions += 1
        self._told(Call.OTHER, answer, now, sent_at, bad=bad, quota=is_quota(answer))

    def _told(
        self, call: Call, answer: Answer, now: float, sent_at: float, *, bad: bool, quota: bool
    ) -> None:
        rejected = answer.meaning is Meaning.RATE_LIMITED
        self.scheduler.answered(
            now,
            call,
            sent_at=sent_at,
            rejected=rejected and not quota,
            retry_after_s=answer.retry_after_s,
            ok=not (bad or rejected),
            draw=self.context.draw(),
        )
        self.tally.statuses[str(answer.status or answer.meaning.value)] += 1
        self.tally.rejections += rejected
        self.limits.answered(now, refused=rejected and not quota)

    def _submit_answered(self, answer: Answer, now: float, sent_at: float) -> None:
        self.health.submit_answered(answer, now, self.context.draw(), sent_at=sent_at)
        if (why := self._missing_task_ids.answered(answer)) is not None and not self.reasons.no_new:
            self.reasons.stop_submitting(Exit.TEMPORARY, why)

    def _refused_key(self, why: str | None, call: Call = Call.OTHER) -> None:
        if why is None:
            return
        words = f"the service rejects the API key: {why}"
        if call in (Call.SUBMIT, Call.UPLOAD) and (self.waiting or self.backlog.to_download):
            # It may ask for tasks still: what is paid is brought home.
            self.reasons.stop_submitting(Exit.REFUSED, words)
            self.notify()
        else:
            self.stop(Exit.REFUSED, words)

    def _wait(self, wait: Wait) -> None:
        if wait.is_news():
            self.progress.event("warning", message=self.wait_in_words(wait))

    def wait_in_words(self, wait: Wait) -> str:
        """Return what the service asks us to wait for, and until when, by the clock on the wall here."""
        what = WAITING_FOR[wait.call]
        if not wait.named:
            return f"the service accepts no more {what} for now and does not say until when ({wait.words})"
        until = moment(self.context.clock.wall_s(), wait.until - self.now())
        return f"the service asks to wait until {until} before more {what} ({wait.words})"

    def wait_for(self, job: Job, *, age_s: float, reserved: float | None = None) -> None:
        """Wait for a job's task: it is `age_s` seconds old."""
        assert job.task_id is not None
        submitted = epoch(job.submitted_at) or self.context.clock.wall_s()
        self.waiting[job.row] = poll_step.WaitingTask(
            task_id=job.task_id,
            word=job.task_status or "",
            late_at_s=submitted + self.context.settings.limits.job_deadline_s,
            reserved=reserved,
            unwatched=age_s > 0.0,
            troubled=job.trouble is not None,
            job=job.id,
            model=job.model,
            shape=job.shape,
            since_s=submitted,
        )
        self.scheduler.waiting.add(job.row, shape=job.shape, group=job.model, age_s=age_s, now=self.now())

    def waits_for(self, most: int) -> tuple[OutJob, ...]:
        """Return the tasks that run at the service, the oldest first; none where there are more."""
        if not 0 < len(self.waiting) <= most:
            return ()
        now = self.context.clock.wall_s()
        found = []
        for each in sorted(self.waiting.values(), key=lambda each: each.since_s):
            curve = self.scheduler.durations.curve(each.shape, group=each.model)
            usual_s = curve.age(0.5) if curve is not None else None
            found.append(OutJob(job=each.job, age_s=max(now - each.since_s, 0.0), usual_s=usual_s))
        return tuple(found)

    def drop(self, row: int) -> None:
        """Wait for this task no longer in this run; whoever says so notes why, if it is to be known."""
        self.waiting.pop(row, None)
        self.scheduler.waiting.remove(row)

    def is_given_up(self, row: int, trouble: Trouble, *, age_s: float) -> bool:
        """Whether this run, which has just met a trouble, should wait no longer for it to pass.

        Args:
            row: Whose it is.
            trouble: What it is.
            age_s: For how long the row has told of it, in seconds.
        """
        since, tries = self._troubled.get((row, trouble), (self.now(), 0))
        self._troubled[row, trouble] = since, tries + 1
        return is_given_up(trouble, age_s=max(age_s, self.now() - since), tries=tries + 1)

    def trouble_is_over(self, row: int) -> None:
        """A better answer has come."""
        for trouble in Trouble:
            self._troubled.pop((row, trouble), None)

    def set_aside(self, job: Job) -> None:
        """Let this task keep the run from nothing: it is asked for again when another one ends well."""
        self.drop(job.row)
        self.told.add(job.row)
        self.aside.put(job, self.now())

    def ask_again(self) -> None:
        """A task has ended well: what kept those that were set aside from it may be over."""
        for job in self.aside.due(self.now()):
            self.wait_for(job, age_s=self.context.settings.polling.max_s)

    def unclear_wait(self, waits_s: Sequence[float]) -> None:
        """Tell of submits that an earlier run has left unclear, where it takes a while until they go out again."""
        if waits_s and max(waits_s) >= WORTH_TELLING_S:
            these = "a submit" if len(waits_s) == 1 else f"{len(waits_s):,} submits"
            words = (
                f"{these} of an earlier run got no clear answer and may still be processed: the same keys are sent"
                f" again in {max(waits_s):.0f} s"
            )
            self.progress.event("warning", message=words)

    # --- what becomes of jobs ---

    def succeeded(self, job: Job, *, paid: Paid | None = None) -> None:
        """Its task has succeeded: the result is to be fetched."""
        self._breaker.succeeded()
        word = (job.task_status or "").strip().lower()
        if word != TaskStatus.SUCCEEDED.value and not job.oddness and word not in self._odd_words:
            self._odd_words.add(word)
            self.progress.event(
                "warning",
                message=f"the service calls tasks that have a result {job.task_status!r}, which is not documented;"
                " their results are fetched",
            )
        if paid is not None and len(self.backlog.settled) < LOOKAHEAD:
            self.backlog.settled[job.row] = job, paid
        self.backlog.to_download.append(job.row)

    def failed(self, job: Job, failure: Failure, *, again: bool = False) -> None:
        """It has failed; with `again` another round begins by the manifest's word."""
        self.tally.failed += 1
        self.progress.event(
            "failed",
            job=job.id,
            cls=failure.cls.value,
            code=failure.code,
            message=failure.message,
            again=again,
        )
        if self.admission.is_canary(job.row) and not again:
            self.reasons.stop_submitting(Exit.INCOMPLETE, "a canary failed; no more jobs were submitted")
        if (why := self._breaker.failed(failure)) is not None and not self.reasons.no_new:
            self.reasons.stop_submitting(Exit.TEMPORARY, why)

    def surprised(self, found: Surprise) -> None:
        """A payment costs many times its estimate: a person has to look before any more are made.

        A reservation that is told of, and then charged, is one surprise.
        """
        if found.credits <= MANY * self._surprises.get(found.job, 0.0):
            return
        first = not self._surprises
        self._surprises[found.job] = found.credits
        self.progress.event(
            "surprise",
            job=found.job,
            credits=found.credits,
            estimated=found.estimated,
            reserved=found.named,
            message=str(found),
        )
        if not first:  # what has to be done about it was said
            self.reasons.note(Exit.CREDITS, str(found))
            return
        self.reasons.stop_submitting(
            Exit.CREDITS,
            f"{found}; no more jobs were submitted. If it is right, run again: that accepts it and continues",
        )

    def price_unread(self, job: Job, said: str) -> None:
        """The service says in no number what a job cost: a person has to look before any more are paid for."""
        if self._unread:
            return
        self._unread, self.reasons.to_see = True, "accepts the charge and continues"
        self.reasons.stop_submitting(
            Exit.CREDITS,
            f"job {job.id}: the service says that it charged {said!r}, which is no amount we can read; it counts as"
            " reserved or expected. No more jobs were submitted: compare with `rivya-batch credits`, and run again to"
            " continue",
        )

    def not_named(self) -> None:
        """A payment has ended of which the service has named no amount."""
        self.balance.not_named()

    def balance_told(self, balance: float | None, *, counted: float) -> None:
        """Take the account's credits, and what counts as charged or reserved."""
        why = self.balance.told(balance, counted=counted)
        if why is not None and not self.reasons.no_new:
            self.reasons.to_see = "once the price is given; as it is, a few more are tried one by one"
            self.reasons.stop_submitting(Exit.CREDITS, why)

    def doubted(self, job: Job, credits: float) -> None:
        """A task that succeeded is said to cost nothing; it is counted in full. Said once."""
        if not self._told_of_nothing:
            self._told_of_nothing = True
            self.progress.event(
                "warning",
                job=job.id,
                message=f"the service says that this succeeded and cost 0 credits; it is counted as {credits:g}, as"
                " reserved or expected, and so are others like it",
            )

    def uncertain(self, job: Job, why: str) -> None:
        """Nobody can know whether it was accepted."""
        self.progress.event("uncertain", job=job.id, message=why)
        if self.admission.is_canary(job.row):
            self.reasons.stop_submitting(
                Exit.INCOMPLETE, "a canary is uncertain; no more jobs were submitted"
            )

    def credits_moved(self) -> None:
        """A payment was corrected or settled: what did not fit may fit now."""
        self.backlog.put_back(self.admission.credits_moved())

    async def has_result(self, job: Job) -> None:
        """It is done: others may have waited for that."""
        if not self.chained:
            return
        self.freeing += 1
        try:
            await self.backlog.free(job.row)
        finally:
            self.freeing -= 1

    async def plan_again(self, job: Job, *, stopped: bool) -> None:
        """A job that was sent is to be sent anew, with another body or in another round."""
        self.admission.returned(job.row)
        if not stopped:
            await self.backlog.prepare(job)


def moment(now_s: float, in_s: float) -> str:
    """Return the time of day here that is `in_s` seconds after `now_s`, with its day if that is another one."""
    now, then = (datetime.fromtimestamp(at, UTC).astimezone() for at in (now_s, now_s + in_s))
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"


def named(jobs: Mapping[int, str]) -> str:
    """Return the names of jobs as the end of a sentence; nothing where there are none."""
    if not jobs:
        return ""
    first = list(jobs.values())[:NAMED]
    more = f" and {len(jobs) - NAMED:,} more" if len(jobs) > NAMED else ""
    return f" (asked for {', '.join(first)}{more})"


def in_words(exc: RunnerError) -> str:
    """Return what happened and what to do about it, on one line."""
    return f"{exc.message}; {exc.hint}" if exc.hint else exc.message
