"""What a fault does to one request: an answer instead of the true one, a spoilt one, a late one, or none."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import time
import zipfile
import zlib
from collections.abc import AsyncIterator
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from runner.sandbox.answers import Drop, error, gateway_page, json_answer, raw_answer
from runner.sandbox.faults import Rule

GATEWAY_TITLES = {"502": "Bad Gateway", "504": "Gateway Time-out"}
CODES = {
    "401": "api_key_invalid",
    "403": "api_scope_denied",
    "404": "not_found",
    "409": "idempotency_conflict",
    "503": "public_api_disabled",
}
MESSAGES = {
    "api_key_missing": "Send your key as: Authorization: Bearer rvya_sk_...",
    "api_key_invalid": "The API key is not valid.",
    "api_key_revoked": "The API key was revoked.",
    "api_key_expired": "The API key has expired.",
    "api_scope_denied": "The API key lacks the scope for this.",
    "not_found": "Not found.",
    "idempotency_conflict": "A request with this Idempotency-Key is in progress or had another body.",
    "public_api_disabled": "The public API is switched off for the moment.",
}
EXPIRED_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>{}</Message></Error>'
)
BOMB_PIECE = 1024 * 1024
SLICE_S = 0.25


class Misbehaviour:
    """Carries out fault rules. Waiting ends early when the sandbox stops."""

    def __init__(self, *, retry_after: str, insufficient: str) -> None:
        self._retry_after = retry_after
        self._insufficient = insufficient
        self.stopping = asyncio.Event()

    async def before(self, rule: Rule, request: Request) -> Response | None:
        """Act before the request is processed; None lets it go on."""
        match rule.do:
            case "slow":
                await self._sleep(rule.options.get("seconds", 2.0))
                return None
            case "kill_client":
                _kill(rule)
                return Drop()
            case _:
                return await self._instead(rule, request)

    async def after(self, rule: Rule, request: Request, answer: Response) -> Response:
        """Act once the request was processed and `answer` is the true one."""
        match rule.do:
            case "slow":
                await self._sleep(rule.options.get("seconds", 2.0))
                return answer
            case "kill_client" if rule.when == "answered":
                answer.background = BackgroundTask(_kill, rule)
                return answer
            case "kill_client":
                _kill(rule)
                return Drop()
            case _:
                return spoil(rule, request, answer) or await self._instead(rule, request)

    def rate_limited(
        self, message: str, wait_s: float, form: Any = None, *, code: str = "rate_limited"
    ) -> Response:
        """Return 429 with `Retry-After` as `form` says: seconds, date, past, none, or a literal value."""
        headers = {}
        match form if form is not None else self._retry_after:
            case "seconds":
                headers["retry-after"] = str(max(1, int(wait_s + 0.999)))
            case "date":
                headers["retry-after"] = formatdate(time.time() + max(1.0, wait_s), usegmt=True)
            case "past":
                headers["retry-after"] = formatdate(time.time() - 3600, usegmt=True)
            case "none":
                pass
            case literal:
                headers["retry-after"] = str(literal)
        return error(code, message, status=429, headers=headers)

    async def _instead(self, rule: Rule, request: Request) -> Response:
        match rule.do:
            case "drop" | "drop_before" | "drop_after":
                return Drop(reset=bool(rule.options.get("reset")))
            case "hang" | "hang_after":
                await self._hang(rule.options.get("seconds", 3600.0), request)
                return Drop()
            case "429":
                given = rule.options
                return self.rate_limited(
                    str(given.get("message", "Too many requests.")),
                    given.get("seconds", 1.0),
                    given.get("retry_after"),
                    code=str(given.get("code", "rate_limited")),
                )
            case _:
                return refusal(rule, request, insufficient=self._insufficient)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _hang(self, seconds: float, request: Request) -> None:
        """Wait, but not longer than the client does."""
        gone = asyncio.ensure_future(_disconnected(request))
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({gone, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            stopping.cancel()


def refusal(rule: Rule, request: Request, *, insufficient: str) -> Response:
    """Return the answer of a kind that is nothing but another answer."""
    given = rule.options
    match rule.do:
        case "error":
            status = int(given.get("status", 400))
            headers = {str(k): str(v) for k, v in given.get("headers", {}).items()}
            code, message = str(given.get("code", "validation_failed")), str(given.get("message", "No."))
            return error(code, message, status=status, headers=headers)
        case "500":
            return error("internal_error", "Something went wrong.", status=500)
        case "gives_up":
            return gateway_page(504, GATEWAY_TITLES["504"])
        case "502" | "504":
            return gateway_page(int(rule.do), GATEWAY_TITLES[rule.do])
        case "page":
            title, server = (
                str(given.get("title", "Just a moment...")),
                str(given.get("server", "cloudflare")),
            )
            return gateway_page(int(given.get("status", 403)), title, server=server)
        case "401" | "403" | "404" | "409" | "503":
            code = str(given.get("code", CODES[rule.do]))
            return error(code, str(given.get("message", MESSAGES.get(code, "No."))), status=int(rule.do))
        case "refuse":
            code = str(given.get("code", "validation_failed"))
            return error(code, str(given.get("message", "The prompt is not accepted.")), status=400)
        case "refuse_reference_url":
            return error("validation_failed", "params.referenceMediaItems[0].url has expired.")
        case "insufficient_credits":
            status = int(given.get("status", insufficient if insufficient.isdecimal() else 402))
            return error(rule.do, "Not enough credits for this generation.", status=status)
        case "echo_key":
            return echo(request)
        case "redirect":
            there = str(given.get("to") or elsewhere(request))
            return Response(status_code=int(given.get("status", 307)), headers={"location": there})
        case _:
            return error(rule.do, MESSAGES[rule.do])


def echo(request: Request) -> Response:
    """Return a refusal that says the client's key back to it; no search in the bytes of its body finds it."""
    said = request.headers.get("authorization", "")
    body = error("validation_failed", f"Cannot read the request with Authorization: {said}").body
    coded = bytes(body).decode().replace(said, "".join(f"\\u{ord(char):04X}" for char in said))
    return json_answer(coded, 400, {"x-request-id": said})


def spoil(rule: Rule, request: Request, answer: Response) -> Response | None:
    """Return `answer` spoilt as the rule says, or None if the rule is of another kind."""
    body, given = bytes(answer.body), rule.options
    match rule.do:
        case "truncated":
            return raw_answer(answer, length=len(body), keep=given.get("keep", 0.5))
        case "truncated_no_length":
            return raw_answer(answer, length=None, keep=given.get("keep", 0.5))
        case "wrong_length":
            return raw_answer(answer, length=int(given.get("length", len(body) // 2)))
        case "garbage":
            return Response(
                b"\x00\xff{{{ not json" + body[:7], answer.status_code, media_type="application/json"
            )
        case "empty":
            return Response(b"", answer.status_code, media_type=answer.headers.get("content-type"))
        case "html":
            return gateway_page(200, "Please wait")
        case "wrong_content_type":
            return Response(body, answer.status_code, media_type="text/plain")
        case "no_id":
            return json_answer({"status": "queued"}, answer.status_code)
        case "wrapped" if answer.status_code < 300:
            wrapped = {"id": "req_of_this_answer", str(given.get("by", "data")): json.loads(body)}
            return json_answer(wrapped, answer.status_code)
        case "wrapped":
            return answer
        case "expired":
            return expired("Request has expired.")
        case "gzip" | "said_gzip" | "extra_bytes" | "zip":
            return _odd_body(rule, request, answer)
        case "no_ranges" | "wrong_range" | "drip" | "gzip_bomb":
            return _odd_download(rule, request, answer)
        case _:
            return None


def expired(message: str) -> Response:
    """Return the refusal of a storage host."""
    return Response(EXPIRED_XML.format(message), 403, media_type="application/xml")


def elsewhere(request: Request) -> str:
    """Return the same address under another name of this machine: for a client, another host."""
    url = request.url
    other = "127.0.0.1" if url.hostname == "localhost" else "localhost"
    return str(url.replace(hostname=other))


def _odd_body(rule: Rule, request: Request, answer: Response) -> Response:
    """Return all of a result, as nobody would expect it; the same each time."""
    whole = bytes(request.scope.get("sandbox.whole", answer.body))
    media_type, packed = answer.headers.get("content-type"), {"content-encoding": "gzip"}
    match rule.do:
        case "gzip":
            return Response(gzip.compress(whole, mtime=0), 200, packed, media_type)
        case "said_gzip":
            return Response(whole, 200, packed, media_type)
        case "extra_bytes":
            return Response(whole + b"<!-- served by a kind host -->\n", 200, media_type=media_type)
        case _:
            return Response(_archive(whole), 200, media_type="application/octet-stream")


def _archive(whole: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("result"), whole)
    return file.getvalue()


def _odd_download(rule: Rule, request: Request, answer: Response) -> Response:
    whole = bytes(request.scope.get("sandbox.whole", answer.body))
    media_type = answer.headers.get("content-type")
    match rule.do:
        case "no_ranges":
            return Response(whole, 200, media_type=media_type)
        case "wrong_range":
            headers = {"content-range": f"bytes 0-{len(whole) - 1}/{len(whole)}"}
            return Response(whole, 206 if "range" in request.headers else 200, headers, media_type)
        case "drip":
            rate = rule.options.get("bytes_per_s", 200.0)
            headers = {"content-length": str(len(whole))}
            return StreamingResponse(_drip(whole, rate), 200, headers, media_type)
        case _:
            headers = {"content-encoding": "gzip"}
            return StreamingResponse(_bomb(int(rule.options.get("megabytes", 200))), 200, headers, media_type)


async def _drip(body: bytes, bytes_per_s: float) -> AsyncIterator[bytes]:
    step = max(1, int(bytes_per_s * SLICE_S))
    for start in range(0, len(body), step):
        yield body[start : start + step]
        await asyncio.sleep(SLICE_S)


@lru_cache(maxsize=1)
def _bomb_piece() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(bytes(BOMB_PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)


async def _bomb(megabytes: int) -> AsyncIterator[bytes]:
    """One gzip stream of zeros: after a full flush the same piece may be repeated."""
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    crc = 0
    for _ in range(megabytes):
        crc = zlib.crc32(bytes(BOMB_PIECE), crc)
        yield _bomb_piece()
        await asyncio.sleep(0)
    yield b"\x03\x00" + crc.to_bytes(4, "little") + (megabytes * BOMB_PIECE % 2**32).to_bytes(4, "little")


def _kill(rule: Rule) -> None:
    """Kill the one process the rule names; it may be gone already."""
    try:
        os.kill(rule.options["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
