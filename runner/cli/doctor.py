"""`rivya-batch doctor`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.completion import MANIFEST
from runner.cli.output import json_option, named_state, show, show_json, state_option
from runner.cli.run_options import sandbox_words
from runner.words import harmless

if TYPE_CHECKING:
    from runner.api.checks.check import Check
    from runner.host.surroundings import Finding

WORDS = {"fine": "ok", "warning": "look", "stop": "STOP"}
MARGIN = 17  # columns before what was found


@click.command("doctor")
@click.argument("manifest", type=MANIFEST, required=False)
@click.option(
    "--sandbox", is_flag=True, help="Look at the bundled imitation, and the database of rehearsals."
)
@click.option(
    "--sandbox-options",
    metavar="TEXT",
    default="",
    help="Options of the sandbox: see `rivya-batch sandbox --help`.",
)
@json_option
@state_option
def command(
    manifest: Path | None, sandbox: bool, sandbox_options: str, as_json: bool, state: str | None
) -> int:
    """Look at this machine, the network, the key and the service; type this first when something is odd.

    Nothing is spent. The exit code is that of a run that would begin now.
    """
    from runner.api.doctor import examine
    from runner.host.workspace import find_workspace

    arguments = sandbox_words(sandbox_options, sandbox=sandbox)
    workspace = find_workspace(manifest, state=named_state(state, sandbox=sandbox), sandbox=sandbox)
    found = examine(workspace, manifest, sandbox=sandbox, sandbox_arguments=arguments)
    if as_json:
        checks = [{**asdict(each.finding), "exit_code": int(each.code)} for each in found.checks]
        show_json({"v": 1, "type": "doctor", "exit_code": int(found.code), "checks": checks}, indent=2)
    else:
        show("\n".join(line for check in found.checks for line in lines(check)))
    return int(found.code)


def lines(check: Check) -> Iterator[str]:
    """Yield a check as lines that fit the terminal: what was found, and below it what to do."""
    finding: Finding = check.finding
    width = max(min(shutil.get_terminal_size((80, 24)).columns, 120) - MARGIN, 30)
    head = f"{WORDS[finding.weight.value]:<5} {harmless(finding.what):<11}"
    for text in textwrap.wrap(harmless(finding.found), width, break_on_hyphens=False) or [""]:
        yield f"{head}{text}"
        head = " " * MARGIN
    head += "-> "
    for text in textwrap.wrap(harmless(finding.do), width - 3, break_on_hyphens=False):
        yield f"{head}{text}"
        head = " " * (MARGIN + 3)
