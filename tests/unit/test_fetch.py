"""Result hosts: what we ask, where we go, what we accept, and how we go on.

Hosts are public addresses written out, so that no test looks up a name; the last part talks to a
real socket.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest

from runner.errors import Exit
from runner.fetch import (
    RESUME_FROM_BYTES,
    ResultFetcher,
    ResultRefused,
    ResultTooLarge,
    ResultTrouble,
    ResultUnacceptable,
    ResultUnavailable,
)
from runner.files import OutputFolder
from runner.parts import PartFile, Result

pytestmark = pytest.mark.anyio

MEDIA = Path(__file__).resolve().parents[1] / "fixtures" / "media"
CLIP = (MEDIA / "clip.mp4").read_bytes()
HOST = "https://93.184.216.34"
OTHER = "https://93.184.216.35"
URL = f"{HOST}/results/clip.mp4?sig=SECRET"


def large(size: int = RESUME_FROM_BYTES * 2) -> bytes:
    """Return a whole MP4 of a given size: the clip and a box of padding."""
    padding = size - len(CLIP)
    return (
        CLIP
        + padding.to_bytes(4, "big")
        + b"free"
        + bytes(range(1, 9)) * (padding // 8 - 1)
        + b"x" * (padding % 8)
    )


LARGE = large()


@dataclass
class FakeClock:
    mono: float = 0.0
    boot: str | None = "boot-1"

    def wall_s(self) -> float:
        return 1_000_000.0

    def mono_s(self) -> float:
        return self.mono

    def boot_s(self) -> float | None:
        return self.mono

    def boot_id(self) -> str | None:
        return self.boot


class Body(httpx.AsyncByteStream):
    """A body in pieces; a piece that is an exception breaks it off."""

    def __init__(self, pieces: Iterable[bytes | Exception], each: Callable[[], None] = lambda: None) -> None:
        self._pieces = pieces
        self._each = each
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self._each()
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed = True


def answer(
    status: int = 200,
    body: bytes | Iterable[bytes | Exception] = CLIP,
    *,
    length: bool = True,
    **headers: str,
) -> httpx.Response:
    """Return an answer; header names are written with underscores."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, bytes) and length:
        names.setdefault("content-length", str(len(body)))
    pieces = (
        [body[at : at + 65_536] for at in range(0, len(body), 65_536)] if isinstance(body, bytes) else body
    )
    return httpx.Response(status, headers=names, stream=Body(pieces))


@dataclass
class Host:
    """What the result hosts answer, in order, and what they were asked."""

    answers: list[httpx.Response | Exception]
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        reply = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def part(tmp_path: Path) -> PartFile:
    return OutputFolder(tmp_path / "out", owner="autumn").part("hero")


async def fetch(host: Host, part: PartFile, url: str = URL, **options: Any) -> Result:
    """Fetch with a fresh client, as a fresh process would."""
    options = {"allow_loopback": False, "max_bytes": 10_000_000, "clock": FakeClock(), **options}
    client = options.pop("client", {})
    async with httpx.AsyncClient(transport=httpx.MockTransport(host), **client) as http:
        return await ResultFetcher(http, **options).fetch(url, part)


async def trouble(
    cls: type[ResultTrouble], host: Host, part: PartFile, url: str = URL, **options: Any
) -> Any:
    with pytest.raises(cls) as caught:
        await fetch(host, part, url, **options)
    assert type(caught.value) is cls, caught.value
    assert caught.value.exit_code is Exit.TEMPORARY
    assert "SECRET" not in f"{caught.value!r} {caught.value.message} {caught.value.hint}"
    return caught.value


def left(part: PartFile) -> list[str]:
    folder = part.path.parent
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- what is accepted ----------------------------------------------------------------------------


async def test_a_whole_result_is_fetched(part: PartFile) -> None:
    host = Host([answer(content_type="video/mp4; codecs=avc1")])

    result = await fetch(host, part)

    assert part.path.read_bytes() == CLIP
    assert result.media.mime == "video/mp4"
    assert result.sha256 == hashlib.sha256(CLIP).hexdigest()
    assert result.size_bytes == len(CLIP)
    assert result.content_type == "video/mp4"
    assert str(host.asked[0].url) == URL
    assert left(part) == ["hero.part"]


async def test_the_content_decides_not_the_header(part: PartFile) -> None:
    png = (MEDIA / "still.png").read_bytes()

    result = await fetch(Host([answer(body=png, content_type="video/mp4")]), part)

    assert result.media.extension == "png"


async def test_a_body_without_a_length_is_judged_by_its_container(part: PartFile) -> None:
    result = await fetch(Host([answer(length=False)]), part)
    assert result.size_bytes == len(CLIP)

    error = await trouble(ResultUnavailable, Host([answer(body=CLIP[:-9], length=False)]), part)
    assert "not a whole video/mp4" in error.message
    assert left(part) == []


async def test_a_large_body_arrives_as_it_was_sent(part: PartFile) -> None:
    result = await fetch(Host([answer(body=LARGE)]), part)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_raw_samples_are_accepted_from_a_host_that_says_so(part: PartFile) -> None:
    samples = bytes(range(256)) * 40

    result = await fetch(Host([answer(body=samples, content_type="audio/basic")]), part)

    assert result.media.extension == "ulaw"


# --- what is asked -------------------------------------------------------------------------------


async def test_no_key_no_cookie_and_no_compression_is_offered(part: PartFile) -> None:
    host = Host([answer(302, b"", location="/two", set_cookie="session=1; Path=/"), answer()])
    client = {
        "headers": {"Authorization": "Bearer rvya_sk_x", "User-Agent": "rivya-batch/1"},
        "cookies": {"a": "b"},
        "auth": ("user", "password"),
    }

    await fetch(host, part, client=client)

    for request in host.asked:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"] == "rivya-batch/1"


async def test_cookies_are_not_even_kept(part: PartFile) -> None:
    """One for each of 100,000 results would fill the memory."""
    host = Host([answer(set_cookie="session=1; Path=/")])
    async with httpx.AsyncClient(transport=httpx.MockTransport(host)) as http:
        fetcher = ResultFetcher(http, allow_loopback=False, max_bytes=10_000_000, clock=FakeClock())
        await fetcher.fetch(URL, part)

        assert len(http.cookies) == 0


async def test_a_compressed_body_is_refused_unread(part: PartFile) -> None:
    """However small it is on the wire: a bomb is never opened."""
    body = Body([gzip.compress(CLIP)])
    bomb = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=body)

    error = await trouble(ResultUnacceptable, Host([bomb]), part)

    assert "compressed" in error.message
    assert body.closed
    assert left(part) == []


async def test_a_compressed_file_is_no_result(part: PartFile) -> None:
    error = await trouble(ResultUnacceptable, Host([answer(body=gzip.compress(CLIP))]), part)

    assert "gzip" in error.message


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b"<!doctype html><html>Please sign in", "an HTML page"),
        (b'{"error": "expired"}', "JSON"),
        (b"<?xml version='1.0'?><Error>", "XML"),
        (b"%PDF-1.4\n\0\1", "a PDF"),
        (b"\1\2\3\4" * 1000, "unknown type"),
    ],
)
async def test_what_is_no_media_is_no_result(part: PartFile, body: bytes, word: str) -> None:
    error = await trouble(ResultUnacceptable, Host([answer(body=body, content_type="video/mp4")]), part)

    assert word in error.message
    assert left(part) == []


async def test_a_long_page_is_given_up_early(part: PartFile) -> None:
    sent = 0

    def page() -> Iterable[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"<html>" + b" " * 65_530

    await trouble(ResultUnacceptable, Host([answer(body=page())]), part, max_bytes=10**9)

    assert sent < 1_000_000


async def test_a_result_above_the_limit_is_refused_before_its_body(part: PartFile) -> None:
    body = Body([CLIP])
    reply = httpx.Response(200, headers={"content-length": "20000001"}, stream=body)

    error = await trouble(ResultTooLarge, Host([reply]), part)

    assert "20.0 MB" in error.message
    assert "max_result_bytes" in error.hint
    assert left(part) == []


async def test_a_result_that_grows_above_the_limit_is_given_up(part: PartFile) -> None:
    endless = [CLIP] + [b"x" * 65_536] * 1000

    await trouble(ResultTooLarge, Host([answer(body=endless)]), part, max_bytes=1_000_000)

    assert left(part) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
async def test_a_refused_url_is_to_be_renewed(part: PartFile, status: int) -> None:
    error = await trouble(ResultRefused, Host([answer(status, b"<Error>expired")]), part)

    assert error.status == status
    assert error.renew
    assert left(part) == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 304, 206, 416, 299])
async def test_a_host_in_trouble_is_asked_again_later(part: PartFile, status: int) -> None:
    error = await trouble(ResultUnavailable, Host([answer(status, b"", retry_after="7")]), part)

    assert error.retry_after == "7"
    assert not error.renew


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("no route"),
        httpx.ConnectTimeout(""),
        httpx.ReadTimeout(f"while reading {URL}"),
        httpx.RemoteProtocolError("bad"),
        httpx.PoolTimeout(""),
        OSError(101, "Network is unreachable"),
    ],
)
async def test_failures_of_the_network_are_temporary(part: PartFile, failure: Exception) -> None:
    await trouble(ResultUnavailable, Host([failure]), part)
    await trouble(ResultUnavailable, Host([answer(body=[CLIP[:50], failure])]), part)


@pytest.mark.parametrize("difference", [-1, 1, 1000])
async def test_a_wrong_length_is_a_cut(part: PartFile, difference: int) -> None:
    reply = answer(body=[CLIP], content_length=str(len(CLIP) + difference))

    await trouble(ResultUnavailable, Host([reply]), part)


async def test_a_drip_is_given_up(part: PartFile) -> None:
    """Each piece comes in time, but an hour of them would be one second of film."""
    clock = FakeClock()

    def tick() -> None:
        clock.mono += 20.0

    reply = httpx.Response(200, stream=Body([b"x" * 100] * 1000, each=tick))

    error = await trouble(ResultUnavailable, Host([reply]), part, clock=clock)

    assert "too slow" in error.message
    assert clock.mono < 200.0


async def test_a_fast_beginning_excuses_no_drip(part: PartFile) -> None:
    clock = FakeClock()

    def tick() -> None:
        clock.mono += 20.0

    reply = httpx.Response(200, stream=Body([LARGE[:1_000_000], *[b"x" * 100] * 1000], each=tick))

    await trouble(ResultUnavailable, Host([reply]), part, clock=clock)

    assert clock.mono < 300.0


async def test_a_slow_but_steady_body_is_not_a_drip(part: PartFile) -> None:
    clock = FakeClock()

    def tick() -> None:
        clock.mono += 20.0

    pieces = [LARGE[at : at + 40_000] for at in range(0, len(LARGE), 40_000)]

    result = await fetch(Host([httpx.Response(200, stream=Body(pieces, each=tick))]), part, clock=clock)

    assert clock.mono > 600.0
    assert result.size_bytes == len(LARGE)


# --- where we go ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://93.184.216.34/x",
        "data:video/mp4;base64,AAAA",
        "/results/x.mp4",
        "",
        "https://",
        "https:///x",
        "not a url at all",
        "https://[::1",
        "https://exa\udc80mple.com/",
        "https://a\0b/",
        "http://93.184.216.34/x?sig=SECRET",
        "https://user:SECRET@93.184.216.34/x",
        "https://93.184.216.34:0/x",
        "https://93.184.216.34:70000/x",
        "https://127.0.0.1/x",
        "https://127.1.2.3/x",
        "https://[::1]/x",
        "https://0.0.0.0/x",
        "https://10.0.0.1/x",
        "https://172.16.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/x",
        "https://224.0.0.1/x",
        "https://255.255.255.255/x",
        "https://[fe80::1]/x",
        "https://[fc00::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://[::ffff:169.254.169.254]/x",
        "https://[2002:7f00:1::]/x",
        "https://[64:ff9b::a00:1]/x",
        "https://[::]/x",
    ],
)
async def test_a_url_we_do_not_go_to_is_never_asked(part: PartFile, url: str) -> None:
    host = Host([answer()])

    await trouble(ResultUnacceptable, host, part, url)

    assert host.asked == []
    assert left(part) == []


@pytest.mark.parametrize("url", ["https://2130706433/x", "https://0x7f.1/x", "https://127.1/x"])
async def test_numbers_that_only_a_resolver_reads_are_looked_up(part: PartFile, url: str) -> None:
    host = Host([answer()])

    with pytest.raises(ResultTrouble):
        await fetch(host, part, url)

    assert host.asked == []


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_a_name_is_judged_by_every_address_it_has(
    part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "93.184.216.34", "192.168.0.7")
    host = Host([answer()])

    error = await trouble(ResultUnacceptable, host, part, "https://media.example/x?sig=SECRET")

    assert "192.168.0.7" in error.message
    assert "HTTPS_PROXY" in error.hint
    assert host.asked == []


async def test_a_name_with_public_addresses_is_asked(part: PartFile, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "93.184.216.34", "93.184.216.35")
    host = Host([answer()])

    await fetch(host, part, "https://media.example/x")

    assert host.asked[0].url.host == "media.example"


async def test_a_name_that_is_not_found_is_temporary(part: PartFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    await trouble(ResultUnavailable, Host([answer()]), part, "https://media.example/x")


async def test_behind_a_proxy_names_are_the_proxys_business(
    part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "10.0.0.1")

    await fetch(Host([answer()]), part, "https://media.example/x", proxied=True)

    await trouble(ResultUnacceptable, Host([answer()]), part, "https://10.0.0.1/x", proxied=True)


class Peer:
    """A connection as the transport shows it."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get_extra_info(self, name: str) -> Any:
        return (self._address, 443) if name == "server_addr" else None


async def test_a_name_that_was_answered_differently_a_moment_later_is_caught(part: PartFile) -> None:
    reply = answer()
    reply.extensions["network_stream"] = Peer("10.0.0.1")

    await trouble(ResultUnacceptable, Host([reply]), part)

    assert left(part) == []


async def test_redirects_to_other_https_hosts_are_followed(part: PartFile) -> None:
    host = Host(
        [
            answer(302, b"", location=f"{OTHER}/two?sig=SECRET2"),
            answer(307, b"", location="three"),
            answer(301, b"", location="//93.184.216.36/four"),
            answer(),
        ]
    )

    await fetch(host, part)

    assert [str(request.url) for request in host.asked[1:]] == [
        f"{OTHER}/two?sig=SECRET2",
        f"{OTHER}/three",
        "https://93.184.216.36/four",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.35/x",
        "https://127.0.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/x",
        "https://user:SECRET@93.184.216.35/x",
        "file:///etc/passwd",
        "data:video/mp4;base64,AAAA",
        "javascript:alert(1)",
        "https://[::1",
        "https://exa mple/",
        "https://93.184.216.35:99999999/",
    ],
)
async def test_no_redirect_leads_where_we_do_not_go(part: PartFile, url: str) -> None:
    host = Host([answer(302, b"", location=url), answer()])

    with pytest.raises(ResultTrouble) as caught:
        await fetch(host, part)

    assert isinstance(caught.value, ResultUnacceptable | ResultUnavailable)
    assert len(host.asked) == 1
    assert left(part) == []


async def test_redirects_end(part: PartFile) -> None:
    host = Host([answer(302, b"", location="/again")])

    error = await trouble(ResultUnavailable, host, part)

    assert "redirects more than 5 times" in error.message
    assert len(host.asked) == 6


async def test_a_redirect_to_nowhere_is_trouble(part: PartFile) -> None:
    await trouble(ResultUnavailable, Host([answer(302, b"")]), part)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:9/x", True),
        ("http://[::1]:9/x", True),
        ("https://93.184.216.34/x", True),
        ("http://93.184.216.34/x", False),
        ("http://192.168.1.1/x", False),
        ("https://192.168.1.1/x", False),
        ("file:///etc/passwd", False),
    ],
)
async def test_a_service_on_this_machine_may_have_its_results_here(
    part: PartFile, url: str, allowed: bool
) -> None:
    host = Host([answer()])

    if allowed:
        await fetch(host, part, url, allow_loopback=True)
    else:
        await trouble(ResultUnacceptable, host, part, url, allow_loopback=True)

    assert len(host.asked) == int(allowed)


async def test_a_signed_url_is_never_logged(part: PartFile, caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        await fetch(Host([answer()]), part)
        await trouble(ResultUnavailable, Host([answer(500)]), part)
    finally:
        root.setLevel(before)

    assert "SECRET" not in caplog.text


async def test_what_is_noted_beside_a_part_holds_no_url(part: PartFile) -> None:
    reply = answer(body=[LARGE[:700_000], httpx.ReadError("")], etag='"v1"', content_length=str(len(LARGE)))

    await trouble(ResultUnavailable, Host([reply]), part)

    notes = part.path.with_name("hero.part.json").read_text()
    assert "SECRET" not in notes
    assert "results" not in notes


# --- going on ------------------------------------------------------------------------------------


def cut(at: int = 700_000, **headers: str) -> httpx.Response:
    """Return the first answer of a download that breaks off."""
    headers = {"etag": '"v1"', "content_length": str(len(LARGE)), **headers}
    return answer(body=[LARGE[:at], httpx.ReadError("gone")], **headers)


def rest(at: int = 700_000, *, body: bytes | None = None, **headers: str) -> httpx.Response:
    headers = {"content_range": f"bytes {at}-{len(LARGE) - 1}/{len(LARGE)}", "etag": '"v1"', **headers}
    return answer(206, LARGE[at:] if body is None else body, **headers)


async def began(part: PartFile, **headers: str) -> None:
    await trouble(ResultUnavailable, Host([cut(**headers)]), part)


async def test_a_download_goes_on_where_it_broke_off(part: PartFile) -> None:
    """In another process, with a url renewed in the meantime."""
    await began(part)
    assert part.size() == 700_000
    host = Host([rest()])

    result = await fetch(host, part, URL.replace("SECRET", "RENEWED"))

    assert host.asked[0].headers["range"] == "bytes=700000-"
    assert host.asked[0].headers["if-range"] == '"v1"'
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_it_goes_on_as_often_as_it_breaks_off(part: PartFile) -> None:
    await began(part)
    again = answer(
        206,
        [LARGE[700_000:1_300_000], httpx.ReadError("")],
        content_range=f"bytes 700000-{len(LARGE) - 1}/{len(LARGE)}",
    )
    await trouble(ResultUnavailable, Host([again]), part)
    host = Host([rest(1_300_000)])

    result = await fetch(host, part)

    assert host.asked[0].headers["range"] == "bytes=1300000-"
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


@pytest.mark.parametrize(
    "reply",
    [
        lambda: answer(body=LARGE),  # no ranges here, or another file by now
        lambda: rest(at=600_000),
        lambda: rest(content_range="bytes 700000-800000/2000000"),
        lambda: rest(content_range=f"bytes 700000-{len(LARGE) - 1}/{len(LARGE) + 1}"),
        lambda: rest(content_range=f"bytes 700000-{len(LARGE)}/{len(LARGE) + 1}"),
        lambda: rest(content_range="nonsense"),
        lambda: rest(content_type="multipart/byteranges; boundary=x", content_range=""),
        lambda: rest(content_length="5"),
        lambda: answer(416, b"", content_range="bytes */5"),
        lambda: answer(412, b""),
    ],
)
async def test_a_host_that_does_not_go_on_exactly_there_starts_over(
    part: PartFile, reply: Callable[[], httpx.Response]
) -> None:
    await began(part)
    host = Host([reply(), answer(body=LARGE)])

    result = await fetch(host, part)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert "range" in host.asked[0].headers
    assert all("range" not in request.headers for request in host.asked[1:])


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": 'W/"weak"'}, None),
        ({"etag": ""}, None),
        ({"etag": '"v1"', "accept_ranges": "none"}, None),
        ({"etag": "", "last_modified": "long ago"}, None),
        ({"etag": "", "last_modified": format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True)}, None),
        (
            {
                "etag": "",
                "last_modified": "Thu, 01 Jan 2026 00:00:00 GMT",
                "date": "Thu, 01 Jan 2026 00:10:00 GMT",
            },
            "Thu, 01 Jan 2026 00:00:00 GMT",
        ),
        (
            {
                "etag": "",
                "last_modified": "Thu, 01 Jan 2026 00:00:00 GMT",
                "date": "Thu, 01 Jan 2026 00:00:01 GMT",
            },
            None,
        ),
    ],
)
async def test_only_a_strong_validator_lets_a_download_go_on(
    part: PartFile, headers: dict[str, str], validator: str | None
) -> None:
    await began(part, **headers)
    host = Host([rest() if validator else answer(body=LARGE)])

    await fetch(host, part)

    assert host.asked[0].headers.get("if-range") == validator


async def test_a_part_of_another_file_is_not_gone_on_with(part: PartFile) -> None:
    await began(part)
    host = Host([answer(body=LARGE)])

    result = await fetch(host, part, f"{HOST}/results/other.mp4")

    assert "range" not in host.asked[0].headers
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


@pytest.mark.parametrize("boot", ["boot-2", None])
async def test_after_a_power_cut_a_part_is_fetched_anew(part: PartFile, boot: str | None) -> None:
    """Its length survives sooner than its bytes."""
    await began(part)
    host = Host([answer(body=LARGE)])

    await fetch(host, part, clock=FakeClock(boot=boot))

    assert "range" not in host.asked[0].headers


async def test_a_part_that_had_arrived_whole_is_not_fetched_again(part: PartFile) -> None:
    """We were killed between the last byte and the trial."""
    await began(part)
    with part.path.open("ab") as file:
        file.write(LARGE[700_000:])
    host = Host([])

    result = await fetch(host, part)

    assert host.asked == []
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_a_part_longer_than_its_file_is_fetched_anew(part: PartFile) -> None:
    await began(part)
    with part.path.open("ab") as file:
        file.write(LARGE)
    host = Host([answer(body=LARGE)])

    result = await fetch(host, part)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_small_results_leave_no_notes(part: PartFile) -> None:
    reply = answer(body=[CLIP[:100], httpx.ReadError("")], etag='"v1"', content_length=str(len(CLIP)))

    await trouble(ResultUnavailable, Host([reply]), part)

    assert "hero.part.json" not in left(part)


async def test_a_refused_url_keeps_what_is_there(part: PartFile) -> None:
    await began(part)

    await trouble(ResultRefused, Host([answer(403, b"")]), part)

    assert part.size() == 700_000


async def test_a_result_too_large_in_its_rest_is_given_up(part: PartFile) -> None:
    await began(part)

    await trouble(ResultTooLarge, Host([rest()]), part, max_bytes=1_500_000)

    assert left(part) == []


async def test_a_cancelled_download_closes_its_connection(part: PartFile) -> None:
    body = Body([])

    class Endless(Body):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield CLIP
            started.set()
            await anyio.sleep_forever()

    started = anyio.Event()
    body = Endless([])
    host = Host([httpx.Response(200, stream=body)])

    async with anyio.create_task_group() as group:
        group.start_soon(fetch, host, part)
        await started.wait()
        group.cancel_scope.cancel()

    assert body.closed
    assert left(part) == []


# --- a real host ---------------------------------------------------------------------------------


@asynccontextmanager
async def serving(handle: Callable[[anyio.abc.SocketStream, bytes], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve raw answers on a socket; yields its address as a url."""

    async def connection(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            await handle(stream, head)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, connection)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield f"http://127.0.0.1:{port}/clip.mp4?sig=SECRET"
        group.cancel_scope.cancel()


async def fetch_real(url: str, part: PartFile, **timeouts: float) -> Result:
    timeout = httpx.Timeout(timeouts.get("read", 10.0))
    async with httpx.AsyncClient(timeout=timeout) as http:
        fetcher = ResultFetcher(http, allow_loopback=True, max_bytes=10_000_000, clock=FakeClock())
        return await fetcher.fetch(url, part)


async def test_over_a_real_connection_a_cut_body_is_gone_on_with(part: PartFile) -> None:
    asked: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        asked.append(head)
        at = 0
        status = b"200 OK"
        if b"Range: bytes=" in head:
            at = int(head.partition(b"Range: bytes=")[2].partition(b"-")[0])
            status = b"206 Partial Content\r\nContent-Range: bytes %d-%d/%d" % (
                at,
                len(LARGE) - 1,
                len(LARGE),
            )
        await stream.send(
            b'HTTP/1.1 %s\r\nETag: "v1"\r\nContent-Length: %d\r\n\r\n' % (status, len(LARGE) - at)
        )
        await stream.send(LARGE[at : at + 900_000])  # and then the line goes dead

    async with serving(handle) as url:
        for _ in range(2):
            with pytest.raises(ResultUnavailable):
                await fetch_real(url, part)
        result = await fetch_real(url, part)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert [b"Range: bytes=" in head for head in asked] == [False, True, True]


async def test_over_a_real_connection_an_unframed_cut_is_seen(part: PartFile) -> None:
    """No length and no chunks: only the container tells."""

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CLIP[: len(CLIP) // 2])

    async with serving(handle) as url:
        with pytest.raises(ResultUnavailable, match="not a whole video/mp4"):
            await fetch_real(url, part)

    assert left(part) == []


async def test_over_a_real_connection_silence_ends(part: PartFile) -> None:
    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + CLIP[:100])
        await anyio.sleep_forever()

    async with serving(handle) as url:
        with pytest.raises(ResultUnavailable, match="no answer in time"):
            await fetch_real(url, part, read=0.1)


@pytest.mark.parametrize("reply", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
async def test_over_a_real_connection_garbage_is_temporary(part: PartFile, reply: bytes) -> None:
    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        if reply:
            await stream.send(reply)

    async with serving(handle) as url:
        with pytest.raises(ResultUnavailable) as caught:
            await fetch_real(url, part)

    assert "SECRET" not in str(caught.value)
