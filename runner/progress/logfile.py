"""The log file beside the database: what happened and when, for the morning after."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from runner.host.clock import rfc3339

LARGE_BYTES = 20_000_000
# What goes as it should is handed to the system within a second, with the next view of the run: a flush costs more than
# the line.
ROUTINE = frozenset({"submitted", "succeeded", "done"})


def json_line(kind: str, data: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Return what happened as one line of JSON: `{"at": …, "event": …, "manifest": …, "run": 7, "job": …}`."""
    line = {"at": rfc3339(time.time()), "event": kind, **about, **data}
    return json.dumps(line, ensure_ascii=True, default=str)


class LogFile:
    """Appends one line an event. A log that cannot be written (a full disk) is no reason to stop a run.

    Args:
        path: The file.
        about: What each line says of the run, where lines are JSON; None: they are text with JSON behind.
    """

    def __init__(self, path: Path, about: Mapping[str, Any] | None = None) -> None:
        self._about = about
        self._file: TextIO | None = None
        with suppress(OSError):
            if path.exists() and path.stat().st_size > LARGE_BYTES:
                path.replace(path.with_name(path.name + ".1"))
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")

    def write(self, kind: str, data: dict[str, Any]) -> None:
        """Append a line: time, what, and its data as JSON."""
        if self._file is None:
            return
        with suppress(OSError, ValueError):
            if self._about is not None:
                self._file.write(json_line(kind, data, self._about) + "\n")
            else:
                text = json.dumps(data, ensure_ascii=True, default=str)
                self._file.write(f"{rfc3339(time.time())} {kind} {text}\n")
            if kind not in ROUTINE:
                self._file.flush()

    def flush(self) -> None:
        """Hand over what was written."""
        if self._file is not None:
            with suppress(OSError, ValueError):
                self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
