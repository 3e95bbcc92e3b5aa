"""aiohttp's connections under httpx's interface. Imported late: nothing a command begins with takes as long."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from runner.service.addresses import Address, read_address
from runner.service.transports.connection_errors import AddressRefused, BrokenOff, NotConnected

LONGEST_HEADER_BYTES = 65_536  # a signed url to go to instead can be long
KEEP_S = 20.0  # how long a connection that is not used is kept

# Whether the request this task makes has got its connection: what fails before that was never sent.
_connected: ContextVar[bool] = ContextVar("connected", default=False)


class Judging(AbstractResolver):
    """Looks up names as ever, and refuses a name with any address that is not allowed."""

    def __init__(self, allowed: Callable[[str, Address], bool]) -> None:
        self._allowed = allowed
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            AddressRefused: One of them is not allowed.
            OSError: There are none.
        """
        try:
            found = await self._names.resolve(host, port, family)
        except UnicodeError as exc:  # no name of a host at all
            raise socket.gaierror(socket.EAI_NONAME, f"it is not a host name: {exc}") from exc
        for each in found:
            if not self._allowed(host, address := read_address(each["host"])):
                raise AddressRefused(address, host)
        return found

    async def close(self) -> None:
        """Close what looks up the names."""
        await self._names.close()


class Connector(aiohttp.TCPConnector):
    """Connections that say when a request has got one."""

    async def connect(self, *request: Any, **more: Any) -> Any:
        """Return a connection for a request; everything it may need first (a proxy, TLS) has been done."""
        connection = await super().connect(*request, **more)
        _connected.set(True)
        return connection


class Asking:
    """A request about to be made: the part of aiohttp's that httpx-aiohttp uses."""

    def __init__(self, request: Any) -> None:
        self._request = request

    async def __aenter__(self) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await self._request.__aenter__()
        if response.reason and not response.reason.isascii():
            response.reason = None  # in no known encoding, and nobody reads it
        return response


class Session:
    """A session that takes urls as they are: given text, aiohttp would quote a signed url anew."""

    def __init__(
        self,
        connections: int,
        bypass: Callable[[str], bool],
        allowed: Callable[[str, Address], bool],
        trust: Callable[[], ssl.SSLContext],
    ) -> None:
        self._bypass = bypass
        self._trust = trust
        self._session = aiohttp.ClientSession(
            connector=Connector(limit=connections, keepalive_timeout=KEEP_S, resolver=Judging(allowed)),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=LONGEST_HEADER_BYTES,
            max_field_size=LONGEST_HEADER_BYTES,
        )

    def request(self, *, url: str, **rest: Any) -> Asking:
        """Return a request; one over https proves its host, one to a host in NO_PROXY goes there itself."""
        if url.startswith("https:"):
            rest["ssl"] = self._trust()
        target = URL(url, encoded=True)
        if rest["proxy"] is not None and self._bypass(target.raw_authority):
            rest |= dict.fromkeys(("proxy", "proxy_auth", "proxy_headers"))
        return Asking(self._session.request(url=target, **rest))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


class Transport(AiohttpTransport):
    """httpx-aiohttp's transport over such a session.

    Its errors tell apart what was never sent (`NotConnected`) and what may have arrived. A request that is
    cancelled tells it by its extension `connected`.
    """

    def __init__(
        self,
        connections: int,
        proxy: httpx.Proxy | None,
        bypass: Callable[[str], bool],
        allowed: Callable[[str, Address], bool],
        trust: Callable[[], ssl.SSLContext],
    ) -> None:
        # It wants a context for sessions of its own; each https request of ours brings one.
        super().__init__(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), proxy=proxy)
        self._session: Session | None = None
        self._make = partial(Session, connections, bypass, allowed, trust)

    def get_client(self) -> Any:
        """Return the session; made within the event loop."""
        self._session = self._session or self._make()
        return self._session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer, once the head of that is there."""
        _connected.set(False)
        try:
            return await super().handle_async_request(request)
        except AddressRefused:
            raise
        except (httpx.RequestError, aiohttp.ClientError, OSError, ValueError) as exc:
            cause = exc.__cause__ if isinstance(exc, httpx.RequestError) and exc.__cause__ else exc
            found = self._in_our_terms(exc, cause)
            found.request = request
            raise found from cause
        finally:
            request.extensions["connected"] = _connected.get()

    def _in_our_terms(self, exc: Exception, cause: BaseException) -> httpx.RequestError:
        if not _connected.get():
            url = self.proxy.url if self.proxy is not None else None
            return NotConnected(
                "it took too long" if isinstance(cause, TimeoutError) else str(exc),
                proxy=f"{url.host}:{url.port}" if url is not None else None,
            )
        if isinstance(exc, httpx.ConnectTimeout):  # what it calls a connection that was dropped
            return BrokenOff(str(exc))
        if isinstance(exc, httpx.RequestError):
            return exc
        return httpx.RemoteProtocolError(str(exc))  # what it has no name for in httpx's terms

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
