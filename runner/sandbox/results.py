"""What a task yields: how many files of which type, where they are served, and their bytes.

Every picture and video names its task inside (a `free` box, a text chunk, a comment), so that a test
can tell whose result ended up where, and no two results are equal.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from runner.sandbox import pictures
from runner.sandbox.catalogue import Contract
from runner.sandbox.life import Task

CLIPS = Path(__file__).resolve().parent / "media"
VIDEO_ASPECTS = ((1, 1), (16, 9), (9, 16), (2, 3), (3, 2), (4, 3), (3, 4), (21, 9), (9, 21))
VIDEO_LOOKS = 3
# What a clip shows, by words of its prompt: a rehearsal is easier to judge where films are about what was asked for.
SCENES = {
    "product": (
        "bottle",
        "cup",
        "jar",
        "mug",
        "lamp",
        "watch",
        "perfume",
        "product",
        "shoe",
        "chair",
        "tea",
        "coffee",
    ),
    "water": (
        "sea",
        "canal",
        "harbour",
        "boat",
        "lake",
        "river",
        "water",
        "beach",
        "wave",
        "rain",
        "lighthouse",
        "fish",
    ),
    "city": (
        "city",
        "rooftop",
        "roof",
        "station",
        "street",
        "neon",
        "tower",
        "library",
        "window",
        "car",
        "train",
    ),
    "forest": (
        "forest",
        "tree",
        "wood",
        "garden",
        "greenhouse",
        "park",
        "leaf",
        "fog",
        "bird",
        "fox",
        "cat",
        "dog",
    ),
    "hills": ("hill", "mountain", "valley", "desert", "quarry", "field", "cloud", "sky", "snow"),
}
TONE_LOOKS = 3
PICTURE_LOOKS = 60

ASPECT_KEYS = ("aspect_ratio", "aspectRatio", "image_size", "imageSize", "size")
ASPECT_NAMES = {"landscape": (16, 9), "portrait": (9, 16), "square": (1, 1), "square_hd": (1, 1)}
DEFAULT_ASPECT = (16, 9)
FORMAT_KEYS = ("output_format", "outputFormat")

MEDIA_TYPES = {
    "mp4": "video/mp4",
    "png": "image/png",
    "jpg": "image/jpeg",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
}
# Several urls from one task: no page states how many, so these numbers are the sandbox's own.
SEVERAL = {"midjourney": 4, "suno-music": 2, "suno-sounds": 2}


def aspect_of(params: Mapping[str, Any], contract: Contract) -> tuple[int, int]:
    """Return the aspect ratio asked for, else the contract's default, else 16:9."""
    defaults = {param["key"]: param.get("default") for param in contract["params"]}
    for values in (params, defaults):
        for key in ASPECT_KEYS:
            if (found := _aspect(values.get(key))) is not None:
                return found
    return DEFAULT_ASPECT


def _aspect(value: Any) -> tuple[int, int] | None:
    """Read `16:9`, `landscape_16_9`, `portrait_4_3`, `portrait`; None for anything else, such as `auto`."""
    if not isinstance(value, str):
        return None
    if value in ASPECT_NAMES:
        return ASPECT_NAMES[value]
    match = re.fullmatch(r"(?:(landscape|portrait)_)?(\d+)[:_](\d+)", value)
    if match is None:
        return None
    one, other = int(match[2]), int(match[3])
    match match[1]:
        case "landscape":
            return max(one, other), min(one, other)
        case "portrait":
            return min(one, other), max(one, other)
        case _:
            return one, other


def extensions(model: str, params: Mapping[str, Any], contract: Contract) -> tuple[str, ...]:
    """Return the file types of a task's results, in the order of its urls."""
    number = SEVERAL.get(model, 1)
    match contract.get("category"):
        case "video":
            return ("mp4", "png") if params.get("return_last_frame") == "true" else ("mp4",)
        case "audio":
            return (_audio_type(_format(params, contract)),) * number
        case _:
            return ("jpg" if _format(params, contract) in ("jpg", "jpeg") else "png",) * number


def _format(params: Mapping[str, Any], contract: Contract) -> str:
    defaults = {param["key"]: param.get("default") for param in contract["params"]}
    for values in (params, defaults):
        for key in FORMAT_KEYS:
            if isinstance(values.get(key), str):
                return str(values[key])
    return ""


def _audio_type(wanted: str) -> str:
    """Return a type that can be told by its bytes: what the service sends for bare pcm is not documented."""
    if wanted.startswith("opus"):
        return "ogg"
    return "wav" if wanted.startswith(("pcm", "ulaw", "alaw")) else "mp3"


def render(task: Task, number: int, extension: str, contract: Contract) -> bytes:
    """Return the bytes of one result; always the same for the same task and number."""
    look = int.from_bytes(hashlib.blake2b(f"{task.id}/{number}".encode(), digest_size=4).digest())
    aspect = aspect_of(task.params, contract)
    mark = f"sandbox result {number} of {task.id}".encode()
    match extension:
        case "mp4":
            clip = _clip(f"{_nearest(aspect)}-{_scene(task.prompt or '')}-{look % VIDEO_LOOKS}.mp4")
            return clip + struct.pack(">I", len(mark) + 8) + b"free" + mark
        case "png":
            picture = pictures.png(aspect, look % PICTURE_LOOKS)
            text = b"tEXtComment\0" + mark
            return picture[:-12] + struct.pack(">I", len(text) - 4) + text + _crc(text) + picture[-12:]
        case "jpg":
            picture = pictures.jpeg(aspect, look % PICTURE_LOOKS)
            return picture[:20] + b"\xff\xfe" + struct.pack(">H", len(mark) + 2) + mark + picture[20:]
        case "wav":
            return pictures.wav(look % 4)
        case _:
            return _clip(f"tone-{look % TONE_LOOKS}.{extension}")


@lru_cache(maxsize=1024)
def _scene(prompt: str) -> str:
    """Return what a clip shows: what the first word that is known is about, else always the same for a prompt."""
    known = {word: scene for scene, words in SCENES.items() for word in words}
    for word in re.findall(r"[a-z]+", prompt.lower()):
        if scene := known.get(word) or known.get(word.removesuffix("s")):
            return scene
    return tuple(SCENES)[zlib.crc32(prompt.encode("utf-8", "surrogatepass")) % len(SCENES)]


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _nearest(aspect: tuple[int, int]) -> str:
    ratio = aspect[0] / aspect[1]
    wide, high = min(VIDEO_ASPECTS, key=lambda known: abs(known[0] / known[1] / ratio - 1))
    return f"{wide}x{high}"


@lru_cache(maxsize=128)
def _clip(name: str) -> bytes:
    return (CLIPS / name).read_bytes()


def result_urls(
    task: Task, contract: Contract, *, base_url: str, secret: str, expires_at: float | None
) -> Sequence[str]:
    """Return the signed urls of a task's results; `expires_at` in unix seconds, None for never."""
    kinds = extensions(task.model, task.params, contract)
    exp = "" if expires_at is None else f"&exp={int(expires_at)}"
    return [
        f"{base_url}/media/results/{task.id}/{n}.{kind}?sig={_sign(secret, task.id, n, expires_at)}{exp}"
        for n, kind in enumerate(kinds)
    ]


def signature_holds(secret: str, task_id: str, number: int, expires_at: float | None, signature: str) -> bool:
    """Return whether this sandbox signed this address."""
    return hmac.compare_digest(_sign(secret, task_id, number, expires_at).encode(), signature.encode())


def _sign(secret: str, task_id: str, number: int, expires_at: float | None) -> str:
    text = f"{task_id}/{number}/{'' if expires_at is None else int(expires_at)}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:24]
