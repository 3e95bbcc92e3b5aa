"""The boxes of ISO base media files: MP4, QuickTime, M4A, AVIF, HEIC. Which tracks there are, and whether all is there.

Source: ISO/IEC 14496-12; Apple, QuickTime File Format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from typing import BinaryIO, NamedTuple

from runner.results.excerpts import MAX_PARTS, CutShort, LeftOver, excerpt

MOST_TRACKS = 1_000
"""No honest film has more."""

PICTURE, SOUND = b"vide", b"soun"

# What goes with sound and makes no film of it: chapters, subtitles, time codes, notes, scenes of MPEG-4.
_BESIDE_SOUND = frozenset(
    {b"text", b"sbtl", b"subt", b"clcp", b"tmcd", b"meta", b"mdta", b"hint", b"sdsm", b"odsm"}
)
_ENABLED = 1
_HEADER = Struct(">I4s")

# Boxes that stand at the top of a file. What has none of these names and ends nowhere is no box.
_AT_THE_TOP = frozenset(
    {b"ftyp", b"styp", b"moov", b"mdat", b"imda", b"moof", b"mfra", b"meta", b"sidx", b"ssix", b"emsg", b"prft",
     b"free", b"skip", b"wide", b"uuid", b"udta", b"pdin", b"pnot"}
)  # fmt: skip


class Box(NamedTuple):
    """One box: its content begins and ends there. `open`: it says no length, and goes on to the end of the file."""

    name: bytes
    begins: int
    ends: int
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """What the tracks of a film are (`vide`, `soun`), all of them, and those that are played unasked."""

    every: frozenset[bytes]
    played: frozenset[bytes]

    @property
    def sound_only(self) -> bool:
        """Whether there is sound, and nothing to be seen."""
        return SOUND in self.every and not self.every - _BESIDE_SOUND - {SOUND}


def tracks(file: BinaryIO, size: int) -> Tracks:
    """Return what the tracks of a film are.

    Raises:
        CutShort: A box reaches beyond the end of the one around it.
    """
    every: set[bytes] = set()
    enabled: set[bytes] = set()
    # One index is enough: what follows it may be thousands of fragments.
    for movie in islice(_named(file, Box(b"", 0, size), b"moov"), 1):
        for track in islice(_named(file, movie, b"trak"), MOST_TRACKS):
            handlers: list[bytes] = []
            is_enabled = False
            for box in islice(_boxes(file, track.begins, track.ends), MAX_PARTS):
                if box.name == b"mdia":
                    handlers += [excerpt(file, each.begins + 8, 4) for each in _named(file, box, b"hdlr")]
                elif box.name == b"tkhd":
                    is_enabled = is_enabled or bool(excerpt(file, box.begins + 3, 1)[0] & _ENABLED)
            every.update(handlers)
            if is_enabled:
                enabled.update(handlers)
    return Tracks(every=frozenset(every), played=frozenset(enabled or every))


def names(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the names of the top boxes.

    Raises:
        CutShort: One reaches beyond the end of the file.
    """
    return (box.name for box in islice(_boxes(file, 0, size), MAX_PARTS))


def check_movie(file: BinaryIO, size: int) -> None:
    """Check that a film or a sound is whole.

    Raises:
        CutShort: It is not; `LeftOver`: it is, and something follows.
    """
    found: dict[bytes, Box] = {}
    left_over: LeftOver | None = None
    try:
        for box in islice(_boxes(file, 0, size), MAX_PARTS):
            found[box.name] = box
            if box.name == b"sidx":
                _check_segments(file, box, size)
    except LeftOver as exc:
        left_over = exc
    if b"moov" not in found:
        raise CutShort("it has no index (box 'moov')")
    if not found.keys() & {b"mdat", b"moof"}:
        raise CutShort("it has no picture or sound data (box 'mdat')")
    if b"mdat" in found and found[b"mdat"].open:
        _check_chunks(file, found[b"moov"], size)
    if left_over is not None:
        raise left_over


def check_still(file: BinaryIO, size: int) -> None:
    """Check that a picture is whole.

    Raises:
        CutShort: It is not.
    """
    if not {*names(file, size)} & {b"meta", b"moov"}:
        raise CutShort("it has no picture (box 'meta')")


def _check_segments(file: BinaryIO, box: Box, size: int) -> None:
    """Compare with the file what an index of segments says of their lengths."""
    if box.ends - box.begins < 24:
        return
    wide = 8 if excerpt(file, box.begins, 1)[0] else 4  # by its version
    at = box.begins + 12 + wide
    head = excerpt(file, at, wide + 4)
    first, count = int.from_bytes(head[:wide], "big"), int.from_bytes(head[-2:], "big")
    if at + len(head) + 12 * count > box.ends:
        return
    entries = excerpt(file, at + len(head), 12 * count)
    lengths = (
        int.from_bytes(entries[each : each + 4], "big") & 0x7FFF_FFFF for each in range(0, 12 * count, 12)
    )
    end = box.ends + first + sum(lengths)
    if end > size:
        msg = f"its index lists {end:,} bytes and it has {size:,}"
        raise CutShort(msg)


def _check_chunks(file: BinaryIO, movie: Box, size: int) -> None:
    """Look whether the last chunks that the index lists begin inside the file: of open data nothing else tells."""
    last = 0
    with suppress(CutShort):  # an odd index proves nothing
        found = islice(_inner(file, [movie], (b"trak",)), MOST_TRACKS)
        for table in _inner(file, found, (b"mdia", b"minf", b"stbl")):
            for box in _boxes(file, table.begins, table.ends):
                width = {b"stco": 4, b"co64": 8}.get(box.name)
                if width is not None and box.ends - box.begins >= 8 + width:
                    last = max(last, int.from_bytes(excerpt(file, box.ends - width, width), "big"))
    if last >= size:
        msg = f"its index points to byte {last:,} and it has {size:,}"
        raise CutShort(msg)


def _inner(file: BinaryIO, outer: Iterable[Box], path: tuple[bytes, ...]) -> Iterator[Box]:
    """Yield the boxes at a path below some boxes."""
    for each in outer:
        there = _named(file, each, path[0])
        yield from _inner(file, there, path[1:]) if path[1:] else there


def _named(file: BinaryIO, outer: Box, name: bytes) -> Iterator[Box]:
    """Yield the boxes of one name in a box."""
    for box in islice(_boxes(file, outer.begins, outer.ends), MAX_PARTS):
        if box.name == name:
            yield box


def _boxes(file: BinaryIO, at: int, size: int) -> Iterator[Box]:
    """Yield the boxes between two places; raise where one reaches beyond the end."""
    while at < size:
        if size - at < 8:
            # QuickTime allows a zero word at the end.
            if excerpt(file, at, size - at).strip(b"\0"):
                raise CutShort("it ends inside a box header")
            return
        length, name = _HEADER.unpack(excerpt(file, at, 8))
        begins, is_open = at + 8, length == 0
        if length == 1:
            length, begins = int.from_bytes(excerpt(file, at + 8, 8), "big"), at + 16
        elif is_open:
            if name == b"\0\0\0\0":  # padding
                return
            length = size - at
        if length < 8 or at + length > size:
            if name not in _AT_THE_TOP:
                msg = f"{size - at:,} bytes at its end belong to no part of it"
                raise LeftOver(msg)
            msg = f"its box {name.decode('ascii', 'replace')!r} does not end inside the file"
            raise CutShort(msg)
        yield Box(name, begins, at + length, is_open)
        at += length
