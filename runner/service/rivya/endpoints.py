"""The endpoints of the Rivya AI Public API v1 that a batch run needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO
from urllib.parse import quote, urlsplit

import httpx

from runner.host.clock import rfc3339
from runner.model import Job, Kind, Upload
from runner.service.account import Account
from runner.service.http import Checked, Http, Timeouts
from runner.service.protocol import Answer, Service
from runner.service.rivya.answers import (
    understand,
    understand_credits,
    understand_description,
    understand_models,
    understand_upload,
)
from runner.service.rivya.bodies import body_of
from runner.service.transports import make_transport

GENERATIONS = "/api/v1/generations"
FILES = "/api/v1/files"
CREDITS = "/api/v1/credits"
MODELS = "/api/v1/models"
DESCRIPTION = "/api/v1/openapi.json"


class Rivya:
    """A `Service`: asks over HTTP, and says what the answers mean."""

    def __init__(self, http: Http, account: Account, *, now: Callable[[], float]) -> None:
        self._http = http
        self._account = account
        self._now = now

    @property
    def account(self) -> Account:
        """Whom we talk to, and as whom."""
        return self._account

    def encode(self, job: Job, copies: Sequence[Upload], key: str) -> bytes:
        """Return the body of POST /generations."""
        return body_of(job, copies, key)

    def counts(self, url: str) -> bool:
        """Say whether a url is one of the API itself."""
        base = self._account.base_url
        return self._account.serves(url) and urlsplit(url).path.startswith(f"{urlsplit(base).path}/api/")

    async def submit(
        self, body: bytes, key: str, *, still_allowed: Callable[[], bool] | None = None
    ) -> Answer:
        """POST /api/v1/generations with exactly these bytes under this idempotency key."""
        headers = {
            **self._with_key(),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Idempotency-Key": key,
        }
        stream = httpx.ByteStream(body) if still_allowed is None else Checked(still_allowed, body)
        reply = await self._http.send("POST", GENERATIONS, headers=headers, body=stream)
        return understand(reply, body=body)

    async def poll(self, task_id: str) -> Answer:
        """GET /api/v1/generations/{taskId}."""
        segment = _segment(self._account.hider.restored(task_id))
        reply = await self._http.send("GET", f"{GENERATIONS}/{segment}", headers=self._with_key())
        return understand(reply, asked=task_id)

    async def upload(
        self,
        content: IO[bytes],
        *,
        name: str,
        kind: Kind,
        mime: str,
        size_bytes: int,
        model: str,
        sha256: str,
    ) -> Answer:
        """POST /api/v1/files, streamed from an open file."""
        # A slow line gets a second for each 50 kB beyond the usual wait.
        total_s = self._http.timeouts.total_s + size_bytes / 50_000
        fields = {"kind": kind.value, "model": model, "client_request_id": f"rb1-file-{sha256[:40]}"}
        reply = await self._http.send(
            "POST",
            FILES,
            headers=self._with_key(),
            data=fields,
            files={"file": (ascii_name(name), content, mime)},
            total_s=total_s,
            # The wait for the first byte of an answer begins with the first byte of the file.
            timeout=httpx.Timeout(total_s, connect=self._http.timeouts.connect_s),
        )
        return understand_upload(reply, base_url=self._account.base_url, now=rfc3339(self._now()))

    async def credits(self) -> Answer:
        """GET /api/v1/credits."""
        return understand_credits(await self._http.send("GET", CREDITS, headers=self._with_key()))

    async def models(self) -> Answer:
        """GET /api/v1/models; public, so our key is not sent."""
        return understand_models(await self._http.send("GET", MODELS, headers={}))

    async def described(self) -> Answer:
        """GET /api/v1/openapi.json; public, so our key is not sent."""
        return understand_description(await self._http.send("GET", DESCRIPTION, headers={}))

    def _with_key(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._account.key}"}


def _segment(text: str) -> str:
    """Return an id as one segment of a path: it comes from the service, so it is not trusted.

    An id of dots only would climb out of the path however it is quoted; `read_task` takes none.
    """
    return quote(text, safe="")


def ascii_name(name: str) -> str:
    """Return a file name for a multipart header: ASCII, without quotes, breaks or folders."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._- ") else "_" for char in name)
    return kept[-100:].strip() or "file"


@asynccontextmanager
async def open_service(
    account: Account,
    *,
    now: Callable[[], float],
    connections: int = 1,
    timeouts: Timeouts | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    heard: Callable[[float | None], None] = lambda _: None,
) -> AsyncIterator[Service]:
    """Open the service for one account.

    Args:
        account: Whom to talk to.
        now: The wall clock.
        connections: How many requests may be open at once.
        timeouts: How long to wait.
        transport: For tests: what to send through.
        heard: Takes the service's time of each answer, in seconds since 1970; None where it tells none.
    """
    times = timeouts or Timeouts()
    async with transport or make_transport(account.base_url, connections) as way:
        yield Rivya(Http(way, account, now=now, timeouts=times, heard=heard), account, now=now)
