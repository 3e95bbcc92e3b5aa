"""The API client on real sockets: what is sent, and what certainly never left."""

from __future__ import annotations

import asyncio
import errno
import io
import socket
import time
from typing import Any

import httpx
import pytest

from runner.model import Kind
from runner.service.account import Account
from runner.service.http import Timeouts
from runner.service.protocol import Meaning
from runner.service.rivya.endpoints import ascii_name, open_service
from tests.prepared_bytes import (
    BODY,
    KEY,
    QUICK,
    Wire,
    api_to,
    closed_port,
    http,
    saying,
    serving,
)

pytestmark = pytest.mark.anyio


# --- what is sent ---------------------------------------------------------------------------------


async def test_a_submit_sends_exactly_the_committed_bytes_under_its_key() -> None:
    async with serving(saying(http(201, b'{"id":"t"}'), again=True)) as wire, api_to(wire.url) as api:
        for _ in range(3):
            assert (await api.submit(BODY, "rb1-gen-1")).status == 201

    assert wire.lines == ["POST /api/v1/generations HTTP/1.1"] * 3
    assert wire.bodies == [BODY] * 3
    assert wire.header("idempotency-key") == "rb1-gen-1"
    assert wire.header("authorization") == f"Bearer {KEY}"
    assert wire.header("content-type") == "application/json"


async def test_a_repeated_submit_that_is_still_allowed_sends_the_same_bytes_in_one_piece() -> None:
    async with serving(saying(http(201, b'{"id":"t"}'), again=True)) as wire, api_to(wire.url) as api:
        answer = await api.submit(BODY, "rb1-gen-1", still_allowed=lambda: True)

    assert answer.status == 201
    assert wire.bodies == [BODY]
    assert wire.header("content-length") == str(len(BODY))
    assert wire.header("transfer-encoding") is None


async def test_a_repeated_submit_whose_time_ended_while_it_connected_sends_no_body() -> None:
    """A laptop that sleeps between the connect and the first byte wakes up hours later."""
    connected: list[int] = []
    async with serving(saying(http(201, b'{"id":"t"}'), again=True)) as wire, api_to(wire.url) as api:

        def still_allowed() -> bool:
            connected.append(wire.connections)
            return False

        answer = await api.submit(BODY, "rb1-gen-1", still_allowed=still_allowed)
        again = await api.submit(BODY, "rb1-gen-1")

    assert (len(connected), again.status) == (1, 201)
    assert wire.bodies == [BODY]
    assert answer.status is None
    assert answer.meaning is Meaning.UNCLEAR  # never taken for a proof of anything


async def test_the_public_list_of_models_is_asked_for_without_our_key() -> None:
    async with serving(saying(http(200, b"{}"), again=True)) as wire, api_to(wire.url) as api:
        await api.credits()
        assert wire.header("authorization") == f"Bearer {KEY}"
        await api.models()

    assert wire.lines == ["GET /api/v1/credits HTTP/1.1", "GET /api/v1/models HTTP/1.1"]
    assert wire.header("authorization") is None
    assert KEY.encode() not in wire.heads[-1]


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        ("task_1", "task_1"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b", "a%20b"),
        ("50%", "50%25"),
        ("%2F", "%252F"),
        ("задача", "%D0%B7%D0%B0%D0%B4%D0%B0%D1%87%D0%B0"),
        ("../credits", "..%2Fcredits"),
        ("x\r\nHost: evil", "x%0D%0AHost%3A%20evil"),
        ("a.b..c", "a.b..c"),
    ],
)
async def test_a_task_id_is_one_segment_of_the_path_whatever_it_holds(task_id: str, path: str) -> None:
    async with serving(saying(http(200, b"{}"))) as wire, api_to(wire.url) as api:
        await api.poll(task_id)

    assert wire.lines == [f"GET /api/v1/generations/{path} HTTP/1.1"]


async def test_an_upload_streams_its_file_and_names_kind_model_and_request() -> None:
    content = bytes(range(256)) * 4000
    async with serving(saying(http(200, b'{"url":"https://f/1"}'))) as wire, api_to(wire.url) as api:
        answer = await api.upload(
            io.BytesIO(content),
            name='bö"ttle\r\n.png',
            kind=Kind.IMAGE,
            mime="image/png",
            size_bytes=len(content),
            model="grok-imagine-video",
            sha256="1",
        )

    assert answer.status == 200
    assert wire.lines == ["POST /api/v1/files HTTP/1.1"]
    body = wire.bodies[0]
    assert content in body
    assert b'filename="b__ttle__.png"' in body
    for name, value in (
        ("kind", "image"),
        ("model", "grok-imagine-video"),
        ("client_request_id", "rb1-file-1"),
    ):
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in body


async def test_an_upload_to_a_slow_service_is_given_time() -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        wire.heads.append(await reader.readuntil(b"\r\n\r\n"))
        left = int(wire.heads[0].lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while left:
            left -= len(await reader.read(left // 10 + 1_000_000))
            await asyncio.sleep(0.02)
        writer.write(http(200, b'{"url":"https://f/1"}'))

    content = bytes(20_000_000)
    async with serving(slowly) as wire, api_to(wire.url, Timeouts(read_s=5, total_s=0.2)) as api:
        answer = await api.upload(
            io.BytesIO(content), name="a.mp4", kind=Kind.VIDEO, mime="video/mp4", size_bytes=len(content),
            model="m", sha256="1",
        )  # fmt: skip

    assert answer.status == 200, answer.message


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.png", "a.png"),
        ('"', "_"),
        ("", "file"),
        ("  ", "file"),
        ("é" * 300, "_" * 100),
        ("a/b\\c", "a_b_c"),
    ],
)
def test_a_file_name_is_made_fit_for_a_header(name: str, plain: str) -> None:
    assert ascii_name(name) == plain


# --- nothing was sent, for certain ----------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}", "http://[::1]:{port}"]
)
async def test_a_refused_connection_never_left(url: str) -> None:
    async with api_to(url.format(port=closed_port())) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.NEVER_LEFT
    assert answer.message.startswith("no connection")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
        KeyError("a fault in a library"),
    ],
)
async def test_whatever_fails_before_there_is_a_connection_never_left(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: Any) -> Any:
        raise error

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    async with open_service(Account("https://rivya.invalid", KEY), now=time.time, timeouts=QUICK) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.NEVER_LEFT


async def test_a_failed_tls_handshake_never_left() -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Wire) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 plain http here\r\n\r\n")

    async with serving(no_tls) as wire, api_to(wire.url.replace("http:", "https:")) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.NEVER_LEFT


async def test_a_connection_that_is_never_made_never_left() -> None:
    """The backlog of a listening socket is full: the kernel answers nothing to a further one."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        async with api_to(f"http://127.0.0.1:{port}", Timeouts(connect_s=0.2, read_s=2, total_s=2)) as api:
            answer = await api.submit(BODY, "k")
        for one in full:
            one.close()

    assert answer.meaning is Meaning.NEVER_LEFT


# --- shapes, without sockets ----------------------------------------------------------------------

RAISED = [
    (httpx.ConnectError("refused"), False),
    (httpx.ConnectTimeout("slow"), False),
    (httpx.PoolTimeout("full"), False),
    (httpx.UnsupportedProtocol("gopher"), False),
    (httpx.ReadTimeout("slow"), True),
    (httpx.WriteTimeout("slow"), True),
    (httpx.ReadError("cut"), True),
    (httpx.WriteError("cut"), True),
    (httpx.CloseError("cut"), True),
    (httpx.ProxyError("407"), True),
    (httpx.RemoteProtocolError("garbage"), True),
    (httpx.LocalProtocolError("ours"), True),
    (httpx.DecodingError("gzip"), True),
    (httpx.TooManyRedirects("loop"), True),
    (OSError("no buffer space"), True),
    (RuntimeError("a library below is confused"), True),
    (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogate"), True),
]


@pytest.mark.parametrize(("error", "sent"), RAISED, ids=[type(error).__name__ for error, _ in RAISED])
async def test_every_error_below_becomes_a_reply(error: Exception, sent: bool) -> None:
    def raise_it(_: httpx.Request) -> httpx.Response:
        raise error

    account = Account("https://rivya.ai", KEY)
    async with open_service(account, now=time.time, transport=httpx.MockTransport(raise_it)) as api:
        for answer in (
            await api.submit(BODY, "k"),
            await api.poll("t"),
            await api.credits(),
            await api.models(),
        ):
            assert (answer.meaning is not Meaning.NEVER_LEFT) is sent
            assert answer.status is None
            assert KEY not in repr(answer)


def test_every_exception_of_httpx_has_been_thought_of() -> None:
    known = {type(error) for error, _ in RAISED}
    roots = {
        httpx.HTTPError, httpx.RequestError, httpx.TransportError, httpx.TimeoutException, httpx.NetworkError,
        httpx.ProtocolError, httpx.HTTPStatusError,
    }  # fmt: skip
    found = {
        value
        for value in vars(httpx).values()
        if isinstance(value, type) and issubclass(value, httpx.HTTPError)
    }

    assert found - roots - known == set()


# --- accounts --------------------------------------------------------------------------------------


def test_two_keys_of_one_service_are_two_accounts_and_an_alias_outlives_its_address() -> None:
    one, two = Account("https://rivya.ai", "a"), Account("https://rivya.ai", "b")

    assert one.name != two.name
    assert one.service == two.service == "https://rivya.ai"
    assert (
        Account("http://127.0.0.1:1", "a", alias="sandbox:").name
        == Account("http://127.0.0.1:2", "a", alias="sandbox:").name
    )


def test_a_bare_path_is_under_the_services_own_host_and_nothing_else_is_touched() -> None:
    account = Account("https://rivya.ai:8443/proxied", "a")

    assert account.absolute("/m/1.mp4?s=%2f+") == "https://rivya.ai:8443/m/1.mp4?s=%2f+"
    assert account.absolute("//cdn.example/1.mp4") == "https://cdn.example/1.mp4"
    for url in ("https://cdn.example/1?", "http://10.0.0.1/x", "file:///etc/passwd", "m/1.mp4", ""):
        assert account.absolute(url) == url
