"""One HTTP exchange, as it looked from here: no dialect, no judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.host.surroundings import Finding
from runner.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP exchange, as the client saw it.

    `status` is None when no complete answer came. `sent` is False only when certainly no byte of
    the request reached the service. `data` is the parsed JSON object, None for anything else; `page`
    says that the body was neither that nor empty nor plain text.
    """

    status: int | None = None
    data: Mapping[str, Json] | None = None
    page: bool = False
    retry_after_s: float | None = None
    request_id: str | None = None
    location: str | None = None  # where it says that something is
    skew_s: float | None = None  # by how much the service's clock is ahead of ours, to the second
    sent: bool = True
    detail: str = ""  # for people: "timed out after 30 s", "HTTP 502, text/html"
    finding: Finding | None = None  # what a failure to connect says of this machine and its network
