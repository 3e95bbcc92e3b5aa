"""The live view on a terminal: it fits, it stays small, and obeys nobody's markup."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from runner.engine import Snapshot
from runner.engine.view import OutJob
from runner.progress.live import LiveProgress
from runner.progress.plain import time_left

VIEW = Snapshot(
    counts={
        "planned": 1200,
        "submitting": 7,
        "waiting": 1500,
        "downloading": 12,
        "done": 30_000,
        "failed": 40,
    },
    orphans=3,
    charged=301_234.5,
    reserved=15_000.0,
    cap=400_000.0,
    rate_per_s=48.7,
    requests=91_000,
    rejections=120,
    polls=50_000,
    in_flight=1507,
    elapsed_s=7300.0,
    eta_s=2500.0,
    note="HTTP 502 " * 30,
)


def shown(width: int, act: str) -> list[str]:
    """Return the lines a terminal of a width is sent."""
    screen = io.StringIO()
    console = Console(
        file=screen, width=width, height=24, force_terminal=True, no_color=True, markup=False, highlight=False
    )
    progress = LiveProgress(console, "a-night-of-clips")
    if act == "view":
        for n in range(5):
            progress.event("done", job=f"job-{n}", files=["out/" + "long/" * 40 + "x.mp4"])
        screen.truncate(screen.seek(0))
        progress.snapshot(VIEW)
    else:
        progress.event(
            "failed", job="[red]雪[/]", cls="generation", message="it was refused " * 12, again=True
        )
    codes = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")
    return [text for line in screen.getvalue().split("\n") if (text := codes.sub("", line).rstrip())]


@pytest.mark.parametrize("width", [80, 200])
def test_the_view_fits_in_ten_lines_of_any_terminal(width: int) -> None:
    lines = shown(width, "view")

    assert len(lines) <= 10
    assert max(map(cell_len, lines)) <= width
    assert lines[0] == "a-night-of-clips  30,040 of 32,759 jobs  2 h 02 min, about 42 min left"


def test_what_went_wrong_is_told_whole_and_under_its_own_column() -> None:
    lines = shown(80, "failure")

    assert lines[0].startswith("failed     [red]雪[/]")
    assert all(line.startswith(" " * 11) and line[11] != " " for line in lines[1:])
    assert max(map(cell_len, lines)) <= 80
    assert " ".join(line[11:].strip() for line in lines).count("refused") >= 8
    assert lines[-1].endswith("costs credits)")


def view_on(width: int) -> tuple[io.StringIO, LiveProgress, Console]:
    screen = io.StringIO()
    console = Console(file=screen, width=width, height=24, force_terminal=True, no_color=True)
    return screen, LiveProgress(console, "night"), console


def test_one_trouble_is_said_once() -> None:
    screen, progress, _ = view_on(80)
    for job in ("a", "a", "a"):
        progress.event("trouble", job=job, message="HTTP 502, text/html")
    screen.truncate(screen.seek(0))
    progress.snapshot(replace(VIEW, note="HTTP 502, text/html"))

    assert screen.getvalue().count("HTTP 502") == 1


def test_the_address_of_the_live_page_stays_in_the_view() -> None:
    screen, progress, _ = view_on(80)
    progress.page = "http://127.0.0.1:9/t/x/"
    progress.snapshot(VIEW)

    assert "live page  http://127.0.0.1:9/t/x/" in screen.getvalue()


def test_the_rate_is_called_what_it_is_and_no_time_left_is_not_said() -> None:
    screen, progress, _ = view_on(100)
    progress.snapshot(replace(VIEW, eta_s=0.2))

    assert "91,000 requests, up to 48.7/s" in screen.getvalue()
    assert "about 0" not in screen.getvalue()


def test_the_bar_is_as_wide_as_the_terminal() -> None:
    lines = {width: max(len(line) for line in shown(width, "view") if "━" in line) for width in (80, 200)}

    assert lines == {80: 79, 200: 199}


def test_a_narrower_terminal_leaves_no_rubbish() -> None:
    """Each line of 120 columns has become three of 50: all of them are gone back over."""
    screen, progress, console = view_on(120)
    progress.snapshot(VIEW)
    before = list(progress._rows)
    console.width = 50
    screen.truncate(screen.seek(0))
    progress.snapshot(VIEW)

    broken = sum(-(-columns // 50) for columns in before)
    up = sum(int(each or 1) for each in re.findall(r"\x1b\[(\d*)A", screen.getvalue()))
    assert up >= broken - 1


def test_what_a_run_waits_for_is_named_when_it_takes_longer_than_usual() -> None:
    late = OutJob(job="station-fog-1", age_s=18.0, usual_s=2.0)
    view = replace(VIEW, eta_s=0.1, waiting_for=(late, OutJob(job="b", age_s=1.0, usual_s=2.0)))

    assert time_left(view) == ", waiting for 2 jobs (station-fog-1 and 1 more): 18 s so far, usually 2 s"
    assert time_left(replace(view, waiting_for=view.waiting_for[1:])) == "", "it is not late yet"
    assert time_left(replace(view, waiting_for=(replace(late, usual_s=None),))) == (
        ", waiting for 1 job (station-fog-1): 18 s so far"
    )
    assert time_left(VIEW).startswith(", about 4")
