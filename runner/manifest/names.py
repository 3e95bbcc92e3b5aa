"""What ids and output names may look like, and when two of them are one file. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST_ID: Final = 200  # characters
# Most file systems allow 255 bytes; `+12.mp4.part` and the like need some.
LONGEST_SEGMENT: Final = 200
LEAVE_ROOM: Final = "leave room for extensions"
LONGEST_PATH: Final = 1000  # bytes of the whole output name

_PLAIN_ID = re.compile(r"[A-Za-z0-9 ._-]{1,200}")
_PLAIN_OUTPUT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_-]{0,199}")
_RESERVED: Final = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789¹²³"]
)
_FORBIDDEN: Final = frozenset('<>:"|?*\\')
_FILE_ENDINGS: Final = frozenset(
    {"mp4", "mov", "webm", "mkv", "png", "jpg", "jpeg", "webp", "gif", "avif", "heic"}
    | {"mp3", "m4a", "wav", "aac", "ogg", "opus", "flac", "json", "html", "part"}
)


def id_trouble(text: str) -> str | None:
    """Return what is wrong with a job id, or None.

    >>> id_trouble("shot-7") is None, id_trouble("a/b")
    (True, 'has "/" in it')
    """
    if _PLAIN_ID.fullmatch(text) and not text.isspace():
        return None
    if not text or text.isspace():
        return "is empty"
    if len(text) > LONGEST_ID:
        return f"has {len(text)} characters; at most {LONGEST_ID} are allowed"
    for char in text:
        if not (char in " ._-" or _is_letter_or_digit(char)):
            return f"has {_named(char)} in it"
    return None


def output_trouble(name: str) -> str | None:
    """Return what is wrong with an output name (a relative path without extension), or None.

    It has to be a file on every system the folder may be copied to, inside the output folder.

    >>> output_trouble("a/b") is None, output_trouble("../b")
    (True, 'leaves the output folder')
    """
    if _PLAIN_OUTPUT.fullmatch(name) and name.lower() not in _RESERVED:
        return None
    if not name:
        return "is empty"
    if name.startswith("/"):
        return "begins with `/`; it must stay inside the output folder"
    for char in name:
        if char == "+":
            return "has `+` in it, which marks the second and further files of a job"
        if char in _FORBIDDEN or unicodedata.category(char) in ("Cc", "Cs"):
            return f"has {_named(char)} in it"
    segments = name.split("/")
    for segment in segments:
        if trouble := _segment_trouble(segment):
            return trouble
    for folder in segments[:-1]:
        # `a.mp4/b` and the file of the job `a` would be one name.
        if folder.rpartition(".")[2].casefold() in _FILE_ENDINGS and "." in folder:
            return f"has a folder that is named like a file (`{folder}`)"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        return f"is longer than {LONGEST_PATH} bytes"
    return None


def file_key(name: str) -> str:
    r"""Return what is equal for two names that a disk may take for one (case and Unicode forms).

    >>> file_key("Ärger") == file_key("a\u0308RGER")
    True
    """
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return unicodedata.normalize("NFC", folded)


def _segment_trouble(segment: str) -> str | None:
    if segment == "..":
        return "leaves the output folder"
    if not segment or segment == ".":
        return "has an empty part between its slashes"
    if segment.startswith("."):
        return "has a part that begins with a dot, which hides the file"
    if segment != segment.strip() or segment.endswith("."):
        return "has a part that begins or ends with a space, or ends with a dot"
    size = len(segment.encode("utf-8", "surrogatepass"))
    if size > LONGEST_SEGMENT:
        return f"has a part of {size} bytes; at most {LONGEST_SEGMENT} {LEAVE_ROOM}"
    if segment.split(".")[0].rstrip(" ").casefold() in _RESERVED:
        return f"has a part that Windows reserves (`{segment}`)"
    return None


def _is_letter_or_digit(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LM" or category == "Nd"


def _named(char: str) -> str:
    if char.isprintable():
        return f'"{char}"'
    return f"an invisible character (U+{ord(char):04X})"
