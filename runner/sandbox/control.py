"""`/_sandbox/`: look into the ledger, set faults, put the clock forward."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runner.sandbox import life
from runner.sandbox.answers import error, json_answer
from runner.sandbox.faults import BadRule
from runner.sandbox.life import Task
from runner.sandbox.misbehave import Misbehaviour
from runner.sandbox.service import ImitatedService

MAX_ADVANCE_S = 366 * 86_400.0

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(service: ImitatedService, misbehaviour: Misbehaviour) -> list[Route]:
    """Return the control endpoints."""

    async def get_ledger(request: Request) -> Response:
        return json_answer(ledger(service, with_tasks=request.query_params.get("tasks") != "0"))

    async def get_requests(request: Request) -> Response:
        query = request.query_params
        return json_answer(
            service.storage.requests(kind=query.get("kind"), limit=int(query.get("limit", "1000")))
        )

    async def get_files(request: Request) -> Response:
        return json_answer(service.storage.files())

    async def get_faults(request: Request) -> Response:
        found = {"chaos": service.faults.chaos, "rules": [rule.describe() for rule in service.faults.rules]}
        return json_answer(found)

    async def post_faults(request: Request) -> Response:
        rules = await request.json()
        service.faults.add(rules if isinstance(rules, list) else [rules])
        return await get_faults(request)

    async def delete_faults(request: Request) -> Response:
        service.faults.clear()
        return await get_faults(request)

    async def advance(request: Request) -> Response:
        seconds = float((await request.json())["seconds"])
        if not 0 <= seconds <= MAX_ADVANCE_S:
            raise ValueError("seconds must be between 0 and a year")
        service.advance(seconds)
        return json_answer({"now": life.timestamp(service.now())})

    async def topup(request: Request) -> Response:
        body = await request.json()
        service.topup(body.get("account"), float(body["credits"]))
        return json_answer({"accounts": service.storage.accounts()})

    async def reset(request: Request) -> Response:
        service.reset()
        return json_answer({"reset": True})

    async def stop(request: Request) -> Response:
        misbehaviour.stopping.set()
        return json_answer({"stopping": True})

    return [
        Route("/_sandbox/ledger", _guarded(get_ledger), methods=["GET"]),
        Route("/_sandbox/requests", _guarded(get_requests), methods=["GET"]),
        Route("/_sandbox/files", _guarded(get_files), methods=["GET"]),
        Route("/_sandbox/faults", _guarded(get_faults), methods=["GET"]),
        Route("/_sandbox/faults", _guarded(post_faults), methods=["POST"]),
        Route("/_sandbox/faults", _guarded(delete_faults), methods=["DELETE"]),
        Route("/_sandbox/advance", _guarded(advance), methods=["POST"]),
        Route("/_sandbox/topup", _guarded(topup), methods=["POST"]),
        Route("/_sandbox/reset", _guarded(reset), methods=["POST"]),
        Route("/_sandbox/stop", _guarded(stop), methods=["POST"]),
    ]


def ledger(service: ImitatedService, *, with_tasks: bool = True) -> dict[str, Any]:
    """Return what was really charged, to whom, and for what; amounts in credits."""
    service.settle()
    now, tasks = service.now(), service.storage.tasks()
    accounts = service.storage.accounts()
    totals = {
        name: life.whole(sum(account[name] for account in accounts))
        for name in ("balance", "granted", "charged", "refunded")
    }
    counts = service.storage.request_counts()
    polls = sum(counts.get("poll", {}).values())
    return {
        **totals,
        "accounts": accounts,
        "paid_twice": paid_twice(tasks),
        "same_content": {
            content: n for content, n in Counter(t.content for t in _charged(tasks)).items() if n > 1
        },
        "statuses": Counter(life.status_at(task, now) for task in tasks),
        "running": service.running,
        "max_in_flight_seen": most_at_once(tasks),
        "requests": counts,
        "polls": {"total": polls, "per_task": round(polls / len(tasks), 3) if tasks else 0},
        "results_with_authorization": service.storage.authorized_result_requests(),
        "files": len(service.storage.files()),
        "now": life.timestamp(now),
        "tasks": [_line(task, now) for task in tasks] if with_tasks else [],
    }


def paid_twice(tasks: Iterable[Task]) -> list[str]:
    """Return the client request ids (or keys) that more than one charged task belongs to. Pure."""
    charged: dict[tuple[str, str], int] = defaultdict(int)
    for task in _charged(tasks):
        name = task.client_request_id or task.idempotency_key
        if name:
            charged[task.account, name] += 1
    return sorted(name for (_, name), number in charged.items() if number > 1)


def most_at_once(tasks: Iterable[Task]) -> int:
    """Return the largest number of tasks that ran at one time. Pure."""
    steps = sorted((at, step) for task in tasks for at, step in ((task.created_at, 1), (task.ends_at, -1)))
    running = most = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def _charged(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if task.reserved > 0]


def _line(task: Task, now: float) -> dict[str, Any]:
    return {
        "id": task.id,
        "account": task.account,
        "model": task.model,
        "prompt": task.prompt,
        "params": task.params,
        "key": task.idempotency_key,
        "client_request_id": task.client_request_id,
        "content": task.content,
        "reserved": life.whole(task.reserved),
        "final": life.whole(task.final) if task.settled else None,
        "status": life.status_at(task, now),
        "error_code": task.error_code,
        "created_at": life.timestamp(task.created_at),
        "ends_at": life.timestamp(task.ends_at),
        "submits_seen": task.submits_seen,
    }


def _guarded(endpoint: Endpoint) -> Endpoint:
    """Refuse a request that a web page elsewhere could have made: rules can kill processes."""

    async def guarded(request: Request) -> Response:
        origin = request.headers.get("origin")
        names = [request.url.hostname, *([urlsplit(origin).hostname] if origin else [])]
        if not all(_is_loopback(name) for name in names):
            return error("api_scope_denied", "The control endpoints only answer this machine.")
        try:
            return await endpoint(request)
        except (BadRule, ValueError, KeyError, TypeError, AttributeError) as exc:
            return error("validation_failed", f"{type(exc).__name__}: {exc}")

    return guarded


def _is_loopback(name: str | None) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False
