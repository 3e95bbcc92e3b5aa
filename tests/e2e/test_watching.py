"""`status --watch` from another terminal, and without one."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.report_rows import Row, add, new_state
from tests.support import Command


def some_night(workspace: Path) -> None:
    file = new_state(
        workspace / "state" / "runner.db",
        manifest="night",
        manifest_path=workspace / "night.yaml",
        output_dir=workspace,
    )
    add(file, "night", [Row(id="a"), Row(id="b", state="failed")])
    file.close()


def test_without_a_terminal_it_is_a_line_now_and_then(command: Command, workspace: Path) -> None:
    some_night(workspace)
    process = command.start("status", "--watch")
    assert process.stdout is not None
    assert process.stderr is not None

    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)

    assert "1 done" in line
    assert "1 failed" in line
    assert process.wait(timeout=10) == 0
    assert (process.stdout.read(), process.stderr.read()) == ("", "")


def test_programs_get_objects(command: Command, workspace: Path) -> None:
    some_night(workspace)
    process = command.start("status", "--watch", "--json")
    assert process.stdout is not None

    told = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)

    assert told["manifests"][0]["counts"] == {"done": 1, "failed": 1}
    assert process.wait(timeout=10) == 0
