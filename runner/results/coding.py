"""Undoing the `Content-Encoding` of a body, where there truly is one, in bounded memory.

We ask for none, and some hosts send one all the same; some only say so. The first bytes decide: what a signature
shows to be a media file already is taken as it is.

Source: RFC 9110 §8.4, RFC 1950 to 1952.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from runner.results.media import sniff

PIECE_BYTES = 1_000_000
"""No piece of what is unpacked is larger."""

# What S3 leaves on objects that were uploaded in signed chunks; the body is plain.
_PLAIN = frozenset({"", "identity", "aws-chunked"})
_GZIP = frozenset({"gzip", "x-gzip"})
GZIP_MARK = b"\x1f\x8b"
_GZIP_BITS, _ZLIB_BITS, _BARE_BITS = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS


class CodingCut(Exception):
    """What is packed breaks off, or is damaged."""


class TooMuchUnpacked(Exception):
    """A small body holds a very large one: `size_bytes` so far."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


def coding_of(header: str) -> str | None:
    """Return the coding a `Content-Encoding` header names; None for a plain body.

    >>> coding_of("GZIP, identity")
    'gzip'
    """
    named = [name for each in header.split(",") if (name := each.strip().lower()) not in _PLAIN]
    return ", ".join(named) or None


class Unpacker:
    """Undoes one coding, piece by piece. `packed` says, from the first piece on, that it cannot be undone here.

    Args:
        coding: As `coding_of` returns it.
        max_bytes: No more than this may come out.
    """

    def __init__(self, coding: str, *, max_bytes: int) -> None:
        self._coding = coding
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._begun = False
        self._stream: zlib._Decompress | None = None  # None: taken as it is
        self.packed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what some bytes of the body unpack to, in pieces.

        Raises:
            CodingCut: They are damaged.
            TooMuchUnpacked: They hold more than may be.
        """
        if not self._begun and data:
            self._begun = True
            self._stream = self._begin(data)
        if (stream := self._stream) is None:
            yield data
            return
        while data:
            if stream.eof:
                # Another member of gzip may follow; anything else behind the end is no part of the file.
                if self._coding not in _GZIP or not data.startswith(GZIP_MARK):
                    return
                stream = self._stream = zlib.decompressobj(_GZIP_BITS)
            try:
                piece = stream.decompress(data, PIECE_BYTES)
            except zlib.error as exc:
                raise CodingCut(f"its {self._coding} data is damaged") from exc
            self._size_bytes += len(piece)
            if self._size_bytes > self._max_bytes:
                raise TooMuchUnpacked(self._size_bytes)
            if piece:
                yield piece
            data = stream.unused_data if stream.eof else stream.unconsumed_tail

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            CodingCut: It breaks off.
        """
        if self._stream is not None and not self._stream.eof:
            raise CodingCut(f"its {self._coding} data breaks off")

    def _begin(self, head: bytes) -> zlib._Decompress | None:
        if sniff(head) is not None:
            return None
        if self._coding in _GZIP:
            return zlib.decompressobj(_GZIP_BITS) if head.startswith(GZIP_MARK) else None
        if self._coding == "deflate":
            # With the header of zlib, as it should be, or without, as some send it.
            bits = next((bits for bits in (_ZLIB_BITS, _BARE_BITS) if _unpacks(head, bits)), None)
            return zlib.decompressobj(bits) if bits is not None else None
        self.packed = True
        return None


def _unpacks(head: bytes, bits: int) -> bool:
    try:
        zlib.decompressobj(bits).decompress(head, PIECE_BYTES)
    except zlib.error:
        return False
    return True
