"""`run --web` and `serve` from outside: a plain HTTP client in the place of the browser."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.report_rows import Row, add, new_state
from tests.support import Command

MANIFEST = """\
version: 1
name: night
model: grok-imagine-video
params: {duration: 6, resolution: 480p}
budget: {max_credits: 500}
limits: {requests_per_second: 20}
polling: {first_s: 0.2, min_s: 0.2, max_s: 1}
jobs:
  - id: "shot"
    repeat: 20
    prompt: a lighthouse
"""


class Running:
    """A command that serves a page: its process, what it said, and a browser's view of its page."""

    def __init__(self, process: Any) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = self._url()
        self.origin = self.url.partition("/t/")[0]
        # What else it says must not fill the pipe.
        self._drain = threading.Thread(target=lambda: self.said.extend(process.stderr), daemon=True)
        self._drain.start()

    def _url(self) -> str:
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(r"live page (http://\S+)", line)
            if found:
                return found[1]
        msg = f"it named no address: {self.said}"
        raise AssertionError(msg)

    def order(self, do: str) -> int:
        answer = httpx.post(f"{self.url}control", json={"do": do}, headers={"origin": self.origin})
        return answer.status_code

    def events(self, last_id: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield (id, kind, data) of a new stream of events."""
        headers = {} if last_id is None else {"last-event-id": last_id}
        with (
            httpx.Client(timeout=30, trust_env=False) as client,
            client.stream("GET", f"{self.url}events", headers=headers) as answer,
        ):
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    event[name] = value
                else:
                    if "data" in event:
                        yield event.get("id", ""), event["event"], json.loads(event["data"])
                    event = {}

    def ended(self) -> int:
        code: int = self.process.wait(timeout=30)
        self._drain.join(timeout=10)
        return code


class View:
    """The jobs as a page would show them."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.files: dict[int, list[Any]] = {}
        self.head: dict[str, Any] = {}
        self.last_id = ""
        self.kinds: list[str] = []

    def take(self, event: tuple[str, str, dict[str, Any]]) -> None:
        id_, kind, data = event
        self.kinds.append(kind)
        self.last_id = id_ or self.last_id
        self.head = data.get("head", self.head)
        jobs = data.get("jobs", {"row": []})
        for at, row in enumerate(jobs["row"]):
            self.states[row] = data["tables"]["state"][jobs["state"][at]]
            self.files[row] = jobs["files"][at]


@pytest.fixture
def night(command: Command) -> Path:
    return command.write("night.yaml", MANIFEST)


def run_web(command: Command, manifest: Path, *more: str) -> Running:
    return Running(
        command.start(
            "run",
            manifest,
            "--sandbox",
            "--web",
            "--no-open",
            *more,
            "--sandbox-options",
            "--duration 0.3:1.5",
        )
    )


@pytest.mark.slow
def test_a_browser_that_comes_and_goes_ends_up_with_the_truth(command: Command, night: Path) -> None:
    run = run_web(command, night)
    view = View()

    for order in ("hold", "go on", None):
        # A browser that takes one event and is gone; whatever happens then, it is told when it is back.
        view.take(next(run.events(view.last_id or None)))
        if order:
            assert run.order(order) == 202
    for event in run.events(view.last_id):
        view.take(event)
    code = run.ended()

    assert code == 0
    assert (view.kinds.count("report"), view.kinds[-1]) == (1, "end")
    assert list(view.states.values()) == ["done"] * 20
    assert view.head["now"]["phase"] == "ended"
    assert (view.head["counts"], view.head["charged"]) == ({"done": 20}, 200)


@pytest.mark.slow
def test_results_can_be_watched_while_the_run_goes_on(command: Command, night: Path) -> None:
    run = run_web(command, night, "--canary", "2")
    view = View()
    for event in run.events():
        view.take(event)
        if view.kinds == ["report"]:
            assert run.order("hold") == 202  # it may not be over before we have looked
        done = [row for row, state in view.states.items() if state == "done"]
        if done:
            break
    url, mime, size, *_ = view.files[done[0]][0]

    whole = httpx.get(run.url + url)
    part = httpx.get(run.url + url, headers={"range": "bytes=4-7"})

    assert (whole.status_code, len(whole.content), whole.headers["content-type"]) == (200, size, mime)
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert run.order("go on") == 202
    assert run.ended() == 0


def test_held_means_nothing_new_is_submitted_and_stop_drains(command: Command, night: Path) -> None:
    run = run_web(command, night, "--canary", "2")
    view = View()
    phases: list[str] = []
    held: dict[int, str] = {}

    for event in run.events():
        view.take(event)
        if not phases or phases[-1] != view.head["now"]["phase"]:
            phases.append(view.head["now"]["phase"])
        if view.kinds == ["report"]:
            assert run.order("hold") == 202
        quiet = not {"waiting", "downloading", "submitting"} & set(view.states.values())
        # Once: an event that was already on its way still says held, and by then nobody may listen.
        if view.head["now"]["phase"] == "held" and quiet and not held:
            held = dict(view.states)
            assert run.order("stop") == 202
    code = run.ended()

    assert code == 130
    assert list(held.values()).count("planned") >= 18
    assert view.states == held
    assert phases[-1] == "ended"
    assert "held" in phases
    assert any("from the live page" in line for line in run.said)


@pytest.mark.slow
def test_a_browser_that_never_reads_does_not_keep_the_run(command: Command, night: Path) -> None:
    run = run_web(command, night)
    host, port = run.origin.removeprefix("http://").split(":")
    deaf = [socket.create_connection((host, int(port))) for _ in range(3)]
    for each in deaf:
        path = run.url.removeprefix(run.origin)
        each.sendall(f"GET {path}events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())

    code = run.ended()

    assert code == 0
    for each in deaf:
        each.close()


@pytest.mark.slow
def test_a_port_that_is_taken_is_no_reason_to_fail(command: Command, night: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = run_web(command, night, "--port", str(taken.getsockname()[1]))
        assert httpx.get(run.url).status_code == 200
        assert run.ended() == 0

    assert any("cannot be used" in line for line in run.said)


def test_serve_shows_what_was_run_last_until_ctrl_c(command: Command, workspace: Path) -> None:
    file = new_state(
        workspace / "state" / "runner.db",
        manifest="night",
        manifest_path=workspace / "night.yaml",
        output_dir=workspace,
    )
    add(file, "night", [Row(id="a"), Row(id="b", state="failed")])
    file.close()
    process = command.start("serve", "--no-open", "--json")
    assert process.stdout is not None

    told = json.loads(process.stdout.readline())
    page = httpx.get(told["url"])
    refused = httpx.post(
        f"{told['url']}control", json={"do": "stop"}, headers={"origin": told["url"].partition("/t/")[0]}
    )
    process.send_signal(signal.SIGINT)

    assert (told["v"], told["type"], told["manifest"]) == (1, "serve", "night")
    assert "<title>night" in page.text
    assert refused.status_code == 405
    assert process.wait(timeout=10) == 0


def test_serve_has_nothing_to_show_before_a_run(command: Command, night: Path) -> None:
    outcome = command("serve", night, "--no-open")

    assert outcome.code == 2
    assert "nothing has been run here yet" in outcome.stderr


@pytest.mark.slow
def test_hundreds_of_idle_connections_of_others_hold_up_neither_the_run_nor_its_page(
    command: Command,
) -> None:
    """Anybody on this machine may connect, without the secret; the run has only so many descriptors."""
    manifest = command.write("night.yaml", MANIFEST.replace("repeat: 20", "repeat: 6"))
    few = ("sh", "-c", 'ulimit -n 100; exec "$@"', "few")
    slow = ("--sandbox-options", "--duration 2:2")
    night = Running(command.start("run", manifest, "--sandbox", "--web", "--no-open", *slow, wrapper=few))
    port = int(night.origin.rpartition(":")[2])
    crowd: list[socket.socket] = []
    try:
        for _ in range(400):
            crowd.append(socket.socket())
            crowd[-1].setblocking(False)
            crowd[-1].connect_ex(("127.0.0.1", port))
        with httpx.Client(trust_env=False, timeout=20) as browser:
            pages = [browser.get(night.url) for _ in range(5)]

        assert [page.status_code for page in pages] == [200] * 5
        assert night.ended() == 0, night.said
        assert not [line for line in night.said if "has stopped" in line or "cannot be" in line]
    finally:
        for connection in crowd:
            connection.close()
