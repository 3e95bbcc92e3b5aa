"""What can be wrong with a result that is to be fetched, as errors the engine asks what to do about.

A url is only ever shown without its query, which may be a signature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from runner.errors import TemporaryTrouble
from runner.words import harmless


class ResultTrouble(TemporaryTrouble):
    """A result cannot be fetched now. The job stays paid and kept; it never fails by this."""

    renew = False
    """Whether a fresh url (one status GET) may help."""

    out_of_reach = ""
    """The host (with its port) that could not be got to: no name, no route, no connection, no proof, no public address."""


class ResultRefused(ResultTrouble):
    """The host refuses this url: it has expired, or never was ours."""

    renew = True

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, hint="a new url is requested")
        self.status = status


class ResultUnavailable(ResultTrouble):
    """The host or the way to it fails, or broke off: try again later."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        hint: str = "run again to continue",
        out_of_reach: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers or {}  # of the answer: what it asks for, and its own time
        self.out_of_reach = out_of_reach


class ResultDoubtful(ResultTrouble):
    """It came whole, but is no type we know, or odd in its own terms: fetched once more before it is kept."""

    def __init__(self, message: str, *, renew: bool) -> None:
        super().__init__(message)
        self.renew = renew


class ResultUnacceptable(ResultTrouble):
    """What is there is no result: an error page, nothing, too large, an address we do not go to."""

    renew = True

    def __init__(self, message: str, *, hint: str = "", out_of_reach: str = "") -> None:
        super().__init__(message, hint=hint)
        self.out_of_reach = out_of_reach


class ResultTooLarge(ResultUnacceptable):
    """It is larger than `limits.max_result_bytes`: no other url of it is smaller."""

    renew = False


@lru_cache(maxsize=256)  # each step of a fetch names its url
def without_query(url: str) -> str:
    """Return a url fit to be shown: no query, no fragment, no user, printable."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    bare = re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/]*@", r"\1", bare)
    return harmless(bare)
