"""The API over HTTP: one Starlette application around the service, with a fault between any two steps."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from runner.sandbox import control
from runner.sandbox.answers import error, json_answer
from runner.sandbox.catalogue import public_list
from runner.sandbox.faults import Rule
from runner.sandbox.misbehave import Misbehaviour, expired
from runner.sandbox.openapi import openapi_document
from runner.sandbox.options import SandboxOptions
from runner.sandbox.results import MEDIA_TYPES
from runner.sandbox.service import ApiError, ImitatedService, UploadForm
from runner.sandbox.sniff import sniff
from runner.sandbox.storage import Storage

MAX_BODY_BYTES = 2_000_000
MAX_UPLOAD_BYTES = 256 * 1024 * 1024
UPLOAD_PIECE = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class LoggedRequest:
    """One request on its way through; what the log will say about it."""

    kind: str
    request: Request
    account: str = ""
    raw: bytes = b""
    key: str | None = None
    client_request_id: str | None = None
    task_id: str | None = None
    charged: float = 0
    facts: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


Handler = Callable[[LoggedRequest], Awaitable[Response]]


class Api:
    """The endpoints. Every one goes: key, rate limit, fault before, the work, fault after, log."""

    def __init__(self, service: ImitatedService, misbehaviour: Misbehaviour) -> None:
        self.service = service
        self.misbehaviour = misbehaviour
        self._in_flight: set[tuple[str, str]] = set()
        self._models = json.dumps(public_list(service.catalogue), ensure_ascii=False)
        self._openapi: str | None = None

    def routes(self) -> list[Route]:
        """Return the routes of the API and of the results."""
        return [
            Route("/api/v1/models", self._endpoint("models", self._get_models, public=True), methods=["GET"]),
            Route(
                "/api/v1/openapi.json",
                self._endpoint("openapi", self._get_openapi, public=True),
                methods=["GET"],
            ),
            Route("/api/v1/generations", self._endpoint("submit", self._submit), methods=["POST"]),
            Route("/api/v1/generations/{task_id}", self._endpoint("poll", self._poll), methods=["GET"]),
            Route("/api/v1/files", self._endpoint("upload", self._upload), methods=["POST"]),
            Route("/api/v1/files/{file_id}", self._endpoint("file", self._get_file), methods=["GET"]),
            Route("/api/v1/credits", self._endpoint("credits", self._get_credits), methods=["GET"]),
            Route("/media/results/{task_id}/{name}", self._endpoint("result", self._result, public=True)),
        ]

    def _endpoint(
        self, kind: str, handler: Handler, *, public: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            call = LoggedRequest(kind=kind, request=request)
            try:
                answer = await self._through(call, handler, public=public)
            except ApiError as exc:
                answer = self._error(exc)
            self._log(call, answer.status_code)
            return answer

        return endpoint

    async def _through(self, call: LoggedRequest, handler: Handler, *, public: bool) -> Response:
        if not public:
            call.account = self.service.account_of(call.request.headers.get("authorization"))
            self.service.check_rate(call.account)
        await self._learn_facts(call)
        lock = (call.account, call.key) if call.kind == "submit" and call.key is not None else None
        if lock is not None:
            if lock in self._in_flight:
                raise ApiError(
                    "idempotency_conflict", "A request with this Idempotency-Key is still in progress."
                )
            self._in_flight.add(lock)
        try:
            return await self._with_faults(call, handler)
        finally:
            if lock is not None:
                self._in_flight.discard(lock)

    async def _with_faults(self, call: LoggedRequest, handler: Handler) -> Response:
        rule: Rule | None = self.service.faults.pick(call.kind, call.facts)
        call.fault = f"{rule.do}:{rule.when}" if rule is not None else None
        if rule is not None and rule.do == "gives_up" and call.kind == "submit":
            loop = asyncio.get_running_loop()
            loop.call_later(rule.options.get("seconds", 6.0), self._finish_unlooked, call)
        if rule is not None and rule.when == "before":
            instead = await self.misbehaviour.before(rule, call.request)
            if instead is not None:
                return instead
        try:
            answer = await handler(call)
        except ApiError as exc:
            answer = self._error(exc)
        if rule is not None and rule.when != "before":
            answer = await self.misbehaviour.after(rule, call.request, answer)
        return answer

    async def _learn_facts(self, call: LoggedRequest) -> None:
        """Find out what fault rules may match on, and what the log should say."""
        request = call.request
        call.key = request.headers.get("idempotency-key")
        call.facts = {"path": request.url.path, "key": call.key}
        if call.kind == "submit":
            call.raw = await _read_body(request)
            try:
                body = json.loads(call.raw)
            except (ValueError, RecursionError):
                body = None
            if isinstance(body, dict):
                known = {name: body.get(name) for name in ("model", "prompt", "client_request_id")}
                call.facts.update(known)
                request_id = known["client_request_id"]
                call.client_request_id = _storable(request_id) if isinstance(request_id, str) else None
        elif "task_id" in request.path_params:
            call.task_id = request.path_params["task_id"]
            call.facts["task"] = call.task_id
            if (task := self.service.storage.find_task(_storable(call.task_id or ""))) is not None:
                call.client_request_id = task.client_request_id
                call.facts |= {
                    "model": task.model, "prompt": task.prompt, "client_request_id": task.client_request_id,
                }  # fmt: skip

    def _log(self, call: LoggedRequest, status: int) -> None:
        request = call.request
        self.service.storage.log((
            self.service.now(), call.kind, request.method, _storable(request.url.path), call.account,
            call.key and _storable(call.key), call.client_request_id, status,
            call.task_id and _storable(call.task_id), call.charged, call.fault,
            int("authorization" in request.headers),
        ))  # fmt: skip

    def _error(self, exc: ApiError) -> Response:
        if exc.wait_s is not None:
            return self.misbehaviour.rate_limited(exc.message, exc.wait_s)
        return error(exc.code, exc.message, status=exc.status)

    # -- the work itself

    async def _get_models(self, call: LoggedRequest) -> Response:
        return json_answer(self._models)

    async def _get_openapi(self, call: LoggedRequest) -> Response:
        if self._openapi is None:
            self._openapi = json.dumps(
                openapi_document(self.service.catalogue, self.service.options), indent=1
            )
        return json_answer(self._openapi)

    async def _submit(self, call: LoggedRequest) -> Response:
        kind = call.request.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise ApiError("validation_failed", "Send Content-Type: application/json.")
        if len(call.raw) > MAX_BODY_BYTES:
            raise ApiError("validation_failed", "The body is too large.")
        accepted = self.service.submit(call.account, call.key and _storable(call.key), call.raw)
        call.task_id, call.charged = accepted.task_id, accepted.charged
        return json_answer(accepted.answer, self.service.options.create_status)

    def _finish_unlooked(self, call: LoggedRequest) -> None:
        """Accept a submit that its gateway has given up; its key was looked up when it came."""
        with suppress(ApiError):
            self.service.submit(call.account, call.key and _storable(call.key), call.raw, look_up=False)

    async def _poll(self, call: LoggedRequest) -> Response:
        return json_answer(self.service.poll(call.account, _storable(call.task_id or "")))

    async def _get_credits(self, call: LoggedRequest) -> Response:
        return json_answer({"current_credits": self.service.credits(call.account)})

    async def _get_file(self, call: LoggedRequest) -> Response:
        return json_answer(
            self.service.get_file(call.account, _storable(call.request.path_params["file_id"]))
        )

    async def _upload(self, call: LoggedRequest) -> Response:
        kind = call.request.headers.get("content-type", "")
        if not kind.lower().startswith("multipart/form-data"):
            raise ApiError("validation_failed", "Send multipart/form-data.")
        length = call.request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > MAX_UPLOAD_BYTES:
            raise ApiError("validation_failed", "The file is too large.")
        try:
            async with call.request.form(max_files=1, max_fields=8) as form:
                uploaded = await _read_upload(dict(form.multi_items()))
        except HTTPException as exc:
            raise ApiError("validation_failed", f"The form cannot be read: {exc.detail}") from exc
        call.client_request_id = uploaded.client_request_id
        return json_answer(self.service.upload(call.account, uploaded), self.service.options.create_status)

    async def _result(self, call: LoggedRequest) -> Response:
        request = call.request
        number, _, extension = request.path_params["name"].partition(".")
        query = request.query_params
        try:
            if not (number.isdecimal() and number.isascii() and len(number) < 4 and extension in MEDIA_TYPES):
                raise LookupError(number)
            whole = self.service.find_result(
                request.path_params["task_id"],
                int(number),
                extension,
                query.get("exp", ""),
                query.get("sig", ""),
            )
        except PermissionError as exc:
            return expired(str(exc))
        except LookupError:
            return Response("not found", 404, media_type="text/plain")
        request.scope["sandbox.whole"] = whole
        return _download(request, whole, MEDIA_TYPES[extension], ranges=self.service.options.result_ranges)


def create_app(options: SandboxOptions) -> Starlette:
    """Return the application; `app.state.service` and `app.state.misbehaviour` are its insides."""
    service = ImitatedService(options, Storage(options.state))
    misbehaviour = Misbehaviour(retry_after=options.retry_after, insufficient=options.insufficient)
    app = Starlette(
        routes=[*Api(service, misbehaviour).routes(), *control.routes(service, misbehaviour)],
        exception_handlers={HTTPException: _http_error, ClientDisconnect: _gone, 500: _our_fault},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.misbehaviour = misbehaviour
    return app


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(exc.status_code, "validation_failed")
    return error(code, exc.detail, status=exc.status_code, headers=exc.headers)


async def _gone(request: Request, exc: Exception) -> Response:
    return Response(status_code=499)


async def _our_fault(request: Request, exc: Exception) -> Response:
    traceback.print_exception(exc, file=sys.stderr)
    return error("internal_error", "The sandbox itself has failed; see its standard error.", status=500)


async def _read_body(request: Request) -> bytes:
    """Read a body, but no more than a little over what is accepted."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size <= MAX_BODY_BYTES + UPLOAD_PIECE:
            pieces.append(piece)
    return b"".join(pieces)


async def _read_upload(form: dict[str, Any]) -> UploadForm:
    unknown = sorted(set(form) - {"file", "kind", "model", "client_request_id"})
    if unknown:
        raise ApiError("validation_failed", f"Unknown field: {unknown[0][:100]}.")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise ApiError("validation_failed", "file is required.")
    texts = {name: form.get(name) for name in ("kind", "model", "client_request_id")}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise ApiError("validation_failed", f"{name} must be text.")
    if not texts["kind"]:
        raise ApiError("validation_failed", "kind is required.")
    digest, size, head = hashlib.sha256(), 0, b""
    while piece := await file.read(UPLOAD_PIECE):
        head = head or piece[:64]
        digest.update(piece)
        size += len(piece)
    return UploadForm(
        kind=texts["kind"], model=texts["model"], client_request_id=texts["client_request_id"],
        signature=sniff(head), size_bytes=size, sha256=digest.hexdigest(),
    )  # fmt: skip


def _download(request: Request, whole: bytes, media_type: str, *, ranges: bool) -> Response:
    """Answer with the whole file or with the one range asked for."""
    headers = {"etag": f'"{hashlib.md5(whole, usedforsecurity=False).hexdigest()}"'}
    if not ranges:
        return Response(whole, 200, headers, media_type)
    headers["accept-ranges"] = "bytes"
    wanted = request.headers.get("range")
    if wanted is None or request.headers.get("if-range", headers["etag"]) != headers["etag"]:
        return Response(whole, 200, headers, media_type)
    span = _range(wanted, len(whole))
    if span is None:
        return Response(whole, 200, headers, media_type)
    start, end = span
    if start >= end:
        return Response(b"", 416, {"content-range": f"bytes */{len(whole)}"}, media_type)
    headers["content-range"] = f"bytes {start}-{end - 1}/{len(whole)}"
    return Response(whole[start:end], 206, headers, media_type)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return [start, end) of a single byte range, empty if it lies outside; None if it is none."""
    unit, _, span = header.partition("=")
    first, dash, last = span.strip().partition("-")
    numbers_only = all(part.isdecimal() and part.isascii() for part in (first, last) if part)
    if unit.strip() != "bytes" or not dash or not numbers_only or not (first or last):
        return None
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _storable(text: str) -> str:
    """Return text that SQLite can keep, whatever bytes the client sent."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
