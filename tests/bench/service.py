"""The bundled sandbox in a process of its own, and what its ledger tells of whoever used it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.bench.process import ROOT, environment

# urllib asks the environment for proxies; loopback needs none.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the service saw. Times in seconds, from the first submit on."""

    tasks: int
    found: int
    submits: int
    rejected: int
    polls: int
    makespan_s: float
    durations_s: list[float]
    lags_s: list[float]
    paid_twice: int

    @property
    def polls_a_task(self) -> float:
        return self.polls / max(self.tasks, 1)

    @property
    def lag_s(self) -> float | None:
        return statistics.median(self.lags_s) if self.lags_s else None

    @property
    def lag_p95_s(self) -> float | None:
        return sorted(self.lags_s)[int(0.95 * (len(self.lags_s) - 1))] if self.lags_s else None


class Service:
    """A sandbox that listens at `base_url`."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask the control endpoint."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base_url}/_sandbox/{path}", data=data)
        with _OPENER.open(request, timeout=60) as answer:
            return json.load(answer)

    def counts(self) -> Counter[str]:
        """Return how many requests of each kind came."""
        ledger = self.ask("ledger?tasks=0")
        return Counter({kind: sum(by_status.values()) for kind, by_status in ledger["requests"].items()})

    def requests(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return all requests, oldest first."""
        return list(self.ask("requests?limit=10000000" + (f"&kind={kind}" if kind else "")))

    def seen(self) -> Seen:
        """Return what it has seen so far."""
        ledger = self.ask("ledger")
        requests = [item for item in self.requests() if item["kind"] in ("submit", "poll")]
        began = min((item["at"] for item in requests if item["kind"] == "submit"), default=0.0)
        ends = {task["id"]: _epoch(task["ends_at"]) for task in ledger["tasks"]}
        found: dict[str, float] = {}
        for item in requests:
            task = item["task_id"]
            # The times of tasks are rounded to milliseconds, those of requests are not.
            if item["kind"] == "poll" and item["status"] == 200 and item["at"] >= ends[task] - 0.001:
                found.setdefault(task, item["at"])
        return Seen(
            tasks=len(ends),
            found=len(found),
            submits=sum(item["kind"] == "submit" for item in requests),
            rejected=sum(item["status"] == 429 for item in requests),
            polls=sum(item["kind"] == "poll" and item["status"] == 200 for item in requests),
            makespan_s=max(found.values(), default=began) - began,
            durations_s=[
                _epoch(task["ends_at"]) - _epoch(task["created_at"])
                for task in sorted(ledger["tasks"], key=lambda task: str(task["created_at"]))
            ],
            lags_s=[max(at - ends[task], 0.0) for task, at in found.items()],
            paid_twice=len(ledger["paid_twice"]) + sum(n - 1 for n in ledger["same_content"].values()),
        )


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def sandbox(*flags: str | float) -> Iterator[Service]:
    """Start a sandbox; it ends with the block, and with this process however that ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runner.sandbox", "--die-with-stdin", "--credits", "1e9", *map(str, flags)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sandbox ended with {process.wait(10)} before it listened")
        yield Service(json.loads(line)["base_url"])
    finally:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
