"""`credits`: what the account has left."""

from __future__ import annotations

from runner.api.account import ask
from runner.errors import KeyRefused, TemporaryTrouble
from runner.lifecycle.machine import Answer, Meaning, credits_of, understand
from runner.service.client import Api


def balance() -> float:
    """Return the account's credits.

    Raises:
        KeyRefused: The key or its scope is refused.
        TemporaryTrouble: There is no proper answer.
    """

    async def question(api: Api) -> Answer:
        return understand(await api.credits())

    answer = ask(question)
    if answer.meaning is Meaning.KEY_REFUSED:
        raise KeyRefused(
            f"the service refuses our key: {answer.words()}", hint="check RIVYA_API_KEY and its scopes"
        )
    amount = credits_of((answer.data or {}).get("current_credits")) if answer.meaning is Meaning.OK else None
    if amount is None:
        raise TemporaryTrouble(
            f"the balance cannot be read: {answer.words() or 'no proper answer'}", hint=answer.hint
        )
    return amount
