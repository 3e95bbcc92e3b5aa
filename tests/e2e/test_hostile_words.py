"""What a service says is only ever words: nothing in them is obeyed by a terminal, turns a line round, or fakes one."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest

from tests.imitation.faults import error_answer
from tests.imitation.fixtures import Bench, said
from tests.imitation.tasks import Fate
from tests.imitation.wire import Answer
from tests.support import Outcome

# Colours, a new title for the window, the same in one byte, marks that turn a line round, line ends of all kinds.
SHORT = "\x1b[31mred\x1b]0;owned\x07\x9b2J\u202eder\u2066\u2028\nFAKE: all is paid\r\x7f\x00"
FAST = {"TEST_CLOCK_SPEED": "20"}
EVIL = SHORT + "x" * 20_000


def obeyed(text: str) -> list[str]:
    """Return the lines of a text that a terminal would not show as they are, and those that we never wrote."""
    return [
        line[:200]
        for line in text.split("\n")
        if line.startswith("FAKE")
        or len(line) > 10_000
        or any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in line)
    ]


def evil_headers(answer: Answer) -> Answer:
    """Return an answer whose headers and unknown fields are not to be trusted either."""
    data = json.loads(answer.body)
    if data.get("status") in ("queued", "processing"):
        data["status"] = f"nearly {SHORT}"
    headers = (("Content-Type", "application/json\x9b2J"), ("X-Request-Id", "\x9b2Jreq\x85FAKE"))
    return replace(answer, headers=headers, body=json.dumps(data).encode())


@pytest.mark.slow
def test_nothing_a_service_says_is_obeyed_by_a_terminal(bench: Bench) -> None:
    service = bench.service
    service.become(make_id=lambda number: f"{number}{SHORT}")
    bench.write(
        [{"id": name} for name in ("refused", "failed", "late", "fine", "unclear")],
        limits={"job_deadline": "0.2s"},
    )
    refusal = error_answer(400, f"odd {EVIL}", EVIL, requestId=EVIL)
    for prompt, answer in (("refused", refusal), ("unclear", replace(refusal, status=500))):
        service.rule(
            "submit", "answer_before", answer=answer, times=2,
            where=lambda request, prompt=prompt: f"prompt of {prompt}".encode() in request.body,
        )  # fmt: skip
    service.rule("poll", "twist", answer=evil_headers, times=float("inf"))
    service.fates["prompt of failed"] = Fate(status="failed", code=EVIL, message=EVIL)
    service.fates["prompt of late"] = Fate(status="running")
    fetched = replace(refusal, status=503, headers=(("Content-Type", "text/\x9b2J"),))
    service.rule("result", "answer_before", answer=fetched)

    shown: list[Outcome] = [bench.run("-vv", env=FAST), bench.run(env=FAST)]
    programs = [bench.run("--json", env=FAST)]
    for arguments in (("status",), ("plan",), ("report",)):
        shown.append(bench.command(*arguments, bench.manifest))
        programs.append(bench.command(*arguments, bench.manifest, "--json"))
    programs.append(bench.command("export", bench.manifest, "--json"))
    csv = bench.command("export", bench.manifest)
    log = bench.database.with_suffix(".log").read_text(encoding="utf-8")

    assert bench.states() == {"done": 2, "failed": 2, "waiting": 1}, said(shown[0])
    assert "overdue" in shown[0].stderr
    assert not [
        obeyed(text) for outcome in shown for text in (outcome.stdout, outcome.stderr) if obeyed(text)
    ]
    assert not obeyed(log)
    everything = [each for outcome in programs for each in (outcome.stdout, outcome.stderr)] + [csv.stdout]
    assert not [
        char
        for text in everything
        for char in set(text)
        if unicodedata.category(char) == "Cc" and char not in "\n\r"
    ]
    # For programs an id is what it is; in the database words are, too.
    ids = {row["task_id"] for row in programs[-1].json}
    assert {f"{number}{SHORT}" for number in (1, 2)} < ids
    assert not [
        words for (words,) in bench.rows("error_message", where="error_message IS NOT NULL") if obeyed(words)
    ]
