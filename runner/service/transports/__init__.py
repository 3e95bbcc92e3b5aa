"""How bytes leave: aiohttp's connections under httpx's interface, to the API and to result hosts.

Measured at a quarter of the CPU of httpx's own connections for the same traffic (`make bench`). aiohttp is
imported for the first request, since that takes longer than anything else a command begins with: a run with nothing left
to do makes none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from runner.errors import UsageError
from runner.host import surroundings
from runner.host.surroundings import Finding
from runner.service.addresses import Address, is_loopback, may_hold_results, read_address
from runner.service.transports.connection_errors import AddressRefused, in_words, look_at, never_left
from runner.service.transports.trust import importing, leave_others_unread, trusted

__all__ = (
    "AddressRefused",
    "ResultTransport",
    "check",
    "get_ready",
    "in_words",
    "knock",
    "leave_others_unread",
    "look_at",
    "make_transport",
    "never_left",
    "open_result_transport",
    "proxy_of",
    "trusted",
)


class AtFirstRequest(httpx.AsyncBaseTransport):
    """A transport that is made when the first request wants it.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._make = make
        self._made: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer, once the head of that is there."""
        if self._made is None:
            self._made = self._make()
        return await self._made.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._made is not None:
            await self._made.aclose()


@dataclass(frozen=True, slots=True)
class ResultTransport:
    """What requests to result hosts go through, whether that is a proxy, and which names may have which addresses.

    Hosts in NO_PROXY are asked without the proxy.
    """

    http: httpx.AsyncBaseTransport
    proxied: bool
    allowed: Callable[[str, Address], bool]


def check(base_url: str) -> None:
    """Look at what the environment says of the way to a service, without a request.

    Raises:
        UsageError: It names a proxy we cannot go through, or certificates that cannot be read.
    """
    _proxy(base_url)
    if urlsplit(base_url).scheme == "https":
        trusted()


def proxy_of(base_url: str) -> str | None:
    """Return the proxy that requests to a service go through, without its password; None where they go straight.

    Raises:
        UsageError: As for `check`.
    """
    proxy = _proxy(base_url)
    return f"{proxy.url.scheme}://{proxy.url.netloc.decode()}" if proxy is not None else None


def make_transport(base_url: str, connections: int) -> httpx.AsyncBaseTransport:
    """Return the transport requests to the API go through.

    Proxies of the environment are honoured, but not for loopback.

    Raises:
        UsageError: As for `check`.
    """
    check(base_url)
    return _transport(connections, _proxy(base_url))


@asynccontextmanager
async def open_result_transport(base_url: str, connections: int) -> AsyncIterator[ResultTransport]:
    """Open the way to result hosts.

    A signed url goes out exactly as it is. Whatever a name is answered with at the moment we connect is
    judged then (`AddressRefused`): between a look at it and the connection its answer may change.
    """
    loopback = is_loopback(base_url)
    proxy = None if loopback else _proxy("https://result.invalid")

    def allowed(name: str, address: Address) -> bool:
        itself = proxy is not None and name == proxy.url.host
        return itself or may_hold_results(address, loopback=loopback)

    async with _transport(connections, proxy, allowed) as transport:
        yield ResultTransport(transport, proxy is not None, allowed)


async def knock(way: ResultTransport, host: str, *, agent: str, timeout_s: float) -> Finding | None:
    """Connect to a host of results just as a fetch would, for a HEAD of nothing in particular.

    Returns:
        What stands in between, if that is this machine or its network; `fine` when it answered anything. None
        when it did not, for reasons of its own.
    """
    name = urlsplit(f"https://{host}").hostname or ""
    try:
        address = read_address(name)
    except ValueError:
        pass
    else:
        if not way.allowed(name, address):
            return surroundings.no_results_from(address, name)
    request = httpx.Request(
        "HEAD",
        f"https://{host}/",
        headers={"Accept": "*/*", "User-Agent": agent},
        extensions={"timeout": httpx.Timeout(timeout_s).as_dict()},
    )
    try:
        response = await way.http.handle_async_request(request)
    except (httpx.HTTPError, AddressRefused) as exc:
        return look_at(exc)
    await response.aclose()
    return surroundings.answers(host)


def get_ready() -> None:
    """Import what transports are made of; for whoever must not be kept waiting by the first request."""
    with importing():
        import runner.service.transports._aiohttp  # noqa: F401


def _transport(
    connections: int, proxy: httpx.Proxy | None, allowed: Callable[[str, Address], bool] = lambda *_: True
) -> httpx.AsyncBaseTransport:
    def make() -> httpx.AsyncBaseTransport:
        get_ready()
        from runner.service.transports._aiohttp import Transport

        return Transport(connections, proxy, proxy_bypass, allowed, trusted)

    return AtFirstRequest(make)


def _proxy(base_url: str) -> httpx.Proxy | None:
    parts = urlsplit(base_url)
    if is_loopback(base_url) or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    name = f"{parts.scheme}_proxy"
    url = proxies.get(parts.scheme)
    if not url and proxies.get("all", "").startswith(("http://", "https://")):
        # Proxy tools set it to a SOCKS one for programs of another kind, beside the two that are for us.
        name, url = "all_proxy", proxies["all"]
    if not url:
        return None
    name = name.upper()
    try:
        proxy = httpx.Proxy(url)
        for word in proxy.auth or ():
            word.encode("latin-1")
    except (httpx.InvalidURL, ValueError) as exc:
        raise UsageError(f"{name} is not a proxy address", hint="something like http://host:3128") from exc
    if proxy.url.scheme not in ("http", "https") or not proxy.url.host or (proxy.url.port or 1) > 65_535:
        raise UsageError(
            f"{name} names no proxy we can go through: {proxy.url.scheme}://{proxy.url.netloc.decode()}",
            hint="a proxy for http or https will do: something like http://host:3128",
        )
    return proxy
