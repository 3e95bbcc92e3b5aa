"""A small picture of each result, for paper: a picture as it is, one frame of a film, nothing of a sound.

A frame takes PyAV (the extra `frames`) or the program ffmpeg; where neither is there, a film has no picture.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from runner.results.frames import NoFrame, frame_of

if TYPE_CHECKING:
    from PIL.Image import Image

AT_S = 0.4  # films fade in: a moment later there is more to see than in the first frame
PATIENCE_S = 30.0


@cache
def can_read_films() -> bool:
    """Whether there is something here that takes a frame out of a film."""
    return find_spec("av") is not None or shutil.which("ffmpeg") is not None


def still_of(path: Path, mime: str, *, width: int, height: int) -> Image | None:
    """Return a picture of a result that fits into so many pixels; None where it cannot be read."""
    from PIL import Image, ImageOps

    try:
        found: Image.Image | None = None
        if mime.startswith("video/"):
            found = _frame(path, mime)
        elif mime.startswith("image/"):
            with Image.open(path) as opened:
                opened.draft("RGB", (width * 2, height * 2))
                found = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception:  # a file of somebody else's making: whatever is wrong with it, the sheet is made
        return None
    if found is not None:
        found.thumbnail((width, height))
    return found


def _frame(path: Path, mime: str) -> Image | None:
    from PIL import Image

    if find_spec("av") is not None:
        with suppress(NoFrame), path.open("rb") as film:
            return Image.open(io.BytesIO(frame_of(film, mime, AT_S))).convert("RGB")
    if (program := shutil.which("ffmpeg")) is None:
        return None
    command = [program, "-v", "error", "-nostdin", "-ss", str(AT_S), "-i", str(path), "-frames:v", "1"]
    made = subprocess.run(
        [*command, "-f", "image2pipe", "-c:v", "png", "-"],
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return Image.open(io.BytesIO(made.stdout)).convert("RGB")
