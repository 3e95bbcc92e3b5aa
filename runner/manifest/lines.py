"""The lines of a file, read as they are wanted, counted, and checked to be text."""

from __future__ import annotations

import codecs
import io
import re
from typing import BinaryIO, Final, Literal

from runner.manifest.rows import Rows

LONGEST_LINE: Final = 4_000_000  # bytes, or characters where it is not UTF-8
# Marks at the beginning of a file, the longer ones first: UTF-32's begins as UTF-16's does.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNDECODED = re.compile("[\udc80-\udcff]")  # what the codec made of bytes that are no text
_LIKELY: Final = (  # where tables come from that are not UTF-8, the commonest first
    "windows-1252", "mac-roman", "shift_jis", "gb18030", "windows-1251", "windows-1250", "euc_kr", "big5",
)  # fmt: skip
_HEAD: Final = 65_536  # bytes that are looked at for ends of lines
_AROUND: Final = 10  # characters before and behind what tells them apart


class BadLine(Exception):
    """A line that is not text; the reason is already reported."""


class LineReader:
    """The lines of a file as text, counted; remembers the first line since `mark`.

    Args:
        file: Open for reading.
        rows: Takes what is wrong.
        encoding: What the file is written in; None: UTF-8, or what its own mark says, which always wins.
    """

    def __init__(self, file: BinaryIO, rows: Rows, encoding: str | None = None) -> None:
        self._rows = rows
        self.number = 0
        self.first = 0
        self.text = ""
        head = file.read(4)
        file.seek(0)
        marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
        self._encoding = marked or encoding or "utf-8"
        self._file: BinaryIO | _Recoded = file
        old = _has_old_ends(file)
        if old or codecs.lookup(self._encoding).name != "utf-8":
            self._file = _Recoded(file, self._encoding, "\r" if old else "\n")

    def mark(self) -> None:
        """Begin a record: `first` and `text` are those of the next line read."""
        self.first = 0

    def __iter__(self) -> LineReader:
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
            data = data.removeprefix(codecs.BOM_UTF8)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as exc:
            self._not_text(data, exc.start)
            raise BadLine from None
        if "\0" in text:
            what = "there is a NUL character in this line"
            hint = "delete it"
            if text.count("\0") * 3 > len(text):
                order = "be" if text.startswith("\0") else "le"  # of two bytes, which one is that of a letter
                hint = (
                    f"it may be UTF-16 without a mark: save it as UTF-8, or write `encoding: utf-16-{order}`"
                )
            self._rows.error(self.number, text.index("\0") + 1, what, "control-character", hint, text)
            raise BadLine
        if not self.first:
            self.first = self.number
            self.text = text
        return text

    def _not_text(self, data: bytes, start: int) -> None:
        seen = data.decode("utf-8", "replace")
        column = len(data[:start].decode("utf-8", "replace")) + 1
        if codecs.lookup(self._encoding).name != "utf-8":
            what, hint = f"this is not {self._encoding} text", "say what it is with `encoding:`"
        else:
            what = f"this is not UTF-8 text (byte 0x{data[start]:02x})"
            hint = f"save it as UTF-8 (in Excel: CSV UTF-8), or say what it is: {_readings(data, start)}"
        self._rows.error(self.number, column, what, "not-utf8", hint, seen)


def likely_encodings(data: bytes, start: int) -> list[tuple[str, str]]:
    """Return the encodings that make letters of bytes, the likeliest first, each with what some of it says then.

    Args:
        data: A line, or more.
        start: Where the first byte is that is not UTF-8.
    """
    found: list[tuple[float, str, str]] = []
    old = b"\r" in data and b"\n" not in data  # as only programs for old Macs end lines
    for name in sorted(_LIKELY, key=lambda each: old and each != "mac-roman"):
        try:
            before, rest = data[:start].decode(name), data[start:].decode(name)
        except UnicodeError:
            continue
        special = [char for char in before + rest if not char.isascii()]
        letters = sum(char.isalpha() or char in "€£°" for char in special) / max(len(special), 1)
        said = f"{before[-_AROUND:]}{rest[:_AROUND]}".strip().splitlines()
        if said and said[-1].isprintable() and said[-1] not in (other for _, _, other in found):
            found.append((letters, name, said[-1]))
    found.sort(key=lambda one: -one[0])  # the commonest first, where they are equal
    return [(name, said) for _, name, said in found] or [(_LIKELY[0], "")]


def _readings(line: bytes, start: int) -> str:
    """Return what to write in a manifest for a line that is not UTF-8, and what it would say."""
    (first, said), *others = likely_encodings(line, start)[:3]
    more = "".join(f"; {name}: `{other}`" for name, other in others)
    makes = f" makes it `{said}`" if said else ""
    return f"`rows: {{file: …, encoding: {first}}}`{makes}{more}"


def _has_old_ends(file: BinaryIO) -> bool:
    """Return whether lines end with a carriage return alone, as Excel for Mac writes them; begin at the start again."""
    head = file.read(_HEAD)
    file.seek(0)
    return b"\r" in head[:-1] and b"\n" not in head


class _Recoded:
    """A file in another encoding, line by line as UTF-8; what cannot be read comes as bytes that are not."""

    def __init__(self, file: BinaryIO, encoding: str, ends: Literal["\n", "\r"]) -> None:
        # Lines end where they end in UTF-8 files too: nothing else counts, and nothing is translated.
        self._text = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline=ends)

    def readline(self, limit: int) -> bytes:
        try:
            line = self._text.readline(limit)
        except UnicodeError:  # half a character at the end of UTF-16
            return b"\xff"
        return line.encode("utf-8", "surrogateescape" if _UNDECODED.search(line) else "strict")
