"""What a file is and whether it is whole, judged on real files made by real encoders."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from runner.model import Kind
from runner.results.containers import identify, whole
from runner.results.media import HEAD_BYTES, describe, frames_follow, looks_like_text, sniff, unsigned

MEDIA = Path(__file__).resolve().parents[1] / "fixtures" / "media"

MIMES = {
    "still.png": "image/png",
    "still.jpg": "image/jpeg",
    "still.webp": "image/webp",
    "still.gif": "image/gif",
    "still.avif": "image/avif",
    "clip.mp4": "video/mp4",
    "fragmented.mp4": "video/mp4",
    "clip.mov": "video/quicktime",
    "clip.webm": "video/webm",
    "live.webm": "video/webm",
    "clip.mkv": "video/x-matroska",
    "tone.mp3": "audio/mpeg",
    "bare.mp3": "audio/mpeg",
    "tone.m4a": "audio/mp4",
    "tone.wav": "audio/wav",
    "tone.aac": "audio/aac",
    "tone.ogg": "audio/ogg",
    "tone.flac": "audio/flac",
}
# Formats without an end mark, or whose end may be missing a byte of padding: cuts we cannot see.
UNSEEN_CUTS = {"bare.mp3", "tone.aac", "tone.flac"}


def box(name: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + name + content


def judge(data: bytes) -> str | None:
    media = sniff(data[:HEAD_BYTES])
    assert media is not None
    return whole(io.BytesIO(data), media, len(data))


def test_every_fixture_is_named_here() -> None:
    assert {path.name for path in MEDIA.iterdir()} == set(MIMES)


@pytest.mark.parametrize(("name", "mime"), MIMES.items())
def test_a_file_is_known_by_its_first_bytes_alone(name: str, mime: str) -> None:
    data = (MEDIA / name).read_bytes()

    media = sniff(data[:64])

    assert media is not None
    assert media.mime == mime
    assert media.kind.value == mime.partition("/")[0]
    assert media.extension == {"bare.mp3": "mp3"}.get(name, name.rpartition(".")[2])


@pytest.mark.parametrize("name", MIMES)
def test_a_real_file_is_whole(name: str) -> None:
    assert judge((MEDIA / name).read_bytes()) is None


@pytest.mark.parametrize("name", sorted(set(MIMES) - UNSEEN_CUTS))
def test_a_cut_file_is_not_whole(name: str) -> None:
    """At any byte but a handful: right at the end of a box or page, or of optional padding."""
    data = (MEDIA / name).read_bytes()

    believed = [end for end in range(64, len(data)) if judge(data[:end]) is None]

    assert len(believed) <= 7, believed
    assert len(data) // 2 not in believed
    assert judge(data[: len(data) // 2]) is not None


@pytest.mark.parametrize("name", sorted(UNSEEN_CUTS))
def test_a_file_cut_within_its_head_is_not_whole(name: str) -> None:
    data = (MEDIA / name).read_bytes()
    ends = {"bare.mp3": 3, "tone.aac": 20, "tone.flac": 40}

    assert sniff(data) is not None
    assert whole(io.BytesIO(data[: ends[name]]), sniff(data), ends[name]) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (box(b"ftyp", b"isom\0\0\2\0isomiso2"), "moov"),
        (box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", b"x" * 90), "mdat"),
        (box(b"ftyp", b"isom\0\0\2\0isom") + box(b"mdat", b"x" * 90), "moov"),
        (box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov") + box(b"mdat", b"x" * 90)[:-1], "mdat"),
        (box(b"ftyp", b"isom\0\0\2\0isom") + b"\0\0\0\4moov", "moov"),
        (box(b"ftyp", b"avif\0\0\0\0avifmif1"), "meta"),
        (b"RIFF\x20\0\0\0WAVEfmt \x10\0\0\0" + b"\0" * 20, "no sound data"),
        (b"RIFF\xff\xff\0\0WEBPVP8 ", "65,543"),
        (b"\x1aE\xdf\xa3\x8fB\x86\x81\1B\xf7\x81\1B\x82\x84webm", "no segment"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0", "no picture data"),
        (b"ID3\4\0\0\0\0\0\x7f" + b"\0" * 20, "no sound data"),
        (b"OggS\0\2" + b"\0" * 20 + b"\1\x05abcde", "no sound data"),
    ],
)
def test_a_perfect_signature_is_not_enough(data: bytes, why: str) -> None:
    found = judge(data)

    assert found is not None
    assert why in found


def test_bytes_behind_the_end_of_a_picture_do_no_harm() -> None:
    """Phones append previews and metadata."""
    for name in ("still.png", "still.jpg", "still.gif"):
        tail = b"\0" * 40 if name == "still.gif" else b"trailing notes" * 9000

        assert judge((MEDIA / name).read_bytes() + tail) is None


def test_the_end_mark_of_a_preview_inside_a_jpeg_is_not_its_end() -> None:
    preview = b"\xff\xd8\xff\xd9"
    data = (MEDIA / "still.jpg").read_bytes()
    inside = data[:2] + b"\xff\xe1" + (2 + len(preview)).to_bytes(2, "big") + preview + data[2:]

    assert judge(inside) is None
    assert judge(inside[:-2]) is not None


def test_an_mp4_larger_than_its_short_sizes_can_say_is_walked() -> None:
    large = b"\0\0\0\1mdat" + (16 + 50).to_bytes(8, "big") + b"x" * 50
    head = box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", b"y" * 20)

    assert judge(head + large) is None
    assert judge(head + large[:-1]) is not None
    assert judge(head + b"\0\0\0\0mdat" + b"x" * 9) is None


def test_a_sound_file_of_unknown_length_is_whole() -> None:
    """A recorder that wrote to a pipe could not go back to fill in the sizes."""
    data = bytearray((MEDIA / "tone.wav").read_bytes())
    data[4:8] = b"\xff\xff\xff\xff"

    assert judge(bytes(data)) is None


@pytest.mark.parametrize(
    ("major", "others", "mime"),
    [
        (b"heic", b"mif1heic", "image/heic"),
        (b"mif1", b"mif1avif", "image/avif"),
        (b"mif1", b"mif1heic", "image/heic"),
        (b"qt  ", b"qt  ", "video/quicktime"),
        (b"M4A ", b"isomM4A ", "audio/mp4"),
        (b"M4V ", b"M4A mp42", "video/mp4"),
        (b"zzzz", b"", "video/mp4"),
    ],
)
def test_brands_tell_the_family_apart(major: bytes, others: bytes, mime: str) -> None:
    media = sniff(box(b"ftyp", major + b"\0\0\0\0" + others))

    assert media is not None
    assert media.mime == mime


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\x03\x04\x14\0", "a ZIP archive or an office document"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\xef\xbb\xbf\n  <html lang=en>", "an HTML page"),
        (b'<?xml version="1.0"?><svg xmlns=', "an SVG drawing"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied', "XML or HTML"),
        (b'{"error": {"code": "expired"}}', "JSON"),
        (b"Moved. See the new place.", "text"),
        (b"BMW drives by\n", "text"),
        (b"BM\x36\0\0\0\0\0", "a BMP image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
        (b"RIFF\0\0\0\0AVI LIST", "an AVI video"),
        (b"\xff\xfeh\0i\0", "text"),
        (b"\x01\x02\x03\x04\x05", "a file of unknown type"),
        (b"", "an empty file"),
    ],
)
def test_what_is_not_media_is_named(head: bytes, words: str) -> None:
    assert sniff(head) is None
    assert describe(head) == words


def test_text_is_told_from_bytes() -> None:
    assert looks_like_text("Ein Fehler: größer als erlaubt".encode())
    assert looks_like_text("日本語".encode()[:-1])  # cut in the middle of a character
    assert not looks_like_text(b"")
    assert not looks_like_text(b"\0\0\1\0")
    assert not looks_like_text(b"\x80\x81\x82\x83abc")
    assert not any(looks_like_text((MEDIA / name).read_bytes()) for name in MIMES)


def test_a_first_byte_or_none_decides_nothing() -> None:
    for name in MIMES:
        data = (MEDIA / name).read_bytes()
        for end in range(12):
            sniff(data[:end])  # no exception
    assert sniff(b"") is None
    assert sniff(b"\xff") is None


def test_raw_samples_are_what_their_host_says() -> None:
    """Speech models return them when asked for `pcm_…` or `ulaw_…`; they have no signature."""
    ulaw = unsigned("audio/basic; rate=8000", "/x")
    pcm = unsigned("application/octet-stream", "/results/take.PCM")

    assert ulaw is not None
    assert (ulaw.kind, ulaw.extension) == (Kind.AUDIO, "ulaw")
    assert pcm is not None
    assert pcm.extension == "pcm"
    assert unsigned("application/octet-stream", "/results/take.mp4") is None
    assert unsigned("text/plain", "/results/take.pcm") is None
    assert unsigned("video/mp4", "/results/take") is None


# --- what the first bytes alone do not tell ----------------------------------------------------


def known_as(data: bytes) -> str:
    media, head = identify(io.BytesIO(data), len(data))
    assert head == data[:HEAD_BYTES]
    assert media is not None
    assert whole(io.BytesIO(data), media, len(data)) is None
    return media.mime


def tagged(data: bytes, size: int = 10_000) -> bytes:
    """Put a tag of ID3 before sound, with a cover larger than what is looked at first."""
    length = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + bytes(size) + data


@pytest.mark.parametrize("name", MIMES)
def test_a_real_file_is_known_by_its_whole_as_by_its_first_bytes(name: str) -> None:
    assert known_as((MEDIA / name).read_bytes()) == MIMES[name]


@pytest.mark.parametrize(
    ("name", "mime"), [("tone.flac", "audio/flac"), ("tone.aac", "audio/aac"), ("bare.mp3", "audio/mpeg")]
)
def test_sound_behind_a_tag_is_what_follows_it(name: str, mime: str) -> None:
    assert known_as(tagged((MEDIA / name).read_bytes())) == mime


def test_a_film_without_a_picture_is_sound() -> None:
    """MP4, WebM and Matroska hold both; a brand does not say which."""
    mp4 = (MEDIA / "tone.m4a").read_bytes().replace(b"M4A ", b"isom")
    webm, mkv = ((MEDIA / name).read_bytes() for name in ("clip.webm", "clip.mkv"))

    assert sniff(mp4[:64]) is not None
    assert known_as(mp4) == "audio/mp4"
    # The one track of these is a picture; as a sound track it would be the same bytes but one.
    assert known_as(webm.replace(b"\x83\x81\x01", b"\x83\x81\x02")) == "audio/webm"
    assert known_as(mkv.replace(b"\x83\x81\x01", b"\x83\x81\x02")) == "audio/x-matroska"


@pytest.mark.parametrize("name", ["bare.mp3", "tone.aac"])
def test_frames_of_sound_follow_each_other_and_samples_do_not(name: str) -> None:
    data = (MEDIA / name).read_bytes()
    media = sniff(data)
    assert media is not None

    assert frames_follow(data, media)
    assert frames_follow(data[:5], media), "nothing to compare with"
    assert not frames_follow(data[:6] + bytes(range(1, 200)) * 9, media)


@pytest.mark.parametrize("said", [0, 0xFFFF_FFFF, 0xFFFF_FFF7, 0x7FFF_FFFF, 0x7FFF_F024, 0x8000_0000])
def test_a_recording_whose_size_was_never_known_is_whole(said: int) -> None:
    """Writers to a pipe put a number there that no file has."""
    data = (MEDIA / "tone.wav").read_bytes()

    assert judge(data[:4] + said.to_bytes(4, "little") + data[8:]) is None
