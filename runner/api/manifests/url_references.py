"""References that are named by url: fetched before anything is paid, by the rules of result hosts, and kept.

No key goes with a request, redirects lead to https only, and no address is asked that is not public.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from runner.api.account import refuse_event_loop
from runner.errors import RunnerError
from runner.host.clock import SystemClock
from runner.host.environment import base_url, known_key
from runner.manifest.copies import Copies
from runner.manifest.references import ReferenceProblem, bare, origin_of
from runner.progress.figures import counted
from runner.results.fetch import ResultFetcher
from runner.results.fetch_errors import ResultRefused, ResultTooLarge, ResultTrouble, ResultUnavailable
from runner.results.parts import PartFile, disk_errors
from runner.service.account import Account, checked_base_url
from runner.service.addresses import is_loopback
from runner.service.transports import get_ready, open_result_transport

AT_ONCE: Final = 8
MOST_BYTES: Final = 200_000_000  # twice the largest upload that the service documents
TRIES_AFTER_S: Final = (0.0, 1.0, 4.0)

Announce = Callable[[str], None]


def fetch_all(urls: Collection[str], copies: Copies, announce: Announce) -> dict[str, ReferenceProblem]:
    """Fetch files, several at once, and keep them.

    Args:
        urls: Where they are.
        copies: Where they are kept.
        announce: Takes plain lines for people.

    Returns:
        Why some could not be had, by url.

    Raises:
        TemporaryTrouble: The disk is full, or cannot be written to.
        UsageError: A proxy or a certificate that is configured cannot be used; or there is an event loop in this thread.
    """
    refuse_event_loop("fetches files named by url")
    announce(f"fetching {counted(len(urls), 'file')} named by url, kept in {copies.folder} from then on")
    copies.sweep()
    get_ready()
    return anyio.run(_fetch_all, list(urls), copies, backend_options={"use_uvloop": False})


async def _fetch_all(urls: list[str], copies: Copies) -> dict[str, ReferenceProblem]:
    refused: dict[str, ReferenceProblem] = {}
    troubles: list[RunnerError] = []
    service = checked_base_url(base_url())
    key = known_key()
    account = Account(service, key) if key else None
    places = anyio.CapacityLimiter(AT_ONCE)
    async with open_result_transport(service, AT_ONCE) as way:
        fetcher = ResultFetcher(
            way.http,
            allow_loopback=is_loopback(service),
            max_bytes=MOST_BYTES,
            clock=SystemClock(),
            proxied=way.proxied,
            gives_away=account.gives_away if account is not None else lambda _: False,
        )

        async def fetch(url: str) -> None:
            try:
                async with places:
                    problem = await _fetch(fetcher, url, copies)
            except RunnerError as exc:  # of the disk: it will be that of all others
                troubles.append(exc)
                group.cancel_scope.cancel()
                return
            if problem is not None:
                refused[url] = problem

        async with anyio.create_task_group() as group:
            for url in urls:
                group.start_soon(fetch, url)
    if troubles:
        raise troubles[0]
    return refused


async def _fetch(fetcher: ResultFetcher, url: str, copies: Copies) -> ReferenceProblem | None:
    """Fetch one file; return why it cannot be had."""
    origin = origin_of(url)
    # A name of its own: another run may fetch the same at this moment.
    part = PartFile(copies.folder / f".part-{secrets.token_hex(16)}", copies.folder, set())
    try:
        return await _fetch_into(fetcher, url, copies, origin, part)
    finally:
        with anyio.CancelScope(shield=True), suppress(RunnerError):
            await anyio.to_thread.run_sync(part.discard)


async def _fetch_into(
    fetcher: ResultFetcher, url: str, copies: Copies, origin: str, part: PartFile
) -> ReferenceProblem | None:
    for number, pause_s in enumerate(TRIES_AFTER_S, start=1):
        await anyio.sleep(pause_s)
        try:
            result = await fetcher.fetch(url, part)
        except ResultUnavailable as exc:
            if number == len(TRIES_AFTER_S) or exc.out_of_reach:
                return _problem(url, exc)
        except ResultTrouble as exc:
            return _problem(url, exc)
        else:
            with disk_errors(copies.folder):
                take = partial(copies.take, origin, part.path, result.sha256, result.file.extension)
                await anyio.to_thread.run_sync(take)
            return None
    raise AssertionError("the last try returns")


def _problem(url: str, exc: ResultTrouble) -> ReferenceProblem:
    where, what, hint = bare(url), exc.message, exc.hint
    match exc:
        case ResultRefused():
            what = f"{where} was refused: HTTP {exc.status}"
            hint = "open it in a browser: it may have moved, expired, or need a login"
        case ResultTooLarge():
            what, hint = f"{where} is larger than any upload may be", "make the file smaller"
        case ResultUnavailable():
            hint = hint.replace("run again to continue", "run again")
    what = what.replace("a result url", "the url").replace("the result host", "its host")
    if where not in what:
        what = f"{where} cannot be fetched: {what}"
    return ReferenceProblem(
        what=what, hint=hint.replace("results are", "files are"), code="reference-not-fetched"
    )
