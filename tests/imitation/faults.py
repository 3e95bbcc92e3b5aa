"""What goes wrong with which request."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.imitation.wire import Answer, Request


class On(StrEnum):
    """A kind of request."""

    SUBMIT = "submit"
    POLL = "poll"
    UPLOAD = "upload"
    CREDITS = "credits"
    RESULT = "result"


class Do(StrEnum):
    """What is done to it; `before` means that the service never saw it, `after` that it took effect."""

    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    KILL_BEFORE = "kill_before"
    KILL_AFTER = "kill_after"
    KILL_ANSWERED = "kill_answered"  # the answer has left
    CUT = "cut"  # it took effect; half of the answer comes
    ANSWER_BEFORE = "answer_before"  # something else is answered, and nothing happens
    ANSWER_AFTER = "answer_after"  # something else is answered, although it took effect
    ANSWER_EARLY = (
        "answer_early"  # something else is answered (nothing: a reset); it takes effect `later_s` afterwards
    )
    KILL_EARLY = "kill_early"  # the command is killed, and it takes effect `later_s` afterwards
    TWIST = "twist"  # it took effect; `answer` makes another answer of the right one


@dataclass(slots=True, kw_only=True)
class Rule:
    """One thing that goes wrong, `times` times, after `skip` requests that match have gone well."""

    on: On
    do: Do
    times: float = 1
    skip: int = 0
    answer: Answer | Callable[[Answer], Answer] | None = None
    where: Callable[[Request], bool] | None = None
    later_s: float = 0.0
    seen: int = 0
    done: int = 0

    @property
    def kills(self) -> bool:
        return self.do in (Do.KILL_BEFORE, Do.KILL_AFTER, Do.KILL_ANSWERED, Do.KILL_EARLY)

    def takes(self, on: On, request: Request) -> bool:
        """Whether this request is one of its own; counts it."""
        if on is not self.on or self.done >= self.times:
            return False
        if self.where is not None and not self.where(request):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.done += 1
        return True


def prompt_is(prompt: str) -> Callable[[Request], bool]:
    """Match the submits of one prompt."""
    return lambda request: bool(request.body) and json.loads(request.body).get("prompt") == prompt


def now_and_then(part: float, seed: int = 0) -> Callable[[Request], bool]:
    """Match so large a part of the requests, by chance."""
    draws = random.Random(seed)
    return lambda request: draws.random() < part


def a_while(seconds: float, *, after: int = 0) -> Callable[[Request], bool]:
    """Match all requests for so many seconds, from the one on that comes after so many others."""
    seen, until = 0, 0.0

    def match(request: Request) -> bool:
        nonlocal seen, until
        seen += 1
        if seen == after + 1:
            until = request.at + seconds
        return request.at < until

    return match


def json_answer(status: int, data: Any, *headers: tuple[str, str]) -> Answer:
    body = json.dumps(data, ensure_ascii=False).encode()
    return Answer(
        status=status, headers=(("Content-Type", "application/json; charset=utf-8"), *headers), body=body
    )


def error_answer(
    status: int, code: str, message: str = "no", *headers: tuple[str, str], **more: Any
) -> Answer:
    error: Mapping[str, Any] = {"code": code, "message": message, "requestId": "req_imitation", **more}
    return json_answer(status, {"error": error}, *headers)


def page(status: int, text: str = "<html><body><h1>Bad gateway</h1></body></html>") -> Answer:
    """What a gateway says."""
    return Answer(status=status, headers=(("Content-Type", "text/html"),), body=text.encode())
