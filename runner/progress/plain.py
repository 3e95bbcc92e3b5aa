"""Progress without a terminal: one line for each thing worth a line, flushed, never in the way."""

from __future__ import annotations

import time
from typing import Any, TextIO

from runner.engine import Snapshot
from runner.progress.words import credits_in_words, harmless, span

STATUS_EVERY_S = 15.0
ORDER = (
    "planned",
    "uploading",
    "ready",
    "submitting",
    "uncertain",
    "waiting",
    "downloading",
    "done",
    "failed",
    "abandoned",
)


class Lines:
    """Writes lines to a stream that may go away: a closed pipe ends the talk, not the run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def say(self, text: str) -> None:
        """Write one line; what cannot be written is dropped."""
        if self._stream is None:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError, UnicodeError):
            self._stream = None


class PlainProgress:
    """Plain lines: jobs that end, trouble, and a summary now and then."""

    def __init__(self, stream: TextIO, *, verbose: int = 0) -> None:
        self._lines = Lines(stream)
        self._verbose = verbose
        self._last = 0.0
        self._troubles: dict[str, float] = {}

    def event(self, kind: str, **data: Any) -> None:
        """Say what happened."""
        text = sentence(kind, data, verbose=self._verbose)
        if text is None:
            return
        if kind == "trouble":
            now = time.monotonic()
            if now - self._troubles.get(text, -60.0) < 10.0 and not self._verbose:
                return
            self._troubles[text] = now
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
    job = harmless(str(data.get("job") or ""))
    message = harmless(str(data.get("message") or data.get("what") or ""))
    match kind:
        case "done":
            files = ", ".join(harmless(str(name)) for name in data.get("files", ()))
            return f"done       {job}  {files}"
        case "failed":
            again = "; another round begins" if data.get("again") else ""
            return f"failed     {job}  {data.get('cls', '')}: {message}{again}"
        case "uncertain":
            return f"uncertain  {job}  {message}"
        case "overdue":
            return f"overdue    {job}  task {data.get('task_id')} runs longer than limits.job_deadline"
        case "over_job":
            return f"not sent   {job}  it costs more than max_credits_per_job"
        case "trouble":
            return f"trouble    {job or data.get('call', '')}  {message}"
        case "warning" | "canary" | "no_credits":
            return f"{kind:<10} {job}  {message}"
        case "submitted" | "succeeded" if verbose:
            return f"{kind:<10} {job}  {data.get('task_id')}"
        case _:
            return None


def status_line(view: Snapshot) -> str:
    """Return a run at one moment as one line."""
    counts = ", ".join(f"{view.counts[name]} {name}" for name in ORDER if view.counts.get(name))
    cap = f" of {credits_in_words(view.cap)}" if view.cap is not None else ""
    money = (
        f"credits {credits_in_words(view.charged)} spent + {credits_in_words(view.reserved)} reserved{cap}"
    )
    rate = f"{view.rate_per_s:.1f}/s" if view.rate_per_s else "?"
    eta = f", about {span(view.eta_s)} left" if view.eta_s is not None else ""
    return f"{counts} | {money} | {view.requests} requests at {rate}, {view.rejections} times 429{eta}"
