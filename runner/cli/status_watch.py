"""`status --watch`: the same words again and again, in place on a terminal, as lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from runner.cli.output import complain, console, show
from runner.errors import RunnerError
from runner.words import harmless_lines, json_text

if TYPE_CHECKING:
    from rich.console import Console

    from runner.api.status import Standing

TERMINAL_EVERY_S = 1.0
LINES_EVERY_S = 5.0

Look = Callable[[], "list[Standing]"]


def follow(look: Look, *, as_json: bool, in_words: Callable[[Standing], str]) -> None:
    """Show how manifests stand until Ctrl-C, which is how this ends and no error."""
    screen = console()
    try:
        if as_json:
            _lines(look, _json_line)
        elif screen.is_terminal:
            _in_place(screen, look, in_words)
        else:
            _lines(look, one_line)
    except KeyboardInterrupt:
        return


def _in_place(screen: Console, look: Look, in_words: Callable[[Standing], str]) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(console=screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            try:
                words = "\n\n".join(map(in_words, look())) or "no manifest has been run here yet"
            except RunnerError as exc:
                words = exc.message
            live.update(Text(harmless_lines(words), no_wrap=True, overflow="ellipsis"), refresh=True)
            time.sleep(TERMINAL_EVERY_S)


def _lines(look: Look, line_of: Callable[[Standing], str]) -> None:
    """Write a line for each manifest that stands otherwise than at the last look."""
    said: dict[str, str] = {}
    while True:
        try:
            for standing in look():
                line = line_of(standing)
                if said.get(standing.name) != line:
                    said[standing.name] = line
                    show(line)
        except RunnerError as exc:
            complain(exc.message)
        time.sleep(LINES_EVERY_S)


def _json_line(standing: Standing) -> str:
    return json_text({"v": 1, "type": "status", "manifests": [asdict(standing)]})


def one_line(standing: Standing) -> str:
    """Return how a manifest stands as one line."""
    from runner.progress.figures import credits_in_words, span
    from runner.progress.plain import states

    parts = [
        f"{standing.name}: {states(standing.counts) or 'no jobs'}",
        f"credits {credits_in_words(standing.charged)} spent + {credits_in_words(standing.reserved)} reserved",
    ]
    run = standing.running or standing.last_run
    if standing.running:
        stats = standing.running["stats"]
        rate = f" at {stats['rate_per_s']:.1f} requests/s" if stats.get("rate_per_s") else ""
        left = f", about {span(standing.eta_s)} left" if standing.eta_s is not None else ""
        how = (
            "stopped (Ctrl-Z)" if standing.running["paused"] else "paused" if stats.get("held") else "running"
        )
        parts.append(f"{how}{rate}{left}")
    elif run:
        parts.append(f"ended with exit code {run['exit_code']}" if run["ended_at"] else "was killed")
    return " | ".join(parts)
