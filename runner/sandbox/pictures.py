"""Pictures and sounds drawn at run time with the standard library alone: PNG, JPEG, WAV.

Rows are cut out of long gradient lines, so a picture costs milliseconds and no loop runs over its pixels.
"""

from __future__ import annotations

import array
import colorsys
import math
import struct
import zlib
from functools import lru_cache
from typing import TypeAlias

LONG_SIDE_PX = 512
SHORT_SIDE_MIN_PX = 48

_Means: TypeAlias = tuple[float, float, float]  # luma, blue and red difference of a tile


def size_px(aspect: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) for an aspect ratio, in multiples of 8."""
    wide, high = aspect
    scale = max(LONG_SIDE_PX / max(wide, high), SHORT_SIDE_MIN_PX / min(wide, high))
    return max(8, round(wide * scale / 8) * 8), max(8, round(high * scale / 8) * 8)


@lru_cache(maxsize=128)
def png(aspect: tuple[int, int], look: int) -> bytes:
    """Draw a PNG: a diagonal gradient with three discs. `look` chooses colours and places."""
    width, height = size_px(aspect)
    back = _ramp(_colour(look, 0), _colour(look, 1), width + height)
    front = _ramp(_colour(look, 2), _colour(look, 1), width + height)
    discs = [_disc(look, number, width, height) for number in range(3)]
    rows = bytearray()
    for y in range(height):
        row = bytearray(back[3 * y : 3 * (y + width)])
        for centre_x, centre_y, radius in discs:
            half = radius * radius - (y - centre_y) ** 2
            if half > 0:
                left = max(0, centre_x - math.isqrt(half))
                right = min(width, centre_x + math.isqrt(half))
                start = height - y
                row[3 * left : 3 * right] = front[3 * (start + left) : 3 * (start + right)]
        rows += b"\0" + row
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@lru_cache(maxsize=128)
def jpeg(aspect: tuple[int, int], look: int) -> bytes:
    """Draw a JPEG: the same colours as a mosaic of 8-pixel tiles (each block holds only its mean)."""
    width, height = size_px(aspect)
    columns, rows = width // 8, height // 8
    first, last, disc = (_ycc(_colour(look, number)) for number in (0, 1, 2))
    centre_x, centre_y, radius = _disc(look, 0, columns, rows)
    bits = _Bits()
    previous = [0, 0, 0]
    for y in range(rows):
        for x in range(columns):
            if (x - centre_x) ** 2 + (y - centre_y) ** 2 < radius * radius:
                mean = disc
            else:
                share = (x + y) / (columns + rows)
                mean = _mix(first, last, share)
            for component in range(3):
                level = round(mean[component] - 128)  # the table divides 8 x mean by 8
                bits.put_dc(level - previous[component])
                previous[component] = level
    return _jpeg_head(width, height) + bits.finish() + b"\xff\xd9"


@lru_cache(maxsize=8)
def wav(look: int, seconds: float = 1.5) -> bytes:
    """Play a soft chord: WAV, mono, 16 bit, 22,050 Hz."""
    rate = 22_050
    base = (220.0, 246.94, 261.63, 293.66)[look % 4]
    steps = [2 * math.pi * base * ratio / rate for ratio in (1, 1.25, 1.5)]
    total = int(rate * seconds)
    samples = array.array("h")
    for n in range(total):
        fade = min(1.0, n / 800, (total - n) / 6000)
        samples.append(int(3000 * fade * sum(math.sin(step * n) for step in steps)))
    if array.array("H", [1]).tobytes() != b"\x01\x00":
        samples.byteswap()
    data = samples.tobytes()
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _colour(look: int, number: int) -> tuple[int, int, int]:
    hue = (look * 0.61803 + (0, 0.12, 0.55)[number]) % 1
    light, strength = ((0.28, 0.6), (0.66, 0.7), (0.58, 0.8))[number]
    red, green, blue = colorsys.hls_to_rgb(hue, light, strength)
    return int(red * 255), int(green * 255), int(blue * 255)


def _ramp(first: tuple[int, int, int], last: tuple[int, int, int], length: int) -> bytes:
    line = bytearray()
    for n in range(length + 1):
        share = n / length
        line += bytes(int(a + (b - a) * share) for a, b in zip(first, last, strict=True))
    return bytes(line)


def _disc(look: int, number: int, width: int, height: int) -> tuple[int, int, int]:
    spread = (look * 7919 + number * 104_729) % 1000 / 1000
    other = (look * 6101 + number * 15_485) % 1000 / 1000
    radius = int(min(width, height) * (0.34, 0.18, 0.1)[number])
    return int(width * (0.15 + 0.7 * spread)), int(height * (0.2 + 0.6 * other)), max(1, radius)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _mix(first: _Means, last: _Means, share: float) -> _Means:
    luma, blue, red = (a + (b - a) * share for a, b in zip(first, last, strict=True))
    return luma, blue, red


def _ycc(rgb: tuple[int, int, int]) -> _Means:
    red, green, blue = rgb
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, 128 + 0.564 * (blue - luma), 128 + 0.713 * (red - luma)


# Baseline JPEG with one Huffman table for the means (categories 0 to 11, all five bits or fewer would
# do; ten codes of four bits and two of five keep the code free of all-ones) and one that only says "no more".
_DC_LENGTHS = (0, 0, 0, 10, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
_DC_CODES = (*((n, 4) for n in range(10)), (20, 5), (21, 5))


class _Bits:
    """Collects Huffman codes into bytes, with the zero that JPEG puts behind each 0xFF."""

    def __init__(self) -> None:
        self._value = 0
        self._count = 0
        self._bytes = bytearray()

    def put_dc(self, difference: int) -> None:
        category = abs(difference).bit_length()
        code, length = _DC_CODES[category]
        self._put(code, length)
        if category:
            self._put(difference if difference > 0 else difference + (1 << category) - 1, category)
        self._put(0, 1)  # end of block: the only code of the AC table

    def finish(self) -> bytes:
        if self._count:
            self._put((1 << (8 - self._count)) - 1, 8 - self._count)
        return bytes(self._bytes)

    def _put(self, value: int, length: int) -> None:
        self._value = self._value << length | value
        self._count += length
        while self._count >= 8:
            self._count -= 8
            byte = self._value >> self._count & 0xFF
            self._bytes += b"\xff\0" if byte == 0xFF else bytes([byte])
            self._value &= (1 << self._count) - 1


def _jpeg_head(width: int, height: int) -> bytes:
    def segment(marker: int, data: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    jfif = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
    quantizers = segment(0xDB, b"\0" + bytes([8] * 64))
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"".join(bytes([n, 0x11, 0]) for n in (1, 2, 3))
    means = segment(0xC4, b"\0" + bytes(_DC_LENGTHS) + bytes(range(12)))
    ends = segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
    scan = segment(0xDA, b"\x03" + b"".join(bytes([n, 0]) for n in (1, 2, 3)) + b"\0\x3f\0")
    return b"\xff\xd8" + jfif + quantizers + segment(0xC0, frame) + means + ends + scan
