"""HTTP/1.1 by hand: a server whose answers can be cut, dropped, reset, dripped or never sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

TLS = Path(__file__).parents[1] / "fixtures" / "tls"
REASONS = {200: "OK", 201: "Created", 202: "Accepted", 206: "Partial Content", 302: "Found"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it arrived. `path` is the part before `?`, still quoted."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    at: float  # time.monotonic()

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    @property
    def segments(self) -> list[str]:
        """The parts of the path, unquoted."""
        return [unquote(part) for part in self.path.strip("/").split("/")]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, and how badly it is to be sent.

    `cut_at` sends only so many bytes of the body and closes; `said_length` lies in Content-Length; `unframed` says
    nothing of its length, so that the connection's end is the body's.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    chunked: bool = False
    close: bool = False
    cut_at: int | None = None
    said_length: int | None = None
    unframed: bool = False
    head_pause_s: float = 0.0
    drip_s: float = 0.0  # pause between pieces of the body
    piece: int = 16_384
    then: Callable[[], Awaitable[None]] | None = field(default=None, compare=False)


class Dropped(Exception):
    """The connection ends without an answer; `reset` sends a RST instead of a FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


Handler = Callable[[Request], Awaitable[Answer]]


class Server:
    """Serves one handler on a loopback port of its own."""

    def __init__(self, handler: Handler, certificate: str = "") -> None:
        self._handler = handler
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(TLS / f"{certificate}.pem")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.open = 0
        self.most_open = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=1 << 20, backlog=1024, ssl=self._tls
        )

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        number = self.connections
        try:
            while await self._one(reader, writer, number):
                pass
        except Dropped as drop:
            if drop.reset:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = tuple(
            (key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)
        )
        request = Request(
            method=method,
            target=target,
            headers=headers,
            body=await _body(reader, {key.lower(): value for key, value in headers}),
            connection=number,
            at=time.monotonic(),
        )
        answer = await self._handler(request)
        keep = await _send(writer, answer, head_only=method == "HEAD")
        if answer.then is not None:
            await answer.then()
        return keep and (request.header("connection") or "").lower() != "close"


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        pieces = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            pieces.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return b"".join(pieces)
    return await reader.readexactly(int(headers.get("content-length", "0")))


async def _send(writer: asyncio.StreamWriter, answer: Answer, *, head_only: bool) -> bool:
    """Send an answer; return whether the connection can be used again."""
    close = answer.close or answer.unframed or answer.cut_at is not None or answer.said_length is not None
    headers = list(answer.headers)
    if answer.unframed:
        pass
    elif answer.chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    else:
        length = len(answer.body) if answer.said_length is None else answer.said_length
        headers.append(("Content-Length", str(length)))
    headers.append(("Connection", "close" if close else "keep-alive"))
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Whatever')}"]
    head = "\r\n".join([*lines, *(f"{key}: {value}" for key, value in headers)]) + "\r\n\r\n"
    data = head.encode("latin-1")
    if answer.head_pause_s:
        # In the middle of the status line: slower than any buffer can hide.
        writer.write(data[:7])
        await writer.drain()
        await asyncio.sleep(answer.head_pause_s)
        data = data[7:]
    writer.write(data)
    if not head_only:
        await _send_body(writer, answer)
    await writer.drain()
    return not close


async def _send_body(writer: asyncio.StreamWriter, answer: Answer) -> None:
    body = answer.body if answer.cut_at is None else answer.body[: answer.cut_at]
    for start in range(0, len(body), answer.piece):
        piece = body[start : start + answer.piece]
        writer.write(
            f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
            if answer.chunked and not answer.unframed
            else piece
        )
        await writer.drain()
        if answer.drip_s:
            await asyncio.sleep(answer.drip_s)
    if answer.chunked and not answer.unframed and answer.cut_at is None:
        writer.write(b"0\r\n\r\n")
