"""One poller of the database for all browsers, and each browser's place in what it has told.

Events are numbered; a browser that connects again says which it saw last and is told what has changed
since. There is no queue to overflow: for each job only the number of its last change is kept, and a
slow browser is told of several changes at once.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from runner.errors import RunnerError
from runner.model import ResultPath
from runner.web.page_state import ControlState, Delta

EVERY_S = 1.0
REST_SHARE = 10.0  # rest this many times as long as a look has taken: a huge run is looked at less often
HEARTBEAT_S = 15.0
RETRY_MS = 1000
NOTHING = b""

At = tuple[int, int]  # a place: generation, number
T = TypeVar("T")


class Reader(Protocol):
    """What a page is told. One thread at a time uses it; all but `close` raise RunnerError where nothing can be read."""

    piece: int  # jobs told at once

    def look(self, control: ControlState) -> Delta | None:
        """Return what has changed since the last look; None when nothing has."""
        ...

    def whole(self, control: ControlState) -> Iterator[str]:
        """Yield everything there is to know now, piece by piece."""
        ...

    def some(self, rows: Sequence[int], control: ControlState) -> str:
        """Return what is known now of some jobs, and of the manifest as a whole."""
        ...

    def find(self, kind: str, row: int, number: int) -> tuple[ResultPath, str] | None:
        """Return (path, mime) of a file of a job."""
        ...

    def close(self) -> None:
        """Let go of the database; the next use opens it again."""
        ...


class Feed:
    """Tells any number of browsers what changes. `run` has to run in a task group.

    Args:
        reader: Reads the database.
        control: Says what a person has done to the run of this process.
        every_s: How often to look while somebody listens.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        control: Callable[[], ControlState] = ControlState,
        every_s: float = EVERY_S,
    ) -> None:
        self._reader = reader
        self._control = control
        self._every_s = every_s
        self._lock = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(1)
        self._name = secrets.token_hex(4)
        self._generation = 0  # of the list of jobs; with another one, everything is sent anew
        self._number = 0
        self._changed: dict[int, int] = {}  # row: number of the event that told of it last
        self._latest: tuple[str, str] = ("", "")  # kind and text of the event `number`
        self._change = anyio.Event()
        self._wanted = anyio.Event()
        self._poke = anyio.Event()
        self._finishing = self._finished = False
        self._nudge = anyio.Event()
        self.listeners = 0
        self.looks = 0

    # --- the poller --------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at the database now and then while somebody listens; trouble with it passes."""
        while True:
            if not self.listeners:
                async with self._lock:
                    await self._read(self._reader.close)
                self._wanted = anyio.Event()
                if not self.listeners:
                    await self._wanted.wait()
            poke, nudge = self._poke, self._nudge = anyio.Event(), anyio.Event()
            began = anyio.current_time()
            await self._look()
            took = anyio.current_time() - began
            rest_s = REST_SHARE * took
            with anyio.move_on_after(rest_s):
                await poke.wait()
                continue
            with anyio.move_on_after(max(self._every_s - rest_s, 0.0)):
                await nudge.wait()

    def poke(self) -> None:
        """Look now: something was just done to the run."""
        self._poke.set()
        self._nudge.set()

    def nudge(self) -> None:
        """Look as soon as the last look has had its rest: something has moved."""
        self._nudge.set()

    def _control_state(self) -> ControlState:
        control = self._control()
        # Its process has not yet recorded the end when the page says goodbye.
        return replace(control, over=True) if self._finishing and control.on_it else control

    async def finish(self) -> None:
        """Look a last time, tell it, and send everybody home."""
        self._finishing = True
        if self.listeners:
            await self._look()
        self._finished = True
        self._tell()
        async with self._lock:
            await self._read(self._reader.close)

    async def _look(self) -> None:
        async with self._lock:
            self.looks += 1
            try:
                delta = await self._read(lambda: self._reader.look(self._control_state()))
            except RunnerError:
                # A locked or moved database: what was told stands until it can be read again.
                await self._read(self._reader.close)
                return
            if delta is not None:
                self._take(delta)

    def _take(self, delta: Delta) -> None:
        if delta.text is None:
            self._generation += 1
            self._number = 0
            self._changed = {}
        else:
            self._number += 1
            self._changed.update(dict.fromkeys(delta.rows, self._number))
            self._latest = ("jobs" if delta.rows else "head", delta.text)
        self._tell()

    def _tell(self) -> None:
        self._change.set()
        self._change = anyio.Event()

    async def _read(self, work: Callable[[], T]) -> T:
        """Do what blocks in a thread of our own; the run's threads are not ours to fill."""
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    async def find(self, kind: str, row: int, number: int) -> tuple[str, str] | None:
        """Return (path, mime) of a file the database names; None where it names none."""
        async with self._lock:
            try:
                found = await self._read(lambda: self._reader.find(kind, row, number))
            except RunnerError:
                return None
        return (str(found[0]), found[1]) if found else None

    # --- the browsers -------------------------------------------------------------------------

    async def listen(self, last_id: str | None = None) -> AsyncIterator[bytes]:
        """Yield server-sent events, from the one after `last_id` on, until the feed is finished."""
        self.listeners += 1
        if self.listeners == 1:
            self._wanted.set()
            self.poke()
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            at = self._place(last_id)
            while True:
                change = self._change  # taken first: what is told from here on wakes us
                before = at
                if at is None or at[0] != self._generation:
                    before = at = None
                    async for place, event in self._whole():
                        at = place
                        yield event
                elif at[1] < self._number:
                    at, event = await self._since(at)
                    if event:
                        yield event
                elif self._finished:
                    yield b"event: end\ndata: {}\n\n"
                    return
                if at != before:
                    continue
                with anyio.move_on_after(HEARTBEAT_S):
                    await change.wait()
                    continue
                yield b": still here\n\n"
        finally:
            self.listeners -= 1

    def _place(self, last_id: str | None) -> At | None:
        """Return (generation, number) of an event of this feed; None for anything else."""
        name, _, rest = (last_id or "").partition(".")
        generation, _, number = rest.partition(".")
        if name != self._name or not (_is_number(generation) and _is_number(number)):
            return None
        place = (int(generation), int(number))
        return place if place <= (self._generation, self._number) else None

    async def _whole(self) -> AsyncIterator[tuple[At | None, bytes]]:
        """Yield everything in pieces; a browser has a place once it has the last of them."""
        await self._look()
        # What is told is not older than this number; what it already holds may be told again.
        at = (self._generation, self._number)
        pieces = self._reader.whole(self._control_state())
        kind, last = "report", False
        try:
            text = await self._piece(pieces)
            while not last:
                after = await self._piece(pieces)
                last = after is None
                yield (at if last else None), _event(kind, text or "", self._id(at) if last else None)
                kind, text = "jobs", after
        except RunnerError:
            return

    async def _piece(self, pieces: Iterator[str]) -> str | None:
        async with self._lock:
            return await self._read(lambda: next(pieces, None))

    async def _since(self, before: At) -> tuple[At | None, bytes]:
        """Return what has changed since a place, all at once."""
        at = (self._generation, self._number)
        if before[1] == at[1] - 1:
            kind, text = self._latest
            return at, _event(kind, text, self._id(at))
        rows = [row for row, told in self._changed.items() if told > before[1]]
        if len(rows) > self._reader.piece:
            return None, NOTHING
        async with self._lock:
            try:
                text = await self._read(lambda: self._reader.some(rows, self._control_state()))
            except RunnerError:
                return before, NOTHING
        return at, _event("jobs", text, self._id(at))

    def _id(self, at: At) -> str:
        return f"{self._name}.{at[0]}.{at[1]}"


def _event(kind: str, text: str, id_: str | None) -> bytes:
    """Return one event; without an id the browser's place stays as it was."""
    head = f"id: {id_}\nevent: {kind}\ndata: " if id_ else f"event: {kind}\ndata: "
    # A lone surrogate cannot be written as UTF-8; as \udXXX it is good JSON.
    return head.encode() + text.encode("utf-8", "backslashreplace") + b"\n\n"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
