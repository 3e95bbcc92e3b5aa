"""The shapes of answers: JSON, the error body, and connections that end without one."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# Where the protocol puts the connection, so that an answer can end it (see server.py).
TRANSPORT = "sandbox.transport"

# Documented codes and their HTTP status (docs: /docs/api-errors-and-limits).
STATUS_OF = {
    "public_api_disabled": 503,
    "api_key_missing": 401,
    "api_key_invalid": 401,
    "api_key_revoked": 401,
    "api_key_expired": 401,
    "api_scope_denied": 403,
    "rate_limited": 429,
    "validation_failed": 400,
    "not_found": 404,
    "idempotency_conflict": 409,
}

GATEWAY_PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer; `content` may be text that already is JSON."""
    text = (
        content
        if isinstance(content, str)
        else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    )
    return Response(text, status, headers, "application/json")


def error(
    code: str, message: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the error body of the API; the status follows from a documented code."""
    body = {"error": {"code": code, "message": message, "requestId": f"req_{secrets.token_hex(8)}"}}
    return json_answer(body, status or STATUS_OF[code], headers)


def gateway_page(status: int, title: str, *, server: str | None = None) -> Response:
    """Return the page of a gateway that stands before the service; one with a name says nothing of statuses."""
    text = GATEWAY_PAGE.format(title if server else f"{status} {title}")
    return Response(text, status, {"server": server} if server else None, media_type="text/html")


class Dropped(Exception):
    """Raised in place of a lost connection where there is no connection (in-process tests)."""


class Drop(Response):
    """No answer: the connection ends. With `reset` the peer sees a reset, not an orderly end."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__(status_code=500)
        self.status_code = 0  # what the request log shows for "no answer"
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """End the connection and wait until the server has noticed."""
        transport = _transport(scope)
        if self._reset and (raw := transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await _gone(receive)


class Raw(Response):
    """Bytes written to the connection as they are, past every check of HTTP; then it ends."""

    def __init__(self, raw: bytes, status: int) -> None:
        super().__init__(status_code=status)
        self._raw = raw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write, flush, close."""
        transport = _transport(scope)
        transport.write(self._raw)
        transport.close()
        await _gone(receive)


def raw_answer(response: Response, *, length: int | None, keep: float = 1.0) -> Raw:
    """Return the same answer with a false length, or none, and only the first part of its body.

    Args:
        response: The true answer.
        length: What `content-length` says; None leaves it out: the end of the connection ends the body.
        keep: Share of the body that is sent.
    """
    body = bytes(response.body)
    lines = [f"HTTP/1.1 {response.status_code} Answer", "connection: close"]
    lines += [f"{k}: {v}" for k, v in response.headers.items() if k != "content-length"]
    lines += [] if length is None else [f"content-length: {length}"]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return Raw(head + body[: int(len(body) * keep)], response.status_code)


def _transport(scope: Scope) -> asyncio.Transport:
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise Dropped
    assert isinstance(transport, asyncio.Transport)
    return transport


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
