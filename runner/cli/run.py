"""`rivya-batch run`."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import click

from runner.cli.beside import Besides
from runner.cli.browser import linked, open_live, open_url, page_options, somebody_looks
from runner.cli.output import complain, console, show, show_coloured, skip_invalid_option
from runner.cli.run_options import Asked, asked, check_time_of_day
from runner.errors import Exit, RunnerError, UsageError
from runner.lifecycle.rules import MODERATION_LIKE
from runner.lifecycle.selection import in_words
from runner.model import ObjectPath
from runner.words import harmless

if TYPE_CHECKING:
    from pathlib import Path

    from runner.api.plan import Plan
    from runner.api.plans.saved import SavedPlan
    from runner.api.run import RunRequest
    from runner.api.runs.end import RunResult
    from runner.api.serve import LivePage
    from runner.engine import RunOptions
    from runner.progress.choose import Chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPage:
    """A live page that is wanted beside a run."""

    port: int
    open_it: bool | None

    def listen(self, announce: Callable[[str], None]) -> LivePage:
        """Take its address; nothing is served before the run begins."""
        from runner.api.serve import LivePage

        return LivePage(port=self.port, announce=announce)


@click.command("run")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Submit at most N new jobs.")
@click.option(
    "--canary",
    type=click.IntRange(min=1),
    metavar="N",
    help="Finish N jobs first; continue only if none fails.",
)
@click.option("--start-at", metavar="HH:MM", help="Wait until this time of day before submitting.")
@click.option(
    "--web", is_flag=True, help="Serve a live page of this run on this machine, and print its address."
)
@page_options
@skip_invalid_option
@click.option(
    "--probe",
    is_flag=True,
    help="Pay for one job of each price never seen, then show the plan of the others, whose prices are known.",
)
@click.option("--dry-run", is_flag=True, help="The same as `rivya-batch plan`.")
@click.option(
    "--no-work",
    is_flag=True,
    help="Hand it over to `rivya-batch worker`s at a shared state database, and wait for its end.",
)
@click.option("--detach", is_flag=True, help="The same, and return at once.")
@asked
def command(
    asked: Asked,
    limit: int | None,
    canary: int | None,
    start_at: str | None,
    web: bool,
    port: int,
    open_it: bool | None,
    skip_invalid: bool,
    probe: bool,
    dry_run: bool,
    no_work: bool,
    detach: bool,
) -> int:
    """Run MANIFEST, or resume it: every job is paid for once, whatever happened before.

    In its place a plan that `plan --out` has saved: exactly that is done, or nothing where something has changed since.
    """
    saved = saved_plan(asked.manifest)
    if saved is not None:
        asked, skip_invalid = as_saved(asked, saved), saved.skip_invalid
    if dry_run:
        from runner.cli.plan import show_plan

        return show_plan(
            asked.manifest,
            as_json=asked.as_json,
            state=asked.state,
            sandbox=asked.sandbox,
            max_credits=asked.max_credits,
            skip_invalid=skip_invalid,
            only=asked.only,
        )
    if no_work or detach:
        here = {"--probe": probe, "--web": web, "--start-at": start_at is not None}
        request = asked.request("run", limit=limit, canary=canary)
        return hand_over(
            replace(request, skip_invalid=skip_invalid, saved=saved), asked, detach=detach, here=here
        )
    if probe:
        return go_and_probe(asked, skip_invalid=skip_invalid, saved=saved)
    return go(
        replace(asked.request("run", limit=limit, canary=canary), skip_invalid=skip_invalid, saved=saved),
        yes=asked.yes or asked.sandbox,
        accept_warnings=asked.accept_warnings or asked.sandbox,
        as_json=asked.as_json,
        verbose=asked.verbose,
        start_at=start_at,
        besides=asked.besides,
        web=WebPage(port=port, open_it=open_it) if web else None,
        open_report=bool(open_it) and not web,
    )


def hand_over(request: RunRequest, asked: Asked, *, detach: bool, here: Mapping[str, bool]) -> int:
    """Hand a manifest over to workers, and return at once or wait for its end.

    Raises:
        UsageError: It is asked for something that the process itself would have to do.
    """
    from runner.api.runs.handing import hand_over as put
    from runner.api.worker import wait_for_end
    from runner.progress.figures import counted

    options = request.options
    here = {
        **here,
        "--stop-after": options.stop_after_s is not None,
        "--stop-at": options.stop_at_s is not None,
    }
    if not_here := [name for name, given in here.items() if given]:
        raise UsageError(
            f"{', '.join(not_here)}: no process of this command does that with --no-work or --detach",
            hint="leave it out, or run the manifest here",
        )
    handed = put(
        request,
        confirm=lambda plan: confirmed(
            plan, yes=asked.yes, accept_warnings=asked.accept_warnings, options=options
        ),
        announce=complain,
    )
    manifest = shlex.quote(str(request.path))
    there = (
        f"{counted(handed.workers, 'run')} of it at work already" if handed.workers else "nobody at it yet"
    )
    complain(f"{handed.name}: {counted(handed.jobs, 'job')} handed over to workers; {there}")
    complain(f"watch: rivya-batch status {manifest}  |  rivya-batch workers  |  rivya-batch serve {manifest}")
    return 0 if detach else wait_for_end(request.state, handed.number)


def go_and_probe(asked: Asked, *, skip_invalid: bool, saved: SavedPlan | None) -> int:
    """Pay for one job of each price that was never seen, and show the plan of the others."""
    from runner.api.manifests.opened import Without
    from runner.api.plan import planned
    from runner.api.plans.groups import never_seen
    from runner.api.plans.waits import with_sources
    from runner.cli.plan import show_plan
    from runner.progress.figures import counted

    if saved is not None:
        raise UsageError("--probe tries the prices of a manifest, not of a saved plan")
    with planned(
        asked.manifest,
        state=asked.state,
        sandbox=asked.sandbox,
        max_credits=asked.max_credits,
        without=Without(skip_invalid=skip_invalid, only=asked.only),
        announce=complain,
    ) as (plan, file):
        unseen = never_seen(file.conn, plan.prices)
        ids = with_sources(file.conn, unseen)
    if ids:
        more = (
            f", and {counted(len(ids) - len(unseen), 'job')} that they need" if len(ids) > len(unseen) else ""
        )
        complain(f"--probe    one job of each of {counted(len(unseen), 'price')} never seen{more}")
        code = go(
            replace(asked.request("run", ids=ids), skip_invalid=skip_invalid),
            yes=asked.yes or asked.sandbox,
            accept_warnings=asked.accept_warnings or asked.sandbox,
            as_json=asked.as_json,
            verbose=asked.verbose,
            besides=asked.besides,
        )
        if code or asked.as_json:
            return code
        show("")
    else:
        complain("--probe    each of these prices was seen before: there is nothing to try")
    return show_plan(
        asked.manifest,
        as_json=asked.as_json,
        state=asked.state,
        sandbox=asked.sandbox,
        max_credits=asked.max_credits,
        skip_invalid=skip_invalid,
        only=asked.only,
    )


def saved_plan(path: Path) -> SavedPlan | None:
    """Return the plan that was saved in a file; None where that is a manifest."""
    if path.suffix != ".json":
        return None
    from runner.api.plans.saved import read_saved_plan

    return read_saved_plan(path)


def as_saved(asked: Asked, saved: SavedPlan) -> Asked:
    """Return what is asked for with what a plan was made with.

    Raises:
        UsageError: It was asked for otherwise.
    """
    if asked.sandbox and not saved.sandbox:
        raise UsageError(f"{saved.file} was made without --sandbox", hint="rehearse the manifest itself")
    if asked.only is not None and asked.only != saved.only:
        raise UsageError(f"{saved.file} was made without this --only", hint="make a plan with it")
    return replace(asked, manifest=saved.path, sandbox=saved.sandbox, state=saved.state, only=saved.only)


def go(
    request: RunRequest,
    *,
    yes: bool,
    accept_warnings: bool = True,
    as_json: bool,
    verbose: int,
    besides: Besides,
    start_at: str | None = None,
    web: WebPage | None = None,
    open_report: bool = False,
) -> int:
    """Run a request with the progress that suits where we are, and print how it ended."""
    from runner.cli.process import run
    from runner.host.drives import DRIVES
    from runner.progress.choose import choose_progress

    if start_at is not None:
        time_to_start(start_at)
    progress = choose_progress(
        as_json=as_json, verbose=verbose, title=request.path.name, log_json=besides.log_json
    )
    beside = besides.open(request.path, progress.announce, rehearsal=request.sandbox)
    progress.tell_also(beside.listeners)
    page = web.listen(progress.announce) if web is not None else None
    if page is not None:
        progress.show_to(page.snapshot)
        request = replace(request, descriptors_kept=page.descriptors)

    def ready(plan: Plan) -> None:
        DRIVES.tell = progress.announce
        if start_at is not None:
            if not request.sandbox:
                look_first(plan, request.options)  # while somebody is there to mend what it finds
            wait_until(start_at)
        progress.log_to(plan.log, manifest=plan.name, run=plan.run)
        beside.begin(plan.name, plan.run)
        progress.begin(plan.name, summary=dict(plan.summary), credits=dict(plan.credits))
        if request.sandbox and not as_json:
            progress.announce("sandbox: nothing is paid")
        if page is not None and web is not None:
            page.about(plan, state=request.state, sandbox=request.sandbox)
            progress.announce(f"live page {page.url}")
            progress.show_page(page.url)
            open_live(page, wanted=web.open_it)

    try:
        result = run(
            request,
            confirm=lambda plan: confirmed(
                plan, yes=yes, accept_warnings=accept_warnings, options=request.options
            ),
            announce=progress.announce,
            progress=progress,
            ready=ready,
            beside=page.beside if page is not None else None,
        )
        beside.ended(result)
    except RunnerError as exc:
        beside.broken(exc)
        raise
    finally:
        beside.close()
        progress.close()
        if page is not None:
            page.close()
    if as_json:
        print_result_json(result, progress)
    else:
        print_result(result, request)
    beside.ring(f"{result.name}: {headline(result)}")
    if result.no_report:
        complain(f"no report was written: {result.no_report}")
    if open_report:
        _open(result.report)
    return int(result.ended.code)


def _open(report: Path | ObjectPath | None) -> None:
    if isinstance(report, ObjectPath):
        complain(f"{report} is in a bucket: `rivya-batch serve` shows the results in a browser here")
    elif report is not None and somebody_looks():
        open_url(report.absolute().as_uri())


def confirmed(plan: Plan, *, yes: bool, options: RunOptions, accept_warnings: bool = True) -> bool:
    """Ask before spending. No variable and no default can say yes; without a terminal only --yes can.

    It says yes to the price, not to cells that look like mistakes: nobody may have seen these.
    """
    from runner.cli.plan_words import question, summary_words

    someone = sys.stdin.isatty() and sys.stderr.isatty()
    if yes:
        if not (accept_warnings or someone):
            refuse_odd(plan.odd)
        return True
    balance = look_first(plan, options) if someone else None
    complain(summary_words(plan, {**plan.credits, "balance": balance}))
    if options.limit is not None:
        complain(f"--limit    of these, at most {options.limit:,} are submitted now")
    if options.only is not None:
        complain(f"--only     only jobs with {in_words(options.only)} are submitted now, and counted here")
    if not someone:
        raise UsageError(
            f"this would spend about {plan.to_spend:g} credits, and there is no terminal to ask in",
            hint="add --yes to spend without being asked, or check with `rivya-batch plan`",
        )
    return click.confirm(question(plan, balance), default=False, err=True)


def refuse_odd(odd: Sequence[str]) -> None:
    """Refuse jobs that would be paid for and have a cell such as `#REF!` or `nan`.

    Raises:
        UsageError: There are some, with what to do.
    """
    if odd:
        named = ", ".join(map(harmless, odd[:3])) + (", …" if len(odd) > 3 else "")
        have = "job has a cell" if len(odd) == 1 else "jobs have cells"
        raise UsageError(
            f"{len(odd):,} {have} such as `#REF!` or `nan` ({named}), and there is no terminal to ask in",
            hint="fix the table (`rivya-batch plan` shows where), or add --accept-warnings to pay for them as they are",
        )


def look_first(plan: Plan, options: RunOptions) -> float | None:
    """Look at the service and the way to it, tell what was found, and return the account's credits if known.

    Raises:
        RunnerError: Nothing could be submitted.
    """
    from runner.api.runs.preflight import look_or_stop

    looked = look_or_stop(plan.result_hosts, canary=options.canary is not None)
    for finding in looked.told:
        complain(f"warning: {finding.words()}")
    return looked.balance


def time_to_start(text: str) -> tuple[int, int]:
    """Return hour and minute of `23:00`.

    Raises:
        UsageError: It is no time of day.
    """
    found = check_time_of_day(text, "--start-at")
    if found is None:
        raise UsageError(f"--start-at {text!r} is not a time of day", hint="write it as 23:00")
    return found


def wait_until(text: str) -> None:
    """Wait for the next time it is this late, here."""
    from runner.host.clock import next_time_of_day

    start = next_time_of_day(*time_to_start(text), now_s=time.time())
    complain(f"waiting until {start}")
    # In short naps against the wall clock: a laptop that slept through the time starts when it wakes.
    while (left_s := start.epoch_s - time.time()) > 0:
        time.sleep(min(left_s, 5.0))


def print_result(result: RunResult, request: RunRequest) -> None:
    """Print what a run came to, where things are, and what to type next."""
    from runner.api import stuck_jobs
    from runner.cli.failures import failure_lines
    from runner.cli.plan_words import charged_lines
    from runner.cli.typed import Advice
    from runner.progress.figures import credits_in_words, near, span
    from runner.progress.plain import traffic
    from runner.words import harmless

    advice = Advice.here()
    stats = result.ended.stats
    reserved = f", {credits_in_words(result.reserved)} reserved" if result.reserved else ""
    free = " (sandbox: nothing was paid)" if request.sandbox else ""
    requests = sum(stats[what] for what in ("submits", "polls", "questions", "uploads"))
    failed = f", {stats['failed']:,} failed" if stats["failed"] else ""
    lines = [
        f"{result.name}: {headline(result)}",
        f"credits    {credits_in_words(result.charged)} spent{reserved}{free}",
        f"this run   {stats['accepted']:,} submitted, {stats['done']:,} finished{failed}"
        f" in {span(stats['seconds'])}\n           {traffic(requests, stats['rejections'])}"
        if requests or stats["done"]
        else "this run   nothing to send",
        f"results    {near(result.output_dir)}",
    ]
    lines[2:2] = charged_lines(result.prices, silent=result.silent)
    show("\n".join(lines))
    if isinstance(result.report, ObjectPath):
        show(f"report     {result.report}")
    elif result.report is not None:
        where, uri = result.report, result.report.absolute().as_uri()
        if sys.stdout.isatty():
            out = console()
            out.print("report    ", linked(near(where), where), end="\n           ", soft_wrap=True)
            out.print(linked(uri, where), soft_wrap=True)
        else:  # no links in there: rich need not be imported
            show(f"report     {near(where)}\n           {uri}")
    for line, colour in failure_lines(result.failures, advice):
        show_coloured(line, colour)
    for group in result.stuck:
        show(f"stuck      {stuck_jobs.in_words(group)}")
    told = {f"{number} {state}" for state, number in result.counts.items()}
    for reason in result.ended.reasons:
        if reason not in told:
            complain(f"stopped: {advice.typed(harmless(reason, limit=400))}")
    for line in next_steps(result, request):
        complain(f"next: {line}")


def headline(result: RunResult) -> str:
    """Return where the jobs of a manifest stand: `all 7 jobs are done`, `5 of 7 jobs are done, 2 failed`."""
    from runner.progress.figures import counted
    from runner.progress.plain import states

    off = result.counts.get("off", 0)
    total = sum(result.counts.values()) - off
    done = result.counts.get("done", 0)
    orphans = f"; {counted(result.orphans, 'job')} no longer in the manifest" if result.orphans else ""
    if off:
        orphans = f"; {off:,} switched off{orphans}"
    if not total:
        return f"no jobs{orphans}"
    if done == total:
        return f"{'the job is' if total == 1 else f'all {total:,} jobs are'} done{orphans}"
    others = states(
        {state: number for state, number in result.counts.items() if state not in ("done", "off")}
    )
    return f"{done:,} of {counted(total, 'job')} done, {others}{orphans}"


def next_steps(result: RunResult, request: RunRequest) -> list[str]:
    """Return what to type next: what costs nothing first, and last what pays for a job again."""
    from runner.api import stuck_jobs

    manifest = shlex.quote(str(request.path))
    flag = " --sandbox" if request.sandbox else ""
    again = f"rivya-batch run {manifest}{flag}"
    steps = []
    if result.rescued is not None:
        move = f"mv {shlex.quote(str(result.rescued))} {shlex.quote(str(result.database))}"
        steps.append(f"{move}    (restores what this run knows)")
    elif result.replaced:
        steps.append(f"put back the newest copy of {result.database} that you have")
    if any(state == "uncertain" for state, _ in result.ended_for):
        steps.append(f"rivya-batch resolve {manifest} JOB{flag} --resend | --attach TASK | --abandon")
    classes = {cls for state, cls in result.ended_for if state == "failed"}
    if result.choices:
        steps.append(
            f"rivya-batch pick {manifest} JOB...{flag}"
            f"    (or on the page: rivya-batch serve {manifest}{flag}, then s and p)"
        )
    if (run_again := _run_again(result, again)) is not None:
        steps.append(run_again)
    other_ways = stuck_jobs.other_ways(result.stuck, manifest, flag)
    steps += other_ways[:1]
    if again_may_help := classes - MODERATION_LIKE:
        only = f" --class {min(again_may_help)}" if again_may_help != classes else ""
        paid = "costs credits again" if result.failed_cost else "nothing was paid for them yet"
        steps.append(
            f"rivya-batch retry {manifest}{flag}{only}"
            f"    (tries failed jobs again as they are; {paid}: shows the price and asks)"
        )
        if result.held and run_again is None and not result.choices:
            steps.append(f"then {again}    (makes what waits for them)")
    return steps + other_ways[1:]


def _run_again(result: RunResult, again: str) -> str | None:
    """Return what another run is for; None where it would do nothing."""
    from runner.api import stuck_jobs

    code = result.ended.code
    settled = ("done", "failed", "uncertain", "abandoned", "off")
    left = sum(n for state, n in result.counts.items() if state not in settled)
    left -= sum(group.count for group in result.stuck if group.listed and group.settled)
    left -= result.held
    free = stuck_jobs.free_way(result.stuck)
    if code is Exit.CREDITS and result.ended.to_see:
        return f"{again}    ({result.ended.to_see})"
    if code is Exit.CREDITS and result.surprises:
        return f"{again}    (accepts the charge and continues)"
    if code is Exit.CREDITS:
        return f"{again}    (once there is room for more credits)"
    if code is Exit.REFUSED:
        return f"check the key with `rivya-batch credits`, then {again}"
    if (left or result.choices) and code is not Exit.FAULT:
        once = "once you have picked: " if result.choices else ""
        return f"{again}    ({once}continues where this stopped{free and f'; {free}'})"
    return f"{again}    ({free})" if free else None


def print_result_json(result: RunResult, progress: Chosen) -> None:
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
            "prices": [{**each._asdict(), "params": json.loads(each.params)} for each in result.prices],
            "stuck": [asdict(group) for group in result.stuck],
            "stats": result.ended.stats,
            "output_dir": str(result.output_dir),
            "report": str(result.report) if result.report is not None else None,
            "database": str(result.database),
        },
    )
