"""Result hosts that answer what a test wants. They have public addresses written out, so that no test looks up a name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest

from runner.errors import Exit
from runner.results.fetch import RESUME_FROM_BYTES, ResultFetcher
from runner.results.fetch_errors import ResultTrouble
from runner.results.files import OutputFolder
from runner.results.parts import PartFile, Result
from runner.service.transports import open_result_transport

MEDIA = Path(__file__).resolve().parent / "fixtures" / "media"
CLIP = (MEDIA / "clip.mp4").read_bytes()
HOST = "https://93.184.216.34"
URL = f"{HOST}/results/clip.mp4?sig=SECRET"


@pytest.fixture
def part(tmp_path: Path) -> PartFile:
    """Where a result comes; a test module takes it with `part = result_hosts.part`."""
    return OutputFolder(tmp_path / "out", owner="autumn").part("hero")


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


async def fetch(host: Host, part: PartFile, url: str = URL, **options: Any) -> Result:
    """Fetch with a fresh fetcher, as a fresh process would."""
    options = {"allow_loopback": False, "max_bytes": 10_000_000, "clock": FakeClock(), **options}
    return await ResultFetcher(httpx.MockTransport(host), **options).fetch(url, part)


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
    """Fetch over the transport of a run."""
    timeout = httpx.Timeout(10.0, read=timeouts.get("read", 10.0))
    async with open_result_transport("http://127.0.0.1", 2) as way:
        fetcher = ResultFetcher(
            way.http, allow_loopback=True, max_bytes=10_000_000, clock=FakeClock(), timeout=timeout
        )
        return await fetcher.fetch(url, part)
