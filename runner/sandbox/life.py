"""The life and the price of a task. Pure: times, seeds and prices are passed in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runner.sandbox.options import Price

# A task is queued for this share of its life, but not longer than that; the rest it is processing.
QUEUED_SHARE = 0.15
QUEUED_MOST_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One accepted generation. What becomes of it is decided when it is accepted; time only reveals it.

    `quirks` holds what a fault asked for: `{"unknown_status": "paused", "no_urls": 2, "final": "null"}`.
    """

    id: str
    account: str
    model: str
    prompt: str | None
    params: Mapping[str, Any]
    client_request_id: str | None
    idempotency_key: str | None
    content: str  # hash of model, prompt and params, references by their file
    reserved: float
    final: float
    created_at: float  # unix seconds on the sandbox's own clock, as is `ends_at`
    ends_at: float
    error_code: str | None = None
    error_message: str | None = None
    quirks: Mapping[str, Any] = field(default_factory=dict)
    settled: bool = False
    submits_seen: int = 1

    @property
    def fails(self) -> bool:
        """Whether it ends `failed`."""
        return self.error_code is not None


def duration_s(low_high: tuple[float, float], *, seed: int, name: str) -> float:
    """Return how long the task called `name` takes: uniform, and the same for the same seed."""
    low, high = low_high
    return low + (high - low) * draw(seed, name)


def draw(seed: int, name: str) -> float:
    """Return a number from [0, 1) that belongs to this seed and name."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56


def price(
    model: str, base: float, params: Mapping[str, Any], prices: Sequence[Price], factor: float
) -> float:
    """Return what the task costs: the most particular price given, else the listed one, times `factor`."""
    fitting = [
        rule
        for rule in prices
        if rule.model == model and all(str(params.get(key)) == value for key, value in rule.params.items())
    ]
    credits = max(fitting, key=lambda rule: len(rule.params)).credits if fitting else base
    return whole(credits * factor)


def whole(credits: float) -> float:
    """Return an int where the amount is one, so that JSON says 10 and not 10.0."""
    rounded = round(credits, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def status_at(task: Task, now: float) -> str:
    """Return the public status at a time."""
    if now >= task.ends_at:
        return "failed" if task.fails else "succeeded"
    if "unknown_status" in task.quirks:
        return str(task.quirks["unknown_status"])
    return "queued" if now < processing_at(task) else "processing"


def processing_at(task: Task) -> float:
    """Return when the task leaves the queue."""
    return task.created_at + min(QUEUED_MOST_S, (task.ends_at - task.created_at) * QUEUED_SHARE)


def updated_at(task: Task, now: float) -> float:
    """Return when the status last changed."""
    status = status_at(task, now)
    if status in ("succeeded", "failed"):
        return task.ends_at
    if status == "queued":
        return task.created_at
    return processing_at(task)


def public_task(task: Task, now: float, urls: Sequence[str]) -> dict[str, Any]:
    """Return the generation object of the API; `urls` are its results if it has succeeded."""
    status = status_at(task, now)
    body: dict[str, Any] = {
        "id": task.id,
        "status": status,
        "model": task.model,
        "reserved_credits": whole(task.quirks.get("told_reserved", task.reserved)),
        "final_credits": 0,
        "created_at": timestamp(task.created_at),
        "updated_at": timestamp(updated_at(task, now)),
        "result": None,
        "error": None,
    }
    if status == "failed" and task.error_message is not None:
        body["error"] = {"code": task.error_code, "message": task.error_message}
    if status == "succeeded":
        body["result"] = {"primary_url": urls[0], "urls": list(urls)} if urls else None
    if status in ("succeeded", "failed"):
        body["final_credits"] = whole(task.final)
        match task.quirks.get("final"):
            case "null":
                body["final_credits"] = None
            case "absent":
                del body["final_credits"]
            case "zero":
                body["final_credits"] = 0
    return body


def odd_end(body: Mapping[str, Any], odd: Mapping[str, Any]) -> dict[str, Any]:
    """Return a generation object that has ended as another one that says so in its own way."""
    changed = {**body, "status": odd["status"], "error": odd["error"]}
    if not odd["status"]:
        del changed["status"]
    return changed if odd["result"] else {**changed, "result": None}


def content_hash(
    model: str, prompt: str | None, params: Mapping[str, Any], reference_sha256: Sequence[str]
) -> str:
    """Return a hash of what was asked for, blind to keys and to the urls of uploads."""
    asked = {key: value for key, value in params.items() if key != "referenceMediaItems"}
    text = json.dumps([model, prompt, asked, list(reference_sha256)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def timestamp(at: float) -> str:
    """Return a time as the API writes it: `2026-05-11T00:00:00.000Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
