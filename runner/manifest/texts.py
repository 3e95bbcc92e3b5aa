"""Texts of a manifest: compiled, and knowing where they were written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runner.manifest.findings import Findings, Spot
from runner.manifest.placeholders import BadPlaceholder, Template, compile_template
from runner.manifest.section import Section
from runner.model import Frame, Json

RESERVED_NAMES: Final = frozenset({"row", "file", "take", "id", "model", "params"})

_FOREIGN = re.compile(r"(?<!\$)\{\{\s*([A-Za-z_][\w.]*)\s*(?:\|[^{}]*)?\}\}")  # as other tools write them


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenValue:
    """An entry of a mapping and where its value and its key were written."""

    value: Any
    spot: Spot
    key_spot: Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text of the manifest, compiled, and where it was written."""

    template: Template
    spot: Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText(Text):
    """The path of a reference file, and whether a picture is mended."""

    mend: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultText(Text):
    """The id of another job, whose result is a reference."""

    result: int
    frame: Frame | None
    pick: bool


def read_text(section: Section, key: str, *, blank: bool = False) -> Text | None:
    """Return a text with placeholders; None where it is absent or wrong, or (but for `blank`) empty."""
    text = section.node.get(key)
    if not isinstance(text, str) or not (text or blank):
        return None
    return compiled(text, section.at(key), section.findings)


def compiled(text: str, spot: Spot, findings: Findings) -> Text | None:
    """Return a compiled text; None, and a finding, where its placeholders cannot be read."""
    if foreign := _FOREIGN.search(text):
        what = f"{foreign[0]} is sent as it is written here"
        findings.warn(spot, what, "foreign-placeholder", f"a placeholder is written ${{{foreign[1]}}}")
    try:
        return Text(template=compile_template(text), spot=spot)
    except BadPlaceholder as exc:
        findings.error(spot_of(exc, text, spot), exc.what, exc.code, exc.hint)
        return None


def spot_of(problem: BadPlaceholder, text: str, spot: Spot) -> Spot:
    """Return where a placeholder is, where its line shows it; else where its text begins."""
    end = text.find("}", problem.offset)
    snippet = text[problem.offset : end + 1 if end >= 0 else problem.offset + 2]
    found = spot.line.find(snippet, spot.at[1] - 1)
    return Spot(spot.source, (spot.at[0], found + 1), spot.path, spot.text) if found >= 0 else spot


def filled_in(text: str, spot: Spot, names: Mapping[str, Json], findings: Findings) -> Json:
    """Return a text with these variables filled in; the text itself where that fails."""
    text_ = compiled(text, spot, findings)
    if text_ is None:
        return text
    unknown = text_.template.unknown(names, {})
    for problem in unknown:
        findings.error(spot_of(problem, text, spot), problem.what, problem.code, problem.hint)
    if unknown:
        return text
    try:
        result: Json = text_.template.render(names)
    except BadPlaceholder as exc:
        findings.error(spot_of(exc, text, spot), exc.what, exc.code, exc.hint)
        return text
    return result


def is_scalar(value: object) -> bool:
    """Return whether a value is text, a number, true, false or null."""
    return value is None or isinstance(value, str | bool | int | float)


def check_variable_name(section: Section, name: str) -> None:
    """Report a name that is taken."""
    if name in RESERVED_NAMES:
        spot = section.spot.inside(section.node.key_at(name), name)
        what = f"the name `{name}` is taken: ${{{name}}} already means something"
        section.findings.error(spot, what, "reserved-name", "choose another name")
