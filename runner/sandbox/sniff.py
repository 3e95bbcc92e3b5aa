"""Tell the kind of a media file by its first bytes, as the service does (docs: /docs/api-files)."""

from __future__ import annotations


def sniff(head: bytes) -> tuple[str, str] | None:
    """Return (kind, MIME type) by signature, or None; 64 bytes are enough."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image", "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image", "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image", "image/webp"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio", "audio/wav"
    if head[4:8] == b"ftyp":
        return _iso_media(head[8:12])
    if head.startswith(b"\x1aE\xdf\xa3"):
        return ("video", "video/webm") if b"webm" in head else ("video", "video/x-matroska")
    if head.startswith(b"OggS"):
        return "audio", "audio/ogg"
    if head.startswith(b"ID3"):
        return "audio", "audio/mpeg"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        layer = head[1] >> 1 & 3
        return ("audio", "audio/aac") if layer == 0 else ("audio", "audio/mpeg")
    return None


def _iso_media(brand: bytes) -> tuple[str, str] | None:
    if brand == b"qt  ":
        return "video", "video/quicktime"
    if brand in (b"M4A ", b"M4B "):
        return "audio", "audio/mp4"
    if brand in (b"avif", b"heic", b"heix", b"mif1"):
        return None  # pictures the documented lists do not name
    return "video", "video/mp4"
