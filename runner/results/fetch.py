"""Fetching results from whatever hosts the service names: untrusted urls, untrusted bodies.

No key, no cookies, no surprise addresses. A body goes to its `.part` as it comes, and counts once HTTP shows that
all of it has come; what it then is, `verdict` says. Nothing here retries; each error says what kind of trouble it
was, and the engine decides. A url is only ever shown without its query, which may be a signature.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import anyio
import httpx

from runner.host import surroundings
from runner.host.clock import Clock
from runner.host.surroundings import Finding
from runner.results.coding import CodingCut, TooMuchUnpacked, Unpacker, coding_of
from runner.results.fetch_errors import (
    ResultRefused,
    ResultTooLarge,
    ResultUnacceptable,
    ResultUnavailable,
    without_query,
)
from runner.results.media import HEAD_BYTES, FileType, looks_like_text, sniff
from runner.results.parts import Content, PartFile, PartOrigin, Result
from runner.results.ranges import (
    body_length,
    is_chunked,
    proves_the_same_elsewhere,
    rest_total,
    span_of,
    strong_validator,
)
from runner.results.verdict import Judgement, NoResult, Oddness, judge, oddness_of
from runner.service.addresses import Address, may_hold_results, not_public, read_address
from runner.service.http import USER_AGENT, headers_of, pieces_of, request_of
from runner.service.transports import AddressRefused, in_words, look_at, never_left

T = TypeVar("T")
_AtOnce: TypeAlias = Callable[[Result], None] | None
_Begin: TypeAlias = tuple[int, PartOrigin | None]  # behind how many bytes, and what is noted of the rest

MAX_REDIRECTS = 5
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
HEAD_S = 60.0  # for the head of an answer: one that drips in keeps within every other limit
GRACE_S = 1.0  # by which our own wait for a piece is longer than the transport's, which knows more
WRITE_BYTES = 262_144  # a trip to a worker thread costs 0.2 ms: not for each piece of a body
RESUME_FROM_BYTES = 1_000_000  # smaller bodies are fetched anew, which is cheaper than notes on each

_RESTART = 416
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})


class _StartOver(Exception):
    """The host does not go on where we stopped: fetch it from its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The slowest body we go on with: `floor_bytes_per_s`, judged over each `window_s`."""

    floor_bytes_per_s: float = 1000.0
    window_s: float = 60.0


@dataclass(slots=True)
class Meter:
    """How a fetch goes, for whoever watches it: `size_bytes` came so far; `judged` is set once all of it has."""

    size_bytes: int = 0
    judged: bool = False


class ResultFetcher:
    """Fetches results.

    Args:
        transport: What requests go through: the transport itself, so that nothing of what a client adds
            (cookies, credentials, redirects) can. The caller sees to it that no more fetches run at once
            than it has connections.
        allow_loopback: The service itself is on this machine, so results may be, over plain http too.
        max_bytes: No result may be larger.
        clock: Its monotonic time judges the pace. Where it knows no boot id, a part is gone on with only
            by the fetcher that began it.
        proxied: Requests go through a proxy, which looks up the names itself.
        gives_away: Says whether a url holds our key and leads to another host than the service's own.
        continues: A body that broke off may be gone on with; otherwise each fetch begins at its beginning.
        pace: The slowest acceptable body.
        timeout: How long to wait for a connection, and between two pieces of an answer.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        allow_loopback: bool,
        max_bytes: int,
        clock: Clock,
        proxied: bool = False,
        gives_away: Callable[[str], bool] = lambda _: False,
        continues: bool = True,
        pace: Pace | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> None:
        self._transport = transport
        timeout = timeout or TIMEOUT
        self._timeout = {"timeout": timeout.as_dict()}
        self._read_s = (timeout.read or math.inf) + GRACE_S
        self._allow_loopback = allow_loopback
        self._max_bytes = max_bytes
        self._clock = clock
        self._proxied = proxied
        self._gives_away = gives_away
        self._continues = continues
        self._pace = pace or Pace()
        self._boot = clock.boot_id() or f"process-{secrets.token_hex(8)}"

    async def fetch(
        self, url: str, part: PartFile, meter: Meter | None = None, *, at_once: _AtOnce = None
    ) -> Result:
        """Fetch one result into its part, going on with what is there where the host allows that.

        Cancelled, it keeps what has come where that can be gone on with.

        Args:
            url: Where it is.
            part: Where it goes.
            meter: Who watches.
            at_once: Called with what came on the thread that has written the last of it, to save a trip to another;
                not called where all had come in an earlier attempt. The fetch may still be cancelled behind it.

        Returns:
            A part that came whole and is synced to the disk; `OutputFolder.publish` gives it its name.

        Raises:
            ResultRefused: 4xx. Ask for a fresh url.
            ResultUnavailable: 5xx, transport, cut, too slow. The part is kept where it can be gone on with.
            ResultUnacceptable: What is there is no result (`ResultTooLarge`: too large). The part is gone.
            DiskTrouble: The disk.
        """
        meter = meter or Meter()
        try:
            return await self._receive(url, without_query(url), part, meter, at_once)
        except ResultUnacceptable as exc:
            if not exc.out_of_reach:
                await anyio.to_thread.run_sync(part.discard)
            raise
        finally:
            # Plain, since a cancelled coroutine may not await; closing a file we own takes no time.
            part.close()

    async def first_byte(self, url: str) -> int:
        """Ask for the first byte of a result, keep nothing, and return the status: 206 from who gives parts.

        Raises:
            ResultUnavailable, ResultUnacceptable: As for `fetch`.
        """
        source = without_query(url)
        headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            "Range": "bytes=0-0",
        }
        async with self._open(_parsed(url, source), headers, source) as response:
            return response.status_code

    async def _receive(self, url: str, source: str, part: PartFile, meter: Meter, at_once: _AtOnce) -> Result:
        progress, offset = None, 0
        if part.noted and self._continues:
            progress, offset = await anyio.to_thread.run_sync(self._kept, part, _identity(url))
        if progress is not None and progress.total_bytes == offset and progress.source == _identity(url):
            # Everything had arrived when we were stopped; only what it is remains to be seen.
            meter.judged = True
            content = await anyio.to_thread.run_sync(part.finish)
            answer = _FileHead(source=source, content_type=progress.content_type, url=_parsed(url, source))
            return _judged(content, answer, part)
        try:
            return await self._ask(url, part, meter, progress, offset, at_once)
        except _StartOver:
            await anyio.to_thread.run_sync(part.discard)
        try:
            return await self._ask(url, part, meter, None, 0, at_once)
        except _StartOver as exc:
            raise ResultUnavailable(f"{source} returned a range that was not requested") from exc

    def _kept(self, part: PartFile, identity: str) -> tuple[PartOrigin | None, int]:
        """Return what an earlier attempt left, if it can be gone on with: here, or where the same file is now."""
        progress, size = part.progress(), part.size()
        if progress is None or progress.boot != self._boot or size == 0:
            return None, 0
        total = progress.total_bytes
        if progress.source != identity and not proves_the_same_elsewhere(progress.validator, total):
            return None, 0
        # All of another address's file: one byte of it is asked for again, so that this one's host can say no.
        if progress.source != identity and size == total:
            size -= 1
        if total is not None and size > total:
            return None, 0
        return progress, size

    async def _ask(
        self,
        url: str,
        part: PartFile,
        meter: Meter,
        progress: PartOrigin | None,
        offset: int,
        at_once: _AtOnce,
    ) -> Result:
        source = without_query(url)
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        if progress is not None:
            headers |= {"Range": f"bytes={offset}-", "If-Range": progress.validator}
        try:
            async with self._open(_parsed(url, source), headers, source) as response:
                return await self._take(response, url, part, meter, progress, offset, at_once)
        except (httpx.HTTPError, httpx.StreamError, OSError) as exc:
            raise ResultUnavailable(f"{source} was cut off: {_in_words(exc)}") from exc

    @asynccontextmanager
    async def _open(
        self, url: httpx.URL, headers: dict[str, str], source: str
    ) -> AsyncIterator[httpx.Response]:
        """GET a url, following redirects; each hop is looked at before it is asked."""
        for _ in range(MAX_REDIRECTS + 1):
            await self._look_at(url)
            request = request_of("GET", url, headers, self._timeout)
            try:
                with anyio.fail_after(HEAD_S):
                    response = await self._transport.handle_async_request(request)
            except AddressRefused as exc:  # a name that was answered differently a moment after we looked
                raise _not_public(exc.address, url) from exc
            except (httpx.HTTPError, httpx.StreamError, OSError) as exc:
                raise _no_answer(exc, source, url) from exc
            response.request = request
            try:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
                url = _next_hop(url, response, source)
            finally:
                await response.aclose()
        raise ResultUnavailable(f"{source} redirects more than {MAX_REDIRECTS} times")

    # --- which hosts ---------------------------------------------------------------------------

    async def _look_at(self, url: httpx.URL) -> None:
        """Refuse what may not be asked: other schemes, plain http, addresses that are not public."""
        shown = without_query(str(url))
        port_fits = url.port is None or 0 < url.port < 65_536
        if url.scheme not in ("https", "http") or not url.host or not port_fits:
            raise ResultUnacceptable(
                f"{shown} is not an https url", hint="results are fetched over https only"
            )
        if url.userinfo:
            raise ResultUnacceptable("a result url holds a user name", hint="results are fetched without any")
        if self._gives_away(str(url)):
            raise ResultUnacceptable(
                f"a result url at {url.host} holds our API key, which is sent to the service alone",
                hint="make a new key and revoke this one: the service gives it to others",
            )
        addresses = await self._addresses(url)
        for address in addresses:
            if not may_hold_results(address, loopback=self._allow_loopback):
                raise _not_public(address, url)
        loopback = bool(addresses) and all(address.is_loopback for address in addresses)
        if url.scheme == "http" and not (self._allow_loopback and loopback):
            raise ResultUnacceptable(f"{shown} is plain http", hint="results are fetched over https only")

    async def _addresses(self, url: httpx.URL) -> list[Address]:
        host = url.raw_host.decode("ascii").strip("[]")
        try:
            return [read_address(host)]
        except ValueError:
            pass
        if self._proxied:
            return []
        try:
            found = await anyio.getaddrinfo(host, url.port or 443, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            why = getattr(exc, "strerror", None) or str(exc)
            raise _out_of_reach(surroundings.no_name(host, why=why), url) from exc
        return [read_address(str(item[4][0])) for item in found]

    # --- what they answer ------------------------------------------------------------------------

    async def _take(
        self,
        response: httpx.Response,
        url: str,
        part: PartFile,
        meter: Meter,
        progress: PartOrigin | None,
        offset: int,
        at_once: _AtOnce,
    ) -> Result:
        source = without_query(url)
        status, headers = response.status_code, headers_of(response)
        coding = coding_of(headers.get("content-encoding", ""))
        total: int | None
        oddness: Oddness | None
        if status == 206 and progress is not None:
            total = rest_total(headers, offset=offset, known_total=progress.total_bytes)
            elsewhere = progress.source != _identity(url)
            if total is None or coding or (elsewhere and headers.get("etag") != progress.validator):
                raise _StartOver
            oddness = None
        elif 200 <= status < 300:
            offset, progress = 0, None
            total, oddness = _taken_as_all(status, headers, source)
        else:
            raise _refusal(status, source, response, ranged=progress is not None)
        if total is not None and total > self._max_bytes:
            raise self._too_large(source, total)
        if progress is None and coding is None and oddness is None:
            progress = self._notes(headers, url, total)
        unpacker = Unpacker(coding, max_bytes=self._max_bytes) if coding else None
        answer = _FileHead(
            source=source,
            content_type=headers.get("content-type", ""),
            url=response.request.url,
            framed=total is not None or is_chunked(headers),
            oddness=oddness,
        )

        def last(part: PartFile, data: bytes, begin: _Begin | None, unpacker: Unpacker | None) -> Result:
            content = _write_the_last(part, data, begin, unpacker)
            packed = coding if unpacker is not None and unpacker.packed else None
            result = _judged(content, answer, part, packed=packed)
            if at_once is not None:
                at_once(result)
            return result

        return await self._stream(response, source, part, meter, progress, offset, total, unpacker, last)

    def _notes(self, headers: Mapping[str, str], url: str, total: int | None) -> PartOrigin | None:
        validator = strong_validator(headers)
        if not self._continues or validator is None or (total is not None and total < RESUME_FROM_BYTES):
            return None
        return PartOrigin(
            source=_identity(url),
            validator=validator,
            total_bytes=total,
            boot=self._boot,
            content_type=headers.get("content-type", "")[:100],
        )

    async def _stream(
        self,
        response: httpx.Response,
        source: str,
        part: PartFile,
        meter: Meter,
        progress: PartOrigin | None,
        offset: int,
        total: int | None,
        unpacker: Unpacker | None,
        last: Callable[[PartFile, bytes, _Begin | None, Unpacker | None], Result],
    ) -> Result:
        """Write the body behind `offset`, to its end; return what `last` makes of it."""
        size, waiting, begun = offset, bytearray(), False
        mark_s, mark_size = self._clock.mono_s(), size

        async def flush(write: Callable[..., T]) -> T:
            nonlocal begun
            data, begin = bytes(waiting), None if begun else (offset, progress)
            waiting.clear()
            begun = True
            try:
                return await anyio.to_thread.run_sync(write, part, data, begin, unpacker)
            except CodingCut as exc:
                raise ResultUnavailable(f"{source} was cut off: {exc}") from exc
            except TooMuchUnpacked as exc:
                raise self._too_large(source, exc.size_bytes) from exc

        try:
            # One scope for all pieces: each may take so long. After a chunk that is none, aiohttp says nothing, ever.
            with anyio.move_on_after(self._read_s) as wait:
                async for piece in pieces_of(response):
                    wait.deadline = math.inf  # what is done with it takes as long as it takes
                    size += len(piece)
                    meter.size_bytes += len(piece)
                    if size > self._max_bytes:
                        raise self._too_large(source, size)
                    waiting += piece
                    if len(waiting) >= WRITE_BYTES:
                        if not begun and not offset and unpacker is None:
                            _refuse_errors(bytes(waiting[:HEAD_BYTES]), source, response)
                        await flush(_write)
                    now_s = self._clock.mono_s()
                    if now_s - mark_s >= self._pace.window_s:
                        if size - mark_size < self._pace.floor_bytes_per_s * (now_s - mark_s):
                            raise ResultUnavailable(
                                f"{source} is too slow: {size - mark_size:,} bytes in {now_s - mark_s:.0f} s"
                            )
                        mark_s, mark_size = now_s, size
                    wait.deadline = anyio.current_time() + self._read_s
            if wait.cancelled_caught:
                raise TimeoutError
            if total is not None and size != total:
                raise ResultUnavailable(f"{source} was cut off after {size:,} of {total:,} bytes")
        except (httpx.HTTPError, OSError, ResultUnavailable, anyio.get_cancelled_exc_class()):
            if progress is not None:
                with anyio.CancelScope(shield=True):
                    await flush(_write)
            raise
        meter.judged = True
        return await flush(last)

    def _too_large(self, source: str, size: int) -> ResultTooLarge:
        return ResultTooLarge(
            f"{source} has {size / 1e6:,.1f} MB or more, above the limit of {self._max_bytes / 1e6:,.1f} MB",
            hint="raise limits.max_result_bytes, then run again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileHead:
    source: str
    content_type: str
    url: httpx.URL  # that answered
    framed: bool = True
    oddness: Oddness | None = None  # of the status it came with


def _judged(content: Content, answer: _FileHead, part: PartFile, *, packed: str | None = None) -> Result:
    """Say what came; `packed` is a coding that could not be undone."""
    try:
        verdict = judge(
            content.head,
            media=content.media,
            sure=content.sure,
            cut=content.cut,
            content_type=answer.content_type,
            path=answer.url.path,
            size_bytes=content.size_bytes,
        )
    except NoResult as exc:
        raise ResultUnacceptable(f"{answer.source} {exc}") from exc
    if packed is not None:
        verdict = _still_packed(packed)
    looks, warning = verdict.looks, verdict.warning
    if answer.oddness is not None:
        looks = max(looks, answer.oddness.looks)
        warning = "; ".join(filter(None, (warning, answer.oddness.words)))
    if not answer.framed and not content.ended:
        looks = max(looks, 2)  # a connection that breaks at the right moment looks just like this
    return Result(
        part=part,
        file=verdict.file,
        sha256=content.sha256,
        size_bytes=content.size_bytes,
        host=_place(answer.url),
        warning=warning,
        looks=looks,
        framed=answer.framed,
    )


def _taken_as_all(status: int, headers: Mapping[str, str], source: str) -> tuple[int | None, Oddness | None]:
    """Return the size of the body of a 2xx answer that was not asked for a part, and what is odd about its status.

    Raises:
        ResultUnavailable: It says itself that it is less than the whole file.
    """
    length = body_length(headers)
    span = span_of(headers) if status == 206 else None
    if span is None:
        return length, oddness_of(status)
    size = span.end if length is None else length
    if span.first or size < (span.total or 0):
        words = f"{source} was answered with a part only: bytes {span.first:,} to {span.end:,} of {span.total or 'more'}"
        raise ResultUnavailable(words, status=status, headers=headers)
    return size, None if span.total == span.end == size else oddness_of(status)


def _still_packed(coding: str) -> Judgement:
    ending = {"br": "br", "zstd": "zst"}.get(coding, "bin")
    return Judgement(
        file=FileType(mime="application/octet-stream", extension=ending),
        warning=f"it came packed ({coding}), and has to be unpacked by hand",
        looks=2,
    )


def _write(part: PartFile, data: bytes, begin: _Begin | None, unpacker: Unpacker | None) -> None:
    if begin is not None:
        part.begin(*begin)
    for piece in (data,) if unpacker is None else unpacker.feed(data):
        part.write(piece)


def _write_the_last(part: PartFile, data: bytes, begin: _Begin | None, unpacker: Unpacker | None) -> Content:
    if unpacker is None and begin is not None and not begin[0]:
        return part.take_whole(data)
    _write(part, data, begin, unpacker)
    if unpacker is not None:
        unpacker.finish()
    return part.finish()


def _refuse_errors(head: bytes, source: str, response: httpx.Response) -> None:
    """Give a page up as soon as it shows to be one: it may be without end."""
    if sniff(head) is not None or not looks_like_text(head):
        return
    try:
        judge(
            head,
            media=None,
            cut=None,
            content_type=response.headers.get("content-type", ""),
            path=response.request.url.path,
        )
    except NoResult as exc:
        raise ResultUnacceptable(f"{source} {exc}") from exc


def _refusal(status: int, source: str, response: httpx.Response, *, ranged: bool) -> Exception:
    if ranged and status in (206, _RESTART, 412):
        return _StartOver()
    if 400 <= status < 500 and status not in _TRANSIENT and status != _RESTART:
        return ResultRefused(f"{source} was refused: HTTP {status}", status=status)
    words = f"{source} was answered with HTTP {status}"
    return ResultUnavailable(words, status=status, headers=response.headers)


def _not_public(address: Address, url: httpx.URL) -> ResultUnacceptable:
    why, hint = not_public(address, url.host)
    return ResultUnacceptable(f"the result host {why}", hint=hint, out_of_reach=_place(url))


def _no_answer(exc: Exception, source: str, url: httpx.URL) -> ResultUnavailable:
    finding = look_at(exc)
    if finding is not None:
        return _out_of_reach(finding, url)
    words = f"{source} cannot be fetched: {_in_words(exc)}"
    return ResultUnavailable(words, out_of_reach=_place(url) if never_left(exc) else "")


def _out_of_reach(finding: Finding, url: httpx.URL) -> ResultUnavailable:
    words = f"the result host cannot be reached: {finding.found}"
    return ResultUnavailable(words, hint=finding.do, out_of_reach=_place(url))


def _place(url: httpx.URL) -> str:
    return url.netloc.decode("ascii")


def _parsed(url: str, source: str) -> httpx.URL:
    try:
        return _with_a_host(httpx.URL(url))
    except (httpx.InvalidURL, ValueError, TypeError) as exc:
        raise ResultUnacceptable(f"{source!r} is not a url") from exc


def _next_hop(url: httpx.URL, response: httpx.Response, source: str) -> httpx.URL:
    location = response.headers.get("location", "")
    if not location:
        raise ResultUnavailable(f"{source} redirects to nowhere")
    try:
        return _with_a_host(url.join(location))
    except (httpx.InvalidURL, ValueError) as exc:
        raise ResultUnacceptable(f"{source} redirects to something that is not a url") from exc


def _with_a_host(url: httpx.URL) -> httpx.URL:
    """Return a url whose host can be read: httpx finds out only when it is asked for (`https://xn--/`).

    Raises:
        ValueError: It cannot.
    """
    _ = url.host
    return url


def _identity(url: str) -> str:
    """Return a name of a url without its query, which a fresh url of the same result shares."""
    return hashlib.sha256(re.split(r"[?#]", url, maxsplit=1)[0].encode("utf-8", "replace")).hexdigest()


def _in_words(exc: Exception) -> str:
    # Messages of the transport name hosts and causes, but to be safe never what follows a `?`.
    return re.sub(r"\?\S*", "", in_words(exc))
