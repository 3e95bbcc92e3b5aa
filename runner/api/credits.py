"""`credits`: what the account has left, and what a workspace has spent."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from runner.api.question import ask
from runner.errors import KeyRefused, TemporaryTrouble
from runner.host.workspace import Workspace
from runner.service.protocol import Answer, Meaning, Service
from runner.store import ledger
from runner.store.database import open_to_read


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent from a workspace, in credits: rows of `v_credits`, and the sum of the last 24 hours."""

    rows: list[dict[str, Any]]
    last_day: float


def spent(workspace: Workspace) -> Spent:
    """Return what a workspace estimated, reserved, was charged and got back; nothing where nothing was run."""
    if not workspace.has_database:
        return Spent(rows=[], last_day=0.0)
    with closing(open_to_read(workspace.database)) as file:
        return Spent(
            rows=ledger.by_manifest_model_day(file.conn), last_day=ledger.day_total(file.conn, time.time())
        )


def balance() -> float:
    """Return the account's credits.

    Raises:
        KeyRefused: The key or its scope is refused.
        TemporaryTrouble: There is no proper answer.
    """

    async def question(service: Service) -> Answer:
        return await service.credits()

    answer = ask(question)
    if answer.meaning is Meaning.KEY_REFUSED:
        raise KeyRefused(
            f"the service rejects the API key: {answer.words()}", hint="check RIVYA_API_KEY and its scopes"
        )
    if answer.balance is None:
        raise TemporaryTrouble(
            f"the balance cannot be read: {answer.words() or 'no proper answer'}", hint=answer.hint
        )
    return answer.balance
