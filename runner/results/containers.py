"""What a file is as a whole, and whether it is whole: does it end where its container says?

A cut download and a truncated reference keep a perfect signature; only the container's own sizes and end marks tell.
Of a download this is advice: what HTTP shows to be whole is kept (see `verdict`). Each walk reads headers and seeks
over the rest. Where a format has no end mark (MP3, ADTS, FLAC), what can be checked is checked and the rest is
believed: refusing a good file costs its owner more than missing a rare cut one.

Why this is ours and no library's: README.md beside this file.

Source: PNG (W3C), ITU-T T.81, GIF89a, RIFF, EBU Tech 3306 (RF64), AIFF-C, RFC 3533 (Ogg), RFC 9639 (FLAC).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from runner.results import boxes, ebml, mpeg_audio
from runner.results.excerpts import MAX_PARTS, CutShort, LeftOver, excerpt
from runner.results.media import (
    AAC,
    HEAD_BYTES,
    JPEG,
    M4A,
    MKV,
    MKV_SOUND,
    MOV,
    MOV_SOUND,
    MP3,
    MP4,
    WEBM,
    WEBM_SOUND,
    MediaType,
    picture_brand,
    sniff,
)

_TAIL_BYTES = 65_536

WITHOUT_END = frozenset({"mp3", "aac", "flac"})
"""Formats whose end nothing marks: a cut at the end of a frame cannot be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """What a file is, and its first `HEAD_BYTES`. `sure`: not by a few bits only, which samples have by chance."""

    media: MediaType | None
    head: bytes
    sure: bool = True


def whole(file: BinaryIO, media: MediaType, size_bytes: int, *, more_may_follow: bool = False) -> str | None:
    """Return None when a file is whole, else in words why it is not.

    Args:
        file: Open for reading and seeking; its position afterwards is anywhere.
        media: What `identify` says it is.
        size_bytes: Its size.
        more_may_follow: Whether bytes behind its end do no harm; of a download they are worth a word.
    """
    if size_bytes == 0:
        return "it is empty"
    check = _CHECKS.get(media.extension)
    if check is None:
        return None
    try:
        check(file, size_bytes)
    except LeftOver as exc:
        return None if more_may_follow else str(exc)
    except CutShort as exc:
        return str(exc)
    return None


def identify(file: BinaryIO, size_bytes: int) -> Identified:
    """Return what a file is: by its signature, by what follows a tag, by its tracks.

    MP4, QuickTime, WebM and Matroska hold films and sound alike; a tag of ID3 stands before MP3, AAC and FLAC.

    Args:
        file: Open for reading and seeking; its position afterwards is anywhere.
        size_bytes: Its size.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    media = sniff(head)
    # By identity: to compare two kinds is to compare all that is known of them.
    if media is MP3 or media is AAC:
        return _identify_frames(file, size_bytes, media, head)
    try:
        if media is MP4 or media is MOV or media is M4A:
            media = _by_tracks(file, size_bytes, media, head)
        elif media is JPEG:
            return Identified(media=media, head=head, sure=_segments_follow(file, size_bytes, head))
        elif (media is WEBM or media is MKV) and ebml.sound_only(file, size_bytes):
            media = WEBM_SOUND if media is WEBM else MKV_SOUND
    except CutShort:
        pass  # `whole` says so
    return Identified(media=media, head=head)


def _by_tracks(file: BinaryIO, size: int, media: MediaType, head: bytes) -> MediaType:
    """Return what boxes are, of which the first names no more than a family."""
    found = boxes.tracks(file, size)
    if not found.every and (picture := picture_brand(head)) is not None:
        names = {*boxes.names(file, size)}
        return picture if b"meta" in names and b"moov" not in names else media
    if media is M4A:
        # Books have pictures of their chapters, which nothing plays unasked.
        return MP4 if boxes.PICTURE in found.played else M4A
    if found.sound_only:
        return M4A if media is MP4 else MOV_SOUND
    return media


def _segments_follow(file: BinaryIO, size: int, head: bytes) -> bool:
    """Say whether a JPEG has a second segment where its first one ends: samples of some waves begin like the first."""
    at = 2
    while (marker := excerpt(file, at, 4))[1] == 0xFF and at < HEAD_BYTES:  # fill bytes
        at += 1
    at += 2 + int.from_bytes(marker[2:], "big")
    if at + 2 > size:
        return head[6:10] in (b"JFIF", b"Exif")
    following = excerpt(file, at, 2)
    return following[0] == 0xFF and following[1] >= 0xC0


def _identify_frames(file: BinaryIO, size: int, media: MediaType, head: bytes) -> Identified:
    """Look behind the tags, and whether one frame follows another."""
    at = _sound_at(file, size)
    file.seek(at)
    sound = file.read(mpeg_audio.MOST_FRAMES_BYTES)
    if not at:
        return Identified(media=media, head=head, sure=mpeg_audio.frames_follow(sound))
    behind = sniff(sound)
    if behind is not None and behind not in (MP3, AAC):
        return Identified(media=behind, head=head)
    begins = mpeg_audio.first_frames(sound)  # what makes tags longer than they say is known to do so
    if begins is None:
        return Identified(media=behind or media, head=head, sure=False)
    return Identified(media=sniff(sound[begins:]) or media, head=head)


def _sound_at(file: BinaryIO, size: int) -> int:
    """Return where sound begins: behind the tags of ID3, if there are any."""
    at = 0
    while at + 10 <= size and (length := mpeg_audio.tag_bytes(excerpt(file, at, 10))):
        at += length
    return at


def _tail(file: BinaryIO, size: int) -> bytes:
    count = min(size, _TAIL_BYTES)
    return excerpt(file, size - count, count)


# --- images ----------------------------------------------------------------------------------


def _check_png(file: BinaryIO, size: int) -> None:
    if _tail(file, size).endswith(b"\x00\x00\x00\x00IEND\xaeB`\x82"):
        return
    at = 8  # something may follow the end, so walk to it
    for _ in range(MAX_PARTS):
        if at + 12 > size:
            break
        header = excerpt(file, at, 8)
        at += 12 + int.from_bytes(header[:4], "big")
        if header[4:] == b"IEND" and at <= size:
            return
    raise CutShort("its last chunk, IEND, is missing")


def _check_jpeg(file: BinaryIO, size: int) -> None:
    scan_at = _jpeg_scan(file, size)
    tail = _tail(file, size)
    end = tail.rfind(b"\xff\xd9")
    if end >= 0 and size - len(tail) + end > scan_at:
        return
    # Phones append previews and metadata behind the picture's end, so look through all of it.
    at, before = scan_at, b""
    while at < size:
        piece = excerpt(file, at, min(_TAIL_BYTES, size - at))
        if b"\xff\xd9" in before + piece:
            return
        at, before = at + len(piece), piece[-1:]
    raise CutShort("its end mark, EOI, is missing")


def _jpeg_scan(file: BinaryIO, size: int) -> int:
    """Return where the entropy-coded data of the first scan begins; segments before it may hold a preview."""
    at = 2
    for _ in range(MAX_PARTS):
        if at + 4 > size:
            break
        marker = excerpt(file, at, 4)
        if marker[0] != 0xFF:
            break
        if marker[1] == 0xFF:  # fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(marker[2:], "big")
        if marker[1] == 0xDA:
            return at
    raise CutShort("it has no picture data")


def _check_gif(file: BinaryIO, size: int) -> None:
    if not _tail(file, size).rstrip(b"\0").endswith(b"\x3b"):
        raise CutShort("its end mark is missing")


# --- RIFF and its like: WebP, WAV, AIFF ------------------------------------------------------------------------


def _check_webp(file: BinaryIO, size: int) -> None:
    _check_riff(int.from_bytes(excerpt(file, 4, 4), "little"), size)


def _check_wav(file: BinaryIO, size: int) -> None:
    header = excerpt(file, 0, 12)
    said = int.from_bytes(header[4:8], "little")
    # Written to a pipe, or larger than the field: its size was never known. Writers put the largest number
    # there, or the largest signed one, less a header or rounded to a block.
    if header[:4] == b"RIFF" and 0 < said < 0x7FFF_0000:
        _check_riff(said, size)
    elif header[:4] != b"RIFF" and size >= 28:
        large = excerpt(file, 12, 16)  # of RF64: the sizes that fit into no field of RIFF
        said = int.from_bytes(large[8:], "little")
        if large[:4] == b"ds64" and 0 < said < 1 << 63:
            _check_riff(said, size)
    at = 12
    for _ in range(MAX_PARTS):
        if at + 8 > size:
            break
        chunk = excerpt(file, at, 8)
        if chunk[:4] == b"data":
            return
        length = int.from_bytes(chunk[4:], "little")
        at += 8 + length + length % 2
    raise CutShort("it has no sound data")


def _check_aiff(file: BinaryIO, size: int) -> None:
    said = int.from_bytes(excerpt(file, 4, 4), "big")
    if 0 < said < 0x7FFF_0000:
        _check_riff(said, size)
    at = 12
    for _ in range(MAX_PARTS):
        if at + 8 > size:
            break
        chunk = excerpt(file, at, 8)
        if chunk[:4] == b"SSND":
            return
        length = int.from_bytes(chunk[4:], "big")
        at += 8 + length + length % 2
    raise CutShort("it has no sound data")


def _check_riff(said: int, size: int) -> None:
    # Many writers leave out the last pad byte.
    if said + 8 > size + 1:
        msg = f"it says {said + 8:,} bytes and has {size:,}"
        raise CutShort(msg)


# --- sound ------------------------------------------------------------------------------------


def _check_ogg(file: BinaryIO, size: int) -> None:
    at, pages = 0, 0
    while at < size and pages < MAX_PARTS:
        if size - at < 27:
            raise CutShort("it ends inside the head of a page")
        header = excerpt(file, at, 27)
        if header[:4] != b"OggS":
            if pages > 1:
                return  # a tag behind the last page
            raise CutShort("its pages do not follow each other")
        lengths = excerpt(file, at + 27, header[26])
        at += 27 + len(lengths) + sum(lengths)
        pages += 1
        if at > size:
            raise CutShort("its last page is cut")
    if pages < 2:
        raise CutShort("it has no sound data")


def _check_mp3(file: BinaryIO, size: int) -> None:
    at = _sound_at(file, size)
    if at + 4 > size:
        raise CutShort("it has no sound data")
    head = excerpt(file, at, min(size - at, 256))
    # An encoder's own note (Xing, Info) counts the bytes of all frames.
    for mark in (b"Xing", b"Info"):
        note = head.find(mark)
        if note > 0 and len(head) >= note + 16 and head[note + 7] & 3 == 3:
            said = int.from_bytes(head[note + 12 : note + 16], "big")
            if at + said > size:
                msg = f"it says {said:,} bytes of sound and has {size - at:,}"
                raise CutShort(msg)


def _check_adts(file: BinaryIO, size: int) -> None:
    at = _sound_at(file, size)
    if size < at + 7:
        raise CutShort("it ends inside its first frame")
    head = excerpt(file, at, 7)
    if mpeg_audio.frames_of(head) is not mpeg_audio.Frames.AAC:
        return  # padding behind a tag
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if at + length > size:
        raise CutShort("it ends inside its first frame")


def _check_flac(file: BinaryIO, size: int) -> None:
    at = _sound_at(file, size) + 4
    for _ in range(MAX_PARTS):
        if at + 4 > size:
            break
        block = excerpt(file, at, 4)
        at += 4 + int.from_bytes(block[1:], "big")
        if block[0] & 0x80:
            if at + 2 <= size and excerpt(file, at, 2)[0] == 0xFF:
                return
            break
    raise CutShort("it has no sound data")


_CHECKS: dict[str, Callable[[BinaryIO, int], None]] = {
    "jpg": _check_jpeg,
    "png": _check_png,
    "gif": _check_gif,
    "webp": _check_webp,
    "avif": boxes.check_still,
    "heic": boxes.check_still,
    "mp4": boxes.check_movie,
    "mov": boxes.check_movie,
    "m4a": boxes.check_movie,
    "webm": ebml.check_ebml,
    "mkv": ebml.check_ebml,
    "mka": ebml.check_ebml,
    "wav": _check_wav,
    "aiff": _check_aiff,
    "ogg": _check_ogg,
    "ogv": _check_ogg,
    "mp3": _check_mp3,
    "aac": _check_adts,
    "flac": _check_flac,
}
