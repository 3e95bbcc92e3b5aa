"""Reads one mapping of a manifest key by key, reporting whatever does not fit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from runner.contract.words import listed, number_text, shown, suggest
from runner.manifest.findings import Findings, Spot
from runner.manifest.quantities import duration_s, size_bytes
from runner.yaml12 import YamlMap


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

    def refuse_unknown(self, known: Iterable[str], hints: Mapping[str, str] | None = None) -> None:
        """Report keys that are not known; `hints` say what is meant by some that are near a real thing."""
        allowed = list(known)
        where = f"`{self.spot.path}`" if self.spot.path else "the top level"
        for key in self.node:
            if key in allowed:
                continue
            like = suggest(key, allowed)
            if hints and key in hints:
                hint = hints[key]
            else:
                hint = f"did you mean `{like}`?" if like else f"there are {listed(allowed)}"
            spot = self.spot.inside(self.node.key_at(key), key)
            self.findings.error(spot, f"{where} has no key {shown(key)}", "unknown-key", hint)

    def wrong_type(self, key: str, wanted: str, hint: str = "") -> None:
        """Report that the value of a key is of the wrong type."""
        value = self.node[key]
        what = f"{key} takes {wanted}, not {said(value)}"
        self.findings.error(self.at(key), what, "wrong-type", hint or quoting_hint(value, wanted))

    def out_of_range(self, key: str, wanted: str) -> None:
        """Report that the value of a key is too small or too large."""
        what = f"{key} is {shown(self.node[key])}; it takes {wanted}"
        self.findings.error(self.at(key), what, "out-of-range")

    def section(self, key: str) -> Section | None:
        """Return a mapping inside this one."""
        if key not in self.node:
            return None
        value = self.node[key]
        if isinstance(value, YamlMap):
            return Section(value, self.at(key), self.findings)
        if value is None:
            hint = "remove the key, or write something under it"
        else:
            hint = f"write {_EXAMPLES[key]}" if key in _EXAMPLES else "write a key and a value under it"
        self.wrong_type(key, "a mapping", hint)
        return None

    def text(self, key: str, *, blank: bool = True) -> str | None:
        """Return a text."""
        if key not in self.node:
            return None
        value = self.node[key]
        if not isinstance(value, str):
            self.wrong_type(key, "text")
            return None
        if not value and not blank:
            self.findings.error(self.at(key), f"{key} is empty", "empty-value")
            return None
        return value

    def number(
        self, key: str, *, default: float | None, minimum: float, above: bool = False, auto: bool = False
    ) -> float | None:
        """Return a finite number of at least `minimum` (of more than it, where `above`); None for `auto`."""
        if key not in self.node or (auto and self.node[key] == "auto"):
            return default
        value = self.node[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong_type(key, "a number or auto" if auto else "a number")
        elif not math.isfinite(value) or value < minimum or (above and value == minimum) or value > 1e15:
            self.out_of_range(key, f"{'more than' if above else 'a number from'} {number_text(minimum)}")
        else:
            return float(value)
        return default

    def integer(self, key: str, *, default: int | None, minimum: int, auto: bool = False) -> int | None:
        """Return a whole number of at least `minimum`; None for `auto`."""
        if key not in self.node or (auto and self.node[key] == "auto"):
            return default
        value = self.node[key]
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole:
            self.wrong_type(key, "a whole number or auto" if auto else "a whole number")
        elif not minimum <= value <= 10**15:
            self.out_of_range(key, f"a whole number from {minimum}")
        else:
            return int(value)
        return default

    def duration(self, key: str, default: float) -> float:
        """Return seconds from a duration such as `90m`."""
        if key not in self.node:
            return default
        value = self.node[key]
        seconds = duration_s(value) if isinstance(value, str) else None
        if seconds is None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            hint = f"did you mean {value}s?" if number else "a number and s, m, h or d, such as 90m"
            what = f"{key} is {shown(value)}, which is not a duration"
            self.findings.error(self.at(key), what, "bad-duration", hint)
            return default
        return seconds

    def size(self, key: str, default: int) -> int:
        """Return bytes from a number or a size such as `2GB`."""
        if key not in self.node or isinstance(self.node[key], int | float):
            result = self.integer(key, default=default, minimum=1)
            return default if result is None else result
        value = self.node[key]
        size = size_bytes(value) if isinstance(value, str) else None
        if not size:
            what = f"{key} is {shown(value)}, which is not a size"
            self.findings.error(self.at(key), what, "bad-size", "a number of bytes, or 500MB, 2GB, 1GiB")
            return default
        return size


_EXAMPLES = {
    "budget": "`budget: {max_credits: 500}`",
    "limits": "`limits: {in_flight: 50}`",
    "polling": "`polling: {min_s: 5}`",
    "retry": "`retry: {failed_rounds: 1}`",
    "idempotency": "`idempotency: {resend_within: 1h}`",
    "uploads": "`uploads: {reuse_within: 1h}`",
    "output": "`output: {dir: results}`",
    "params": "`params: {duration: 6}`",
    "vars": "`vars: {brand: Acme}`",
    "matrix": "`matrix: {look: [cinematic, anime]}`",
    "prices": "`prices: {grok-imagine-video: 12}`",
}


def said(value: Any) -> str:
    """Return a value in words, for "takes text, not …"."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return shown(value)


def quoting_hint(value: Any, wanted: str) -> str:
    """Return the hint that quotes would help, or that they are too many."""
    if wanted.startswith("text"):
        if isinstance(value, bool | int | float):
            return f'put it in quotes: "{shown(value)}"'
        if value is None:
            return "remove the key, or write the text behind it; one that begins with `#` needs quotes"
        return "a text that begins with a bracket needs quotes; a placeholder is written ${name}"
    if "number" in wanted and isinstance(value, str) and _NUMBER.fullmatch(value):
        return f"write it without quotes: {value}"
    return ""


_NUMBER = re.compile(r"-?\d+(\.\d+)?")
