"""What to do about an id or a reference that is none: told beside what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from runner.manifest.entry import Entry
from runner.manifest.odd_cells import is_odd, why_odd
from runner.manifest.texts import Text
from runner.manifest.yaml_tree import YamlMap

_EMPTY_ID: Final = (
    "fill it in; of text without letters and digits `slug` leaves nothing: put something else into the id"
)
_SHORTENED: Final = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)
_FORMULA_CELL: Final = re.compile(r"=[A-Za-z.]+\(")
_MEDIA_NAMES: Final = re.compile(r"\w\.[A-Za-z0-9]{3,4}(?=[\"'\])]*(?:[,;|\s]|$))")


def id_hint(text: Text, trouble: str, said: str) -> str:
    """Return what to do about an id that is none."""
    if trouble.startswith("has ") and "characters" in trouble:
        return "cut it: ${… | slug | fit} takes what fits and keeps ids apart"
    if trouble == "is empty":
        return _EMPTY_ID if text.template.expressions else ""
    if text.template.whole and _SHORTENED.fullmatch(said):
        return "a spreadsheet has shortened this number: make text of its column, and enter it again"
    for expression in text.template.expressions:
        if not expression.filters:
            return f"write ${{{expression.path} | slug}}"
    return "letters, digits, spaces, `.`, `_` and `-` are allowed; on free text write ${… | slug}"


def reference_hint(path: str) -> str:
    """Return what to do about a cell that names no file, where it shows what it is."""
    if path[:1] != "=" and (is_odd(PurePath(path).stem) or why_odd(path, "reference")):
        return "leave the cell empty where there is no file"
    if _FORMULA_CELL.match(path):
        return "this formula was not computed: save its value"
    if len(_MEDIA_NAMES.findall(path)) > 1:
        return "a cell names one file: make a column for each of them, and a reference of each column"
    return ""


def is_written(job: str, entries: Sequence[object]) -> bool:
    """Return whether a job of this id, or a take of one, is written as an entry of its own."""
    base, _, take = job.rpartition("-")
    return any(
        each.get("id") == job or (take.isdecimal() and "repeat" in each and each.get("id") == base)
        for each in entries
        if isinstance(each, YamlMap)
    )


def twice_hint(entry: Entry) -> str:
    """Return what to do about an id that two jobs of an entry have."""
    template = entry.id.template if entry.id is not None else None
    if template is None:
        return ""
    unused = [
        name for name in (entry.matrix.axes if entry.matrix is not None else ()) if not template.uses(name)
    ]
    if unused:
        return f"put ${{{unused[0]}}} into the id"
    if entry.rows is not None:
        scope = entry.rows.scope
        return f"put something into the id that no other row has, such as ${{{scope}.…}}"
    return "ids are unique; change one of them"
