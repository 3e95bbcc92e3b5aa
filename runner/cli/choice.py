"""The options that say which jobs are meant by what a person thinks of them, or by a list."""

from __future__ import annotations

from pathlib import Path

import click

from runner.lifecycle.selection import JobIds, Only, fits

CHOICE = (
    click.option("--picked", is_flag=True, help="Only jobs that you have picked."),
    click.option("--rejected", is_flag=True, help="Only jobs that you have rejected."),
    click.option(
        "--ids",
        metavar="FILE",
        help="Only jobs with these ids: one a line, or what a report saved; - reads stdin.",
    ),
)


def meant(
    manifest: Path,
    only: str | None,
    *,
    picked: bool,
    rejected: bool,
    ids: str | None,
    state: str | None,
    sandbox: bool,
) -> Only | None:
    """Return which jobs are meant by these options together; None for all.

    Raises:
        UsageError: They contradict each other, or nothing is known of what they name.
    """
    if not (picked or rejected or ids):
        return only
    if picked and rejected:
        raise click.UsageError("--picked and --rejected exclude each other")
    from runner.api.picks import ids_in, ids_with
    from runner.model import Opinion

    found: dict[str, tuple[int, ...]] | None = None
    if picked or rejected:
        verdict = Opinion.PICKED if picked else Opinion.REJECTED
        found = ids_with(manifest, verdict, state=state, sandbox=sandbox)
    if ids:
        named = ids_in(ids)
        found = (
            named
            if found is None
            else {id_: numbers or named[id_] for id_, numbers in found.items() if id_ in named}
        )
    options = ["--picked" if picked else "", "--rejected" if rejected else "", f"--ids {ids}" if ids else ""]
    return JobIds(
        frozenset(id_ for id_ in found or () if fits(only, id_)),
        " ".join([*filter(None, options), *([f"--only {only}"] if only else [])]),
        {id_: numbers for id_, numbers in (found or {}).items() if numbers},
    )
