"""What follows from a download: the job is done, or its result is asked for again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from runner.engine.places import Places
from runner.engine.run_state import RunState
from runner.engine.waits import RATE_S
from runner.errors import Exit
from runner.lifecycle.ways import Trouble
from runner.pace.scheduler import Call
from runner.service.protocol import Meaning
from runner.steps import poll as poll_step
from runner.steps import trouble
from runner.steps.download import DownloadHandle, DownloadResult, Downloads, Fetched, note_missing

TRIES = 7  # for one result; a good 20 s in all
LONGEST_WAIT_S = 20.0
RENEW_EVERY = (
    3  # tries: a host that has been down for some of them may have been given up by the service as well
)
# A result that was given up is asked for again when another one comes home: at once, then ever less often.
SELDOM_S = 600.0
# What came whole but odd may still be in the making where it is stored: it is looked at again a while later.
SECOND_LOOK_S = 10.0
STOP_GRACE_S = 1.0  # for downloads that are nearly complete when the run is stopped
# When so many results cannot be fetched from here, nothing more is paid for; without any that came
# home, the first is enough.
OUT_OF_REACH_SHARE = 0.1
# A bucket that takes nothing is waited for so long: where it stays away, so do the results of all jobs.
BUCKET_PATIENCE_S = 900.0

Begin = Callable[[Coroutine[Any, Any, None]], object]


class Results:
    """Brings results home, and remembers when.

    Args:
        run_state: The run.
        downloads: Where results come from and where they go.
    """

    def __init__(self, run_state: RunState, downloads: Downloads) -> None:
        self._run_state = run_state
        self._downloads = downloads
        self._places = Places(run_state.context.settings.limits.downloads, downloads.slow_places)
        self._renewed: set[int] = set()
        self._given_up: dict[int, str] = {}  # row: why
        self._unlisted: set[int] = set()  # those of them that the manifest does not list
        self._again_at: dict[int, float] = {}  # those of them that another try may help
        self._out_of_reach: dict[int, str] = {}  # row: host
        self._hosts: set[str] = set()  # that delivered
        self._delivered = 0
        self._unreachable = False
        self._not_kept_since: float | None = None  # since when nothing can be put where results are kept
        self._not_kept_tries = 0
        self._put_at = -math.inf  # when one may try whether something can
        self._stop_at = math.inf
        self.done_at: deque[float] = deque(maxlen=200)  # of the last ones, by the monotonic clock

    # --- which, and when ---

    @property
    def open(self) -> int:
        """How many are being fetched."""
        return len(self._places)

    @property
    def waiting(self) -> bool:
        """Whether some wait that are slow and let go."""
        return bool(self._places.let_go)

    def begin(self, start: Begin, now: float) -> float:
        """Begin what downloads may begin; return until when nothing more is to be done here."""
        run_state = self._run_state
        to_download = run_state.backlog.to_download
        if not to_download and not self._places.let_go:
            return math.inf
        if self._not_kept_since is not None and (len(self._places) or now < self._put_at):
            return self._put_at if now < self._put_at else math.inf
        again_at = self._places.judge(now, waiting=bool(to_download))
        while to_download or self._places.let_go:
            if run_state.counts_downloads:
                limits = run_state.scheduler.limits
                if (at := limits.next_at(now)) > now or not limits.has_permit(now):
                    return min(max(at, limits.next_at(now)), again_at)
            if (taken := self._places.take(to_download)) is None:
                break
            if run_state.counts_downloads:
                run_state.scheduler.sent(now, Call.OTHER)
            row, slow = taken
            handle = DownloadHandle()
            self._places.begin(row, handle, now, slow=slow)
            start(self._fetch(row, handle, now))
            if self._not_kept_since is not None:
                break  # one tries for all
        return min(again_at, self._places.judge(now, waiting=bool(to_download)))

    def stop(self, now: float) -> float:
        """The run is stopped: have downloads let go that do not end at once; return when to ask again."""
        if self._stop_at == math.inf:
            self._stop_at = now + STOP_GRACE_S
        if now < self._stop_at:
            return self._stop_at
        self._places.stop()
        return math.inf

    # --- what comes of it ---

    async def _fetch(self, row: int, handle: DownloadHandle, began_at: float) -> None:
        """Fetch the results of one job, and see to what follows."""
        run_state = self._run_state
        run_state.tally.downloads += 1
        well = False
        try:
            result = await self._downloads.fetch(
                run_state.context,
                row,
                run_state.backlog.settled.pop(row, None),
                last=run_state.backlog.tries["download", row] + 1 >= TRIES,
                handle=handle,
            )
            well = result.fetched is Fetched.DONE
        finally:
            self._places.over(row, run_state.now(), well=well)
        if run_state.counts_downloads or result.too_fast:
            run_state.scheduler.answered(
                run_state.now(),
                Call.OTHER,
                sent_at=began_at,
                rejected=result.too_fast,
                retry_after_s=min(result.retry_after_s or 0.0, RATE_S) or None,
                ok=well,
                draw=run_state.context.draw(),
            )
            run_state.tally.rejections += result.too_fast
        run_state.counts_downloads |= result.from_api or result.too_fast
        for warning in result.warnings:
            run_state.progress.event("warning", job=result.job.id, message=warning)
        if result.hosts:
            self._hosts |= result.hosts
            self._delivered += 1
        match result.fetched:
            case Fetched.GONE:
                return
            case Fetched.STOPPED:
                self._places.let_go.append(row)
            case Fetched.DONE:
                await self._done(result)
            case _:
                await self._again(result)
        self._judge_reach(result)

    async def _done(self, result: DownloadResult) -> None:
        run_state, job = self._run_state, result.job
        run_state.tally.done += 1
        self.done_at.append(run_state.now())
        self._given_up.pop(job.row, None)
        self._again_at.pop(job.row, None)
        self._renewed.discard(job.row)
        run_state.backlog.tries.pop(("download", job.row), None)
        self._revive()
        run_state.progress.event(
            "done",
            job=job.id,
            files=[str(path) for path in result.files],
            **({"warnings": list(result.warnings)} if result.warnings else {}),
        )
        if (canaries := run_state.admission.canary_done(job.row)) is not None:
            run_state.progress.event(
                "canary", message=f"{canaries} canaries are done; continuing with the rest"
            )
        await run_state.has_result(job)

    async def _again(self, result: DownloadResult) -> None:
        run_state, job = self._run_state, result.job
        if result.not_kept:
            self._not_kept(result)
            return
        if result.came:
            run_state.progress.event("partly", job=job.id, files=[str(path) for path in result.came])
        # Without urls nobody was asked yet: its file went from the disk. What is odd is told with what becomes of it.
        if (job.urls or job.row in self._renewed) and not result.odd:
            run_state.progress.event("trouble", call="download", job=job.id, what=result.why)
        if result.too_fast:  # the gate has closed; this is no fault of the result's
            run_state.backlog.to_download.append(job.row)
            return
        tries = run_state.backlog.tries
        tries["download", job.row] += 1
        if self._enough(result, tries["download", job.row]):
            await self._give_up(result, tries["download", job.row] - TRIES)
            return
        delay_s = run_state.draw_back_off(tries["download", job.row], base_s=0.5, cap_s=LONGEST_WAIT_S)
        delay_s = max(delay_s, min(result.retry_after_s or 0.0, LONGEST_WAIT_S))
        if result.odd:
            delay_s = SECOND_LOOK_S
        if result.fetched is Fetched.LATER and tries["download", job.row] % RENEW_EVERY:
            run_state.backlog.after(delay_s, run_state.backlog.to_download, job.row)
        else:
            # The first time at once: most often a url has just expired.
            first = result.fetched is Fetched.RENEW and job.row not in self._renewed and not result.odd
            run_state.backlog.after(0.0 if first else delay_s, run_state.backlog.to_renew, job.row)
            self._renewed.add(job.row)

    def _not_kept(self, result: DownloadResult) -> None:
        """The place of the results takes none: have this one tried again, before all others."""
        run_state, now = self._run_state, self._run_state.now()
        if self._not_kept_since is None:
            self._not_kept_since, self._not_kept_tries = now, 0
        self._not_kept_tries += 1
        self._put_at = now + run_state.draw_back_off(self._not_kept_tries, base_s=0.5, cap_s=LONGEST_WAIT_S)
        run_state.backlog.to_download.appendleft(result.job.row)
        if now - self._not_kept_since >= BUCKET_PATIENCE_S:
            run_state.stop(Exit.TEMPORARY, f"{result.why}; what is paid is kept: run again to go on")

    def _enough(self, result: DownloadResult, tries: int) -> bool:
        """Whether this run has tried often enough for one result."""
        job = result.job
        if job.urls or job.trouble is None:
            return result.fetched is Fetched.NEVER or tries >= TRIES
        age_s = trouble.age_s(self._run_state.context, job)
        return self._run_state.is_given_up(job.row, Trouble(job.trouble), age_s=age_s)

    async def _give_up(self, result: DownloadResult, more_tries: int) -> None:
        run_state, job = self._run_state, result.job
        await run_state.context.writer.write(
            lambda conn: note_missing(conn, run_state.context, job.row, result.why)
        )
        why = result.why if job.urls else job.error_message or result.why
        self._given_up[job.row] = (
            f"the result of {job.id} cannot be fetched now ({why}); the next run tries again"
        )
        if not job.listed:
            self._unlisted.add(job.row)
        if result.fetched is not Fetched.NEVER:
            wait_s = min(LONGEST_WAIT_S * (2.0 ** min(more_tries, 10) - 1.0), SELDOM_S)
            self._again_at[job.row] = run_state.now() + wait_s

    def _revive(self) -> None:
        """A result has come home, so what kept others away may be over, though the run has long gone on."""
        now = self._run_state.now()
        for row in [row for row, at in self._again_at.items() if at <= now]:
            del self._again_at[row]
            self._run_state.backlog.to_renew.append(row)

    # --- whether results can be had here at all ---

    @property
    def out_of_reach(self) -> bool:
        """Whether nothing new is paid for: results cannot be got to from here, or cannot be kept."""
        return self._unreachable or self._not_kept_since is not None

    def _judge_reach(self, result: DownloadResult) -> None:
        """Hold new submits while the hosts of results cannot be got to, and let them go on once they can."""
        job, host = result.job, result.out_of_reach
        if result.not_kept or self._not_kept_since is not None:
            self._judge_keeping(result)
            return
        self._out_of_reach.pop(job.row, None)
        if result.fetched not in (Fetched.DONE, Fetched.STOPPED) and host and host not in self._hosts:
            self._out_of_reach[job.row] = host
        unreachable = len(self._out_of_reach) > OUT_OF_REACH_SHARE * self._delivered
        if unreachable == self._unreachable:
            return
        self._unreachable = unreachable
        self._run_state.progress.event(
            "warning",
            message=f"no new jobs are submitted while results cannot be fetched from here: {result.why}"
            if unreachable
            else "results can be fetched again: submits continue",
        )
        self._run_state.notify()

    def _judge_keeping(self, result: DownloadResult) -> None:
        """Hold new submits while results cannot be put where they are kept, and let them go on once they can."""
        if result.not_kept and self._not_kept_tries == 1:
            message = f"no new jobs are submitted while results cannot be kept: {result.why}"
        elif not result.not_kept and (result.fetched is Fetched.DONE or result.came):
            self._not_kept_since = None
            message = "results can be kept again: submits continue"
        else:
            return
        self._run_state.progress.event("warning", message=message)
        self._run_state.notify()

    def note_missing(self) -> None:
        """At the end of a run, say that some results were not to be had."""
        if self._unreachable:
            self._run_state.reasons.note(
                Exit.TEMPORARY,
                "results cannot be fetched from here, so no more jobs were submitted;"
                " what is paid is kept: fix the connection, or wait until their host is back, then run again",
            )
        for row, why in self._given_up.items():
            if row not in self._unlisted:  # nobody asks for those any more: they are told of, and end no run
                self._run_state.reasons.note(Exit.TEMPORARY, why)

    async def renew(self, row: int, sent_at: float) -> None:
        """Ask for fresh urls of one result."""
        run_state = self._run_state
        job, answer = await poll_step.renew(run_state.context, row)
        run_state.tally.polls += 1
        run_state.answered(Call.POLL, answer, sent_at, job)
        if answer.meaning in (Meaning.RATE_LIMITED, Meaning.KEY_REFUSED):
            run_state.backlog.to_renew.append(row)
        else:
            run_state.backlog.to_download.append(row)
