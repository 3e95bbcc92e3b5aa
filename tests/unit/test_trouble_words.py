"""What went wrong on the way, in words: nothing that only a programmer can read."""

from __future__ import annotations

import re
import socket
import struct
import time

import anyio
import anyio.abc
import httpx
import pytest

from runner.service.account import Account
from runner.service.rivya.endpoints import open_service
from runner.service.transports import in_words
from tests.result_hosts import serving

pytestmark = pytest.mark.anyio

KEY = "rvya_sk_test_0123456789abcdef"
PROGRAMMERS = re.compile(r"0x[0-9a-f]{4}|[<>{}]|\b\w+=|\bb['\"]|\bErrno\b|\b[A-Z]\w*Error\b|\w\(|url=|ssl:")
OK = b"HTTP/1.1 200 OK\r\n"

ANSWERS = {
    "nothing": (b"", "the connection closed before an answer: Server disconnected"),
    "half a head": (OK + b"Conte", "the connection closed"),
    "garbage": (b"garbage\r\n\r\n", "what came is no HTTP answer (Bad status line)"),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n", "what came is no HTTP answer (Bad status line)"),
    "no length": (OK + b"Content-Length: x\r\n\r\n", "what came is no HTTP answer (Invalid character"),
    "no header": (OK + b"no header\r\n\r\n", "what came is no HTTP answer (Invalid header"),
    "the key": (OK + f"{KEY} \r\n\r\n".encode(), "what came is no HTTP answer (Invalid header"),
    "a large header": (
        OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        "what came is no HTTP answer (Got more than",
    ),
    "no chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", ""),
    "a cut chunk": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP 200, then the answer was cut off: the connection broke off: Response payload is not completed: "
        "Not enough data to satisfy transfer length header",
    ),
    "a cut body": (
        OK + b"Content-Length: 500\r\n\r\nabc",
        "HTTP 200, then the answer was cut off: the connection broke off: Response payload is not completed: "
        "Not enough data to satisfy content length header (received 3 of 500 bytes)",
    ),
    "no gzip": (
        OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP 200, no content type",  # read as it came
    ),
}


async def words_of(url: str) -> str:
    async with open_service(Account(url, KEY), now=time.time) as api:
        return (await api.poll("t")).words()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("answer", "begin"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_none_is_told_in_words(answer: bytes, begin: str, reset: bool) -> None:
    async def handle(stream: anyio.abc.SocketStream, head: bytes) -> None:
        await stream.send(answer)
        if reset:
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with serving(handle) as url:
        words = await words_of(url.rsplit("/", 1)[0])

    assert words.startswith(begin) or reset
    assert not PROGRAMMERS.search(words), words
    assert KEY not in words


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_host_that_refuses_is_named(scheme: str, free_tcp_port: int) -> None:
    assert await words_of(f"{scheme}://127.0.0.1:{free_tcp_port}") == (
        f"no connection: 127.0.0.1:{free_tcp_port} cannot be connected to (Connection refused)"
    )


BROKE = "the connection broke off"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Cannot write to <ssl.SSLContext object at 0x7f0012345678> now", f"{BROKE}: Cannot write to"),
        (
            "Failed to send bytes into Connection<ConnectionKey(host='h')>",
            f"{BROKE}: Failed to send bytes into",
        ),
        ("<RawResponseMessage(version=1, code=200)>", BROKE),
        ("lost. ConnectionResetError(104, 'Connection reset')", f"{BROKE}: lost. Connection reset"),
        ("[Errno 104] Connection reset by peer", f"{BROKE}: Connection reset by peer"),
        ("cut: <TransferEncodingError: 400, message='Not enough data.'>", f"{BROKE}: cut: Not enough data."),
        ("plain words (with a remark), a < b", f"{BROKE}: plain words (with a remark), a < b"),
        ("", BROKE),
    ],
)
def test_objects_in_the_words_of_a_library_are_left_out(said: str, words: str) -> None:
    assert in_words(httpx.ReadError(said)) == words


LONG = ["Error('" * 100_000, "<" * 1_000_000, "x" * 1_000_000, "ConnectionError(1, '" + "y" * 1_000_000]


@pytest.mark.parametrize("text", LONG, ids=[text[:7] for text in LONG])
def test_a_long_error_takes_no_long_time(text: str) -> None:
    begun = time.process_time()
    in_words(httpx.ReadError(text))

    assert time.process_time() - begun < 2.0
