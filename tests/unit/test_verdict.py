"""What a body counts as, by its first bytes, its Content-Type and its url: one table for the whole rule."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from runner.results.containers import identify
from runner.results.verdict import EVERY_TRY, Judgement, NoResult, judge, oddness_of

MEDIA = Path(__file__).resolve().parents[1] / "fixtures" / "media"
CLIP = (MEDIA / "clip.mp4").read_bytes()
SOUND = (MEDIA / "bare.mp3").read_bytes()
SAMPLES = b"\xff\xfb\x90\x00" + bytes(range(1, 200)) * 9
NOISE = b"\1\2\3\4" * 99
TEXT, LOTTIE = b"la la la", b'{"v": "5.5.7", "fr": 30}'


def verdict(body: bytes, content_type: str = "", path: str = "/r/1", cut: str | None = None) -> Judgement:
    found = identify(io.BytesIO(body), len(body))
    return judge(
        found.head,
        media=found.media,
        sure=found.sure,
        cut=cut,
        content_type=content_type,
        path=path,
        size_bytes=len(body),
    )


@pytest.mark.parametrize(
    ("body", "content_type", "path", "name", "looks"),
    [
        # A signature of ours decides, whatever is said.
        (CLIP, "text/html", "/x.png", "mp4 video/mp4", 1),
        (SOUND, "application/octet-stream", "/x", "mp3 audio/mpeg", 1),
        # Samples that begin like a frame of MPEG sound.
        (SAMPLES, "audio/pcm;rate=24000", "/x", "pcm audio/pcm", 1),
        (SAMPLES, "", "/x.pcm", "pcm audio/pcm", 1),
        (SAMPLES, "audio/mpeg", "/x", "mp3 audio/mpeg", 2),
        (SOUND, "audio/pcm", "/x", "mp3 audio/mpeg", 1),
        (NOISE, "audio/L16", "/x", "pcm audio/pcm", 1),
        # Others are known by their first bytes,
        (b"PK\3\4" + NOISE, "application/octet-stream", "/x.mp4", "zip application/zip", 2),
        (b"RIFF....AVI " + NOISE, "", "/x", "avi video/x-msvideo", 2),
        (b"G" + bytes(187) + b"G" + bytes(187) + b"G" + bytes(187), "", "/x", "ts video/mp2t", 2),
        (b"FORM....AIFF" + NOISE, "", "/x", "aiff audio/aiff", 1),
        # A format inside another is what is said of it.
        (b"PK\3\4" + NOISE, "model/vnd.usdz+zip", "/x", "usdz model/vnd.usdz+zip", 2),
        (b"PK\3\4" + NOISE, "", "/x.3mf", "3mf model/3mf", 2),
        (b"PK\3\4" + NOISE, "audio/pcm", "/x.mp4", "zip application/zip", 2),
        # Few bits are less than what the host says, or the url; alone they are better than nothing.
        (SAMPLES, "model/stl", "/x", "stl model/stl", 2),
        (SAMPLES, "", "/x.stl", "stl model/stl", 2),
        (SAMPLES, "audio/aac", "/x.mp3", "aac audio/aac", 2),
        (b"ID3\3" + bytes(6) + NOISE, "audio/aac", "/x", "aac audio/aac", 2),
        (SAMPLES, "", "/x.php", "mp3 audio/mpeg", 2),
        (b"BM" + NOISE, "model/stl", "/x", "stl model/stl", 2),
        (b"BM" + NOISE, "audio/pcm", "/x", "pcm audio/pcm", 1),
        (b"BM" + NOISE, "", "/x", "bmp image/bmp", 2),
        (b"\xff\x0a" + NOISE, "", "/x", "jxl image/jxl", 2),
        (b"\xff\xfe" + NOISE, "audio/L16", "/x", "pcm audio/pcm", 1),
        (b"riff\x2e\x91\xcf\x11" + NOISE, "", "/x", "w64 audio/x-w64", 2),
        # then by what the host says, then by the url, and never by an ending that something might run.
        (NOISE, "model/gltf-binary", "/x.php", "glb model/gltf-binary", 2),
        (NOISE, "application/octet-stream", "/x.FBX", "fbx application/octet-stream", 2),
        (NOISE, "", "/x.flac", "flac audio/flac", 2),
        (NOISE, "", "/x.exe", "bin application/octet-stream", 2),
        (NOISE, "text/html", "/x.html", "bin text/html", 2),
        # Text that says itself what it is.
        (b"#EXTM3U\n#EXT", "", "/x", "m3u8 application/vnd.apple.mpegurl", 2),
        (b"WEBVTT\n\n", "text/plain", "/x", "vtt text/vtt", 2),
        (b"1\n00:00:01,000 --> 00:00:02,000\nhi", "text/plain", "/x", "srt application/x-subrip", 2),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'>", "", "/x", "svg image/svg+xml", 2),
        # Text of a kind that host and url name.
        (b"v 0 0 1\nv 0 1 0\n", "model/obj", "/x", "obj model/obj", 2),
        (b"v 0 0 1\nv 0 1 0\n", "text/plain", "/x.obj", "obj text/plain", 2),
        (b"<?xml version='1.0'?><MPD>", "application/dash+xml", "/x", "mpd application/dash+xml", 2),
        (b"<?xml version='1.0'?><COLLADA>", "application/xml", "/x.dae", "dae application/xml", 2),
        (TEXT, "text/plain; charset=utf-8", "/x.txt", "txt text/plain", 2),
        (TEXT, "", "/x.txt", "txt text/plain", 2),
        (LOTTIE, "application/json", "/x.json", "json application/json", 2),
        (LOTTIE, "model/gltf+json", "/x", "gltf model/gltf+json", 2),
        # Bare text may be a song, or an apology.
        (TEXT, "text/plain", "/x", "txt text/plain", EVERY_TRY),
        (TEXT, "", "/x", "txt text/plain", EVERY_TRY),
        (TEXT, "application/octet-stream", "/download-1", "txt text/plain", EVERY_TRY),
        (TEXT, "application/force-download", "/get.php", "txt text/plain", EVERY_TRY),
        (TEXT, "text/x-lyrics", "/x", "txt text/plain", EVERY_TRY),
        (TEXT.decode().encode("utf-16"), "", "/x", "txt text/plain", EVERY_TRY),
        (LOTTIE, "application/json", "/x", "json application/json", EVERY_TRY),
        (LOTTIE, "application/octet-stream", "/x", "json application/json", EVERY_TRY),
        (LOTTIE, "application/ld+json", "/x", "json application/json", EVERY_TRY),
        (LOTTIE, "text/plain", "/x", "json application/json", EVERY_TRY),
        (b"<?xml version='1.0'?><MPD>", "application/xml", "/x", "xml application/xml", EVERY_TRY),
        (b"<?xml version='1.0'?><MPD>", "", "/x", "xml application/xml", EVERY_TRY),
    ],
)
def test_what_is_kept_and_under_which_name(
    body: bytes, content_type: str, path: str, name: str, looks: int
) -> None:
    found = verdict(body, content_type, path)

    assert f"{found.file.extension} {found.file.mime}" == name
    assert found.looks == looks
    assert (found.warning is None) == (looks == 1)


@pytest.mark.parametrize(
    ("body", "content_type", "path"),
    [
        (b"", "video/mp4", "/x.mp4"),
        (b"<!DOCTYPE html><title>Sign in</title>", "video/mp4", "/x.mp4"),
        (b"<html><svg></svg></html>", "text/plain", "/x.svg"),
        (b"la la la", "text/html", "/x.txt"),
        (b"#EXTM3U", "text/html", "/x.m3u8"),
        (b'{"error": {"code": "gone"}}', "application/json", "/x.json"),
        (b'{"message": "no such key"}', "model/gltf+json", "/x.gltf"),
        (b'[{"errors": []}]', "text/plain", "/x.txt"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "image/svg+xml", "/x.svg"),
        (LOTTIE, "application/problem+json", "/x"),
        (LOTTIE, "application/octet-stream", "/x.mp4"),
        (LOTTIE, "video/mp4", "/x.json"),
        (b'{"error": {"code": "gone"}}', "application/octet-stream", "/x"),
        ('{"error": "gone"}'.encode("utf-16"), "application/octet-stream", "/x"),
        ("<!DOCTYPE html><html>".encode("utf-16"), "", "/x"),
        (b"<?xml version='1.0'?><html>", "application/octet-stream", "/x"),
        (b"<div>Sign in</div>", "application/octet-stream", "/x"),
        (b'{"request_id": "7", "ok": false, "error": "gone"}', "model/gltf+json", "/x.gltf"),
        (b'{"msg": "gone"}', "application/json", "/x.json"),
        (b"<!-- cached --><html>", "application/octet-stream", "/x.svg"),
        (b"The free trial has ended.", "video/mp4", "/x.mp4"),
        (TEXT, "application/json", "/x"),
        (TEXT, "video/mp4", "/x"),
        (TEXT, "text/plain", "/x.mp4"),
        (b"upstream connect error", "application/octet-stream", "/x.mp4"),
    ],
)
def test_what_is_no_result(body: bytes, content_type: str, path: str) -> None:
    with pytest.raises(NoResult):
        verdict(body, content_type, path)


def test_a_container_that_disagrees_is_told_and_the_file_is_kept() -> None:
    found = verdict(CLIP, cut="it ends inside a box header")

    assert found.file.extension == "mp4"
    assert found.warning == "it is not a whole video/mp4 file: it ends inside a box header"
    assert found.looks == 2


@pytest.mark.parametrize(
    ("status", "words", "looks"),
    [
        (201, "HTTP 201", 2),
        (202, "not finished", EVERY_TRY),
        (203, "a proxy", 2),
        (206, "a part", 2),
        (299, "HTTP 299", 2),
    ],
)
def test_what_is_odd_about_the_status_of_a_whole_body(status: int, words: str, looks: int) -> None:
    found = oddness_of(status)

    assert oddness_of(200) is None
    assert found is not None
    assert words in found.words
    assert found.looks == looks
