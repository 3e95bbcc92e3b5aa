"""Pieces of an open file at known places, which is all that a walk through a container needs."""

from __future__ import annotations

from typing import BinaryIO

MAX_PARTS = 2_000_000
"""No honest file has more boxes, chunks, pages or clusters; a walk of more gives up."""


class CutShort(Exception):
    """The file ends before its container does; the message says how we know."""


class LeftOver(CutShort):
    """Something follows that is no part of the container: odd, though what belongs to it may all be there."""


def excerpt(file: BinaryIO, at: int, count: int) -> bytes:
    """Return some bytes of a file.

    Args:
        file: Open for reading and seeking; its position afterwards is anywhere.
        at: Where they begin.
        count: How many.

    Raises:
        CutShort: It has fewer.
    """
    file.seek(at)
    data = file.read(count)
    if len(data) < count:
        msg = f"it breaks off after {at + len(data):,} bytes"
        raise CutShort(msg)
    return data
