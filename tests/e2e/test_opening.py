"""A page that opens by itself: where somebody sits before it, without a secret on any command line, and never else."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.support import Command, clean_environment, programme

MANIFEST = """\
version: 1
name: small
model: grok-imagine-video
params: {duration: 6, resolution: 480p}
polling: {first_s: 0.1, min_s: 0.1, max_s: 1}
jobs:
  - id: shot
    prompt: a lighthouse
"""
QUICK = ("--sandbox", "--sandbox-options", "--duration 0.05")
UP = "\x1b[1A"  # moves the cursor up a line
NO_BROWSER = "cannot start a browser"
DESKTOP = {
    "DISPLAY": ":0",
    "WAYLAND_DISPLAY": "",
    "SSH_CONNECTION": "",
    "SSH_TTY": "",
    "CI": "",
    "TERM": "xterm",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """A fake `xdg-open` that says what it was asked to open."""

    folder: Path
    pipe: int

    def asked(self) -> str:
        """Wait until it was started and return its arguments."""
        ready, _, _ = select.select([self.pipe], [], [], 30)
        assert ready, "no browser was started"
        return os.read(self.pipe, 10_000).decode().strip()

    @property
    def was_asked(self) -> bool:
        return bool(select.select([self.pipe], [], [], 0)[0])


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    folder = tmp_path / "bin"
    folder.mkdir()
    fifo = tmp_path / "asked"
    os.mkfifo(fifo)
    script = folder / "xdg-open"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >"{fifo}"\nexec /bin/sleep 60\n', encoding="utf-8")
    script.chmod(0o755)
    pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    yield Opener(folder=folder, pipe=pipe)
    os.close(pipe)


@pytest.fixture
def small(command: Command) -> Path:
    return command.write("small.yaml", MANIFEST)


def on_a_terminal(command: Command, *arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Run it with a terminal; return its exit code and what the terminal was sent."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [*programme(), *map(str, arguments)],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=command.workspace,
        env=clean_environment(**{**command.environment, **DESKTOP, **environment}),
        start_new_session=True,
    )
    os.close(its)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when nobody writes any more
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(timeout=30), shown.decode()


def path_of(url: str) -> Path:
    return Path(unquote(urlparse(url).path))


def test_a_run_opens_its_report_at_the_end_and_waits_for_no_browser(
    command: Command, small: Path, opener: Opener
) -> None:
    code, shown = on_a_terminal(command, "run", small, *QUICK, "--open", PATH=str(opener.folder))

    report = command.workspace / "out" / "small" / "sandbox" / "report.html"
    assert code == 0
    assert opener.asked() == report.as_uri()
    # The way there is told in any case: a path, and a link that a terminal can follow.
    assert "\x1b]8;id=" in shown
    assert f";{report.as_uri()}\x1b\\" in shown
    *_, path, url, bell = re.sub(r"\x1b\]8[^\\]*\\", "", shown).rstrip("\r\n").splitlines()
    assert path == "report     out/small/sandbox/report.html"
    assert url == f"           {report.as_uri()}"
    assert bell.startswith("\x1b]2;small: ")
    assert bell.endswith("\x07\a")


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [{"RIVYA_NO_BELL": "1"}, {"TERM": "dumb"}])
def test_nothing_rings_and_no_title_is_set_where_that_is_not_wanted(
    command: Command, small: Path, quiet: dict[str, str]
) -> None:
    code, shown = on_a_terminal(command, "run", small, *QUICK, **quiet)

    assert code == 0
    assert "\a" not in shown
    assert "\x1b]2;" not in shown


def test_without_a_browser_the_run_says_so_and_is_as_good(
    command: Command, small: Path, tmp_path: Path
) -> None:
    code, shown = on_a_terminal(command, "run", small, *QUICK, "--open", PATH=str(tmp_path))

    assert code == 0
    assert NO_BROWSER in shown


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"CI": "true"}, id="CI", marks=pytest.mark.slow),
        pytest.param({"DISPLAY": ""}, id="DISPLAY"),
        pytest.param({"SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, id="SSH", marks=pytest.mark.slow),
    ],
)
def test_nothing_opens_where_nobody_sits_before_it(
    command: Command, small: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """There is no browser here: trying to open one would be told."""
    code, shown = on_a_terminal(command, "run", small, *QUICK, "--open", PATH=str(tmp_path), **environment)

    assert code == 0
    assert NO_BROWSER not in shown
    assert "report.html" in shown


def test_nothing_opens_in_a_pipe_and_nothing_is_a_link(command: Command, small: Path, opener: Opener) -> None:
    outcome = command("run", small, *QUICK, "--open", env={**DESKTOP, "PATH": str(opener.folder)})

    assert outcome.code == 0
    assert "\x1b" not in outcome.stdout + outcome.stderr
    assert " spent (sandbox: nothing was paid)\n" in outcome.stdout
    assert outcome.stdout.splitlines()[-2] == "report     out/small/sandbox/report.html"
    assert not opener.was_asked


@pytest.mark.slow
def test_a_terminal_that_knows_no_links_gets_none(command: Command, small: Path) -> None:
    code, shown = on_a_terminal(command, "run", small, *QUICK, TERM="linux")

    assert code == 0
    assert "\x1b]8" not in shown
    assert "report.html" in shown
    assert UP in shown


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"CI": "true"}, id="CI"),
        pytest.param({"TERM": "dumb"}, id="TERM", marks=pytest.mark.slow),
    ],
)
def test_nothing_moves_on_a_terminal_that_keeps_a_log(
    command: Command, small: Path, environment: dict[str, str]
) -> None:
    code, shown = on_a_terminal(command, "run", small, *QUICK, **environment)

    assert code == 0
    assert UP not in shown
    assert "done       shot" in shown


def test_the_live_pages_secret_is_on_no_command_line(command: Command, small: Path, opener: Opener) -> None:
    """Whoever may list processes learns the path of a file, and may not read it."""
    command("run", small, *QUICK)
    server = command.start("serve", small, "--sandbox", "--open", env={**DESKTOP, "PATH": str(opener.folder)})
    assert server.stdout is not None
    url = server.stdout.readline().strip()

    door = path_of(opener.asked())

    assert url.partition("/t/")[2].strip("/") not in str(door)
    assert door.stat().st_mode & 0o777 == 0o600
    assert f'content="0; url={url}"' in door.read_text(encoding="utf-8")
    server.terminate()
    assert server.wait(timeout=20) == 0
    assert not door.exists()


@pytest.mark.slow
def test_no_color_means_no_colour(command: Command, small: Path) -> None:
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;[\d;]+)m")

    code, shown = on_a_terminal(command, "run", small, *QUICK)
    other = command.write("other.yaml", MANIFEST.replace("name: small", "name: other"))
    again, plain = on_a_terminal(command, "run", other, *QUICK, NO_COLOR="1")

    assert (code, again) == (0, 0)
    assert colour.search(shown)
    assert not colour.search(plain)
