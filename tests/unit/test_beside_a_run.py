"""Notifications and commands beside a run: told once, without secrets, and never the run's trouble."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from runner.engine import Snapshot
from runner.errors import Exit, UsageError
from runner.progress.notifying import ENDS, NEEDS, Notifier
from runner.progress.on_done import TOLD, OnDone, command_words

PROMPT = "a secret film"


def view(charged: float = 0.0, reserved: float = 0.0, cap: float | None = 100.0) -> Snapshot:
    return Snapshot(
        counts={"done": 3, "planned": 1}, orphans=0, charged=charged, reserved=reserved, cap=cap, rate_per_s=1.0,
        requests=1, rejections=0, polls=1, in_flight=1, elapsed_s=1.0, eta_s=None, note=PROMPT,
    )  # fmt: skip


class Receiver:
    """Takes messages, or fails."""

    def __init__(self, *failing: object) -> None:
        self.failing = list(failing)
        self.messages: list[tuple[str, str]] = []
        self.said: list[str] = []

    def send(self, title: str, text: str) -> bool:
        self.messages.append((title, text))
        how = self.failing.pop(0) if self.failing else True
        if isinstance(how, Exception):
            raise how
        return bool(how)

    def notifier(self, **more: bool) -> Notifier:
        notifier = Notifier(self.send, self.said.append, **more)
        notifier.begin("night")
        return notifier


def test_each_of_the_four_cases_is_told_once_and_holds_no_words_of_others() -> None:
    receiver = Receiver()
    notifier = receiver.notifier()
    for _ in range(2):
        notifier.event("uncertain", job=PROMPT, message=PROMPT)
        notifier.event("done", job=PROMPT, files=[PROMPT])
        notifier.snapshot(view(charged=50, reserved=29))
    for _ in range(2):
        notifier.snapshot(view(charged=50, reserved=30))
    notifier.ended(Exit.CREDITS, counts={"done": 3, "planned": 1}, charged=80, reserved=0, seconds=90)
    notifier.close()

    titles = [title for title, _ in receiver.messages]
    assert titles == ["night: needs you", "night: 80% of the budget", "night: stopped at a credit limit"]
    assert "80 of 100 credits" in receiver.messages[1][1]
    assert "3 of 4 jobs done" in receiver.messages[2][1]
    assert PROMPT not in str(receiver.messages)
    assert receiver.said == []


def test_without_a_cap_there_is_no_share_of_it() -> None:
    receiver = Receiver()
    notifier = receiver.notifier()
    notifier.snapshot(view(charged=5000, cap=None))
    notifier.close()

    assert receiver.messages == []


def test_what_cannot_be_sent_is_told_once_without_its_address() -> None:
    receiver = Receiver(OSError("token-in-url"), False, ValueError("token-in-url"))
    notifier = receiver.notifier(rehearsal=True)
    for kind in NEEDS:
        notifier.event(kind)
    notifier.close()

    assert len(receiver.messages) == len(NEEDS)
    assert len(receiver.said) == 1
    assert "token-in-url" not in receiver.said[0]
    assert all("rehearsal" in text for _, text in receiver.messages)


def test_each_exit_of_a_run_has_words() -> None:
    assert {*Exit} - {*ENDS} == {Exit.USAGE, Exit.LOCKED}


@pytest.mark.parametrize("text", ["", "   ", "'unclosed", "no-such-program-here --now"])
def test_a_command_that_cannot_be_started_is_said_before_the_run(text: str) -> None:
    with pytest.raises(UsageError, match="--on-done"):
        command_words(text)


def test_the_command_is_told_of_each_job_and_of_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_secret")
    script = tmp_path / "take.py"
    script.write_text(
        "import json, os, sys\n"
        "told = json.load(sys.stdin)\n"
        "names = {name: value for name, value in os.environ.items() if name.startswith('RIVYA')}\n"
        f"open({str(tmp_path)!r} + '/' + told['job'] + '.json', 'w').write(json.dumps([told, names]))\n"
    )
    said: list[str] = []
    on_done = OnDone(command_words(f"{sys.executable} {script}"), said.append)
    on_done.begin("night")
    for number in range(6):
        on_done.event("done", job=f"é{number} $(x)", files=[f"/out/{number}.mp4", "/out/b.mp4"])
    on_done.event("failed", job="not this")
    on_done.close()

    told, names = json.loads((tmp_path / "é3 $(x).json").read_text())
    assert told == {
        "v": 1, "manifest": "night", "job": "é3 $(x)", "files": ["/out/3.mp4", "/out/b.mp4"], "warnings": []
    }  # fmt: skip
    assert names == {
        "RIVYA_BATCH_MANIFEST": "night",
        "RIVYA_BATCH_JOB": "é3 $(x)",
        "RIVYA_BATCH_FILE": "/out/3.mp4",
        "RIVYA_BATCH_FILES": "/out/3.mp4\n/out/b.mp4",
    }
    assert len(list(tmp_path.glob("*.json"))) == 6
    assert said == []


def test_a_command_that_fails_is_told_but_not_a_thousand_times() -> None:
    said: list[str] = []
    on_done = OnDone(command_words("sh -c 'echo no room >&2; exit 3'"), said.append)
    for number in range(12):
        on_done.event("done", job=f"job {number}", files=[])
    on_done.close()

    assert len(said) == TOLD + 1
    assert "exit 3: no room" in said[0]
    assert "12 jobs of 12" in said[-1]
