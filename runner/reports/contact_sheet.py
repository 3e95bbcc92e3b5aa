"""A contact sheet in one file: all results small, with their titles; pages of A4 as PDF, or one tall picture.

It is drawn as pixels, so that it looks the same everywhere and needs nothing but Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.reports.stills import still_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

DPI = 150
PAGE = (1240, 1754)  # A4
MARGIN, GAP = 71, 24  # 12 mm, 4 mm
COLUMNS, ROWS = 4, 5  # of a page
CAPTION_LINES = 3
MOST_ON_ONE = 400  # of one tall picture: more is hard to open
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "Arial.ttf", "Helvetica.ttc")
INK, MUTED, PAPER, EMPTY = (27, 26, 24), (98, 94, 87), (255, 255, 255), (238, 238, 238)
FORMATS = {".pdf": "PDF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetShot:
    """One result on a sheet."""

    title: str
    path: Path
    mime: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetDrawn:
    """What became of it: pages, and how many films and pictures could not be shown."""

    pages: int
    blank: int


def draw_sheet(title: str, shots: Sequence[SheetShot], out: Path, format_name: str) -> SheetDrawn:
    """Write a sheet to a file.

    Args:
        title: What stands over it.
        shots: The results, in order.
        out: The file; it is overwritten.
        format_name: PDF, PNG or JPEG, as Pillow calls them.
    """
    sheets = _Sheets(title, shots)
    if format_name == "PDF":
        for number, page in enumerate(sheets.pages()):
            # Page after page: all of them at once would be gigabytes.
            page.save(out, format="PDF", resolution=DPI, title=title, append=number > 0)
        return SheetDrawn(pages=sheets.number, blank=sheets.blank)
    sheets.whole().save(out, format=format_name, **({"quality": 85} if format_name == "JPEG" else {}))
    return SheetDrawn(pages=1, blank=sheets.blank)


class _Sheets:
    def __init__(self, title: str, shots: Sequence[SheetShot]) -> None:
        self._title, self._shots = title, shots
        self.blank = 0
        self._cell_w = (PAGE[0] - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS
        self._line_h = 21
        self._top = MARGIN + 64
        inside = PAGE[1] - self._top - MARGIN
        self._cell_h = (inside - (ROWS - 1) * GAP) // ROWS
        self._shot_h = self._cell_h - CAPTION_LINES * self._line_h - 6

    @property
    def number(self) -> int:
        """How many pages there are."""
        return max(1, -(-len(self._shots) // (COLUMNS * ROWS)))

    def pages(self) -> Iterator[Image]:
        """Yield the pages."""
        each = COLUMNS * ROWS
        for number in range(self.number):
            yield self._page(
                self._shots[number * each : (number + 1) * each], PAGE[1], f"{number + 1} / {self.number}"
            )

    def whole(self) -> Image:
        """Return one tall picture of all of them."""
        rows = max(1, -(-len(self._shots) // COLUMNS))
        return self._page(self._shots, self._top + rows * (self._cell_h + GAP) - GAP + MARGIN, "")

    def _page(self, shots: Sequence[SheetShot], height: int, number: str) -> Image:
        from PIL import Image, ImageDraw

        page = Image.new("RGB", (PAGE[0], height), PAPER)
        draw = ImageDraw.Draw(page)
        draw.text((MARGIN, MARGIN), _cut(draw, self._title, PAGE[0] - 2 * MARGIN - 120, 30), INK, _font(30))
        if number:
            draw.text((PAGE[0] - MARGIN, MARGIN + 8), number, MUTED, _font(18), anchor="ra")
        for at, shot in enumerate(shots):
            left = MARGIN + at % COLUMNS * (self._cell_w + GAP)
            top = self._top + at // COLUMNS * (self._cell_h + GAP)
            self._draw(page, draw, shot, left, top)
        return page

    def _draw(self, page: Image, draw: ImageDraw, shot: SheetShot, left: int, top: int) -> None:
        still = still_of(shot.path, shot.mime, width=self._cell_w, height=self._shot_h)
        if still is not None:
            x = left + (self._cell_w - still.width) // 2
            page.paste(still, (x, top + (self._shot_h - still.height) // 2))
        else:
            self.blank += not shot.mime.startswith("audio/")
            draw.rectangle((left, top, left + self._cell_w, top + self._shot_h), fill=EMPTY)
            kind = {"video": "film", "audio": "sound"}.get(shot.mime.partition("/")[0], "picture")
            middle = (left + self._cell_w // 2, top + self._shot_h // 2)
            draw.text(middle, kind, MUTED, _font(20), anchor="mm")
        y = top + self._shot_h + 6
        for line, ink in _caption(draw, shot, self._cell_w):
            draw.text((left, y), line, ink, _font(16))
            y += self._line_h


def _caption(draw: ImageDraw, shot: SheetShot, width: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    lines = [(line, INK) for line in _wrapped(draw, shot.title, width, 2)]
    lines += [(line, MUTED) for line in _wrapped(draw, shot.note, width, CAPTION_LINES)]
    yield from lines[:CAPTION_LINES]


def _wrapped(draw: ImageDraw, text: str, width: int, most: int) -> Iterator[str]:
    words, line, told = text.split(), "", 0
    for at, word in enumerate(words):
        longer = f"{line} {word}".strip()
        if not line or draw.textlength(longer, _font(16)) <= width:
            line = longer
            continue
        if told == most - 1:
            line = " ".join([line, *words[at:]])
            break
        yield _cut(draw, line, width, 16)
        told, line = told + 1, word
    if line:
        yield _cut(draw, line, width, 16)


def _cut(draw: ImageDraw, text: str, width: int, size: int) -> str:
    """Return text that fits into a line, with an ellipsis where it does not."""
    if draw.textlength(text, _font(size)) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if draw.textlength(f"{text[:middle]}…", _font(size)) <= width:
            low = middle
        else:
            high = middle - 1
    return f"{text[:low]}…"


@cache
def _font(size: int) -> Any:
    """Return a font that knows as many scripts as one here does."""
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
