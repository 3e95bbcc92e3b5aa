"""The end of a run that does not come to its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from runner.errors import Exit, RunnerError, TemporaryTrouble, Terminated, UsageError
from runner.host.clock import Clock, rfc3339
from runner.store import runs
from runner.store.database import StateFile
from runner.store.troubles import as_trouble


@contextmanager
def ended_in_any_case(file: StateFile, run_id: int, clock: Clock) -> Iterator[None]:
    """Record the end of a run that does not come to its own: while it waits to start, or by a fault."""
    try:
        yield
    except BaseException as exc:
        with suppress(Exception), file.transaction() as conn:
            runs.end(conn, run_id, exit_code=_exit_code(exc), stats={}, now=rfc3339(clock.wall_s()))
        raise


@contextmanager
def once_begun() -> Iterator[None]:
    """Whatever can no longer be used once a run has begun is trouble to be mended: something may have been sent."""
    try:
        yield
    except Exception as exc:
        found = exc if isinstance(exc, RunnerError) else as_trouble(exc)
        if isinstance(found, UsageError):
            raise TemporaryTrouble(found.message, hint=found.hint) from exc
        raise


def _exit_code(exc: BaseException) -> int:
    match exc:
        case Terminated():
            return int(Exit.TERMINATED)
        case KeyboardInterrupt() | asyncio.CancelledError():
            return int(Exit.INTERRUPTED)
        case RunnerError():
            return int(exc.exit_code)
        case _:
            return int(Exit.FAULT)
