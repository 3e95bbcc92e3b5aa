"""Progress without a terminal: one line for each thing worth a line, flushed, never in the way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TextIO

from runner.engine import Snapshot
from runner.progress.figures import counted, credits_in_words, near, padded, span, times
from runner.words import harmless, harmless_lines

STATUS_EVERY_S = 15.0
SOON_S = 1.0  # less than that is left only while something takes longer than it should
KIND_WIDTH = 11  # columns of what a line is about
JOB_WIDTH = 24  # columns of a job's id; a longer one pushes its line to the right
ORDER = (
    "planned",
    "uploading",
    "submitting",
    "uncertain",
    "waiting",
    "downloading",
    "done",
    "failed",
    "abandoned",
    "off",
)
NAMES = {"off": "switched off"}  # of what is called otherwise in the database


class LineWriter:
    """Writes lines to a stream that may go away: a closed pipe ends the talk, not the run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def say(self, text: str) -> None:
        """Write one line; what cannot be written is dropped."""
        if self._stream is None:
            return
        try:
            self._stream.write(harmless_lines(text) + "\n")
            self._stream.flush()
        except (OSError, ValueError, UnicodeError):
            self._stream = None


class PlainProgress:
    """Plain lines: jobs that end, trouble, and a summary now and then."""

    def __init__(self, stream: TextIO, *, verbose: int = 0) -> None:
        self._lines = LineWriter(stream)
        self._verbose = verbose
        self._last = 0.0
        self._troubles: dict[object, float] = {}

    def event(self, kind: str, **data: Any) -> None:
        """Say what happened."""
        text = sentence(kind, data, verbose=self._verbose)
        if text is None:
            return
        if kind == "trouble":
            now = time.monotonic()
            # Of one job it is told; that others meet the same trouble of the service is no news.
            call = data.get("call")
            what = text if call == "download" else (call, data.get("what"))
            if now - self._troubles.get(what, -60.0) < 10.0 and not self._verbose:
                return
            self._troubles[what] = now
        self._lines.say(text)

    def say(self, text: str) -> None:
        """Say a line."""
        self._lines.say(harmless(text, limit=1000))

    def snapshot(self, view: Snapshot) -> None:
        """Say how the run goes, now and then."""
        now = time.monotonic()
        if now - self._last < STATUS_EVERY_S and self._last:
            return
        first = not self._last
        self._last = now
        if not first:
            self._lines.say(status_line(view))

    def close(self) -> None:
        """Nothing to put back."""


def sentence(kind: str, data: dict[str, Any], *, verbose: int = 0) -> str | None:
    """Return what an event says to people, None for what is not worth a line."""

    def said(name: str) -> str:
        return harmless(str(data.get(name) or ""))

    job = padded(said("job"), JOB_WIDTH)
    message = said("message") or said("what")
    match kind:
        case "done":
            files = ", ".join(harmless(near(str(name))) for name in data.get("files", ()))
            return f"done       {job}  {files}"
        case "partly":
            files = ", ".join(harmless(near(str(name))) for name in data.get("files", ()))
            return f"partly     {job}  {files}"
        case "failed":
            again = " (trying again; costs credits)" if data.get("again") else ""
            return f"failed     {job}  {said('cls')}: {message}{again}"
        case "uncertain":
            return f"uncertain  {job}  {message}"
        case "overdue":
            return f"overdue    {job}  task {said('task_id')} runs longer than limits.job_deadline"
        case "over_job":
            return f"not sent   {job}  it costs more than max_credits_per_job"
        case "trouble":
            return f"trouble    {job if job.strip() else padded(said('call'), JOB_WIDTH)}  {message}"
        case "surprise":
            return f"surprise   {message}"
        case "no_credits":
            return f"no credits {message}"
        case "warning" | "canary" | "notice":
            return f"{kind:<10} " + (f"{job}  {message}" if job.strip() else message)
        case "submitted" | "succeeded" if verbose:
            return f"{kind:<10} {job}  {said('task_id')}"
        case _:
            return None


def states(counts: Mapping[str, int]) -> str:
    """Return jobs by state: `3 waiting, 1,200 done`."""
    return ", ".join(f"{counts[name]:,} {NAMES.get(name, name)}" for name in ORDER if counts.get(name))


def status_line(view: Snapshot) -> str:
    """Return a run at one moment as one line."""
    counts = states(view.counts)
    cap = f" of {credits_in_words(view.cap)}" if view.cap is not None else ""
    money = (
        f"credits {credits_in_words(view.charged)} spent + {credits_in_words(view.reserved)} reserved{cap}"
    )
    return f"{counts} | {money} | {traffic(view.requests, view.rejections, view.rate_per_s)}{time_left(view)}"


def time_left(view: Snapshot) -> str:
    """Return how long a run still takes, or what it waits for: `, waiting for 1 job (shot-7): 18 s, usually 2 s`."""
    if late := [each for each in view.waiting_for if each.usual_s is None or each.age_s > each.usual_s]:
        first, more = late[0], len(view.waiting_for) - 1
        usual = f", usually {span(first.usual_s)}" if first.usual_s is not None else ""
        others = f" and {more} more" if more else ""
        jobs = counted(len(view.waiting_for), "job")
        return f", waiting for {jobs} ({harmless(first.job, limit=40)}{others}): {span(first.age_s)} so far{usual}"
    return f", about {span(view.eta_s)} left" if view.eta_s is not None and view.eta_s >= SOON_S else ""


def traffic(requests: int, rejections: int, rate_per_s: float | None = None) -> str:
    """Return what a run asked of the service: `40 requests, up to 9.8/s, slowed down twice (429)`."""
    rate = f", up to {rate_per_s:.1f}/s" if rate_per_s else ""  # what the run allows itself
    slowed = f", slowed down {times(rejections)} (429)" if rejections else ""
    return f"{counted(requests, 'request')}{rate}{slowed}"
