"""What `hold`, `go`, `stop` and `set` share: the manifest, and how it is told what became of the order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.completion import MANIFEST
from runner.cli.output import complain, json_option, named_state, show, show_json, state_option
from runner.cli.typed import Advice

if TYPE_CHECKING:
    from runner.model import Order

OPTIONS = (
    click.argument("manifest", type=MANIFEST),
    click.option("--sandbox", is_flag=True, help="A rehearsal is meant."),
    json_option,
    state_option,
)


def of_a_run(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options these commands share."""
    return reduce(lambda inner, option: option(inner), reversed(OPTIONS), function)


def tell(
    manifest: Path, wanted: Sequence[Order], done: str, *, sandbox: bool, as_json: bool, state: Any
) -> None:
    """Tell a run what is wanted of it, and say what became of that."""
    from runner.api.orders import give

    given = give(manifest, wanted, state=named_state(state, sandbox=sandbox), sandbox=sandbox)
    if as_json:
        show_json(
            {"v": 1, "type": "order", "manifest": given.manifest, "run": given.run, "taken": given.taken}
        )
        return
    if given.taken:
        show(f"{given.manifest}: {Advice.here().typed(done)}")
    else:
        complain(f"{given.manifest}: not taken yet: {given.why_not}")
