"""Two manifests that write to the same places: each would move the other's results away, and bring its own back."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from runner.errors import UsageError
from runner.model import ResultPath, Settings
from runner.progress.figures import counted
from runner.store import diff, jobs, manifests
from runner.store.database import StateDatabase

SHOWN = 3  # output names


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Places that another manifest's results have, or will have, and this one's would take."""

    manifest: str
    outputs: Sequence[str]

    def words(self, name: str, folder: ResultPath) -> str:
        """Return what two manifests have in common, for people."""
        some = ", ".join(self.outputs[:SHOWN]) + (", …" if len(self.outputs) > SHOWN else "")
        return (
            f"the manifests {name} and {self.manifest} both write to {folder}: each would move"
            f" {counted(len(self.outputs), 'result')} of the other ({some}) to .old/"
        )


def places_taken(
    file: StateDatabase, settings: Settings, on_disk: Mapping[str, Sequence[str]]
) -> tuple[Taken, ...]:
    """Return which other manifests have the places that results of the staged jobs would take.

    Args:
        file: The database, with the jobs staged.
        settings: Of the manifest.
        on_disk: By sidecars: output names at which results of other manifests stand.
    """
    found = {name: dict.fromkeys(outputs) for name, outputs in on_disk.items()}
    near = [
        (bound.name, bound.output_dir)
        for bound in manifests.bindings(file.conn)
        if bound.name != settings.name and _overlap(bound.output_dir, settings.output_dir)
    ]
    if near:  # nearly always there is none, and there may be a hundred thousand jobs
        ours = {_place(settings.output_dir, output): output for output in diff.to_be_written(file.conn)}
        for name, folder in near:
            for output in jobs.outputs(file.conn, name):
                if (place := _place(folder, output)) in ours:
                    found.setdefault(name, {})[ours[place]] = None
    return tuple(Taken(manifest=name, outputs=list(outputs)) for name, outputs in found.items())


def refuse_taken(taken: Sequence[Taken], settings: Settings) -> None:
    """Refuse to take places that another manifest has.

    Raises:
        UsageError: There are some.
    """
    if taken:
        raise UsageError(
            f"{taken[0].words(settings.name, settings.output_dir)}; nothing was sent",
            hint="give one of them another output.dir or output.name; --replace lets this one's results take their"
            " places",
        )


def _overlap(one: PurePath, other: PurePath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _place(folder: ResultPath, output: str) -> str:
    # As file systems compare names that do not tell capitals, or forms of the same letter, apart.
    return unicodedata.normalize("NFC", f"{folder}/{output}").casefold()
