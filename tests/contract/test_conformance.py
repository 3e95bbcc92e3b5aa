"""What a `Service` has to say of each status, body and broken connection, held against both imitations over HTTP.

`definite` is what money stands on: a send is called definitely refused only where the service made nothing of it. The
imitations' own books are asked whether that is true.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from runner.host.clock import SystemClock
from runner.service.account import Account
from runner.service.http import Timeouts
from runner.service.protocol import Answer, FailureClass, Meaning, Service
from runner.service.rivya.endpoints import open_service
from tests.imitation import faults as imitated
from tests.imitation.faults import error_answer, json_answer, page
from tests.imitation.service import Imitation
from tests.imitation.wire import Answer as Sent
from tests.support import Sandbox

pytestmark = pytest.mark.anyio
PATIENT = Timeouts(connect_s=5.0, read_s=5.0, total_s=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way in which a submit may be answered, as each imitation is told to, and what it means.

    `made` says whether the service has made a task all the same. `sandbox` is None where the
    sandbox cannot be told to.
    """

    name: str
    meaning: Meaning
    definite: bool
    made: bool
    imitation: tuple[str, Sent | None]
    sandbox: Mapping[str, Any] | None = None
    cls: FailureClass | None = None


def refused(status: int, code: str, meaning: Meaning, cls: FailureClass | None = None) -> Case:
    """Return a refusal in the API's own shape: nothing was made."""
    return Case(
        name=f"{status} {code}",
        meaning=meaning,
        definite=True,
        made=False,
        imitation=("answer_before", error_answer(status, code)),
        sandbox={"do": "error", "status": status, "code": code},
        cls=cls,
    )


def unclear(
    name: str,
    do: str,
    answer: Sent | None = None,
    sandbox: Mapping[str, Any] | None = None,
    *,
    meaning: Meaning = Meaning.UNCLEAR,
    made: bool = True,
) -> Case:
    """Return an answer that proves nothing."""
    return Case(
        name=name, meaning=meaning, definite=False, made=made, imitation=(do, answer), sandbox=sandbox
    )


def shaped(status: int, code: str) -> Case:
    """Return an error in the API's own shape that proves nothing all the same."""
    return unclear(
        f"{status} {code}",
        "answer_after",
        error_answer(status, code),
        {"do": "error", "when": "after", "status": status, "code": code},
    )


CASES = (
    Case(name="accepted", meaning=Meaning.OK, definite=False, made=True, imitation=("", None), sandbox={}),
    Case(
        name="wrapped",
        meaning=Meaning.OK,
        definite=False,
        made=True,
        imitation=("twist", None),
        sandbox={"do": "wrapped"},
    ),
    # Refusals.
    refused(400, "validation_failed", Meaning.REFUSED, FailureClass.VALIDATION),
    refused(404, "not_found", Meaning.REFUSED, FailureClass.NOT_FOUND),
    refused(413, "file_too_large", Meaning.REFUSED, FailureClass.VALIDATION),
    refused(418, "teapot", Meaning.REFUSED, FailureClass.OTHER),
    refused(422, "content_policy_violation", Meaning.REFUSED, FailureClass.POLICY),
    refused(401, "api_key_revoked", Meaning.KEY_REFUSED),
    refused(403, "api_scope_denied", Meaning.KEY_REFUSED),
    *(refused(status, "insufficient_credits", Meaning.NO_CREDITS) for status in (400, 402, 403, 409, 500)),
    refused(429, "rate_limited", Meaning.RATE_LIMITED),
    *(
        refused(status, code, Meaning.RATE_LIMITED)
        for status, code in ((400, "rate_limited"), (402, "quota_exceeded"), (403, "daily_limit_reached"))
    ),
    # Said of this very request, and no proof.
    unclear(
        "409 idempotency_conflict",
        "answer_after",
        error_answer(409, "idempotency_conflict"),
        {"do": "409", "when": "after"},
        meaning=Meaning.CONFLICT,
    ),
    unclear(
        "503 public_api_disabled",
        "answer_after",
        error_answer(503, "public_api_disabled"),
        {"do": "503", "when": "after"},
        meaning=Meaning.DISABLED,
    ),
    *(shaped(status, "some_trouble") for status in (408, 423, 424, 425, 499, 500, 502, 503, 504, 529)),
    # Said by something in between.
    *(
        unclear(
            f"{status} page",
            "answer_after",
            page(status),
            {"do": "page", "when": "after", "status": status},
            meaning=Meaning.RATE_LIMITED if status == 429 else Meaning.UNCLEAR,
        )
        for status in (200, 400, 401, 403, 404, 413, 429, 500, 502, 504)
    ),
    *(
        unclear(
            f"{status} in another shape", "answer_after", json_answer(status, {"message": "no", "code": "no"})
        )
        for status in (400, 401, 402, 403, 404, 422)
    ),
    *(
        unclear(f"{status} {code}", "answer_after", error_answer(status, code))
        for status, code in (
            (403, "Forbidden"),
            (403, "403"),
            (400, "FUNCTION_TIMEOUT"),
            (400, "upstream_timeout"),
            (404, "gateway_error"),
            (403, "waf_blocked"),
        )
    ),
    *(unclear(f"{status} empty", "answer_after", Sent(status=status)) for status in (200, 204, 401, 403, 413)),
    unclear(
        "redirect",
        "answer_after",
        Sent(status=307, headers=(("Location", "/login"),)),
        {"do": "redirect", "when": "after"},
    ),
    # Accepted, as it seems, but not a word of which task.
    unclear("no id", "answer_after", json_answer(202, {"status": "queued"}), {"do": "no_id"}),
    unclear("id of the request only", "answer_after", json_answer(202, {"id": "req_1", "status": "ok"})),
    unclear("a list", "answer_after", json_answer(200, [])),
    unclear("garbage", "answer_after", Sent(status=201, body=b"\x00\xff{{{"), {"do": "garbage"}),
    # Broken connections.
    unclear("cut", "cut", None, {"do": "truncated"}),
    unclear("dropped before it was worked on", "drop_before", None, {"do": "drop_before"}, made=False),
    unclear("dropped afterwards", "drop_after", None, {"do": "drop_after"}),
    unclear("reset before it was worked on", "reset_before", None, {"do": "drop_before", "reset": True}, made=False),
    unclear("reset afterwards", "reset_after", None, {"do": "drop_after", "reset": True}),
)  # fmt: skip


class Told(Protocol):
    """An imitation that answers one prompt as it was told."""

    base_url: str
    key: str

    def tell(self, case: Case, prompt: str) -> None: ...

    def made(self, prompt: str) -> int:
        """Return how many tasks were made of a prompt, by its own book."""
        ...


class TheImitation:
    """`tests/imitation`."""

    def __init__(self) -> None:
        self.service = Imitation().start()
        self.base_url, self.key = self.service.base_url, self.service.key

    def tell(self, case: Case, prompt: str) -> None:
        do, answer = case.imitation
        if do == "twist":
            self.service.rule("submit", do, answer=_wrapped, where=imitated.prompt_is(prompt))
        elif do:
            self.service.rule("submit", do, answer=answer, where=imitated.prompt_is(prompt))

    def made(self, prompt: str) -> int:
        return self.service.ledger.paid[prompt]

    def close(self) -> None:
        self.service.close()


def _wrapped(answer: Sent) -> Sent:
    return json_answer(201, {"id": "req_9", "data": {"task": json.loads(answer.body)}})


class TheSandbox:
    """The bundled sandbox, in its own process."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = Sandbox.start("--rate", "1000", state=folder / "sandbox.db")
        self.base_url, self.key = self.sandbox.base_url, self.sandbox.key

    def tell(self, case: Case, prompt: str) -> None:
        if case.sandbox:
            self.sandbox.faults({"on": "submit", "times": 1, "match": {"prompt": prompt}, **case.sandbox})

    def made(self, prompt: str) -> int:
        return sum(task["prompt"] == prompt for task in self.sandbox.ledger()["tasks"])

    def close(self) -> None:
        self.sandbox.close()


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Each imitation in turn."""
    there = TheImitation() if request.param == "imitation" else TheSandbox(tmp_path_factory.mktemp("sandbox"))
    yield there
    there.close()


EACH = [
    *(("imitation", case) for case in CASES),
    *(("sandbox", case) for case in CASES if case.sandbox is not None),
]


@pytest.mark.parametrize(
    ("told", "case"), EACH, indirect=["told"], scope="module", ids=lambda each: getattr(each, "name", each)
)
async def test_what_an_answer_means_and_whether_it_is_definite(case: Case, told: Told) -> None:
    prompt = f"conformance: {case.name}"
    told.tell(case, prompt)

    async with open_it(told) as service:
        answer = await service.submit(body_for(prompt), key_of(prompt))

    assert (answer.meaning, answer.definite) == (case.meaning, case.definite), answer.words()
    assert (answer.task is not None) is (case.meaning is Meaning.OK)
    assert case.cls is None or answer.cls is case.cls
    assert told.made(prompt) == int(case.made), "the case does not do what it says"
    assert not (answer.definite and told.made(prompt))


@pytest.mark.parametrize(
    ("told", "case"),
    [(told, case) for told, case in EACH if not case.definite],
    indirect=["told"],
    scope="module",  # else each case would start an imitation of its own
    ids=lambda each: getattr(each, "name", each),
)
async def test_after_any_answer_the_same_key_and_bytes_bring_the_one_task(case: Case, told: Told) -> None:
    prompt = f"again: {case.name}"
    told.tell(case, prompt)

    async with open_it(told) as service:
        key = key_of(prompt)
        first = await service.submit(body_for(prompt), key)
        second = await service.submit(body_for(prompt), key)

    assert second.meaning is Meaning.OK, second.words()
    assert told.made(prompt) == 1
    assert first.task is None or (second.task is not None and second.task.id == first.task.id)


@pytest.mark.parametrize("told", ["imitation", "sandbox"], indirect=True)
async def test_the_other_questions(told: Told) -> None:
    """A file is brought, a balance is read, a task that is there is found, one that is not is refused by name."""
    async with open_it(told) as service:
        balance: Answer = await service.credits()
        made = await service.submit(body_for("the other questions"), "rb1-other")
        assert made.task is not None
        found = await service.poll(made.task.id)
        nobody = await service.poll("nobody-knows")

    assert balance.balance is not None
    assert balance.balance > 0
    assert found.task is not None
    assert found.task.id == made.task.id
    assert (nobody.meaning, nobody.status, nobody.task) == (Meaning.REFUSED, 404, None)


async def test_a_service_that_is_not_there_was_sent_nothing() -> None:
    account = Account("http://127.0.0.1:9", "rvya_sk_none")

    async with open_service(account, now=SystemClock().wall_s, timeouts=PATIENT) as service:
        answers = [
            await service.submit(body_for("nobody"), "rb1-nobody"),
            await service.poll("t"),
            await service.credits(),
            await service.models(),
        ]

    assert {(answer.meaning, answer.definite) for answer in answers} == {(Meaning.NEVER_LEFT, True)}


def open_it(told: Told) -> AbstractAsyncContextManager[Service]:
    return open_service(Account(told.base_url, told.key), now=SystemClock().wall_s, timeouts=PATIENT)


def key_of(prompt: str) -> str:
    return f"rb1-{zlib.crc32(prompt.encode())}"


def body_for(prompt: str) -> bytes:
    return json.dumps(
        {
            "model": "grok-imagine-video",
            "prompt": prompt,
            "params": {"aspect_ratio": "16:9", "duration": 6},
            "client_request_id": key_of(prompt),
        }
    ).encode()
