"""`rivya-batch pick`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from runner.cli.completion import MANIFEST, complete_job
from runner.cli.output import complain, json_option, named_state, show, show_json, state_option
from runner.errors import UsageError


@click.command("pick")
@click.argument("manifest", type=MANIFEST)
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_job)
@click.option("--reject", is_flag=True, help="Reject them in the place of picking them.")
@click.option(
    "--rate", type=click.IntRange(1, 5), metavar="N", help="Give 1 to 5 stars; picks nothing by itself."
)
@click.option("--clear", is_flag=True, help="Take back what was said of them.")
@click.option("--word", metavar="TEXT", help="Write a word about them.")
@click.option(
    "--from", "source", metavar="FILE", help="Take what a report or a client's page saved; - reads stdin."
)
@click.option("--sandbox", is_flag=True, help="Results of rehearsals are meant.")
@json_option
@state_option
def command(
    manifest: Path,
    ids: tuple[str, ...],
    reject: bool,
    rate: int | None,
    clear: bool,
    word: str | None,
    source: str | None,
    sandbox: bool,
    as_json: bool,
    state: str | None,
) -> None:
    """Pick jobs of MANIFEST by their ID (or a pattern, `cat-*`); without an ID, show what is picked.

    `cat-1:2` is the second picture of a job that made several.

    Picks are kept in the database: the page shows them, and --picked means them in `export`, `retry` and `run`.
    """
    from runner.api.picks import known_picks, pick_from, pick_ids
    from runner.model import Opinion, PickChange

    place = named_state(state, sandbox=sandbox)
    saying = reject or clear or rate is not None or word is not None
    if clear and (reject or rate is not None or word is not None):
        raise click.UsageError("--clear excludes --reject, --rate and --word")
    if source is not None:
        if ids or saying:
            raise click.UsageError("--from FILE says it all: name neither ids nor what to think of them")
        done = pick_from(manifest, source, state=place, sandbox=sandbox)
    elif ids:
        if clear:
            change = PickChange(verdict="", rating=0, word="")
        elif reject:
            change = PickChange(verdict=Opinion.REJECTED, rating=rate, word=word)
        elif rate is not None or word is not None:
            change = PickChange(rating=rate, word=word)
        else:
            change = PickChange(verdict=Opinion.PICKED)
        done = pick_ids(manifest, ids, change, state=place, sandbox=sandbox)
    elif saying:
        raise UsageError("it is not said of which jobs", hint="name their ids, or a pattern such as 'cat-*'")
    else:
        done = known_picks(manifest, state=place, sandbox=sandbox)
    if as_json:
        show_json(
            {
                "v": 1,
                "type": "picks",
                "manifest": done.manifest,
                "changed": sorted(done.changed),
                "unknown": list(done.unknown),
                "older": list(done.older),
                "picks": [
                    {
                        "id": id_,
                        "verdict": pick.verdict,
                        "rating": pick.rating or None,
                        "word": pick.word,
                        "results": list(pick.results),
                    }
                    for id_, pick in done.picks.items()
                ],
            }
        )
        return
    for names, why in (
        (done.unknown, "not in this manifest"),
        (done.older, "run again since: look at them anew"),
    ):
        if names:
            complain(f"left out: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}: {why}")
    if not ids and source is None:
        for id_, pick in done.picks.items():
            stars = "\N{BLACK STAR}" * pick.rating
            which = f"{id_}{':' if pick.results else ''}{','.join(map(str, pick.results))}"
            show("  ".join(filter(None, [f"{pick.verdict or '':<8}", f"{stars:<5}", which, pick.word])))
    counts = Counter(pick.verdict.value for pick in done.picks.values() if pick.verdict)
    changed = f"{len(done.changed):,} changed; " if ids or source is not None else ""
    complain(f"{done.manifest}: {changed}{counts['picked']:,} picked, {counts['rejected']:,} rejected")
