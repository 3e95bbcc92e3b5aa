"""`rivya-batch run`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.output import complain, console, json_option, state_option, verbose_option
from runner.errors import Exit, UsageError

if TYPE_CHECKING:
    from runner.api.planning import Plan
    from runner.api.running import RunRequest, RunResult


class DurationType(click.ParamType[float]):
    """`90s`, `30m`, `6h`, `1d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        from runner.manifest.quantities import duration_s

        seconds = duration_s(str(value))
        if seconds is None:
            self.fail(f"{value!r} is no duration; write 90s, 30m, 6h or 1d", param, ctx)
        return seconds


DURATION = DurationType()


def run_options(function: Any) -> Any:
    """Add the options `run` and `retry` share."""
    for option in reversed(
        (
            click.option(
                "--max-credits", type=click.FloatRange(min=0), help="Replace budget.max_credits for this run."
            ),
            click.option("--only", metavar="GLOB", help="Submit only jobs whose id matches."),
            click.option("--stop-after", type=DURATION, metavar="TIME", help="Stop after 6h (exit 10)."),
            click.option(
                "--patience",
                type=DURATION,
                default="60s",
                metavar="TIME",
                show_default=True,
                help="How long to keep trying while the service does not answer.",
            ),
            click.option(
                "--yes", "-y", is_flag=True, help="Spend without asking (needed without a terminal)."
            ),
            json_option,
            state_option,
            verbose_option,
        )
    ):
        function = option(function)
    return function


@click.command("run")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Submit at most N new jobs.")
@click.option(
    "--canary", type=click.IntRange(min=1), metavar="N", help="Finish N jobs first; go on only if none fails."
)
@click.option("--start-at", metavar="HH:MM", help="Wait until this time of day before submitting.")
@click.option(
    "--sandbox", is_flag=True, help="Rehearse against the bundled imitation: no key, no network, no cost."
)
@click.option(
    "--sandbox-options", metavar="TEXT", default="", help="Options for it: see `rivya-batch sandbox --help`."
)
@click.option("--dry-run", is_flag=True, help="The same as `rivya-batch plan`.")
@run_options
def command(
    manifest: Path,
    limit: int | None,
    canary: int | None,
    start_at: str | None,
    sandbox: bool,
    sandbox_options: str,
    dry_run: bool,
    max_credits: float | None,
    only: str | None,
    stop_after: float | None,
    patience: float,
    yes: bool,
    as_json: bool,
    state: str | None,
    verbose: int,
) -> int:
    """Run MANIFEST, or go on with it: every job is paid once, whatever happened before."""
    if dry_run:
        from runner.cli.plan import show_plan

        show_plan(manifest, as_json=as_json, state=state, sandbox=sandbox)
        return int(Exit.OK)
    import shlex

    from runner.api.running import RunRequest
    from runner.engine import RunOptions

    request = RunRequest(
        path=manifest,
        state=None if sandbox else state,
        sandbox=sandbox,
        sandbox_arguments=tuple(shlex.split(sandbox_options)),
        command=f"rivya-batch run {manifest}",
        max_credits=max_credits,
        options=RunOptions(
            limit=limit, only=only, canary=canary, stop_after_s=stop_after, patience_s=patience
        ),
    )
    return go(request, yes=yes or sandbox, as_json=as_json, verbose=verbose, start_at=start_at)


def go(
    request: RunRequest,
    *,
    yes: bool,
    as_json: bool,
    verbose: int,
    start_at: str | None = None,
    confirm: Any = None,
    prepare: Any = None,
) -> int:
    """Run a request with the progress that suits where we are, and print how it ended."""
    from runner.api.running import run
    from runner.progress.choose import choose_progress

    if start_at is not None:
        check_time_of_day(start_at)
    progress = choose_progress(as_json=as_json, verbose=verbose, title=request.path.name)

    def ready(plan: Plan) -> None:
        if start_at is not None:
            wait_until(start_at)
        progress.log_to(plan.database.with_name(f"{plan.database.stem}.log"))
        progress.begin(plan.name, summary=dict(plan.summary), credits=dict(plan.credits))

    try:
        result = run(
            request,
            confirm=confirm or (lambda plan: confirmed(plan, yes=yes)),
            announce=progress.announce,
            progress=progress,
            prepare=prepare,
            ready=ready,
        )
    finally:
        progress.close()
    if as_json:
        print_result_json(result, progress)
    else:
        print_result(result, request)
    return int(result.ended.code)


def confirmed(plan: Plan, *, yes: bool) -> bool:
    """Ask before spending. No variable and no default can say yes; without a terminal only --yes can."""
    from runner.cli.plan import summary_words

    if yes:
        return True
    complain(summary_words(plan, dict(plan.credits)))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"this would spend about {plan.to_spend:g} credits, and there is no terminal to ask on",
            hint="add --yes to spend without being asked, or look with `rivya-batch plan`",
        )
    return click.confirm("Spend these credits?", default=False, err=True)


def check_time_of_day(text: str) -> tuple[int, int]:
    """Return hour and minute of `23:00`."""
    hour, _, minute = text.partition(":")
    if hour.isdigit() and minute.isdigit() and len(minute) == 2 and int(hour) < 24 and int(minute) < 60:
        return int(hour), int(minute)
    raise UsageError(f"--start-at {text!r} is no time of day", hint="write it as 23:00")


def wait_until(text: str) -> None:
    """Wait for the next time it is this late, here."""
    import datetime

    hour, minute = check_time_of_day(text)
    start = datetime.datetime.now().astimezone()
    target = start.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if target <= start:
        target += datetime.timedelta(days=1)
    complain(f"waiting until {target:%Y-%m-%d %H:%M}")
    # In short naps against the wall clock: a laptop that slept through the time starts when it wakes.
    while (left := (target - datetime.datetime.now().astimezone()).total_seconds()) > 0:
        time.sleep(min(left, 5.0))


def print_result(result: RunResult, request: RunRequest) -> None:
    """Print what a run came to, where things are, and what to type next."""
    from runner.progress.plain import ORDER
    from runner.progress.words import credits_in_words, harmless, span

    counts = (
        ", ".join(f"{result.counts[name]} {name}" for name in ORDER if result.counts.get(name)) or "no jobs"
    )
    stats = result.ended.stats
    out = console()
    lines = [
        f"{result.name}: {counts}" + (f", {result.orphans} orphaned" if result.orphans else ""),
        f"credits    {credits_in_words(result.charged)} spent, {credits_in_words(result.reserved)} reserved",
        f"this run   {stats['accepted']} submitted, {stats['done']} finished in {span(stats['seconds'])};"
        f" {stats['submits'] + stats['polls'] + stats['uploads']} requests, {stats['rejections']} times 429",
        f"results    {_short(result.output_dir)}",
    ]
    out.print("\n".join(lines), style="default")
    for error in result.errors:
        out.print(
            f"{error['state']:<10} {harmless(str(error['job']))}  {error['class'] or ''}:"
            f" {harmless(str(error['message'] or ''), limit=160)}",
            soft_wrap=True,
        )
    for reason in result.ended.reasons:
        complain(
            f"stopped: {harmless(reason, limit=400)}"
            if result.ended.code is not Exit.INCOMPLETE
            else harmless(reason)
        )
    for line in next_steps(result, request):
        complain(f"next: {line}")


def next_steps(result: RunResult, request: RunRequest) -> list[str]:
    """Return what to type next."""
    flag = " --sandbox" if request.sandbox else ""
    again = f"rivya-batch run {request.path}{flag}"
    steps = []
    if result.counts.get("uncertain"):
        steps.append(f"rivya-batch resolve {request.path} JOB --resend | --attach TASK | --abandon")
    if result.counts.get("failed"):
        steps.append(f"rivya-batch retry {request.path}{flag}  (pays for another round of the failed jobs)")
    code = result.ended.code
    if code is Exit.CREDITS:
        steps.append(f"raise budget.max_credits (or --max-credits N) or top up the account, then {again}")
    elif code in (Exit.TEMPORARY, Exit.TIME, Exit.INTERRUPTED, Exit.TERMINATED):
        steps.append(again)
    elif code is Exit.REFUSED:
        steps.append(f"check the key with `rivya-batch credits`, then {again}")
    return steps


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


def print_result_json(result: RunResult, progress: Any) -> None:
    """Write the last event of the stream."""
    progress.write(
        "summary",
        {
            "manifest": result.name,
            "exit_code": int(result.ended.code),
            "reasons": list(result.ended.reasons),
            "counts": dict(result.counts),
            "orphaned": result.orphans,
            "credits": {"spent": result.charged, "reserved": result.reserved},
            "stats": result.ended.stats,
            "output_dir": str(result.output_dir),
            "database": str(result.database),
        },
    )
