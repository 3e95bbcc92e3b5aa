"""The sandbox in this process: an HTTP client on its application, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from runner.sandbox.app import create_app
from runner.sandbox.misbehave import Misbehaviour
from runner.sandbox.options import SandboxOptions
from runner.sandbox.service import ImitatedService
from tests.support import KEY

GROK = {
    "model": "grok-imagine-video",
    "prompt": "A bottle",
    "params": {"aspect_ratio": "16:9", "duration": 6},
}
# The smallest bytes that pass for what they claim to be at the first look.
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(64)


@dataclass(slots=True, kw_only=True)
class Inside:
    """One sandbox and one account."""

    http: httpx.AsyncClient
    service: ImitatedService
    misbehaviour: Misbehaviour

    async def submit(
        self, body: Mapping[str, Any] = GROK, *, key: str | None = None, account: str = KEY
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {account}"}
        if key is not None:
            headers["idempotency-key"] = key
        return await self.http.post("/api/v1/generations", json=body, headers=headers)

    async def get(self, path: str, *, account: str = KEY, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers={"authorization": f"Bearer {account}", **headers})

    async def poll(self, task_id: str, *, account: str = KEY) -> httpx.Response:
        return await self.get(f"/api/v1/generations/{task_id}", account=account)

    async def upload(
        self, content: bytes = PNG, kind: str = "image", *, account: str = KEY, **fields: str
    ) -> httpx.Response:
        return await self.http.post(
            "/api/v1/files",
            files={"file": ("file.bin", content)},
            data={"kind": kind, **fields},
            headers={"authorization": f"Bearer {account}"},
        )

    async def credits(self, *, account: str = KEY) -> float:
        return (await self.get("/api/v1/credits", account=account)).json()["current_credits"]

    async def control(self, what: str, body: object = None) -> Any:
        method = "GET" if body is None else "POST"
        answer = await self.http.request(method, f"/_sandbox/{what}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def finished(self, body: Mapping[str, Any] = GROK) -> dict[str, Any]:
        """Submit, let the time pass, and return the generation as it ended."""
        accepted = await self.submit(body)
        assert accepted.status_code == 201, accepted.text
        await self.control("advance", {"seconds": 60})
        return (await self.poll(accepted.json()["id"])).json()


@asynccontextmanager
async def inside(**options: Any) -> AsyncIterator[Inside]:
    """Run a sandbox in memory with these options."""
    app = create_app(SandboxOptions(**options))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        try:
            yield Inside(http=http, service=app.state.service, misbehaviour=app.state.misbehaviour)
        finally:
            app.state.service.storage.close()


def code(answer: httpx.Response) -> tuple[int, str]:
    """Return (status, error code) and insist on the documented error body."""
    body = answer.json()["error"]
    assert set(body) == {"code", "message", "requestId"}
    return answer.status_code, body["code"]
