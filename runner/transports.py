"""How bytes leave: aiohttp's connections under httpx's interface, to the API and to result hosts.

Measured at a quarter of the CPU of httpx's own connections for the same traffic (`make bench`). aiohttp is
imported when a transport is made, since that takes longer than anything else a command begins with.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from runner.addresses import Address, is_loopback, may_hold_results, not_public, read_address
from runner.errors import UsageError

LONGEST_HEADER_BYTES = 65_536  # a signed url to go to instead can be long
KEEP_S = 20.0  # how long a connection that is not used is kept


class AddressRefused(Exception):
    """A result host's name has an address that is not a public one."""

    def __init__(self, address: Address, host: str) -> None:
        super().__init__(not_public(address, host)[0])
        self.address = address
        self.host = host


@dataclass(frozen=True, slots=True)
class ResultTransport:
    """What requests to result hosts go through, and whether that is a proxy."""

    http: httpx.AsyncBaseTransport
    proxied: bool


def make_transport(base_url: str, connections: int) -> httpx.AsyncBaseTransport:
    """Return the transport requests to the API go through.

    Proxies of the environment are honoured, but not for loopback.

    Raises:
        UsageError: The environment names a proxy we cannot go through.
    """
    return _transport(connections, _proxy(base_url))


@asynccontextmanager
async def open_result_transport(base_url: str, connections: int) -> AsyncIterator[ResultTransport]:
    """Open the way to result hosts.

    A signed url goes out exactly as it is. Whatever a name is answered with at the moment we connect is
    judged then (`AddressRefused`): between a look at it and the connection its answer may change.
    """
    loopback = is_loopback(base_url)
    proxy = None if loopback else _proxy("https://result.invalid")

    def allowed(address: Address) -> bool:
        # Behind a proxy the only name we look up is the proxy's.
        return proxy is not None or may_hold_results(address, loopback=loopback)

    async with _transport(connections, proxy, allowed) as transport:
        yield ResultTransport(transport, proxy is not None)


def _transport(
    connections: int, proxy: httpx.Proxy | None, allowed: Callable[[Address], bool] = lambda _: True
) -> httpx.AsyncBaseTransport:
    _import_aiohttp()
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult
    from aiohttp.resolver import ThreadedResolver
    from httpx_aiohttp import AiohttpTransport
    from yarl import URL

    class Judging(AbstractResolver):
        """Looks up names as ever, and refuses a name with any address that is not allowed."""

        def __init__(self) -> None:
            self._names = ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await self._names.resolve(host, port, family)
            for each in found:
                if not allowed(address := read_address(each["host"])):
                    raise AddressRefused(address, host)
            return found

        async def close(self) -> None:
            await self._names.close()

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

        def __init__(self) -> None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=connections, keepalive_timeout=KEEP_S, resolver=Judging()
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                max_line_size=LONGEST_HEADER_BYTES,
                max_field_size=LONGEST_HEADER_BYTES,
            )

        def request(self, *, url: str, **rest: Any) -> Asking:
            if url.startswith("https:"):
                rest["ssl"] = _trusted()
            return Asking(self._session.request(url=URL(url, encoded=True), **rest))

        async def close(self) -> None:
            await self._session.close()

    class Transport(AiohttpTransport):
        """httpx-aiohttp's transport over such a session."""

        session: Session | None = None

        def get_client(self) -> Any:
            self.session = self.session or Session()
            return self.session

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                return await super().handle_async_request(request)
            except (aiohttp.ClientError, ValueError) as exc:  # what it has no name for in httpx's terms
                raise httpx.RemoteProtocolError(str(exc), request=request) from exc

        async def aclose(self) -> None:
            if self.session is not None:
                await self.session.close()

    # It wants a context for sessions of its own; each https request of ours brings `_trusted`.
    return Transport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), proxy=proxy)


def _import_aiohttp() -> None:
    """Import aiohttp without having it read the certificates of this machine, twice (50 to 70 ms).

    It makes two TLS contexts for requests that bring none. Each https request of ours brings one; those two
    come out trusting nobody.
    """
    if "aiohttp" in sys.modules:
        return
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        import aiohttp  # noqa: F401
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(kept)


@cache
def _trusted() -> ssl.SSLContext:
    # Reads the certificate store (30 ms): once, and not for plain http.
    return ssl.create_default_context(
        cafile=os.environ.get("SSL_CERT_FILE"), capath=os.environ.get("SSL_CERT_DIR")
    )


def never_left(exc: Exception) -> bool:
    """Say whether certainly no byte of the request was sent.

    Only a failure to connect proves that. The aiohttp transport reports a dropped connection as
    `ConnectTimeout` as well, so its own exception underneath decides.
    """
    cause = exc.__cause__
    if cause is not None and type(cause).__module__.startswith("aiohttp"):
        names = {kind.__name__ for kind in type(cause).__mro__}
        return bool(names & {"ClientConnectorError", "ConnectionTimeoutError", "InvalidUrlClientError"})
    return isinstance(
        exc, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
    )


def in_words(exc: Exception, hidden: Callable[[str], str] = str) -> str:
    """Say what went wrong on the way, for people; `hidden` takes out what nobody may read."""
    # Some say all they know of the answer so far: a line for people is enough.
    said = hidden(str(exc)).replace("\n", " ")[:200]
    if "RawResponseMessage(" in said:  # the head of an answer, with all it holds
        said = ""
    if never_left(exc):
        return f"no connection: {said}" if said else "no connection"
    if isinstance(exc, (httpx.ConnectError, httpx.ConnectTimeout)):
        # aiohttp's transport calls a connection that was dropped by this name.
        return f"the connection broke off before an answer: {said}" if said else "the connection broke off"
    if isinstance(exc, httpx.TimeoutException | TimeoutError):
        return f"no answer in time ({said})" if said else "no answer in time"
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__


def _proxy(base_url: str) -> httpx.Proxy | None:
    parts = urlsplit(base_url)
    if is_loopback(base_url) or proxy_bypass(parts.hostname or ""):
        return None
    url = getproxies().get(parts.scheme)
    if not url:
        return None
    name = f"{parts.scheme.upper()}_PROXY"
    try:
        proxy = httpx.Proxy(url)
        for word in proxy.auth or ():
            word.encode("latin-1")
    except (httpx.InvalidURL, ValueError) as exc:
        raise UsageError(f"{name} is no address of a proxy", hint="something like http://host:3128") from exc
    if proxy.url.scheme not in ("http", "https") or not proxy.url.host or (proxy.url.port or 1) > 65_535:
        raise UsageError(
            f"{name} names no proxy we can go through: {proxy.url.scheme}://{proxy.url.netloc.decode()}",
            hint="a proxy for http or https will do: something like http://host:3128",
        )
    return proxy
