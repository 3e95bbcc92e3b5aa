"""Tasks at the service: what becomes of them, and how they tell of their credits and times."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tests.imitation.ledger import Payment
from tests.imitation.personality import Personality


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of the tasks of one prompt."""

    status: Literal["succeeded", "failed", "running"] = "succeeded"
    code: str = "generation_failed"
    message: str = "the generation failed"
    final: float | None = 0.0
    no_error: bool = False  # `failed` with `error: null`
    times: float = float("inf")  # so many tasks, then they succeed
    says: Callable[[dict[str, Any]], dict[str, Any]] | None = (
        None  # another object at the end than the usual one
    )
    gone: bool = False  # no such task, whoever asks


@dataclass(slots=True, kw_only=True)
class Task:
    """One task at the service."""

    id: str
    number: int
    account: str
    data: Mapping[str, Any]
    price: float
    made: float  # time.monotonic()
    made_wall: datetime
    ends: float
    fate: Fate
    payment: Payment | None
    words: deque[str]
    settled: bool = False

    def status(self, now: float) -> str:
        if now < self.ends or self.fate.status == "running":
            if len(self.words) > 1:
                return self.words.popleft()
            return self.words[0]
        return self.fate.status


def money(be: Personality, task: Task, *, ended: bool, at_start: bool) -> dict[str, Any]:
    """What a task says of its credits, now or in the answer to its submit."""
    shown = task.price if task.payment is not None else 0
    told: dict[str, Any] = {}
    match be.reserved:
        case "number":
            told["reserved_credits"] = int(shown) if shown == int(shown) else shown
        case "float":
            told["reserved_credits"] = float(shown)
        case "zero":
            told["reserved_credits"] = shown if ended else 0
        case "null":
            told["reserved_credits"] = None
        case "late" if not at_start:
            told["reserved_credits"] = shown
        case "one":
            told["reserved_credits"] = min(shown, 1)
        case "twelve":
            told["reserved_credits"] = min(shown, 12)
        case "grows":
            told["reserved_credits"] = min(shown, 1) if at_start else shown if ended else shown / 2
    kept = task.payment.amount if task.payment is not None else task.fate.final
    match be.final:
        case "number" | "float":
            told["final_credits"] = kept if ended else 0
        case "null":
            told["final_credits"] = None
        case "zero":
            told["final_credits"] = 0
    return told


def times(be: Personality, task: Task, now: float) -> dict[str, Any]:
    """When it says that it was made and last changed."""
    if be.times == "absent":
        return {}
    updated = task.made_wall + timedelta(seconds=min(now, task.ends) - task.made)
    return {"created_at": _time(be, task.made_wall), "updated_at": _time(be, updated)}


def _time(be: Personality, moment: datetime) -> str:
    match be.times:
        case "seconds":
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        case "offset":
            return moment.astimezone().isoformat()
        case _:
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problem_of(data: object, files: Mapping[str, tuple[str, float]]) -> tuple[str, str] | None:
    """Return code and message of what is wrong with a submit, None where nothing is; `files` by url, till when."""
    if not isinstance(data, dict) or not isinstance(data.get("model"), str):
        return "validation_failed", "model is required"
    if "files" in data:
        return "validation_failed", "files is not accepted here"
    params = data.get("params", {})
    ratio = params.get("aspect_ratio")
    if ratio is not None and not isinstance(ratio, str):
        return "validation_failed", "params.aspect_ratio must be a string"
    now = time.monotonic()
    for item in params.get("referenceMediaItems", []):
        if "url" not in item or "kind" not in item:
            return "validation_failed", "referenceMediaItems[] wants url and kind"
        if files.get(item["url"], ("", 0.0))[1] <= now:
            return "validation_failed", f"reference url has expired: {item['url']}"
    return None
