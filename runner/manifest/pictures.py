"""What Pillow says of a picture that somebody wants to send: whether it can be read at all, and what is odd about it.

Tried against our own walks through containers (`results.containers`), over a thousand files in less than a second:

- Pillow is the better judge of WebP (it refuses one that lacks a byte, which RIFF's own size forgives), of PNG (chunks
  that have to be there, and the checksum of each) and of a JPEG's header (a height of 0). It knows MPO, orientation,
  colours and frames.
- Ours is the better judge of where a file ends. Pillow opens a JPEG, GIF or AVIF that is cut and finds out only when it
  is decoded, which takes 0.1 s for a phone's picture: a plan of a thousand would take minutes.

So both look. Nothing is decoded here; Pillow is imported with the first picture, and pillow-heif with the first HEIC.
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from runner.results.media import AVIF, BMP, GIF, HEIC, JPEG, PNG, TIFF, WEBP, MediaType

if TYPE_CHECKING:
    from PIL.Image import Image

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs would go to the terminal

# What filters warnings is the process's: two threads that change it side by side would put it back wrongly, for good.
_ALONE = threading.RLock()
MOST_PIXELS = 178_956_970
"""Above this Pillow suspects a decompression bomb; the pictures of most phones have 12 to 50 million."""

_RAW_TAGS = frozenset({330, 50706})  # of TIFF: pictures inside it, and DNG's version
_ORIENTATION = 0x0112  # of EXIF; 1 is upright
# What a signature may be to Pillow: the names of its formats, and the module that knows them.
_FORMATS = {
    JPEG.extension: (("JPEG",), "PIL.JpegImagePlugin"),
    PNG.extension: (("PNG",), "PIL.PngImagePlugin"),
    GIF.extension: (("GIF",), "PIL.GifImagePlugin"),
    WEBP.extension: (("WEBP",), "PIL.WebPImagePlugin"),
    AVIF.extension: (("AVIF",), "PIL.AvifImagePlugin"),
    HEIC.extension: (("HEIF",), "pillow_heif"),
    BMP.extension: (("BMP",), "PIL.BmpImagePlugin"),
    TIFF.extension: (("TIFF",), "PIL.TiffImagePlugin"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A picture as its header has it; sizes in pixels."""

    width: int
    height: int
    mode: str  # in Pillow's words: `RGB`, `CMYK`, `LA`
    deep: bool  # more than 8 bits for each colour
    orientation: int = 1  # of EXIF: 1 is upright
    animated: bool = False
    several: bool = False  # more pictures than one in the file, which only some programs show (MPO)


class PictureBroken(Exception):
    """A picture that cannot be read; the message says why. `too_large`: only for the number of its pixels."""

    def __init__(self, why: str, *, too_large: bool = False) -> None:
        super().__init__(why)
        self.too_large = too_large


def look(file: BinaryIO, media: MediaType, *, checksums: bool) -> Look | None:
    """Look at a picture's header; None where the Pillow that is installed does not know the format.

    Args:
        file: Open for reading and seeking; its position afterwards is anywhere.
        media: What its signature says it is.
        checksums: Whether to read all of a PNG for its checksums.

    Raises:
        PictureBroken: No program can be expected to read it, or only at the cost of all memory.
        OSError: The disk.
    """
    with opened(file, media) as image:
        if image is None:
            return None
        found = Look(
            width=image.width,
            height=image.height,
            mode=image.mode,
            deep=_is_deep(file, media, image.mode),
            orientation=_orientation(image),
            animated=_is_animated(image),
            several=image.format == "MPO",
        )
        if checksums and media is PNG:
            with in_words():
                image.verify()
    return found


@contextmanager
def opened(file: BinaryIO, media: MediaType) -> Iterator[Image | None]:
    """Open a picture for the length of the block, as None where its format is not known here; the file stays open.

    Raises:
        PictureBroken: It cannot be read, or has too many pixels.
    """
    formats, plugin = _FORMATS[media.extension]
    with _ALONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of many pixels, and of odd metadata
        from PIL import Image, features

        if media is AVIF and not features.check("avif"):
            yield None
            return
        module = importlib.import_module(plugin)
        if media is HEIC:
            module.register_heif_opener()
        file.seek(0)
        with in_words():
            image = Image.open(file, formats=formats)
            if image.width * image.height > MOST_PIXELS:
                raise _bomb(f"{image.width:,} x {image.height:,} pixels")
            if _RAW_TAGS & set(getattr(image, "tag_v2", ())):
                raise PictureBroken("it is a raw picture of a camera, of which only a preview could be read")
        yield image


@contextmanager
def in_words() -> Iterator[None]:
    """Make whatever Pillow raises of a broken picture one kind of error: it documents no kinds.

    Raises:
        PictureBroken: Something was raised in the block.
        OSError: The disk.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except PictureBroken:
        raise
    except UnidentifiedImageError as exc:
        raise PictureBroken("its header is broken") from exc
    except Image.DecompressionBombError as exc:
        found = re.search(r"\((\d+) pixels\)", str(exc))
        raise _bomb(f"{int(found[1]) / 1e6:,.0f} million pixels" if found else "too many pixels") from exc
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        why = str(exc).splitlines()[0][:200] if str(exc) and isinstance(exc, OSError | SyntaxError) else ""
        if "checksum" in why:
            why = "the checksum of a part is wrong, so its data is damaged"
        elif "decoder object" in why:  # what libwebp says of all that it does not read
            why = "its data is damaged, or a part is missing"
        raise PictureBroken(why or "its data is broken") from exc


def _bomb(how_many: str) -> PictureBroken:
    most = f"more than is safe to open ({MOST_PIXELS / 1e6:,.0f} million)"
    return PictureBroken(f"it has {how_many}, {most}", too_large=True)


def _is_deep(file: BinaryIO, media: MediaType, mode: str) -> bool:
    if media is not PNG:
        return mode.startswith(("I", "F"))
    file.seek(24)  # of IHDR, the first chunk: Pillow does not tell it of colours
    return file.read(1) == b"\x10"


def _orientation(image: Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode all of it, to look for some behind the picture
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # of its metadata, which no picture needs
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _is_animated(image: Image) -> bool:
    with in_words():  # not how many frames there are: to count those of a GIF is to read all of it
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
