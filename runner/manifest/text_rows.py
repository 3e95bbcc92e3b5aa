"""Rows of a text file: one prompt a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from runner.manifest.lines import BadLine, LineReader
from runner.manifest.ordinary_files import open_regular
from runner.manifest.rows import Row, Rows

COMMENT = "#"


class TextRows(Rows):
    """One row for each line: `${row.text}` is the line, `${row.line}` its number. Blank and `#` lines are skipped."""

    @property
    def columns(self) -> Sequence[str] | None:
        """What is known of a line."""
        return ("text", "line")

    def _read(self) -> Iterator[Row]:
        count = skipped = 0
        tabs: set[int] = set()  # how many there are in a line
        first = (1, "")
        with open_regular(self.path) as opened:
            lines = LineReader(opened, self, self.reading.encoding)
            while True:
                lines.mark()
                try:
                    line = next(lines, None)
                except BadLine:
                    continue
                if line is None:
                    break
                text = line.strip()
                if text.startswith(COMMENT):
                    skipped += 1
                    first = first if skipped > 1 else (lines.number, text)
                elif text:
                    count += 1
                    if len(tabs) < 2:
                        tabs.add(line.count("\t"))
                    yield Row({"text": text, "line": lines.number}, self.spot(lines.number, 1, line))
        if skipped:
            plural = "s that begin" if skipped > 1 else " that begins"
            what = f"{skipped} line{plural} with `#` in this file: a comment, and no job"
            self.warn(
                first[0],
                1,
                what,
                "comment-line",
                "put a prompt that begins with `#` into a .csv file",
                first[1],
            )
        if count > 1 and len(tabs) == 1 and tabs != {0}:
            what = (
                "all lines of this file have as many tabs: it looks like a table, and each line is one prompt"
            )
            hint = f"for a table write `rows: {{file: {PurePath(self.source.file).name}, delimiter: tab}}`"
            self.warn(1, 1, what, "table-as-text", hint)
        if not count:
            self.warn(1, 1, "this file has no rows", "no-rows")
