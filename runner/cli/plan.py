"""`rivya-batch plan`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from runner.cli.output import complain, json_option, state_option

MARKS = {
    "new": "+",
    "planned": "+",
    "changed": "~",
    "renamed": ">",
    "running": "…",
    "done": "✓",
    "failed": "✗",
    "uncertain": "?",
    "abandoned": "-",
    "orphaned": "o",
}
LINES_SHOWN = 40


@click.command("plan")
@click.argument("manifest", type=click.Path(path_type=Path))
@json_option
@state_option
@click.option("--sandbox", is_flag=True, help="Plan against the sandbox's database.")
@click.option("--all", "show_all", is_flag=True, help="Show every job, not only the first ones.")
def command(manifest: Path, as_json: bool, state: str | None, sandbox: bool, show_all: bool) -> None:
    """Show what `run` would do with MANIFEST, and what it would cost. Sends nothing that costs."""
    show_plan(manifest, as_json=as_json, state=state, sandbox=sandbox, show_all=show_all)


def show_plan(
    manifest: Path, *, as_json: bool, state: str | None, sandbox: bool, show_all: bool = False
) -> None:
    """Plan a manifest and print it."""
    from runner.api.account import balance_if_key
    from runner.api.opening import SANDBOX_URL
    from runner.api.planning import planned
    from runner.client import checked_base_url
    from runner.environment import base_url

    identity = SANDBOX_URL if sandbox else checked_base_url(base_url())
    with planned(
        manifest, state=None if sandbox else state, sandbox=sandbox, base_url=identity, now_s=time.time()
    ) as (plan, file):
        balance, why = (None, "") if sandbox else balance_if_key()
        credits = {**plan.credits, "balance": balance}
        if as_json:
            _print_json(plan, file, credits)
        else:
            _print_words(plan, file, credits, why, show_all=show_all)


def _print_json(plan: Any, file: Any, credits: dict[str, Any]) -> None:
    from runner.api.planning import plan_lines
    from runner.manifest import problem_json

    head = {
        "v": 1,
        "type": "plan",
        "manifest": plan.name,
        "path": str(plan.path),
        "database": str(plan.database),
        "output_dir": str(plan.settings.output_dir),
        "summary": plan.summary,
        "credits": credits,
        "submits": plan.submits,
        "uploads": plan.uploads,
        "upload_bytes": plan.upload_bytes,
        "requests": plan.requests,
        "estimated_seconds": plan.seconds,
        "warnings": [problem_json(problem) for problem in plan.problems],
    }
    # Jobs stream: a hundred thousand of them need no list.
    sys.stdout.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "jobs": [')
    encode = json.JSONEncoder(ensure_ascii=False).encode
    lines = (("," if number else "") + "\n" + encode(line) for number, line in enumerate(plan_lines(file, plan)))
    while piece := "".join(itertools.islice(lines, 1000)):
        sys.stdout.write(piece)
    sys.stdout.write("\n]}\n")


def _print_words(plan: Any, file: Any, credits: dict[str, Any], why: str, *, show_all: bool) -> None:
    from runner.api.planning import plan_lines
    from runner.cli.problems import show_problems
    from runner.progress.words import credits_in_words, harmless

    show_problems(plan.problems)
    out = []
    shown = 0
    total = plan.summary["total"]
    for line in plan_lines(file, plan):
        if not show_all and shown >= LINES_SHOWN:
            break
        shown += 1
        note = ""
        if line["status"] == "changed":
            note = f"  ({', '.join(line['cause']) or 'something'} changed)"
        elif line["status"] == "renamed":
            note = f"  (was {harmless(line['was'] or '')}, free)"
        elif line["adopted"]:
            note = "  (its result is on disk already)"
        elif line["error"]:
            note = f"  {line['error']['class']}: {harmless(line['error']['message'] or '', limit=80)}"
        cost = f"{credits_in_words(line['credits'])} ({line['basis']})" if line["sends"] else ""
        out.append(
            f"{MARKS[line['status']]} {line['status']:<9}  {harmless(line['id']):<32}  {line['model']:<22}  {cost}{note}"
        )
    print("\n".join(out))
    if shown < total:
        print(f"… and {total - shown} more; --all shows them")
    print()
    print(summary_words(plan, credits))
    if why:
        complain(why)


def summary_words(plan: Any, credits: dict[str, Any]) -> str:
    """Return the counts and the money of a plan as a few lines."""
    from runner.progress.words import basis_in_words, credits_in_words, size, span

    counts = ", ".join(
        f"{number} {change}" for change, number in plan.summary.items() if number and change != "total"
    )
    lines = [f"{plan.name}: {plan.summary['total']} jobs: {counts or 'none'}"]
    basis = basis_in_words(credits["basis"])
    spend = f"credits    {credits_in_words(credits['to_spend'])} to spend"
    if basis:
        spend += f" ({basis})"
    lines.append(
        f"{spend}, {credits_in_words(credits['spent'])} spent, {credits_in_words(credits['reserved'])} reserved"
        + (f", cap {credits_in_words(credits['max_credits'])}" if credits["max_credits"] is not None else "")
        + (f", balance {credits_in_words(credits['balance'])}" if credits["balance"] is not None else "")
    )
    if plan.submits or plan.summary["running"]:
        uploads = f", {plan.uploads} uploads ({size(plan.upload_bytes)})" if plan.uploads else ""
        lines.append(
            f"work       {plan.submits} submits{uploads}, about {plan.requests} requests, roughly {span(plan.seconds)}"
        )
    else:
        lines.append("work       nothing to submit")
    cap = credits["max_credits"]
    if cap is not None and credits["to_spend"] + credits["spent"] + credits["reserved"] > cap:
        lines.append("attention  this is more than max_credits: the run will stop at the cap (exit 8)")
    if credits["balance"] is not None and credits["to_spend"] > credits["balance"]:
        lines.append("attention  the account's balance is lower than what is to be spent")
    lines.append(
        f"database   {plan.database}"
        + ("" if plan.database_exists else " (new: nothing is known of earlier runs)")
    )
    return "\n".join(lines)
