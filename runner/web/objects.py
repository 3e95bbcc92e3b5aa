"""Results in a bucket, as a browser asks for them: whole, or a range of them. They come through this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from runner.errors import RunnerError
from runner.model import ObjectPath
from runner.results.bucket import bucket_of

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def object_response(
    request: Request, place: ObjectPath, *, media_type: str, shown: bool, headers: Mapping[str, str]
) -> Response:
    """Return an object as the answer to a request.

    Args:
        request: What is asked for.
        place: The object.
        media_type: What it is said to be.
        shown: In the browser; else it is downloaded.
        headers: What else is said of it.
    """
    try:
        bucket = bucket_of(place)
        size = await anyio.to_thread.run_sync(bucket.size, place)
    except RunnerError as exc:
        return PlainTextResponse(f"{exc}\n", status_code=503)
    if size is None:
        return PlainTextResponse("file not found\n", status_code=404)
    found = range_of(request.headers.get("range"), size)
    if found is None:
        return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
    first, after = found
    kind = "inline" if shown else "attachment"
    told = {
        **headers,
        "accept-ranges": "bytes",
        "content-length": str(after - first),
        "content-disposition": f"{kind}; filename*=utf-8''{quote(place.name, safe='')}",
    }
    part = (first, after) != (0, size)
    if part:
        told["content-range"] = f"bytes {first}-{after - 1}/{size}"
    status = 206 if part else 200
    if request.method == "HEAD" or first == after:
        return Response(status_code=status, media_type=media_type, headers=told)
    return StreamingResponse(
        bucket.stream(place, first, after), status_code=status, media_type=media_type, headers=told
    )


def range_of(asked: str | None, size: int) -> tuple[int, int] | None:
    """Return from which byte to before which an object is asked for; None where it has no such bytes.

    >>> range_of("bytes=2-", 10), range_of("bytes=-3", 10), range_of("bytes=10-", 10), range_of(None, 10)
    ((2, 10), (7, 10), None, (0, 10))
    """
    found = _RANGE.fullmatch((asked or "").strip())
    if found is None or found[0] == "bytes=-":  # several ranges, or words: all of it is an answer too
        return 0, size
    if not found[1]:
        return (max(size - int(found[2]), 0), size) if int(found[2]) else None
    first, after = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    return (first, after) if first < after else None
