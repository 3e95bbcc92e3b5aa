"""aiohttp's connections under httpx's interface. Imported late: nothing a command begins with takes as long."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from httpx_aiohttp.transport import map_aiohttp_exceptions
from yarl import URL

from runner.service.addresses import Address, read_address
from runner.service.transports.connection_errors import AddressRefused, BrokenOff, NotConnected

LONGEST_HEADER_BYTES = 65_536  # a signed url to go to instead can be long
KEEP_S = 20.0  # how long a connection that is not used is kept
PIECE_BYTES = 16_384

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


class Body(httpx.AsyncByteStream):
    """The body of an answer, as aiohttp reads it."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.content.iter_chunked(PIECE_BYTES):
                yield piece
        except Exception:
            with map_aiohttp_exceptions():
                raise

    async def aclose(self) -> None:
        """Give the connection back."""
        try:
            await self._answer.__aexit__(None, None, None)
        except Exception:
            with map_aiohttp_exceptions():
                raise


class Transport(httpx.AsyncBaseTransport):
    """aiohttp's session as a transport of httpx.

    Its errors tell apart what was never sent (`NotConnected`) and what may have arrived. A request that is
    cancelled tells it by its extension `connected`.

    Urls go out as they are: given text, aiohttp would quote a signed url anew. A request over https proves its host;
    one to a host in NO_PROXY goes there itself.
    """

    def __init__(
        self,
        connections: int,
        proxy: httpx.Proxy | None,
        bypass: Callable[[str], bool],
        allowed: Callable[[str, Address], bool],
        trust: Callable[[], ssl.SSLContext],
    ) -> None:
        self._connections = connections
        self._proxy = proxy
        self._through: dict[str, Any] = {}
        if proxy is not None:
            self._through = {
                "proxy": str(proxy.url),
                "proxy_auth": aiohttp.BasicAuth(*proxy.auth) if proxy.auth else None,
                "proxy_headers": proxy.headers,
            }
        self._bypass = bypass
        self._allowed = allowed
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        """Return the session; made within the event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(
                    limit=self._connections, keepalive_timeout=KEEP_S, resolver=Judging(self._allowed)
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                max_line_size=LONGEST_HEADER_BYTES,
                max_field_size=LONGEST_HEADER_BYTES,
            )
        return self._session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer, once the head of that is there."""
        _connected.set(False)
        try:
            try:
                answer = await self._ask(request)
            except Exception:
                with map_aiohttp_exceptions():
                    raise
        except AddressRefused:
            raise
        except (httpx.RequestError, aiohttp.ClientError, OSError, ValueError) as exc:
            cause = exc.__cause__ if isinstance(exc, httpx.RequestError) and exc.__cause__ else exc
            found = self._in_our_terms(exc, cause)
            found.request = request
            raise found from cause
        finally:
            request.extensions["connected"] = _connected.get()
        return httpx.Response(
            answer.status,
            headers=answer.raw_headers,
            stream=Body(answer),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def _ask(self, request: httpx.Request) -> aiohttp.ClientResponse:
        url = str(request.url)
        target = URL(url, encoded=True)
        more: dict[str, Any] = {}
        if url.startswith("https:"):
            more["ssl"] = self._trust()
        if self._through and not self._bypass(target.raw_authority):
            more |= self._through
        headers = [
            (name.decode("latin-1").lower(), said.decode("latin-1")) for name, said in request.headers.raw
        ]
        body: bytes | httpx.AsyncByteStream | None
        try:
            body = request.content or None
        except httpx.RequestNotRead:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            body = request.stream
            headers = [(name, said) for name, said in headers if name != "transfer-encoding"]
        waits = request.extensions.get("timeout", {})
        return await self._open().request(
            request.method,
            target,
            headers=headers,
            data=body,
            allow_redirects=False,
            auto_decompress=False,
            compress=False,
            timeout=aiohttp.ClientTimeout(
                sock_connect=waits.get("connect"), sock_read=waits.get("read"), connect=waits.get("pool")
            ),
            **more,
        )

    def _in_our_terms(self, exc: Exception, cause: BaseException) -> httpx.RequestError:
        if not _connected.get():
            url = self._proxy.url if self._proxy is not None else None
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
