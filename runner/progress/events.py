"""Progress for programs: one JSON object a line, versioned (`schemas/events.schema.json`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from runner.engine import Snapshot
from runner.host.clock import rfc3339
from runner.progress.plain import LineWriter
from runner.words import json_text

EVENTS_VERSION = 1
STATUS_EVERY_S = 2.0


class EventLines:
    """Makes `{"v": 1, "type": …, "at": …, …}` lines of what happens.

    Args:
        say: Takes each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last = 0.0

    def event(self, kind: str, **data: Any) -> None:
        """Write one event."""
        self.write(kind, data)

    def write(self, kind: str, data: dict[str, Any]) -> None:
        """Write one line of a type."""
        line = {"v": EVENTS_VERSION, "type": kind, "at": rfc3339(time.time()), **data}
        self._say(json_text(line, default=str))

    def snapshot(self, view: Snapshot) -> None:
        """Write a `status` line every other second."""
        now = time.monotonic()
        if now - self._last >= STATUS_EVERY_S:
            self._last = now
            self.write("status", asdict(view))


class EventStream(EventLines):
    """Writes the lines to a stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(LineWriter(stream).say)

    def close(self) -> None:
        """Nothing to put back."""
