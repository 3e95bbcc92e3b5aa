"""The live page's server: a loopback socket, and uvicorn inside somebody else's event loop.

It is a guest: it takes no signals, prints nothing, and goes within a second or two when it is cancelled,
whatever the browsers do. Nor does it take more descriptors than it was given, whoever comes: anybody on this
machine may connect, and who has not shown the page's secret is let go before who has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import anyio
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from runner.web.feed import Feed

HOST = "127.0.0.1"
BACKLOG = 128
MOST_VISITS, FEWEST_VISITS = 200, 4
DESCRIPTORS_EACH = 2  # a connection, and the file it is sent
STRANGERS_SHARE = 4  # one in so many visits may be a stranger's
SECRET_WITHIN_S = 5.0  # a browser asks at once
PATIENT_S = 0.05  # who has been here for less is not let go for the next one
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


def descriptors_for(left: int | None) -> int:
    """Return how many descriptors a page may take: a quarter of those its process may still open (None: no limit)."""
    most = MOST_VISITS if left is None else min(MOST_VISITS, left // 4 // DESCRIPTORS_EACH)
    return max(most, FEWEST_VISITS) * DESCRIPTORS_EACH


class Visit(Protocol):
    """A connection, as far as the hall sees it."""

    def send_away(self) -> None:
        """End it now."""
        ...


class Hall:
    """Who is here: those who have shown the secret stay, strangers are few and not for long.

    Args:
        most: How many visits there may be at once.
        clock: Monotonic seconds.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._most_strangers = max(most // STRANGERS_SHARE, 1)
        self._clock = clock
        self._strangers: dict[Visit, float] = {}  # since when, the oldest first
        self._known: set[Visit] = set()
        self.left = anyio.Event()  # somebody has left since it was made

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def make_room(self) -> float:
        """Make room for one more; return how long to wait before asking again, 0 where there is room.

        The oldest stranger has to go for the next one: a browser asks as soon as it is let in.
        """
        if len(self) < self._most and len(self._strangers) < self._most_strangers:
            return 0.0
        if not self._strangers:
            return math.inf  # all are known: until one leaves
        oldest, since = next(iter(self._strangers.items()))
        wait_s = since + PATIENT_S - self._clock()
        if wait_s > 0:
            return wait_s
        self._send_away(oldest)
        return 0.0

    def enter(self, visit: Visit) -> None:
        """Let a stranger in."""
        self._strangers[visit] = self._clock()

    def recognise(self, visit: Visit) -> None:
        """Take somebody for known who has shown the secret."""
        if self._strangers.pop(visit, None) is not None:
            self._known.add(visit)

    def leave(self, visit: Visit) -> None:
        """Forget a visit that is over."""
        self._strangers.pop(visit, None)
        self._known.discard(visit)
        self.left.set()
        self.left = anyio.Event()

    def clear_out(self) -> None:
        """Send those away who have been here for long and shown nothing."""
        late = self._clock() - SECRET_WITHIN_S
        for visit in [visit for visit, since in self._strangers.items() if since <= late]:
            self._send_away(visit)

    def _send_away(self, visit: Visit) -> None:
        self.leave(visit)
        visit.send_away()


class _Connection(H11Protocol):
    """A visit, as uvicorn serves it."""

    def __init__(self, hall: Hall, server: Server) -> None:
        super().__init__(config=server.config, server_state=server.server_state, app_state={})
        self._hall = hall
        app = self.app

        async def with_name(scope: Any, receive: Any, send: Any) -> None:
            scope["rivya.recognise"] = lambda: hall.recognise(self)
            await app(scope, receive, send)

        self.app = with_name

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._hall.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hall.leave(self)
        super().connection_lost(exc)

    def send_away(self) -> None:
        self.transport.abort()


async def _let_in(listener: socket.socket, hall: Hall, server: Server) -> None:
    """Take connections one by one, as there is room: the others wait with the kernel and cost us nothing."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    while True:
        while (wait_s := hall.make_room()) > 0:
            with anyio.move_on_after(wait_s):
                await hall.left.wait()
        try:
            visitor, _ = await loop.sock_accept(listener)
            await loop.connect_accepted_socket(lambda: _Connection(hall, server), visitor)
        except OSError:  # the visitor is gone again, or there are no descriptors left
            await anyio.sleep(0.1)


class _Guest(Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to whose process this is."""
        yield


async def serve(app: ASGIApp, listener: socket.socket, feed: Feed, *, descriptors: int) -> None:
    """Serve until cancelled, with so many descriptors; then tell the browsers how it ended, and go."""
    hall = Hall(descriptors // DESCRIPTORS_EACH)
    config = Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Browsers keep event streams open for ever; without a timeout uvicorn would wait for them.
        timeout_graceful_shutdown=GOODBYE_S,
    )
    config.load()
    server = _Guest(config)

    async def listen() -> None:
        with anyio.CancelScope(shield=True):
            await server.serve([])

    async def clear_out() -> None:
        while True:
            await anyio.sleep(1.0)
            hall.clear_out()

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        group.start_soon(_let_in, listener, hall, server)
        group.start_soon(clear_out)
        group.start_soon(feed.run)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await feed.finish()
                server.should_exit = True
