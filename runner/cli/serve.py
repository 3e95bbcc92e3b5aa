"""`rivya-batch serve`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.browser import open_live, page_options
from runner.cli.completion import MANIFEST
from runner.cli.output import complain, json_option, named_state, show, show_json, state_option

if TYPE_CHECKING:
    from runner.api.serve import LivePage


@click.command("serve")
@click.argument("manifest", type=MANIFEST, required=False)
@page_options
@click.option(
    "--metrics",
    is_flag=True,
    help="Answer /metrics as well, without the secret: numbers of all manifests here, for Prometheus.",
)
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database and results.")
@json_option
@state_option
def command(
    manifest: Path | None,
    port: int,
    open_it: bool | None,
    metrics: bool,
    sandbox: bool,
    as_json: bool,
    state: str | None,
) -> None:
    """Serve the page of MANIFEST (default: the one that was run last) on this machine, until Ctrl-C.

    It follows a run in another process and is read-only; the page of `run --web` can pause and stop
    its run.
    """
    from runner.api.serve import metrics_of, serve_page, target_of
    from runner.host.workspace import find_workspace

    named = named_state(state, sandbox=sandbox)
    target = target_of(manifest, state=named, sandbox=sandbox)
    workspace = find_workspace(manifest, state=named, sandbox=sandbox)

    def ready(page: LivePage) -> None:
        if as_json:
            told = {"v": 1, "type": "serve", "manifest": target.manifest, "url": page.url}
            show_json(told)
        else:
            show(page.url)
            if metrics:
                complain(f"numbers for Prometheus: {page.metrics_url}")
            complain(f"serving {target.manifest}, read-only, until Ctrl-C")
        open_live(page, wanted=open_it)

    numbers = partial(metrics_of, workspace) if metrics else None
    serve_page(target, port=port, announce=complain, ready=ready, metrics=numbers)
