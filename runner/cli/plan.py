"""`rivya-batch plan`."""

from __future__ import annotations

import itertools
import sys
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.completion import MANIFEST
from runner.cli.output import (
    complain,
    json_option,
    named_state,
    only_option,
    show,
    skip_invalid_option,
    state_option,
)
from runner.errors import Exit
from runner.host.surroundings import Finding, Weight
from runner.words import json_text

if TYPE_CHECKING:
    from runner.api.plan import Plan
    from runner.store.database import StateDatabase

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
MOST_LAWS = 4


@click.command("plan")
@click.argument("manifest", type=MANIFEST)
@json_option
@state_option
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database.")
@skip_invalid_option
@only_option
@click.option("--all", "show_all", is_flag=True, help="Show every job, not only the first ones.")
def command(
    manifest: Path,
    as_json: bool,
    state: str | None,
    sandbox: bool,
    skip_invalid: bool,
    only: str | None,
    show_all: bool,
) -> int:
    """Show what `run` would do with MANIFEST, and what it would cost. Makes no paid request.

    References named by url are fetched, and kept beside the database, as are mended pictures.
    """
    return show_plan(
        manifest,
        as_json=as_json,
        state=state,
        sandbox=sandbox,
        show_all=show_all,
        skip_invalid=skip_invalid,
        only=only,
    )


def show_plan(
    manifest: Path,
    *,
    as_json: bool,
    state: str | None,
    sandbox: bool,
    show_all: bool = False,
    max_credits: float | None = None,
    skip_invalid: bool = False,
    only: str | None = None,
) -> int:
    """Plan a manifest and print it; return the exit code.

    Args:
        manifest: Its path.
        as_json: For a program.
        state: The database's path, if it was named.
        sandbox: Whether it is a rehearsal.
        show_all: Every job.
        max_credits: Replaces the manifest's own cap.
        skip_invalid: Jobs with mistakes are left out.
        only: Only jobs with ids like this are submitted, and only their mistakes matter.
    """
    from runner.api.manifests.opened import Without
    from runner.api.plan import planned
    from runner.api.runs.room import look_at_room

    without = Without(skip_invalid=skip_invalid, only=only)
    with planned(
        manifest,
        state=named_state(state, sandbox=sandbox),
        sandbox=sandbox,
        max_credits=max_credits,
        without=without,
        announce=complain,
    ) as (plan, file):
        findings = look_at_room(plan.settings.output_dir, plan.database)
        credits, why_no_balance = dict(plan.credits), ""
        if not sandbox:
            from runner.api.runs.preflight import look_for_plan

            looked = look_for_plan(plan.result_hosts)
            findings += looked.all
            credits["balance"], why_no_balance = looked.balance, looked.why_no_balance
        if as_json:
            _print_json(plan, file, credits, findings)
        else:
            _print_words(plan, file, credits, findings, show_all=show_all, only=only)
            if why_no_balance:
                complain(why_no_balance)
        return int(Exit.INCOMPLETE if plan.incomplete else Exit.OK)


def _print_json(plan: Plan, file: StateDatabase, credits: dict[str, Any], findings: list[Finding]) -> None:
    from runner.api.plan import plan_lines
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
        "attention": list(plan.attention),
        "warnings": [problem_json(problem) for problem in plan.problems],
        "mended": [
            {
                "path": item.path,
                "file": str(item.file),
                "mime": item.mime,
                "size_bytes": item.size_bytes,
                "sha256": item.sha256,
            }
            for item in plan.mended
        ],
        "left_out": {"jobs": list(plan.left_out.ids), "nameless": plan.left_out.nameless},
        "findings": [asdict(finding) for finding in findings],
    }
    # Jobs stream: a hundred thousand of them need no list.
    sys.stdout.write(json_text(head)[:-1] + ', "jobs": [')
    encode = json_text
    lines = (
        ("," if number else "") + "\n" + encode(line) for number, line in enumerate(plan_lines(file, plan))
    )
    while piece := "".join(itertools.islice(lines, 1000)):
        sys.stdout.write(piece)
    sys.stdout.write("\n]}\n")


def _print_words(
    plan: Plan,
    file: StateDatabase,
    credits: dict[str, Any],
    findings: list[Finding],
    *,
    show_all: bool,
    only: str | None,
) -> None:
    from runner.api.plan import plan_lines
    from runner.cli.problems import show_problems
    from runner.progress.figures import columns, counted, near, padded
    from runner.words import harmless

    show_problems(plan.problems)
    wanted = (line for line in plan_lines(file, plan) if only is None or fnmatchcase(line["id"], only))
    shown = list(itertools.islice(wanted, None if show_all else LINES_SHOWN))
    total = len(shown) + sum(1 for _ in wanted) if only is not None else plan.summary["total"]
    id_width = min(max((columns(harmless(line["id"])) for line in shown), default=0), 48)
    model_width = max((len(line["model"]) for line in shown), default=0)
    for line in shown:
        row = (
            f"{MARKS[line['status']]} {line['status']:<9}  {padded(harmless(line['id']), id_width)}"
            f"  {line['model']:<{model_width}}  {_note(line)}"
        )
        show(row.rstrip())
    if len(shown) < total:
        show(f"… and {counted(total - len(shown), 'more job')}; --all shows them")
    show("")
    show(summary_words(plan, credits))
    if only is not None:
        what = f"{counted(total, 'job')} with an id like {harmless(only)}; the others are not submitted"
        show(f"--only     {what}" if total else f"--only     no job id is like {harmless(only)}")
    if plan.mended:
        copies, folder = counted(len(plan.mended), "picture"), near(plan.mended[0].file.parent)
        show(f"mended     {copies}: the copies in {folder} are what is sent")
    if plan.left_out:
        show(f"left out   {plan.left_out.words()}: the mistakes are told above")
    for each in plan.attention:
        show(f"warning    {each}")
    for finding in findings:
        if finding.weight is not Weight.FINE:
            show(f"warning    {finding.words()}")


def _note(line: dict[str, Any]) -> str:
    """Return what is to be said of a job: what it costs, or why it costs nothing."""
    from runner.progress.figures import credits_in_words
    from runner.words import harmless

    cost = f"{credits_in_words(line['credits']):>5} ({line['basis']})" if line["sends"] else ""
    if line["status"] == "changed":
        return f"{cost}  {', '.join(line['cause']) or 'something'} changed"
    if line["status"] == "renamed":
        return f"{cost}  was {harmless(line['was'] or '')}, free"
    if line["adopted"]:
        return "its result is already on disk, free"
    if line["status"] in ("failed", "uncertain") and line["error"]:
        cls = f"{line['error']['class']}: " if line["status"] == "failed" else ""
        return f"{cls}{harmless(line['error']['message'] or '', limit=80)}"
    return cost


def summary_words(plan: Plan, credits: dict[str, Any]) -> str:
    """Return the counts and the money of a plan as a few lines."""
    from runner.money.budget import EPSILON
    from runner.progress.figures import basis_in_words, counted, credits_in_words, near, size, span

    counts = ", ".join(
        f"{number:,} {change}" for change, number in plan.summary.items() if number and change != "total"
    )
    lines = [f"{plan.name}: {counted(plan.summary['total'], 'job')}: {counts or 'none'}"]
    basis = basis_in_words(credits["basis"])
    money = [f"{credits_in_words(credits['to_spend'])} to spend" + (f" ({basis})" if basis else "")]
    if credits["up_to"] is not None and credits["up_to"] > credits["to_spend"] + EPSILON:
        money.append(f"up to {credits_in_words(credits['up_to'])}")
    if credits["spent"]:
        money.append(f"{credits_in_words(credits['spent'])} spent before")
    if credits["reserved"]:
        money.append(f"{credits_in_words(credits['reserved'])} reserved")
    if credits["max_credits"] is not None:
        money.append(f"cap {credits_in_words(credits['max_credits'])}")
    if credits["balance"] is not None:
        money.append(f"balance {credits_in_words(credits['balance'])}")
    lines.append(f"credits    {', '.join(money)}")
    for law in plan.price_laws[:MOST_LAWS]:
        lines.append(f"price      {law}")
    if more := len(plan.price_laws) - MOST_LAWS:
        lines += [f"price      and {counted(more, 'more law')}"] if more > 0 else []
    if plan.submits or plan.summary["running"]:
        uploads = f", {counted(plan.uploads, 'upload')} ({size(plan.upload_bytes)})" if plan.uploads else ""
        going = f", {counted(plan.summary['running'], 'job')} under way" if plan.summary["running"] else ""
        lines.append(
            f"work       {counted(plan.submits, 'job')} to submit{going}{uploads},"
            f" about {counted(plan.requests, 'request')}, roughly {span(plan.seconds)}"
        )
    else:
        lines.append("work       nothing to submit")
    cap = credits["max_credits"]
    # A run sets aside for each job what jobs like it came to at most: it has to find that much room for the last one.
    wanted = credits["to_spend"] + credits["margin"]
    if cap is not None and wanted + credits["spent"] + credits["reserved"] > cap + EPSILON:
        lines.append("warning    costs more than max_credits: the run will stop at the cap (exit 8)")
    if above := credits["jobs_above_cap"]:
        lines.append(
            f"warning    {counted(above, 'job')} of these {'costs' if above == 1 else 'cost'} more than"
            f" max_credits_per_job ({credits_in_words(credits['max_credits_per_job'])}) and will not be sent (exit 8)"
        )
    day = credits["max_credits_per_day"]
    if day is not None and wanted + credits["last_day"] > day + EPSILON:
        lines.append(
            f"warning    with the {credits_in_words(credits['last_day'])} of the last 24 hours this is more than"
            f" max_credits_per_day ({credits_in_words(day)}): the run will stop there (exit 8)"
        )
    if credits["balance"] is not None and credits["to_spend"] > credits["balance"]:
        lines.append("warning    the balance is lower than this run may cost")
    lines.append(f"database   {near(plan.database)}" + ("" if plan.database_exists else " (new: no run yet)"))
    return "\n".join(lines)
