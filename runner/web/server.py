"""The live page's server: a loopback socket, and uvicorn inside somebody else's event loop.

It is a guest: it takes no signals, prints nothing, and goes within a second or two when it is cancelled,
whatever the browsers do.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import anyio
from starlette.types import ASGIApp
from uvicorn import Config, Server

from runner.web.feed import Feed

HOST = "127.0.0.1"
BACKLOG = 64
MOST_CONNECTIONS = 200
GOODBYE_S = 1


def listening_socket(port: int = 0) -> socket.socket:
    """Return a socket that listens on this machine only.

    Args:
        port: The port, or 0 for any that is free.

    Raises:
        OSError: The port is taken or not ours to take.
    """
    # Without IPPROTO_TCP asyncio leaves Nagle's algorithm on, and every answer waits for it.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def hosts_of(listener: socket.socket) -> frozenset[str]:
    """Return what the Host header of a request to this socket may say."""
    port = listener.getsockname()[1]
    return frozenset({f"{HOST}:{port}", f"localhost:{port}"})


class _Guest(Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to whose process this is."""
        yield


async def serve(app: ASGIApp, listener: socket.socket, feed: Feed) -> None:
    """Serve until cancelled; then tell the browsers how it ended, and go."""
    server = _Guest(
        Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.CRITICAL,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            # Browsers hold event streams for ever; without an end to its patience uvicorn would too.
            timeout_graceful_shutdown=GOODBYE_S,
            backlog=BACKLOG,
        )
    )

    async def listen() -> None:
        with anyio.CancelScope(shield=True):
            await server.serve([listener])

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        group.start_soon(feed.run)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await feed.finish()
                server.should_exit = True
