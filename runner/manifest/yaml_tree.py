"""What is read from YAML: a tree whose mappings and lists know where each of their parts was written. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from runner.model import Problem

At: TypeAlias = tuple[int, int]  # line and column, both from 1


class YamlMap(dict[str, Any]):
    """A mapping that knows where it and its entries were written.

    Places are packed (line, column of the mapping, then of key and value of each entry in order),
    because a manifest of 100,000 jobs has a million of them and nearly none is ever asked for.
    """

    __slots__ = ("_places",)

    def __init__(self, at: At = (1, 1)) -> None:
        super().__init__()
        self._places = array("I", at)

    @property
    def at(self) -> At:
        """Where the mapping begins."""
        return self._places[0], self._places[1]

    def add(self, key: str, value: Any, key_at: At, value_at: At) -> None:
        """Add a new entry with the places of its key and its value."""
        self[key] = value
        self._places.extend(key_at + value_at)

    def key_at(self, key: str) -> At:
        """Return where the key was written; where the mapping begins for a key it lacks."""
        return self._find(key, 2)

    def value_at(self, key: str) -> At:
        """Return where the value was written; where the mapping begins for a key it lacks."""
        return self._find(key, 4)

    def entries(self) -> Iterator[tuple[str, Any, At, At]]:
        """Yield (key, value, place of the key, place of the value)."""
        places = self._places
        for index, (key, value) in enumerate(self.items()):
            line, column, value_line, value_column = places[4 * index + 2 : 4 * index + 6]
            yield key, value, (line, column), (value_line, value_column)

    def _find(self, key: str, offset: int) -> At:
        for index, name in enumerate(self):
            if name == key and (start := 4 * index + offset) + 1 < len(self._places):
                return self._places[start], self._places[start + 1]
        return self.at


class YamlList(list[Any]):
    """A list that knows where it and its items were written."""

    __slots__ = ("_places",)

    def __init__(self, at: At = (1, 1)) -> None:
        super().__init__()
        self._places = array("I", at)

    @property
    def at(self) -> At:
        """Where the list begins."""
        return self._places[0], self._places[1]

    def add(self, value: Any, value_at: At) -> None:
        """Add an item with its place."""
        self.append(value)
        self._places.extend(value_at)

    def item_at(self, index: int) -> At:
        """Return where an item was written."""
        start = 2 * index + 2
        return (self._places[start], self._places[start + 1]) if start + 1 < len(self._places) else self.at


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """What was read: a tree of `YamlMap`, `YamlList` and scalars, and everything wrong with it.

    `value` is None when nothing could be read; `complete` is False when reading had to stop early,
    so that what is missing from `value` proves nothing.
    """

    value: Any
    at: At
    problems: tuple[Problem, ...]
    complete: bool
