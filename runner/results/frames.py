"""One picture of a film, as PNG: the only place that decodes one, by PyAV, which is an extra (`frames`)."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from runner.errors import RunnerError
from runner.model import Frame

# The demuxer is named: one that guesses may take a file for a playlist, and open what that names.
_DEMUXERS: Final = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
}
_END_US: Final = 2_000_000  # the last picture is looked for in so much of the film first


class NoFrame(RunnerError):
    """A film has no such picture, or it cannot be decoded."""


def frame_of(film: BinaryIO, mime: str, which: Frame | float) -> bytes:
    """Return a picture of a film as the bytes of a PNG: the first, the last, or that of a moment in seconds.

    Raises:
        NoFrame: It has none, is no film that can be read, or PyAV is not installed.
    """
    demuxer = _DEMUXERS.get(mime)
    if demuxer is None:
        raise NoFrame(f"frames are taken of MP4, MOV, WebM and Matroska, and this is {mime}")
    try:
        import av
    except ImportError as exc:
        raise NoFrame(
            "a frame of a film is taken by PyAV, which is not installed",
            hint="pip install 'rivya-batch[frames]'",
        ) from exc
    try:
        with av.open(film, format=demuxer) as container:
            picture = _picture(container, which)
    except (av.FFmpegError, ValueError, OSError) as exc:
        raise NoFrame(f"its pictures cannot be decoded: {exc}") from exc
    if picture is None:
        raise NoFrame("it has no picture")
    image = picture.to_image()
    if turned := getattr(picture, "rotation", 0):
        image = image.rotate(turned, expand=True)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _picture(container: Any, which: Frame | float) -> Any:
    if not container.streams.video:
        return None
    if isinstance(which, float):
        found = None
        for found in container.decode(video=0):
            if found.time is not None and found.time >= which:
                break
        return found
    if which is Frame.FIRST:
        return next(iter(container.decode(video=0)), None)
    if container.duration is not None and container.duration > _END_US:
        container.seek(container.duration - _END_US)
        if (found := _last(container.decode(video=0))) is not None:
            return found
        container.seek(0)
    return _last(container.decode(video=0))


def _last(pictures: Iterator[Any]) -> Any:
    return next(iter(deque(pictures, maxlen=1)), None)
