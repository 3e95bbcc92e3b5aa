"""Being woken when somebody has committed something in a state database at a server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio
import anyio.to_thread

from runner.errors import RunnerError
from runner.host.workspace import DatabasePlace
from runner.store.waiting import WaitsForNews, waits_for

LISTEN_S = 5.0  # so long a thread listens at most before it asks whether it still should
AGAIN_S = 3.0  # after the server went away


async def on_news(place: DatabasePlace, wake: Callable[[], None], *, work: bool = False) -> None:
    """Call `wake` whenever something was committed, until cancelled; a server that goes away is looked for again.

    With `work`, only when a manifest was handed over.
    """
    one = anyio.CapacityLimiter(1)
    waiting: WaitsForNews | None = None
    try:
        while True:
            try:
                if waiting is None:
                    waiting = await anyio.to_thread.run_sync(
                        partial(waits_for, place, work=work), limiter=one
                    )
                    wake()  # what has happened before is no news any more
                if await anyio.to_thread.run_sync(
                    waiting.wait, LISTEN_S, limiter=one, abandon_on_cancel=True
                ):
                    wake()
            except RunnerError:
                if waiting is not None:
                    waiting.close()
                waiting = None
                await anyio.sleep(AGAIN_S)
    finally:
        if waiting is not None:
            with suppress(RunnerError):
                waiting.close()
