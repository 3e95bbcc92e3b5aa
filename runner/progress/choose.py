"""Which progress suits where we are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.progress.events import EventStream
from runner.progress.log_lines import LogLines
from runner.progress.logfile import LogFile
from runner.progress.plain import PlainProgress

if TYPE_CHECKING:
    from runner.engine import Progress, Snapshot


class Chosen:
    """A progress that begins once it is known that the run begins: a live view must not cover a question."""

    def __init__(self, *, as_json: bool, verbose: int, title: str, log_json: bool = False) -> None:
        # What moves the cursor is not for a log, even where CI keeps it through a terminal.
        plain = as_json or log_json or verbose or os.environ.get("TERM") == "dumb" or os.environ.get("CI")
        self._live = not plain and sys.stderr.isatty()
        self._title = title
        self._log: LogFile | None = None
        self._gone = False
        self._watcher: Callable[[Snapshot], None] | None = None
        self._listeners: Sequence[Progress] = ()
        self._log_json = log_json
        self._about: dict[str, Any] = {}
        self._page = ""
        self._inner: Any = PlainProgress(sys.stderr, verbose=verbose)
        if as_json:
            self._inner = EventStream(sys.stdout)
        elif log_json:
            self._inner = LogLines(sys.stderr, self._about)

    def begin(self, name: str, **plan: Any) -> None:
        """Start showing the run of a manifest; `plan` is what programs are told of it first."""
        if isinstance(self._inner, EventStream):
            self._inner.write("plan", {"manifest": name, **plan})
        elif self._live:
            from rich.console import Console

            from runner.progress.live import LiveProgress

            console = Console(
                stderr=True, markup=False, highlight=False, emoji=False, no_color="NO_COLOR" in os.environ
            )
            self._inner = LiveProgress(console, name)
            self._inner.page = self._page

    def show_page(self, url: str) -> None:
        """Keep the address of a live page in sight, where there is a view that stays in place."""
        self._page = url
        if hasattr(self._inner, "page"):
            self._inner.page = url

    def log_to(self, path: Path, *, manifest: str, run: int | None) -> None:
        """Write what happens to a log file too."""
        self._about.update(manifest=manifest, run=run)
        self._log = LogFile(path, self._about if self._log_json else None)

    def show_to(self, watcher: Callable[[Snapshot], None]) -> None:
        """Let somebody else see how it goes too: a page."""
        self._watcher = watcher

    def tell_also(self, listeners: Sequence[Progress]) -> None:
        """Let others hear what happens too."""
        self._listeners = listeners

    def event(self, kind: str, **data: Any) -> None:
        """Pass on what happened."""
        self._show("event", kind, **data)
        for each in self._listeners:
            each.event(kind, **data)
        if self._log is not None:
            self._log.write(kind, data)

    def announce(self, text: str) -> None:
        """Pass on a line for people."""
        if isinstance(self._inner, EventStream):
            self._show("event", "notice", message=text)
        else:
            self._show("say", text)
        if self._log is not None:
            self._log.write("notice", {"message": text})

    def snapshot(self, view: Snapshot) -> None:
        """Pass on how it goes."""
        self._show("snapshot", view)
        if self._log is not None:
            self._log.flush()
        if self._watcher is not None:
            self._watcher(view)
        for each in self._listeners:
            each.snapshot(view)

    def _show(self, what: str, /, *arguments: Any, **data: Any) -> None:
        """Show something; a terminal that has gone ends the showing, never the run."""
        if self._gone:
            return
        try:
            getattr(self._inner, what)(*arguments, **data)
        except (OSError, ValueError):
            self._gone = True

    def write(self, kind: str, data: dict[str, Any]) -> None:
        """Write a line of the event stream."""
        self._inner.write(kind, data)

    def close(self) -> None:
        """Give the terminal back."""
        self._show("close")
        if self._log is not None:
            self._log.close()


def choose_progress(*, as_json: bool, verbose: int, title: str, log_json: bool = False) -> Chosen:
    """Return events for programs, a live view for a terminal, plain lines (or lines of JSON) for everything else."""
    return Chosen(as_json=as_json, verbose=verbose, title=title, log_json=log_json)
