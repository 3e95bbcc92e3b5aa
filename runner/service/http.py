"""Requests and answers over HTTP, whatever they say.

It sends, reads, and reports what came back as a `Reply`; it decides nothing. It never retries (the
engine does), never follows a redirect, and takes an answer only up to a size and a deadline.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import anyio
import httpx

from runner import __version__
from runner.model import Json
from runner.results.coding import GZIP_MARK, TooMuchUnpacked, Unpacker, coding_of
from runner.results.media import HEAD_BYTES, looks_like_text
from runner.service.account import Account
from runner.service.hiding import KeyHider, each_text
from runner.service.reply import Reply
from runner.service.retry_after import http_date_s, parse_retry_after
from runner.service.transports import in_words, look_at, never_left
from runner.words import harmless

MAX_ANSWER_BYTES = 8_000_000
USER_AGENT = f"rivya-batch/{__version__}"
_HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long we wait, in seconds: to connect, between two pieces of an answer, for all of it."""

    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 60.0


class Http:
    """Sends one request to a service and reads its answer: the one place from which our key leaves the machine.

    Requests go to the transport itself: of what `httpx.AsyncClient` would add (redirects, cookies, credentials
    from files) nothing is wanted here, and it costs a third of a request's CPU (`make bench`).

    Args:
        transport: The way to the service.
        account: Whose requests these are; what is heard is kept without its key.
        now: The wall clock.
        timeouts: How long to wait.
        heard: Takes the service's time of each answer, in seconds since 1970; None where it tells none.
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
        self._base_url = account.base_url
        self._hider = account.hider
        self._now = now
        self._heard = heard
        self.timeouts = timeouts
        self._waits = httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s).as_dict()

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        total_s: float | None = None,
        timeout: httpx.Timeout | None = None,
        body: httpx.AsyncByteStream | None = None,
        **form: Any,
    ) -> Reply:
        """Send one request, and read all of what comes; raises nothing that has to do with the network.

        Args:
            method: GET or POST.
            path: Behind the base url.
            headers: Besides those of every request; of a request with a `body`, its length too.
            total_s: How long it may take, other than usual.
            timeout: How long each part of it may take, other than usual.
            body: What is sent.
            form: Fields and files that are sent instead, as `httpx.Request` takes them.
        """
        url, headers = _parsed(self._base_url + path), {**_HEADERS, **headers}
        extensions = {"timeout": timeout.as_dict() if timeout is not None else self._waits}
        if form:
            request = httpx.Request(method, url, headers=headers, extensions=extensions, **form)
        else:
            request = request_of(method, url, headers, extensions, body)
        limit_s = total_s or self.timeouts.total_s
        response: httpx.Response | None = None
        raw: bytes | None = None
        fault: Exception | None = None
        try:
            # The read timeout begins anew with each byte, so a head that drips in would last for ever; and after a
            # chunk that is none, aiohttp says nothing, ever.
            with anyio.move_on_after(limit_s):
                response = await self._transport.handle_async_request(request)
                raw = await _read(response)
        except Exception as exc:
            fault = exc
        finally:
            if response is not None:
                await _close(response)
        if response is None:
            return self._no_answer(request, fault, limit_s)
        if raw is None:
            # Not even the status line of a cut answer counts: truncation is never definite (runner/README.md, rule 2).
            why = in_words(fault or TimeoutError(), self._hider.text)
            return Reply(
                status=None, detail=f"HTTP {response.status_code}, then the answer was cut off: {why}"
            )
        return self._reply(response, raw)

    def _no_answer(self, request: httpx.Request, fault: Exception | None, limit_s: float) -> Reply:
        # Whatever it is (a name that nobody answers for, say): until there is a connection, nothing has left.
        connected = request.extensions.get("connected", True)
        if fault is None:
            return Reply(sent=connected, detail=f"no answer in time (all of {limit_s:g} s)")
        return Reply(
            sent=connected and not never_left(fault),
            detail=in_words(fault, self._hider.text),
            finding=look_at(fault),
        )

    def _reply(self, response: httpx.Response, raw: bytes) -> Reply:
        headers = headers_of(response)
        kind = headers.get("content-type", "no content type").split(";")[0].strip()
        said_s = told_s(headers)
        self._heard(said_s)
        text = raw.decode(json.detect_encoding(raw), "replace").removeprefix(_BYTE_ORDER)
        request_id, location = headers.get("x-request-id", ""), headers.get("location", "")
        moved = _moved_in_words(response.status_code, headers)
        detail = f"HTTP {response.status_code}, {moved or _body_in_words(text, kind, headers)}"
        # Each takes time to look through, and nearly always none holds our key.
        hider = self._hider if self._hider.may_hold("\n".join((text, request_id, location, detail))) else None
        if hider is not None:
            request_id, location, detail = map(hider.text, (request_id, location, detail))
        return Reply(
            status=response.status_code,
            data=_object(text, hider),
            page=_is_page(text, kind),
            retry_after_s=parse_retry_after(
                headers.get("retry-after"), now_epoch_s=self._now(), date=headers.get("date")
            ),
            request_id=harmless(request_id) or None,
            location=location or None,
            skew_s=said_s - self._now() if said_s is not None else None,
            detail=harmless(detail),
        )


MOST_AGED_S = 366 * 86_400


def told_s(headers: Mapping[str, str]) -> float | None:
    """Return the service's time as an answer tells it, in seconds since 1970, at least; None where it tells none.

    An answer out of a cache tells when it was made (`Date`) and for how long it has been there since (`Age`). An
    age that is none is left out: it is later than `Date` all the same.
    """
    date_s = http_date_s(headers.get("date"))
    if date_s is None:
        return None
    age_s = max(map(int, re.findall(r"(?<![-\d.])\d{1,9}(?!\d)", headers.get("age", ""))), default=0)
    return date_s + (age_s if age_s <= MOST_AGED_S else 0)


_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
TITLE_IS_NEAR = 20_000  # characters from the beginning of a page
TITLE_CHARS = 80


ADDRESS_CHARS = 200


def _moved_in_words(status: int, headers: Mapping[str, str]) -> str:
    """Return where a redirect leads, without its query, which may be a secret; empty where this is none."""
    to = re.split(r"[?#]", headers.get("location", ""), maxsplit=1)[0].strip()[:ADDRESS_CHARS]
    if not (300 <= status < 400 and to):
        return ""
    return f"a redirect to {to}, which is not followed: is RIVYA_BASE_URL the service's own address?"


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


_NOTHING = httpx.ByteStream(b"")


@lru_cache(maxsize=16)
def _headers(pairs: tuple[tuple[str, str], ...]) -> httpx.Headers:
    return httpx.Headers(pairs)  # copied by each request


def request_of(
    method: str,
    url: httpx.URL,
    headers: Mapping[str, str],
    extensions: dict[str, Any],
    body: httpx.AsyncByteStream | None = None,
) -> httpx.Request:
    """Return a request with these headers and `Host`, as they are: httpx looks through those it makes itself three times."""
    pairs = (("Host", url.netloc.decode("ascii")), *headers.items())
    sent = _headers(pairs) if body is None else httpx.Headers(pairs)
    request = httpx.Request(method, url, headers=sent, stream=body or _NOTHING, extensions=extensions)
    if isinstance(request.stream, httpx.ByteStream):
        request.read()
    return request


class _TooLate(Exception):
    """There is a connection, but what was to be sent may not be sent any more."""


class Checked(httpx.AsyncByteStream):
    """A body, unless it may not be sent any more once there is a connection."""

    def __init__(self, allowed: Callable[[], bool], body: bytes) -> None:
        self._allowed = allowed
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not self._allowed():
            msg = "timed out before connecting"
            raise _TooLate(msg)
        yield self._body


class _TooMuch(Exception):
    """An answer larger than any answer of this API may be."""

    def __init__(self) -> None:
        super().__init__(f"more than {MAX_ANSWER_BYTES:,} bytes")


def headers_of(response: httpx.Response) -> dict[str, str]:
    """Return the headers of an answer as httpx reads them, by their names in small letters."""
    found: dict[str, str] = {}
    try:
        for name_bytes, said_bytes in response.headers.raw:
            name, said = name_bytes.decode("ascii").lower(), said_bytes.decode("ascii")
            found[name] = f"{found[name]}, {said}" if name in found else said
    except UnicodeDecodeError:
        return dict(response.headers.items())  # which tries other encodings, for each header anew
    return found


def pieces_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the body of an answer piece by piece, as it comes: what httpx puts around it costs as much as reading it."""
    if isinstance(response.stream, httpx.AsyncByteStream):
        return aiter(response.stream)
    return response.aiter_raw()


async def _read(response: httpx.Response) -> bytes:
    """Return the body of an answer, unpacked where it truly is packed: some only say so, and some do not say it.

    Raises:
        _TooMuch: It is too large.
        CodingCut: What is packed breaks off, or is damaged.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in pieces_of(response):
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise _TooMuch
        pieces.append(piece)
    raw = b"".join(pieces)
    codings = coding_of(response.headers.get("content-encoding", "")) or ""
    if raw.startswith(GZIP_MARK):
        codings = codings or "gzip"
    elif not codings or looks_like_text(raw[:HEAD_BYTES]):
        return raw
    for coding in reversed(codings.split(", ")):
        unpacker = Unpacker(coding, max_bytes=MAX_ANSWER_BYTES)
        try:
            raw = b"".join(unpacker.feed(raw))
        except TooMuchUnpacked as exc:
            raise _TooMuch from exc
        unpacker.finish()
    return raw


async def _close(response: httpx.Response) -> None:
    try:
        await response.aclose()
    except Exception:
        return


_BYTE_ORDER = "\ufeff"
_BLANKS = " \t\r\n\f\v\0" + _BYTE_ORDER


def _object(text: str, hider: KeyHider | None) -> Mapping[str, Json] | None:
    """Return the JSON object in a text, its strings whole and without our key; blanks and one comma may be behind it.

    Without a `hider`, the key is not in it.
    """
    try:
        data = json.loads(text.rstrip(_BLANKS).removesuffix(",").rstrip(_BLANKS))
        if _HALF_A_PAIR.search(text):
            data = each_text(data, _whole_text)
        if hider is not None:  # only now: in JSON, any letter may be written as its code
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
