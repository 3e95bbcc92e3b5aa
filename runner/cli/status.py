"""`rivya-batch status`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.completion import MANIFEST
from runner.cli.output import json_option, named_state, show, show_json, state_option

if TYPE_CHECKING:
    from runner.api.status import Standing


@click.command("status")
@click.argument("manifest", type=MANIFEST, required=False)
@json_option
@state_option
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database.")
@click.option("--watch", "-w", is_flag=True, help="Keep showing it, until Ctrl-C.")
def command(manifest: Path | None, as_json: bool, state: str | None, sandbox: bool, watch: bool) -> None:
    """Show how MANIFEST (or every manifest of this workspace) stands; works during a run."""
    from runner.api.manifests.opened import manifest_name
    from runner.api.status import look
    from runner.host.workspace import find_workspace, no_database

    workspace = find_workspace(manifest, state=named_state(state, sandbox=sandbox), sandbox=sandbox)
    if not workspace.has_database:
        raise no_database(workspace, sandbox=sandbox)
    names = [manifest_name(manifest)] if manifest is not None else None
    look_again = partial(look, workspace, names=names)
    found = look_again()
    words = partial(in_words, flag=" --sandbox" if sandbox else "")
    if watch:
        from runner.cli.status_watch import follow

        follow(look_again, as_json=as_json, in_words=words)
        return
    if as_json:
        show_json(
            {
                "v": 1,
                "type": "status",
                "database": str(workspace.database),
                "manifests": [asdict(s) for s in found],
            },
            indent=2,
        )
        return
    show("\n\n".join(words(standing) for standing in found) or "no manifest has been run here yet")


def in_words(standing: Standing, *, flag: str = "") -> str:
    """Return how a manifest stands as a few lines; `flag` is what commands about it need besides."""
    from runner.api import stuck_jobs
    from runner.cli.failures import failure_lines
    from runner.cli.typed import Advice
    from runner.progress.figures import counted, credits_in_words, moment, near, span
    from runner.progress.plain import states
    from runner.words import harmless

    advice = Advice.here(manifest=near(standing.path))
    orphans = f"; {counted(standing.orphaned, 'job')} no longer in the manifest" if standing.orphaned else ""
    lines = [f"{standing.name}: {states(standing.counts) or 'no jobs'}{orphans}"]
    lines.append(
        f"credits    {credits_in_words(standing.charged)} spent, {credits_in_words(standing.reserved)} reserved;"
        f" {credits_in_words(standing.last_day)} in the last 24 h in this workspace"
    )
    run, last = standing.running, standing.last_run
    others = standing.at_work - bool(run)
    if run and run["paused"]:
        lines.append(f"stopped    process {run['pid']} on {run['host']}; {run['paused']}")
    elif run:
        rate = run["stats"].get("rate_per_s")
        eta = f", about {span(standing.eta_s)} left" if standing.eta_s is not None else ""
        lines.append(
            f"running    since {moment(run['started_at'])}, process {run['pid']} on {run['host']}"
            + (" (another machine)" if run["elsewhere"] else "")
            + (f", with {counted(others, 'more run')} (`rivya-batch workers`)" if others > 0 else "")
            + (f", {rate:.1f} requests/s" if rate else "")
            + eta
        )
    elif others > 0:
        lines.append(f"running    {counted(others, 'run')} (`rivya-batch workers`)")
    elif standing.handed_over:
        lines.append(
            f"waiting    handed over {moment(standing.handed_over)}, and nobody is at it: start `rivya-batch worker`,"
            " here or on another machine"
        )
    elif last and last["ended_at"]:
        lines.append(f"last run   ended {moment(last['ended_at'])} with exit code {last['exit_code']}")
    elif last:
        lines.append(f"last run   was killed (last seen {moment(last['seen_at'])}); run again to continue")
    lines += [line for line, _ in failure_lines(standing.failures, advice)]
    lines += [f"warning    {advice.typed(harmless(line))}" for line in standing.attention]
    lines += [f"waiting    {advice.typed(harmless(line, limit=400))}" for line in standing.waits]
    if standing.warned:
        lines.append(
            f"warning    {counted(standing.warned, 'result')} kept with a warning"
            " (delete one to have it fetched again for free):"
        )
    for each in standing.warnings:
        lines.append(f"           {harmless(near(each['path']))}  {harmless(each['warning'], limit=160)}")
    if standing.warned > len(standing.warnings):
        lines.append(f"           … and {standing.warned - len(standing.warnings):,} more")
    lines += [f"stuck      {stuck_jobs.in_words(group)}" for group in standing.stuck]
    if not standing.running:
        manifest = shlex.quote(near(standing.path))
        if free := stuck_jobs.free_way(standing.stuck):
            lines.append(f"next       rivya-batch run {manifest}{flag}    ({free})")
        lines += [f"next       {way}" for way in stuck_jobs.other_ways(standing.stuck, manifest, flag)]
    return "\n".join(lines)
