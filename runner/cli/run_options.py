"""What `run` and `retry` are both asked for: their common options, and the request these make."""

from __future__ import annotations

import functools
import math
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.beside import Besides
from runner.cli.choice import CHOICE, meant
from runner.cli.completion import MANIFEST
from runner.cli.output import json_option, named_state, state_option, submit_only_option, verbose_option
from runner.errors import UsageError
from runner.lifecycle.selection import Only

if TYPE_CHECKING:
    from runner.api.retry import Rounds
    from runner.api.run import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One invocation that may spend. `state` is None in the sandbox, which has a database of its own."""

    manifest: Path
    sandbox: bool
    sandbox_arguments: tuple[str, ...]
    max_credits: float | None
    only: Only | None
    rejected: bool
    may_pay_twice: bool
    replace: bool
    stop_after_s: float | None
    stop_at: str | None
    patience_s: float | None
    accept_warnings: bool
    yes: bool
    as_json: bool
    state: str | None
    verbose: int
    besides: Besides

    def request(self, command: str, *, rounds: Rounds | None = None, **options: Any) -> RunRequest:
        """Return what the engine is asked for.

        Args:
            command: The command's name: `run`.
            rounds: Jobs of which another round was agreed to.
            **options: More of the engine's options.
        """
        from runner.api.run import RunRequest
        from runner.engine import RunOptions

        return RunRequest(
            path=self.manifest,
            state=self.state,
            sandbox=self.sandbox,
            sandbox_arguments=self.sandbox_arguments,
            command=f"rivya-batch {command} {shlex.quote(str(self.manifest))}",
            max_credits=self.max_credits,
            may_pay_twice=self.may_pay_twice,
            replace=self.replace,
            rounds=rounds,
            options=RunOptions(
                only=self.only,
                stop_after_s=self.stop_after_s,
                stop_at_s=moment_s(self.stop_at, "--stop-at") if self.stop_at is not None else None,
                patience_s=self.patience_s,
                **options,
            ),
        )


def check_time_of_day(text: str, option: str) -> tuple[int, int] | None:
    """Return hour and minute of `23:00`; None for anything else.

    Raises:
        UsageError: It looks like one, and is none.
    """
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text)
    if found is None:
        return None
    if int(found[1]) < 24 and int(found[2]) < 60:
        return int(found[1]), int(found[2])
    raise UsageError(f"{option} {text!r} is not a time of day", hint="write it as 23:00")


def moment_s(text: str, option: str) -> float:
    """Return when a time of day comes next by the clock on the wall here, or a date and time, in seconds since 1970.

    Raises:
        UsageError: It is neither, or is over.
    """
    from runner.host.clock import next_time_of_day

    now_s = time.time()
    if (of_day := check_time_of_day(text, option)) is not None:
        return next_time_of_day(*of_day, now_s=now_s).epoch_s
    try:
        at_s = datetime.fromisoformat(text).timestamp() if "T" in text or " " in text else None
    except (ValueError, OverflowError, OSError):
        at_s = None
    if at_s is None:
        raise UsageError(f"{option} {text!r} is no time", hint="write it as 06:30, or as 2026-11-30T06:30")
    if at_s <= now_s:
        raise UsageError(f"{option} {text} is over already", hint="name a time to come")
    return at_s


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
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 6h or 1d", param, ctx)
        return seconds


class CreditsType(click.ParamType[float]):
    """A finite number of at least 0, as in the manifest: nothing is above `nan`, so that would be no cap at all."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return credits."""
        try:
            credits = float(value)
        except ValueError:
            credits = math.nan
        if not 0 <= credits <= 1e15:
            self.fail(f"{value!r} is not a number of credits; write 0, 12.5 or 2000", param, ctx)
        return credits


DURATION = DurationType()
CREDITS = CreditsType()
OPTIONS = (
    click.argument("manifest", type=MANIFEST),
    click.option(
        "--sandbox", is_flag=True, help="Rehearse against the bundled imitation: no key, no network, no cost."
    ),
    click.option(
        "--sandbox-options",
        metavar="TEXT",
        default="",
        help="Options of the sandbox: see `rivya-batch sandbox --help`.",
    ),
    click.option("--max-credits", type=CREDITS, metavar="N", help="Replace budget.max_credits for this run."),
    submit_only_option,
    *CHOICE,
    click.option(
        "--replace",
        is_flag=True,
        help="Let results replace another manifest's in the same folder.",
    ),
    click.option(
        "--stop-after", type=DURATION, metavar="TIME", help="Stop after this long, such as 6h (exit 10)."
    ),
    click.option(
        "--stop-at",
        metavar="TIME",
        help="Submit only what is home by then, such as 06:30 or 2026-11-30T06:30 (exit 10).",
    ),
    click.option(
        "--patience",
        type=DURATION,
        metavar="TIME",
        help="How long to keep trying while the service does not answer or asks for a wait of over two"
        " minutes.  [default: 60s]",
    ),
    click.option(
        "--may-pay-twice",
        is_flag=True,
        help="Continue although payments of earlier runs are missing from the database.",
    ),
    click.option(
        "--accept-warnings",
        is_flag=True,
        help="With --yes and without a terminal: pay also for jobs with cells such as #REF! or nan.",
    ),
    click.option(
        "--notify",
        metavar="URL",
        multiple=True,
        envvar="RIVYA_NOTIFY",
        help="Send a message at the end, when you are needed, and at 80 % of the cap: an address of Apprise.",
    ),
    click.option(
        "--on-done",
        metavar="COMMAND",
        help="Start this for each job that is done; see manifests/overnight.md for what it gets.",
    ),
    click.option(
        "--no-bell", is_flag=True, envvar="RIVYA_NO_BELL", help="Neither ring at the end nor set the title."
    ),
    click.option(
        "--log-format",
        type=click.Choice(("text", "json")),
        default="text",
        help="Lines of the log, and of stderr while it runs, as JSON.",
    ),
    click.option(
        "--metrics-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write numbers of the run here about once a second, as Prometheus reads them.",
    ),
    click.option("--yes", "-y", is_flag=True, help="Spend without asking (needed without a terminal)."),
    json_option,
    state_option,
    verbose_option,
)


def asked(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options `run` and `retry` share; the command gets them as one `asked`."""

    @functools.wraps(function)
    def command(
        *,
        sandbox: bool,
        sandbox_options: str,
        stop_after: float | None,
        stop_at: str | None,
        patience: float | None,
        state: str | None,
        manifest: Path,
        max_credits: float | None,
        only: str | None,
        picked: bool,
        rejected: bool,
        ids: str | None,
        may_pay_twice: bool,
        replace: bool,
        accept_warnings: bool,
        notify: tuple[str, ...],
        on_done: str | None,
        no_bell: bool,
        log_format: str,
        metrics_file: Path | None,
        yes: bool,
        as_json: bool,
        verbose: int,
        **own: Any,
    ) -> int:
        place = named_state(state, sandbox=sandbox)
        shared = Asked(
            manifest=manifest,
            sandbox=sandbox,
            sandbox_arguments=sandbox_words(sandbox_options, sandbox=sandbox),
            max_credits=max_credits,
            only=meant(
                manifest, only, picked=picked, rejected=rejected, ids=ids, state=place, sandbox=sandbox
            ),
            rejected=rejected,
            may_pay_twice=may_pay_twice,
            replace=replace,
            stop_after_s=stop_after,
            stop_at=stop_at,
            patience_s=patience,
            accept_warnings=accept_warnings,
            yes=yes,
            as_json=as_json,
            state=place,
            verbose=verbose,
            besides=Besides(
                notify=notify,
                on_done=on_done,
                bell=not (no_bell or as_json),
                log_json=log_format == "json",
                metrics_file=metrics_file,
            ),
        )
        return function(asked=shared, **own)

    return functools.reduce(lambda inner, option: option(inner), reversed(OPTIONS), command)


def sandbox_words(text: str, *, sandbox: bool) -> tuple[str, ...]:
    """Return the words of `--sandbox-options`.

    Raises:
        UsageError: They are no shell words, or the run is not in the sandbox: it would be paid.
    """
    if text and not sandbox:
        raise UsageError("--sandbox-options is given without --sandbox", hint="add --sandbox to rehearse")
    try:
        return tuple(shlex.split(text))
    except ValueError as exc:
        raise UsageError(
            f"--sandbox-options {text!r} cannot be read: {exc}", hint="check its quotes"
        ) from exc
