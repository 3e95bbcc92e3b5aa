"""A transport that remembers the heads of the answers that came through it: without urls, which may be signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """The head of one answer. Names of headers are in small letters."""

    host: str
    status: int
    headers: Mapping[str, str]


@dataclass(slots=True)
class Listening(httpx.AsyncBaseTransport):
    """Passes requests on, and keeps the heads of what comes back."""

    inner: httpx.AsyncBaseTransport
    heads: list[AnswerHead] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer, once the head of that is there."""
        response = await self.inner.handle_async_request(request)
        self.heads.append(
            AnswerHead(
                host=request.url.host,
                status=response.status_code,
                headers={name.lower(): value for name, value in response.headers.items()},
            )
        )
        return response
