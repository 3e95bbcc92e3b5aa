"""Which jobs a person means: those with an id like a pattern, or those of a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class JobIds:
    """Jobs that are named one by one. `words` is how a person named them: `--picked`.

    `results` are the numbers of the results that are meant, for jobs of which not all are.
    """

    ids: frozenset[str]
    words: str
    results: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return self.words


Only: TypeAlias = str | JobIds


def fits(only: Only | None, id_: str) -> bool:
    """Say whether a job is one of those that are meant; None means all."""
    if only is None:
        return True
    return id_ in only.ids if isinstance(only, JobIds) else fnmatchcase(id_, only)


def means_result(only: Only | None, id_: str, number: int) -> bool:
    """Say whether a result of a job that is meant is one of those that are.

    >>> means_result(JobIds(frozenset({"cat"}), "--picked", {"cat": (2,)}), "cat", 1)
    False
    """
    return not isinstance(only, JobIds) or number in only.results.get(id_, (number,))


def in_words(only: Only) -> str:
    """Return how the jobs that are meant are spoken of: `an id like cat-*`, `--picked`.

    >>> in_words("cat-*"), in_words(JobIds(frozenset({"cat-1"}), "--picked"))
    ('an id like cat-*', 'an id of --picked')
    """
    return f"an id of {only}" if isinstance(only, JobIds) else f"an id like {only}"
