"""Everything that happened, seen from the service. Tests read this, not our own opinion of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Post:
    """One POST /generations that arrived. `outcome` is created, replayed, refused, lost or limited."""

    at: float
    key: str | None
    account: str
    body: bytes
    outcome: str = "lost"
    status: int | None = None  # None: no answer left
    task: str | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        return json.loads(self.body)

    @property
    def request_id(self) -> str:
        return self.data.get("client_request_id", "")

    @property
    def prompt(self) -> str:
        return self.data.get("prompt", "")


@dataclass(slots=True, kw_only=True)
class Payment:
    """Credits taken for one task; `amount` is what is still kept of them."""

    task: str
    account: str
    prompt: str
    model: str
    request_id: str
    taken: float
    amount: float
    at: float


@dataclass(slots=True, kw_only=True)
class Transfer:
    """One upload, poll or result GET."""

    at: float
    what: str  # file name, task id, task id
    status: int | None
    headers: tuple[tuple[str, str], ...]
    sha256: str = ""
    model: str = ""
    path: str = ""


@dataclass(slots=True)
class Ledger:
    """The service's own book."""

    posts: list[Post] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    uploads: list[Transfer] = field(default_factory=list)
    polls: list[Transfer] = field(default_factory=list)
    results: list[Transfer] = field(default_factory=list)
    others: list[Transfer] = field(default_factory=list)
    limited: int = 0
    most_running: int = 0

    @property
    def paid(self) -> Counter[str]:
        """How often each prompt was charged for."""
        return Counter(payment.prompt for payment in self.payments)

    @property
    def paid_twice(self) -> dict[str, int]:
        """The prompts that were charged for more than once."""
        return {prompt: count for prompt, count in self.paid.items() if count > 1}

    @property
    def charged(self) -> float:
        """All credits kept."""
        return sum(payment.amount for payment in self.payments)

    @property
    def taken(self) -> float:
        """All credits ever taken, those given back included."""
        return sum(payment.taken for payment in self.payments)

    @property
    def requests(self) -> int:
        """All requests that arrived."""
        return sum(map(len, (self.posts, self.uploads, self.polls, self.results, self.others)))

    def of(self, prompt: str) -> list[Post]:
        """The POSTs of one prompt, in order."""
        return [post for post in self.posts if post.prompt == prompt]

    def bodies_by_key(self) -> dict[str, set[bytes]]:
        """The different bodies seen under each key: one each, or something is wrong."""
        found: dict[str, set[bytes]] = {}
        for post in self.posts:
            found.setdefault(post.key or "", set()).add(post.body)
        return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
