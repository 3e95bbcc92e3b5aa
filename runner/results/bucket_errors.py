"""What a bucket says when it does not do what is wanted, as one line for people."""

from __future__ import annotations

import os
import re

from runner.errors import UsageError
from runner.model import ObjectPath, ResultPath
from runner.results.parts import DiskTrouble
from runner.words import harmless

LONGEST = 200
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AZURE_STORAGE_ACCOUNT_KEY")

_REFUSED = (
    "InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|TokenRefreshRequired|InvalidSecurity"
    "|AuthenticationFailed|UnauthenticatedError|InvalidClientTokenId|RequestTimeTooSkewed"
)
_REGION = "PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|redirect without LOCATION"
_FULL = "QuotaExceeded|StorageFull|InsufficientStorage|status code: 507"
_NO_RIGHT = "AccessDenied|PermissionDeniedError|AllAccessDisabled|AuthorizationPermissionMismatch|code: 403"
_AWAY = (
    ("dns error", "its host name cannot be found"),
    ("onnection refused", "nothing answers there"),
    ("imed ?[Oo]ut|deadline has elapsed", "it does not answer in time"),
    ("UnknownIssuer|certificate|CertificateRequired", "its certificate is not trusted"),
    ("error sending request|onnection reset|onnection closed|IncompleteMessage", "the connection fails"),
)


class BucketTrouble(DiskTrouble):
    """A bucket does not do what is wanted; results wait at the service meanwhile.

    `lasts`: it takes a person to change that. `unknown_condition`: it was only asked for more than it knows.
    """

    lasts = False
    unknown_condition = False


class NotThere(BucketTrouble):
    """Nothing is at a name."""


class Conflict(BucketTrouble):
    """Something stands at a name that should be free."""


def error_of(exc: Exception, place: ResultPath) -> BucketTrouble:
    """Return what to tell a person, for what obstore has raised.

    Its own text has many lines: requests, times, and what the bucket said.
    """
    if isinstance(exc, BucketTrouble):
        return exc
    bucket = place.bucket if isinstance(place, ObjectPath) else place
    text = f"{type(exc).__name__} {exc}"
    said = _said(text)
    if re.search("AlreadyExistsError|PreconditionError", text):
        return Conflict(f"something else is at {place}")
    if re.search("NoSuchBucket|ContainerNotFound|bucket does not exist", text):
        return _lasting(f"there is no bucket {bucket}", "make it, or set output.dir")
    if isinstance(exc, FileNotFoundError):
        return NotThere(f"there is no {place}")
    if "169.254.169.254" in text or "metadata.google.internal" in text:
        return _lasting(
            f"there are no credentials for {bucket}",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    if re.search(_REGION, text):
        return _lasting(f"{bucket} is in another region{said}", "set AWS_REGION to where it is")
    if re.search(_REFUSED, text):
        return _lasting(
            f"the credentials for {bucket} are refused{said}",
            "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, AWS_ENDPOINT_URL)",
        )
    if re.search(_FULL, text):
        return BucketTrouble(
            f"{bucket} is full{said}", hint="make room there, then run again; what is paid is kept"
        )
    if re.search(_NO_RIGHT, text):
        what = re.search(r"performing (\w+)", text)
        does = {"PUT": "write", "POST": "write", "DELETE": "remove", "HEAD": "read", "GET": "read"}
        verb = does.get(what[1] if what else "", "use")
        return _lasting(
            f"these credentials may not {verb} objects in {bucket}{said}",
            "they need the rights to list, read, write and remove objects there",
        )
    for pattern, words in _AWAY:
        if re.search(pattern, text):
            return BucketTrouble(
                f"{bucket} cannot be reached: {words}", hint="run again when it can; what is paid is kept"
            )
    status = re.search(r"status code: (\d{3}[\w ]*)", text)
    why = said.strip(" ()") or (f"it answers {status[1].strip()}" if status else _first(text))
    found = BucketTrouble(f"{bucket} does not work: {why}", hint="run again to continue")
    found.unknown_condition = bool(re.search("NotImplemented|NotSupportedError|status code: 501", text))
    return found


def unusable(exc: Exception, bucket: ObjectPath) -> UsageError:
    """Return what to tell where the environment itself cannot be used."""
    return UsageError(
        f"{bucket} cannot be opened: {_first(f'{type(exc).__name__} {exc}')}",
        hint="look at the variables AWS_… (GOOGLE_…, AZURE_…) of this shell",
    )


def _lasting(message: str, hint: str) -> BucketTrouble:
    found = BucketTrouble(message, hint=hint)
    found.lasts = True
    return found


def _said(text: str) -> str:
    """Return the bucket's own words in parentheses, where it has some."""
    code = re.search("<Code>([^<]{1,80})</Code>", text)
    words = re.search("<Message>([^<]+)</Message>", text)
    if code is None and words is None:
        return ""
    both = ": ".join(found[1] for found in (code, words) if found is not None)
    return f" ({_hidden(harmless(both, limit=LONGEST))})"


def _first(text: str) -> str:
    first = text.partition(" ")[2].partition("\n\nDebug source")[0]
    return _hidden(harmless(first, limit=LONGEST))


def _hidden(text: str) -> str:
    for name in SECRETS:
        secret = os.environ.get(name, "")
        if len(secret) >= 8:
            text = text.replace(secret, "…")
    return text
