"""Why Rivya refuses or fails something: its codes, sorted. Pure."""

from __future__ import annotations

from runner.service.protocol import FailureClass

NO_CREDITS = "insufficient_credits"
# What other services call it.
_EMPTY = frozenset(
    {
        *(f"insufficient_{what}" for what in ("credit", "balance", "funds", "account_balance")),
        *(f"not_enough_{what}" for what in ("credits", "credit", "balance", "funds")),
        *(
            f"{what}_{end}"
            for what in ("credits", "credit", "balance")
            for end in ("exhausted", "insufficient")
        ),
        "out_of_credits",
        "no_credits",
        "payment_required",
    }
)
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
    if says_empty(lowered):
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


def says_empty(code: str) -> bool:
    """Say whether a code is about an account that cannot pay."""
    return code == NO_CREDITS or code in _EMPTY


def names_a_reference(code: str, message: str, urls: tuple[str, ...]) -> bool:
    """Say whether a refusal is about a reference url that can be made anew by another upload."""
    text = f"{code} {message}".lower()
    if any(url and url.lower() in text for url in urls):
        return True
    return any(word in text for word in _REFERENCE_WORDS) and any(word in text for word in _GONE_WORDS)
