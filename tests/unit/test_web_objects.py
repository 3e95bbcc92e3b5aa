"""A result in a bucket, as a browser gets it: through this machine, whole or in part."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runner.web.objects import object_response
from tests import buckets
from tests.buckets import ROOT, Flaky, generic

flaky = buckets.flaky

pytestmark = pytest.mark.anyio
FILM = bytes(range(256)) * 4000


async def ask(
    headers: Mapping[str, str] | None = None, *, method: str = "GET", shown: bool = True
) -> httpx.Response:
    async def film(request: Request) -> Response:
        return await object_response(
            request,
            ROOT / "shots/ü 1.mp4",
            media_type="video/mp4",
            shown=shown,
            headers={"content-security-policy": "sandbox"},
        )

    way = httpx.ASGITransport(Starlette(routes=[Route("/film", film)]))
    async with httpx.AsyncClient(transport=way, base_url="http://here") as client:
        return await client.request(method, "/film", headers=headers)


@pytest.mark.parametrize(
    ("asked", "status", "expected", "told"),
    [
        (None, 200, FILM, None),
        ("bytes=0-", 200, FILM, None),
        ("bytes=1000-1999", 206, FILM[1000:2000], f"bytes 1000-1999/{len(FILM)}"),
        ("bytes=-5", 206, FILM[-5:], f"bytes {len(FILM) - 5}-{len(FILM) - 1}/{len(FILM)}"),
        ("bytes=99999999-", 416, b"", f"bytes */{len(FILM)}"),
    ],
)
async def test_a_browser_gets_the_range_it_asks_for(
    flaky: Flaky, asked: str | None, status: int, expected: bytes, told: str | None
) -> None:
    flaky.put_as_somebody("night/shots/ü 1.mp4", FILM)

    answer = await ask({"range": asked} if asked else None)

    assert answer.status_code == status
    assert answer.content == expected
    assert answer.headers.get("content-range") == told
    if status < 400:
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-length"] == str(len(expected))
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["content-disposition"].startswith("inline; filename*=utf-8''%C3%BC%201.mp4")


async def test_to_ask_about_it_brings_nothing_of_it(flaky: Flaky) -> None:
    flaky.put_as_somebody("night/shots/ü 1.mp4", FILM)

    answer = await ask(method="HEAD", shown=False)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_what_is_not_there_is_404_and_a_bucket_that_is_away_503(flaky: Flaky) -> None:
    missing = await ask()
    flaky.fails["get"] = [generic("HTTP error: error sending request")]
    away = await ask()

    assert (missing.status_code, away.status_code) == (404, 503)
    assert "cannot be reached" in away.text
