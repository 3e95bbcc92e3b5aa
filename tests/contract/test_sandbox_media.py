"""Results are real files of the right type and shape, served as a storage host would."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from runner.sandbox import results
from runner.sandbox.catalogue import load_catalogue
from runner.sandbox.sniff import sniff
from tests.contract.sandbox_inside import GROK, inside

pytestmark = pytest.mark.anyio

CLIPS = Path(results.__file__).parent / "media"


def png_size(data: bytes) -> tuple[int, int]:
    """Read a PNG to its end, checking every chunk, and return (width, height)."""
    at, pixels, size = 8, b"", (0, 0)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(name + body)
        if name == b"IHDR":
            size = struct.unpack_from(">II", body)
        pixels += body if name == b"IDAT" else b""
        at += length + 12
    assert at == len(data)
    assert len(zlib.decompress(pixels)) == size[1] * (size[0] * 3 + 1)
    return size


def mp4_size(data: bytes) -> tuple[int, int]:
    """Walk the boxes of an MP4 to its end and return (width, height) of its picture track."""
    at, names = 0, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        names.append(data[at + 4 : at + 8])
        at += length
    assert at == len(data)
    assert names[:2] == [b"ftyp", b"moov"], "a browser can start before the end has come"
    header = data.index(b"tkhd")
    wide, high = struct.unpack_from(">II", data, header + 4 + 76)
    return wide >> 16, high >> 16


def jpeg_size(data: bytes) -> tuple[int, int]:
    frame = data.index(b"\xff\xc0")
    high, wide = struct.unpack_from(">HH", data, frame + 5)
    assert data.endswith(b"\xff\xd9")
    return wide, high


def test_all_clips_together_stay_small() -> None:
    sizes = [clip.stat().st_size for clip in CLIPS.iterdir() if clip.suffix in {".mp4", ".mp3", ".ogg"}]
    assert len(sizes) == 9 * len(results.SCENES) * results.VIDEO_LOOKS + 6
    assert max(sizes) <= 20_000
    assert sum(sizes) <= 1_300_000


def test_a_clip_shows_what_its_prompt_is_about() -> None:
    assert results._scene("Canals in fog") == "water"
    assert results._scene("a bottle of tea, sea behind it") == "product"
    assert results._scene("雪") in results.SCENES


@pytest.mark.parametrize("aspect", ["1:1", "16:9", "9:16", "2:3", "3:2"])
async def test_a_video_has_the_aspect_ratio_asked_for(aspect: str) -> None:
    async with inside() as sandbox:
        ended = await sandbox.finished({**GROK, "params": {"aspect_ratio": aspect}})
        video = await sandbox.http.get(ended["result"]["primary_url"])
        wide, high = mp4_size(video.content)
        one, other = map(int, aspect.split(":"))
        assert wide / high == pytest.approx(one / other, rel=0.02)
        assert video.headers["content-type"] == "video/mp4"
        assert ended["id"].encode() in video.content, "no two results are the same"


@pytest.mark.parametrize(
    ("model", "params", "shape"),
    [
        ("z-image", {"aspect_ratio": "9:16"}, 9 / 16),
        ("z-image", {}, 1),
        ("nano-banana", {"imageSize": "21:9"}, 21 / 9),
        ("wan-2-7-image", {"aspect_ratio": "8:1"}, 8),
        ("qwen-image", {"image_size": "portrait_4_3"}, 3 / 4),
        ("seedream-3-0", {"image_size": "landscape_16_9"}, 16 / 9),
        ("4o-image", {"size": "3:2"}, 3 / 2),
        ("nano-banana", {"imageSize": "auto"}, 1),  # the contract's default
    ],
)
async def test_an_image_has_the_aspect_ratio_asked_for(
    model: str, params: dict[str, str], shape: float
) -> None:
    async with inside() as sandbox:
        ended = await sandbox.finished({"model": model, "prompt": "a", "params": params})
        image = await sandbox.http.get(ended["result"]["primary_url"])
        wide, high = png_size(image.content)
        assert wide / high == pytest.approx(shape, rel=0.04)


@pytest.mark.parametrize(
    ("model", "params", "types"),
    [
        ("nano-banana-pro", {"output_format": "jpg"}, ["image/jpeg"]),
        ("flux-kontext-pro", {}, ["image/jpeg"]),
        ("midjourney", {}, ["image/png"] * 4),
        ("seedance-2", {"return_last_frame": "true"}, ["video/mp4", "image/png"]),
        ("suno-music", {}, ["audio/mpeg"] * 2),
        ("elevenlabs-sound-effect-v2", {"output_format": "pcm_16000"}, ["audio/wav"]),
        ("elevenlabs-sound-effect-v2", {"output_format": "opus_48000_32"}, ["audio/ogg"]),
        ("sora-2-pro", {"size": "high", "aspect_ratio": "portrait"}, ["video/mp4"]),
    ],
)
async def test_the_type_of_a_result_follows_model_and_format(
    model: str, params: dict[str, str], types: list[str]
) -> None:
    async with inside() as sandbox:
        ended = await sandbox.finished({"model": model, "prompt": "a", "params": params})
        files = [await sandbox.http.get(url) for url in ended["result"]["urls"]]
        assert [file.headers["content-type"] for file in files] == types
        assert [(sniff(file.content[:64]) or "?")[1] for file in files] == types


async def test_every_model_yields_something() -> None:
    """All 52, each with nothing but what it requires."""
    required = {
        "elevenlabs-turbo-2-5": {"voice": "TX3LPaxmHKxFdv7VOQHJ"},
        "elevenlabs-multilingual-v2": {"voice": "TX3LPaxmHKxFdv7VOQHJ"},
        "elevenlabs-dialogue-v3": {"dialogue": [{"voice": "Adam", "text": "Hello"}]},
    }
    catalogue = load_catalogue()
    assert len(catalogue) == 52
    async with inside() as sandbox:
        for model in catalogue:
            body = {"model": model, "prompt": "a", "params": required.get(model, {})}
            ended = await sandbox.finished(body)
            file = await sandbox.http.get(ended["result"]["primary_url"])
            assert sniff(file.content[:64]), model


async def test_a_jpeg_is_whole() -> None:
    async with inside() as sandbox:
        body = {"model": "nano-banana-2", "prompt": "a", "params": {"aspect_ratio": "16:9"}}
        ended = await sandbox.finished(body)
        image = await sandbox.http.get(ended["result"]["primary_url"])
        wide, high = jpeg_size(image.content)
        assert wide / high == pytest.approx(16 / 9, rel=0.03)


async def test_parts_of_a_result_can_be_asked_for() -> None:
    async with inside() as sandbox:
        url = (await sandbox.finished())["result"]["primary_url"]
        whole = await sandbox.http.get(url)
        assert whole.headers["accept-ranges"] == "bytes"
        size = len(whole.content)

        async def part(span: str, **headers: str) -> tuple[int, bytes, str | None]:
            answer = await sandbox.http.get(url, headers={"range": span, **headers})
            return answer.status_code, answer.content, answer.headers.get("content-range")

        middle = f"bytes 100-199/{size}"
        assert await part("bytes=100-199") == (206, whole.content[100:200], middle)
        assert await part("bytes=100-") == (206, whole.content[100:], f"bytes 100-{size - 1}/{size}")
        assert await part("bytes=-10") == (206, whole.content[-10:], f"bytes {size - 10}-{size - 1}/{size}")
        assert await part(f"bytes={size}-") == (416, b"", f"bytes */{size}")
        assert await part("bytes=0-1,5-6") == (200, whole.content, None)
        assert await part("bytes=100-199", **{"if-range": '"old"'}) == (200, whole.content, None)
        assert await part("bytes=100-199", **{"if-range": whole.headers["etag"]}) == (
            206, whole.content[100:200], middle,
        )  # fmt: skip
        head = await sandbox.http.head(url)
        assert int(head.headers["content-length"]) == size


async def test_an_expired_url_is_renewed_by_asking_for_the_task() -> None:
    async with inside(result_ttl_s=600) as sandbox:
        ended = await sandbox.finished()
        await sandbox.control("advance", {"seconds": 700})
        assert (await sandbox.http.get(ended["result"]["primary_url"])).status_code == 403
        again = (await sandbox.poll(ended["id"])).json()
        assert (await sandbox.http.get(again["result"]["primary_url"])).status_code == 200


async def test_a_url_that_was_tampered_with_is_refused() -> None:
    async with inside() as sandbox:
        url = (await sandbox.finished())["result"]["primary_url"]
        assert (await sandbox.http.get(url[:-1] + ("0" if url[-1] != "0" else "1"))).status_code == 403
        assert (await sandbox.http.get(url.partition("?")[0])).status_code == 403
        assert (await sandbox.http.get(url.replace("/0.mp4", "/x.exe"))).status_code == 404


async def test_a_download_with_a_key_is_noticed() -> None:
    async with inside() as sandbox:
        url = (await sandbox.finished())["result"]["primary_url"]
        await sandbox.http.get(url)
        assert (await sandbox.control("ledger"))["results_with_authorization"] == 0
        await sandbox.get(url)
        assert (await sandbox.control("ledger"))["results_with_authorization"] == 1
