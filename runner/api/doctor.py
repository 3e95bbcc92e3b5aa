"""`doctor`: what of this machine, the network, the key and the service is as it should be; nothing is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from runner.api.account import refuse_event_loop
from runner.api.checks.check import Check, fine, of_error, stop, worst
from runner.api.checks.machine import machine
from runner.api.checks.service import service
from runner.api.checks.trial import (
    RunIt,
    Tried,
    cheapest,
    model_of,
    takes_pictures,
    try_one,
    unfinished,
    write_manifest,
)
from runner.api.manifests.contracts import contracts_for
from runner.api.manifests.opened import read_manifest
from runner.api.run import SANDBOX_KEY
from runner.api.runs.sandbox_process import sandbox_child
from runner.contract import Contract
from runner.errors import Exit, RunnerError, UsageError
from runner.host.clock import SystemClock
from runner.host.environment import KEY_HINT, base_url, find_key, get_key
from runner.host.workspace import Workspace
from runner.model import SANDBOX_URL, ResultPath
from runner.service.account import Account, checked_base_url
from runner.service.rivya.open_questions import OPEN_QUESTIONS, OpenQuestion
from runner.service.seen import Fact, read
from runner.store import result_hosts
from runner.store.database import open_to_read


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """All that was found, in the order in which it matters."""

    checks: Sequence[Check]

    @property
    def code(self) -> Exit:
        """What a run would end with as things are; OK where it would begin."""
        return worst(self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Whom `doctor` looks at. `account` is None where the environment names no service that can be used."""

    workspace: Workspace
    manifest: Path | None
    state: str | None
    sandbox: bool
    sandbox_arguments: tuple[str, ...]
    account: Account | None
    trouble: RunnerError | None = None  # why there is no account

    @property
    def service(self) -> str:
        """The name under which the service is remembered; empty where there is none."""
        return self.account.service if self.account is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOffer:
    """What could be tried for credits: a model's job, or an earlier one that did not come to its end."""

    contract: Contract
    credits: float
    resumed: Path | None


@contextmanager
def patient(
    workspace: Workspace,
    manifest: Path | None,
    *,
    state: str | None,
    sandbox: bool = False,
    sandbox_arguments: tuple[str, ...] = (),
) -> Iterator[Patient]:
    """Find out who is meant; a sandbox runs until the end of the block.

    Args:
        workspace: Where the state is.
        manifest: Whose results are meant; None: those of any.
        state: The database that was named, for a run.
        sandbox: Whether the bundled imitation is the service.
        sandbox_arguments: How that is to behave.

    Raises:
        UsageError: There is an event loop in this thread, which this would hold up.
    """
    refuse_event_loop("asks the service and waits for its answer")
    with ExitStack() as stack:
        account, trouble = None, None
        try:
            if sandbox:
                child = stack.enter_context(sandbox_child(workspace.service_database, sandbox_arguments))
                account = Account(child.base_url, SANDBOX_KEY, alias=SANDBOX_URL)
            else:
                account = Account(checked_base_url(base_url()), "")
                with suppress(UsageError):
                    account = Account(account.base_url, find_key() or "")
        except RunnerError as exc:
            trouble = exc
        yield Patient(
            workspace=workspace,
            manifest=manifest,
            state=state,
            sandbox=sandbox,
            sandbox_arguments=sandbox_arguments,
            account=account,
            trouble=trouble,
        )


def examine(of: Patient) -> Examined:
    """Look at everything that costs nothing."""
    workspace, account = of.workspace, of.account
    checks = list(machine(workspace, _output_dir(of)))
    if account is None:
        assert of.trouble is not None
        return Examined(checks=[*checks, of_error("environment", of.trouble)])
    checks += _key_of(account, sandbox=of.sandbox)
    try:
        contracts = contracts_for(workspace, sandbox=of.sandbox)
        checks += anyio.run(service, account, _hosts(workspace, account), contracts)
    except RunnerError as exc:
        checks.append(of_error("environment", exc))
    return Examined(checks=checks)


def offer(of: Patient, credits: float) -> TrialOffer:
    """Return what would be tried for so many credits.

    Raises:
        UsageError: It is too little for any job, or there is no key.
    """
    if not of.sandbox:
        get_key()
    contracts = contracts_for(of.workspace, sandbox=of.sandbox)
    contract = cheapest(contracts, credits)
    resumed = unfinished(of.workspace, of.service)
    if resumed is not None and (model := model_of(of.workspace, resumed)) is not None:
        contract = contracts.get(model, contract)
    return TrialOffer(contract=contract, credits=credits, resumed=resumed)


def try_it(of: Patient, chosen: TrialOffer, *, run_it: RunIt) -> Tried:
    """Try what was offered, and keep what was seen.

    Raises:
        RunnerError: As for a run.
    """
    assert of.account is not None
    path = chosen.resumed
    if path is None:
        try:
            path = write_manifest(of.workspace, chosen.contract, chosen.credits, now_s=SystemClock().wall_s())
        except OSError as exc:
            raise UsageError(f"cannot write into {of.workspace.folder}: {exc.strerror}") from exc
    contracts = contracts_for(of.workspace, sandbox=of.sandbox)
    return try_one(
        path,
        of.workspace,
        of.account,
        chosen.contract,
        chosen.credits,
        uploader=takes_pictures(contracts, chosen.contract.id),
        state=of.state,
        sandbox=of.sandbox,
        sandbox_arguments=of.sandbox_arguments,
        run_it=run_it,
    )


def answered(of: Patient) -> list[tuple[OpenQuestion, Fact | None]]:
    """Return what the documentation leaves open, each with what was seen of it in this workspace."""
    known = read(of.workspace.folder, of.service).facts
    return [(question, known.get(question.key)) for question in OPEN_QUESTIONS]


def _key_of(account: Account, *, sandbox: bool) -> Iterator[Check]:
    where = "the bundled sandbox: nothing is paid" if sandbox else account.base_url
    yield fine("address", f"the service is {where}", of=account.base_url)
    if account.key:
        return
    try:
        if find_key() is None:
            yield stop("key", "there is no API key", code=Exit.USAGE, do=KEY_HINT)
    except UsageError as exc:
        yield of_error("key", exc)


def _output_dir(of: Patient) -> ResultPath:
    if of.manifest is not None:
        with suppress(RunnerError):  # what is wrong with a manifest, `validate` says
            return read_manifest(of.manifest, state=of.state, sandbox=of.sandbox).settings.output_dir
    return of.workspace.root / "out"


def _hosts(workspace: Workspace, account: Account) -> list[str]:
    with suppress(RunnerError, OSError):
        if workspace.has_database:
            with closing(open_to_read(workspace.database)) as file:
                return result_hosts.known(file.conn, account.service)
    return []
