"""The way to result hosts: over real connections, to hosts that break every rule."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from anyio.streams.tls import TLSListener

from runner.errors import UsageError
from runner.results import fetch as fetching
from runner.results.fetch import ResultFetcher
from runner.results.fetch_errors import ResultRefused, ResultUnacceptable, ResultUnavailable
from runner.results.parts import PartFile
from runner.service.transports import make_transport, open_result_transport
from tests import result_hosts
from tests.prepared_bytes import Heard
from tests.result_hosts import CLIP, LARGE, FakeClock, fetch_real, left, serving

pytestmark = pytest.mark.anyio

LOCALHOST = Path(__file__).resolve().parents[1] / "fixtures" / "tls" / "localhost.pem"  # its own authority
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CLIP) + CLIP


part = result_hosts.part


async def test_over_a_real_connection_a_cut_body_is_gone_on_with(part: PartFile) -> None:
    asked: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        asked.append(head)
        at = 0
        status = b"200 OK"
        if b"range: bytes=" in head.lower():
            at = int(head.lower().partition(b"range: bytes=")[2].partition(b"-")[0])
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
        size = part.size()
        while size < len(LARGE) and len(asked) < 5:
            with suppress(ResultUnavailable):
                result = await fetch_real(url, part)
            assert part.size() > size  # the very end of what came may be lost with the line, never all of it
            size = part.size()

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert [b"range: bytes=" in head.lower() for head in asked] == [False, *[True] * (len(asked) - 1)]


async def test_over_a_real_connection_an_unframed_cut_is_seen(part: PartFile) -> None:
    """No length and no chunks: only the container tells, and it does not decide alone."""

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CLIP[: len(CLIP) // 2])

    async with serving(handle) as url:
        result = await fetch_real(url, part)

    assert (result.framed, result.warning is None) == (False, False)
    assert result.looks > 1  # not believed before other fetches have brought the same


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


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize(
    "rest",
    [b"zz\r\nrubbish\r\n", b"FFFFFFFFFFFFFFFFFFFF\r\nhello\r\n", b"0\r\nno trailer\r\n\r\n"],
    ids=["no length", "too long", "no trailer"],
)
async def test_a_chunk_that_is_none_ends_in_time(
    part: PartFile, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    """Behind a head that has come: there aiohttp closes the connection and tells nobody."""
    monkeypatch.setattr(fetching, "GRACE_S", 0.05)

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(CHUNKS)
        await heard.head.wait()
        await stream.send(rest)
        await anyio.sleep_forever()

    async with serving(handle) as url, open_result_transport("http://127.0.0.1", 2) as way:
        heard = Heard(way.http)
        fetcher = ResultFetcher(
            heard,
            allow_loopback=True,
            max_bytes=10_000_000,
            clock=FakeClock(),
            timeout=httpx.Timeout(0.1, connect=5.0),
        )
        with anyio.fail_after(8.0), pytest.raises(ResultUnavailable, match="no answer in time"):
            await fetcher.fetch(url, part)


@pytest.mark.parametrize(
    "drop", [b"HTTP/1.1 102 Processing\r\n\r\n", b"X-More: of it\r\n"], ids=["progress", "headers"]
)
async def test_a_head_that_never_ends_is_given_up(
    part: PartFile, monkeypatch: pytest.MonkeyPatch, drop: bytes
) -> None:
    monkeypatch.setattr(fetching, "HEAD_S", 0.3)

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n" if drop.startswith(b"X") else b"")
        with suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(drop)
                await anyio.sleep(0.02)

    async with serving(handle) as url:
        with anyio.fail_after(8.0), pytest.raises(ResultUnavailable, match="no answer in time"):
            await fetch_real(url, part)


@pytest.mark.parametrize("reason", [b"N\xe9ant", b"\xff\xfe", "非".encode(), b""])
async def test_a_reason_in_no_known_encoding_is_nobodys_trouble(part: PartFile, reason: bytes) -> None:
    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(b"HTTP/1.1 404 %s\r\nContent-Length: 0\r\n\r\n" % reason)

    async with serving(handle) as url:
        for _ in range(3):  # more often than there are connections: none is kept from the others
            with pytest.raises(ResultRefused, match="404"):
                await fetch_real(url, part)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnot a length\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + CLIP[:1024],
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n1234567",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon at all\r\n\r\n",
    ],
    ids=["no chunk", "a cut chunk", "a long header", "two lengths", "no version", "no status", "no header"],
)
async def test_what_is_no_http_is_temporary(part: PartFile, reply: bytes) -> None:
    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(reply)

    async with serving(handle) as url:
        with pytest.raises(ResultUnavailable) as caught:
            await fetch_real(url, part)

    assert "SECRET" not in f"{caught.value!r} {caught.value.message}"


async def test_a_host_that_is_not_there_is_temporary(part: PartFile) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ResultUnavailable, match="no connection"):
        await fetch_real(f"http://127.0.0.1:{port}/clip.mp4?sig=SECRET", part)


async def test_a_connection_that_is_dropped_is_not_called_slow(part: PartFile) -> None:
    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        pass

    async with serving(handle) as url:
        with pytest.raises(ResultUnavailable, match="closed before an answer"):
            await fetch_real(url, part)


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb/c%7e%41/clip.mp4?X-Amz-Credential=AKIA%2F2026%2fus&sig=a%2Bb+c%3D=&at=2026-11-28T01%3A00Z",
        "/clip%20one.mp4?se=2026-11-28T16:00:00Z&sp=r&sig=q%2Bz%2F8%3D&x=%C3%A9&empty=",
        "/a;b=1,2/!$&'()*+@:/clip.mp4?a=b;c=d&e=f?g/h",
    ],
)
async def test_a_signed_url_goes_out_byte_for_byte(part: PartFile, target: str) -> None:
    asked: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        asked.append(head)
        await stream.send(WHOLE)

    async with serving(handle) as url:
        await fetch_real(url.partition("/clip")[0] + target, part)

    assert asked[0].startswith(b"GET %s HTTP/1.1\r\n" % target.encode())


async def test_a_long_way_round_is_gone(part: PartFile) -> None:
    """A redirect to a signed url of 20,000 bytes."""
    asked: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        asked.append(head)
        target = b"/clip.mp4?sig=" + b"x" * 20_000
        found = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target
        await stream.send(found if len(asked) == 1 else WHOLE)

    async with serving(handle) as url:
        await fetch_real(url, part)

    assert len(asked[1]) > 20_000


async def test_nothing_but_what_is_asked_for_is_said(part: PartFile) -> None:
    """No key, no cookie that an earlier answer has set, no name of a library."""
    asked: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        asked.append(head)
        await stream.send(WHOLE.replace(b"\r\n\r\n", b"\r\nSet-Cookie: seen=1; Path=/\r\n\r\n", 1))

    async with serving(handle) as url, open_result_transport("http://127.0.0.1", 2) as way:
        fetcher = ResultFetcher(way.http, allow_loopback=True, max_bytes=10_000_000, clock=FakeClock())
        for _ in range(2):
            await fetcher.fetch(url, part)

    for head in asked:
        names = {line.partition(b":")[0].lower() for line in head.strip().split(b"\r\n")[1:]}
        assert names <= {b"host", b"accept", b"accept-encoding", b"user-agent", b"connection"}
        assert b"aiohttp" not in head.lower()
    assert len(asked) == 2


def test_the_certificates_of_this_machine_are_trusted_and_read_once(tmp_path: Path) -> None:
    """Those that are named, for our own context and, since this may be somebody's process, for aiohttp's."""
    program = """
import os, ssl
os.environ["SSL_CERT_FILE"] = "here.pem"
os.environ.pop("SSL_CERT_DIR", None)
before = dict(os.environ)
from runner.service import transports
way = transports.make_transport("https://rivya.ai", 2)
from aiohttp import connector
assert dict(os.environ) == before
ours, theirs = transports.trusted(), connector._SSL_CONTEXT_VERIFIED
assert ours is transports.trusted()
assert ours.verify_mode is ssl.CERT_REQUIRED and ours.check_hostname
print(ours.cert_store_stats()["x509_ca"], theirs.cert_store_stats()["x509_ca"])
"""
    shutil.copy(LOCALHOST, tmp_path / "here.pem")
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (found.stdout, found.stderr) == ("1 1\n", "")


def test_what_takes_longest_to_import_waits_for_the_first_request() -> None:
    """A run with nothing left to do makes none."""
    program = (
        "import sys; from runner.service.transports import make_transport; "
        "way = make_transport('http://127.0.0.1:9', 2); print('httpx' in sys.modules, 'aiohttp' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout == "True False\n"


async def test_results_are_asked_of_proven_hosts_only_wherever_the_service_is() -> None:
    """Also while the service itself is on this machine, over plain http."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(LOCALHOST)
    came: list[bytes] = []

    async def serve(stream: anyio.abc.ByteStream) -> None:
        with suppress(ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream):
            came.append(await stream.receive())

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = plain.extra(anyio.abc.SocketAttribute.local_port)
    async with TLSListener(plain, context) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        for base_url in ("https://rivya.ai", "http://127.0.0.1:9"):
            async with open_result_transport(base_url, 2) as way:
                request = httpx.Request("GET", f"https://127.0.0.1:{port}/x")
                with pytest.raises(httpx.TransportError, match="certificate"):
                    await way.http.handle_async_request(request)
        group.cancel_scope.cancel()

    assert came == []


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://127.0.0.1:1080",
        "127.0.0.1:3128",
        "http://",
        "http://u\N{EURO SIGN}:SECRET@proxy:1",
        "http://proxy:99999",
    ],
)
def test_a_proxy_we_cannot_go_through_is_said_at_once(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")

    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        make_transport("https://rivya.ai", 2)

    assert "SECRET" not in f"{caught.value.message} {caught.value.hint}"


# --- names ---------------------------------------------------------------------------------------


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every name have the first of these addresses, then the next, at last for ever the last."""
    addresses: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: int, *rest: Any, **more: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if not name.endswith(".example"):
            return real(host, port, *rest, **more)
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return addresses


async def test_a_name_that_is_answered_differently_a_moment_later_is_caught(
    part: PartFile, answers: list[str]
) -> None:
    answers += ["93.184.216.34", "127.0.0.1"]
    came: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        came.append(head)

    async with serving(handle) as url, open_result_transport("https://rivya.ai", 2) as way:
        port = url.split(":")[2].partition("/")[0]
        fetcher = ResultFetcher(way.http, allow_loopback=False, max_bytes=10_000_000, clock=FakeClock())
        with pytest.raises(ResultUnacceptable, match=r"127\.0\.0\.1, which is not a public one"):
            await fetcher.fetch(f"https://media.example:{port}/clip.mp4?sig=SECRET", part)

    assert came == []
    assert left(part) == []


async def test_a_name_of_this_machine_is_fine_where_the_service_is_here(
    part: PartFile, answers: list[str]
) -> None:
    answers += ["127.0.0.1"]

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(WHOLE)

    async with serving(handle) as url:
        result = await fetch_real(url.replace("127.0.0.1", "results.example"), part)

    assert result.size_bytes == len(CLIP)


async def test_behind_a_proxy_of_the_own_network_its_name_is_not_judged(
    part: PartFile, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers += ["127.0.0.1"]
    came: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        came.append(head)
        await stream.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with serving(handle) as url:
        port = url.split(":")[2].partition("/")[0]
        monkeypatch.setenv("HTTPS_PROXY", f"http://proxy.example:{port}")
        monkeypatch.setenv("NO_PROXY", "")
        async with open_result_transport("https://rivya.ai", 2) as way:
            assert way.proxied
            fetcher = ResultFetcher(
                way.http, allow_loopback=False, max_bytes=10_000_000, clock=FakeClock(), proxied=True
            )
            with pytest.raises(ResultUnavailable):
                await fetcher.fetch("https://media.example/clip.mp4?sig=SECRET", part)

    assert came[0].startswith(b"CONNECT media.example:443 ")
