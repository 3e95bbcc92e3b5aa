"""What a file is and whether it is whole, judged on real files made by real encoders."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from runner.model import Kind
from runner.results.containers import identify, whole
from runner.results.media import HEAD_BYTES, describe, looks_like_text, other, sniff, unsigned

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
        # What only looks like media, or like something else.
        (b"The free trial has ended. Sign up to go on.", "text"),
        (b"ID3 tags are explained here.", "text"),
        (b"GIF89a is a format.", "text"),
        (b"Rar! An archive, we thought.", "text"),
        (b"\xff\xfe" + bytes(range(250)), "a file of unknown type"),  # samples, not UTF-16
        (b"\0\0\0\x18ftypcrx " + bytes(12), "a raw camera image (CR3)"),
        (bytes.fromhex("3026b2758e66cf11 409e69f84d5bcf11a8fd00805f5c442b"), "a Windows Media recording"),
        (b"\0\0\0\x18stypmsdh" + bytes(12), "a segment of an MP4 film"),
        (b"<!-- cached --><HTML>", "an HTML page"),
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
    found = identify(io.BytesIO(data), len(data))
    assert found.head == data[:HEAD_BYTES]
    assert found.media is not None
    assert found.sure
    assert whole(io.BytesIO(data), found.media, len(data)) is None
    return found.media.mime


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
def test_sound_behind_tags_is_what_follows_them(name: str, mime: str) -> None:
    data = (MEDIA / name).read_bytes()

    assert known_as(tagged(data)) == mime
    assert known_as(tagged(tagged(data, 40))) == mime, "two tags"
    if name != "tone.flac":
        assert known_as(tagged(bytes(700) + data)) == mime, "a tag that is longer than it says"


def movie(brand: bytes, *handlers: bytes, enabled: bytes = b"\1", tracks: bytes = b"trak") -> bytes:
    """Return a film of nothing but the boxes that tell what its tracks are."""
    inside = b"".join(
        box(
            tracks,
            box(b"tkhd", b"\0\0\0" + (enabled if handler == b"vide" else b"\1") + bytes(80))
            + box(b"mdia", box(b"hdlr", bytes(8) + handler + bytes(13))),
        )
        for handler in handlers
    )
    return box(b"ftyp", brand + bytes(4) + b"isom") + box(b"moov", inside) + box(b"mdat", b"x" * 20)


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (movie(b"isom", b"vide", b"soun"), "video/mp4"),
        (movie(b"isom", b"soun"), "audio/mp4"),
        (movie(b"isom", b"soun", b"text"), "audio/mp4"),  # chapters
        (movie(b"isom", b"text"), "video/mp4"),  # neither: its brand
        (movie(b"isom", b"vide", b"soun", enabled=b"\0"), "video/mp4"),
        (movie(b"qt  ", b"vide"), "video/quicktime"),
        (movie(b"qt  ", b"soun", b"tmcd"), "audio/quicktime"),
        (movie(b"zzzz", b"soun"), "audio/mp4"),
        (movie(b"M4A ", b"soun", b"vide"), "video/mp4"),
        (movie(b"M4B ", b"soun", b"vide", enabled=b"\0"), "audio/mp4"),  # pictures of chapters
        (movie(b"isom", b"soun", tracks=b"skip"), "video/mp4"),  # no track is told
        (box(b"ftyp", b"zzzz\0\0\0\0mif1avif") + box(b"meta"), "image/avif"),
        (box(b"ftyp", b"zzzz\0\0\0\0mif1") + box(b"meta"), "image/heic"),
        (box(b"ftyp", b"mp42\0\0\0\0mif1") + movie(b"", b"vide")[16:], "video/mp4"),
    ],
)
def test_boxes_are_what_their_tracks_say(data: bytes, mime: str) -> None:
    found = identify(io.BytesIO(data), len(data)).media

    assert found is not None
    assert found.mime == mime
    assert found.kind == mime.partition("/")[0]


def test_a_webm_or_matroska_without_a_picture_is_sound() -> None:
    # The one track of these is a picture; as a sound track it would be the same bytes but one.
    for name, mime in (("clip.webm", "audio/webm"), ("clip.mkv", "audio/x-matroska")):
        assert known_as((MEDIA / name).read_bytes().replace(b"\x83\x81\x01", b"\x83\x81\x02")) == mime


def page(start: bytes) -> bytes:
    return b"OggS\0\2" + bytes(20) + b"\1" + bytes([len(start)]) + start


@pytest.mark.parametrize(
    ("starts", "mime"),
    [
        ([b"OpusHead"], "audio/ogg"),
        ([b"\1vorbis" + bytes(23)], "audio/ogg"),
        ([b"\x80theora" + bytes(35), b"\1vorbis"], "video/ogg"),
        ([b"fishead" + bytes(73), b"\1vorbis" + bytes(200), b"\x80theora"], "video/ogg"),
        ([b"OpusHead, and \x80theora in its notes"], "audio/ogg"),
    ],
)
def test_ogg_is_a_film_where_one_of_its_streams_is_pictures(starts: list[bytes], mime: str) -> None:
    found = sniff(b"".join(page(start) for start in starts))

    assert found is not None
    assert found.mime == mime


@pytest.mark.parametrize(
    ("body", "sure"),
    [
        ((MEDIA / "bare.mp3").read_bytes(), True),
        ((MEDIA / "tone.aac").read_bytes(), True),
        ((MEDIA / "bare.mp3").read_bytes()[:6] + bytes(range(1, 200)) * 9, False),
        ((MEDIA / "tone.aac").read_bytes()[:7] + bytes(range(1, 200)) * 90, False),
        ((MEDIA / "tone.aac").read_bytes()[:7], False),
        # Another stream where the second frame would be: samples repeat themselves at times.
        ((b"\xff\xfb\x90\0" + bytes(413) + b"\xff\xf3\x90\0" + bytes(413)) * 3, False),
        ((b"\xff\xfb\x90\0" + bytes(413)) * 2, True),
        (tagged(bytes(range(1, 250)) * 40), False),
        # A JPEG has segments; samples of a wave, high byte first, have its first three bytes as well.
        ((MEDIA / "still.jpg").read_bytes(), True),
        ((MEDIA / "still.jpg").read_bytes().replace(b"\xff\xd8", b"\xff\xd8\xff\xff", 1), True),
        ((MEDIA / "still.jpg").read_bytes()[:15], True),
        (b"".join(sample.to_bytes(2, "big", signed=True) for sample in range(-40, 3000)), False),
    ],
)
def test_frames_and_segments_follow_each_other_and_samples_do_not(body: bytes, sure: bool) -> None:
    found = identify(io.BytesIO(body), len(body))

    assert found.media is not None
    assert found.sure is sure


def test_a_cut_that_only_an_index_tells_is_told() -> None:
    """Data that is said to go on to the end of the file, and fragments that end where one ends."""
    chunks = box(b"stco", bytes(4) + b"\0\0\0\1" + (300).to_bytes(4, "big"))
    table = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", chunks))))
    begins = box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", table) + b"\0\0\0\0mdat"
    open_ended = begins + bytes(301 - len(begins))
    fragment = box(b"moof") + box(b"mdat", bytes(50))
    listed = (0x8000_0000 | len(fragment)).to_bytes(4, "big") + bytes(8)
    index = box(b"sidx", bytes(4) + b"\0\0\0\1" + bytes(12) + b"\0\0\0\2" + listed * 2)
    pieces = box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov") + index + fragment

    assert judge(open_ended) is None
    assert "points to byte 300" in str(judge(open_ended[:-1]))
    assert judge(pieces + fragment) is None
    assert "index lists" in str(judge(pieces))
    assert "no part of it" in str(judge(pieces + fragment + b"\1\2 and notes"))
    assert "index lists" in str(judge(pieces + b"\1\2 and notes")), "the graver of two faults"


def test_few_bits_are_no_proof() -> None:
    sure = {head: found.sure for head in (b"BM\0", b"MZ\0", b"glTF\2\0") if (found := other(head))}

    assert sure == {b"BM\0": False, b"MZ\0": False, b"glTF\2\0": True}


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (b"FORM\0\0\0\x18AIFFSSND\0\0\0\x0c" + bytes(12), None),
        (b"FORM\0\0\0\x18AIFFSSND\0\0\0\x0c" + bytes(9), "says 32"),
        (b"FORM\0\0\0\0AIFCSSND" + bytes(9), None),
        (b"FORM\0\0\0\x0cAIFFCOMM" + bytes(9), "no sound data"),
        (b"RF64\xff\xff\xff\xffWAVEds64\x08\0\0\0\x20" + bytes(7) + b"data" + bytes(8), None),
        (b"RF64\xff\xff\xff\xffWAVEds64\x08\0\0\0\x22" + bytes(7) + b"data" + bytes(8), "says 42"),
        (b"BW64\xff\xff\xff\xffWAVEds64\x08\0\0\0" + bytes(8) + b"data" + bytes(8), None),
    ],
)
def test_recordings_that_say_their_size_are_held_to_it(data: bytes, cut: str | None) -> None:
    assert (cut or "None") in str(judge(data))


@pytest.mark.parametrize("said", [0, 0xFFFF_FFFF, 0xFFFF_FFF7, 0x7FFF_FFFF, 0x7FFF_F024, 0x8000_0000])
def test_a_recording_whose_size_was_never_known_is_whole(said: int) -> None:
    """Writers to a pipe put a number there that no file has."""
    data = (MEDIA / "tone.wav").read_bytes()

    assert judge(data[:4] + said.to_bytes(4, "little") + data[8:]) is None
