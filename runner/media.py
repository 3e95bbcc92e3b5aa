"""What a file is, by its first bytes, and whether it is whole, by its container.

Names and extensions lie, so both are judged by content alone. Nothing here opens a file: the caller
hands over bytes, or a file that is already open. The container walks are in `containers`.

Source: the signatures and layouts are those of the formats' own specifications (PNG, ISO/IEC
14496-12, RFC 8794 for EBML, RFC 3533 for Ogg, RFC 9639 for FLAC, RIFF).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from runner.model import Kind

HEAD_BYTES = 4096
"""How many first bytes of a file `sniff`, `looks_like_text` and `describe` want to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """A media format. `extension` has no dot."""

    kind: Kind
    mime: str
    extension: str


JPEG = MediaType(kind=Kind.IMAGE, mime="image/jpeg", extension="jpg")
PNG = MediaType(kind=Kind.IMAGE, mime="image/png", extension="png")
WEBP = MediaType(kind=Kind.IMAGE, mime="image/webp", extension="webp")
GIF = MediaType(kind=Kind.IMAGE, mime="image/gif", extension="gif")
AVIF = MediaType(kind=Kind.IMAGE, mime="image/avif", extension="avif")
HEIC = MediaType(kind=Kind.IMAGE, mime="image/heic", extension="heic")
MP4 = MediaType(kind=Kind.VIDEO, mime="video/mp4", extension="mp4")
MOV = MediaType(kind=Kind.VIDEO, mime="video/quicktime", extension="mov")
WEBM = MediaType(kind=Kind.VIDEO, mime="video/webm", extension="webm")
MKV = MediaType(kind=Kind.VIDEO, mime="video/x-matroska", extension="mkv")
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
EXTENSIONS = frozenset(media.extension for media in (*WITH_SIGNATURE, *WITHOUT_SIGNATURE))

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

_NOT_MEDIA: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF or raw camera image"),
    (b"MM\x00*", "a TIFF or raw camera image"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an ICO image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"FLV\x01", "an FLV video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file"),
    (b"\x00\x00\x01\xba", "an MPEG program stream"),
    (b"MThd", "a MIDI file"),
    (b"#!AMR", "an AMR recording"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


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


def describe(head: bytes) -> str:
    """Return in words what a file looks like: "a PDF", "an HTML page", "text"."""
    if not head:
        return "an empty file"
    media = sniff(head)
    if media is not None:
        return media.mime
    text = looks_like_text(head)
    for signature, words in _NOT_MEDIA:
        # Two letters may as well begin a sentence.
        if head.startswith(signature) and not (text and len(signature) == 2):
            return words
    if head[:4] == b"RIFF":
        return "an AVI video" if head[8:12] == b"AVI " else "a RIFF file of another kind"
    if not text:
        return "a file of unknown type"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:200].lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if start.startswith(b"<"):
        return "XML or HTML"
    return "JSON" if start.startswith((b"{", b"[")) else "text"
