"""uvicorn around the application: a loopback socket, a way to cut connections, a quick stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from runner.sandbox.answers import TRANSPORT

BACKLOG = 2048
FLUSH_S = 0.25


class NotLoopback(ValueError):
    """The sandbox listens on this machine only."""


def listening_socket(host: str, port: int, *, remembered: int | None = None) -> socket.socket:
    """Return a bound socket on a loopback address.

    Args:
        host: An address, or `localhost`.
        port: The port, or 0 for `remembered` if that is free, else any.
        remembered: The port used last time.

    Raises:
        NotLoopback: The address can be reached from elsewhere.
        OSError: The port asked for is taken.
    """
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    if not address.is_loopback:
        raise NotLoopback(f"{host} is not a loopback address")
    for wanted in [port] if port or not remembered else [remembered, 0]:
        try:
            return _bind(address, wanted)
        except OSError:
            if wanted != remembered or port:
                raise
    raise AssertionError("unreachable")


def _bind(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # Without IPPROTO_TCP asyncio leaves Nagle's algorithm on, and every answer waits for it.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class CuttableProtocol(H11Protocol):
    """Hands each request its connection, so that an answer can end it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wrap the application once for this connection."""
        super().connection_made(transport)
        inner = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT] = transport
            await inner(scope, receive, send)

        self.app = with_transport


class SandboxServer(Server):
    """Says when it listens, flushes the log now and then, and stops at the first signal."""

    def __init__(self, app: Starlette, *, announce: Callable[[], None]) -> None:
        super().__init__(
            Config(
                app,
                http=CuttableProtocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
                backlog=BACKLOG,
            )
        )
        self._app = app
        self._announce = announce

    async def on_tick(self, counter: int) -> bool:
        """Renew the Date header: it is the sandbox's own clock that it tells."""
        ending = await super().on_tick(counter)
        ahead_s = self._app.state.service.options.clock_ahead_s
        date = formatdate(time.time() + ahead_s, usegmt=True).encode()
        self.server_state.default_headers = [(b"date", date)]
        return ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order on SIGINT and SIGTERM, without raising the signal again afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        yield

    async def main_loop(self) -> None:
        """Wait until someone says stop; meanwhile keep the request log on disk."""
        stopping: asyncio.Event = self._app.state.misbehaviour.stopping
        storage = self._app.state.service.storage
        counter = 0
        await self.on_tick(counter)
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), FLUSH_S)
            counter += 10  # each tick renews the Date header
            await self.on_tick(counter)
            storage.flush()
        await asyncio.sleep(0.02)  # the answer to POST /_sandbox/stop is still on its way
        self.force_exit = True

    def stop(self) -> None:
        """End now; hanging requests end with it."""
        self._app.state.misbehaviour.stopping.set()
