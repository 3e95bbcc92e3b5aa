"""What a run does to its process, where the process is the command's own: signals, the garbage, the event loop."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio

from runner.api.run import Announce, Beside, Confirm, Run, RunRequest
from runner.api.runs.end import RunResult
from runner.errors import Exit, Terminated
from runner.service.transports import leave_others_unread

if TYPE_CHECKING:
    from runner.api.plan import Plan
    from runner.engine import Engine, Progress
    from runner.host.clock import Clock


def run(
    request: RunRequest,
    *,
    confirm: Confirm,
    announce: Announce,
    progress: Progress,
    ready: Callable[[Plan], None] | None = None,
    beside: Beside | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Run a manifest to its end, or to a reason to stop, and heed signals.

    Args:
        request: What is asked for.
        confirm: Asked before anything is spent; False ends with nothing sent.
        announce: Takes plain lines for people.
        progress: Takes what happens.
        ready: Called with the plan once nothing stands in the way any more.
        beside: Runs beside the engine until that has ended, then is cancelled; it must not raise.
        clock: For tests.

    Raises:
        RunnerError: Before anything was sent.
    """
    leave_others_unread()
    run = Run(request, confirm=confirm, announce=announce, clock=clock)
    try:
        run.begin()
        with run.ended_in_any_case():
            for number in _heeded(signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, _leave)  # until the engine drains for them
            plan = run.make_ready()
            if ready is not None:
                ready(plan)
            gc.freeze()  # what was imported stays for good: no need to look through it again and again
            besides: list[Beside] = [partial(watch_signals, announce=announce)]
            if beside is not None:
                besides.append(beside)
            ended = anyio.run(partial(run.go, progress, besides), backend_options={"use_uvloop": False})
        if ended.code in (Exit.INTERRUPTED, Exit.TERMINATED):
            # All is recorded but the end itself: another signal now would only lose that.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        return run.end(ended)
    finally:
        run.close()


def _leave(_number: int, _frame: object) -> None:
    raise Terminated


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
            again = "press Ctrl-C again" if number == signal.SIGINT else "signal again"
            announce(f"stopping: finishing open requests; {again} to quit now")
            engine.stop(code, "interrupted; your jobs keep running at the service; run again to collect them")
