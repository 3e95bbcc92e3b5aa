"""A manifest as if something else stood in it: `params.resolution=720p`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runner.errors import UsageError
from runner.manifest.yaml12 import read_yaml
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import Json

SETTABLE: Final = frozenset(
    [
        "model",
        "prompt",
        "params",
        "references",
        "mend",
        "vars",
        "budget",
        "prices",
        "limits",
        "polling",
        "retry",
        "idempotency",
        "uploads",
        "output",
    ]
)


_YAML_MARKS: Final = ("'", '"', "|", ">", "&", "*", "!")


@dataclass(frozen=True, slots=True)
class Change:
    """Another value for a key, by the names that lead to it."""

    path: tuple[str, ...]
    value: Json

    @property
    def key(self) -> str:
        """The key as it was typed."""
        return ".".join(self.path)


def read_change(text: str) -> Change:
    """Return a change from `params.resolution=720p`; the value is read as in a manifest.

    Raises:
        UsageError: It is none.
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise UsageError(f"--set {text} is no change", hint="write it as --set params.resolution=720p")
    if path[0] in ("jobs", "version", "name"):
        raise UsageError(
            f"--set {text}: {path[0]} cannot be set",
            hint="what jobs share can: params, model, prompt, budget",
        )
    document = read_yaml(f"value: {value}", file="--set")
    if document.problems or not isinstance(document.value, YamlMap):
        what = document.problems[0].what if document.problems else "it is no value"
        raise UsageError(f"--set {text}: {what}", hint="put it in quotes as in a manifest")
    read = document.value.get("value")
    # A shell has no comments inside a word: `prompt=item #1` is all of it.
    plain = isinstance(read, str) and value.strip()[:1] not in _YAML_MARKS
    return Change(path, value.strip() if plain else read)


def read_changes(texts: Sequence[str]) -> list[Change]:
    """Return the changes of a whole manifest, by the keys of its top level.

    Raises:
        UsageError: One is none, or names no key of a manifest.
    """
    changes = [read_change(text) for text in texts]
    for text, change in zip(texts, changes, strict=True):
        if change.path[0] not in SETTABLE:
            what = f"--set {text}: a manifest has no key {change.path[0]}"
            raise UsageError(what, hint=f"of a param write --set params.{shlex.quote(text)}")
    return changes


def apply_changes(root: YamlMap, changes: Sequence[Change]) -> None:
    """Put other values into a manifest; a param also in each job that names it itself, so that it holds for all."""
    for change in changes:
        *above, last = change.path
        node = root
        for name in above:
            inside = node.get(name)
            if not isinstance(inside, YamlMap):
                inside = YamlMap(node.at)
                _put(node, name, inside)
            node = inside
        _put(node, last, change.value)
        jobs = root.get("jobs")
        if above == ["params"] and isinstance(jobs, YamlList):
            for job in jobs:
                params = job.get("params") if isinstance(job, YamlMap) else None
                if isinstance(params, YamlMap) and last in params:
                    params[last] = change.value


def _put(node: YamlMap, key: str, value: Json | YamlMap) -> None:
    if key in node:
        node[key] = value
    else:
        node.add(key, value, node.at, node.at)
