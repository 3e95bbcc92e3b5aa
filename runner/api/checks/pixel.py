"""A small picture that belongs to nobody: what `doctor` uploads."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Final

SIDE = 64


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png() -> bytes:
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\x2a\x6f\xdb" * SIDE) * SIDE
    parts = _chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows, 9)), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PICTURE: Final = _png()
PICTURE_SHA256: Final = hashlib.sha256(PICTURE).hexdigest()
