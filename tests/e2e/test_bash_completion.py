"""A Tab in a real bash: ids and paths with spaces arrive as one word."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.report_rows import Row, add, new_state
from tests.support import clean_environment, programme

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")

PROMPT = "ready>"
Tab = Callable[[str], str]


@pytest.fixture
def tab(tmp_path: Path, workspace: Path) -> Iterator[Tab]:
    """Type a line and a Tab, let an `echo` instead of the command show its words; return them."""
    command = tmp_path / "bin" / "rivya-batch"
    command.parent.mkdir()
    quoted = " ".join(f"'{word}'" for word in programme())
    command.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    rc = tmp_path / "bashrc"
    rc.write_text(
        f'eval "$(_RIVYA_BATCH_COMPLETE=bash_source {command})"\n'
        "bind 'set enable-bracketed-paste off'\n"
        "rivya-batch() { printf '[[%s]]' \"$(printf '<%s>' \"$@\")\"; }\n"
        f"PS1='{PROMPT} '\n",
        encoding="utf-8",
    )
    environment = clean_environment(
        PATH=f"{command.parent}:{os.environ['PATH']}", TERM="dumb", INPUTRC="/dev/null", HISTFILE=""
    )
    ours, its = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", rc, "-i"],
        stdin=its, stdout=its, stderr=its, cwd=workspace, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(its)

    def heard(end: str) -> str:
        told = ""
        while end not in told:
            ready, _, _ = select.select([ours], [], [], 30)
            assert ready, f"bash says no more than {told!r}"
            told += os.read(ours, 65536).decode()
        return told

    def type_line(line: str) -> str:
        os.write(ours, f"{line}\t\n".encode())
        return heard(f"{PROMPT} ").rpartition("[[")[2].partition("]]")[0]

    heard(f"{PROMPT} ")
    yield type_line
    shell.kill()
    shell.wait()
    os.close(ours)


@pytest.mark.parametrize("begun", ["my", "my\\ first", "'my f", '"my fi'])
def test_an_id_with_spaces_is_completed_as_one_word(tab: Tab, workspace: Path, begun: str) -> None:
    (workspace / "a night.yaml").write_text("name: night\n", encoding="utf-8")
    file = new_state(
        workspace / "state" / "runner.db",
        manifest="night",
        manifest_path=workspace / "a night.yaml",
        output_dir=workspace,
    )
    add(file, "night", [Row(id="my first shot", state="uncertain"), Row(id="other", state="uncertain")])
    file.close()

    words = tab(f"rivya-batch resolve a\\ night.yaml {begun}")

    assert words == "<resolve><a night.yaml><my first shot>"


def test_a_path_with_spaces_is_completed_as_one_word(tab: Tab, workspace: Path) -> None:
    (workspace / "a night.yaml").write_text("name: night\n", encoding="utf-8")

    assert tab("rivya-batch run a") == "<run><a night.yaml>"
