"""Results: what we ask for, and what we take and refuse."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterable

import anyio
import httpx
import pytest

from runner.results import fetch as fetching
from runner.results.fetch_errors import ResultRefused, ResultTooLarge, ResultUnacceptable, ResultUnavailable
from runner.results.parts import PartFile
from tests import result_hosts
from tests.result_hosts import CLIP, LARGE, MEDIA, URL, Body, FakeClock, Host, answer, fetch, left, trouble

pytestmark = pytest.mark.anyio


part = result_hosts.part


# --- what is accepted ----------------------------------------------------------------------------


async def test_a_whole_result_is_fetched(part: PartFile) -> None:
    host = Host([answer(content_type="video/mp4; codecs=avc1")])

    result = await fetch(host, part)

    assert part.path.read_bytes() == CLIP
    assert result.file.mime == "video/mp4"
    assert (result.warning, result.looks) == (None, 1)
    assert result.sha256 == hashlib.sha256(CLIP).hexdigest()
    assert result.size_bytes == len(CLIP)
    assert result.host == "93.184.216.34"
    assert str(host.asked[0].url) == URL
    assert left(part) == ["hero.part"]


async def test_the_content_decides_not_the_header(part: PartFile) -> None:
    png = (MEDIA / "still.png").read_bytes()

    result = await fetch(Host([answer(body=png, content_type="video/mp4")]), part)

    assert result.file.extension == "png"


async def test_a_body_without_any_frame_is_believed_where_its_container_ends(part: PartFile) -> None:
    """Neither a length nor chunks: a connection that breaks off looks just like its end."""
    sound = (MEDIA / "bare.mp3").read_bytes()

    whole = await fetch(Host([answer(length=False)]), part)
    cut = await fetch(Host([answer(body=CLIP[:-9], length=False)]), part)
    endless = await fetch(Host([answer(body=sound, length=False)]), part)

    assert (whole.warning, whole.looks) == (None, 1)
    assert cut.warning is not None
    assert "not a whole video/mp4" in cut.warning
    assert (cut.looks, cut.framed) == (2, False)
    assert (endless.warning, endless.looks) == (None, 2)


@pytest.mark.parametrize(
    ("body", "content_type", "name", "extension", "words"),
    [
        (CLIP[:-9], "video/mp4", "clip", "mp4", "not a whole video/mp4 file"),
        (CLIP + b"ad of the host", "video/mp4", "clip", "mp4", "not a whole video/mp4 file"),
        ((MEDIA / "still.png").read_bytes()[:-12], "", "x", "png", "IEND"),
        (b"PK\x03\x04" + bytes(99), "application/octet-stream", "x", "zip", "ZIP"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", "application/vnd.apple.mpegurl", "x", "m3u8", "playlist"),
        (b"glTF\2\0\0\0" + bytes(99), "", "x", "glb", "3D model"),
        (b"%PDF-1.4\n\0\1", "video/mp4", "x", "pdf", "PDF"),
        (b"\1\2\3\4" * 1000, "application/octet-stream", "x", "bin", "its type is not known"),
        (b"\1\2\3\4" * 1000, "application/octet-stream", "x.flac", "flac", "its type is not known"),
        (b"\1\2\3\4" * 1000, "audio/mpeg", "x.php", "mp3", "calls it audio/mpeg"),
        (gzip.compress(CLIP), "", "x", "gz", "gzip"),
    ],
)
async def test_what_came_whole_is_kept_with_a_warning(
    part: PartFile, body: bytes, content_type: str, name: str, extension: str, words: str
) -> None:
    """HTTP says that all of it came; that its container disagrees is no reason to throw away what is paid for."""
    result = await fetch(
        Host([answer(body=body, content_type=content_type)]), part, f"https://93.184.216.34/results/{name}"
    )

    assert part.path.read_bytes() == body
    assert result.file.extension == extension
    assert words in (result.warning or "")
    assert (result.looks, result.framed) == (2, True)


@pytest.mark.parametrize(
    ("status", "span", "words"),
    [
        (201, "", "HTTP 201"),
        (203, "", "a proxy on the way"),
        (206, "", "a part of a file"),
        (206, "1562 bytes", "a part of a file"),
        (206, "bytes 0-1561/*", "a part of a file"),
        (206, "bytes 0-99/100", "a part of a file"),
        (206, "bytes 0-99/1562", "a part of a file"),
        (299, "", "HTTP 299"),
    ],
)
async def test_a_whole_body_with_an_odd_status_is_kept_with_a_warning(
    part: PartFile, status: int, span: str, words: str
) -> None:
    assert len(CLIP) == 1562
    result = await fetch(Host([answer(status, **({"content_range": span} if span else {}))]), part)

    assert part.path.read_bytes() == CLIP
    assert result.file.mime == "video/mp4"
    assert words in (result.warning or "")
    assert (result.looks, result.framed) == (2, True)


async def test_the_warnings_of_a_status_and_of_a_container_are_both_told(part: PartFile) -> None:
    result = await fetch(Host([answer(203, CLIP[:-9])]), part)

    assert "not a whole video/mp4 file" in (result.warning or "")
    assert "a proxy on the way" in (result.warning or "")


@pytest.mark.parametrize("unit", ["bytes ", "Bytes=", "bytes  "])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_part_that_covers_everything_is_the_whole(part: PartFile, chunked: bool, unit: str) -> None:
    framing = {"transfer_encoding": "chunked"} if chunked else {}
    span = f"{unit}0-{len(CLIP) - 1}/{len(CLIP)}"

    result = await fetch(Host([answer(206, length=not chunked, content_range=span, **framing)]), part)
    await trouble(
        ResultUnavailable,
        Host([answer(206, [CLIP[:-9]], content_range=span, transfer_encoding="chunked")]),
        part,
    )

    assert (result.warning, result.looks, result.framed) == (None, 1, True)
    assert result.sha256 == hashlib.sha256(CLIP).hexdigest()


async def test_a_large_body_arrives_as_it_was_sent(part: PartFile) -> None:
    result = await fetch(Host([answer(body=LARGE)]), part)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_raw_samples_are_accepted_from_a_host_that_says_so(part: PartFile) -> None:
    samples = bytes(range(256)) * 40

    result = await fetch(Host([answer(body=samples, content_type="audio/basic")]), part)

    assert result.file.extension == "ulaw"


# --- what is asked -------------------------------------------------------------------------------


async def test_no_key_no_cookie_and_no_compression_is_offered(part: PartFile) -> None:
    host = Host([answer(302, b"", location="/two", set_cookie="session=1; Path=/"), answer()])

    await fetch(host, part)

    for request in host.asked:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("rivya-batch/")


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(LARGE)),
        ("x-gzip, identity", gzip.compress(LARGE[:900]) + gzip.compress(LARGE[900:])),
        ("gzip", gzip.compress(LARGE) + b"\0" * 500),
        ("deflate", zlib.compress(LARGE)),
        ("DEFLATE", zlib.compress(LARGE, wbits=-15)),
        ("gzip", LARGE),  # it only says so
        ("deflate", LARGE),
        ("br", LARGE),
        ("aws-chunked", LARGE),
    ],
)
async def test_a_body_is_unpacked_where_it_truly_is_packed(
    part: PartFile, encoding: str, packed: bytes
) -> None:
    """Some hosts pack although they were asked not to, and some only say that they did."""
    result = await fetch(Host([answer(body=packed, content_encoding=encoding, etag='"v1"')]), part)

    assert (result.file.mime, result.warning) == ("video/mp4", None)
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_a_packed_body_that_cannot_be_undone_is_kept_as_it_is(part: PartFile) -> None:
    result = await fetch(Host([answer(body=b"\x8b\x02" * 99, content_encoding="br")]), part)

    assert (result.file.extension, result.looks) == ("br", 2)
    assert "by hand" in (result.warning or "")


@pytest.mark.parametrize("broken", [gzip.compress(LARGE)[:-5], gzip.compress(LARGE)[:500] + b"x" * 5_000])
async def test_a_packed_body_that_breaks_off_is_cut(part: PartFile, broken: bytes) -> None:
    error = await trouble(
        ResultUnavailable, Host([answer(body=broken, content_encoding="gzip", etag='"v1"')]), part
    )

    assert "gzip data" in error.message


async def test_the_limit_counts_what_is_unpacked(part: PartFile) -> None:
    """A bomb of a hundred megabytes in a hundred kilobytes."""
    bomb = gzip.compress(bytes(100_000_000), 1)

    error = await trouble(
        ResultTooLarge, Host([answer(body=bomb, content_encoding="gzip")]), part, max_bytes=3_000_000
    )

    assert "max_result_bytes" in error.hint
    assert left(part) == []


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b"<!doctype html><html>Please sign in", "an HTML page"),
        (b'{"error": "expired"}', "JSON"),
        (b"<?xml version='1.0'?><Error>", "XML"),
        (b"upstream connect error", "text"),
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


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 304, 416])
async def test_a_host_in_trouble_is_asked_again_later(part: PartFile, status: int) -> None:
    error = await trouble(ResultUnavailable, Host([answer(status, b"", retry_after="7")]), part)

    assert error.headers["retry-after"] == "7"
    assert not error.out_of_reach
    assert not error.renew


@pytest.mark.parametrize("status", [200, 201, 203, 204, 206, 299])
async def test_an_empty_body_is_no_result_whatever_its_status(part: PartFile, status: int) -> None:
    error = await trouble(ResultUnacceptable, Host([answer(status, b"")]), part)

    assert "is empty" in error.message


@pytest.mark.parametrize(
    "span",
    ["bytes 0-999/2000", "bytes 9-1561/1562", "bytes 9-1570/1571", "bytes 0-1561/1563", "bytes 3-1564/*"],
)
async def test_a_part_nobody_asked_for_is_not_the_whole(part: PartFile, span: str) -> None:
    error = await trouble(ResultUnavailable, Host([answer(206, content_range=span, retry_after="7")]), part)

    assert "a part only" in error.message
    assert error.headers["retry-after"] == "7"
    assert left(part) == []


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


@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_silence_ends_wherever_it_begins(
    part: PartFile, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """A transport may miss it: each piece is waited for so long only, the first one too."""
    monkeypatch.setattr(fetching, "GRACE_S", 0.01)

    class Silent(Body):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(pieces):
                yield CLIP[:100]
            await anyio.sleep_forever()

    body = Silent([])
    host = Host([httpx.Response(200, stream=body)])

    with anyio.fail_after(8.0):
        error = await trouble(ResultUnavailable, host, part, timeout=httpx.Timeout(0.05))

    assert "no answer in time" in error.message
    assert body.closed


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
