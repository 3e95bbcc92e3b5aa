"""The service of the money machine: its own clock, its own book, and prices nobody was told."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field

from runner.host.clock import rfc3339
from runner.model import Json
from runner.service.reply import Reply
from tests.world import BEGINNING, MODEL, refused

# What the service really charges, by `duration`; the catalogue says 10 for all. One day all cost the most.
PRICES = {4: 10.0, 6: 40.0, 8: 25.0, 10: 11.0}
DEAREST = max(PRICES.values())
# When prices differ from job to job: twentyfold, whatever the duration.
SCATTERED = (8.0, 2.0, 40.0, 11.0, 3.0, 25.0)
# How a service names what it reserves: at once; when the task begins; as one credit for all; growing; never.
MANNERS = ("named", "late", "one", "grows", "nothing")


@dataclass(slots=True, kw_only=True)
class Task:
    """One task of the service, and what was charged for it."""

    id: str
    key: str
    created_s: float
    price: float
    manner: str
    status: str = "queued"
    final: float | None = 0.0
    code: str | None = None
    charged: bool = True

    @property
    def reserved(self) -> float | None:
        """What it says is reserved for it now."""
        begun = self.status != "queued"
        match self.manner:
            case "late":
                return self.price if begun else 0
            case "one":
                return 1
            case "grows":
                return self.price / 2 if begun else 1
            case "nothing":
                return None
            case _:
                return self.price

    @property
    def cost_is_told(self) -> bool:
        """Whether anybody can know what it costs once it has ended."""
        if self.final or (self.status == "failed" and self.final is not None):
            return True
        return self.manner in ("named", "late")

    def view(self) -> dict[str, Json]:
        """Return the generation object."""
        ended = self.status in ("succeeded", "failed")
        return {
            "id": self.id,
            "status": self.status,
            "model": MODEL,
            "reserved_credits": self.reserved if self.charged else 0,
            "final_credits": self.final if ended else 0,
            "created_at": rfc3339(self.created_s),
            "updated_at": rfc3339(self.created_s + 1),
            "result": {"urls": [f"https://r/{self.id}"]} if self.status == "succeeded" else None,
            "error": {"code": self.code, "message": "because"} if self.code else None,
        }


@dataclass(slots=True)
class Service:
    """A service with its own clock and book; honours a key for `retention_s`."""

    retention_s: float
    now_s: float = BEGINNING
    wallet: float = 1e9
    empty_as_task: bool = False
    manner: str = "named"
    dear: bool = False
    scattered: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    keys: dict[str, tuple[bytes, str, float]] = field(default_factory=dict)
    bodies: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))

    def submit(self, body: bytes, key: str) -> Reply:
        """Take a submit that has arrived."""
        known = self.keys.get(key)
        if known is not None and self.now_s - known[2] <= self.retention_s:
            if known[0] != body:
                return error(409, "idempotency_conflict")
            return Reply(status=200, data=self.tasks[known[1]].view())
        number = len(self.tasks)
        price = DEAREST if self.dear else PRICES[json.loads(body)["params"]["duration"]]
        price = SCATTERED[number % len(SCATTERED)] if self.scattered else price
        task = Task(id=f"t{number}", key=key, created_s=self.now_s, price=price, manner=self.manner)
        if price > self.wallet:
            if not self.empty_as_task:
                return error(402, "insufficient_credits")
            task.status, task.code, task.charged = "failed", "insufficient_credits", False
        else:
            self.wallet -= price
        self.tasks[task.id] = task
        self.keys[key] = (body, task.id, self.now_s)
        return Reply(status=201, data=task.view())

    def charged(self, key: str) -> list[Task]:
        """Return what was charged under a key."""
        return [task for task in self.tasks.values() if task.key == key and task.charged]


def error(status: int, code: str, message: str = "no") -> Reply:
    """Return an error in the service's own words."""
    return Reply(status=status, data=refused(status, code, message).json())


# Answers that say the truth when this request had no effect.
TURNED_AWAY = (
    Reply(sent=False),
    error(429, "rate_limited"),
    Reply(status=429),
    error(401, "api_key_revoked"),
    error(403, "api_scope_denied"),
    error(400, "validation_failed"),
    error(422, "content_policy_violation"),
    error(402, "insufficient_credits"),
    error(400, "validation_failed", "the reference url has expired"),
    Reply(status=413),
)
