"""A run that is looked at: what was asked of the service, when, and what it answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO

from runner.model import Job, Kind, Upload
from runner.service.account import Account
from runner.service.protocol import Answer, Service
from runner.service.transports import ResultTransport
from runner.service.transports.listening import AnswerHead, Listening


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request to the service: `submit`, `poll`, `upload`, `credits`. Wall times in seconds since 1970.

    `told_s` is the service's own time of the answer, as far as it tells one; else ours.
    """

    call: str
    answer: Answer
    began_s: float
    ended_s: float

    @property
    def told_s(self) -> float:
        """The service's time of the answer, in seconds since 1970."""
        return self.ended_s + (self.answer.skew_s or 0.0)


class JobWatch:
    """Remembers the exchanges of a run, and the heads of the answers of result hosts.

    Args:
        now: The wall clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.exchanges: list[Exchange] = []
        self.heads: list[AnswerHead] = []

    def service(self, inner: Service) -> Service:
        """Return a service that does what another does, and is watched."""
        return Watched(inner, self)

    def results(self, way: ResultTransport) -> ResultTransport:
        """Return a way to hosts of results that is watched."""
        return replace(way, http=Listening(way.http, self.heads))

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return self._now()

    def saw(self, call: str, answer: Answer, began_s: float) -> Answer:
        """Remember an exchange that has ended now; return its answer."""
        self.exchanges.append(Exchange(call=call, answer=answer, began_s=began_s, ended_s=self._now()))
        return answer


class Watched:
    """A `Service` that tells a watch of what it is asked."""

    def __init__(self, inner: Service, watch: JobWatch) -> None:
        self._inner = inner
        self._watch = watch

    @property
    def account(self) -> Account:
        """Whom we talk to, and as whom."""
        return self._inner.account

    def encode(self, job: Job, copies: Sequence[Upload], key: str) -> bytes:
        """Return the exact bytes that ask for a job."""
        return self._inner.encode(job, copies, key)

    def counts(self, url: str) -> bool:
        """Say whether a request for the url of a result counts under the service's own rate."""
        return self._inner.counts(url)

    async def submit(
        self, body: bytes, key: str, *, still_allowed: Callable[[], bool] | None = None
    ) -> Answer:
        """Ask for a job."""
        began_s = self._watch.now()
        answer = await self._inner.submit(body, key, still_allowed=still_allowed)
        return self._watch.saw("submit", answer, began_s)

    async def poll(self, task_id: str) -> Answer:
        """Ask for a task."""
        began_s = self._watch.now()
        return self._watch.saw("poll", await self._inner.poll(task_id), began_s)

    async def upload(
        self,
        content: IO[bytes],
        *,
        name: str,
        kind: Kind,
        mime: str,
        size_bytes: int,
        model: str,
        sha256: str,
    ) -> Answer:
        """Bring a file to the service."""
        began_s = self._watch.now()
        answer = await self._inner.upload(
            content, name=name, kind=kind, mime=mime, size_bytes=size_bytes, model=model, sha256=sha256
        )
        return self._watch.saw("upload", answer, began_s)

    async def credits(self) -> Answer:
        """Ask for the account's credits."""
        began_s = self._watch.now()
        return self._watch.saw("credits", await self._inner.credits(), began_s)

    async def models(self) -> Answer:
        """Ask for the list of models."""
        return await self._inner.models()

    async def described(self) -> Answer:
        """Ask for the description of the API."""
        return await self._inner.described()
