"""Progress on a terminal: a small view that stays in place, and the lines worth keeping above it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from runner.engine import Snapshot
from runner.progress.figures import credits_in_words, span
from runner.progress.plain import KIND_WIDTH, NAMES, ORDER, sentence, time_left, traffic
from runner.words import harmless

COLOURS = {
    "done": "green",
    "failed": "red",
    "uncertain": "yellow",
    "waiting": "cyan",
    "downloading": "cyan",
    "submitting": "cyan",
}
LASTING = (
    "failed",
    "uncertain",
    "overdue",
    "over_job",
    "warning",
    "notice",
    "canary",
    "no_credits",
    "surprise",
)


class LiveProgress:
    """A live view in at most ten lines, made for 80 columns and more.

    Text of others (prompts, messages) only ever goes in as `Text`: markup in it is not obeyed.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._recent: deque[Text] = deque(maxlen=3)
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        self._view: Snapshot | None = None
        self._closed = False
        self._width = console.width
        self._rows: list[int] = []  # columns of each line of the view as it was drawn last
        self.page = ""  # the address of a live page; below the view, so that it stays in sight

    def event(self, kind: str, **data: Any) -> None:
        """Keep what matters above the view; show the rest inside it."""
        if self._closed:
            return
        text = sentence(kind, data)
        if text is None:
            return
        style = COLOURS.get(kind, "dim")
        if kind in LASTING:
            self._console.print(_hanging(text, style))
        else:
            if not any(text == told.plain for told in self._recent if kind == "trouble"):
                self._recent.append(Text(text, style=style, no_wrap=True, overflow="ellipsis"))
        self._draw()

    def say(self, text: str) -> None:
        """Keep a line above the view."""
        self._console.print(Text(harmless(text, limit=1000)))

    def snapshot(self, view: Snapshot) -> None:
        """Draw the run as it is now."""
        self._view = view
        if not self._closed:
            self._draw()

    def _draw(self) -> None:
        if self._view is None:
            return
        picture = self._picture(self._view)
        self._clear_if_resized()
        self._live.update(picture, refresh=True)
        lines = self._console.render_lines(picture, pad=False)
        self._rows = [sum(segment.cell_length for segment in line) for line in lines]

    def _clear_if_resized(self) -> None:
        """A narrower terminal has broken our lines anew: erase all of them, or some would stay for ever."""
        width = self._console.width
        if width == self._width:
            return
        if self._rows and width < self._width:
            more = sum(-(-max(columns, 1) // width) for columns in self._rows) - len(self._rows)
            if more > 0:
                row = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
                self._console.control(Control(ControlType.CARRIAGE_RETURN, *row * more))
        self._width = width

    def _picture(self, view: Snapshot) -> Group:
        total = sum(view.counts.values()) - view.counts.get("off", 0)
        ended = sum(view.counts.get(name, 0) for name in ("done", "failed", "abandoned", "uncertain"))
        head = Text(f"{self._title}  ", style="bold", no_wrap=True, overflow="ellipsis")
        head.append(f"{ended:,} of {total:,} jobs  {span(view.elapsed_s)}", style="default")
        head.append(time_left(view), style="default")
        states = Text(no_wrap=True, overflow="ellipsis")
        for name in ORDER:
            if view.counts.get(name):
                states.append(
                    f"{view.counts[name]:,} {NAMES.get(name, name)}  ", style=COLOURS.get(name, "default")
                )
        money = Table.grid(padding=(0, 2))
        cap = f" of {credits_in_words(view.cap)}" if view.cap is not None else ", no cap"
        money.add_row(
            Text("credits"),
            Text(f"{credits_in_words(view.charged)} spent + {credits_in_words(view.reserved)} reserved{cap}"),
        )
        money.add_row(
            Text("service"),
            Text(
                f"{traffic(view.requests, view.rejections, view.rate_per_s)}; {view.in_flight:,} running at the service"
            ),
        )
        parts: list[Any] = [head, _bar(view.counts, self._console.width - 1), states, money]
        # What the note says, the lines below need not say again.
        note = harmless(view.note)
        recent = [
            line for line in self._recent if not (note and note.removeprefix("trouble: ") in line.plain)
        ]
        if view.note:
            parts.append(Text(note, style="yellow", no_wrap=True, overflow="ellipsis"))
        if self.page:
            recent = [*recent[-2:], Text(f"live page  {self.page}", style="dim", overflow="fold")]
        return Group(*parts, *recent)

    def close(self) -> None:
        """Give the terminal back."""
        if not self._closed:
            self._closed = True
            self._live.stop()


def _bar(counts: Mapping[str, int], width: int) -> Text:
    """Return a bar as wide as the terminal, of the colours of the states."""
    order = (
        "done",
        "failed",
        "uncertain",
        "downloading",
        "waiting",
        "submitting",
        "uploading",
        "planned",
        "abandoned",
        "off",
    )
    total = sum(counts.values()) or 1
    bar = Text(no_wrap=True, overflow="crop")
    told = drawn = 0
    for name in order:
        told += counts.get(name, 0)
        to = round(width * told / total)
        bar.append(
            "\N{BOX DRAWINGS HEAVY HORIZONTAL}" * (to - drawn), style=COLOURS.get(name, "bright_black")
        )
        drawn = to
    return bar


def _hanging(text: str, style: str) -> Table:
    """Return a line that is worth reading whole: what does not fit goes on below, under its own column."""
    line = Table.grid()
    line.add_column(min_width=KIND_WIDTH, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(Text(text[:KIND_WIDTH], style=style), Text(text[KIND_WIDTH:], style=style))
    return line
