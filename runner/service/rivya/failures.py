"""Why Rivya refuses or fails something: its codes, sorted. Pure."""

from __future__ import annotations

from runner.service.protocol import FailureClass

NO_CREDITS = "insufficient_credits"
_POLICY_WORDS = (
    "moderat",
    "policy",
    "safety",
    "nsfw",
    "prohibited",
    "sensitive",
    "blocked_content",
    "content_filter",
)
_REFERENCE_WORDS = ("url", "reference", "file", "media", "upload")
_GONE_WORDS = (
    "expired",
    "expire",
    "not found",
    "no longer",
    "fetch",
    "download",
    "unreachable",
    "inaccessible",
    "gone",
)


def failure_class(*, code: str, status: int | None) -> FailureClass:
    """Return the class of a refusal (`status` set) or of a failed task (`status` None)."""
    lowered = code.lower()
    if any(word in lowered for word in _POLICY_WORDS):
        return FailureClass.POLICY
    if lowered == NO_CREDITS:
        return FailureClass.CREDITS
    if "validation" in lowered or "invalid" in lowered:
        return FailureClass.VALIDATION
    if status is None:
        return FailureClass.GENERATION
    if status == 404 or lowered == "not_found":
        return FailureClass.NOT_FOUND
    if status in (400, 413, 415, 422):
        return FailureClass.VALIDATION
    return FailureClass.OTHER


def names_a_reference(code: str, message: str, urls: tuple[str, ...]) -> bool:
    """Say whether a refusal is about a reference url that can be made anew by another upload."""
    text = f"{code} {message}".lower()
    if any(url and url.lower() in text for url in urls):
        return True
    return any(word in text for word in _REFERENCE_WORDS) and any(word in text for word in _GONE_WORDS)
