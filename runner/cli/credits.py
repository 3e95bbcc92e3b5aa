"""`rivya-batch credits`."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from runner.cli.output import complain, json_option, state_option


@click.command("credits")
@json_option
@state_option
@click.option("--sandbox", is_flag=True, help="Look at the sandbox's database; there is no balance then.")
def command(as_json: bool, state: str | None, sandbox: bool) -> None:
    """Show the balance, and what this workspace estimated, reserved, was charged and got back."""
    from runner.api.account import balance
    from runner.environment import find_key
    from runner.store import ledger
    from runner.store.database import StateFile
    from runner.workspace import find_workspace

    workspace = find_workspace(None, state=None if sandbox else state, sandbox=sandbox)
    rows: list[dict[str, Any]] = []
    day = 0.0
    if workspace.database.exists():
        file = StateFile.open_readonly(workspace.database)
        try:
            rows = ledger.by_manifest_model_day(file.conn)
            day = ledger.day_total(file.conn, time.time())
        finally:
            file.close()
    amount = balance() if not sandbox and find_key() is not None else None
    if as_json:
        print(
            json.dumps(
                {"v": 1, "type": "credits", "balance": amount, "last_day": day, "rows": rows},
                ensure_ascii=False,
                indent=2,
            )
        )
        return
    from runner.progress.words import credits_in_words

    if amount is not None:
        print(f"balance  {credits_in_words(amount)} (the wallet is shared with the web product)")
    elif not sandbox:
        complain("no API key is set, so the balance is not shown")
    if not rows:
        print("nothing was spent from this workspace yet")
        return
    head = ("estimated", "reserved", "charged", "released")
    print(
        f"{'day':<10}  {'manifest':<24}  {'model':<24}  {'rounds':>6}"
        + "".join(f"  {name:>9}" for name in head)
    )
    for row in rows:
        print(
            f"{row['day']:<10}  {row['manifest']:<24}  {row['model']:<24}  {row['payments']:>6}"
            f"  {credits_in_words(row['estimated']):>9}  {credits_in_words(row['reserved']):>9}"
            f"  {credits_in_words(row['charged']):>9}  {credits_in_words(row['released']):>9}"
        )
    print(f"in the last 24 hours: {credits_in_words(day)}")
