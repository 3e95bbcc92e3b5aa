"""What went wrong on the way: whether anything had left, and what to say of it."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from runner.host import surroundings
from runner.host.surroundings import OTHER_BUNDLES, Finding
from runner.service.addresses import Address, not_public
from runner.words import harmless


class AddressRefused(Exception):
    """A result host's name has an address that is not a public one."""

    def __init__(self, address: Address, host: str) -> None:
        super().__init__(not_public(address, host)[0])
        self.address = address
        self.host = host


class NotConnected(httpx.ConnectError):
    """There was no connection, so nothing was sent. `proxy` is what we were to go through, as `host:port`."""

    def __init__(self, message: str, *, proxy: str | None) -> None:
        super().__init__(message)
        self.proxy = proxy


class BrokenOff(httpx.ReadError):
    """There was a connection, and it went before an answer came: the request may have arrived."""


def never_left(exc: Exception) -> bool:
    """Say whether certainly no byte of the request was sent: only a failure to connect proves that."""
    return isinstance(
        exc, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
    )


def in_words(exc: Exception, hidden: Callable[[str], str] = str) -> str:
    """Say what went wrong on the way, for people; `hidden` takes out what nobody may read."""
    finding = look_at(exc)
    if finding is not None:
        return f"no connection: {harmless(hidden(finding.found))}"
    said = harmless(_said(exc, hidden), limit=200)
    if never_left(exc):
        return f"no connection: {said}" if said else "no connection"
    if isinstance(exc, BrokenOff):
        return f"the connection closed before an answer: {said}" if said else "the connection closed"
    if isinstance(exc, httpx.TimeoutException | TimeoutError):
        return f"no answer in time ({said})" if said else "no answer in time"
    if isinstance(exc, httpx.DecodingError):
        return f"what came cannot be unpacked ({said})" if said else "what came cannot be unpacked"
    if isinstance(exc, httpx.NetworkError):
        return f"the connection broke off: {said}" if said else "the connection broke off"
    return said or type(exc).__name__


def _said(exc: Exception, hidden: Callable[[str], str]) -> str:
    """Return what an error of the libraries below says, without what only a programmer can read."""
    for each in (exc, exc.__cause__):
        at, why = getattr(each, "host", None), getattr(each, "os_error", None)
        if at and isinstance(why, OSError):
            return (
                f"{hidden(str(at))}:{getattr(each, 'port', None) or '?'} cannot be connected to ({_why(why)})"
            )
        if hasattr(each, "request_info"):  # what came is no answer; it goes on with the bytes
            message = hidden(str(getattr(each, "message", ""))).strip()
            found = _BYTES.split(message.split("\n")[0])[0]
            return (
                f"what came is no HTTP answer ({found.strip(' :')})"
                if found
                else "what came is no HTTP answer"
            )
    text = hidden(str(exc))[:_MOST_CHARS]
    for pattern, instead in _UNREADABLE:
        text = re.sub(pattern, instead, text)
    return text.strip(" :,([<")


_MOST_CHARS = 2000  # of what an error says, which may be the head of an answer
_BYTES = re.compile(r"\bb['\"]")
# Errors within errors; numbers that their words repeat; objects, up to the end: they hold others.
_UNREADABLE = (
    (r"<\w+: (?:\d+, )?(?:message=)?['\"]?([^'\"<>]*)['\"]?[^<>]*>", r"\1"),
    (r"\b\w*(?:Error|Exception|Timeout)\((?:-?\d+, )?['\"]?([^'\"()]*)['\"]?[^()]*\)", r"\1"),
    (r"\[Errno -?\d+\] ?", ""),
    (r"(?s:(?:<[^<>]*\bat 0x[0-9a-fA-F]|<class '|\b[A-Z]\w+(?:<[A-Z]\w*)?\(\w+=).*)", ""),
)


def look_at(exc: Exception) -> Finding | None:
    """Return what a failure to connect says of this machine and its network; None where it says nothing."""
    if isinstance(exc, AddressRefused):
        return surroundings.no_results_from(exc.address, exc.host)
    if not isinstance(exc, NotConnected):
        return None
    cause: Any = exc.__cause__
    kind = type(cause).__name__
    if kind == "ClientHttpProxyError":
        return surroundings.proxy_refused(
            exc.proxy or "", host=cause.request_info.url.host, status=cause.status
        )
    host = str(getattr(cause, "host", ""))
    inner = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None)
    match inner:
        case ssl.SSLCertVerificationError():
            return _unproven(host, inner)
        case ssl.SSLError():
            return surroundings.no_tls(host, reason=inner.reason or "")
        case socket.gaierror():
            return surroundings.no_name(host, why=inner.strerror or str(inner))
        case OSError() if kind == "ClientProxyConnectionError":
            return surroundings.no_proxy(exc.proxy or host, why=_why(inner))
        case OSError(errno=number) if number in _NO_WAY:
            return surroundings.no_way(host, why=_why(inner))
    return None


# What this machine itself says of a way: nobody at the other end was reached.
_NO_WAY = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM})


def _unproven(host: str, error: ssl.SSLCertVerificationError) -> Finding:
    return surroundings.unproven(
        host,
        code=getattr(error, "verify_code", None),
        message=str(getattr(error, "verify_message", "") or error.reason or ""),
        now=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        environment=os.environ,
        missing=frozenset(name for name in OTHER_BUNDLES if not Path(os.environ.get(name, "")).exists()),
    )


def _why(error: OSError) -> str:
    # asyncio puts the address into the words: the name alone is enough for people.
    return os.strerror(error.errno) if error.errno else str(error)
