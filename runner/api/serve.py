"""`run --web` and `serve`: the live page of one manifest."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from runner.api.manifests.opened import manifest_name
from runner.api.news import on_news
from runner.api.picks import keep_said
from runner.api.plan import Plan
from runner.api.report import invocation_of
from runner.api.status import look
from runner.api.switches import keep_switches
from runner.engine import Engine, Snapshot
from runner.errors import Exit, UsageError
from runner.host.clock import epoch
from runner.host.environment import descriptors_left
from runner.host.workspace import Workspace, find_workspace, no_database
from runner.reports.metrics import Sample, exposition, samples_of
from runner.store import manifests, runs
from runner.store.database import open_to_read
from runner.web.app import METRICS, live_app
from runner.web.feed import EVERY_S, Feed
from runner.web.page_state import ControlState, Numbers, PageReader, Target
from runner.web.redirect_file import RedirectFile
from runner.web.server import HOST, descriptors_for, hosts_of, listening_socket, serve
from runner.web.wall import WallReader

TOLD_EVERY_S = 5.0  # how often a page looks at a database that tells when it has changed
TOKEN_BYTES = 24
STOPPED = "told so from the live page; your jobs keep running at the service; run again to collect them"


class LivePage:
    """An address that is ours from the beginning, and a page about what is decided later.

    Args:
        port: The port to listen on, 0 for any. One that is taken is no reason to fail: any other will do.
        announce: Takes plain lines for people.
        metrics: Numbers for `/metrics`; None: there is no such page.
    """

    def __init__(
        self,
        *,
        port: int,
        announce: Callable[[str], None],
        metrics: Callable[[], str] | None = None,
    ) -> None:
        self.metrics = metrics
        self._announce = announce
        self.descriptors = descriptors_for(descriptors_left())
        try:
            self._listener = listening_socket(port)
        except OSError as exc:
            announce(f"port {port} cannot be used ({exc.strerror}); the live page uses another one")
            self._listener = listening_socket()
        self._token = secrets.token_urlsafe(TOKEN_BYTES)
        self._target: Target | None = None
        self._control: _Control | None = None
        self._redirect_file: RedirectFile | None = None

    @property
    def url(self) -> str:
        """The address, with its secret."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}/t/{self._token}/"

    def about(self, plan: Plan, *, state: str | None, sandbox: bool) -> None:
        """Make this the page of a run that is about to begin."""
        self.show(
            Target(
                database=plan.database,
                folder=plan.folder,
                manifest=plan.name,
                output_dir=plan.settings.output_dir,
                invocation=invocation_of(plan.settings.path, state, sandbox=sandbox),
            )
        )

    def show(self, target: Target) -> None:
        """Make this the page of a manifest."""
        self._target = target

    async def beside(self, engine: Engine) -> None:
        """Serve beside a run until cancelled. Trouble with the page never becomes the run's."""
        assert self._target is not None
        self._control = _Control(engine, self._announce)
        try:
            await _serve(self, self._target, self._control)
        except Exception as exc:  # a page to look at must never fail what was paid for
            self._announce(f"the live page has stopped ({exc!r}); the run continues")

    def snapshot(self, view: Snapshot) -> None:
        """Take how the run goes, about once a second."""
        if self._control is not None:
            self._control.take(
                Numbers(
                    rate_per_s=view.rate_per_s,
                    in_flight=view.in_flight,
                    eta_s=view.eta_s,
                    cap=view.cap,
                    note=view.note,
                )
            )

    @property
    def metrics_url(self) -> str:
        """The address of the numbers, which is no secret."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}{METRICS}"

    @property
    def redirect_file(self) -> str:
        """An address for a command line, which is no secret: of a private file that leads to the page.

        Raises:
            OSError: There is no place for such a file.
        """
        assert self._target is not None
        if self._redirect_file is None:
            self._redirect_file = RedirectFile(self._target.folder)
        return self._redirect_file.lead_to(self.url).absolute().as_uri()

    def close(self) -> None:
        """Give the address back."""
        self._listener.close()
        if self._redirect_file is not None:
            self._redirect_file.close()


class _Control:
    """A person's hand on the engine."""

    def __init__(self, engine: Engine, announce: Callable[[str], None]) -> None:
        self._engine = engine
        self._announce = announce
        self.numbers: Numbers | None = None
        self.moved: Callable[[], None] = lambda: None

    def hold(self, held: bool) -> None:
        """Hold new submits, or go on with them."""
        if held != self._engine.held:
            self._announce("paused from the live page: no new jobs are submitted" if held else "resumed")
        self._engine.hold(held)

    def stop(self) -> None:
        """Drain and end."""
        if not self._engine.stopping:
            self._announce("stopping, from the live page: finishing open requests")
        self._engine.stop(Exit.INTERRUPTED, STOPPED)

    def take(self, numbers: Numbers) -> None:
        """Take how the run goes now."""
        self.numbers = numbers
        self.moved()

    def state(self) -> ControlState:
        """Return what was done so far, and how the run goes."""
        return ControlState(
            on_it=True, held=self._engine.held, stopping=self._engine.stopping, numbers=self.numbers
        )


async def _serve(
    page: LivePage, target: Target, control: _Control | None = None, wall: WallReader | None = None
) -> None:
    listener = page._listener
    reader = wall or PageReader(target)
    # A file is looked at each second; a server tells when there is something to see, but for who has died.
    told = not isinstance(target.database, Path)
    feed = Feed(
        reader,
        control=control.state if control is not None else ControlState,
        every_s=TOLD_EVERY_S if told else EVERY_S,
    )
    if control is not None:
        control.moved = feed.nudge
    app = live_app(
        feed,
        title=target.manifest,
        token=page._token,
        hosts=hosts_of(listener),
        control=control,
        metrics=page.metrics,
        keep_picks=partial(keep_said, target.database, target.manifest),
        keep_switches=partial(
            keep_switches,
            target.database,
            target.manifest,
            find=wall.switchable if wall is not None else lambda _: None,
        ),
    )
    try:
        async with anyio.create_task_group() as group:
            if told:
                group.start_soon(on_news, target.database, feed.nudge)
            await serve(app, listener, feed, descriptors=page.descriptors)
            group.cancel_scope.cancel()
    finally:
        reader.close()


def target_of(manifest: Path | None, *, state: str | None, sandbox: bool) -> Target:
    """Return what `serve` shows: a manifest, or the one of this workspace that was run last.

    Raises:
        UsageError: Nothing was ever run here.
    """
    workspace = find_workspace(manifest, state=state, sandbox=sandbox)
    if not workspace.has_database:
        raise no_database(workspace, sandbox=sandbox)
    file = open_to_read(workspace.database)
    try:
        if manifest is not None:
            name = manifest_name(manifest)
        else:
            latest = runs.latest_manifest(file.conn)
            if latest is None:
                raise UsageError("no manifest has been run here yet")
            name = latest
        bound = manifests.binding(file.conn, name)
    finally:
        file.close()
    if bound is None:
        raise UsageError(
            f"{name} has never been run with {workspace.database}",
            hint="`rivya-batch plan` shows what a run would do",
        )
    return Target(
        database=workspace.database,
        folder=workspace.folder,
        manifest=name,
        output_dir=bound.output_dir,
        invocation=invocation_of(manifest or bound.path, state, sandbox=sandbox),
    )


def metrics_of(workspace: Workspace) -> str:
    """Return the numbers of all manifests of a workspace, as Prometheus reads them."""
    found: list[Sample] = []
    for each in look(workspace, names=None):
        run = each.running or each.last_run or {}
        stats = run.get("stats", {}) if each.running else {}
        numbers = {
            "jobs_orphaned": each.orphaned,
            "credits_spent": each.charged,
            "credits_reserved": each.reserved,
            "credits_cap": stats.get("cap"),
            "running": int(each.running is not None),
            "run": run.get("id"),
            "requests_total": _requests(stats),
            "rejections_total": stats.get("rejections"),
            "polls_total": stats.get("polls"),
            "in_flight": stats.get("in_flight"),
            "rate_per_second": stats.get("rate_per_s"),
            "elapsed_seconds": stats.get("seconds"),
            "eta_seconds": each.eta_s,
            "seen_timestamp_seconds": epoch(run.get("seen_at")),
            "exit_code": run.get("exit_code"),
        }
        found += samples_of(each.name, numbers, each.counts)
    return exposition(found)


def _requests(stats: Mapping[str, Any]) -> int | None:
    found = [int(stats[what]) for what in ("submits", "polls", "questions", "uploads") if what in stats]
    return sum(found) if found else None


def serve_page(
    target: Target,
    *,
    port: int,
    announce: Callable[[str], None],
    ready: Callable[[LivePage], None],
    metrics: Callable[[], str] | None = None,
    wall: WallReader | None = None,
) -> None:
    """Serve the page of a manifest or, with a wall, of its plan, until Ctrl-C; `ready` is told when it can be opened."""
    page = LivePage(port=port, announce=announce, metrics=metrics)
    page.show(target)

    async def until_told() -> None:
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                group.start_soon(_serve, page, target, None, wall)
                ready(page)
                async for _ in signals:
                    group.cancel_scope.cancel()
                    return

    try:
        anyio.run(until_told)
    finally:
        page.close()
