"""Signals, and the end of a run that does not come to its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import anyio

from runner.engine import Engine
from runner.errors import Exit, RunnerError, TemporaryTrouble, Terminated, UsageError
from runner.host.clock import Clock, rfc3339
from runner.store import catalogue
from runner.store.database import StateFile
from runner.store.troubles import as_trouble


@contextmanager
def ended_in_any_case(file: StateFile, run_id: int, clock: Clock) -> Iterator[None]:
    """Record the end of a run that does not come to its own: while it waits to start, or by a fault."""

    def leave(number: int, _frame: object) -> None:
        raise Terminated

    for number in _heeded(signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)  # until the engine drains for them
    try:
        yield
    except BaseException as exc:
        with suppress(Exception), file.transaction() as conn:
            catalogue.end_run(conn, run_id, exit_code=_exit_code(exc), stats={}, now=rfc3339(clock.wall_s()))
        raise


@contextmanager
def begun() -> Iterator[None]:
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
        case KeyboardInterrupt():
            return int(Exit.INTERRUPTED)
        case RunnerError():
            return int(exc.exit_code)
        case _:
            return int(Exit.FAULT)


def _heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    """Return those of some signals we were not started to ignore (`nohup`, a script's background job)."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


async def watch_signals(engine: Engine, announce: Callable[[str], None]) -> None:
    """First signal: drain. Second: leave at once, which is as safe as kill -9."""
    with anyio.open_signal_receiver(*_heeded(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)) as signals:
        draining = False
        async for number in signals:
            code = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED
            # A terminal that closes hangs up more than once, and nobody means "at once" by it.
            if draining and number == signal.SIGHUP:
                continue
            if draining:
                os._exit(int(code))
            draining = True
            announce("stopping: open requests are finished and recorded; once more to leave at once")
            engine.stop(code, "interrupted; tasks go on at the service; run again to go on")
