"""The API client: the one module from which our key leaves the machine.

It sends, reads, and reports what came back as a `Reply`; it decides nothing. It never retries (the
engine does), never follows a redirect, and takes an answer only up to a size and a deadline.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

import anyio
import httpx

from runner import __version__
from runner.errors import UsageError
from runner.lifecycle.machine import Reply
from runner.model import Json, Kind
from runner.pace.backoff import http_date_s, parse_retry_after
from runner.service.addresses import is_loopback
from runner.service.hiding import MARK, KeyHider, each_text, hider_of
from runner.service.transports import in_words, look_at, make_transport, never_left
from runner.words import harmless

MAX_ANSWER_BYTES = 8_000_000
USER_AGENT = f"rivya-batch/{__version__}"
_HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Whom we talk to, and as whom. The key itself never appears in a repr."""

    base_url: str
    key: str = field(repr=False)
    alias: str = ""  # a lasting name of a service whose address changes (the sandbox)

    @property
    def service(self) -> str:
        """The name under which a service's tasks, prices and durations are remembered."""
        return self.alias or self.base_url

    @property
    def key12(self) -> str:
        """The first 12 hex digits of the key's SHA-256: enough to tell keys apart, useless to anyone else."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:12]

    @property
    def hider(self) -> KeyHider:
        """What takes the key out of everything that was said by others, before it is recorded or shown."""
        return hider_of(self.key)

    @property
    def name(self) -> str:
        """The name under which rates and uploads of this account are remembered."""
        return f"{self.service} {self.key12}"

    def serves(self, url: str) -> bool:
        """Say whether a url is on the service's own host and port."""
        return _origin(url) == _origin(self.base_url)

    def counts(self, url: str) -> bool:
        """Say whether a request for a url is one to the API itself, so under its rate."""
        return self.serves(url) and urlsplit(url).path.startswith(f"{urlsplit(self.base_url).path}/api/")

    def absolute(self, url: str) -> str:
        """Return a url as it is, or a bare path of the service under its own host; byte for byte."""
        if not url.startswith("/"):
            return url
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}:{url}" if url.startswith("//") else f"{parts.scheme}://{parts.netloc}{url}"

    def to_ask(self, url: str) -> str:
        """Return a url the service gave as it has to be asked for: whole, and with the key that it held.

        No other host is ever sent the key; a url of another host that held it stays without.
        """
        url = self.absolute(url)
        return self.hider.restored(url, in_url=True) if self.serves(url) else url

    def gives_away(self, url: str) -> bool:
        """Say whether to ask for a url would tell our key to another host than the service's own."""
        if self.serves(url):
            return False
        return MARK in unquote(url) or self.hider.text(url) != url

    @property
    def loopback(self) -> bool:
        """Whether the service is on this machine."""
        return is_loopback(self.base_url)


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    return parts.scheme, (parts.hostname or "").lower(), port


def checked_base_url(text: str) -> str:
    """Return a base url in the one spelling its service is known by.

    The scheme and the host in small letters, no default port, no slash at the end.

    Raises:
        UsageError: It is not https (plain http only for loopback), or holds more than host and path.
    """
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise UsageError(f"RIVYA_BASE_URL is not a url: {text!r}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"RIVYA_BASE_URL is not a url: {text!r}", hint="something like https://rivya.ai")
    if any(mark in url for mark in "@?#\\") or any(char.isspace() or not char.isprintable() for char in url):
        raise UsageError("RIVYA_BASE_URL must hold a host only: no user, no password, no query")
    if parts.scheme == "http" and not is_loopback(url):
        raise UsageError(
            f"refusing to send a key over plain http to {parts.hostname}",
            hint="use https; http is for loopback only",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    standard = {"http": 80, "https": 443}[parts.scheme]
    port = f":{parts.port}" if parts.port not in (None, standard) else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def same_service(one: str, other: str) -> bool:
    """Return whether two base urls name one service, however an earlier version may have spelled it.

    `sandbox:` is a service too.
    """
    try:
        return one == other or checked_base_url(one) == checked_base_url(other)
    except UsageError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long we wait, in seconds: to connect, between two pieces of an answer, for all of it."""

    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 60.0


class Api:
    """The endpoints of the Rivya AI Public API v1 that a batch run needs.

    Every method returns a `Reply` and raises nothing that has to do with the network. Requests go to the
    transport itself: of what `httpx.AsyncClient` would add (redirects, cookies, credentials from files)
    nothing is wanted here, and it costs a third of a request's CPU (`make bench`).
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        account: Account,
        *,
        now: Callable[[], float],
        timeouts: Timeouts,
        heard: Callable[[float | None], None],
    ) -> None:
        self._transport = transport
        self.account = account
        self._hider = account.hider
        self._now = now
        self._heard = heard
        self._timeouts = timeouts

    async def submit(
        self, body: bytes, key: str, *, still_allowed: Callable[[], bool] | None = None
    ) -> Reply:
        """POST /api/v1/generations with exactly these bytes under this idempotency key.

        `still_allowed` is asked once there is a connection, before the body goes out: a laptop may have
        slept for hours while it connected.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        content: bytes | AsyncIterator[bytes] = body
        if still_allowed is not None:
            headers["Content-Length"] = str(len(body))
            content = _if(still_allowed, body)
        return await self._send("POST", "/api/v1/generations", headers=headers, content=content)

    async def poll(self, task_id: str) -> Reply:
        """GET /api/v1/generations/{taskId}."""
        return await self._send("GET", f"/api/v1/generations/{_segment(self._hider.restored(task_id))}")

    async def upload(
        self,
        content: IO[bytes],
        *,
        name: str,
        kind: Kind,
        mime: str,
        size_bytes: int,
        model: str,
        request_id: str,
    ) -> Reply:
        """POST /api/v1/files, streamed from an open file."""
        # A slow line gets a second for each 50 kB beyond the usual wait.
        total_s = self._timeouts.total_s + size_bytes / 50_000
        fields = {"kind": kind.value, "model": model, "client_request_id": request_id}
        return await self._send(
            "POST",
            "/api/v1/files",
            data=fields,
            files={"file": (ascii_name(name), content, mime)},
            total_s=total_s,
            # The wait for the first byte of an answer begins with the first byte of the file.
            timeout=httpx.Timeout(total_s, connect=self._timeouts.connect_s),
        )

    async def credits(self) -> Reply:
        """GET /api/v1/credits."""
        return await self._send("GET", "/api/v1/credits")

    async def models(self) -> Reply:
        """GET /api/v1/models; public, so our key is not sent."""
        return await self._send("GET", "/api/v1/models", with_key=False)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        with_key: bool = True,
        total_s: float | None = None,
        timeout: httpx.Timeout | None = None,
        **content: Any,
    ) -> Reply:
        sent_headers = {**_HEADERS, **(headers or {})}
        if with_key:
            sent_headers["Authorization"] = f"Bearer {self.account.key}"
        waits = timeout or httpx.Timeout(self._timeouts.read_s, connect=self._timeouts.connect_s)
        request = httpx.Request(
            method,
            _parsed(self.account.base_url + path),
            headers=sent_headers,
            extensions={"timeout": waits.as_dict()},
            **content,
        )
        limit_s = total_s or self._timeouts.total_s
        deadline = time.monotonic() + limit_s
        response: httpx.Response | None = None
        try:
            # The read timeout begins anew with each byte; a head that drips in would last for ever.
            with anyio.move_on_after(limit_s):
                response = await self._transport.handle_async_request(request)
        except Exception as exc:
            # Whatever it is: until there is a connection, nothing has left.
            connected = request.extensions.get("connected", True)
            return Reply(
                sent=connected and not never_left(exc),
                detail=in_words(exc, self._hider.text),
                finding=look_at(exc),
            )
        if response is None:
            # A name that nobody answers for, say: until there is a connection, nothing has left.
            sent = request.extensions.get("connected", True)
            return Reply(sent=sent, detail=f"no answer in time (all of {limit_s:g} s)")
        try:
            # Not by its pieces alone: after a chunk that is none, aiohttp says nothing, ever.
            with anyio.fail_after(deadline - time.monotonic()):
                raw = await _read(response)
        except Exception as exc:
            # Not even the status line of a cut answer counts: truncation is never definite (runner/README.md, rule 2).
            return Reply(
                status=None,
                detail=f"HTTP {response.status_code}, then the answer broke off: {in_words(exc, self._hider.text)}",
            )
        finally:
            await _close(response)
        return self._reply(response, raw)

    def _reply(self, response: httpx.Response, raw: bytes) -> Reply:
        headers = dict(response.headers)
        kind = headers.get("content-type", "no content type").split(";")[0].strip()
        # An answer out of a cache tells when it was put there.
        said_s = http_date_s(headers.get("date")) if headers.get("age", "0") == "0" else None
        self._heard(said_s)
        text = raw.decode("utf-8-sig", "replace")
        return Reply(
            status=response.status_code,
            data=_object(text, self._hider),
            page=_is_page(text, kind),
            retry_after_s=parse_retry_after(
                headers.get("retry-after"), now_epoch_s=self._now(), date=headers.get("date")
            ),
            request_id=harmless(self._hider.text(headers.get("x-request-id", ""))) or None,
            skew_s=said_s - self._now() if said_s is not None else None,
            detail=harmless(
                self._hider.text(f"HTTP {response.status_code}, {_body_in_words(text, kind, headers)}")
            ),
        )


_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
TITLE_IS_NEAR = 20_000  # characters from the beginning of a page
TITLE_CHARS = 80


def _body_in_words(text: str, kind: str, headers: Mapping[str, str]) -> str:
    """Return what a body is, where it is no answer: a page by its title, and by the server that says it."""
    if kind.lower() not in ("text/html", "application/xhtml+xml"):
        return kind
    found = _TITLE.search(text[:TITLE_IS_NEAR])
    title = " ".join(html.unescape(found[1]).split())[:TITLE_CHARS] if found else ""
    server = headers.get("server", "").strip()[:TITLE_CHARS]
    named = f': "{title}"' if title else ""
    return f"a web page instead of an answer{named}{f' (server: {server})' if server else ''}"


def _is_page(text: str, kind: str) -> bool:
    """Say whether a body is more than nothing or a line of plain text."""
    plain = kind.lower() in ("text/plain", "no content type") and not text.lstrip().startswith(
        ("<", "{", "[")
    )
    return bool(text.strip()) and not plain


@lru_cache(maxsize=16)  # all but those with the id of a task
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


class _TooLate(Exception):
    """There is a connection, but what was to be sent may not be sent any more."""


async def _if(allowed: Callable[[], bool], body: bytes) -> AsyncIterator[bytes]:
    if not allowed():
        msg = "its time was over before there was a connection"
        raise _TooLate(msg)
    yield body


class _TooMuch(Exception):
    """An answer larger than any answer of this API may be."""


async def _read(response: httpx.Response) -> bytes:
    pieces: list[bytes] = []
    size = 0
    body: AsyncIterable[bytes] = response.aiter_bytes()
    if "content-encoding" not in response.headers and isinstance(response.stream, httpx.AsyncByteStream):
        body = response.stream  # what httpx puts around the pieces costs as much as reading them
    async for piece in body:
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            msg = f"more than {MAX_ANSWER_BYTES:,} bytes"
            raise _TooMuch(msg)
        pieces.append(piece)
    return b"".join(pieces)


async def _close(response: httpx.Response) -> None:
    try:
        await response.aclose()
    except Exception:
        return


def _object(text: str, hider: KeyHider) -> Mapping[str, Json] | None:
    """Return the JSON object in a text, its strings whole and without our key."""
    try:
        data = json.loads(text)
        if _HALF_A_PAIR.search(text):
            data = each_text(data, _whole_text)
        if hider.may_hold(text):  # only now: in JSON, any letter may be written as its code
            data = hider.everywhere(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(data, list) and len(data) == 1:
        data = data[0]  # what one asked for, in a list
    return data if isinstance(data, dict) else None


# A message that a service cut in the middle of an emoji: no database and no terminal takes such text.
_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def _whole_text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _segment(text: str) -> str:
    """Return an id as one segment of a path: it comes from the service, so it is not trusted.

    An id of dots only would climb out of the path however it is quoted; `machine.read_task` takes none.
    """
    return quote(text, safe="")


def ascii_name(name: str) -> str:
    """Return a file name for a multipart header: ASCII, without quotes, breaks or folders."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._- ") else "_" for char in name)
    return kept[-100:].strip() or "file"


@asynccontextmanager
async def open_api(
    account: Account,
    *,
    now: Callable[[], float],
    connections: int = 1,
    timeouts: Timeouts | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    heard: Callable[[float | None], None] = lambda _: None,
) -> AsyncIterator[Api]:
    """Open the API for one account.

    Args:
        account: Whom to talk to.
        now: The wall clock.
        connections: How many requests may be open at once.
        timeouts: How long to wait.
        transport: For tests: what to send through.
        heard: Takes the service's time of each answer, in seconds since 1970; None where it tells none.
    """
    times = timeouts or Timeouts()
    async with transport or make_transport(account.base_url, connections) as way:
        yield Api(way, account, now=now, timeouts=times, heard=heard)
