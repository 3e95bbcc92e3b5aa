"""The API client on real sockets: what came back, whether it is certain, and that the key is in none of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import traceback
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runner.service.account import Account
from runner.service.http import MAX_ANSWER_BYTES, Timeouts, told_s
from runner.service.protocol import Meaning, Service
from runner.service.rivya.endpoints import open_service
from runner.service.transports import make_transport
from tests.prepared_bytes import (
    BODY,
    KEY,
    QUICK,
    Answering,
    Heard,
    Wire,
    api_to,
    hang,
    http,
    say_nothing,
    saying,
    serving,
    take,
)

pytestmark = pytest.mark.anyio


# --- what an answer tells ---


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


# --- sent, and no proper answer -------------------------------------------------------------------


async def close_at_once(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _wire: Wire) -> None:
    return


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
    await take(reader, wire)
    linger = b"\x01\0\0\0\0\0\0\0"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


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


async def test_a_redirect_is_told_with_where_it_leads_but_without_its_query() -> None:
    away = http(307, location=f"https://www.rivya.example/api/v1/x?token=secret-1&key={KEY}")
    async with serving(saying(away)) as wire, api_to(wire.url) as api:
        words = (await api.poll("t")).words()

    assert words.startswith(
        "HTTP 307, a redirect to https://www.rivya.example/api/v1/x, which is not followed"
    )
    assert "secret" not in words


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


# --- the key ---


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
