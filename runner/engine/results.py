"""What follows from a download: the job is done, or its result is asked for again."""

from __future__ import annotations

from collections import deque

from runner.engine.floor import Floor
from runner.errors import Exit
from runner.machine import Meaning
from runner.scheduler import Call
from runner.steps import poll as polling
from runner.steps.download import DownloadResult, Downloads, Fetched

TRIES = 7  # for one result; a good 20 s in all
LONGEST_WAIT_S = 20.0
# A result that was given up is asked for again when another one comes home: at once, then ever less often.
SELDOM_S = 600.0


class Results:
    """Brings results home, and remembers when.

    Args:
        floor: The run.
        downloads: Where results come from and where they go.
    """

    def __init__(self, floor: Floor, downloads: Downloads) -> None:
        self._floor = floor
        self._downloads = downloads
        self._renewed: set[int] = set()
        self._given_up: dict[int, str] = {}  # row: why
        self._again_at: dict[int, float] = {}  # those of them that another try may help
        self.done_at: deque[float] = deque(maxlen=200)  # of the last ones, by the monotonic clock

    async def fetch(self, row: int, began_at: float) -> None:
        """Fetch the results of one job, and see to what follows."""
        floor = self._floor
        floor.tally.downloads += 1
        result = await self._downloads.fetch(floor.desk, row, floor.backlog.settled.pop(row, None))
        if floor.counts_downloads or result.too_fast:
            floor.scheduler.answered(
                floor.now(),
                Call.OTHER,
                sent_at=began_at,
                rejected=result.too_fast,
                retry_after_s=result.retry_after_s,
                ok=result.fetched is Fetched.DONE,
                draw=floor.desk.draw(),
            )
            floor.tally.rejections += result.too_fast
        floor.counts_downloads |= result.from_api or result.too_fast
        for warning in result.warnings:
            floor.progress.event("warning", job=result.job.id, message=warning)
        if result.fetched is Fetched.GONE:
            return
        if result.fetched is Fetched.DONE:
            self._done(result)
        else:
            self._again(result)

    def _done(self, result: DownloadResult) -> None:
        floor, job = self._floor, result.job
        floor.tally.done += 1
        self.done_at.append(floor.now())
        self._given_up.pop(job.row, None)
        self._revive()
        floor.progress.event("done", job=job.id, files=[str(path) for path in result.files])
        if (canaries := floor.admission.canary_done(job.row)) is not None:
            floor.progress.event("canary", message=f"{canaries} canaries are done; going on with the rest")

    def _again(self, result: DownloadResult) -> None:
        floor, job = self._floor, result.job
        if job.urls or job.row in self._renewed:  # else nobody was asked yet: its file went from the disk
            floor.progress.event("trouble", call="download", job=job.id, what=result.why)
        if result.too_fast:  # the gate has closed; this is no fault of the result's
            floor.backlog.to_download.append(job.row)
            return
        tries = floor.backlog.tries
        tries["download", job.row] += 1
        if result.fetched is Fetched.NEVER or tries["download", job.row] >= TRIES:
            self._give_up(result, tries["download", job.row] - TRIES)
            return
        delay_s = floor.draw_back_off(tries["download", job.row], base_s=0.5, cap_s=LONGEST_WAIT_S)
        delay_s = max(delay_s, min(result.retry_after_s or 0.0, LONGEST_WAIT_S))
        if result.fetched is Fetched.LATER:
            floor.backlog.after(delay_s, floor.backlog.to_download, job.row)
        else:
            # The first time at once: most often a url has just expired.
            first = job.row not in self._renewed
            floor.backlog.after(0.0 if first else delay_s, floor.backlog.to_renew, job.row)
            self._renewed.add(job.row)

    def _give_up(self, result: DownloadResult, more_tries: int) -> None:
        floor, job = self._floor, result.job
        self._given_up[job.row] = (
            f"the result of {job.id} cannot be fetched now ({result.why}); it is paid and kept"
        )
        if result.fetched is not Fetched.NEVER:
            wait_s = min(LONGEST_WAIT_S * (2.0 ** min(more_tries, 10) - 1.0), SELDOM_S)
            self._again_at[job.row] = floor.now() + wait_s

    def _revive(self) -> None:
        """A result has come home, so what kept others away may be over, though the run has long gone on."""
        now = self._floor.now()
        for row in [row for row, at in self._again_at.items() if at <= now]:
            del self._again_at[row]
            self._floor.backlog.to_renew.append(row)

    def note_missing(self) -> None:
        """At the end of a run, say that some results were not to be had."""
        for why in self._given_up.values():
            self._floor.reasons.note(Exit.TEMPORARY, why)

    async def renew(self, row: int, sent_at: float) -> None:
        """Ask for fresh urls of one result."""
        floor = self._floor
        _, answer = await polling.renew(floor.desk, row)
        floor.tally.polls += 1
        floor.answered(Call.OTHER, answer, sent_at)
        if answer.meaning is Meaning.KEY_REFUSED:
            floor.heed(Exit.REFUSED, answer.words())
        elif answer.meaning is Meaning.RATE_LIMITED:
            floor.backlog.to_renew.append(row)
        else:
            floor.backlog.to_download.append(row)
