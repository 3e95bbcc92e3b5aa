"""A task as the service tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TASK: Mapping[str, Any] = {
    "id": "task_1",
    "status": "queued",
    "model": "z-image",
    "reserved_credits": 1,
    "final_credits": 0,
    "created_at": "2026-05-11T00:00:00.000Z",
    "updated_at": "2026-05-11T00:00:00.000Z",
    "result": None,
    "error": None,
}
