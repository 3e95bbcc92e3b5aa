"""The replicate SDK as its documentation shows it, through the shim.

python replicate_sdk.py BASE_URL JOBS AT_ONCE
"""

from __future__ import annotations

import asyncio
import sys

import replicate  # type: ignore[import-not-found]  # in its own environment


async def main(base_url: str, jobs: int, at_once: int) -> None:
    gate = asyncio.Semaphore(at_once)
    client = replicate.Client(api_token="token", base_url=base_url)

    async def job(number: int) -> None:
        async with gate:
            prediction = await client.predictions.async_create(
                version="0" * 64, input={"prompt": f"A bottle number {number}"}
            )
            await prediction.async_wait()

    done = await asyncio.gather(*(job(number) for number in range(jobs)), return_exceptions=True)
    failed = [item for item in done if item is not None]
    print(len(failed), "failed", *failed[:3])


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
