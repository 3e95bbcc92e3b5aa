"""The service, without spending: the way to it, the key, the account, its models, its own description."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import anyio

from runner.api.checks.check import Check, fine, of_finding, stop, warning
from runner.api.question import QUICK
from runner.api.runs.preflight import Looked, look
from runner.contract import Contract
from runner.contract.catalogue import Difference, compare_contracts
from runner.errors import Exit
from runner.host.clock import SystemClock
from runner.host.surroundings import Weight
from runner.model import ModelId
from runner.service.account import Account
from runner.service.protocol import Answer, Meaning
from runner.service.rivya.endpoints import open_service
from runner.service.transports import open_result_transport, proxy_of

NO_SUCH_TASK = "rivya-batch-doctor-asks"  # no service has made it: 404 shows that tasks may be asked for
HOSTS = 3
TOLD = 3  # differences


async def service(
    account: Account, hosts: Sequence[str], contracts: Mapping[ModelId, Contract]
) -> list[Check]:
    """Return what is found of the service; each of its endpoints that costs nothing is asked once.

    Args:
        account: Whom to ask, and as whom.
        hosts: Which have delivered results before, the latest first.
        contracts: What manifests are checked with.

    Raises:
        UsageError: The environment names a proxy we cannot go through, or certificates that cannot be read.
    """
    async with (
        open_service(account, now=SystemClock().wall_s, connections=2, timeouts=QUICK) as api,
        open_result_transport(account.base_url, HOSTS) as results,
    ):
        checks = await _name(account)
        looked = await look(api, results, hosts)
        checks += _way(account, looked)
        if not looked.online:
            return checks
        if account.key:
            checks += _key(looked, await api.poll(NO_SUCH_TASK))
        checks.append(_models(await api.models(), contracts))
        checks.append(_described(await api.described()))
        return checks


async def _name(account: Account) -> list[Check]:
    """Return where the service is; a name that is not found is told by the question itself."""
    host = urlsplit(account.base_url).hostname or ""
    proxy = proxy_of(account.base_url)
    if proxy is not None:
        found = f"{host} is asked through the proxy {proxy}"
        return [fine("proxy", found, of=host, do="NO_PROXY names hosts that are asked without it")]
    try:
        told = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = list(dict.fromkeys(str(each[4][0]) for each in told))
    return [fine("name", f"{host} is {', '.join(addresses[:3])}; no proxy is used", of=host)]


def _way(account: Account, looked: Looked) -> Iterator[Check]:
    host = urlsplit(account.base_url).hostname or ""
    if not looked.online:
        found = next((each for each in looked.findings if each.what != "clock"), None)
        if found is None:
            yield warning(
                "service",
                looked.why_no_balance or f"{host} does not answer",
                of=host,
                do="try again later; `run --patience` waits longer",
                code=Exit.TEMPORARY,
            )
            return
        yield Check(finding=found, code=Exit.TEMPORARY)
        return
    if urlsplit(account.base_url).scheme == "https":
        yield fine("tls", f"{host} answers, and its certificate is verified", of=host)
    else:
        yield fine("service", f"{account.base_url} answers (plain http, on this machine)", of=host)
    clocks = [each for each in looked.findings if each.what == "clock"]
    yield from map(of_finding, clocks)
    if not clocks:
        yield warning(
            "clock", f"{host} does not tell its time, so the clock of this machine is not checked", of=host
        )
    for each in looked.all:
        if each.what != "clock" and each.weight is not Weight.FINE:
            yield of_finding(each)


def _key(looked: Looked, asked: Answer) -> Iterator[Check]:
    if looked.refusal:
        yield stop(
            "key",
            f"the service rejects the API key: {looked.refusal}",
            code=Exit.REFUSED,
            do="check RIVYA_API_KEY",
        )
        return
    if looked.balance is not None:
        yield fine("key", "the key is accepted, and may read the balance (scope credits:read)")
        yield fine("balance", f"{looked.balance:,g} credits (the wallet is shared with the web product)")
    else:
        yield warning(
            "balance",
            looked.why_no_balance or "the balance cannot be read",
            do="a key without the scope credits:read can do all else; make a new key to have it",
        )
    if asked.meaning is Meaning.KEY_REFUSED:
        yield stop(
            "scope",
            f"the key may not ask for tasks: {asked.words()}",
            code=Exit.REFUSED,
            do="make a key with the scopes generations:create, generations:read and files:create",
        )
    elif asked.not_found and asked.meaning is Meaning.REFUSED:
        yield fine(
            "scope",
            "the key may ask for tasks (generations:read); whether it may make them, only --spend tells",
        )
    else:
        yield warning(
            "scope", f"a question for an unknown task is not answered with 404: {asked.words() or 'success'}"
        )


def _models(answer: Answer, contracts: Mapping[ModelId, Contract]) -> Check:
    if not answer.contracts:
        return warning(
            "models", f"the service's list of models cannot be read: {answer.words() or 'it is empty'}"
        )
    differences = compare_contracts(contracts, answer.contracts)
    found = f"{len(answer.contracts):,} models at the service"
    if not differences:
        return fine("models", f"{found}, as the contracts have them")
    return warning(
        "models",
        f"{found}, {len(differences):,} differences to the contracts: {_some(differences)}",
        do="`rivya-batch models sync` shows all of them, and takes them over",
    )


def _some(differences: Sequence[Difference]) -> str:
    told = "; ".join(map(str, differences[:TOLD]))
    return f"{told}; …" if len(differences) > TOLD else told


def _described(answer: Answer) -> Check:
    if answer.lacks is None:
        return warning(
            "openapi",
            f"the service's description of its API cannot be read: {answer.words() or 'it is none'}",
        )
    if answer.lacks:
        return warning(
            "openapi",
            f"the service's description lacks what is relied on: {', '.join(answer.lacks)}",
            do="look for a newer rivya-batch; a small run with --canary 1 tells whether it matters",
        )
    return fine("openapi", "the service's description has all paths and fields that are relied on")
