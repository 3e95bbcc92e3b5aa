"""`rivya-batch credits`."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from runner.cli.output import complain, json_option, named_state, show, show_json, state_option
from runner.errors import RunnerError


@click.command("credits")
@json_option
@state_option
@click.option("--sandbox", is_flag=True, help="Use the sandbox's database; it shows no balance.")
def command(as_json: bool, state: str | None, sandbox: bool) -> None:
    """Show the balance, and what was estimated, reserved, charged and given back in this workspace."""
    from runner.api.credits import balance, spent
    from runner.host.environment import find_key
    from runner.host.workspace import find_workspace

    known = spent(find_workspace(None, state=named_state(state, sandbox=sandbox), sandbox=sandbox))
    amount, trouble = None, None
    if not sandbox and find_key() is not None:
        try:
            amount = balance()
        except RunnerError as exc:
            trouble = exc  # told after what is known without the service
    if as_json:
        if trouble is not None:
            raise trouble
        show_json(
            {
                "v": 1,
                "type": "credits",
                "balance": amount,
                "last_day": known.last_day,
                "rows": known.rows,
            },
            indent=2,
        )
        return
    from runner.progress.figures import credits_in_words

    if amount is not None:
        show(f"balance  {credits_in_words(amount)} (the wallet is shared with the web product)")
    elif trouble is None and not sandbox:
        complain("no API key is set, so the balance is not shown")
    show(
        "\n".join(_table(known.rows, known.last_day, _width()))
        if known.rows
        else "nothing spent in this workspace yet"
    )
    if trouble is not None:
        raise trouble


def _width() -> float:
    """Return how many columns there are; in a pipe there is no end to them."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf


def _cut(name: str, columns: float) -> str:
    return name if len(name) <= columns else f"{name[: int(columns) - 1]}…"


def _table(rows: Sequence[Mapping[str, Any]], day: float, width: float) -> list[str]:
    """Return what was spent, a line for each day, manifest and model."""
    from runner.progress.figures import credits_in_words

    names = max(len("manifest"), *(len(row["manifest"]) for row in rows))
    models = max(len("model"), *(len(row["model"]) for row in rows))
    amounts = ["estimated", "reserved", "charged", "released"]
    # On a terminal a line that does not fit would be broken within a number: the least important go first.
    for name in ("released", "estimated", "reserved"):
        if 10 + 2 + names + 2 + models + 2 + 6 + 11 * len(amounts) > width:
            amounts.remove(name)
    names = int(min(names, max(8, width - (10 + 2 + 2 + models + 2 + 6 + 11 * len(amounts)))))
    lines = [
        f"{'day':<10}  {'manifest':<{names}}  {'model':<{models}}  rounds"
        + "".join(f"  {name:>9}" for name in amounts)
    ]
    lines += [
        f"{row['day']:<10}  {_cut(row['manifest'], names):<{names}}  {row['model']:<{models}}  {row['payments']:>6,}"
        + "".join(f"  {credits_in_words(row[name]):>9}" for name in amounts)
        for row in rows
    ]
    return [*lines, f"in the last 24 hours: {credits_in_words(day)}"]
