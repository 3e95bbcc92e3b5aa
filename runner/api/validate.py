"""`validate`: every problem of a manifest, told before anything is planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.api.manifests.opened import InvalidManifest, check_all, read_manifest
from runner.manifest.left_out import LeftOut
from runner.model import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """What is wrong with a manifest; `errors` and `warnings` count what `problems` leaves out as well."""

    jobs: int | None  # how many are good; None where not even the head can be read
    problems: Sequence[Problem]
    errors: int
    warnings: int
    left_out: LeftOut = LeftOut(stops=True)  # noqa: RUF009  # which jobs have the mistakes


def validate(path: Path) -> Validated:
    """Read a manifest and check every job; offline.

    Raises:
        UsageError: The file is not there, or cannot be read.
    """
    try:
        opened = read_manifest(path, state=None, sandbox=False)
    except InvalidManifest as exc:
        return Validated(jobs=None, problems=exc.problems, errors=exc.errors, warnings=exc.warnings)
    jobs = check_all(opened)
    manifest = opened.manifest
    return Validated(
        jobs=jobs,
        problems=manifest.problems,
        errors=manifest.errors,
        warnings=manifest.warnings,
        left_out=manifest.left_out,
    )
