"""What the live page answers, and whom: only who knows the token, on this machine, from our own page.

A page of another site can make the browser send requests here, even under another name for this address;
it must learn nothing and move nothing. So every request must name us as its host, carry the token in its
path, and come from our own page where the browser says where it comes from.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runner.errors import RunnerError
from runner.model import ObjectPath, is_in_bucket
from runner.reports import page
from runner.reports.metrics import CONTENT_TYPE
from runner.results.media import BY_TRACKS, WITH_SIGNATURE, WITHOUT_SIGNATURE
from runner.web.feed import Feed

LIVE = json.dumps({"v": 1, "live": "events"})
MOST_LISTENERS = 50
SHOWN = frozenset(media.mime for media in (*WITH_SIGNATURE, *WITHOUT_SIGNATURE, *BY_TRACKS))
LARGEST_ORDER_BYTES = 1000
METRICS = "/metrics"
LARGEST_PICKS_BYTES = 1_000_000  # an undo may speak of hundreds
NOTHING_HERE = "There is nothing here. Open the address that rivya-batch has printed.\n"

SECURITY = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
LOCKED = "default-src 'none'; frame-ancestors 'none'"
# A browser shows a film on its own in a small page that it makes itself.
SHOWN_ALONE = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
)


class Control(Protocol):
    """A person's hand on the run of this process."""

    def hold(self, held: bool) -> None:
        """Hold new submits, or go on with them."""
        ...

    def stop(self) -> None:
        """Drain and end."""
        ...


def live_app(
    feed: Feed,
    *,
    title: str,
    token: str,
    hosts: frozenset[str],
    control: Control | None = None,
    metrics: Callable[[], str] | None = None,
    keep_picks: Callable[[Sequence[Mapping[str, Any]]], None] | None = None,
    keep_switches: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
) -> ASGIApp:
    """Return the application of one manifest's live page.

    Args:
        feed: What the page is told.
        title: The manifest's name.
        token: The secret part of the address.
        hosts: What a Host header may say: `127.0.0.1:8000`.
        metrics: Numbers for who collects them, at `/metrics`, without the token; None: there are none.
        control: What the page's buttons move; None for a run that is not of this process.
        keep_picks: Takes what a person says of results, `{"row": 1, "round": 1, "verdict": "picked"}`, in a thread.
            Raises ValueError for what means nothing, RunnerError where it cannot be written.
        keep_switches: Takes which jobs are not to be submitted, `{"rows": [1], "off": true}`, in the same way, and returns
            the ids of those that were sent already.
    """
    document = page.page(title, LIVE, connect="'self'")
    policy = page.policy(connect="'self'") + "; frame-ancestors 'none'"

    async def show(request: Request) -> Response:
        return Response(document, media_type="text/html", headers={"content-security-policy": policy})

    async def events(request: Request) -> Response:
        if feed.listeners >= MOST_LISTENERS:
            return PlainTextResponse("too many pages are open\n", status_code=503)
        last = request.headers.get("last-event-id")
        return StreamingResponse(
            feed.listen(last), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    async def order(request: Request) -> Response:
        if control is None:
            return PlainTextResponse("this page is read-only\n", status_code=405)
        act = _orders(control).get(str((await _asked(request, LARGEST_ORDER_BYTES)).get("do")))
        if act is None:
            return PlainTextResponse('say {"do": "hold"}, "go on" or "stop"\n', status_code=400)
        act()
        feed.poke()
        return JSONResponse({"v": 1}, status_code=202)

    async def pick(request: Request) -> Response:
        if keep_picks is None:
            return PlainTextResponse("this page is read-only\n", status_code=405)
        said = (await _asked(request, LARGEST_PICKS_BYTES)).get("picks")
        try:
            if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
                raise ValueError('say {"picks": [{"row": 1, "round": 1, "verdict": "picked"}]}')
            await anyio.to_thread.run_sync(keep_picks, said)
        except ValueError as exc:
            return PlainTextResponse(f"{exc}\n", status_code=400)
        except RunnerError as exc:
            return PlainTextResponse(f"{exc}\n", status_code=503)
        feed.poke()
        return JSONResponse({"v": 1}, status_code=200)

    async def switch(request: Request) -> Response:
        if keep_switches is None:
            return PlainTextResponse("this page is read-only\n", status_code=405)
        said = await _asked(request, LARGEST_PICKS_BYTES)
        try:
            sent = await anyio.to_thread.run_sync(keep_switches, said)
        except ValueError as exc:
            return PlainTextResponse(f"{exc}\n", status_code=400)
        except RunnerError as exc:
            return PlainTextResponse(f"{exc}\n", status_code=503)
        feed.poke()
        return JSONResponse({"v": 1, "sent": list(sent)}, status_code=200)

    routes = [
        Route("/", show),
        Route("/events", events),
        Route("/{kind}/{row:int}/{number:int}/{name}", _files(feed)),
        Route("/control", order, methods=["POST"]),
        Route("/picks", pick, methods=["POST"]),
        Route("/switches", switch, methods=["POST"]),
    ]
    whole: list[Mount | Route] = [Mount(f"/t/{token}", routes=routes)]
    if metrics is not None:
        whole.append(Route(METRICS, _numbers(metrics)))
    open_paths = frozenset({METRICS}) if metrics is not None else frozenset[str]()
    return Guard(Starlette(routes=whole), token=token, hosts=hosts, open_paths=open_paths)


def _numbers(metrics: Callable[[], str]) -> Callable[[Request], Awaitable[Response]]:
    async def tell(request: Request) -> Response:
        return Response(await anyio.to_thread.run_sync(metrics), headers={"content-type": CONTENT_TYPE})

    return tell


FILE_HEADERS = {"content-security-policy": SHOWN_ALONE, "cache-control": "private, max-age=300"}


def _files(feed: Feed) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        given = request.path_params
        found = (
            await feed.find(given["kind"], given["row"], given["number"])
            if given["kind"] in ("result", "reference")
            else None
        )
        path, mime = found or ("", "")
        # Anything but films, pictures and sound is downloaded, never shown: it may be a web page.
        known = mime in SHOWN
        if is_in_bucket(path):
            from runner.web.objects import object_response

            return await object_response(
                request,
                ObjectPath(path),
                media_type=mime if known else "application/octet-stream",
                shown=known,
                headers=FILE_HEADERS,
            )
        about = await anyio.to_thread.run_sync(_about, path) if found else None
        if about is None:
            return PlainTextResponse("file not found\n", status_code=404)
        return FileResponse(
            path,
            media_type=mime if known else "application/octet-stream",
            filename=os.path.basename(path),  # noqa: PTH119 (a text it is)
            content_disposition_type="inline" if known else "attachment",
            stat_result=about,
            headers=FILE_HEADERS,
        )

    return send


def _about(path: str) -> os.stat_result | None:
    try:
        about = os.stat(path)  # noqa: PTH116 (as FileResponse wants it)
    except OSError:
        return None
    return about if stat.S_ISREG(about.st_mode) else None


def _orders(control: Control) -> Mapping[str, Callable[[], None]]:
    return {"hold": lambda: control.hold(True), "go on": lambda: control.hold(False), "stop": control.stop}


async def _asked(request: Request, most_bytes: int) -> Mapping[str, Any]:
    """Return the object that a page sent; an empty one for anything else."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            return {}
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return asked if isinstance(asked, dict) else {}


class Guard:
    """Lets a request in, or says no to it; puts on every answer what keeps other sites out."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        hosts: frozenset[str],
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._open_paths = open_paths
        self._app = app
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers.update(SECURITY)
                headers.setdefault("content-security-policy", LOCKED)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            refused.headers["connection"] = "close"
            await refused(scope, receive, send_guarded)
        else:
            scope.get("rivya.recognise", _nobody_counts)()
            await self._app(scope, receive, send_guarded)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            # Another name that leads here is how another site would get past what a browser forbids.
            return PlainTextResponse("this is not the address of this page\n", status_code=421)
        parts = scope["path"].split("/", 3)
        if scope["path"] in self._open_paths:  # numbers only, and only for who reads our own name
            return None if scope["method"] == "GET" else PlainTextResponse("only GET\n", status_code=405)
        if len(parts) < 3 or parts[1] != "t" or not secrets.compare_digest(parts[2].encode(), self._token):
            return PlainTextResponse(NOTHING_HERE, status_code=404)
        origins = headers.getlist("origin")
        if any(origin != f"http://{hosts[0]}" for origin in origins) or _from_elsewhere(scope, headers):
            return PlainTextResponse("only this page itself may ask\n", status_code=403)
        if scope["method"] not in ("GET", "HEAD") and not origins:
            return PlainTextResponse("only this page itself may ask\n", status_code=403)
        return None


def _nobody_counts() -> None:
    """There is no server that counts its visits."""


def _from_elsewhere(scope: Scope, headers: Headers) -> bool:
    """Whether a browser says that another site asks; a link that a person follows is no such thing."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (followed and scope["method"] == "GET")
