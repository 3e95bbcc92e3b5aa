"""The elements of WebM and Matroska: which tracks there are, and whether all is there.

Source: RFC 8794 (EBML), RFC 9559 (Matroska).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from runner.results.excerpts import MAX_PARTS, CutShort, excerpt

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_TRACKS, _TRACK, _TRACK_TYPE = 0x1654AE6B, 0xAE, 0x83
# Types of tracks. Subtitles and notes make no film of sound.
_PICTURE, _SOUND, _COMPLEX = 1, 2, 3


def check_ebml(file: BinaryIO, size: int) -> None:
    """Walk to the first cluster; of a live recording, whose size was never known, to the last.

    Raises:
        CutShort: The file is not whole.
    """
    _, at, length = _element(file, 0, size)
    if length is None:
        raise CutShort("its header has no end")
    at += length
    for _ in range(MAX_PARTS):
        if at >= size:
            raise CutShort("it has no segment")
        name, at, length = _element(file, at, size)
        if name == _SEGMENT:
            break
        at += length or 0
    if length is not None and at + length > size:
        msg = f"its segment says {length:,} bytes and has {size - at:,}"
        raise CutShort(msg)
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
            raise CutShort("its last part does not end inside the file")
    if not found:
        raise CutShort("it has no picture or sound data")


def sound_only(file: BinaryIO, size: int) -> bool:
    """Return whether there is sound in a WebM or Matroska file, and nothing to be seen.

    Raises:
        CutShort: It breaks off before its tracks are told.
    """
    found = _track_types(file, size)
    return _SOUND in found and not found & {_PICTURE, _COMPLEX}


def _track_types(file: BinaryIO, size: int) -> set[int]:
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
                        found.add(
                            int.from_bytes(excerpt(file, value_at, min(value_end - value_at, 8)), "big")
                        )
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
    head = excerpt(file, at, min(12, size - at))
    id_bytes = 9 - head[0].bit_length()
    if not 1 <= id_bytes <= 4 or len(head) <= id_bytes:
        raise CutShort("it breaks off, or holds something else, between two parts")
    first = head[id_bytes]
    size_bytes = 9 - first.bit_length()
    if size_bytes > 8 or len(head) < id_bytes + size_bytes:
        raise CutShort("it breaks off inside the head of a part")
    value = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & ((1 << 7 * size_bytes) - 1)
    unknown = value == (1 << 7 * size_bytes) - 1
    begins = at + id_bytes + size_bytes
    return int.from_bytes(head[:id_bytes], "big"), begins, None if unknown else value
