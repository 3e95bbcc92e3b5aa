"""`rivya-batch validate`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.completion import MANIFEST
from runner.cli.output import complain, json_option, show, show_json, skip_invalid_option
from runner.errors import Exit


@click.command("validate")
@click.argument("manifests", nargs=-1, required=True, type=MANIFEST)
@skip_invalid_option
@json_option
def command(manifests: tuple[Path, ...], skip_invalid: bool, as_json: bool) -> int:
    """Report every problem of MANIFESTS with its place and a hint. Needs no key and no network."""
    from runner.api.validate import validate
    from runner.cli.problems import show_problems
    from runner.manifest import in_order, problem_json
    from runner.progress.figures import counted

    found = []
    failed = incomplete = 0
    for path in manifests:
        told = validate(path)
        may_run = skip_invalid and not told.left_out.stops
        failed += bool(told.errors) and not may_run
        incomplete += bool(told.errors) and may_run
        found.append(
            {
                "manifest": str(path),
                "ok": not told.errors,
                "jobs": told.jobs,
                "left_out": {"jobs": list(told.left_out.ids), "nameless": told.left_out.nameless},
                "errors": told.errors,
                "warnings": told.warnings,
                "problems": [problem_json(problem) for problem in in_order(told.problems)],
            }
        )
        if not as_json:
            show_problems(told.problems)
            if not told.errors:
                warned = f", {counted(told.warnings, 'warning')}" if told.warnings else ""
                show(f"{path}: {counted(told.jobs or 0, 'job')}, no errors{warned}")
            else:
                complain(f"{path}: {counted(told.errors, 'error')}")
                if may_run:
                    good = counted(told.jobs or 0, "job")
                    complain(f"{path}: {good} without errors; left out: {told.left_out.words()}")
    if as_json:
        show_json({"v": 1, "ok": not failed and not incomplete, "manifests": found}, indent=2)
    return int(Exit.USAGE if failed else Exit.INCOMPLETE if incomplete else Exit.OK)
