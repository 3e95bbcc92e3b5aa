"""What differs between a job as it is staged and the row that was listed under its id until now."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from runner.fingerprint import canonical
from runner.store.connection import SelectedRow


def causes(row: SelectedRow) -> list[str]:
    """Return what differs between a staged job and the row that was listed under its id until now."""
    found = []
    if row["model"] != row["old_model"]:
        found.append("model")
    if row["prompt"] != row["old_prompt"]:
        found.append("prompt")
    if _params_differ(row["old_params"], row["params"]):
        found.append("params")
    # Where nothing else differs, the job is another whose result is taken.
    if _references_differ(row["old_refs"], row["refs"]) or (not found and '"of"' in row["refs"]):
        found.append("reference")
    return found


def _params_differ(one: str, other: str) -> bool:
    """Compare as fingerprints do: neither the order of keys nor `6.0` for `6` is a difference."""
    return one != other and canonical(json.loads(one)) != canonical(json.loads(other))


def _references_differ(one: str, other: str) -> bool:
    """Compare contents only: a file that was moved is the same reference. What jobs will make has none yet."""
    return one != other and [_content(item) for item in json.loads(one)] != [
        _content(item) for item in json.loads(other)
    ]


def only_chosen(rows: Sequence[SelectedRow]) -> set[str]:
    """Return which of these jobs were waiting for a person's choice, or for one of them, and are no other since.

    That is no edit: they are sent as they were planned.
    """
    waiting: dict[str, list[str]] = {}  # jobs, by one that they wait for
    undecided: dict[str, tuple[list[Any], list[Any]]] = {}
    ready: deque[str] = deque()
    for row in rows:
        if not (row["unsent"] and '"of"' in row["old_refs"] and causes(row) == ["reference"]):
            continue
        job, old, new = row["job"], json.loads(row["old_refs"]), json.loads(row["refs"])
        undecided[job] = old, new
        ready.append(job)
        for each in new:
            for source in each["of"]["jobs"] if "of" in each else ():
                waiting.setdefault(source, []).append(job)
    chosen: set[str] = set()
    while ready:
        job = ready.popleft()
        if job not in chosen and _is_chosen(*undecided[job], chosen):
            chosen.add(job)
            ready += waiting.get(job, ())
    return chosen


def _is_chosen(old: list[Any], new: list[Any], chosen: set[str]) -> bool:
    """Whether one place of a job's references, of which others have not changed, was decided."""
    decided = False
    for one, other in zip(old, new, strict=False):
        if "of" not in one or "of" not in other:
            if one["sha256"] != other["sha256"]:
                return False
        elif one["of"]["undecided"] or not chosen.isdisjoint(other["of"]["jobs"]):
            decided = True
    return decided and len(old) == len(new)


def _content(item: Mapping[str, Any]) -> object:
    return item["path"] if "of" in item else item["sha256"]
