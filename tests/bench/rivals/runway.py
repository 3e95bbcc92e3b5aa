"""The runwayml SDK as its documentation shows it, through the shim.

python runway.py BASE_URL JOBS AT_ONCE
"""

from __future__ import annotations

import asyncio
import sys

from runwayml import AsyncRunwayML  # type: ignore[import-not-found]  # in its own environment


async def main(base_url: str, jobs: int, at_once: int) -> None:
    gate = asyncio.Semaphore(at_once)
    async with AsyncRunwayML(api_key="key_" + "0" * 128, base_url=base_url, max_retries=30) as client:

        async def job(number: int) -> None:
            async with gate:
                created = await client.text_to_video.create(
                    model="veo3.1", prompt_text=f"A bottle number {number}", ratio="1280:720", duration=4
                )
                await created.wait_for_task_output()

        done = await asyncio.gather(*(job(number) for number in range(jobs)), return_exceptions=True)
    failed = [item for item in done if item is not None]
    print(len(failed), "failed", *failed[:3])


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
