"""`worker`: waits at a database for manifests that were handed over, and takes part in each until it has ended."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from runner.api.account import service_of
from runner.api.news import on_news
from runner.api.run import Announce, run_here
from runner.api.runs.handing import request_of
from runner.engine import Engine, Snapshot
from runner.errors import Exit, Fenced, RunLocked, RunnerError, TemporaryTrouble, UsageError
from runner.host.environment import get_key
from runner.host.workspace import DatabasePlace, find_workspace
from runner.progress.plain import sentence, status_line
from runner.service.account import same_service
from runner.store import handovers
from runner.store.database import open_database, open_to_read
from runner.store.handovers import Handover
from runner.words import harmless

LOOK_EVERY_S = 20.0  # where nobody has told of anything
AGAIN_S = 5.0  # after it has ended here, and goes on elsewhere; after a server that went away
REFUSED_AGAIN_S = 60.0  # what this machine cannot take part in is looked at again: a drive may have come
STATUS_EVERY_S = 60.0
DRAINED = "told to end; what is under way is left to other workers"


class _Talk:
    """The progress of one manifest, as lines that begin with its name."""

    def __init__(self, name: str, say: Announce) -> None:
        self._name = name
        self._say = say
        self._last = time.monotonic()

    def line(self, text: str) -> None:
        """Say a line."""
        self._say(f"{self._name}: {text}")

    def event(self, kind: str, **data: Any) -> None:
        """Say what happened, but for each job that is done."""
        if kind not in ("done", "submitted") and (text := sentence(kind, data, verbose=0)) is not None:
            self.line(text)

    def snapshot(self, view: Snapshot) -> None:
        """Say how it goes, now and then."""
        now = time.monotonic()
        if now - self._last >= STATUS_EVERY_S:
            self._last = now
            self.line(status_line(view))


@dataclass(slots=True)
class _Taken:
    """What is known here of one that was handed over."""

    running: bool = False
    again_at: float = 0.0
    refused: str = ""


@dataclass(slots=True)
class WaitsForWork:
    """A worker: one process that takes part in whatever was handed over.

    Args:
        state: Where the database is.
        say: Takes lines for people.
    """

    state: str | None
    say: Announce
    _known: dict[int, _Taken] = field(default_factory=dict)
    _engines: list[Engine] = field(default_factory=list)
    _news: anyio.Event = field(default_factory=anyio.Event)
    _over: bool = False
    _away: bool = False  # the database was, at the last look

    def check(self) -> DatabasePlace:
        """Look whether there is a database to wait at, and a key; make its tables where there are none.

        Raises:
            UsageError: There is none.
            RunnerError: It cannot be used.
        """
        place = find_workspace(None, state=self.state, sandbox=False).database
        if isinstance(place, Path):
            raise UsageError(
                f"a worker waits for manifests at a PostgreSQL server, and {place} is a file",
                hint="name the database with --state postgresql://USER@HOST/DATABASE, or RIVYA_STATE",
            )
        get_key()
        open_database(place).close()
        return place

    async def work(self, place: DatabasePlace) -> None:
        """Wait for work and do it, until `end` is called and all is recorded."""
        self.say(f"waiting for work at {place}; `rivya-batch run MANIFEST --detach` hands some over")
        async with anyio.create_task_group() as group:
            group.start_soon(partial(on_news, place, self.wake, work=True))
            async with anyio.create_task_group() as runs:
                while not self._over:
                    self._news = anyio.Event()
                    await self._look(place, runs)
                    with anyio.move_on_after(self._rest_s()):
                        await self._news.wait()
            group.cancel_scope.cancel()

    def wake(self) -> None:
        """Something may have been handed over."""
        self._news.set()

    def end(self) -> None:
        """Begin nothing more: finish open requests, and leave the rest to others."""
        self._over = True
        for engine in self._engines:
            engine.stop(Exit.TERMINATED, DRAINED)
        self.wake()

    def _rest_s(self) -> float:
        now = time.monotonic()
        waits = [each.again_at - now for each in self._known.values() if not each.running]
        return min([LOOK_EVERY_S, *(max(wait, 0.1) for wait in waits)])

    async def _look(self, place: DatabasePlace, runs: anyio.abc.TaskGroup) -> None:
        """Begin what was handed over and is not under way here."""
        try:
            found = await anyio.to_thread.run_sync(_open_ones, place)
        except TemporaryTrouble as exc:
            if not self._away:
                self._away = True
                self.say(f"{exc.message}; trying again until it answers")
            await anyio.sleep(AGAIN_S)
            return
        if self._away:
            self._away = False
            self.say("the state database answers again")
        self._known = {each.id: self._known.get(each.id, _Taken()) for each in found}
        now = time.monotonic()
        for each in found:
            known = self._known[each.id]
            if not known.running and now >= known.again_at and not self._over:
                known.running = True
                runs.start_soon(self._take_part, each, known)

    async def _take_part(self, handed: Handover, known: _Taken) -> None:
        talk = _Talk(handed.manifest, self.say)
        wait_s = AGAIN_S
        try:
            if not same_service(handed.base_url, service_of(sandbox=False)):
                raise UsageError(f"it is for {handed.base_url}, and this machine uses another service")
            result = await run_here(
                request_of(handed, state=self.state),
                confirm=lambda plan: True,
                announce=talk.line,
                progress=talk,
                ready=lambda plan: None,
                beside=(self._watch,),
            )
            known.refused = ""
            for reason in result.ended.reasons:
                talk.line(harmless(reason, limit=400))
            talk.line(f"ended here, exit code {int(result.ended.code)}")
        except RunLocked as exc:
            wait_s = REFUSED_AGAIN_S
            self._refused(talk, known, exc)
        except TemporaryTrouble as exc:
            talk.line(
                f"{exc.message}{'; taking part again' if isinstance(exc, Fenced) else '; trying again'}"
            )
        except RunnerError as exc:
            wait_s = REFUSED_AGAIN_S
            self._refused(talk, known, exc)
        finally:
            known.running, known.again_at = False, time.monotonic() + wait_s
            self.wake()

    @staticmethod
    def _refused(talk: _Talk, known: _Taken, exc: RunnerError) -> None:
        if known.refused != exc.message:
            known.refused = exc.message
            talk.line(f"not taking part: {exc.message}")

    async def _watch(self, engine: Engine) -> None:
        """Have an engine told when to end, for as long as it runs."""
        self._engines.append(engine)
        if self._over:
            engine.stop(Exit.TERMINATED, DRAINED)
        try:
            await anyio.sleep_forever()
        finally:
            self._engines.remove(engine)


def _open_ones(place: DatabasePlace) -> list[Handover]:
    with closing(open_to_read(place)) as file:
        return handovers.open_ones(file.conn)


def wait_for_end(state: str | None, number: int, *, every_s: float = 1.0) -> int:
    """Wait until one that was handed over has ended; return its exit code.

    Raises:
        TemporaryTrouble: The server cannot be reached.
        UsageError: It was handed over anew.
    """
    place = find_workspace(None, state=state, sandbox=False).database
    with closing(open_to_read(place)) as file:
        while True:
            found = handovers.find(file.conn, number)
            if found.ended_at is not None:
                break
            time.sleep(every_s)
    if found.exit_code is None:
        raise UsageError(f"{found.manifest} was handed over anew meanwhile")
    return found.exit_code
