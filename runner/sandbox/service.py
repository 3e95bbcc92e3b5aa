"""The service itself, without HTTP: keys, tasks, money, files, and one clock that can be put forward."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.sandbox import life, results
from runner.sandbox.catalogue import load_catalogue, upload_limit
from runner.sandbox.checking import KINDS, Refused, check_generation, parse_body
from runner.sandbox.fate import shape_task
from runner.sandbox.faults import Faults
from runner.sandbox.life import Task
from runner.sandbox.limiter import Limiter, make_limiter
from runner.sandbox.options import SandboxOptions
from runner.sandbox.storage import KeyRecord, Storage

FILE_PATH = re.compile(r"https?://[^/?#]+/media/files/(file_[0-9a-f]{24})")


class ApiError(Exception):
    """The service answers with this error code."""

    def __init__(
        self, code: str, message: str, *, status: int | None = None, wait_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A submit that was accepted now or before; `answer` is the JSON text."""

    task_id: str
    answer: str
    charged: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadForm:
    """What arrived in an upload, already read to its end."""

    kind: str
    model: str | None
    client_request_id: str | None
    signature: tuple[str, str] | None  # (kind, MIME type) by the first bytes
    size_bytes: int
    sha256: str


class ImitatedService:
    """One running imitation. Calls are synchronous, so nothing interleaves inside them."""

    def __init__(self, options: SandboxOptions, storage: Storage) -> None:
        self.options = options
        self.storage = storage
        self.catalogue = load_catalogue(options.contracts)
        self.faults = self._initial_faults()
        self.base_url = "http://127.0.0.1"
        self._limiters: dict[str, Limiter | None] = {}
        self._empty_polls: dict[str, int] = {}
        self._offset_s = float(storage.find_setting("offset_s") or 0)
        self._secret = storage.find_setting("secret") or secrets.token_hex(16)
        storage.set_setting("secret", self._secret)
        self._open = storage.open_tasks()
        heapq.heapify(self._open)

    # -- time

    def now(self) -> float:
        """Return unix seconds on the sandbox's clock."""
        return time.time() + self.options.clock_ahead_s + self._offset_s

    def advance(self, seconds: float) -> None:
        """Put the clock forward: tasks end, urls and keys expire. Rate limits keep real time."""
        self._offset_s += seconds
        self.storage.set_setting("offset_s", str(self._offset_s))
        self.settle()

    def settle(self) -> None:
        """Close the books of every task that has ended by now."""
        now = self.now()
        ended = []
        while self._open and self._open[0][0] <= now:
            ended.append(heapq.heappop(self._open)[1])
        if ended:
            self.storage.settle(ended)

    @property
    def running(self) -> int:
        """How many tasks have not ended (as of the last `settle`)."""
        return len(self._open)

    # -- who may, and how often

    def account_of(self, authorization: str | None) -> str:
        """Return the account behind a Bearer key, or raise 401."""
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise ApiError("api_key_missing", "Send your key as: Authorization: Bearer rvya_sk_...")
        if self.options.keys:
            if key not in self.options.keys:
                raise ApiError("api_key_invalid", "The API key is not valid.")
            name = self.options.keys[key]
            return name if name != key else _account_name(key)
        if not key.startswith("rvya_sk_") or len(key) <= len("rvya_sk_"):
            raise ApiError("api_key_invalid", "The API key is not valid.")
        return _account_name(key)

    def check_rate(self, account: str) -> None:
        """Count one request of the account, or raise 429."""
        if account not in self._limiters:
            options = self.options
            self._limiters[account] = make_limiter(
                options.rate_kind, rate=options.rate, window_s=options.rate_window_s, burst=options.burst
            )
        limiter = self._limiters[account]
        if limiter is not None and (wait_s := limiter.wait_s(time.monotonic())) > 0:
            raise ApiError("rate_limited", "Too many requests.", wait_s=wait_s)

    # -- generations

    def submit(self, account: str, key: str | None, raw: bytes, *, look_up: bool = True) -> Accepted:
        """Accept a generation, or (`look_up`) answer a repeated key; raise `ApiError` otherwise."""
        self.settle()
        now = self.now()
        body_hash = hashlib.sha256(raw).hexdigest()
        if key is not None and look_up:
            record = self.storage.find_key(account, key, not_before=now - self.options.key_retention_s)
            if record is not None:
                return self._replay(record, body_hash)
        try:
            body = parse_body(raw)
            contract = check_generation(body, self.catalogue, lambda url: self._find_reference(account, url))
        except Refused as exc:
            raise ApiError("validation_failed", str(exc)) from exc
        if self.options.max_in_flight is not None and self.running >= self.options.max_in_flight:
            raise ApiError("rate_limited", "Too many generations are running.", wait_s=1)
        task = self._shape(self._plan(account, key, body, now, contract["base_credits"]))
        if task.reserved > self.storage.balance(account, initial=self.options.credits):
            if self.options.insufficient != "task":
                status = int(self.options.insufficient)
                raise ApiError(
                    "insufficient_credits", "Not enough credits for this generation.", status=status
                )
            task = replace(
                task, reserved=0, final=0, ends_at=now, quirks={}, error_code="insufficient_credits",
                error_message="Not enough credits for this generation.",
            )  # fmt: skip
        answer = json.dumps(self._public(task, now))
        record = None
        if key is not None:
            record = KeyRecord(key=key, body_hash=body_hash, task_id=task.id, answer=answer, created_at=now)
        self.storage.accept(task, record)
        heapq.heappush(self._open, (task.ends_at, task.id))
        return Accepted(task_id=task.id, answer=answer, charged=task.reserved)

    def poll(self, account: str, task_id: str) -> dict[str, Any]:
        """Return a generation of this account, or raise 404."""
        self.settle()
        task = self.storage.find_task(task_id)
        now = self.now()
        if task is None or task.account != account or now >= task.quirks.get("gone_at", math.inf):
            raise ApiError("not_found", "No such generation.")
        body = self._public(task, now)
        if body["status"] == "succeeded" and "no_urls" in task.quirks:
            self._hide_urls(task, body)
        if now >= task.ends_at and "odd_end" in task.quirks:
            body = life.odd_end(body, task.quirks["odd_end"])
        return body

    def _replay(self, record: KeyRecord, body_hash: str) -> Accepted:
        if record.body_hash != body_hash:
            raise ApiError("idempotency_conflict", "This Idempotency-Key was used with another body.")
        self.storage.count_resend(record.task_id)
        answer = record.answer
        task = self.storage.find_task(record.task_id)
        if self.options.replay == "current" and task is not None:
            answer = json.dumps(self._public(task, self.now()))
        return Accepted(task_id=record.task_id, answer=answer, charged=0)

    def _plan(self, account: str, key: str | None, body: Mapping[str, Any], now: float, base: float) -> Task:
        options = self.options
        model, params = body["model"], body.get("params", {})
        reserved = life.price(model, base, params, options.prices, options.price_factor)
        request_id = body.get("client_request_id")
        span = options.model_durations_s.get(model, options.durations_s)
        files = [self._find_reference(account, item["url"]) for item in params.get("referenceMediaItems", ())]
        content = life.content_hash(
            model, body.get("prompt"), params, [str(f and f["sha256"]) for f in files]
        )
        return Task(
            id=f"task_{secrets.token_hex(12)}",
            account=account,
            model=model,
            prompt=body.get("prompt"),
            params=params,
            client_request_id=request_id,
            idempotency_key=key,
            content=content,
            reserved=reserved,
            final=reserved,
            created_at=now,
            ends_at=now + life.duration_s(span, seed=options.seed, name=key or request_id or content),
        )

    def _shape(self, task: Task) -> Task:
        """Let the faults decide what becomes of the task."""
        facts = {
            "model": task.model, "prompt": task.prompt, "key": task.idempotency_key,
            "client_request_id": task.client_request_id, **{f"params.{k}": v for k, v in task.params.items()},
        }  # fmt: skip
        for rule in self.faults.pick_for_task(facts):
            task = shape_task(task, rule, failed_charge=self.options.failed_charge)
        return task

    def _public(self, task: Task, now: float) -> dict[str, Any]:
        urls = self.urls(task) if life.status_at(task, now) == "succeeded" else ()
        return life.public_task(task, now, urls)

    def _hide_urls(self, task: Task, body: dict[str, Any]) -> None:
        """Answer `succeeded` without its urls, as often as the fault says."""
        most = task.quirks["no_urls"]
        shown = self._empty_polls.get(task.id, 0)
        if most is None or shown < most:
            self._empty_polls[task.id] = shown + 1
            forms: dict[str, Any] = {"null": None, "empty": {}, "list": {"primary_url": None, "urls": []}}
            body["result"] = forms[task.quirks["no_urls_form"]]

    def urls(self, task: Task) -> list[str]:
        """Return fresh urls of a task's results."""
        ttl = self.options.result_ttl_s
        expires_at = None if ttl is None else self.now() + ttl
        contract = self.catalogue[task.model]
        host = task.quirks.get("results_at")
        base_url = f"https://{host}" if host else self.base_url
        signed = results.result_urls(
            task, contract, base_url=base_url, secret=self._secret, expires_at=expires_at
        )
        return list(signed)

    def find_result(self, task_id: str, number: int, extension: str, expires: str, signature: str) -> bytes:
        """Return the bytes behind a result url; `PermissionError` if it is not signed or has expired."""
        expires_at = float(expires) if expires.isdecimal() else None
        if not results.signature_holds(self._secret, task_id, number, expires_at, signature):
            raise PermissionError("The request signature does not match.")
        if expires_at is not None and self.now() > expires_at:
            raise PermissionError("Request has expired.")
        task = self.storage.find_task(task_id)
        if task is None:
            raise LookupError(task_id)
        return results.render(task, number, extension, self.catalogue[task.model])

    # -- credits and files

    def credits(self, account: str) -> float:
        """Return what the account has."""
        self.settle()
        return life.whole(self.storage.balance(account, initial=self.options.credits))

    def upload(self, account: str, upload: UploadForm) -> dict[str, Any]:
        """Record an upload after checking it as its model wants, and return the file object."""
        self._check_upload(upload)
        now = self.now()
        ttl = self.options.file_ttl_s
        assert upload.signature is not None
        file = {
            "id": f"file_{secrets.token_hex(12)}",
            "account": account,
            "kind": upload.kind,
            "mime_type": upload.signature[1],
            "size_bytes": upload.size_bytes,
            "sha256": upload.sha256,
            "duration_token": None if upload.kind == "image" else f"dur_{secrets.token_hex(12)}",
            "client_request_id": upload.client_request_id,
            "model": upload.model,
            "created_at": now,
            "expires_at": None if ttl is None else now + ttl,
        }
        self.storage.add_file(file)
        return self._public_file(file)

    def get_file(self, account: str, file_id: str) -> dict[str, Any]:
        """Return a file of this account, or raise 404."""
        file = self.storage.find_file(file_id)
        if file is None or file["account"] != account:
            raise ApiError("not_found", "No such file.")
        return self._public_file(file)

    def _check_upload(self, upload: UploadForm) -> None:
        if upload.kind not in KINDS:
            raise ApiError("validation_failed", "kind must be image, video or audio.")
        if upload.model is not None and upload.model not in self.catalogue:
            raise ApiError("validation_failed", f"Unknown model: {upload.model[:100]}.")
        if len(upload.client_request_id or "") > 128:
            raise ApiError("validation_failed", "client_request_id has more than 128 characters.")
        limit = upload_limit(self.catalogue[upload.model] if upload.model else None, upload.kind)
        if limit is None:
            raise ApiError("validation_failed", f"{upload.model} takes no {upload.kind} files.")
        if upload.size_bytes == 0:
            raise ApiError("validation_failed", "The file is empty.")
        if upload.signature is None or upload.signature[0] != upload.kind:
            raise ApiError("validation_failed", f"The content of the file is not {upload.kind}.")
        largest, mimes = limit
        if upload.signature[1] not in mimes:
            raise ApiError(
                "validation_failed", f"{upload.signature[1]} is not accepted; send {', '.join(mimes)}."
            )
        if upload.size_bytes > largest:
            raise ApiError(
                "validation_failed", f"The file has {upload.size_bytes} bytes; at most {largest} are taken."
            )

    def _public_file(self, file: Mapping[str, Any]) -> dict[str, Any]:
        body = {name: file[name] for name in ("id", "kind", "mime_type", "size_bytes")}
        body["url"] = f"{self.base_url}/media/files/{file['id']}"
        body["created_at"] = life.timestamp(file["created_at"])
        if file["duration_token"]:
            body["duration_token"] = file["duration_token"]
        if file["expires_at"] is not None:
            body["expires_at"] = life.timestamp(file["expires_at"])
        return body

    def _find_reference(self, account: str, url: str) -> dict[str, Any] | None:
        match = FILE_PATH.fullmatch(url)
        file = self.storage.find_file(match[1]) if match else None
        if file is None or file["account"] != account:
            return None
        return None if file["expires_at"] is not None and self.now() > file["expires_at"] else file

    # -- control

    def topup(self, account: str | None, credits: float) -> None:
        """Add credits to one account, or to all that exist."""
        names = [account] if account else [entry["account"] for entry in self.storage.accounts()]
        for name in names:
            self.storage.balance(name, initial=self.options.credits)
            self.storage.grant(name, credits)

    def reset(self) -> None:
        """Begin anew: no tasks, no charges, the faults of the start, the real time."""
        self.storage.reset()
        self._open.clear()
        self._empty_polls.clear()
        self._limiters.clear()
        self.faults = self._initial_faults()
        self._offset_s = 0
        self.storage.set_setting("offset_s", "0")

    def _initial_faults(self) -> Faults:
        return Faults(self.options.faults, chaos=self.options.chaos, seed=self.options.seed)


def _account_name(key: str) -> str:
    """Name an account without keeping its key."""
    return "acct_" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:12]
