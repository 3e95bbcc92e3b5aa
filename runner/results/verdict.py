"""What the body of an answer counts as: a result, one that is kept though it looks odd, or none.

The whole rule:

- HTTP decides whether a body came whole (`fetch`): by its length, by the proper end of its chunks. A body that HTTP
  shows to be cut is fetched again. What came whole is paid for, and kept.
- What it is, and which suffix it gets, the first line says that can:

  | evidence | for example | it is |
  | --- | --- | --- |
  | certain bytes | a signature, tracks, frames one after another | what they say, whatever the host says |
  | text | HTML, JSON, a playlist | see below |
  | `Content-Type` | `audio/pcm`, `model/stl`; no general one | what it names |
  | the url's suffix | `/take.pcm`, `/mesh.fbx` | what it names |
  | unsure bytes | `ff fb`, `BM`: samples have them by chance | what they hint at |
  | none of these | | `.bin` |

- Certain bytes of ours, and a container that ends where it should, or raw samples that are said to be such: a result.
- All else that came whole is kept with a warning: a container that is cut, a format that is not checked, a type that
  is only said or only hinted at.
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
    FileType,
    MediaType,
    Recognized,
    describe,
    first_words,
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
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})

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
    "model/3mf": "3mf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/epub+zip": "epub",
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
    "audio/amr": "amr",
    "audio/ac3": "ac3",
    "audio/x-ms-wma": "wma",
    # Other names of the same.
    "image/jpg": "jpg",
    "image/heif": "heic",
    "image/x-ms-bmp": "bmp",
    "video/x-m4v": "mp4",
    "video/avi": "avi",
    "audio/mp3": "mp3",
    "audio/x-mpeg": "mp3",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/aacp": "aac",
    "audio/x-aac": "aac",
    "audio/x-flac": "flac",
    "audio/x-aiff": "aiff",
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
    sure: bool = True,
    cut: str | None,
    content_type: str,
    path: str,
    size_bytes: int | None = None,
) -> Judgement:
    """Judge a body that HTTP shows to be whole, or the beginning of one.

    Args:
        head: Its first bytes, `media.HEAD_BYTES` of them.
        media: What it is by its bytes.
        sure: They leave no doubt.
        cut: Why its container is not whole.
        content_type: The header's value.
        path: Of the url that answered.
        size_bytes: Its size; None while it is not known.

    Raises:
        NoResult: It is none.
    """
    if size_bytes == 0:
        raise NoResult("is empty")
    if media is not None and sure:
        return Judgement(file=media) if cut is None else _cut(media, cut)
    mime, ending = content_type.split(";")[0].strip().lower(), _ending(path)
    if looks_like_text(head):
        return _judge_text(head, mime, ending)
    known = other(head) if media is None else None
    if known is not None and known.sure:
        return _kept(_narrowed(known.file, mime, ending), f"it is {known.words}, which is not checked")
    if (raw := unsigned(content_type, path)) is not None:
        return Judgement(file=raw)
    return _weighed(media, known, cut, mime, ending)


def _weighed(
    media: MediaType | None, known: Recognized | None, cut: str | None, mime: str, ending: str
) -> Judgement:
    """Judge what nothing is certain of: unsure bytes against what is said."""
    said, named = _said(mime, ending), f", although the host calls it {mime}" if mime not in _GENERIC else ""
    hint = media or (known.file if known is not None else None)
    if hint is None:
        plain = FileType(mime="application/octet-stream" if mime in _GENERIC else mime, extension="bin")
        return _kept(said or plain, f"its type is not known{named}")
    like = f"only its first bytes are those of {hint.mime}"
    if said is not None and said.extension != hint.extension:
        return _kept(said, f"{like}{named}")
    if media is not None:
        return _kept(media, like) if cut is None else _cut(media, cut)
    return _kept(hint, f"it looks like {known.words}, which is not checked" if known is not None else like)


def _cut(media: MediaType, cut: str) -> Judgement:
    return _kept(media, f"it is not a whole {media.mime} file: {cut}")


def _said(mime: str, ending: str) -> FileType | None:
    """Return what `Content-Type` names, or the suffix where that says nothing; None where neither names a format."""
    if mime in _BINARIES:
        return _file(_BINARIES[mime], mime)
    return _file(ending, mime) if ending in _ENDINGS else None


# Formats inside others, which their first bytes do not tell: what may be said more closely.
_INSIDE = {
    "zip": ("usdz", "3mf", "docx", "xlsx", "pptx", "epub"),
    "wmv": ("wma",),
}


def _narrowed(file: FileType, mime: str, ending: str) -> FileType:
    inside = _INSIDE.get(file.extension, ())
    if _BINARIES.get(mime) in inside:
        return _file(_BINARIES[mime], mime)
    return _file(ending, file.mime) if ending in inside and mime in (*_GENERIC, file.mime) else file


def _file(extension: str, said: str) -> FileType:
    mime = _MIME_OF.get(extension, "application/octet-stream" if said in _GENERIC else said)
    kind = mime.partition("/")[0]
    return FileType(mime=mime, extension=extension, kind=Kind(kind) if kind in set(Kind) else None)


def _judge_text(head: bytes, mime: str, ending: str) -> Judgement:
    known = other(head)
    if known is not None and mime not in _PAGE_TYPES:
        return _kept(known.file, f"it is {known.words}, which is not checked")
    if is_error_page(head) or mime in _PAGE_TYPES:
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
