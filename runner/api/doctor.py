"""`doctor`: what of this machine, the network, the key and the service is as it should be; nothing is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from runner.api.account import refuse_event_loop
from runner.api.checks.check import Check, fine, of_error, stop, worst
from runner.api.checks.machine import machine
from runner.api.checks.service import service
from runner.api.manifests.contracts import contracts_for
from runner.api.manifests.opened import manifest_name
from runner.api.run import SANDBOX_KEY
from runner.api.runs.sandbox_process import sandbox_child
from runner.errors import Exit, RunnerError, UsageError
from runner.host.environment import KEY_HINT, base_url, find_key
from runner.host.workspace import Workspace
from runner.model import SANDBOX_URL
from runner.service.account import Account, checked_base_url
from runner.store import manifests, result_hosts
from runner.store.database import open_to_read


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """All that was found, in the order in which it matters."""

    checks: Sequence[Check]

    @property
    def code(self) -> Exit:
        """What a run would end with as things are; OK where it would begin."""
        return worst(self.checks)


def examine(
    workspace: Workspace,
    manifest: Path | None,
    *,
    sandbox: bool = False,
    sandbox_arguments: Sequence[str] = (),
) -> Examined:
    """Look at everything that costs nothing.

    Args:
        workspace: Where the state is.
        manifest: Whose results are meant; None: those of any.
        sandbox: Whether the bundled imitation is the service.
        sandbox_arguments: How that is to behave.

    Raises:
        UsageError: There is an event loop in this thread, which this would hold up.
    """
    refuse_event_loop("asks the service and waits for its answer")
    checks = list(machine(workspace, _output_dir(workspace, manifest)))
    with ExitStack() as stack:
        account: Account | None = None
        try:
            if sandbox:
                child = stack.enter_context(sandbox_child(workspace.service_database, sandbox_arguments))
                account = Account(child.base_url, SANDBOX_KEY, alias=SANDBOX_URL)
            else:
                account = Account(checked_base_url(base_url()), "")
            checks += _key_of(account, sandbox=sandbox)
            with suppress(UsageError):
                account = Account(account.base_url, account.key or find_key() or "", alias=account.alias)
            hosts = _hosts(workspace, account)
            checks += anyio.run(service, account, hosts, contracts_for(workspace, sandbox=sandbox))
        except RunnerError as exc:
            checks.append(of_error("environment", exc))
    return Examined(checks=checks)


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


def _output_dir(workspace: Workspace, manifest: Path | None) -> Path:
    if manifest is not None and workspace.has_database:
        with suppress(RunnerError), closing(open_to_read(workspace.database)) as file:
            bound = manifests.binding(file.conn, manifest_name(manifest))
            if bound is not None:
                return Path(bound.output_dir)
    return workspace.root / "out"


def _hosts(workspace: Workspace, account: Account) -> list[str]:
    with suppress(RunnerError, OSError):
        if workspace.has_database:
            with closing(open_to_read(workspace.database)) as file:
                return result_hosts.known(file.conn, account.service)
    return []
