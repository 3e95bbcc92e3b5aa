"""The command line: parses, calls `runner.api`, prints. Heavy imports wait until a command needs them."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, cast

import click

from runner import __version__
from runner.errors import Exit, RunnerError, Terminated

COMPLETION = "_RIVYA_BATCH_COMPLETE"
# New objects before the garbage is looked for (Python: 700, 10, 10). What a command makes at its start is nearly all kept:
# to look through it some hundred times took a twelfth of that time.
GARBAGE = 50_000, 20, 50

# name: (module, one line for --help); the module is imported when the command is used.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write a commented starter manifest."),
    "validate": ("validate", "Report every problem in manifests; offline."),
    "plan": ("plan", "Show what `run` would do and cost; pays nothing."),
    "run": ("run", "Run a manifest, or resume it."),
    "status": ("status", "Show the progress of manifests, also during a run."),
    "hold": ("hold", "Submit no new jobs in a run that goes on."),
    "go": ("go", "Let a run that is held go on."),
    "stop": ("stop", "Stop a run in good order, as Ctrl-C does."),
    "set": ("set", "Change rate, tasks at once or the cap of a run."),
    "retry": ("retry", "Try failed jobs again (costs credits, asks first)."),
    "resolve": ("resolve", "Settle a job that is uncertain or stuck."),
    "report": ("report", "Write an HTML page of the results to browse."),
    "serve": ("serve", "Serve that page on this machine, live during a run."),
    "pick": ("pick", "Pick, reject or rate results; --picked means them elsewhere."),
    "switch": ("switch", "Switch jobs off or on: what is off is not submitted."),
    "again": ("again", "Write a new manifest of picked jobs, with changes."),
    "share": ("share", "Write results for a client: a page to star and comment on."),
    "export": ("export", "Export jobs as csv, jsonl, json, or a playlist."),
    "doctor": ("doctor", "Look at machine, network, key and service; pays nothing."),
    "models": ("models", "Show what each model accepts and costs."),
    "credits": ("credits", "Show the balance, and what was spent on which model."),
    "schema": ("schema", "Print the JSON Schema of manifests, for editors."),
    "worker": ("worker", "Wait for manifests that are handed over, and take part."),
    "workers": ("workers", "Show who works with a shared state database."),
    "state": ("state", "Copy the state database to a server, or back to a file."),
    "sandbox": ("sandbox", "Serve the bundled imitation of the API, locally."),
}


class _Lazy(click.Group):
    """A group that knows its commands by name and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"runner.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            from runner.words import harmless

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if near:
                raise click.UsageError(
                    f"{harmless(error.message)} Did you mean {near[0]!r}?", ctx=ctx
                ) from error
            raise


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rivya-batch")
def cli() -> None:
    """Run thousands of paid generation jobs from a YAML manifest; pay for each once, and resume after any crash."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    from runner.cli.output import complain, hold_streams

    if find_spec("fcntl") is None:  # Windows
        complain("rivya-batch runs on Linux and macOS; on Windows, use it inside WSL")
        sys.exit(int(Exit.USAGE))
    from runner.host.drives import DRIVES

    gc.set_threshold(*GARBAGE)
    leave_out()
    given = list(sys.argv[1:] if arguments is None else arguments)
    hold_streams(for_programs="--json" in given or given[:1] in (["schema"], ["export"]))
    DRIVES.tell = complain
    code = invoke(given)
    gc.freeze()  # it all ends with the process: the interpreter need not look for what could be freed sooner
    sys.exit(code)


def leave_out() -> None:
    """Keep what no command of ours uses from being imported.

    httpx brings a command line of its own, with rich and its colours, and does without where it cannot be imported: a
    third of its import time. This changes the process, so only the command does it.
    """
    cast("dict[str, Any]", sys.modules).setdefault("httpx._main", None)


def invoke(arguments: list[str]) -> int:
    """Run the command and return its exit code; errors become words here and nowhere else."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; that is not our error.
        _forget_stdout()
        return int(Exit.OK)
    except OSError as exc:
        if exc.errno not in _OUTPUT_TROUBLE:
            raise
        _forget_stdout()
        _say(f"error: the output cannot be written: {exc.strerror}")
        return int(Exit.TEMPORARY)
    return code


def _run(arguments: list[str]) -> int:
    if COMPLETION in os.environ:
        importlib.import_module("runner.cli.completion")  # bash is handled separately
    try:
        result: Any = cli.main(args=arguments, prog_name="rivya-batch", standalone_mode=False)
        return int(result) if isinstance(result, int) else int(Exit.OK)
    except click.exceptions.Exit as exc:
        return int(exc.exit_code)
    except SystemExit:
        # How click ends on a broken pipe, after it has made stdout harmless.
        return int(Exit.OK)
    except click.ClickException as exc:
        _show_usage(exc, as_json="--json" in arguments)
        return int(Exit.USAGE)
    except (click.Abort, KeyboardInterrupt) as exc:
        terminated = isinstance(exc, Terminated) or isinstance(exc.__cause__, Terminated)
        _say("terminated" if terminated else "interrupted")
        return int(Exit.TERMINATED if terminated else Exit.INTERRUPTED)
    except RunnerError as exc:
        from runner.cli.problems import show_error
        from runner.cli.typed import Advice

        show_error(exc, as_json="--json" in arguments, advice=Advice.of(cli, arguments))
        return int(exc.exit_code)
    except Exception as exc:  # the last resort: say it without a key in it
        if isinstance(exc, OSError) and exc.filename is None and exc.errno in _OUTPUT_TROUBLE:
            raise
        from runner.cli.problems import show_error, show_fault
        from runner.cli.typed import Advice
        from runner.store.error_words import as_trouble

        trouble = as_trouble(exc)
        if trouble is not None:
            show_error(trouble, as_json="--json" in arguments, advice=Advice.of(cli, arguments))
            return int(trouble.exit_code)
        show_fault(exc)
        return int(Exit.FAULT)


# What writing to stdout fails with, besides a reader that has gone.
_OUTPUT_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG})


def _show_usage(error: click.ClickException, *, as_json: bool) -> None:
    """Print a mistake in the command line; for programs it is an object like any other error."""
    error.show()
    if as_json:
        from runner.cli.output import show_json

        document = {"v": 1, "type": "error", "exit_code": int(Exit.USAGE), "message": error.format_message()}
        show_json({**document, "hint": "see --help"})


def _forget_stdout() -> None:
    """Let what is still buffered go nowhere, so that nothing fails again at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    from runner.cli.output import complain

    complain(text)
