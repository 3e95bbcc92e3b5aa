"""Progress for collectors of logs: each thing that happens as one line of JSON on stderr (`--log-format json`)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from runner.engine import Snapshot
from runner.progress.logfile import json_line
from runner.progress.plain import STATUS_EVERY_S, LineWriter


class LogLines:
    """Writes lines of JSON.

    Args:
        stream: Where to.
        about: What each line says of the run; filled in once that is known.
    """

    def __init__(self, stream: TextIO, about: Mapping[str, Any]) -> None:
        self._lines = LineWriter(stream)
        self._about = about
        self._last = 0.0

    def event(self, kind: str, **data: Any) -> None:
        """Write what happened."""
        self._lines.say(json_line(kind, data, self._about))

    def say(self, text: str) -> None:
        """Write a line for people as a notice."""
        self.event("notice", message=text)

    def snapshot(self, view: Snapshot) -> None:
        """Write how it goes, now and then."""
        now = time.monotonic()
        if now - self._last >= STATUS_EVERY_S or not self._last:
            self._last = now
            self.event("status", **asdict(view))

    def close(self) -> None:
        """Nothing to put back."""
