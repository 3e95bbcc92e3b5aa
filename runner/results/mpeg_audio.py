"""Frames of MPEG sound (MP3, ADTS), and the tags of ID3 before them. Pure: bytes in, a finding out.

A frame is told by eleven or twelve bits, and raw samples have those once in two thousand files. Certain is only what
has another frame of the same stream where the first one ends.

Source: ISO/IEC 11172-3, 13818-3 and 13818-7; ID3v2.4 structure.
"""

from __future__ import annotations

from enum import Enum

MOST_FRAMES_BYTES = 3 * 8191
"""Three of the longest frames there are."""

_ENOUGH = 3  # frames in a row


class Frames(Enum):
    """What frames of MPEG sound are: Layer II or III, or AAC in ADTS."""

    MP3 = "mp3"
    AAC = "aac"


def frames_of(head: bytes) -> Frames | None:
    """Return what the first frame is; None where bytes begin with no frame."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0 and (head[2] >> 2) & 0xF < 13:
        return Frames.AAC
    layer, version = (head[1] >> 1) & 3, (head[1] >> 3) & 3
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    # Layers II and III only: layer I would also fit the byte order mark of UTF-16.
    if head[1] & 0xE0 == 0xE0 and layer in (1, 2) and version != 1 and bitrate not in (0, 15) and rate != 3:
        return Frames.MP3
    return None


def frames_follow(data: bytes) -> bool:
    """Say whether frames of one stream follow each other from the first byte on.

    Args:
        data: Sound, `MOST_FRAMES_BYTES` of it or all there is.
    """
    at, found = 0, 0
    while found < _ENOUGH:
        length = _frame_bytes(data[at : at + 7])
        if length is None or (found and _stream(data[at : at + 4]) != _stream(data)):
            break
        found += 1
        at += length
        if at >= len(data):
            # A file of one frame; of more than one, the last may be cut.
            return found > 1 or at == len(data)
    return found == _ENOUGH


def first_frames(data: bytes) -> int | None:
    """Return where frames begin to follow each other; None where they do nowhere."""
    at = data.find(0xFF)
    while at >= 0:
        if frames_of(data[at : at + 4]) is not None and frames_follow(data[at:]):
            return at
        at = data.find(0xFF, at + 1)
    return None


def tag_bytes(head: bytes) -> int:
    """Return how long a tag of ID3 is; 0 where bytes begin with none.

    Args:
        head: Ten bytes or more.
    """
    # Of the version no number is 255, and no byte of the length has its top bit.
    if len(head) < 10 or head[:3] != b"ID3" or 0xFF in head[3:5] or any(byte & 0x80 for byte in head[6:10]):
        return 0
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _stream(head: bytes) -> tuple[int, int]:
    """Return what all frames of one stream have in common: version, layer, and rate of samples."""
    return head[1] & 0xFE, head[2] & (0x3C if frames_of(head) is Frames.AAC else 0x0C)


def _frame_bytes(head: bytes) -> int | None:
    """Return how long a frame is; None where there is none."""
    frames = frames_of(head)
    if frames is None or len(head) < 7:
        return None
    if frames is Frames.AAC:
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return length if length > 7 else None
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    if version == 3:  # MPEG-1
        bitrates, scale = (_LAYER_2 if layer == 2 else _LAYER_3), 144
    else:
        bitrates, scale = _LOW_RATES, 144 if layer == 2 else 72
    rate_hz = (44_100, 48_000, 32_000)[(head[2] >> 2) & 3] >> {3: 0, 2: 1}.get(version, 2)
    return scale * bitrates[head[2] >> 4] * 1000 // rate_hz + (head[2] >> 1 & 1)


# kbit/s by the index in a frame's header; ISO/IEC 11172-3 and 13818-3.
_LAYER_2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOW_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
