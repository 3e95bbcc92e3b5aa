"""What a file is, by its first bytes.

Names and extensions lie, so it is judged by content first. Nothing here opens a file: the caller hands over
bytes. The walks through whole containers are in `containers`; what counts as a result is in `verdict`.

Source: the signatures and layouts are those of the formats' own specifications (PNG, ISO/IEC
14496-12, RFC 8794 for EBML, RFC 3533 for Ogg, RFC 9639 for FLAC, RIFF).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from runner.model import Kind

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
OGV = MediaType(kind=Kind.VIDEO, mime="video/ogg", extension="ogv")
MP3 = MediaType(kind=Kind.AUDIO, mime="audio/mpeg", extension="mp3")
M4A = MediaType(kind=Kind.AUDIO, mime="audio/mp4", extension="m4a")
WAV = MediaType(kind=Kind.AUDIO, mime="audio/wav", extension="wav")
AAC = MediaType(kind=Kind.AUDIO, mime="audio/aac", extension="aac")
OGG = MediaType(kind=Kind.AUDIO, mime="audio/ogg", extension="ogg")
FLAC = MediaType(kind=Kind.AUDIO, mime="audio/flac", extension="flac")
# Samples without any container, which some speech models return when asked to.
PCM = MediaType(kind=Kind.AUDIO, mime="audio/pcm", extension="pcm")
ULAW = MediaType(kind=Kind.AUDIO, mime="audio/basic", extension="ulaw")
ALAW = MediaType(kind=Kind.AUDIO, mime="audio/x-alaw", extension="alaw")

WITH_SIGNATURE = (
    *(JPEG, PNG, WEBP, GIF, AVIF, HEIC),
    *(MP4, MOV, WEBM, MKV, OGV),
    *(MP3, M4A, WAV, AAC, OGG, FLAC),
)
WITHOUT_SIGNATURE = (PCM, ULAW, ALAW)
BY_TRACKS = (WEBM_SOUND, MKV_SOUND)
EXTENSIONS = frozenset(media.extension for media in (*WITH_SIGNATURE, *WITHOUT_SIGNATURE, *BY_TRACKS))

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_M4A_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})
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
    (b"%PDF", "a PDF", "application/pdf", "pdf"),
    (b"PK\x03\x04", "a ZIP archive or an office document", "application/zip", "zip"),
    (b"PK\x05\x06", "an empty ZIP archive", "application/zip", "zip"),
    (b"\x1f\x8b", "a gzip archive", "application/gzip", "gz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "application/x-7z-compressed", "7z"),
    (b"Rar!", "a RAR archive", "application/vnd.rar", "rar"),
    (b"glTF", "a 3D model (glb)", "model/gltf-binary", "glb"),
    (b"Kaydara FBX Binary", "a 3D model (fbx)", "application/octet-stream", "fbx"),
    (b"BM", "a BMP image", "image/bmp", "bmp"),
    (b"II*\x00", "a TIFF or raw camera image", "image/tiff", "tif"),
    (b"MM\x00*", "a TIFF or raw camera image", "image/tiff", "tif"),
    (b"8BPS", "a Photoshop file", "image/vnd.adobe.photoshop", "psd"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image", "image/x-exr", "exr"),
    (b"\x00\x00\x01\x00", "an ICO image", "image/x-icon", "ico"),
    (b"\xff\x0a", "a JPEG XL image", "image/jxl", "jxl"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image", "image/jxl", "jxl"),
    (b"FLV\x01", "an FLV video", "video/x-flv", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file", "video/x-ms-asf", "wmv"),
    (b"\x00\x00\x01\xba", "an MPEG program stream", "video/mpeg", "mpg"),
    (b"MThd", "a MIDI file", "audio/midi", "mid"),
    (b"#!AMR", "an AMR recording", "audio/amr", "amr"),
    (b"caff", "a Core Audio file", "audio/x-caf", "caf"),
    (b"\x7fELF", "a program", "application/octet-stream", "bin"),
    (b"MZ", "a Windows program", "application/octet-stream", "bin"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "text/plain", "txt"),
    # Of text, so that they come last.
    (b"#EXTM3U", "a playlist (m3u8)", "application/vnd.apple.mpegurl", "m3u8"),
    (b"WEBVTT", "subtitles (vtt)", "text/vtt", "vtt"),
    (b"[Script Info]", "subtitles (ass)", "text/x-ssa", "ass"),
)
_CONTAINERS_OF_OTHERS: tuple[tuple[bytes, bytes, str, str, str], ...] = (
    (b"RIFF", b"AVI ", "an AVI video", "video/x-msvideo", "avi"),
    (b"FORM", b"AIFF", "an AIFF recording", "audio/aiff", "aiff"),
    (b"FORM", b"AIFC", "an AIFF recording", "audio/aiff", "aiff"),
)
_SRT = re.compile(rb"\d+\r?\n\d\d:\d\d:\d\d,\d{3} --> ")
_TS_PACKET = 188  # bytes of a packet of an MPEG transport stream


def sniff(head: bytes) -> MediaType | None:
    """Return what a file is by its signature, or None when none of ours fits.

    Args:
        head: Its first bytes; 64 are enough for all but odd brands, `HEAD_BYTES` for everything.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] in (b"RIFF", b"RF64"):
        return {b"WEBP": WEBP, b"WAVE": WAV}.get(head[8:12])
    if head.startswith(b"\x1aE\xdf\xa3"):
        return _sniff_ebml(head)
    if head.startswith(b"OggS"):
        return OGV if b"\x80theora" in head[:256] else OGG
    if head.startswith(b"fLaC"):
        return FLAC
    if head[4:8] == b"ftyp":
        return _sniff_brand(head)
    if head[4:8] in _QUICKTIME_BOXES:
        return MOV
    return _sniff_mpeg_audio(head)


def convertible(head: bytes) -> MediaType | None:
    """Return what a picture is that `sniff` does not know and that can be made into one it does."""
    found = other(head)
    return next((media for media in (BMP, TIFF) if found is not None and found[1].mime == media.mime), None)


def _sniff_ebml(head: bytes) -> MediaType | None:
    # The DocType element: id 42 82, one length byte with its top bit set, then the name.
    at = head.find(b"\x42\x82", 4, 128)
    if at < 0:
        return None
    name = head[at + 3 : at + 3 + (head[at + 2] & 0x7F if at + 2 < len(head) else 0)].rstrip(b"\0")
    return {b"webm": WEBM, b"matroska": MKV}.get(name)


def _sniff_brand(head: bytes) -> MediaType:
    major = head[8:12]
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {major, *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if major in _AVIF_BRANDS or (major in _HEIC_BRANDS and brands & _AVIF_BRANDS):
        return AVIF
    if major in _HEIC_BRANDS:
        return HEIC
    if major == b"qt  ":
        return MOV
    return M4A if major in _M4A_BRANDS else MP4


def _sniff_mpeg_audio(head: bytes) -> MediaType | None:
    if head.startswith(b"ID3"):
        return MP3
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0 and (head[2] >> 2) & 0xF < 13:
        return AAC
    layer, version = (head[1] >> 1) & 3, (head[1] >> 3) & 3
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    # Layers II and III only: layer I would also fit the byte order mark of UTF-16.
    if head[1] & 0xE0 == 0xE0 and layer in (1, 2) and version != 1 and bitrate not in (0, 15) and rate != 3:
        return MP3
    return None


def frames_follow(head: bytes, media: MediaType) -> bool:
    """Say whether a second frame of MPEG sound stands where the first one ends; raw samples look like one at times.

    Args:
        head: The first bytes of the sound, without any tag.
        media: `MP3` or `AAC`, as `sniff` has it.
    """
    length = _frame_bytes(head, media)
    if length is None or length + 4 > len(head):
        return True  # nothing to compare with
    second = _sniff_mpeg_audio(head[length : length + 4])
    return second is media


def _frame_bytes(head: bytes, media: MediaType) -> int | None:
    """Return how long the first frame of MPEG sound is."""
    if len(head) < 7:
        return None
    if media is AAC:
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    if version == 3:  # MPEG-1
        bitrates, scale = (_LAYER_2 if layer == 2 else _LAYER_3), 144
    else:
        bitrates, scale = _LOW_RATES, 144 if layer == 2 else 72
    rate_hz = (44_100, 48_000, 32_000)[(head[2] >> 2) & 3] >> {3: 0, 2: 1}.get(version, 2)
    return scale * bitrates[head[2] >> 4] * 1000 // rate_hz + (head[2] >> 1 & 1)


# kbit/s by the index in a frame's header; ISO/IEC 11172-3 and 13818-3.
_LAYER_2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOW_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


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
    M4A.mime: ("mp4", "m4b"),
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
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return True
    if not head or any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as exc:
        # The head may end in the middle of a character.
        return exc.start >= len(head) - 3 and exc.reason == "unexpected end of data"
    return True


def other(head: bytes) -> tuple[str, FileType] | None:
    """Return in words, and as a type, what a file is that `sniff` does not know; None when nothing fits."""
    text = looks_like_text(head)
    for signature, words, mime, extension in _OTHERS:
        # Two letters may as well begin a sentence.
        if head.startswith(signature) and not (text and len(signature) == 2):
            return words, _of_kind(mime, extension)
    for outer, inner, words, mime, extension in _CONTAINERS_OF_OTHERS:
        if head.startswith(outer) and head[8:12] == inner:
            return words, _of_kind(mime, extension)
    if len(head) > 2 * _TS_PACKET and all(head[at] == 0x47 for at in (0, _TS_PACKET, 2 * _TS_PACKET)):
        return "an MPEG transport stream", _of_kind("video/mp2t", "ts")
    start = first_words(head) if text else b""
    if b"<svg" in start and not _is_html(start):
        return "an SVG drawing", _of_kind("image/svg+xml", "svg")
    if _SRT.match(start):
        return "subtitles (srt)", _of_kind("application/x-subrip", "srt")
    return None


def _of_kind(mime: str, extension: str) -> FileType:
    return FileType(mime=mime, extension=extension, kind=_KINDS.get(mime.partition("/")[0]))


_KINDS = {kind.value: kind for kind in Kind}


def is_error_page(head: bytes) -> bool:
    """Say whether text is what a gateway or a login says instead of a file: HTML, or XML or JSON about an error."""
    start = first_words(head)
    return _is_html(start) or _ERROR.match(start) is not None


_ERROR = re.compile(
    rb'(<\?xml[^>]*>\s*)?<error|[\[{][\[{\s]*"(errors?|message|detail|code|status|statuscode|success)"'
)


def first_words(head: bytes) -> bytes:
    """Return how text begins: in UTF-8, in lower case, without byte order mark and blanks."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:400].lower()


def _is_html(start: bytes) -> bool:
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def describe(head: bytes) -> str:
    """Return in words what a file looks like: "a PDF", "an HTML page", "text"."""
    if not head:
        return "an empty file"
    media = sniff(head)
    if media is not None:
        return media.mime
    if (known := other(head)) is not None:
        return known[0]
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
