"""Looking at this machine, its network and the service before the first payment.

What is found is judged by `runner.host.surroundings`; here it is only looked for. One question to the service (GET
/credits) shows at once whether there is a way to it, whether it knows the key, what its clock says and what the
account holds. Beside it the hosts that have delivered results before are connected to. A service that does not
answer, or answers with trouble of its own, is nobody's matter here: the run waits for it the ordinary way.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio

from runner.errors import Exit, KeyRefused, TemporaryTrouble, UsageError
from runner.host import surroundings
from runner.host.clock import SystemClock
from runner.host.environment import base_url, find_key, get_key
from runner.host.surroundings import Finding, Weight
from runner.service.account import Account, checked_base_url
from runner.service.addresses import is_loopback, read_address
from runner.service.http import USER_AGENT, Timeouts
from runner.service.protocol import Answer, Meaning, Service
from runner.service.rivya.endpoints import open_service
from runner.service.transports import ResultTransport, check, knock, open_result_transport

LONGEST_S = 10.0  # for all of it: a service that is slower is waited for by the run itself
HOSTS = 3  # the latest of those that have delivered
TRY_ONE = "--canary 1 tries one job anyway"
_TIMES = Timeouts(connect_s=LONGEST_S / 2, read_s=LONGEST_S, total_s=LONGEST_S)
AGAIN_S = 1.0  # before a refused key is asked about once more: single refusals are known to be mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found, in the order it was looked for.

    `balance` is the account's credits, None where they were not told; `refusal` is how the service refuses the
    key, for people; empty where it does not; `answers` says that the service gave any answer that could be read.
    """

    findings: Sequence[Finding] = ()
    balance: float | None = None
    refusal: str = ""
    why_no_balance: str = ""
    answers: bool = False
    online: bool = False  # any answer came, readable or not
    barred: Sequence[Finding] = ()  # of the hosts of results

    @property
    def all(self) -> list[Finding]:
        """All that was found."""
        return [*self.findings, *self.barred]

    @property
    def told(self) -> list[Finding]:
        """What people are told of while a run begins: all but what is fine, and what ends the run."""
        return [each for each in self.all if each.weight is Weight.WARNING]

    @property
    def stop(self) -> tuple[Exit, str] | None:
        """Why a run ends before it has sent anything: exit code and words."""
        if self.refusal:
            return Exit.REFUSED, f"the service rejects the API key: {self.refusal}"
        found = next((each for each in self.findings if each.weight is Weight.STOP), None)
        return (Exit.TEMPORARY, found.words()) if found is not None else None

    @property
    def no_way_home(self) -> str:
        """Why nothing new should be paid for although the service works; empty where results can come home."""
        return next((each.words() for each in self.barred if each.weight is Weight.STOP), "")


def look_now(account: Account, hosts: Sequence[str]) -> Looked:
    """Look outside of a run, while a person waits: at a plan, or before they are asked.

    Raises:
        UsageError: The environment names a proxy we cannot go through, or certificates that cannot be read.
    """

    async def looked() -> Looked:
        async with (
            open_service(account, now=SystemClock().wall_s, connections=2, timeouts=_TIMES) as service,
            open_result_transport(account.base_url, HOSTS) as results,
        ):
            return await look(service, results, hosts)

    return anyio.run(looked)


def look_or_stop(hosts: Sequence[str], *, canary: bool) -> Looked:
    """Look as for a run, and raise what would end it; with `canary` one job may try the way home.

    Raises:
        KeyRefused, TemporaryTrouble, UsageError: What would end it.
    """
    looked = look_now(Account(checked_base_url(base_url()), get_key()), hosts)
    if looked.refusal:
        raise KeyRefused(f"the service rejects the API key: {looked.refusal}", hint="check RIVYA_API_KEY")
    if looked.stop is not None:
        raise TemporaryTrouble(looked.stop[1])
    if looked.no_way_home and not canary:
        raise TemporaryTrouble(looked.no_way_home, hint=TRY_ONE)
    return looked


def look_for_plan(hosts: Sequence[str]) -> Looked:
    """Look as for a run, but let nothing that is found be an error; without a key, nothing is asked."""
    try:
        url = checked_base_url(base_url())
        key = find_key()
        if key is not None:
            return look_now(Account(url, key), hosts)
        check(url)
    except UsageError as exc:
        found = Finding(what="environment", of="", found=exc.message, weight=Weight.STOP, do=exc.hint)
        return Looked(findings=[found], why_no_balance=exc.message)
    return Looked()


async def look(service: Service, results: ResultTransport, hosts: Sequence[str]) -> Looked:
    """Ask the service one question, and connect to the hosts its results came from; `LONGEST_S` at most.

    Args:
        service: The service.
        results: The way to hosts of results.
        hosts: Which have delivered before, the latest first, each with its port if it has one.
    """
    sight = _Sight(service, results, hosts)
    with anyio.move_on_after(LONGEST_S):
        async with anyio.create_task_group() as group:
            group.start_soon(sight.ask)
            for host in sight.hosts:
                group.start_soon(sight.knock, host)
            if not (sight.hosts or results.proxied or service.account.loopback):
                group.start_soon(sight.look_up)
    return sight.looked()


class _Sight:
    """What comes of one look, whenever that ends."""

    def __init__(self, service: Service, results: ResultTransport, hosts: Sequence[str]) -> None:
        self._service = service
        self._results = results
        self._name = urlsplit(service.account.base_url).hostname or ""
        self.hosts = [host for host in hosts if not is_loopback(f"https://{host}")][:HOSTS]
        self._answer: Answer | None = None
        self._way: Finding | None = None
        self._knocked: dict[str, Finding | None] = dict.fromkeys(self.hosts)
        self._made_up: Finding | None = None

    async def ask(self) -> None:
        self._answer = await self._service.credits()
        self._way = self._answer.finding
        if _refuses_the_key(self._answer):
            await anyio.sleep(AGAIN_S)
            self._answer = await self._service.credits()

    async def knock(self, host: str) -> None:
        self._knocked[host] = await knock(self._results, host, agent=USER_AGENT, timeout_s=LONGEST_S / 2)

    async def look_up(self) -> None:
        with suppress(OSError, UnicodeError):  # a name that is not found is told by the question itself
            found = await anyio.getaddrinfo(self._name, None, type=socket.SOCK_STREAM)
            self._made_up = surroundings.invented(
                (read_address(str(each[4][0])) for each in found), self._name
            )

    def looked(self) -> Looked:
        answer = self._answer or Answer(meaning=Meaning.UNCLEAR, message="no answer in time")
        findings = [self._way] if self._way is not None else []
        if answer.skew_s is not None:
            findings.append(surroundings.clock(answer.skew_s, self._name))
        balance = answer.balance
        online = answer.status is not None
        return Looked(
            findings=findings,
            barred=[self._made_up]
            if self._made_up is not None
            else surroundings.ways_of_results(list(self._knocked.values()), online=online),
            balance=balance,
            answers=answer.proper,
            online=online,
            refusal=answer.words() if _refuses_the_key(answer) else "",
            why_no_balance="" if balance is not None or self._way is not None else _why_not(answer),
        )


def _why_not(answer: Answer) -> str:
    if _refuses_the_key(answer):
        return f"the service rejects the API key: {answer.words()}"
    return f"the balance cannot be read: {answer.words() or 'no proper answer'}"


def _refuses_the_key(answer: Answer) -> bool:
    """Say whether it is the key itself that is refused: one that may not read credits may do all else."""
    return answer.meaning is Meaning.KEY_REFUSED and answer.bad_key
