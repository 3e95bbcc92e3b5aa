"""Which service is meant, and where nobody may wait for it."""

from __future__ import annotations

import sys

from runner.errors import UsageError
from runner.host.environment import base_url
from runner.model import SANDBOX_URL
from runner.service.account import checked_base_url


def service_of(*, sandbox: bool) -> str:
    """Return the name under which what a service did is remembered: its base URL; all sandboxes have one.

    Raises:
        UsageError: `RIVYA_BASE_URL` is no base URL.
    """
    return SANDBOX_URL if sandbox else checked_base_url(base_url())


def refuse_event_loop(does: str) -> None:
    """Refuse to wait for the network in a thread whose event loop that would hold up.

    Args:
        does: What is waited for: `asks the service`.

    Raises:
        UsageError: There is an event loop in this thread.
    """
    asyncio = sys.modules.get("asyncio")  # a program without it has no event loop
    try:
        if asyncio is None:
            return
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"this {does}, and there is an event loop in this thread",
        hint="call it in another: anyio.to_thread.run_sync",
    )
