"""Speaks as runwayml's and replicate's services do, and passes everything on to the sandbox.

    python -m tests.bench.rivals.shim http://127.0.0.1:4010

A thin layer: one request in, one request out, 429 and Retry-After as they came. Loopback only.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
from aiohttp import web

from tests.bench.process import KEY

PARAMS = {"mode": "normal", "duration": 6, "resolution": "480p", "aspect_ratio": "16:9"}
_RUNWAY = {"queued": "PENDING", "processing": "RUNNING", "succeeded": "SUCCEEDED", "failed": "FAILED"}
_REPLICATE = {"queued": "starting", "processing": "processing"}


class Shim:
    """Two foreign APIs in front of one sandbox."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self._base_url = base_url
        self._session = session

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/text_to_video", self.runway_create),
                web.get("/v1/tasks/{id}", self.runway_task),
                web.post("/v1/predictions", self.replicate_create),
                web.post("/v1/models/{owner}/{name}/predictions", self.replicate_create),
                web.get("/v1/predictions/{id}", self.replicate_task),
            ]
        )
        return app

    async def runway_create(self, request: web.Request) -> web.Response:
        return await self._create(request, (await request.json())["promptText"], self._as_runway)

    async def runway_task(self, request: web.Request) -> web.Response:
        return await self._task(request, self._as_runway)

    async def replicate_create(self, request: web.Request) -> web.Response:
        return await self._create(request, (await request.json())["input"]["prompt"], self._as_replicate)

    async def replicate_task(self, request: web.Request) -> web.Response:
        return await self._task(request, self._as_replicate)

    async def _create(self, request: web.Request, prompt: str, show: Any) -> web.Response:
        headers = {"Idempotency-Key": key} if (key := request.headers.get("Idempotency-Key")) else {}
        body = {"model": "grok-imagine-video", "prompt": prompt, "params": PARAMS}
        return await self._pass_on("POST", "/api/v1/generations", show, json=body, headers=headers)

    async def _task(self, request: web.Request, show: Any) -> web.Response:
        return await self._pass_on("GET", f"/api/v1/generations/{request.match_info['id']}", show)

    async def _pass_on(self, method: str, path: str, show: Any, **content: Any) -> web.Response:
        async with self._session.request(method, self._base_url + path, **content) as answer:
            data = await answer.json()
            if answer.status >= 400:
                kept = {name: answer.headers[name] for name in ("Retry-After",) if name in answer.headers}
                return web.json_response(data, status=answer.status, headers=kept)
        return web.json_response(show(data), status=201 if method == "POST" else 200)

    @staticmethod
    def _as_runway(task: dict[str, Any]) -> dict[str, Any]:
        status = _RUNWAY[task["status"]]
        shown = {"id": task["id"], "status": status, "createdAt": task["created_at"]}
        if status == "SUCCEEDED":
            shown["output"] = _urls(task)
        if status == "RUNNING":
            shown["progress"] = 0.5
        return shown

    @staticmethod
    def _as_replicate(task: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": task["id"],
            "model": "owner/name",
            "version": "none",
            "status": _REPLICATE.get(task["status"], task["status"]),
            "input": {},
            "output": _urls(task) if task["status"] == "succeeded" else None,
            "logs": "",
            "error": None,
            "metrics": None,
            "created_at": task["created_at"],
            "started_at": None,
            "completed_at": None,
            "urls": {},
        }


def _urls(value: Any) -> list[str]:
    """Return every result url in an answer, wherever it stands."""
    if isinstance(value, dict):
        return [url for item in value.values() for url in _urls(item)]
    if isinstance(value, list):
        return [url for item in value for url in _urls(item)]
    return [value] if isinstance(value, str) and "/media/results/" in value else []


async def serve(base_url: str) -> None:
    """Serve until standard input ends."""
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {KEY}"}, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        runner = web.AppRunner(Shim(base_url, session).app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        print(json.dumps({"base_url": f"http://127.0.0.1:{port}"}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
