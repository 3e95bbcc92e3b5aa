"""The lines of a file, read as they are wanted, counted, and checked to be text."""

from __future__ import annotations

from typing import BinaryIO, Final

from runner.manifest.rows import Rows

LONGEST_LINE: Final = 4_000_000  # bytes


class BadLine(Exception):
    """A line that is not text; the reason is already reported."""


class Lines:
    """The lines of a file as text, counted; remembers the first line since `mark`."""

    def __init__(self, file: BinaryIO, rows: Rows) -> None:
        self._file = file
        self._rows = rows
        self.number = 0
        self.first = 0
        self.text = ""

    def mark(self) -> None:
        """Begin a record: `first` and `text` are those of the next line read."""
        self.first = 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        data = self._file.readline(LONGEST_LINE + 1)
        if not data:
            raise StopIteration
        self.number += 1
        if len(data) > LONGEST_LINE:
            what = f"this line is longer than {LONGEST_LINE // 1_000_000} MB"
            self._rows.error(self.number, 1, what, "line-too-long", text=data[:80].decode("utf-8", "replace"))
            while data and not data.endswith(b"\n"):
                data = self._file.readline(LONGEST_LINE)
            raise BadLine
        if self.number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as exc:
            seen = data.decode("utf-8", "replace")
            column = len(data[: exc.start].decode("utf-8", "replace")) + 1
            what = f"this is not UTF-8 text (byte 0x{data[exc.start]:02x})"
            self._rows.error(self.number, column, what, "not-utf8", "save the file as UTF-8", seen)
            raise BadLine from None
        if "\0" in text:
            what = "there is a NUL character in this line"
            hint = "save the file as UTF-8 text"
            self._rows.error(self.number, text.index("\0") + 1, what, "control-character", hint, text)
            raise BadLine
        if not self.first:
            self.first = self.number
            self.text = text
        return text
