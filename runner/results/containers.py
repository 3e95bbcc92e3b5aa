"""Whether a media file is whole, judged by its container: does it end where it says it ends?

A cut download and a truncated reference keep a perfect signature; only the container's own sizes and end marks tell.
Of a download this is advice: what HTTP shows to be whole is kept (see `verdict`). Each walk reads headers and seeks
over the rest. Where a format has no end mark (MP3, ADTS, FLAC), what can be checked is checked and the rest is
believed: refusing a good file costs its owner more than missing a rare cut one.

Source: PNG (W3C), ITU-T T.81, GIF89a, RIFF, ISO/IEC 14496-12, RFC 8794 and 9559, RFC 3533, RFC 9639.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from runner.results.media import HEAD_BYTES, M4A, MKV, MKV_SOUND, MP4, WEBM, WEBM_SOUND, MediaType, sniff

MAX_PARTS = 2_000_000
"""No honest file has more boxes, chunks, pages or clusters; a walk of more gives up."""

_TAIL_BYTES = 65_536

WITHOUT_END = frozenset({"mp3", "aac", "flac"})
"""Formats whose end nothing marks: a cut at the end of a frame cannot be seen."""


class _CutError(Exception):
    """The file ends before its container does; the message says how we know."""


def whole(file: BinaryIO, media: MediaType, size_bytes: int) -> str | None:
    """Return None when a file is whole, else in words why it is not.

    Args:
        file: Open for reading and seeking; its position afterwards is anywhere.
        media: What its signature says it is.
        size_bytes: Its size.
    """
    if size_bytes == 0:
        return "it is empty"
    check = _CHECKS.get(media.extension)
    if check is None:
        return None
    try:
        check(file, size_bytes)
    except _CutError as exc:
        return str(exc)
    return None


def identify(file: BinaryIO, size_bytes: int) -> tuple[MediaType | None, bytes]:
    """Return what a file is, and its first bytes: by its signature, by what follows a tag, by its tracks.

    MP4, WebM and Matroska hold films and sound alike; a tag of ID3 stands before MP3, AAC and FLAC.

    Args:
        file: Open for reading and seeking; its position afterwards is anywhere.
        size_bytes: Its size.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    media = sniff(head)
    try:
        if head.startswith(b"ID3"):
            file.seek(_behind_id3(file, size_bytes))
            return sniff(file.read(HEAD_BYTES)) or media, head
        # Most films name their picture track near the beginning, which saves the walk.
        if media is MP4 and _PICTURE_TRACK not in head and _handlers(file, size_bytes) == {b"soun"}:
            return M4A, head
        if media in (WEBM, MKV) and _track_kinds(file, size_bytes) == {_SOUND_TRACK}:
            return (WEBM_SOUND if media is WEBM else MKV_SOUND), head
    except _CutError:
        pass  # `whole` says so
    return media, head


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    data = file.read(count)
    if len(data) < count:
        msg = f"it breaks off after {at + len(data):,} bytes"
        raise _CutError(msg)
    return data


def _tail(file: BinaryIO, size: int) -> bytes:
    count = min(size, _TAIL_BYTES)
    return _read(file, size - count, count)


# --- images ----------------------------------------------------------------------------------


def _check_png(file: BinaryIO, size: int) -> None:
    if _tail(file, size).endswith(b"\x00\x00\x00\x00IEND\xaeB`\x82"):
        return
    at = 8  # something may follow the end, so walk to it
    for _ in range(MAX_PARTS):
        if at + 12 > size:
            break
        header = _read(file, at, 8)
        at += 12 + int.from_bytes(header[:4], "big")
        if header[4:] == b"IEND" and at <= size:
            return
    raise _CutError("its last chunk, IEND, is missing")


def _check_jpeg(file: BinaryIO, size: int) -> None:
    scan_at = _jpeg_scan(file, size)
    tail = _tail(file, size)
    end = tail.rfind(b"\xff\xd9")
    if end >= 0 and size - len(tail) + end > scan_at:
        return
    # Phones append previews and metadata behind the picture's end, so look through all of it.
    at, before = scan_at, b""
    while at < size:
        piece = _read(file, at, min(_TAIL_BYTES, size - at))
        if b"\xff\xd9" in before + piece:
            return
        at, before = at + len(piece), piece[-1:]
    raise _CutError("its end mark, EOI, is missing")


def _jpeg_scan(file: BinaryIO, size: int) -> int:
    """Return where the entropy-coded data of the first scan begins; segments before it may hold a preview."""
    at = 2
    for _ in range(MAX_PARTS):
        if at + 4 > size:
            break
        marker = _read(file, at, 4)
        if marker[0] != 0xFF:
            break
        if marker[1] == 0xFF:  # fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(marker[2:], "big")
        if marker[1] == 0xDA:
            return at
    raise _CutError("it has no picture data")


def _check_gif(file: BinaryIO, size: int) -> None:
    if not _tail(file, size).rstrip(b"\0").endswith(b"\x3b"):
        raise _CutError("its end mark is missing")


# --- RIFF: WebP and WAV ------------------------------------------------------------------------


def _check_webp(file: BinaryIO, size: int) -> None:
    _check_riff(int.from_bytes(_read(file, 4, 4), "little"), size)


def _check_wav(file: BinaryIO, size: int) -> None:
    header = _read(file, 0, 12)
    said = int.from_bytes(header[4:8], "little")
    # Written to a pipe, or larger than the field: its size was never known. Writers put the largest number
    # there, or the largest signed one, less a header or rounded to a block.
    if header[:4] == b"RIFF" and 0 < said < 0x7FFF_0000:
        _check_riff(said, size)
    at = 12
    for _ in range(MAX_PARTS):
        if at + 8 > size:
            break
        chunk = _read(file, at, 8)
        if chunk[:4] == b"data":
            return
        length = int.from_bytes(chunk[4:], "little")
        at += 8 + length + length % 2
    raise _CutError("it has no sound data")


def _check_riff(said: int, size: int) -> None:
    # Many writers leave out the last pad byte.
    if said + 8 > size + 1:
        msg = f"it says {said + 8:,} bytes and has {size:,}"
        raise _CutError(msg)


# --- ISO base media: MP4, MOV, M4A, AVIF, HEIC --------------------------------------------------


def _boxes(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the names of the top boxes; raise where one reaches beyond the file's end."""
    return (name for name, _, _ in _spans(file, 0, size))


def _spans(file: BinaryIO, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, where its content begins, where it ends) of the boxes between two places."""
    while at < size:
        if size - at < 8:
            # QuickTime allows a zero word at the end.
            if _read(file, at, size - at).strip(b"\0"):
                raise _CutError("it ends inside a box header")
            return
        header = _read(file, at, 8)
        name, length, begins = header[4:], int.from_bytes(header[:4], "big"), at + 8
        if length == 1:
            length, begins = int.from_bytes(_read(file, at + 8, 8), "big"), at + 16
        elif length == 0:
            if header == b"\0" * 8:  # padding
                return
            length = size - at
        if length < 8 or at + length > size:
            if not name.rstrip(b" ").isalnum():
                msg = f"{size - at:,} bytes at its end belong to no part of it"
                raise _CutError(msg)
            msg = f"its box {name.decode('ascii', 'replace')!r} does not end inside the file"
            raise _CutError(msg)
        yield name, begins, at + length
        at += length


_PICTURE_TRACK = b"hdlr" + bytes(8) + b"vide"


def _handlers(file: BinaryIO, size: int) -> set[bytes]:
    """Return what the tracks of a film are (`vide`, `soun`); a picture track is enough to know."""
    found: set[bytes] = set()
    for track in _inner(file, [(b"", 0, size)], (b"moov", b"trak")):
        for _, begins, _ in _inner(file, [track], (b"mdia", b"hdlr")):
            found.add(_read(file, begins + 8, 4))
        if b"vide" in found:
            break
    return found


def _inner(
    file: BinaryIO, spans: Iterable[tuple[bytes, int, int]], path: tuple[bytes, ...]
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes at a path below some boxes."""
    for _, begins, ends in spans:
        there = (span for span in islice(_spans(file, begins, ends), MAX_PARTS) if span[0] == path[0])
        yield from _inner(file, there, path[1:]) if path[1:] else there


def _check_movie(file: BinaryIO, size: int) -> None:
    names = set(islice(_boxes(file, size), MAX_PARTS))
    if b"moov" not in names:
        raise _CutError("it has no index (box 'moov')")
    if not names & {b"mdat", b"moof"}:
        raise _CutError("it has no picture or sound data (box 'mdat')")


def _check_still(file: BinaryIO, size: int) -> None:
    names = set(islice(_boxes(file, size), MAX_PARTS))
    if not names & {b"meta", b"moov"}:
        raise _CutError("it has no picture (box 'meta')")


# --- EBML: WebM and Matroska ---------------------------------------------------------------------

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_TRACKS, _TRACK, _TRACK_TYPE = 0x1654AE6B, 0xAE, 0x83
_SOUND_TRACK = 2


def _check_ebml(file: BinaryIO, size: int) -> None:
    """Walk to the first cluster; of a live recording, whose size was never known, to the last."""
    _, at, length = _element(file, 0, size)
    if length is None:
        raise _CutError("its header has no end")
    at += length
    for _ in range(MAX_PARTS):
        if at >= size:
            raise _CutError("it has no segment")
        name, at, length = _element(file, at, size)
        if name == _SEGMENT:
            break
        at += length or 0
    if length is not None and at + length > size:
        msg = f"its segment says {length:,} bytes and has {size - at:,}"
        raise _CutError(msg)
    live = length is None
    found = False
    for _ in range(MAX_PARTS):
        if at >= size or (found and not live):
            break
        name, at, length = _element(file, at, size)
        found = found or name == _CLUSTER
        if length is None:
            break
        at += length
        if at > size:
            raise _CutError("its last part does not end inside the file")
    if not found:
        raise _CutError("it has no picture or sound data")


def _track_kinds(file: BinaryIO, size: int) -> set[int]:
    """Return the types of the tracks of a WebM or Matroska file: 1 is picture, 2 is sound."""
    _, at, length = _element(file, 0, size)
    found: set[int] = set()
    for name, begins, ends in _elements(file, at + (length or 0), size):
        if name != _SEGMENT:
            continue
        for inner, begins_inner, ends_inner in _elements(file, begins, ends):
            if inner == _CLUSTER:
                break  # the tracks stand before what they hold
            if inner != _TRACKS:
                continue
            for _, track_begins, track_ends in _elements(file, begins_inner, ends_inner):
                for what, value_at, value_end in _elements(file, track_begins, track_ends):
                    if what == _TRACK_TYPE:
                        found.add(int.from_bytes(_read(file, value_at, min(value_end - value_at, 8)), "big"))
        break
    return found


def _elements(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (id, where its content begins, where it ends) of the elements between two places."""
    for _ in range(MAX_PARTS):
        if at >= end:
            return
        name, begins, length = _element(file, at, end)
        at = end if length is None else begins + length
        yield name, begins, min(at, end)


def _element(file: BinaryIO, at: int, size: int) -> tuple[int, int, int | None]:
    """Return an element's id, where its content begins, and its length (None: unknown)."""
    head = _read(file, at, min(12, size - at))
    id_bytes = 9 - head[0].bit_length()
    if not 1 <= id_bytes <= 4 or len(head) <= id_bytes:
        raise _CutError("it breaks off, or holds something else, between two parts")
    first = head[id_bytes]
    size_bytes = 9 - first.bit_length()
    if size_bytes > 8 or len(head) < id_bytes + size_bytes:
        raise _CutError("it breaks off inside the head of a part")
    value = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & ((1 << 7 * size_bytes) - 1)
    unknown = value == (1 << 7 * size_bytes) - 1
    begins = at + id_bytes + size_bytes
    return int.from_bytes(head[:id_bytes], "big"), begins, None if unknown else value


# --- sound ------------------------------------------------------------------------------------


def _check_ogg(file: BinaryIO, size: int) -> None:
    at, pages = 0, 0
    while at < size and pages < MAX_PARTS:
        if size - at < 27:
            raise _CutError("it ends inside the head of a page")
        header = _read(file, at, 27)
        if header[:4] != b"OggS":
            if pages > 1:
                return  # a tag behind the last page
            raise _CutError("its pages do not follow each other")
        lengths = _read(file, at + 27, header[26])
        at += 27 + len(lengths) + sum(lengths)
        pages += 1
        if at > size:
            raise _CutError("its last page is cut")
    if pages < 2:
        raise _CutError("it has no sound data")


def _check_mp3(file: BinaryIO, size: int) -> None:
    at = _behind_id3(file, size)
    if at + 4 > size:
        raise _CutError("it has no sound data")
    head = _read(file, at, min(size - at, 256))
    # An encoder's own note (Xing, Info) counts the bytes of all frames.
    for mark in (b"Xing", b"Info"):
        note = head.find(mark)
        if note > 0 and len(head) >= note + 16 and head[note + 7] & 3 == 3:
            said = int.from_bytes(head[note + 12 : note + 16], "big")
            if at + said > size:
                msg = f"it says {said:,} bytes of sound and has {size - at:,}"
                raise _CutError(msg)


def _behind_id3(file: BinaryIO, size: int) -> int:
    """Return where the sound begins: behind a tag of ID3, if there is one."""
    if size < 10:
        raise _CutError("it has no sound data")
    head = _read(file, 0, 10)
    if head[:3] != b"ID3":
        return 0
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _check_adts(file: BinaryIO, size: int) -> None:
    at = _behind_id3(file, size)
    if size < at + 7:
        raise _CutError("it ends inside its first frame")
    head = _read(file, at, 7)
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if at + length > size:
        raise _CutError("it ends inside its first frame")


def _check_flac(file: BinaryIO, size: int) -> None:
    at = _behind_id3(file, size) + 4
    for _ in range(MAX_PARTS):
        if at + 4 > size:
            break
        block = _read(file, at, 4)
        at += 4 + int.from_bytes(block[1:], "big")
        if block[0] & 0x80:
            if at + 2 <= size and _read(file, at, 2)[0] == 0xFF:
                return
            break
    raise _CutError("it has no sound data")


_CHECKS: dict[str, Callable[[BinaryIO, int], None]] = {
    "jpg": _check_jpeg,
    "png": _check_png,
    "gif": _check_gif,
    "webp": _check_webp,
    "avif": _check_still,
    "heic": _check_still,
    "mp4": _check_movie,
    "mov": _check_movie,
    "m4a": _check_movie,
    "webm": _check_ebml,
    "mkv": _check_ebml,
    "mka": _check_ebml,
    "wav": _check_wav,
    "ogg": _check_ogg,
    "ogv": _check_ogg,
    "mp3": _check_mp3,
    "aac": _check_adts,
    "flac": _check_flac,
}
