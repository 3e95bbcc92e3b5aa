"""What the shell completes: manifests near the word, and ids of jobs.

It is asked at every Tab: whatever goes wrong, it says nothing and offers nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

MOST_MANIFESTS = 100


@add_completion_class
class QuotingBash(BashComplete):
    """Click's way with bash, and what is offered is quoted where that is needed: ids and paths may hold spaces.

    Bash quotes what it takes for names of files, in the manner in which the word was begun.
    """

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", 'COMPREPLY+=("$value")\n            compopt -o filenames 2>/dev/null'
    )


class ManifestType(click.Path):
    """A manifest's path; completes to YAML files here and in the folders that the word could mean."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path, once its drive has answered: every command begins with reading it."""
        from runner.host.drives import DRIVES

        DRIVES.wait_for(os.fspath(value))
        return super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the manifests that could be meant; when there are none, let the shell look for files."""
        try:
            found = [CompletionItem(path) for path in _manifests(incomplete)]
        except OSError:
            found = []
        return found or [CompletionItem(incomplete, type="file")]


MANIFEST = ManifestType()


def _manifests(incomplete: str) -> Iterator[str]:
    """Yield YAML files that begin as the word does, then those one folder further down."""
    head, tail = os.path.split(incomplete)
    given = Path(head).expanduser() if head else Path()
    shown = head if head.endswith("/") or not head else f"{head}/"
    folders = []
    count = 0
    for entry in sorted(os.scandir(given), key=lambda each: each.name):
        if not entry.name.startswith(tail) or entry.name.startswith("."):
            continue
        if entry.is_dir():
            folders.append(entry)
        elif _is_yaml(entry.name) and count < MOST_MANIFESTS:
            count += 1
            yield shown + entry.name
    for folder in folders:
        try:
            below = sorted(each.name for each in os.scandir(folder.path))
        except OSError:
            continue
        for name in below:
            if _is_yaml(name) and count < MOST_MANIFESTS:
                count += 1
                yield f"{shown}{folder.name}/{name}"


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) and not name.startswith(".")


def complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return ids of jobs of the manifest on the line that need a person; all ids when none does."""
    try:
        from runner.api.completion import job_ids
        from runner.cli.output import named_state

        given = ctx.params
        found = job_ids(
            Path(given["manifest"]),
            incomplete,
            state=named_state(given.get("state"), sandbox=bool(given.get("sandbox")), ctx=ctx),
            sandbox=bool(given.get("sandbox")),
        )
    except Exception:  # a Tab is no place for an error
        return []
    return [CompletionItem(id_, help=state) for id_, state in found]
