"""`rivya-batch plan`."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.browser import open_live, page_options
from runner.cli.choice import CHOICE, meant
from runner.cli.completion import MANIFEST
from runner.cli.output import (
    complain,
    json_option,
    named_state,
    show,
    show_coloured,
    skip_invalid_option,
    state_option,
    submit_only_option,
)
from runner.cli.typed import Advice
from runner.errors import Exit, UsageError
from runner.host.environment import names_a_service
from runner.host.surroundings import Finding, Weight
from runner.lifecycle.selection import Only, fits, in_words
from runner.model import Basis
from runner.words import json_text

if TYPE_CHECKING:
    from runner.api.manifests.opened import Without
    from runner.api.plan import Plan
    from runner.api.plans.compare import Comparison, Costs
    from runner.api.plans.waits import ChainedJobs
    from runner.api.serve import LivePage
    from runner.store.database import StateDatabase


@click.command("plan")
@click.argument("manifest", type=MANIFEST)
@json_option
@state_option
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database.")
@skip_invalid_option
@submit_only_option
@CHOICE[0]
@CHOICE[1]
@CHOICE[2]
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also save the plan: `rivya-batch run FILE` does exactly that, or nothing.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="What if: plan as if this stood in the manifest, such as params.resolution=720p. Repeatable.",
)
@click.option(
    "--compare",
    "other",
    type=MANIFEST,
    metavar="MANIFEST",
    help="Also plan this one as it stands, and show the difference.",
)
@click.option(
    "--web",
    is_flag=True,
    help="Serve the plan as a page on this machine: a frame for each job, to switch off or on; a run fills them.",
)
@page_options
@click.option("--all", "show_all", is_flag=True, help="Show a line for each job in the place of groups.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print a table for a spreadsheet: each job and its price."
)
def command(
    manifest: Path,
    as_json: bool,
    state: str | None,
    sandbox: bool,
    skip_invalid: bool,
    only: str | None,
    picked: bool,
    rejected: bool,
    ids: str | None,
    show_all: bool,
    as_csv: bool,
    out: Path | None,
    changes: tuple[str, ...],
    other: Path | None,
    web: bool,
    port: int,
    open_it: bool | None,
) -> int:
    """Show what `run` would do with MANIFEST, and what it would cost. Makes no paid request.

    References named by url are fetched, and kept beside the database, as are mended pictures.
    """
    these = meant(
        manifest,
        only,
        picked=picked,
        rejected=rejected,
        ids=ids,
        state=named_state(state, sandbox=sandbox),
        sandbox=sandbox,
    )
    if web:
        if changes or other is not None or out is not None or as_csv or as_json or show_all:
            raise UsageError(
                "--web shows the manifest as it stands, on a page",
                hint="leave out --set, --compare, --out, --csv, --json and --all",
            )
        return serve_plan(
            manifest,
            state=state,
            sandbox=sandbox,
            skip_invalid=skip_invalid,
            only=these,
            port=port,
            open_it=open_it,
        )
    return show_plan(
        manifest,
        as_json=as_json,
        state=state,
        sandbox=sandbox,
        show_all=show_all,
        as_csv=as_csv,
        changes=changes,
        other=other,
        out=out,
        skip_invalid=skip_invalid,
        only=these,
    )


def serve_plan(
    manifest: Path,
    *,
    state: str | None,
    sandbox: bool,
    skip_invalid: bool,
    only: Only | None,
    port: int,
    open_it: bool | None,
) -> int:
    """Serve a plan as a page until Ctrl-C."""
    from functools import partial

    from runner.api.manifests.opened import Without
    from runner.api.plans.wall import inputs_of, make_wall
    from runner.api.serve import serve_page
    from runner.web.wall import WallReader

    named = named_state(state, sandbox=sandbox)
    balance = None
    if not sandbox and names_a_service():
        from runner.api.runs.preflight import look_for_plan

        balance = look_for_plan(()).balance
    plan = partial(
        make_wall,
        manifest,
        state=named,
        sandbox=sandbox,
        without=Without(skip_invalid=skip_invalid, only=only),
        balance=balance,
        announce=complain,
    )
    wall = plan()

    def ready(page: LivePage) -> None:
        show(page.url)
        complain(f"the plan of {wall.target.manifest}, until Ctrl-C; nothing is sent by it")
        complain(f"to run it, in another terminal: {wall.target.invocation.command('run')}")
        open_live(page, wanted=open_it)

    reader = WallReader(wall, again=plan, inputs=inputs_of)
    serve_page(wall.target, port=port, announce=complain, ready=ready, wall=reader)
    return int(Exit.OK)


def show_plan(
    manifest: Path,
    *,
    as_json: bool,
    state: str | None,
    sandbox: bool,
    show_all: bool = False,
    as_csv: bool = False,
    changes: Sequence[str] = (),
    other: Path | None = None,
    out: Path | None = None,
    max_credits: float | None = None,
    skip_invalid: bool = False,
    only: Only | None = None,
) -> int:
    """Plan a manifest and print it; return the exit code.

    Args:
        manifest: Its path.
        as_json: For a program.
        state: The database's path, if it was named.
        sandbox: Whether it is a rehearsal.
        show_all: Every job.
        as_csv: For a spreadsheet.
        changes: What it is read with as if it stood there: `params.resolution=720p`.
        out: Where to save it.
        other: A manifest to compare it with, as that stands.
        max_credits: Replaces the manifest's own cap.
        skip_invalid: Jobs with mistakes are left out.
        only: Only jobs with ids like this are submitted, and only their mistakes matter.
    """
    from runner.api.manifests.opened import Without
    from runner.api.plan import planned
    from runner.api.plans.compare import compared
    from runner.api.runs.room import look_at_room
    from runner.cli.plan_words import comparison_lines, field
    from runner.manifest.what_if import read_changes

    if out is not None and changes:
        raise UsageError(
            "--out saves what a run can do, and --set is none of it", hint="write it into the manifest"
        )
    without = Without(skip_invalid=skip_invalid, only=only)
    if as_csv and as_json:
        raise UsageError("--csv and --json are two forms of the same", hint="leave one of them out")
    with planned(
        manifest,
        state=named_state(state, sandbox=sandbox),
        sandbox=sandbox,
        max_credits=max_credits,
        without=without,
        announce=complain,
        changes=read_changes(changes),
    ) as (plan, file):
        against = None
        if other is not None:
            against = compared(
                _costs(plan, file), _costs_of(other, state=state, sandbox=sandbox, without=without)
            )
        if out is not None:
            named = named_state(state, sandbox=sandbox)
            _save(plan, file, out, state=named, sandbox=sandbox, without=without)
        findings = look_at_room(plan.settings.output_dir, plan.database)
        credits, why_no_balance = dict(plan.credits), ""
        if not sandbox and names_a_service():
            from runner.api.runs.preflight import look_for_plan

            looked = look_for_plan(plan.result_hosts)
            findings += looked.all
            credits["balance"], why_no_balance = looked.balance, looked.why_no_balance
        if as_csv:
            _print_csv(plan, file)
        elif as_json:
            _print_json(plan, file, credits, findings, changes=changes, against=against)
        else:
            _print_words(plan, file, credits, findings, show_all=show_all, only=only)
            for text in changes:
                key, _, value = text.partition("=")
                show("\n".join(field("what if", f"{key} = {value}; no file is changed")))
            if out is not None:
                again = Advice.here().typed(f"`rivya-batch run {shlex.quote(str(out))}`")
                show("\n".join(field("saved", f"{out}; {again} does exactly this, or nothing")))
            if against is not None:
                show("\n".join(comparison_lines(against)))
            if why_no_balance:
                complain(why_no_balance)
        return int(Exit.INCOMPLETE if plan.incomplete else Exit.OK)


def _save(
    plan: Plan, file: StateDatabase, out: Path, *, state: str | None, sandbox: bool, without: Without
) -> None:
    from runner.api.plans.saved import SavedPlan, save_plan, saved_jobs

    save_plan(
        SavedPlan(
            file=out,
            path=plan.path.absolute(),
            manifest=plan.name,
            sandbox=sandbox,
            state=state,
            only=without.only if isinstance(without.only, str) else None,
            skip_invalid=without.skip_invalid,
            jobs=saved_jobs(file.conn, plan.prices),
        )
    )


def _costs(plan: Plan, file: StateDatabase) -> Costs:
    from runner.api.plans.compare import costs
    from runner.progress.figures import near

    return costs(file.conn, plan.name, near(plan.path), plan.totals, plan.prices)


def _costs_of(path: Path, *, state: str | None, sandbox: bool, without: Without) -> Costs:
    """Plan another manifest as it stands, and return what it would pay."""
    from runner.api.plan import planned

    with planned(
        path, state=named_state(state, sandbox=sandbox), sandbox=sandbox, without=without, announce=complain
    ) as (plan, file):
        return _costs(plan, file)


def _print_json(
    plan: Plan,
    file: StateDatabase,
    credits: dict[str, Any],
    findings: list[Finding],
    *,
    changes: Sequence[str],
    against: Comparison | None,
) -> None:
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
        "prices": [
            {
                "basis": known.basis.value,
                "how": known.words,
                "seen_at": known.at,
                "jobs": known.jobs,
                "each": {
                    "at_least": known.each.low,
                    "expected": known.each.expected,
                    "up_to": known.each.high,
                },
            }
            for known in plan.totals.known
        ],
        "what_if": list(changes),
        "compare": _comparison_json(against) if against is not None else None,
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
        "waits": _waits_json(plan.waits),
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


def _waits_json(waits: ChainedJobs) -> dict[str, Any]:
    return {
        "for_results": len(waits.after),
        "for_choice": [*waits.choices, *waits.behind],
        "for_choice_credits": waits.credits,
        "held": {why: sorted({root for _, root in each}) for why, each in waits.held.items()},
    }


def _comparison_json(found: Comparison) -> dict[str, Any]:
    other = found.other
    return {
        "manifest": other.name,
        "path": other.path,
        "submits": len(other.jobs),
        "credits": {"at_least": other.all.low, "expected": other.all.expected, "up_to": other.all.high},
        "only_here": found.only_here,
        "only_there": found.only_there,
        "dearer": found.dearer,
        "cheaper": found.cheaper,
    }


def _print_csv(plan: Plan, file: StateDatabase) -> None:
    from runner.api.plans.budget_table import budget_table

    lines = budget_table(file.conn, plan.prices)
    while piece := "".join(itertools.islice(lines, 1000)):
        sys.stdout.write(piece)


def _print_words(
    plan: Plan,
    file: StateDatabase,
    credits: dict[str, Any],
    findings: list[Finding],
    *,
    show_all: bool,
    only: Only | None,
) -> None:
    from runner.cli.plan_words import HEAD, field, summary_words
    from runner.cli.problems import show_problems
    from runner.progress.figures import counted, in_credits, near
    from runner.words import harmless

    show_problems(plan.problems)
    asked_for = None
    if show_all or only is not None:
        asked_for = _print_jobs(plan, file, only)
    else:
        _print_groups(plan, file)
    show("")
    show(summary_words(plan, credits))
    advice, told = Advice.here(), list[tuple[str, str]]()
    if only is not None:
        what = (
            f"{counted(asked_for or 0, 'job')} with {harmless(in_words(only))}; the others are not submitted"
        )
        told.append(("--only", what if asked_for else f"no job has {harmless(in_words(only))}"))
    told += plan.waits.words()
    if plan.waits.credits:
        told.append(("later", f"about {in_credits(plan.waits.credits)} for what waits for your choice"))
    if plan.mended:
        copies, folder = counted(len(plan.mended), "picture"), near(plan.mended[0].file.parent)
        told.append(("mended", f"{copies}: the copies in {folder} are what is sent"))
    if plan.left_out:
        told.append(("left out", f"{plan.left_out.words()}: the mistakes are told above"))
    if any(known.basis is Basis.LISTED for known in plan.totals.known):
        probe = advice.typed("`rivya-batch run --probe`")
        # The command has a line of its own, whole: half of one, pasted, would be another.
        told.append(
            ("hint", f"pay for one job of each price never seen, and know them:\n{' ' * HEAD}{probe}")
        )
    told += [("warning", advice.typed(each)) for each in plan.attention]
    told += [("warning", finding.words()) for finding in findings if finding.weight is not Weight.FINE]
    # What is wrong may name a command: elsewhere than on a terminal it stays on one line.
    on_terminal = sys.stdout.isatty()
    for name, text in told:
        wrap = on_terminal and "\n" not in text
        show("\n".join(field(name, text)) if wrap else f"{name:<{HEAD}}{text}")


def _print_groups(plan: Plan, file: StateDatabase) -> None:
    """Print what would be done by blocks of the manifest, and of edited jobs what was edited."""
    from runner.api.plans.groups import grouped
    from runner.cli.plan_words import colour_of, group_lines

    found = grouped(file.conn, plan.name, plan.prices, plan.totals.parts, plan.summary)
    for line in group_lines(found, plan.summary):
        show_coloured(line, colour_of(line))


def _print_jobs(plan: Plan, file: StateDatabase, only: Only | None) -> int:
    """Print a line for each job with an id that is asked for; return how many there are."""
    from runner.api.plan import plan_lines
    from runner.cli.plan_words import MARKS, NAMES
    from runner.progress.figures import columns, padded
    from runner.words import harmless

    shown = [line for line in plan_lines(file, plan) if fits(only, line["id"])]
    id_width = min(max((columns(harmless(line["id"])) for line in shown), default=0), 48)
    model_width = max((len(line["model"]) for line in shown), default=0)
    for line in shown:
        status = NAMES.get(line["status"], line["status"])
        row = (
            f"{MARKS[line['status']]} {status:<9}  {padded(harmless(line['id']), id_width)}"
            f"  {line['model']:<{model_width}}  {_note(line)}"
        )
        show(row.rstrip())
    return len(shown)


_WAITS = {
    "result": "after what it needs",
    "choice": "waits for your choice",
    "held": "needs a job that does not come",
}


def _note(line: dict[str, Any]) -> str:
    """Return what is to be said of a job: what it costs, or why it costs nothing."""
    from runner.progress.figures import credits_in_words
    from runner.words import harmless

    cost = f"{credits_in_words(line['credits']):>5} ({line['basis']})" if line["sends"] else ""
    if (waits := _WAITS.get(line["waits"] or "")) is not None:
        cost = f"{cost}  {waits}".strip()
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
