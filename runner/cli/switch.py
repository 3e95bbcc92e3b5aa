"""`rivya-batch switch`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.completion import MANIFEST, complete_job
from runner.cli.output import complain, json_option, named_state, show, show_json, state_option
from runner.errors import UsageError


@click.command("switch")
@click.argument("manifest", type=MANIFEST)
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_job)
@click.option("--off", "way", flag_value="off", help="Do not submit them until they are switched on.")
@click.option("--on", "way", flag_value="on", help="Submit them again.")
@click.option("--sandbox", is_flag=True, help="Of rehearsals: these have switches of their own.")
@json_option
@state_option
def command(
    manifest: Path,
    ids: tuple[str, ...],
    way: str | None,
    sandbox: bool,
    as_json: bool,
    state: str | None,
) -> None:
    """Switch jobs of MANIFEST off or on by their ID (or a pattern, `cat-*`); without an ID, list what is off.

    What is switched off is not submitted, also by a run that goes on. What was sent already cannot be switched off.
    """
    from runner.api.switches import switch_ids
    from runner.progress.figures import counted
    from runner.words import harmless

    if bool(ids) != (way is not None):
        raise UsageError("name ids, and --off or --on", hint="rivya-batch switch night.yaml 'cat-*' --off")
    place = named_state(state, sandbox=sandbox)
    done = switch_ids(manifest, ids, off=way == "off", state=place, sandbox=sandbox)
    if as_json:
        show_json(
            {
                "v": 1,
                "type": "switches",
                "manifest": done.manifest,
                "changed": list(done.changed),
                "sent": list(done.sent),
                "off": list(done.off),
            }
        )
        return
    if not ids:
        for id_ in done.off:
            show(harmless(id_))
    if done.sent:
        some = ", ".join(map(harmless, done.sent[:5])) + (", …" if len(done.sent) > 5 else "")
        were = "was" if len(done.sent) == 1 else "were"
        complain(f"left on: {counted(len(done.sent), 'job')} that {were} sent already ({some})")
    moved = f"{len(done.changed):,} switched {way}; " if ids else ""
    complain(f"{done.manifest}: {moved}{counted(len(done.off), 'job')} off now")
