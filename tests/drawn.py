"""Pictures for tests, drawn by Pillow: always the same ones, and broken ones made of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image


def drawn(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Draw a picture whose corners differ: red and green above, blue and white below."""
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    half = (width // 2, height // 2)
    for at, colour in (((0, 0), "red"), ((half[0], 0), "lime"), ((0, half[1]), "blue")):
        picture.paste(Image.new("RGB", (half[0] // 2, half[1] // 2), colour), at)
    return picture.convert(mode)


def encoded(kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    """Return a picture as a file of a kind: `PNG`, `JPEG`."""
    target = io.BytesIO()
    (picture or drawn()).save(target, kind, **options)
    return target.getvalue()


def several(kind: str, number: int = 3, **options: Any) -> bytes:
    """Return a file of several frames."""
    frames = [Image.new("RGB", (32, 32), (80 * each, 0, 0)) for each in range(number)]
    return encoded(kind, frames[0], save_all=True, append_images=frames[1:], **options)


def turned(orientation: int = 6, kind: str = "JPEG") -> bytes:
    """Return a picture that lies on its side but for what its EXIF says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(kind, exif=exif)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*, width: int = 2, height: int = 2, depth: int = 8, colours: int = 2, data: bytes) -> bytes:
    """Return a PNG by hand, of these bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def deep_png() -> bytes:
    """Return a PNG of 16 bits for each colour."""
    return png(depth=16, data=(b"\0" + b"\x12\x34" * 6) * 2)


def without(name: bytes, data: bytes) -> bytes:
    """Return a PNG without its chunks of this name."""
    return data[:8] + b"".join(each for each in _chunks(data) if each[4:8] != name)


def _chunks(data: bytes) -> Iterator[bytes]:
    at = 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at:end]
        at = end


def flat_jpeg() -> bytes:
    """Return a JPEG that says it has no height."""
    data = encoded("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + b"\0\0" + data[at + 2 :]


def junk_jpeg() -> bytes:
    """Return a JPEG with a few bytes between two segments that belong to neither."""
    data = encoded("JPEG")
    at = data.index(b"\xff\xdb")
    return data[:at] + b"\0" * 5 + data[at:]


def bomb() -> bytes:
    """Return a small PNG of 900 million pixels."""
    return png(width=30_000, height=30_000, depth=1, colours=0, data=b"\0" * (30_000 * 3751))
