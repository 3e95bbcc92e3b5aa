"""One question to the service, outside a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from runner.api.account import refuse_event_loop
from runner.host.clock import SystemClock
from runner.host.environment import base_url, get_key
from runner.service.account import Account, checked_base_url
from runner.service.http import Timeouts
from runner.service.protocol import Service
from runner.service.rivya.endpoints import open_service

T = TypeVar("T")

QUICK = Timeouts(connect_s=5.0, read_s=10.0, total_s=15.0)


def ask(question: Callable[[Service], Awaitable[T]], *, key: str | None = None) -> T:
    """Open the API, ask one thing, close it.

    Args:
        question: What to ask.
        key: Another key than the environment's; an empty one for what is public.

    Raises:
        UsageError: There is an event loop in this thread, which this would hold up.
    """
    refuse_event_loop("asks the service and waits for its answer")
    account = Account(checked_base_url(base_url()), get_key() if key is None else key)

    async def asked() -> T:
        async with open_service(account, now=SystemClock().wall_s, connections=1, timeouts=QUICK) as service:
            return await question(service)

    return anyio.run(asked)
