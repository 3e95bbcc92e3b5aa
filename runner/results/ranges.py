"""Going on with a download: what a host's headers allow and promise.

Source: RFC 9110 §8.8 (validators), §13.1.5 (If-Range), §14.4 (Content-Range).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_CONTENT_RANGE = re.compile(r"bytes[ =]*(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_STRONG_DATE_S = 60.0


def body_length(headers: Mapping[str, str]) -> int | None:
    """Return the Content-Length in bytes; None where there is none, nonsense, or a body in chunks.

    The names of `headers` are looked up in lower case here and below.
    """
    if is_chunked(headers):
        return None
    text = headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Say whether a body comes in chunks, so that its end shows by itself (RFC 9112 §6.3)."""
    return "chunked" in headers.get("transfer-encoding", "").lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which bytes of a file an answer holds: from `first` to before `end`, of `total` where that is known."""

    first: int
    end: int
    total: int | None


def span_of(headers: Mapping[str, str]) -> Span | None:
    """Return what a 206 answer says it holds; None where it says nothing that can be read."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None:
        return None
    return Span(first=int(found[1]), end=int(found[2]) + 1, total=None if found[3] == "*" else int(found[3]))


def rest_total(headers: Mapping[str, str], *, offset: int, known_total: int | None) -> int | None:
    """Return the size of the whole file a 206 answer is the rest of.

    Args:
        headers: Of the answer.
        offset: How many bytes we have.
        known_total: What the first answer said the file's size is, if it did.

    Returns:
        None when it is not exactly the rest of that file: then start over.
    """
    span = span_of(headers)
    if span is None or span.first != offset:
        return None
    total = span.end if span.total is None else span.total
    length = body_length(headers)
    fits = span.end == total and known_total in (None, total) and length in (None, total - offset)
    return total if fits else None


def proves_the_same_elsewhere(validator: str, total_bytes: int | None) -> bool:
    """Say whether a validator and a length tell a file apart also at another address: a strong ETag does."""
    return validator.startswith('"') and total_bytes is not None


def strong_validator(headers: Mapping[str, str]) -> str | None:
    """Return what, sent as If-Range, proves that a later answer is of the very same bytes; None: nothing."""
    if headers.get("accept-ranges", "").strip().lower() == "none":
        return None
    etag = headers.get("etag", "").strip()
    if etag.startswith('"') and etag.endswith('"') and len(etag) > 2:
        return etag
    modified = headers.get("last-modified", "").strip()
    # A date proves something only where the answer is clearly younger than the file.
    return modified if _seconds_between(modified, headers.get("date", "")) >= _STRONG_DATE_S else None


def _seconds_between(earlier: str, later: str) -> float:
    try:
        return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()
    except (ValueError, TypeError):
        return -1.0
