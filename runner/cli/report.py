"""`rivya-batch report`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.browser import open_url
from runner.cli.completion import MANIFEST
from runner.cli.output import complain, json_option, named_state, show_json, state_option


@click.command("report")
@click.argument("manifest", type=MANIFEST)
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database and results.")
@json_option
@state_option
def command(manifest: Path, open_it: bool, sandbox: bool, as_json: bool, state: str | None) -> None:
    """Write one HTML page about MANIFEST beside its results: gallery, grid, table, credits, failures.

    The page needs no network and no server. A run writes it at its end; this brings it up to date, also
    while a run is going on.
    """
    from runner.api.report import write_report_of

    written = write_report_of(manifest, state=named_state(state, sandbox=sandbox), sandbox=sandbox)
    if as_json:
        show_json(
            {
                "v": 1,
                "type": "report",
                "manifest": written.report.manifest,
                "path": str(written.path),
                "url": written.path.as_uri(),
                "size_bytes": written.size_bytes,
                "jobs": len(written.report.jobs),
                "counts": dict(written.report.counts),
                "credits": {"spent": written.report.charged, "reserved": written.report.reserved},
            },
            indent=2,
        )
    else:
        print(written.path)  # for programs: byte for byte
    if open_it and isinstance(written.path, Path):
        open_url(written.path.absolute().as_uri())
    elif open_it:
        complain(f"{written.path} is in a bucket: `rivya-batch serve` shows the results in a browser here")
