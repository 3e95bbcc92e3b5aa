"""`rivya-batch set`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from runner.cli.orders import of_a_run, tell
from runner.cli.run_options import CREDITS
from runner.errors import UsageError


class NumberOrAuto(click.ParamType[float]):
    """A number above 0, or `auto`, which is infinite here."""

    name = "number"

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; infinity for `auto`."""
        if value == "auto":
            return math.inf
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < 1e9 or (self._whole and not number.is_integer()):
            example = "50" if self._whole else "2.5"
            self.fail(
                f"{value!r} is not a number above 0; write {example}, or auto for the manifest's", param, ctx
            )
        return number


@click.command("set")
@click.option("--rate", type=NumberOrAuto(), metavar="N|auto", help="At most N requests per second.")
@click.option("--in-flight", type=NumberOrAuto(whole=True), metavar="N|auto", help="At most N tasks at once.")
@click.option("--max-credits", type=CREDITS, metavar="N", help="Another cap for this run.")
@of_a_run
def command(
    manifest: Path,
    rate: float | None,
    in_flight: float | None,
    max_credits: float | None,
    sandbox: bool,
    as_json: bool,
    state: str | None,
) -> None:
    """Change limits of the run of MANIFEST while it goes on; the next run has those of the manifest again."""
    from runner.model import Order, OrderKind

    given = {OrderKind.RATE: rate, OrderKind.IN_FLIGHT: in_flight, OrderKind.MAX_CREDITS: max_credits}
    wanted = [
        Order(kind=kind, value=None if math.isinf(value) else value)
        for kind, value in given.items()
        if value is not None
    ]
    if not wanted:
        raise UsageError("nothing to set", hint="give --rate, --in-flight or --max-credits")
    tell(manifest, wanted, "set", sandbox=sandbox, as_json=as_json, state=state)
