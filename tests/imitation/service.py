"""The imitation itself: the API on one port, the result host on another, both in a thread of the test."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import json
import secrets
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from tests.imitation.faults import Do, On, Rule, error_answer, json_answer
from tests.imitation.ledger import Ledger, Payment, Post, Transfer, sha256
from tests.imitation.personality import USUAL, Personality
from tests.imitation.tasks import Fate, Task, money, problem_of, times
from tests.imitation.wire import Answer, Dropped, Request, Server
from tests.processes import Handle
from tests.warm import WarmProcess

if TYPE_CHECKING:
    from tests.support import Process

KEY = "rvya_sk_test_imitation_0123456789"
OTHER_KEY = "rvya_sk_test_imitation_9876543210"  # of the same account
STRANGER_KEY = "rvya_sk_test_stranger_0123456789"  # of another account
CLIP = (Path(__file__).parents[1] / "fixtures" / "media" / "clip.mp4").read_bytes()
STILL = (Path(__file__).parents[1] / "fixtures" / "media" / "still.png").read_bytes()
STILLS_OF = frozenset({"z-image"})  # models that make pictures; all others make films


@dataclass(slots=True)
class Account:
    """Who pays."""

    balance: float = 1_000_000.0


class Imitation:
    """A service of one personality. Levers may be pulled at any time from the test's thread."""

    def __init__(self, personality: Personality = USUAL) -> None:
        self.be = personality
        self.ledger = Ledger()
        self.rules: list[Rule] = []
        self.accounts = {KEY: "ours", OTHER_KEY: "ours", STRANGER_KEY: "theirs"}
        self.wallets = {"ours": Account(), "theirs": Account()}
        self.refused_keys: dict[str, Answer] = {}
        self.fates: dict[str, Fate] = {}
        self.tasks: dict[str, Task] = {}
        self.keys: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.files: dict[str, tuple[str, float]] = {}  # url -> (sha256, until)
        self.victim: Handle | None = None
        self._victim_is_born = threading.Event()
        self._victim_is_born.set()
        self.kills = 0
        self.ahead_s = 0.0  # of the true time
        self.observer: Callable[[On, Request], None] | None = None
        self._tokens: dict[str, tuple[str, int, float]] = {}
        self._made: dict[str, int] = {}
        self._window: deque[float] = deque()
        self._api = Server(self._serve_api, personality.certificate)
        self._host = Server(self._serve_result, personality.certificate)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="imitation", daemon=True)

    # --- levers ----------------------------------------------------------------------------------

    key = KEY

    @property
    def now(self) -> datetime:
        """What the service's clock says; `ahead_s` sets it."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    @property
    def base_url(self) -> str:
        return self._api.url

    @property
    def api(self) -> Server:
        """The API's port, with its counts of connections."""
        return self._api

    @property
    def host(self) -> Server:
        """The result host's port."""
        return self._host

    def rule(self, on: str, do: str, **more: Any) -> Rule:
        """Add a fault: `service.rule("submit", "drop_after", times=2)`."""
        rule = Rule(on=On(on), do=Do(do), **more)
        self.rules.append(rule)
        return rule

    def become(self, **changes: Any) -> None:
        """Change the personality from now on."""
        self.be = replace(self.be, **changes)

    def result_of(self, prompt: str, *numbers: int) -> Callable[[Request], bool]:
        """Match the GETs of the results of one prompt: of these numbers, or all."""

        def match(request: Request) -> bool:
            number = int(request.segments[-1].rpartition("-")[2])
            return self.tasks[request.segments[1]].data.get("prompt") == prompt and (
                not numbers or number in numbers
            )

        return match

    def poll_of(self, prompt: str) -> Callable[[Request], bool]:
        """Match the polls of one prompt."""
        return lambda request: self.tasks[request.segments[3]].data.get("prompt") == prompt

    def doom(self, start: Callable[[], Process]) -> Process:
        """Start the command that kills are meant for; one that comes before its pid is known waits for that.

        What an earlier one had sent before it died is read to its end first: it must not kill this one.
        """
        until = time.monotonic() + 10.0
        while self._api.open or self._host.open:
            assert time.monotonic() < until, "what a dead command had sent is still being answered"
            time.sleep(0.001)  # the kernel tells nobody when the sockets of the dead are read to their end
        self._victim_is_born.clear()
        try:
            process = start()
            self.victim = process.handle if isinstance(process, WarmProcess) else Handle.of(process)
        finally:
            self._victim_is_born.set()
        return process

    def expire_uploads(self) -> None:
        """Let all uploaded references be gone."""
        self.files.clear()

    def forget_keys(self) -> None:
        """Let all idempotency keys be new again."""
        self.keys.clear()

    def content(self, task: str, number: int = 1) -> bytes:
        """The result of a task: a clip that plays, or a picture, and is like no other."""
        if self.tasks[task].data.get("model") in STILLS_OF:
            text = b"tEXt" + f"task\0{task}|{number}".encode()
            chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
            return STILL[:-12] + chunk + STILL[-12:]
        mark = f"{task}|{number}".encode().ljust(self.be.result_bytes - len(CLIP) - 8, b".")
        return CLIP + (8 + len(mark)).to_bytes(4, "big") + b"free" + mark

    @property
    def contents(self) -> dict[str, str]:
        """{sha256 of a result: prompt} of all tasks."""
        return {
            sha256(self.content(task.id, number)): task.data.get("prompt", "")
            for task in self.tasks.values()
            for number in range(1, self.be.results + 1)
        }

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> Imitation:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _main(self) -> None:
        await self._api.start()
        await self._host.start()
        self._ready.set()
        await self._stop.wait()
        await self._api.stop()
        await self._host.stop()

    # --- the API ---------------------------------------------------------------------------------

    async def _serve_api(self, request: Request) -> Answer:
        if self.be.latency_s:
            await asyncio.sleep(self.be.latency_s)
        match request.method, request.segments:
            case "POST", ["api", "v1", "generations"]:
                return await self._under(On.SUBMIT, request, self._submit, self._posted(request))
            case "GET", ["api", "v1", "generations", task]:
                return await self._under(On.POLL, request, self._poll, self._transfer("polls", request, task))
            case "POST", ["api", "v1", "files"]:
                return await self._under(
                    On.UPLOAD, request, self._upload, self._transfer("uploads", request, "")
                )
            case "GET", ["api", "v1", "credits"]:
                return await self._under(
                    On.CREDITS, request, self._credits, self._transfer("others", request, "credits")
                )
            case "GET", ["r", *_] if self.be.results_at == "path":
                return await self._serve_result(request)
            case _:
                self._transfer("others", request, request.target)
                return error_answer(404, "not_found")

    def _posted(self, request: Request) -> Post:
        post = Post(
            at=request.at,
            key=request.header("idempotency-key"),
            account=self._account(request) or "",
            body=request.body,
        )
        self.ledger.posts.append(post)
        return post

    def _transfer(self, book: str, request: Request, what: str) -> Transfer:
        row = Transfer(at=request.at, what=what, status=None, headers=request.headers, path=request.target)
        getattr(self.ledger, book).append(row)
        return row

    async def _under(
        self, on: On, request: Request, handle: Callable[[Request, Any], Answer], row: Any
    ) -> Answer:
        """Handle a request under the rules that match it."""
        if self.observer is not None:
            self.observer(on, request)
        rule = next((rule for rule in self.rules if self._can(rule) and rule.takes(on, request)), None)
        if rule is None:
            answer = handle(request, row)
            row.status = answer.status
            return self._manners(answer)
        match rule.do:
            case Do.DROP_BEFORE | Do.RESET_BEFORE:
                raise Dropped(reset=rule.do is Do.RESET_BEFORE)
            case Do.KILL_BEFORE:
                await self.kill()
                raise Dropped
            case Do.ANSWER_EARLY | Do.KILL_EARLY:
                assert isinstance(row, Post)
                self._loop.call_later(rule.later_s, self._create_unlooked, request, row)
                if rule.do is Do.KILL_EARLY:
                    await self.kill()
                if rule.answer is None:
                    raise Dropped(reset=True)
                assert isinstance(rule.answer, Answer)
                row.status = rule.answer.status
                return self._manners(rule.answer)
            case Do.ANSWER_BEFORE:
                assert isinstance(rule.answer, Answer)
                row.status = rule.answer.status
                if isinstance(row, Post):
                    row.outcome = "refused"
                return self._manners(rule.answer)
        answer = handle(request, row)
        match rule.do:
            case Do.DROP_AFTER | Do.RESET_AFTER:
                raise Dropped(reset=rule.do is Do.RESET_AFTER)
            case Do.KILL_AFTER:
                await self.kill()
                raise Dropped
            case Do.KILL_ANSWERED:
                row.status = answer.status
                return replace(self._manners(answer), then=self.kill)
            case Do.CUT:
                return replace(answer, chunked=False, cut_at=len(answer.body) // 2)
            case Do.TWIST:
                assert callable(rule.answer)
                return self._manners(rule.answer(answer))
            case _:
                assert isinstance(rule.answer, Answer)
                return self._manners(rule.answer)

    def _can(self, rule: Rule) -> bool:
        """Whether there is somebody to kill, where the rule is about that."""
        return not rule.kills or self.victim is not None or not self._victim_is_born.is_set()

    def _manners(self, answer: Answer) -> Answer:
        pause_s = answer.head_pause_s or self.be.head_pause_s
        if self.be.dates and not any(name.lower() == "date" for name, _ in answer.headers):
            date = ("Date", format_datetime(self.now, usegmt=True))
            answer = replace(answer, headers=(*answer.headers, date))
        return replace(answer, close=answer.close or self.be.close_each, head_pause_s=pause_s)

    async def kill(self) -> None:
        """kill -9 the command, and wait until it is gone: what follows happens after its death."""
        while not self._victim_is_born.is_set():
            await asyncio.sleep(0.001)
        victim, self.victim = self.victim, None
        if victim is None:
            return
        self.kills += 1
        victim.send(signal.SIGKILL)
        while not victim.ended():
            await asyncio.sleep(0.001)

    def _account(self, request: Request) -> str | None:
        scheme, _, key = (request.header("authorization") or "").partition(" ")
        return self.accounts.get(key) if scheme == "Bearer" else None

    def _gate(self, request: Request) -> Answer | None:
        """Refuse a key, or a request above the limit; None lets it in."""
        _, _, key = (request.header("authorization") or "").partition(" ")
        if key in self.refused_keys:
            return self.refused_keys[key]
        if self._account(request) is None:
            return self._error(401, "api_key_invalid" if key else "api_key_missing", "who are you?")
        if self.be.window_requests is None:
            return None
        now = time.monotonic()
        while self._window and self._window[0] <= now - self.be.window_s:
            self._window.popleft()
        if len(self._window) >= self.be.window_requests:
            return self._limited(self._window[0] + self.be.window_s - now)
        self._window.append(now)
        return None

    def _limited(self, wait_s: float) -> Answer:
        self.ledger.limited += 1
        now = self.now
        said = {
            "seconds": str(max(round(wait_s + 0.5), 1)),
            "decimal": f"{wait_s:.3f}",
            "date": format_datetime(now + timedelta(seconds=max(wait_s, 1)), usegmt=True),
            "past": format_datetime(now - timedelta(hours=3), usegmt=True),
            "absurd": str(int(now.timestamp())),
            "text": "soon",
            "absent": None,
        }[self.be.retry_after]
        headers = (("Retry-After", said),) if said is not None else ()
        match self.be.limit_body:
            case "json":
                return error_answer(429, "rate_limited", "slow down", *headers)
            case "text":
                return Answer(
                    status=429, headers=(("Content-Type", "text/plain"), *headers), body=b"slow down"
                )
            case "page":
                return Answer(
                    status=429, headers=(("Content-Type", "text/html"), *headers), body=b"<h1>Too fast</h1>"
                )
            case "other json":
                return json_answer(429, {"message": "Too Many Requests"}, *headers)
            case _:
                return Answer(status=429, headers=headers)

    def _error(self, status: int, code: str, message: str) -> Answer:
        match self.be.errors:
            case "bare":
                return json_answer(status, {"error": {"code": code}})
            case "extra":
                return error_answer(
                    status, code, message, docs="https://example.invalid/x", details=[{"a": None}]
                )
            case _:
                return error_answer(status, code, message)

    # --- submits ---------------------------------------------------------------------------------

    def _submit(self, request: Request, post: Post) -> Answer:
        refusal = self._gate(request)
        if refusal is not None:
            post.outcome = "limited" if refusal.status == 429 else "refused"
            return refusal
        slot = (post.account, post.key or "")
        known = self.keys.get(slot) if self.be.idempotency != "none" and post.key else None
        if known is not None:
            body, task_id = known
            if body != request.body and self.be.strict_body:
                post.outcome = "refused"
                return self._error(409, "idempotency_conflict", "this key was used with another body")
            post.outcome, post.task = "replayed", task_id
            task = self.tasks[task_id]
            at = None if self.be.replays_show == "now" else task.made
            return self._told(self.be.replay_status, task, at=at)
        return self._create(request, post, slot)

    def _create_unlooked(self, request: Request, post: Post) -> None:
        """Finish a submit whose key was looked up long before: a repeat may have made a task meanwhile."""
        self._create(request, post, (post.account, post.key or ""))

    def _create(self, request: Request, post: Post, slot: tuple[str, str]) -> Answer:
        try:
            data = json.loads(request.body)
        except ValueError:
            data = None
        problem = problem_of(data, self.files)
        if problem is not None:
            post.outcome = "refused"
            return self._error(400, *problem)
        assert isinstance(data, dict)
        now = time.monotonic()
        running = self._running(post.account, now)
        if self.be.in_flight is not None and running >= self.be.in_flight:
            post.outcome = "limited"
            return self._limited(0.2)
        wallet = self.wallets[post.account]
        price = self.be.price(data) if callable(self.be.price) else self.be.price
        if wallet.balance < price:
            return self._too_poor(post, data, price, slot, request.body)
        wallet.balance -= price
        task = self._task(post, data, price, self._fate(data.get("prompt", "")))
        task.payment = Payment(
            task=task.id,
            account=post.account,
            prompt=post.prompt,
            model=data["model"],
            request_id=post.request_id,
            taken=price,
            amount=price,
            at=now,
        )
        self.ledger.payments.append(task.payment)
        self.ledger.most_running = max(self.ledger.most_running, running + 1)
        self.keys[slot] = (request.body, task.id)
        post.outcome, post.task = "created", task.id
        return self._told(self.be.create_status, task, at=task.made)

    def _running(self, account: str, now: float) -> int:
        return sum(task.account == account and now < task.ends for task in self.tasks.values())

    def _fate(self, prompt: str) -> Fate:
        fate = self.fates.get(prompt, Fate())
        self._made[prompt] = self._made.get(prompt, 0) + 1
        return fate if self._made[prompt] <= fate.times else Fate()

    def _task(self, post: Post, data: Mapping[str, Any], price: float, fate: Fate) -> Task:
        number = len(self.tasks) + 1
        low, high = self.be.task_s
        now = time.monotonic()
        # Spread evenly, but the same in each run of a test.
        task = Task(
            id=self.be.make_id(number),
            number=number,
            account=post.account,
            data=data,
            price=price,
            made=now,
            made_wall=self.now,
            ends=now + low + (high - low) * ((number * 7) % 10) / 10,
            fate=fate,
            payment=None,
            words=deque(self.be.first_statuses),
        )
        self.tasks[task.id] = task
        return task

    def _too_poor(
        self, post: Post, data: Mapping[str, Any], price: float, slot: tuple[str, str], body: bytes
    ) -> Answer:
        how = self.be.empty_account
        if how == "task" or how == "task-null":
            final = 0.0 if how == "task" else None
            fate = Fate(status="failed", code="insufficient_credits", message="too few credits", final=final)
            task = self._task(post, data, price, fate)
            task.ends = task.made
            self.keys[slot] = (body, task.id)  # and so it is answered under this key for ever
            post.outcome, post.task = "refused", task.id
            return self._told(self.be.create_status, task)
        post.outcome = "refused"
        return self._error(how, "insufficient_credits", "too few credits")

    # --- tasks -----------------------------------------------------------------------------------

    def _told(self, status: int, task: Task, at: float | None = None) -> Answer:
        return json_answer(status, self.be.wrap(self._view(task, at)))

    def _view(self, task: Task, at: float | None = None) -> dict[str, Any]:
        """The generation object, as it is now or as it was at the start."""
        now = time.monotonic() if at is None else at
        status = task.status(now)
        ended = status in ("succeeded", "failed")
        if ended and not task.settled:
            self._settle(task)
        view: dict[str, Any] = {**self.be.extra, "id": task.id, "status": status, "model": task.data["model"]}
        view |= money(self.be, task, ended=ended, at_start=at is not None)
        view |= times(self.be, task, now)
        view["result"] = self._result(task) if status == "succeeded" else None
        view["error"] = None
        if status == "failed" and not task.fate.no_error:
            view["error"] = {"code": task.fate.code, "message": task.fate.message}
        return task.fate.says(view) if ended and task.fate.says is not None else view

    def _settle(self, task: Task) -> None:
        task.settled = True
        if task.fate.status == "failed" and task.payment is not None and self.be.refunds:
            self.wallets[task.account].balance += task.payment.amount
            task.payment.amount = 0.0

    def _result(self, task: Task) -> dict[str, Any]:
        urls = [self._result_url(task, number) for number in range(1, self.be.results + 1)]
        result: dict[str, Any] = {"primary_url": urls[0]}
        if not self.be.primary_only:
            result["urls"] = urls
        return result

    def _result_url(self, task: Task, number: int) -> str:
        token = secrets.token_urlsafe(24)
        self._tokens[token] = (task.id, number, time.monotonic() + self.be.result_lives_s)
        turn = f"{token[:8]}/" if self.be.result_moves else ""
        path = f"/r/{quote(task.id, safe='')}/{turn}{self.be.result_name}-{number}"
        name = "localhost" if turn and len(self._tokens) % 2 == 0 else "127.0.0.1"
        host = "" if self.be.results_at == "path" else self._host.url.replace("127.0.0.1", name)
        return f"{host}{path}?X-Sig={token}%2F%2B%3D&X-Amz-Expires=60&hop={self.be.result_redirects}"

    def _poll(self, request: Request, row: Transfer) -> Answer:
        refusal = self._gate(request)
        if refusal is not None:
            return refusal
        task = self.tasks.get(row.what)
        now = time.monotonic()
        hidden = task is None or task.fate.gone or now < task.made + self.be.early_404_s
        if task is None or hidden or task.account != self._account(request):
            return self._error(404, "not_found", "no such task")
        return self._told(200, task)

    # --- uploads, credits ------------------------------------------------------------------------

    def _upload(self, request: Request, row: Transfer) -> Answer:
        refusal = self._gate(request)
        if refusal is not None:
            return refusal
        head = f"Content-Type: {request.header('content-type')}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
        parts = {
            str(part.get_param("name", header="content-disposition")): part for part in message.iter_parts()
        }
        if "file" not in parts or "kind" not in parts:
            return self._error(400, "validation_failed", "file and kind are required")
        content = parts["file"].get_payload(decode=True)
        assert isinstance(content, bytes)
        row.what = str(parts["file"].get_filename())
        row.sha256 = sha256(content)
        row.model = parts["model"].get_content().strip() if "model" in parts else ""
        number = len(self.files) + 1
        url = f"{self._host.url}/u/{secrets.token_hex(8)}?X-Sig=up{number}"
        self.files[url] = (row.sha256, time.monotonic() + self.be.upload_url_lives_s)
        name = f"file/{number}"
        match self.be.upload_shape:
            case "id":
                data: dict[str, Any] = {"id": name, "object": "file", "url": url, "size": len(content)}
            case "file_id":
                data = {"file_id": name, "url": url, "mimeType": "image/png", "expires_at": None}
            case _:
                data = {"file": {"id": name, "url": url}, "deduplicated": False}
        return json_answer(self.be.upload_status, data)

    def _credits(self, request: Request, row: Transfer) -> Answer:
        refusal = self._gate(request)
        if refusal is not None:
            return refusal
        account = self._account(request)
        assert account is not None
        return json_answer(200, {"current_credits": self.wallets[account].balance})

    # --- the result host -------------------------------------------------------------------------

    async def _serve_result(self, request: Request) -> Answer:
        if request.segments[:1] != ["r"]:
            self._transfer("others", request, request.target)
            return Answer(status=404)
        task = request.segments[1]
        return await self._under(On.RESULT, request, self._give, self._transfer("results", request, task))

    def _give(self, request: Request, row: Transfer) -> Answer:
        query = parse_qs(request.query)
        token = query.get("X-Sig", [""])[0].removesuffix("/+=")
        task, number, until = self._tokens.get(token, ("", 0, 0.0))
        xml = (("Content-Type", "application/xml"),)
        if task != row.what or until <= time.monotonic():
            return Answer(status=403, headers=xml, body=b"<Error><Code>AccessDenied</Code></Error>")
        hops = int(query.get("hop", ["0"])[0])
        if hops:
            target = request.target.replace(f"hop={hops}", f"hop={hops - 1}")
            return Answer(status=302, headers=(("Location", target),))
        content = self.content(task, number)
        headers = (("Content-Type", self.be.result_type), ("ETag", f'"{sha256(content)[:16]}"'))
        wanted = request.header("range")
        if self.be.result_ranges and wanted:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            there = ("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            return Answer(status=206, headers=(*headers, there), body=content[start:])
        return Answer(
            headers=headers, body=content, chunked=self.be.result_chunked, piece=max(1000, len(content) // 32)
        )
