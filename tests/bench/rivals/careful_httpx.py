"""The script a careful person writes: a semaphore, a fixed poll, back-off on 429, an idempotency key.

python careful_httpx.py BASE_URL JOBS AT_ONCE
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path
from typing import Any

import httpx

PARAMS = {"mode": "normal", "duration": 6, "resolution": "480p", "aspect_ratio": "16:9"}
POLL_S = 1.0


async def call(client: httpx.AsyncClient, method: str, url: str, **content: Any) -> httpx.Response:
    for attempt in range(100):
        try:
            answer = await client.request(method, url, **content)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code != 429 and answer.status_code < 500:
            answer.raise_for_status()
            return answer
        asked = float(answer.headers.get("retry-after", 0)) if answer is not None else 0.0
        await asyncio.sleep(max(asked, random.uniform(0.5, 1.0) * min(0.5 * 2**attempt, 10.0)))
    raise RuntimeError(f"{url}: too many tries")


async def job(client: httpx.AsyncClient, gate: asyncio.Semaphore, number: int) -> None:
    async with gate:
        body = {"model": "grok-imagine-video", "prompt": f"A bottle number {number}", "params": PARAMS}
        key = hashlib.sha256(str(number).encode()).hexdigest()[:40]
        answer = await call(
            client, "POST", "/api/v1/generations", json=body, headers={"Idempotency-Key": key}
        )
        task = answer.json()
        while task["status"] not in ("succeeded", "failed"):
            await asyncio.sleep(POLL_S)
            task = (await call(client, "GET", f"/api/v1/generations/{task['id']}")).json()
        for at, url in enumerate(task["result"]["urls"]):
            async with client.stream("GET", url, headers={"Authorization": ""}) as result:
                with Path(f"httpx-{number}-{at}.mp4").open("wb") as file:
                    async for piece in result.aiter_raw():
                        file.write(piece)


async def main(base_url: str, jobs: int, at_once: int) -> None:
    gate = asyncio.Semaphore(at_once)
    headers = {"Authorization": f"Bearer {os.environ['RIVYA_API_KEY']}"}
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, timeout=60, limits=limits, trust_env=False
    ) as client:
        await asyncio.gather(*(job(client, gate, number) for number in range(jobs)))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
