"""The programs of `manifests/programs` run as they stand, in the sandbox."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import runner
from tests.support import HURRIED, clean_environment

PATIENCE_S = 60.0


@pytest.mark.slow
def test_the_notebook_tells_the_price_runs_and_lists_the_rows(examples: Path) -> None:
    for again in (False, True):
        told = subprocess.run(
            [sys.executable, "manifests/programs/notebook.py"],
            cwd=examples.parent,
            env={**clean_environment(), **HURRIED},
            capture_output=True,
            text=True,
            check=False,
        )

        assert (told.returncode, told.stderr) == (0, "")
        submits = 0 if again else 7
        price, *lines = told.stdout.splitlines()
        assert re.match(rf"first-steps: {submits} to submit, about \d+ credits", price)
        assert len([line for line in lines if line.startswith("  done  ")]) == submits
        (outcome,) = [line for line in lines if line.startswith("{'done': 7}, ")]
        assert outcome.endswith("/sandbox/report.html")
        assert [line.split()[1] for line in lines[-7:]] == ["done"] * 7


@pytest.fixture
def service(examples: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The service, at any port that is free."""
    with subprocess.Popen(
        [sys.executable, "manifests/programs/service.py", "0"],
        cwd=examples.parent,
        env={**clean_environment(), **HURRIED},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            found = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stderr)
            url = next(each[0] for each in found if each)
            with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
                yield process, client
        finally:
            process.kill()


def seen(client: httpx.Client, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look until it is enough."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found: dict[str, Any] = client.get("/").json()
        if enough(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


@pytest.mark.slow
def test_the_service_runs_several_beside_its_requests_and_drains_as_it_is_stopped(
    service: tuple[subprocess.Popen[str], httpx.Client], examples: Path
) -> None:
    process, client = service
    assert client.get("/").json() == {}
    assert client.post("/no-such-manifest").status_code == 404
    for name in ("05-overnight", "01-first-steps"):
        assert client.post(f"/{name}").status_code == 202
    assert client.post("/05-overnight").status_code == 409

    found = seen(
        client,
        lambda all_: (
            all_["01-first-steps"]["ended"] is not None and all_["05-overnight"]["seen"].get("submitted")
        ),
    )
    assert found["01-first-steps"]["seen"] == {"submitted": 7, "done": 7}
    assert found["01-first-steps"]["ended"] == {"exit_code": 0, "counts": {"done": 7}}
    assert found["05-overnight"]["ended"] is None

    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    told = process.stderr.read()
    process.wait(PATIENCE_S)
    assert "Application shutdown complete" in told
    assert "Traceback" not in told

    standing = runner.status(examples / "05-overnight.yaml", sandbox=True)
    assert (standing.running, standing.total) == (None, 60)
    assert standing.last_run is not None
    assert standing.last_run["exit_code"] == runner.Exit.INTERRUPTED
    rows = map(json.loads, runner.export(examples / "05-overnight.yaml", "jsonl", sandbox=True).splitlines())
    assert {row["state"] for row in rows} <= {"planned", "uploading", "waiting", "downloading", "done"}
