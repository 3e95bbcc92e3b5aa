"""The API client on real sockets: what was sent, what came back, and which of both is certain."""

from __future__ import annotations

import asyncio
import errno
import gzip
import io
import json
import socket
import time
import traceback
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from runner.model import Kind
from runner.service.account import Account
from runner.service.http import MAX_ANSWER_BYTES, Timeouts, told_s
from runner.service.protocol import Meaning, Service
from runner.service.rivya.endpoints import ascii_name, open_service
from runner.service.transports import make_transport
from tests.prepared_bytes import (
    BODY,
    KEY,
    QUICK,
    Answering,
    Heard,
    Wire,
    api_to,
    closed_port,
    http,
    saying,
    serving,
    take,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (
            b"<html><head><title>Just a\n moment...</title>",
            {"server": "cloudflare"},
            'a web page instead of an answer: "Just a moment..." (server: cloudflare)',
        ),
        (b"<TITLE lang=en>Sign in &amp; go</TITLE>", {}, 'a web page instead of an answer: "Sign in & go"'),
        (b"<html>hello", {"server": "nginx"}, "a web page instead of an answer (server: nginx)"),
        (b"<title>" + b"x" * 500 + b"</title>", {}, f'a web page instead of an answer: "{"x" * 80}"'),
        (b"x" * 30_000 + b"<title>far</title>", {}, "a web page instead of an answer"),
    ],
)
async def test_a_page_is_named_as_what_it_is(body: bytes, headers: dict[str, str], words: str) -> None:
    """It was told as "HTTP 403, text/html", and our key was blamed."""
    page = http(403, body, content_type="text/html; charset=utf-8", **headers)
    async with serving(saying(page)) as wire, api_to(wire.url) as api:
        answer = await api.poll("t")

    assert (answer.meaning, answer.words()) == (Meaning.UNCLEAR, f"HTTP 403, {words}")


DATE = "Sun, 29 Nov 2026 12:00:00 GMT"
NOON_S = 1_795_953_600.0


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, None),
        ({"age": "3"}, None),
        ({"date": "noon"}, None),
        ({"date": DATE}, NOON_S),
        ({"date": DATE, "age": "0"}, NOON_S),
        ({"date": DATE, "age": "3"}, NOON_S + 3),
        ({"date": DATE, "age": " 36000 "}, NOON_S + 36_000),
        # Of two caches one behind the other; the later one knows more.
        ({"date": DATE, "age": "3, 5"}, NOON_S + 5),
        # What is no age takes nothing from the date, which is not too late.
        ({"date": DATE, "age": ""}, NOON_S),
        ({"date": DATE, "age": "-3"}, NOON_S),
        ({"date": DATE, "age": "old"}, NOON_S),
        ({"date": DATE, "age": "2147483648"}, NOON_S),
        ({"date": DATE, "age": "999999999"}, NOON_S),
    ],
)
def test_an_answer_out_of_a_cache_tells_a_time_that_is_no_later_than_now(
    headers: dict[str, str], told: float | None
) -> None:
    assert told_s(headers) == told


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


# --- sent, and no proper answer -------------------------------------------------------------------


async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, wire: Wire) -> None:
    await take(reader, wire)


async def close_at_once(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _wire: Wire) -> None:
    return


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
    await take(reader, wire)
    linger = b"\x01\0\0\0\0\0\0\0"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, wire: Wire) -> None:
    await take(reader, wire)
    await asyncio.sleep(60)


def dripping(first: bytes, drop: bytes) -> Answering:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await take(reader, wire)
        writer.write(first)
        while True:
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(drop)

    return drip


OK_CUT = b"HTTP/1.1 200 OK\r\n"
UNCLEAR: dict[str, Answering] = {
    "closed without a byte": close_at_once,
    "closed without an answer": say_nothing,
    "reset": reset,
    "hangs": hang,
    "head cut": saying(b"HTTP/1.1 201 Crea"),
    "head cut after a header": saying(OK_CUT + b"content-type: app"),
    "body shorter than said": saying(OK_CUT + b'content-length: 99\r\n\r\n{"id":"t"}'),
    "chunks without an end": saying(OK_CUT + b'transfer-encoding: chunked\r\n\r\na\r\n{"id":"t"}\r\n'),
    "chunks that are none": saying(OK_CUT + b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
    "JSON cut, no length": saying(OK_CUT + b'connection: close\r\n\r\n{"id":"t","status":"que'),
    "a refusal that is cut": saying(b"HTTP/1.1 400 Bad\r\ncontent-length: 99\r\n\r\n{"),
    "head that drips": dripping(b"HTTP/1.1 200 OK\r\nx: ", b"a"),
    "body that drips": dripping(OK_CUT + b"content-length: 100000\r\n\r\n", b" "),
    "SSH": saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "NUL": saying(b"\0\0\0\0\r\n\r\n"),
    "HTTP/2": saying(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\r\n\r\n"),
    "no number for a status": saying(b"HTTP/1.1 abc OK\r\n\r\n"),
    "status 42": saying(b"HTTP/1.1 42 Odd\r\ncontent-length: 0\r\n\r\n"),
    "reason in no encoding": saying(b"HTTP/1.1 400 \xff\xfe\r\ncontent-length: 0\r\n\r\n"),
    "a header that is none": saying(OK_CUT + b"no colon\r\n\r\n"),
    "a header of 100 kB": saying(OK_CUT + b"x: " + b"a" * 100_000 + b"\r\n\r\n"),
    "two lengths": saying(OK_CUT + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
    "gzip that is cut": saying(http(201, gzip.compress(b'{"id":"t"}')[:-5], content_encoding="gzip")),
    "gzip that is damaged": saying(http(201, b"\x1f\x8b\x08" + b"\xff" * 40, content_encoding="gzip")),
    "packed, nobody knows how": saying(http(201, b"\x8b\x02\x80{}\x03", content_encoding="br")),
    "something behind the JSON": saying(http(201, b'{"id":"t"} {"id":"t"}')),
    "a word behind the JSON": saying(http(201, b'{"id":"t"} ok')),
    "two commas behind the JSON": saying(http(201, b'{"id":"t"},,')),
    "100 and no more": saying(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "101": saying(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    "empty 200": saying(http(200)),
    "204": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "HTML with 200": saying(http(200, b"<html>Sign in</html>", content_type="text/html")),
    "a JSON text": saying(http(200, b'"task_1"')),
    "a JSON list": saying(http(200, b'[{"id":"task_1"},{"id":"task_2"}]')),
    "NaN": saying(http(200, b"NaN")),
    "deep JSON": saying(http(200, b'{"a":' * 100_000)),
    "HTML with 400": saying(http(400, b"<html>Bad gateway</html>")),
    "502": saying(http(502, b"<html>Bad gateway</html>")),
    "503 HTML": saying(http(503, b"<html>Maintenance</html>")),
}


TASK = b'{"id": "t", "status": "queued", "prompt": "caf\xc3\xa9"}'
READ: dict[str, bytes] = {
    "plain": http(201, TASK),
    "gzip": http(201, gzip.compress(TASK), content_encoding="gzip"),
    "gzip in two pieces": http(
        201, gzip.compress(TASK[:9]) + gzip.compress(TASK[9:]), content_encoding="x-gzip"
    ),
    "gzip, and more behind it": http(201, gzip.compress(TASK) + b"\0\0", content_encoding="gzip"),
    "gzip, twice": http(201, gzip.compress(gzip.compress(TASK)), content_encoding="gzip, gzip"),
    "gzip, said twice": http(201, gzip.compress(TASK), content_encoding="gzip, gzip"),
    "gzip that nobody said": http(201, gzip.compress(TASK)),
    "gzip that is said to be plain": http(201, gzip.compress(TASK), content_encoding="identity"),
    "deflate": http(201, zlib.compress(TASK), content_encoding="deflate"),
    "deflate without a header": http(201, zlib.compress(TASK, wbits=-15), content_encoding="deflate"),
    "gzip, only said": http(201, TASK, content_encoding="gzip"),
    "deflate, only said": http(201, TASK, content_encoding="deflate"),
    "br, only said": http(201, TASK, content_encoding="br"),
    "a coding of no meaning": http(201, TASK, content_encoding="utf-8"),
    "gzip, only said, with a byte order mark": http(201, b"\xef\xbb\xbf" + TASK, content_encoding="gzip"),
    "UTF-8 with a byte order mark": http(201, b"\xef\xbb\xbf" + TASK),
    "UTF-16": http(201, TASK.decode().encode("utf-16")),
    "UTF-16, the other way round": http(201, b"\xfe\xff" + TASK.decode().encode("utf-16-be")),
    "UTF-16, said to be gzip": http(201, TASK.decode().encode("utf-16"), content_encoding="gzip"),
    "UTF-32": http(201, TASK.decode().encode("utf-32")),
    "a line's end behind it": http(201, TASK + b"\r\n\n"),
    "NULs behind it": http(201, TASK + b"\0" * 99),
    "a comma behind it": http(201, TASK + b",\n"),
    "all of it behind it": http(201, b"\n " + TASK + b"\n\0 , \0\v\f\n"),
    "UTF-16 with NULs behind it": http(201, (TASK.decode() + "\0\n").encode("utf-16")),
}


@pytest.mark.parametrize("name", READ)
async def test_an_answer_is_read_however_it_is_packed_or_written(name: str) -> None:
    """One that only said that it was packed was told as broken off, and was unclear for ever."""
    async with serving(saying(READ[name])) as wire, api_to(wire.url, QUICK) as api:
        answer = await api.submit(BODY, "k")

    assert (answer.meaning, answer.status) == (Meaning.OK, 201)
    assert answer.task is not None
    assert answer.task.id == "t"
    assert answer.data is not None
    assert answer.data["prompt"] == "café"


async def test_what_is_behind_the_json_is_looked_at_in_no_time() -> None:
    body = b'{"a": "' + b" \0," * 1_000_000 + b'x"}x'
    began = time.monotonic()
    async with serving(saying(http(201, body))) as wire, api_to(wire.url) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.UNCLEAR
    assert time.monotonic() - began < 5.0


async def test_a_chunk_that_is_none_behind_a_head_that_came_is_unclear_and_ends() -> None:
    """There aiohttp closes the connection and tells nobody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await take(reader, wire)
        writer.write(OK_CUT + b'transfer-encoding: chunked\r\n\r\na\r\n{"id":"t"}\r\n')
        await way.head.wait()
        writer.write(b"zz\r\n")
        await asyncio.Event().wait()

    async with serving(answer) as wire:
        way = Heard(make_transport(wire.url, 1))
        account = Account(wire.url, KEY)
        async with open_service(account, now=lambda: 0.0, timeouts=QUICK, transport=way) as api:
            got = await asyncio.wait_for(api.submit(BODY, "k"), 8.0)

    assert got.meaning is Meaning.UNCLEAR
    assert "was cut off: no answer in time" in got.message


async def test_the_reason_of_a_refusal_may_be_in_any_encoding() -> None:
    body = b'{"error":{"code":"invalid_request","message":"no"}}'
    refusal = http(400, body, content_type="application/json").replace(b"Whatever", b"D\xe9fendu")
    async with serving(saying(refusal, again=True)) as wire, api_to(wire.url) as api:
        for _ in range(12):  # more often than there are connections
            assert (await api.submit(BODY, "k")).status == 400

    assert wire.connections == 1


@pytest.mark.parametrize("name", UNCLEAR)
async def test_whatever_is_no_proper_answer_is_unclear_and_never_raises(name: str) -> None:
    began = time.monotonic()
    async with serving(UNCLEAR[name]) as wire, api_to(wire.url, QUICK) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is not Meaning.NEVER_LEFT
    assert answer.meaning is Meaning.UNCLEAR
    assert answer.words()
    assert "no connection" not in answer.words()
    assert len(wire.bodies) <= 1, "a POST is never repeated by the client itself"
    assert time.monotonic() - began < 10.0


async def test_an_answer_is_taken_up_to_a_size() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await take(reader, wire)
        writer.write(OK_CUT + b"connection: close\r\n\r\n")
        while True:
            writer.write(b" " * 1_000_000)
            await writer.drain()

    async with serving(flood) as wire, api_to(wire.url, Timeouts(read_s=5, total_s=5)) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.UNCLEAR
    assert f"{MAX_ANSWER_BYTES:,}" in answer.message


async def test_a_compressed_bomb_is_given_up() -> None:
    bomb = gzip.compress(bytes(100_000_000), compresslevel=1)
    async with (
        serving(saying(http(200, bomb, content_encoding="gzip"))) as wire,
        api_to(wire.url, Timeouts(read_s=5, total_s=5)) as api,
    ):
        answer = await api.submit(BODY, "k")

    assert answer.meaning is Meaning.UNCLEAR
    assert f"{MAX_ANSWER_BYTES:,}" in answer.message


async def test_a_post_on_a_connection_that_died_idle_is_sent_once_at_most() -> None:
    """A kept connection is closed while the second request is on its way: nobody may send it again."""

    async def once_then_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await take(reader, wire)
        writer.write(http(201, b'{"id":"t"}'))
        await take(reader, wire)

    async with serving(once_then_close) as wire, api_to(wire.url) as api:
        first = await api.submit(b"1", "k1")
        second = await api.submit(b"2", "k2")

    assert first.status == 201
    assert second.meaning is Meaning.UNCLEAR
    assert wire.bodies == [b"1", b"2"]


async def test_after_any_trouble_the_next_request_goes_through() -> None:
    times = Timeouts(connect_s=1.0, read_s=0.1, total_s=0.15)
    for name in ("reset", "hangs", "head that drips", "body that drips", "SSH", "chunks that are none"):
        async with serving(UNCLEAR[name]) as wire, one_connection(wire.url, times) as api:
            await api.submit(BODY, "k")
            await api.submit(BODY, "k")
            assert len(wire.heads) == 2, name


@asynccontextmanager
async def one_connection(url: str, timeouts: Timeouts) -> AsyncIterator[Service]:
    async with open_service(Account(url, KEY), now=time.time, timeouts=timeouts, connections=1) as api:
        yield api


# --- proper answers -------------------------------------------------------------------------------


async def test_a_redirect_is_not_followed() -> None:
    async with serving(saying(http(200, b'{"id":"stolen"}'))) as other:
        for status in (301, 302, 303, 307, 308):
            async with (
                serving(saying(http(status, location=f"{other.url}/x"))) as wire,
                api_to(wire.url) as api,
            ):
                answer = await api.submit(BODY, "k")
                assert (answer.status, answer.meaning) == (status, Meaning.UNCLEAR)

    assert other.connections == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("1.5", 1.5), ("Thu, 01 Jan 1970 00:01:10 GMT", 10.0), ("soon", None), ("86400", 86_400.0)],
)
async def test_retry_after_is_read_in_seconds_or_as_a_date(header: str, seconds: float | None) -> None:
    async with serving(saying(http(429, retry_after=header))) as wire, api_to(wire.url, now=60.0) as api:
        answer = await api.submit(BODY, "k")

    assert answer.retry_after_s == seconds
    assert answer.meaning is Meaning.RATE_LIMITED


async def test_a_refusal_sent_before_the_body_was_read_is_heard() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        wire.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(413, connection="close"))
        await writer.drain()

    async with serving(early) as wire, api_to(wire.url) as api:
        answer = await api.submit(BODY, "k")

    assert answer.meaning in (Meaning.REFUSED, Meaning.UNCLEAR)


async def test_the_request_id_of_a_header_is_kept() -> None:
    async with serving(saying(http(500, b"", x_request_id="req_7"))) as wire, api_to(wire.url) as api:
        assert "req_7" in (await api.submit(BODY, "k")).words()


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b'{"id":"t"}', {"id": "t"}),
        (b'\xef\xbb\xbf{"id":"t"}', {"id": "t"}),
        (b' \n{"id":"t"}\n ', {"id": "t"}),
        # An id is an id, also beside text in no encoding.
        (b'{"id":"t","m":"\xff"}', {"id": "t", "m": "\ufffd"}),
        # A message cut in the middle of an emoji, as JavaScript's slice does.
        (b'{"id":"t","m":"wow \\ud83e"}', {"id": "t", "m": "wow \ufffd"}),
        (b'{"id":"t","m":["\\udd89!",{"\\ud83e":1}]}', {"id": "t", "m": ["\ufffd!", {"\ufffd": 1}]}),
        (b'{"id":"t","m":"\\ud83e\\udd89"}', {"id": "t", "m": "🦉"}),
    ],
)
async def test_an_answer_is_read_as_text_that_can_be_written_down(raw: bytes, data: Any) -> None:
    async with serving(saying(http(201, raw))) as wire, api_to(wire.url) as api:
        answer = await api.submit(BODY, "k")

    assert answer.data == data
    json.dumps(answer.data, ensure_ascii=False).encode()


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


# --- the key --------------------------------------------------------------------------------------


async def test_the_key_is_in_no_repr_no_reply_and_no_traceback() -> None:
    account = Account("http://127.0.0.1:1", KEY)
    texts = [repr(account), str(account), account.key12, account.name, account.service]
    async with open_service(account, now=time.time, timeouts=QUICK) as api:
        texts += [repr(api), repr(await api.submit(BODY, "k"))]
        for name in UNCLEAR:
            if name not in ("hangs", "head that drips", "body that drips"):
                async with serving(UNCLEAR[name]) as wire, api_to(wire.url) as other:
                    try:
                        texts.append(repr(await other.submit(BODY, "k")))
                    except Exception as exc:
                        texts += [repr(exc), *traceback.format_exception(exc)]

    assert KEY not in "\n".join(texts)


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
