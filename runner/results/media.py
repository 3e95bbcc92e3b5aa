"""What a file is, by its first bytes.

Names and extensions lie, so it is judged by content first. Nothing here opens a file: the caller hands over
bytes. What first bytes leave open is settled in `containers`; what counts as a result is in `verdict`.

Source: the signatures and layouts are those of the formats' own specifications (PNG, ISO/IEC
14496-12, RFC 8794 for EBML, RFC 3533 for Ogg, RFC 9639 for FLAC, RIFF).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from unicodedata import category

from runner.model import Kind
from runner.results.mpeg_audio import Frames, frames_of, tag_bytes

HEAD_BYTES = 4096
"""How many first bytes of a file `sniff`, `looks_like_text` and `describe` want to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileType:
    """A format of files. `extension` has no dot; `kind` is None for what is no image, video or sound."""

    mime: str
    extension: str
    kind: Kind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType(FileType):
    """A media format."""

    kind: Kind


JPEG = MediaType(kind=Kind.IMAGE, mime="image/jpeg", extension="jpg")
PNG = MediaType(kind=Kind.IMAGE, mime="image/png", extension="png")
WEBP = MediaType(kind=Kind.IMAGE, mime="image/webp", extension="webp")
GIF = MediaType(kind=Kind.IMAGE, mime="image/gif", extension="gif")
AVIF = MediaType(kind=Kind.IMAGE, mime="image/avif", extension="avif")
HEIC = MediaType(kind=Kind.IMAGE, mime="image/heic", extension="heic")
# No model takes these, and no result is looked at as one: pictures that can be made into another format.
BMP = MediaType(kind=Kind.IMAGE, mime="image/bmp", extension="bmp")
TIFF = MediaType(kind=Kind.IMAGE, mime="image/tiff", extension="tif")
MP4 = MediaType(kind=Kind.VIDEO, mime="video/mp4", extension="mp4")
MOV = MediaType(kind=Kind.VIDEO, mime="video/quicktime", extension="mov")
WEBM = MediaType(kind=Kind.VIDEO, mime="video/webm", extension="webm")
MKV = MediaType(kind=Kind.VIDEO, mime="video/x-matroska", extension="mkv")
WEBM_SOUND = MediaType(kind=Kind.AUDIO, mime="audio/webm", extension="webm")
MKV_SOUND = MediaType(kind=Kind.AUDIO, mime="audio/x-matroska", extension="mka")
MOV_SOUND = MediaType(
    kind=Kind.AUDIO, mime="audio/quicktime", extension="mov"
)  # nobody has registered a type for it
OGV = MediaType(kind=Kind.VIDEO, mime="video/ogg", extension="ogv")
MP3 = MediaType(kind=Kind.AUDIO, mime="audio/mpeg", extension="mp3")
M4A = MediaType(kind=Kind.AUDIO, mime="audio/mp4", extension="m4a")
WAV = MediaType(kind=Kind.AUDIO, mime="audio/wav", extension="wav")
AAC = MediaType(kind=Kind.AUDIO, mime="audio/aac", extension="aac")
OGG = MediaType(kind=Kind.AUDIO, mime="audio/ogg", extension="ogg")
FLAC = MediaType(kind=Kind.AUDIO, mime="audio/flac", extension="flac")
AIFF = MediaType(kind=Kind.AUDIO, mime="audio/aiff", extension="aiff")
# Samples without any container, which some speech models return when asked to.
PCM = MediaType(kind=Kind.AUDIO, mime="audio/pcm", extension="pcm")
ULAW = MediaType(kind=Kind.AUDIO, mime="audio/basic", extension="ulaw")
ALAW = MediaType(kind=Kind.AUDIO, mime="audio/x-alaw", extension="alaw")

WITH_SIGNATURE = (
    *(JPEG, PNG, WEBP, GIF, AVIF, HEIC),
    *(MP4, MOV, WEBM, MKV, OGV),
    *(MP3, M4A, WAV, AAC, OGG, FLAC, AIFF),
)
WITHOUT_SIGNATURE = (PCM, ULAW, ALAW)
BY_TRACKS = (WEBM_SOUND, MKV_SOUND, MOV_SOUND)
EXTENSIONS = frozenset(media.extension for media in (*WITH_SIGNATURE, *WITHOUT_SIGNATURE, *BY_TRACKS))

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_M4A_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})
# Raw pictures of cameras, and JPEG 2000: boxes as well, and nothing of ours.
_OTHER_BRANDS = {
    b"crx ": ("a raw camera image (CR3)", "image/x-canon-cr3", "cr3"),
    b"jp2 ": ("a JPEG 2000 image", "image/jp2", "jp2"),
    b"jpx ": ("a JPEG 2000 image", "image/jpx", "jpx"),
}
# QuickTime files older than `ftyp` begin with one of these boxes.
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})

_RAW_BY_MIME = {
    "audio/pcm": PCM,
    "audio/x-pcm": PCM,
    "audio/l16": PCM,
    "audio/basic": ULAW,
    "audio/mulaw": ULAW,
    "audio/x-mulaw": ULAW,
    "audio/pcmu": ULAW,
    "audio/alaw": ALAW,
    "audio/x-alaw": ALAW,
    "audio/pcma": ALAW,
}
_RAW_BY_SUFFIX = {".pcm": PCM, ".raw": PCM, ".ulaw": ULAW, ".mulaw": ULAW, ".alaw": ALAW}

# Known by their first bytes as well, though no image, video or sound that is checked further: (signature, in
# words, MIME type, extension).
_OTHERS: tuple[tuple[bytes, str, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive or an office document", "application/zip", "zip"),
    (b"PK\x05\x06", "an empty ZIP archive", "application/zip", "zip"),
    (b"\x1f\x8b", "a gzip archive", "application/gzip", "gz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "application/x-7z-compressed", "7z"),
    (b"Rar!", "a RAR archive", "application/vnd.rar", "rar"),
    (b"glTF", "a 3D model (glb)", "model/gltf-binary", "glb"),
    (b"Kaydara FBX Binary", "a 3D model (fbx)", "application/octet-stream", "fbx"),
    (b"BLENDER", "a Blender scene", "application/x-blender", "blend"),
    (b"PXR-USDC", "a 3D scene (usd)", "model/vnd.usd", "usd"),
    (b"\x93NUMPY", "an array of NumPy", "application/octet-stream", "npy"),
    (b"II*\x00", "a TIFF or raw camera image", "image/tiff", "tif"),
    (b"MM\x00*", "a TIFF or raw camera image", "image/tiff", "tif"),
    (b"8BPS", "a Photoshop file", "image/vnd.adobe.photoshop", "psd"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image", "image/x-exr", "exr"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image", "image/jxl", "jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image", "image/jp2", "jp2"),
    (b"#?RADIANCE", "a Radiance image (hdr)", "image/vnd.radiance", "hdr"),
    (b"DDS ", "a DirectDraw image (dds)", "image/vnd-ms.dds", "dds"),
    (b"\xabKTX ", "a texture (ktx)", "image/ktx", "ktx"),
    (b"qoif", "a QOI image", "image/qoi", "qoi"),
    (b"FLV\x01", "an FLV video", "video/x-flv", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file", "video/x-ms-asf", "wmv"),
    (b"\x00\x00\x00\x01\x67", "an H.264 stream without a container", "video/h264", "h264"),
    (b"DKIF\x00\x00", "an IVF video", "video/x-ivf", "ivf"),
    (b"YUV4MPEG2 ", "uncompressed video (y4m)", "video/x-yuv4mpeg", "y4m"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "an MXF video", "application/mxf", "mxf"),
    (b"MThd", "a MIDI file", "audio/midi", "mid"),
    (b"#!AMR", "an AMR recording", "audio/amr", "amr"),
    (b"caff", "a Core Audio file", "audio/x-caf", "caf"),
    (b"riff\x2e\x91\xcf\x11", "a Wave64 recording", "audio/x-w64", "w64"),
    (b".snd\x00\x00", "an AU recording", "audio/basic", "au"),
    (b"wvpk", "a WavPack recording", "audio/x-wavpack", "wv"),
    (b"TTA1", "a TTA recording", "audio/x-tta", "tta"),
    (b"MAC ", "a Monkey's Audio recording", "audio/x-ape", "ape"),
    (b"DSD ", "a DSD recording", "audio/x-dsf", "dsf"),
    (b"\x7fELF", "a program", "application/octet-stream", "bin"),
)
# The same in few bits, so that others may begin with them by chance.
_OTHERS_BY_FEW_BITS = (
    (b"BM", "a BMP image", "image/bmp", "bmp"),
    (b"\xff\x0a", "a JPEG XL image", "image/jxl", "jxl"),
    (b"\x0bw", "a Dolby Digital stream (ac3)", "audio/ac3", "ac3"),
    (b"\x00\x00\x01\xba", "an MPEG program stream", "video/mpeg", "mpg"),
    (b"\x00\x00\x01\xb3", "an MPEG video stream", "video/mpeg", "mpg"),
    (b"MZ", "a Windows program", "application/octet-stream", "bin"),
    (b"\x00\x00\x01\x00", "an ICO image", "image/x-icon", "ico"),
)
# The same of what is text, or begins with some.
_OTHER_TEXTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "text/plain", "txt"),
    (b"#EXTM3U", "a playlist (m3u8)", "application/vnd.apple.mpegurl", "m3u8"),
    (b"WEBVTT", "subtitles (vtt)", "text/vtt", "vtt"),
    (b"[Script Info]", "subtitles (ass)", "text/x-ssa", "ass"),
    (b"%PDF", "a PDF", "application/pdf", "pdf"),
    (b"ply\n", "a 3D model (ply)", "model/ply", "ply"),
    (b"ply\r\n", "a 3D model (ply)", "model/ply", "ply"),
)
_CONTAINERS_OF_OTHERS: tuple[tuple[bytes, bytes, str, str, str], ...] = (
    (b"RIFF", b"AVI ", "an AVI video", "video/x-msvideo", "avi"),
    (b"RIFX", b"WAVE", "a WAV recording of the other byte order", "audio/wav", "wav"),
)
# Of streams inside Windows Media files.
_ASF_SOUND = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_ASF_PICTURE = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_SRT = re.compile(rb"\d+\r?\n\d\d:\d\d:\d\d,\d{3} --> ")
_TS_PACKET = 188  # bytes of a packet of an MPEG transport stream


def sniff(head: bytes) -> MediaType | None:
    """Return what a file is by its signature, or None when none of ours fits.

    Args:
        head: Its first bytes; 64 are enough for all but odd brands, `HEAD_BYTES` for everything.
    """
    if looks_like_text(head):
        return None  # "The free trial has ended" has the name of a box where QuickTime has it
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return {b"WEBP": WEBP, b"WAVE": WAV}.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if head.startswith(b"\x1aE\xdf\xa3"):
        return _sniff_ebml(head)
    if head.startswith(b"OggS"):
        return OGV if any(start.startswith(_OGG_PICTURES) for start in _ogg_streams(head)) else OGG
    if head.startswith(b"fLaC"):
        return FLAC
    if head[4:8] == b"ftyp":
        return None if head[8:12] in _OTHER_BRANDS else _sniff_brand(head)
    if head[4:8] in _QUICKTIME_BOXES:
        return MOV
    if tag_bytes(head):
        return MP3
    return {None: None, Frames.MP3: MP3, Frames.AAC: AAC}[frames_of(head)]


def convertible(head: bytes) -> MediaType | None:
    """Return what a picture is that `sniff` does not know and that can be made into one it does."""
    found = other(head)
    return next((media for media in (BMP, TIFF) if found is not None and found.file.mime == media.mime), None)


def _sniff_ebml(head: bytes) -> MediaType | None:
    # The DocType element: id 42 82, one length byte with its top bit set, then the name.
    at = head.find(b"\x42\x82", 4, 128)
    if at < 0:
        return None
    name = head[at + 3 : at + 3 + (head[at + 2] & 0x7F if at + 2 < len(head) else 0)].rstrip(b"\0")
    return {b"webm": WEBM, b"matroska": MKV}.get(name)


def _sniff_brand(head: bytes) -> MediaType:
    major = head[8:12]
    if major in _AVIF_BRANDS | _HEIC_BRANDS and (picture := picture_brand(head)) is not None:
        return picture
    if major == b"qt  ":
        return MOV
    return M4A if major in _M4A_BRANDS else MP4


def picture_brand(head: bytes) -> MediaType | None:
    """Return what picture boxes are by any of their brands; of films some name pictures as well."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return AVIF
    return HEIC if brands & _HEIC_BRANDS else None


# How streams of pictures begin inside Ogg: Theora, Dirac, VP8, and whatever OGM holds.
_OGG_PICTURES = (b"\x80theora", b"BBCD\0", b"OVP80", b"\x01video")
_BEGINS_STREAM = 2


def _ogg_streams(head: bytes) -> Iterator[bytes]:
    """Yield how each stream of an Ogg file begins: the first pages begin one each."""
    at = 0
    while head[at : at + 4] == b"OggS" and len(head) > at + 27 and head[at + 5] & _BEGINS_STREAM:
        begins = at + 27 + head[at + 26]
        yield head[begins : begins + 8]
        at = begins + sum(head[at + 27 : begins])


def unsigned(content_type: str, url_path: str) -> MediaType | None:
    """Return what bytes without a signature are, when a host says that they are raw samples.

    Args:
        content_type: The header's value; parameters are ignored.
        url_path: The path of the url, for hosts that say `application/octet-stream`.
    """
    mime = content_type.split(";")[0].strip().lower()
    if mime in _RAW_BY_MIME:
        return _RAW_BY_MIME[mime]
    if mime in ("", "application/octet-stream", "binary/octet-stream") or mime.startswith("audio/"):
        return _RAW_BY_SUFFIX.get(PurePosixPath(url_path).suffix.lower())
    return None


# What else files of a type are called.
_ALSO = {
    JPEG.mime: ("jpeg", "jpe", "jfif", "mpo"),
    HEIC.mime: ("heif", "hif"),
    MP4.mime: ("m4v",),
    MOV.mime: ("qt",),
    M4A.mime: ("m4b",),
    MP3.mime: ("mpga",),
    WAV.mime: ("wave",),
    OGG.mime: ("oga", "opus"),
}
_BY_MIME = {media.mime: media.extension for media in reversed((*WITH_SIGNATURE, *BY_TRACKS))}
_ENDINGS = frozenset({*EXTENSIONS, *(ending for endings in _ALSO.values() for ending in endings)})


def name_for(path: str, mime: str) -> str:
    """Return the name of a file, ending as its content is: a service may go by the name.

    >>> name_for("in/a.png", "image/webp"), name_for("a.JPEG", "image/jpeg"), name_for("v1.2", "image/png")
    ('a.webp', 'a.JPEG', 'v1.2.png')

    Args:
        path: Its path.
        mime: What it is.
    """
    name = PurePosixPath(path).name or "file"
    extension = _BY_MIME.get(mime)
    ending = PurePosixPath(name).suffix[1:].lower()
    if extension is None or ending == extension or ending in _ALSO.get(mime, ()):
        return name
    return f"{PurePosixPath(name).stem if ending in _ENDINGS else name}.{extension}"


def looks_like_text(head: bytes) -> bool:
    """Say whether first bytes are those of text: HTML, JSON, XML, a plain message."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        # Samples may begin with these two bytes as well; what follows tells.
        return _is_wide_text(head[: len(head) // 2 * 2])
    if not head or any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as exc:
        # The head may end in the middle of a character.
        return exc.start >= len(head) - 3 and exc.reason == "unexpected end of data"
    return True


def _is_wide_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-16")
    except UnicodeDecodeError as exc:
        if exc.start < len(head) - 2:
            return False
        text = head[: exc.start].decode("utf-16")
    # Samples of little noise are letters of rare scripts; text has blanks and marks of ASCII in between.
    common = sum(letter.isascii() for letter in text)
    return common * 10 >= len(text) and all(
        letter in "\t\n\r\f\x1b" or category(letter) not in ("Cc", "Cn", "Co") for letter in text
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognized:
    """What a file is that is none of ours, in words and as a type. `sure`: more than chance speaks for it."""

    words: str
    file: FileType
    sure: bool = True


def other(head: bytes) -> Recognized | None:
    """Return what a file is that `sniff` does not know; None when nothing fits."""
    text = looks_like_text(head)
    signatures = _OTHER_TEXTS if text else (*_OTHERS, *_OTHERS_BY_FEW_BITS, *_OTHER_TEXTS)
    for each in signatures:
        signature, words, mime, extension = each
        if head.startswith(signature):
            if extension == "wmv" and _ASF_SOUND in head and _ASF_PICTURE not in head:
                return _recognized("a Windows Media recording", "audio/x-ms-wma", "wma")
            return _recognized(words, mime, extension, sure=each not in _OTHERS_BY_FEW_BITS)
    if text:
        return _other_text(first_words(head))
    if head[4:8] == b"ftyp" and head[8:12] in _OTHER_BRANDS:
        return _recognized(*_OTHER_BRANDS[head[8:12]])
    if head[4:8] in (b"styp", b"moof", b"sidx"):
        return _recognized("a segment of an MP4 film", "video/iso.segment", "m4s")
    for outer, inner, words, mime, extension in _CONTAINERS_OF_OTHERS:
        if head.startswith(outer) and head[8:12] == inner:
            return _recognized(words, mime, extension)
    if len(head) > 2 * _TS_PACKET and all(head[at] == 0x47 for at in (0, _TS_PACKET, 2 * _TS_PACKET)):
        return _recognized("an MPEG transport stream", "video/mp2t", "ts")
    return None


def _other_text(start: bytes) -> Recognized | None:
    if b"<svg" in start and not _is_html(start):
        return _recognized("an SVG drawing", "image/svg+xml", "svg")
    if _SRT.match(start):
        return _recognized("subtitles (srt)", "application/x-subrip", "srt")
    return None


def _recognized(words: str, mime: str, extension: str, *, sure: bool = True) -> Recognized:
    return Recognized(words=words, file=_of_kind(mime, extension), sure=sure)


def _of_kind(mime: str, extension: str) -> FileType:
    return FileType(mime=mime, extension=extension, kind=_KINDS.get(mime.partition("/")[0]))


_KINDS = {kind.value: kind for kind in Kind}


def is_error_page(head: bytes) -> bool:
    """Say whether text is what a gateway or a login says instead of a file: HTML, or XML or JSON about an error."""
    start = first_words(head)
    return _is_html(start) or _ERROR.match(start) is not None or _names_an_error(head)


_ERROR = re.compile(
    rb'(<\?xml[^>]*>\s*)?<error|[\[{][\[{\s]*"(errors?|message|msg|detail|code|status|statuscode|success|fault|reason)"'
)
_NAMES_OF_ERRORS = frozenset(
    {"error", "errors", "error_code", "errorcode", "error_message", "errormessage", "fault"}
)


def _names_an_error(head: bytes) -> bool:
    """Say whether a short JSON object has an error anywhere at its top."""
    try:
        found = json.loads(head)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and any(
        name.lower() in _NAMES_OF_ERRORS and value not in (None, False, "", 0, [], {})
        for name, value in found.items()
    )


def first_words(head: bytes) -> bytes:
    """Return how text begins: in UTF-8, in lower case, without byte order mark and blanks."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:400].lower()


def _is_html(start: bytes) -> bool:
    return _HTML.match(start) is not None


_HTML = re.compile(
    rb"(<\?xml[^>]*>\s*|<!--.*?-->\s*)*(<!doctype html|<(html|head|body|title|meta|script|center|h1)[\s>])",
    re.S,
)


def describe(head: bytes) -> str:
    """Return in words what a file looks like: "a PDF", "an HTML page", "text"."""
    if not head:
        return "an empty file"
    media = sniff(head)
    if media is not None:
        return media.mime
    if (known := other(head)) is not None:
        return known.words
    if head[:4] == b"RIFF":
        return "a RIFF file of another kind"
    if not looks_like_text(head):
        return "a file of unknown type"
    start = first_words(head)
    if _is_html(start):
        return "an HTML page"
    if start.startswith(b"<"):
        return "XML or HTML"
    return "JSON" if start.startswith((b"{", b"[")) else "text"
