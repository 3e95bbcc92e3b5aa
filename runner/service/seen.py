"""What was seen of a service, where its documentation is silent: kept in the workspace, with dates.

`doctor --spend` finds it out and writes it down; runs read it, and act on it only towards more safety, or more speed
that the fact allows. A file that cannot be read says nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FILE: Final = "service.json"

# Values that rules depend on.
ANOTHER_TASK: Final = "another task"  # of `same_key`: a repeated request is paid for again
NOT_THE_END: Final = "not the end"  # of `updated_at`
NO_RANGES: Final = "no"  # of `ranges`


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that was seen. `value` is for rules, `words` are for people; `at` is RFC 3339."""

    key: str
    value: str
    words: str
    at: str


@dataclass(frozen=True, slots=True)
class SeenService:
    """What is known of one service, by key; nothing of one that was never looked at."""

    facts: Mapping[str, Fact] = field(default_factory=dict)

    def is_(self, key: str, value: str) -> bool:
        """Say whether a fact is known and has this value."""
        fact = self.facts.get(key)
        return fact is not None and fact.value == value

    @property
    def repeats_are_paid(self) -> bool:
        """Whether the same key with the same bytes was seen to make another task."""
        return self.is_("same_key", ANOTHER_TASK)

    @property
    def tells_ends(self) -> bool:
        """Whether a task's times may be trusted to tell its end, as far as anybody knows."""
        return not self.is_("updated_at", NOT_THE_END)

    @property
    def has_ranges(self) -> bool:
        """Whether results may be gone on with where they stopped, as far as anybody knows."""
        return not self.is_("ranges", NO_RANGES)


def read(folder: Path, service: str) -> SeenService:
    """Return what is known of a service in a state folder."""
    found = _document(folder).get(service)
    facts = {}
    for key, fact in found.items() if isinstance(found, dict) else ():
        if isinstance(fact, dict) and all(
            isinstance(fact.get(name), str) for name in ("value", "words", "at")
        ):
            facts[key] = Fact(key=key, value=fact["value"], words=fact["words"], at=fact["at"])
    return SeenService(facts)


def save(folder: Path, service: str, facts: Iterable[Fact]) -> Path:
    """Write down what was seen of a service, beside what is known already; return the file.

    Raises:
        OSError: It cannot be written; the file stays as it was.
    """
    services = _document(folder)
    known = services.get(service)
    new = {fact.key: {"value": fact.value, "words": fact.words, "at": fact.at} for fact in facts}
    services[service] = {**(known if isinstance(known, dict) else {}), **new}
    path = folder / FILE
    beside = path.with_name(path.name + ".new")
    folder.mkdir(parents=True, exist_ok=True)
    with beside.open("w", encoding="utf-8") as file:
        json.dump({"v": 1, "services": services}, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)  # noqa: PTH105
    return path


def _document(folder: Path) -> dict[str, Any]:
    try:
        services = json.loads((folder / FILE).read_text(encoding="utf-8"))["services"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return services if isinstance(services, dict) else {}
