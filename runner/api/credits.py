"""`credits`: what the account has left."""

from __future__ import annotations

from runner.api.account import ask
from runner.errors import KeyRefused, TemporaryTrouble
from runner.service.protocol import Answer, Meaning, Service


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
            f"the service refuses our key: {answer.words()}", hint="check RIVYA_API_KEY and its scopes"
        )
    if answer.balance is None:
        raise TemporaryTrouble(
            f"the balance cannot be read: {answer.words() or 'no proper answer'}", hint=answer.hint
        )
    return answer.balance
