"""Reads one mapping of a manifest key by key.

What a key may hold is the schema's to say (`manifest.refusals`). Here a value that is absent, or is none the schema
lets through, is its default; only what no schema can say is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.contract.phrases import shown
from runner.manifest.findings import Findings, Spot
from runner.manifest.quantities import duration_s, size_bytes
from runner.manifest.yaml_tree import YamlMap

LARGEST = 1e15  # above this a double no longer holds every whole number, and nobody means it


class Section:
    """A mapping and where it is. Every reader returns its default when the key is absent or wrong."""

    def __init__(self, node: YamlMap, spot: Spot, findings: Findings) -> None:
        self.node = node
        self.spot = spot
        self.findings = findings

    def at(self, key: str) -> Spot:
        """Return where the value of a key is."""
        return self.spot.inside(self.node.value_at(key), key)

    def has(self, key: str) -> bool:
        """Return whether the key was written."""
        return key in self.node

    def section(self, key: str) -> Section | None:
        """Return a mapping inside this one."""
        value = self.node.get(key)
        return Section(value, self.at(key), self.findings) if isinstance(value, YamlMap) else None

    def text(self, key: str) -> str | None:
        """Return a text that is not empty."""
        value = self.node.get(key)
        return value if isinstance(value, str) and value else None

    def number(self, key: str, default: float | None = None) -> float | None:
        """Return a number of at least 0; the default for `auto`."""
        value = self.node.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            return default
        if not value <= LARGEST:  # also what is no number at all (`.nan`), which a schema lets through
            what = f"{key} is {shown(value)}; it takes a number up to {LARGEST:,.0f}"
            self.findings.error(self.at(key), what, "out-of-range")
            return default
        return float(value)

    def integer(self, key: str, default: int | None = None) -> int | None:
        """Return a whole number of at least 0; the default for `auto`."""
        value = self.number(key)
        return default if value is None or not value.is_integer() else int(value)

    def duration(self, key: str, default: float) -> float:
        """Return seconds from a duration such as `90m`."""
        value = self.node.get(key)
        seconds = duration_s(value) if isinstance(value, str) else None
        return default if seconds is None else seconds

    def size(self, key: str, default: int) -> int:
        """Return bytes from a number or a size such as `2GB`."""
        value = self.node.get(key)
        size = size_bytes(value) if isinstance(value, str) else self.integer(key)
        return size or default


def said(value: Any) -> str:
    """Return a value in words, for "takes text, not …"."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return shown(value)
