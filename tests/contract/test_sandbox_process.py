"""The sandbox as a process of its own: connections that break, and a ledger that survives."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.sandbox_inside import GROK
from tests.support import KEY, ROOT, Sandbox, clean_environment

Start = Callable[..., Sandbox]
HEADERS = {"authorization": f"Bearer {KEY}"}


def submit(sandbox: Sandbox, key: str = "k", http: httpx.Client | None = None) -> httpx.Response:
    headers = {**HEADERS, "idempotency-key": key}
    return (http or sandbox.http).post("/api/v1/generations", json=GROK, headers=headers)


def result_url(sandbox: Sandbox) -> str:
    task = submit(sandbox).json()
    sandbox.advance(60)
    answer = sandbox.http.get(f"/api/v1/generations/{task['id']}", headers=HEADERS)
    return str(answer.json()["result"]["primary_url"])


@pytest.mark.parametrize(
    ("fault", "error", "charged"),
    [
        ({"do": "drop_before"}, httpx.RemoteProtocolError, 0),
        ({"do": "drop_after"}, httpx.RemoteProtocolError, 10),
        ({"do": "drop_after", "reset": True}, httpx.ReadError, 10),
        ({"do": "truncated"}, httpx.RemoteProtocolError, 10),
    ],
)
def test_a_connection_breaks_where_the_rule_says(
    sandbox: Sandbox, fault: dict[str, Any], error: type[Exception], charged: int
) -> None:
    sandbox.faults({"on": "submit", "times": 1, **fault})
    with pytest.raises(error):
        submit(sandbox)
    assert sandbox.ledger()["charged"] == charged
    assert submit(sandbox).status_code == 201
    assert sandbox.ledger()["charged"] == 10


def test_a_hang_outlasts_a_client_that_gives_up(sandbox: Sandbox) -> None:
    sandbox.faults(
        {"on": "submit", "do": "hang", "times": 1}, {"on": "submit", "do": "hang_after", "times": 1}
    )
    with httpx.Client(base_url=sandbox.base_url, timeout=0.1, trust_env=False) as hasty:
        for charged in (0, 10):
            with pytest.raises(httpx.ReadTimeout):
                submit(sandbox, f"k{charged}", http=hasty)
            assert sandbox.ledger()["charged"] == charged
    assert submit(sandbox, "k10").status_code in (201, 409)


def test_downloads_break_in_every_way(sandbox: Sandbox) -> None:
    url = result_url(sandbox)
    whole = sandbox.http.get(url).content
    kinds = ("truncated", "truncated_no_length", "wrong_length", "drip")
    sandbox.faults(*({"on": "result", "do": do, "times": 1, "bytes_per_s": 10**9} for do in kinds))

    with pytest.raises(httpx.RemoteProtocolError):
        sandbox.http.get(url)
    assert sandbox.http.get(url).content == whole[: len(whole) // 2], "nothing says that it was cut"
    assert sandbox.http.get(url).content == whole[: len(whole) // 2]
    assert sandbox.http.get(url).content == whole


def test_the_ledger_survives_a_kill_and_the_port_stays(start_sandbox: Start, tmp_path: Path) -> None:
    state = tmp_path / "kept.db"
    first = start_sandbox("--duration", "5", state=state)
    task = submit(first).json()
    file = first.http.post(
        "/api/v1/files", files={"file": b"\x89PNG\r\n\x1a\n0"}, data={"kind": "image"}, headers=HEADERS
    )
    first.process.kill()
    first.process.wait()

    second = start_sandbox("--duration", "5", state=state)
    assert second.base_url == first.base_url
    assert submit(second).json() == task
    assert second.http.get(f"/api/v1/files/{file.json()['id']}", headers=HEADERS).status_code == 200
    assert second.ledger()["charged"] == 10
    second.advance(10)
    assert second.http.get("/api/v1/credits", headers=HEADERS).json() == {"current_credits": 99_990}


def test_a_remembered_port_that_is_taken_gives_way_to_another(start_sandbox: Start, tmp_path: Path) -> None:
    state = tmp_path / "kept.db"
    first = start_sandbox(state=state)
    first.close()
    port = int(first.base_url.rpartition(":")[2])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        assert start_sandbox(state=state).base_url != first.base_url


def test_it_dies_with_its_parent(start_sandbox: Start) -> None:
    sandbox = start_sandbox()
    assert sandbox.process.stdin is not None
    sandbox.process.stdin.close()
    assert sandbox.process.wait(timeout=5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_once_even_while_requests_hang(sandbox: Sandbox, number: signal.Signals) -> None:
    sandbox.faults({"on": "submit", "do": "hang"})
    with httpx.Client(base_url=sandbox.base_url, timeout=0.1, trust_env=False) as hasty:
        with pytest.raises(httpx.ReadTimeout):
            submit(sandbox, http=hasty)
        sandbox.process.send_signal(number)
        assert sandbox.process.wait(timeout=3) == 0


def test_it_can_be_told_to_stop(sandbox: Sandbox) -> None:
    assert sandbox.http.post("/_sandbox/stop").json() == {"stopping": True}
    assert sandbox.process.wait(timeout=3) == 0


@pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 10), ("answered", 10)])
def test_it_kills_the_client_it_is_told_to(sandbox: Sandbox, when: str, charged: int) -> None:
    """Before or after the submit is accepted, or as soon as the answer is out."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, sandbox.base_url, json.dumps(GROK)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with client:
        sandbox.faults({"on": "submit", "do": "kill_client", "pid": client.pid, "when": when, "nth": 1})
        client.communicate("go\n", timeout=20)
    assert client.returncode == -signal.SIGKILL
    assert sandbox.ledger()["charged"] == charged


CLIENT = """
import sys, time, urllib.request
sys.stdin.readline()
request = urllib.request.Request(sys.argv[1] + "/api/v1/generations", data=sys.argv[2].encode(), headers={
    "authorization": "Bearer rvya_sk_client", "content-type": "application/json", "idempotency-key": "k"})
urllib.request.urlopen(request).read()
time.sleep(60)
"""


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runner.sandbox", *flags]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, cwd=ROOT, check=False,
        env=clean_environment(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--host", "0.0.0.0"], "not a loopback address"),
        (["--faults", '{"on": "submit", "do": "explode"}'], "explode"),
        (["--contracts", "/nonexistent"], "no model contracts"),
    ],
)
def test_what_it_cannot_do_is_said_in_a_line(flags: list[str], said: str) -> None:
    ended = run(*flags)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_two_sandboxes_do_not_share_a_ledger(sandbox: Sandbox) -> None:
    ended = run("--state", str(sandbox.state))
    assert (ended.returncode, "in use by another sandbox" in ended.stderr) == (2, True)


def test_the_address_goes_where_it_was_asked_for(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "runner.sandbox", "--announce-fd", str(writer), "--die-with-stdin"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(writer,), cwd=ROOT,
            env=clean_environment(),
        )  # fmt: skip
        os.close(writer)
        with process:
            announced = json.loads(lines.readline())
            assert announced == {"base_url": announced["base_url"], "pid": process.pid, "state": ":memory:"}
            assert httpx.get(f"{announced['base_url']}/api/v1/models", trust_env=False).status_code == 200
            stdout, _ = process.communicate(b"", timeout=5)
        assert stdout == b""


def test_its_clock_may_be_another(start_sandbox: Start) -> None:
    sandbox = start_sandbox("--clock-ahead", "36000")
    sandbox.faults({"on": "task", "do": "results_at", "times": 1})
    now = time.time()
    answer = submit(sandbox)
    sandbox.advance(60)
    task = sandbox.http.get(f"/api/v1/generations/{answer.json()['id']}", headers=HEADERS).json()

    assert 35_990 < parsedate_to_datetime(answer.headers["date"]).timestamp() - now < 36_060
    assert 35_990 < datetime.fromisoformat(task["created_at"]).timestamp() - now < 36_060
    assert task["result"]["primary_url"].startswith("https://198.18.0.7/")
