"""The way of questions for permits to the database and back (`pace/shared.py`), on a connection of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from runner.engine.run_state import RunState
from runner.errors import RunnerError, TemporaryTrouble
from runner.pace.shared import Asks, Granted, SharedLimits, grant
from runner.store import pacers
from runner.store.lease import Lease


class Permits:
    """Asks for permits whenever a run wants some. Without the database there are none: nothing is sent.

    Args:
        run_state: The run.
        limits: The account's limits, as it keeps to them.
        lease: Whose database is asked.
    """

    def __init__(self, run_state: RunState, limits: SharedLimits, lease: Lease) -> None:
        self._run_state = run_state
        self._limits = limits
        self._lease = lease
        self._wanted = anyio.Event()
        self._one = anyio.CapacityLimiter(1)
        limits.wake = lambda: self._wanted.set()

    async def serve(self) -> None:
        """Ask until cancelled, or until nobody answers."""
        run_state = self._run_state
        while True:
            self._wanted = anyio.Event()
            if (asks := self._limits.asks()) is None:
                await self._wanted.wait()
                continue
            asked_at = run_state.now()
            try:
                told, server_s = await anyio.to_thread.run_sync(
                    partial(self._ask, asks), abandon_on_cancel=True, limiter=self._one
                )
            except RunnerError as exc:
                run_state.stop_for(exc)
                return
            self._limits.granted(told, server_s=server_s, asked_at=asked_at, answered_at=run_state.now())
            run_state.notify()

    def _ask(self, asks: Asks) -> tuple[Granted, float]:
        account = self._run_state.context.account.name

        def change(kept: Mapping[str, Any] | None, now_s: float) -> tuple[Mapping[str, Any], Granted]:
            return grant(kept, asks, now=now_s)

        try:
            return pacers.change(self._lease.file.beside(), account, change)
        except TemporaryTrouble:  # it lay idle until somebody in between forgot it
            return pacers.change(self._lease.file.beside(anew=True), account, change)
