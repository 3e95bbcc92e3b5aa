"""What the body of an answer counts as: a result, one that is kept though it looks odd, or none.

The whole rule:

- HTTP decides whether a body came whole (`fetch`): by its length, by the proper end of its chunks. A body that HTTP
  shows to be cut is fetched again. What came whole is paid for, and kept.
- A known signature, and a container that ends where it should: a result.
- A known signature, but the container is cut or goes on behind its end: kept, with a warning.
- No signature of ours: kept with a warning, named by what its first bytes say, else by its `Content-Type`, else by the
  url's path, else `.bin`.
- Empty, or a page about an error (HTML, or JSON or XML that speaks of an error): no result, whatever its type.
- Other text counts where it says itself what it is (a playlist, subtitles, a drawing), or where `Content-Type` and
  path name a kind of text. Bare text, JSON or XML that neither of them speaks against may be a result or somebody's
  apology: it is kept only when nothing else came in all tries of a run. Any other text is no result.
- What came with a status that promises less than all of a file is odd as well (`oddness_of`).
- What is kept with a warning is fetched twice, and the same bytes have to come (`looks`).

Pure: bytes and names in, a verdict out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from runner.model import Kind
from runner.results.media import (
    AAC,
    MP3,
    FileType,
    MediaType,
    describe,
    first_words,
    frames_follow,
    is_error_page,
    looks_like_text,
    other,
    unsigned,
)

EVERY_TRY = 1_000
"""So many equal looks no run takes: kept at the last try only."""

_GENERIC = frozenset(
    {
        "",
        "application/octet-stream",
        "application/x-octet-stream",
        "binary/octet-stream",
        "application/binary",
        "application/download",
        "application/x-download",
        "application/force-download",
        "application/unknown",
        "unknown/unknown",
    }
)
_PLAIN_TEXT = "text/plain"

# Kinds of text that may be a result, by MIME type.
_TEXTS = {
    "application/vnd.apple.mpegurl": "m3u8",
    "application/x-mpegurl": "m3u8",
    "audio/mpegurl": "m3u8",
    "audio/x-mpegurl": "m3u8",
    "application/dash+xml": "mpd",
    "application/x-subrip": "srt",
    "text/srt": "srt",
    "text/vtt": "vtt",
    "text/x-ssa": "ass",
    "text/csv": "csv",
    "text/markdown": "md",
    "image/svg+xml": "svg",
    "model/gltf+json": "gltf",
    "model/obj": "obj",
    "model/stl": "stl",
    "model/vnd.collada+xml": "dae",
}
# The same by the ending of a path, where `Content-Type` says no more than "text", "JSON", "XML" or nothing.
_TEXT_ENDINGS = frozenset({*_TEXTS.values(), "txt", "lrc", "ply"})
_JSON_TYPES = frozenset({"application/json", "text/json"})
_XML_TYPES = frozenset({"application/xml", "text/xml"})

_BINARIES = {
    "application/zip": "zip",
    "application/x-zip-compressed": "zip",
    "application/x-tar": "tar",
    "application/gzip": "gz",
    "application/x-7z-compressed": "7z",
    "application/pdf": "pdf",
    "model/gltf-binary": "glb",
    "model/stl": "stl",
    "model/obj": "obj",
    "model/vnd.usdz+zip": "usdz",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "image/jxl": "jxl",
    "image/vnd.radiance": "hdr",
    "image/x-exr": "exr",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/mpeg": "mpg",
    "video/mp2t": "ts",
    "video/x-msvideo": "avi",
    "video/x-flv": "flv",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/aac": "aac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/flac": "flac",
    "audio/aiff": "aiff",
    "audio/midi": "mid",
}
_MIME_OF = {ending: mime for mime, ending in reversed([*_BINARIES.items(), *_TEXTS.items()])}
# Endings of a path that name a file of their own; others might make it something a desktop runs.
_ENDINGS = frozenset({*_BINARIES.values(), "fbx", "blend", "ply", "usd", "psd", "safetensors", "npy", "npz"})


class NoResult(Exception):
    """What came is no result; the message says what it is instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a body is, what is odd about it (None: nothing), and how many equal looks it takes to believe it."""

    file: FileType
    warning: str | None = None
    looks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddness:
    """What is odd about the way a body came, in words, and how many equal looks it takes to believe it."""

    words: str
    looks: int = 2


def judge(
    head: bytes,
    *,
    media: MediaType | None,
    cut: str | None,
    content_type: str,
    path: str,
    size_bytes: int | None = None,
) -> Judgement:
    """Judge a body that HTTP shows to be whole, or the beginning of one.

    Args:
        head: Its first bytes, `media.HEAD_BYTES` of them.
        media: What it is by its signature.
        cut: Why its container is not whole.
        content_type: The header's value.
        path: Of the url that answered.
        size_bytes: Its size; None while it is not known.

    Raises:
        NoResult: It is none.
    """
    if size_bytes == 0:
        raise NoResult("is empty")
    mime = content_type.split(";")[0].strip().lower()
    raw = unsigned(content_type, path)
    doubtful = media is not None and _only_begins_like_sound(head, media)
    if media is not None and not (doubtful and raw is not None):
        if cut is not None:
            return _kept(media, f"it is not a whole {media.mime} file: {cut}")
        return (
            _kept(media, f"only its first bytes are those of {media.mime}")
            if doubtful
            else Judgement(file=media)
        )
    if looks_like_text(head):
        return _judge_text(head, mime, _ending(path))
    if raw is not None:
        return Judgement(file=raw)
    return _judge_unknown(head, mime, _ending(path))


def _only_begins_like_sound(head: bytes, media: MediaType) -> bool:
    """Raw samples begin with the eleven bits of a frame of MPEG sound once in two thousand files."""
    return media in (MP3, AAC) and not head.startswith(b"ID3") and not frames_follow(head, media)


def _judge_text(head: bytes, mime: str, ending: str) -> Judgement:
    known = other(head)
    if known is not None and mime not in ("text/html", "application/xhtml+xml"):
        return _kept(known[1], f"it is {known[0]}, which is not checked")
    if is_error_page(head) or mime in ("text/html", "application/xhtml+xml"):
        raise NoResult(f"is {describe(head)}, not a result")
    what = describe(head)
    extension = _TEXTS.get(mime)
    if extension is None and mime in (*_GENERIC, _PLAIN_TEXT) and ending in _TEXT_ENDINGS:
        extension = ending
    if extension is None and mime in _JSON_TYPES and ending in ("json", "gltf"):
        extension = ending
    if extension is None and mime in _XML_TYPES and ending in ("xml", "dae", "mpd", "svg"):
        extension = ending
    if extension is not None:
        mime = _MIME_OF.get(extension, _PLAIN_TEXT) if mime in _GENERIC else mime
        return _kept(FileType(mime=mime, extension=extension), f"it is {what}")
    bare = _bare_text(head, mime)
    if bare is not None and ending not in _ENDINGS:
        warning = f"it is {'plain text' if bare.extension == 'txt' else what}"
        return Judgement(file=bare, warning=warning, looks=EVERY_TRY)
    raise NoResult(f"is {what}, not a result")


def _bare_text(head: bytes, mime: str) -> FileType | None:
    """Return as what text that names no kind of its own may be kept; None where its `Content-Type` speaks against it."""
    is_json = mime in _JSON_TYPES or (mime.endswith("+json") and mime != "application/problem+json")
    is_xml = mime in _XML_TYPES or (mime.endswith("+xml") and mime != "application/problem+xml")
    if not (mime in _GENERIC or mime.startswith("text/") or is_json or is_xml):
        return None
    start = first_words(head)
    if start.startswith(b"<"):
        # Without a declaration it is as likely a piece of some page.
        proper = (is_xml or start.startswith(b"<?xml")) and b"<html" not in start
        return FileType(mime="application/xml", extension="xml") if proper else None
    if start.startswith((b"{", b"[")):
        return FileType(mime="application/json", extension="json")
    return None if is_json or is_xml else FileType(mime=_PLAIN_TEXT, extension="txt")


def _judge_unknown(head: bytes, mime: str, ending: str) -> Judgement:
    known = other(head)
    if known is not None:
        return _kept(known[1], f"it is {known[0]}, which is not checked")
    extension = _BINARIES.get(mime) or (ending if ending in _ENDINGS else "bin")
    said = f", although the host calls it {mime}" if mime not in _GENERIC else ""
    if mime in _GENERIC:
        mime = _MIME_OF.get(extension, "application/octet-stream")
    kind = mime.partition("/")[0]
    file = FileType(mime=mime, extension=extension, kind=Kind(kind) if kind in set(Kind) else None)
    return _kept(file, f"its type is not known{said}")


def _kept(file: FileType, warning: str) -> Judgement:
    return Judgement(file=file, warning=warning, looks=2)


def oddness_of(status: int) -> Oddness | None:
    """Return what is odd about a whole body for the status it came with.

    Args:
        status: 200 to 299. A 206 is one that does not say, or not clearly, which part of the file it is.
    """
    match status:
        case 200:
            return None
        case 202:  # the file itself may be to come
            return Oddness(words="its host says that it is not finished (HTTP 202)", looks=EVERY_TRY)
        case 203:
            return Oddness(words="a proxy on the way may have changed it (HTTP 203)")
        case 206:
            return Oddness(words="its host calls it a part of a file (HTTP 206)")
        case _:
            return Oddness(words=f"its host answers with HTTP {status}")


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower().lstrip(".")
