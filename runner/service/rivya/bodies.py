"""The exact bytes of a submit, and what stands in them. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner.model import Job, Json, Reference, Upload
from runner.results.media import name_for


def body_of(job: Job, uploads: Sequence[Upload], key: str) -> bytes:
    """Return the body of POST /generations for a job under a key.

    The key goes in as `client_request_id` too. Reference media go into `params.referenceMediaItems`
    with what the service told us at upload.
    """
    params: dict[str, Json] = dict(job.params)
    if job.references:
        params["referenceMediaItems"] = [
            _item(reference, copy) for reference, copy in zip(job.references, uploads, strict=True)
        ]
    body: dict[str, Json] = {"model": job.model}
    if job.prompt is not None:
        body["prompt"] = job.prompt
    body["params"] = params
    body["client_request_id"] = key
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _item(reference: Reference, copy: Upload) -> Json:
    item: dict[str, Json] = {
        "url": copy.url,
        "kind": reference.kind.value,
        "name": name_for(reference.name, reference.mime),
        "mimeType": reference.mime,
    }
    if copy.duration_token:
        item["durationToken"] = copy.duration_token
    if copy.duration_s is not None:
        item["durationSeconds"] = copy.duration_s
    return item


def reference_urls(body: bytes) -> tuple[str, ...]:
    """Return the urls of references inside a body of `body_of`."""
    items = json.loads(body)["params"].get("referenceMediaItems", [])
    return tuple(item["url"] for item in items)


def model_of(body: bytes) -> str:
    """Return the model that a body of `body_of` asks for."""
    return str(json.loads(body)["model"])
