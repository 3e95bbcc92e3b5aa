"""Results: what we ask for, and what we take and refuse."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from runner.fetch import ResultRefused, ResultTooLarge, ResultUnacceptable, ResultUnavailable
from runner.files import OutputFolder
from runner.parts import PartFile
from tests.result_hosts import CLIP, LARGE, MEDIA, URL, Body, FakeClock, Host, answer, fetch, left, trouble

pytestmark = pytest.mark.anyio


@pytest.fixture
def part(tmp_path: Path) -> PartFile:
    return OutputFolder(tmp_path / "out", owner="autumn").part("hero")


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

    await fetch(host, part)

    for request in host.asked:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("rivya-batch/")


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
