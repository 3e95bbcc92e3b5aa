"""Our traffic without our engine: for what the engine itself costs, and what each transport costs.

    python -m tests.bench.traffic KIND BASE_URL JOBS POLLS RATE

Each job is one submit, so many polls (a broken number: some jobs have one more) and one download, over at
most ten connections, `RATE` requests a second (0: as fast as it goes). Kinds: `ours` (the transport of
`runner.service.transports`), `httpcore` (httpx's own). Prints `{"requests": 300, "cpu_s": 0.4, "wall_s": 1.2}`: without
start-up, imports and the first job.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

import httpx

from runner.engine.connections import PLACES
from runner.service.transports import make_transport, open_result_transport
from tests.bench.process import KEY

PARAMS = {"mode": "normal", "duration": 6, "resolution": "480p", "aspect_ratio": "16:9"}


class Pace:
    """A grid of send times."""

    def __init__(self, rate: float) -> None:
        self._step_s = 1 / rate if rate else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        if not self._step_s:
            return
        now = time.monotonic()
        self._next = max(self._next + self._step_s, now - 0.05)
        await asyncio.sleep(max(self._next - now, 0))


async def drive(kind: str, base_url: str, jobs: int, polls: float, rate: float) -> dict[str, float]:
    """Do the work of so many jobs, and of one more before the clocks start."""
    transport = (
        make_transport(base_url, PLACES)
        if kind == "ours"
        else httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=PLACES))
    )
    pace, requests = Pace(rate), 0
    numbers = itertools.count(-1)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            httpx.AsyncClient(
                base_url=base_url,
                transport=transport,
                timeout=60,
                headers={"Authorization": f"Bearer {KEY}"},
                trust_env=False,
            ) as api,
            open_result_transport(base_url, PLACES) as way,
            httpx.AsyncClient(transport=way.http, timeout=60, trust_env=False) as results,
        ):

            async def ask(method: str, path: str, **content: object) -> dict[str, object]:
                nonlocal requests
                await pace.wait()
                requests += 1
                answer = await api.request(method, path, **content)  # type: ignore[arg-type]
                answer.raise_for_status()
                found: dict[str, object] = answer.json()
                return found

            async def worker(until: int) -> None:
                nonlocal requests
                while (number := next(numbers)) < until:
                    body = {"model": "grok-imagine-video", "prompt": f"bare {number}", "params": PARAMS}
                    task = await ask("POST", "/api/v1/generations", json=body)
                    for _ in range(int(polls * (number + 1)) - int(polls * number)):
                        task = await ask("GET", f"/api/v1/generations/{task['id']}")
                    while task["status"] not in ("succeeded", "failed"):
                        task = await ask("GET", f"/api/v1/generations/{task['id']}")
                    result = task["result"]
                    assert isinstance(result, dict)
                    requests += 1
                    async with results.stream("GET", result["urls"][0]) as answer:
                        data = [piece async for piece in answer.aiter_raw()]
                    Path(folder, f"{number}.mp4").write_bytes(b"".join(data))

            await worker(0)
            numbers = itertools.count()
            requests, before, began = 0, time.process_time(), time.monotonic()
            await asyncio.gather(*(worker(jobs) for _ in range(PLACES)))
            return {
                "requests": requests,
                "cpu_s": time.process_time() - before,
                "wall_s": time.monotonic() - began,
            }


def main() -> None:
    """Measure one kind."""
    kind, base_url, jobs, polls, rate = sys.argv[1:]
    print(json.dumps(asyncio.run(drive(kind, base_url, int(jobs), float(polls), float(rate)))))


if __name__ == "__main__":
    main()
