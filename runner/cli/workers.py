"""`rivya-batch workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.output import json_option, named_state, show, show_json, state_option

if TYPE_CHECKING:
    from runner.store.workers import WorkerRecord


@click.command("workers")
@json_option
@state_option
def command(as_json: bool, state: str | None) -> None:
    """Show who works with a state database that several machines share: the last twenty runs, and what each has done."""
    from runner.api import workers
    from runner.host.clock import epoch

    found = workers.seen(named_state(state, sandbox=False))
    rows = [
        (each, _stands(each, each.id in found.gone), max(found.now_s - each.seen_at, 0.0))
        for each in found.workers
    ]
    if as_json:
        show_json(
            {
                "v": 1,
                "type": "workers",
                "workers": [
                    {
                        "id": each.id,
                        "manifest": each.manifest,
                        "host": each.host,
                        "pid": each.pid,
                        "stands": stands,
                        "seen_s": round(seen_s, 1),
                        "in_flight": each.in_flight,
                        "jobs": each.held,
                        "done": each.done,
                    }
                    for each, stands, seen_s in rows
                ],
                "handed_over": [
                    {"manifest": each.manifest, "host": each.host, "at": each.handed_at, "path": each.path}
                    for each in found.handed
                ],
            },
            indent=2,
        )
        return
    for handed in found.handed:
        since_s = found.now_s - (epoch(handed.handed_at) or found.now_s)
        show(f"{handed.manifest}: handed over {_ago(since_s)}, on {handed.host}")
    if not rows and found.handed:
        show("nobody has taken part yet: start `rivya-batch worker`, here or on other machines")
        return
    if not rows:
        show(
            "nobody: several runs share a state database at a PostgreSQL server only, and none was begun there yet"
        )
        return
    names = max(len("manifest"), *(len(each.manifest) for each, _, _ in rows))
    hosts = max(len("machine"), *(len(each.host) for each, _, _ in rows))
    show(f"{'manifest':<{names}}  {'machine':<{hosts}}  process  {'':<8}     jobs     done  seen")
    for each, stands, seen_s in rows:
        show(
            f"{each.manifest:<{names}}  {each.host:<{hosts}}  {each.pid:>7}  {stands:<8}  {each.held:>7,}  {each.done:>7,}"
            f"  {_ago(seen_s)}"
        )


def _stands(worker: WorkerRecord, gone: bool) -> str:
    if worker.fenced:
        return "shut out"
    if worker.ended_at:
        return "ended"
    return "gone" if gone else "at work"


def _ago(seconds: float) -> str:
    from runner.progress.figures import span

    return f"{span(seconds)} ago"
