"""A service on loopback that answers with prepared bytes and remembers what it saw."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from runner.service.account import Account
from runner.service.http import Timeouts
from runner.service.protocol import Service
from runner.service.rivya.endpoints import open_service

TLS = Path(__file__).resolve().parent / "fixtures" / "tls"
KEY = "rvya_sk_very-secret-4711"
BODY = '{"model":"z-image","prompt":"зима ❄️","params":{},"client_request_id":"rb1-gen-1"}'.encode()
QUICK = Timeouts(connect_s=1.0, read_s=0.25, total_s=0.4)  # where no proper answer comes
PATIENT = Timeouts(connect_s=5.0, read_s=5.0, total_s=5.0)  # a busy machine takes its time to answer


@dataclass
class Wire:
    """What a service on loopback has seen, byte for byte."""

    url: str
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return [head.split(b"\r\n")[0].decode() for head in self.heads]

    def header(self, name: str) -> str | None:
        """Return a header of the latest request."""
        for line in self.heads[-1].decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Wire], Awaitable[None]]


async def take(reader: asyncio.StreamReader, wire: Wire) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    wire.heads.append(head)
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        length = lower.partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length or 0))
    wire.bodies.append(body)


async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, wire: Wire) -> None:
    """Close the connection once the request is there."""
    await take(reader, wire)


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, wire: Wire) -> None:
    """Keep the connection, and answer nothing."""
    await take(reader, wire)
    await asyncio.sleep(60)


def saying(data: bytes, *, again: bool = False) -> Answering:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await take(reader, wire)
        writer.write(data)
        await writer.drain()
        if again:
            await answer(reader, writer, wire)

    return answer


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def serving(answering: Answering, certificate: str = "") -> AsyncIterator[Wire]:
    """Serve on loopback; over TLS with a certificate of tests/fixtures/tls."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / f"{certificate}.pem")
    open_calls: set[asyncio.Task[None]] = set()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_calls.add(task)
        wire.connections += 1
        try:
            await answering(reader, writer, wire)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            open_calls.discard(task)
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, limit=2**24, ssl=context)
    scheme = "https" if certificate else "http"
    wire = Wire(url=f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield wire
    finally:
        server.close()
        for task in list(open_calls):
            task.cancel()
        await asyncio.sleep(0)


@asynccontextmanager
async def api_to(url: str, timeouts: Timeouts = PATIENT, now: float = 0.0) -> AsyncIterator[Service]:
    async with open_service(Account(url, KEY), now=lambda: now, timeouts=timeouts) as api:
        yield api


class Heard(httpx.AsyncBaseTransport):
    """A transport that tells when the head of an answer has been read: what is sent before is read with it."""

    def __init__(self, way: httpx.AsyncBaseTransport) -> None:
        self._way = way
        self.head = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._way.handle_async_request(request)
        self.head.set()
        return response

    async def aclose(self) -> None:
        await self._way.aclose()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
