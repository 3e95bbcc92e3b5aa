"""Rows of a JSON Lines file, streamed, and of a JSON array."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from runner.contract.phrases import shown
from runner.manifest.findings import Spot
from runner.manifest.lines import BadLine, LineReader
from runner.manifest.ordinary_files import open_regular
from runner.manifest.rows import Row, Rows, is_row

_JSON_WORDS: Final = {"true": "true", "false": "false"}  # others are null
_WORD: Final = re.compile(r"-?(?:None|True|False|undefined|NaN|nan|NULL|Null|Infinity)\b")
_NAME: Final = re.compile(r"[A-Za-z_]\w*\s*:")
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonLinesRows(Rows):
    """One JSON object on each line."""

    def _read(self) -> Iterator[Row]:
        count = 0
        parts = False  # of an object that did not end in its line
        with open_regular(self.path) as opened:
            lines = LineReader(opened, self, self.reading.encoding)
            decode = _decoder().decode
            while True:
                lines.mark()
                try:
                    text = next(lines, None)
                except BadLine:
                    continue
                if text is None:
                    break
                text = text.rstrip("\r\n").removeprefix("\ufeff")  # files that were put together have marks
                if not text or text.isspace():
                    continue
                if parts and not text.startswith("{"):
                    continue
                parts = False
                count += 1
                try:
                    values = decode(text)
                except (ValueError, RecursionError) as exc:
                    what, column = _json_trouble(exc)
                    hint = _json_hint(text, column - 1)
                    if text[column - 1 :].strip() == ",":
                        what, hint = "there is a comma after this object", "JSON Lines has none: remove it"
                    elif text.lstrip().startswith(","):
                        what, hint = "there is a comma before this object", "JSON Lines has none: remove it"
                    elif count == 1 and text.lstrip().startswith("["):
                        hint = "a file that holds one list of them is named .json"
                    elif column > len(text) and text.lstrip().startswith("{"):
                        what = "this object does not end in its line"
                        hint = "JSON Lines has one whole object on each line (pandas: `lines=True`)"
                        parts = True
                    self.error(lines.number, column, what, "json-syntax", hint, text)
                    continue
                spot = Spot(self.source, (lines.number, 1), text=text)
                if is_row(values, spot, self.findings, text):
                    yield Row(values, spot)
        if not count:
            self.findings.warn(Spot(self.source, (1, 1), text=""), "this file has no rows", "no-rows")


class JsonRows(Rows):
    """A JSON array of objects."""

    def _read(self) -> Iterator[Row]:
        text = self._whole_text()
        if text is None:
            return
        position = _SPACE.match(text, 0).end()  # type: ignore[union-attr]  # matches the empty text too
        if text[position : position + 1] != "[":
            what = "the file must be a JSON array of objects"
            self.error(*_line_column(text, position), what, "json-syntax", _array_hint(text))
            return
        decoder = _decoder()
        line, line_from, first = 1, 0, True
        position += 1
        while True:
            position = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # as above
            char = text[position : position + 1]
            if char == "]":
                break
            if not first:
                if char != ",":
                    self._stop(text, position, "a comma or the end of the array is missing")
                    return
                position = _SPACE.match(text, position + 1).end()  # type: ignore[union-attr]  # as above
            first = False
            line += text.count("\n", line_from, position)
            line_from = position
            column = position - text.rfind("\n", 0, position)
            try:
                values, position = decoder.raw_decode(text, position)
            except (ValueError, RecursionError) as exc:
                what, _ = _json_trouble(exc)
                self._stop(text, getattr(exc, "pos", position), what)
                return
            spot = Spot(self.source, (line, column))
            if is_row(values, spot, self.findings, text[line_from:position]):
                yield Row(values, spot)
        position = _SPACE.match(text, position + 1).end()  # type: ignore[union-attr]  # as above
        if position < len(text):
            self._stop(text, position, "something follows the end of the array")
        elif first:
            self.findings.warn(Spot(self.source, (1, 1)), "this file has no rows", "no-rows")

    def _stop(self, text: str, position: int, what: str) -> None:
        line, column = _line_column(text, position)
        self.findings.error(
            Spot(self.source, (line, column)), what, "json-syntax", _json_hint(text, position)
        )


class _BadValue(ValueError):
    """What JSON allows, and no row may have: a key twice, a number without end."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _BadValue(f"the key {shown(twice)} is here twice")
    return values


def _no_constant(name: str) -> Any:
    raise _BadValue(f"{name} is not a value of JSON")


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _BadValue(f"the number {shown(text)} is too large")
    return number


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_number)


def _json_trouble(exc: Exception) -> tuple[str, int]:
    if isinstance(exc, json.JSONDecodeError):
        return f"this is not JSON: {exc.msg[:1].lower()}{exc.msg[1:]}", exc.colno
    if isinstance(exc, _BadValue):
        return str(exc), 1
    if isinstance(exc, RecursionError):
        return "this is nested too deeply", 1
    return "a number here is too long", 1


def _json_hint(text: str, position: int) -> str:
    """Return what to do about what stands at a place where JSON ends, for the ways in which it is often not JSON."""
    rest, before = text[position : position + 20], text[:position].rstrip()
    if before.endswith(",") and rest[:1] in ("}", "]"):
        return "remove the comma before it"
    if rest[:1] == "," and text[position + 1 :].lstrip()[:1] in ("}", "]"):
        return "remove this comma"
    if rest[:1] == "'":
        return "JSON has double quotes only (from Python: `json.dumps(row)`)"
    if rest[:1] in "“”„‘’" and rest:
        return 'type straight quotes: "…"'
    if found := _WORD.match(rest):
        return f"write {_JSON_WORDS.get(found[0].lower(), 'null')} in its place"
    if rest.startswith(("//", "/*", "#")):
        return "JSON has no comments: remove it"
    if rest[:1] == "{":
        return "one object on each line" if before.endswith("}") else ""
    if _NAME.match(rest):
        return "names of columns stand in double quotes"
    if rest[:1] and ord(rest[0]) < 32:
        return "inside quotes a tab is written \\t, a line end \\n"
    return ""


def _array_hint(text: str) -> str:
    """Return how the rows of a file get into an array, as far as it shows what they are."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return "a .jsonl file has one object on each line"
    if not isinstance(whole, dict):
        return 'such as [{"sku": "a1", "text": "a cat"}]'
    for name, value in whole.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return f"the rows seem to be below {shown(name)}: save that list alone"
    if whole and all(isinstance(value, dict | list) for value in whole.values()):
        return 'columns stand one after the other here; pandas: `to_json(..., orient="records")`'
    return "put the object in brackets: [{…}]"


def _line_column(text: str, position: int) -> tuple[int, int]:
    return 1 + text.count("\n", 0, position), position - text.rfind("\n", 0, position)
