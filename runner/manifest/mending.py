"""What a model takes, made of a picture it would refuse: upright, RGB, one frame, small enough, JPEG or PNG.

Pillow does it, always with the same bytes for the same picture and the same Pillow. `copies.py` keeps what was made, so
that another Pillow changes nothing of a job that was planned before.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from runner.manifest.odd_pictures import oddities
from runner.manifest.pictures import Look, PictureBroken, in_words, opened
from runner.results.media import BMP, GIF, JPEG, PNG, TIFF, MediaType

if TYPE_CHECKING:
    from PIL.Image import Image

_QUALITIES: Final = (92, 85, 75, 60)  # of JPEG; then it gets smaller
_SMALLER: Final = 0.75  # of each side
_END: Final = b"\xff\xd9"
_MORE: Final = b"\x55" * 64  # whatever: a whole picture needs none of it
_RESTARTS: Final = tuple(bytes((0xFF, 0xD0 + number)) + _MORE for number in range(8))
_HAS_RESTARTS: Final = b"\xff\xdd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a model takes."""

    most_bytes: int
    mimes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A copy that a model takes."""

    data: bytes
    media: MediaType


def needs_mending(found: Look | None, media: MediaType, size_bytes: int, wanted: Wanted) -> bool:
    """Return whether a whole picture would be refused, or be seen otherwise than it is meant.

    Args:
        found: What Pillow has seen of it.
        media: What it is.
        size_bytes: Its size.
        wanted: What the model takes.
    """
    if media.mime not in wanted.mimes or size_bytes > wanted.most_bytes:
        return True
    return found is not None and bool(oddities(found))


def mend(file: BinaryIO, media: MediaType, wanted: Wanted, *, broken: bool) -> Mended:
    """Make the copy.

    Args:
        file: The picture, open for reading and seeking.
        media: What it is.
        wanted: What the model takes.
        broken: It has no end mark, or parts that do not follow each other.

    Raises:
        PictureBroken: None can be made: part of the picture is missing, or nobody here reads its format.
        OSError: The disk.
    """
    if broken:
        if media is not JPEG:
            raise PictureBroken("only JPEG can be repaired")
        file = _repaired(file)
    with opened(file, media) as image:
        if image is None:
            raise PictureBroken("its format is not known here")
        with in_words():
            return _encoded(_plain(image), wanted, lossless=media in (PNG, GIF, BMP, TIFF))


def _repaired(file: BinaryIO) -> BinaryIO:
    """Return a JPEG that can be read to its end, if no more than its end mark is missing or a few bytes are in the way."""
    try:
        _pixels(file)
    except PictureBroken:
        pass
    else:
        return file
    file.seek(0)
    data = file.read().removesuffix(b"\xff")
    found = _pixels(io.BytesIO(data + _END))
    # Bytes behind the data of a whole picture make no difference; where data is missing, they would be taken for it.
    tails = (_MORE, *(_RESTARTS if _HAS_RESTARTS in data else ()))
    if any(_pixels(io.BytesIO(data + tail + _END)) != found for tail in tails):
        raise PictureBroken("it is cut: the end of the picture is missing")
    return io.BytesIO(data + _END)


def _pixels(file: BinaryIO) -> bytes:
    with opened(file, JPEG) as image, in_words():
        assert image is not None
        return image.tobytes()


def _plain(image: Image) -> Image:
    """Return the first frame: upright, RGB, on white where it is transparent, in the colours of screens."""
    from PIL import Image as images
    from PIL import ImageOps

    profile = image.info.get("icc_profile")
    image.seek(0)
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "I;16", "I;16B", "I;16L"):
        upright = upright.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if upright.has_transparency_data:
        above = upright.convert("RGBA")
        upright = images.alpha_composite(images.new("RGBA", above.size, "white"), above).convert("RGB")
    elif profile and upright.mode in ("RGB", "CMYK"):
        upright = _in_colours_of_screens(upright, profile)
    plain = upright.convert("RGB")
    plain.info = {}
    return plain


def _in_colours_of_screens(image: Image, profile: bytes) -> Image:
    with suppress(Exception):  # a profile that cannot be read is none
        from PIL import ImageCms

        found = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        if found is not None:
            return found
    return image


def _encoded(image: Image, wanted: Wanted, *, lossless: bool) -> Mended:
    if PNG.mime in wanted.mimes and (lossless or JPEG.mime not in wanted.mimes):
        data = _saved(image, "PNG")
        if len(data) <= wanted.most_bytes or JPEG.mime not in wanted.mimes:
            return Mended(data=data, media=PNG)
    while True:
        for quality in _QUALITIES:
            data = _saved(image, "JPEG", quality=quality)
            if len(data) <= wanted.most_bytes:
                return Mended(data=data, media=JPEG)
        if min(image.size) < 16:
            raise PictureBroken(f"it cannot be made as small as {wanted.most_bytes:,} bytes")
        image = image.resize((int(image.width * _SMALLER), int(image.height * _SMALLER)))


def _saved(image: Image, kind: str, **options: int) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()
