"""The night calls you: short messages through Apprise, at the end and when a person is needed.

They hold the manifest's name and numbers only: no key, no prompt, no id, nothing that the service or a file says. They
are sent from a thread of their own; one that cannot be sent is told once, and the run never waits but a while at its end.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Final

from runner.engine import Snapshot
from runner.errors import Exit, UsageError
from runner.progress.figures import counted, credits_in_words, in_credits, span
from runner.progress.plain import states

SHARE: Final = 0.8  # of the cap: told once, when spent and reserved together come to that
AT_THE_END_S: Final = 15.0  # for what has still to be sent
NEEDS: Final[Mapping[str, str]] = {
    "uncertain": "an unclear submit waits for your decision (`rivya-batch resolve`)",
    "surprise": "a charge is many times its estimate: no new jobs are submitted before you have seen it",
    "no_credits": "the account has too few credits: top it up, then run again",
    "overdue": "a task runs longer than limits.job_deadline",
}
ENDS: Final[Mapping[Exit, str]] = {
    Exit.OK: "finished",
    Exit.FAULT: "stopped by a bug in rivya-batch",
    Exit.INCOMPLETE: "finished; some jobs need you",
    Exit.REFUSED: "stopped: the service rejects the API key",
    Exit.TEMPORARY: "stopped by a temporary problem; run again to continue",
    Exit.CREDITS: "stopped at a credit limit",
    Exit.TIME: "stopped at the time limit",
    Exit.INTERRUPTED: "interrupted; run again to continue",
    Exit.TERMINATED: "terminated; run again to continue",
}

Send = Callable[[str, str], bool]


class Notifier:
    """Says how a run goes to whoever is not looking.

    Args:
        send: Sends a title and a text; False, or any exception, where that failed.
        announce: Takes plain lines for people; called in a thread.
        rehearsal: Nothing is paid.
    """

    def __init__(self, send: Send, announce: Callable[[str], None], *, rehearsal: bool = False) -> None:
        self._send = send
        self._announce = announce
        self._rehearsal = " (rehearsal: nothing is paid)" if rehearsal else ""
        self._name = ""
        self._told: set[str] = set()
        self._failed = False
        self._queue: SimpleQueue[tuple[str, str] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, name: str, run: int | None = None) -> None:
        """The run of a manifest begins."""
        self._name = name

    def event(self, kind: str, **data: Any) -> None:
        """Take what happened; a person who is needed is told once of each kind of reason."""
        if kind in NEEDS:
            self._once(kind, "needs you", NEEDS[kind])

    def snapshot(self, view: Snapshot) -> None:
        """Take how it goes, and tell once when most of the budget is used."""
        used = view.charged + view.reserved
        if view.cap and used >= SHARE * view.cap:
            cap = credits_in_words(view.cap)
            self._once(
                "budget",
                f"{SHARE:.0%} of the budget",
                f"{credits_in_words(used)} of {cap} credits are spent or reserved. {states(view.counts)}",
            )

    def ended(
        self, code: Exit, *, counts: Mapping[str, int], charged: float, reserved: float, seconds: float
    ) -> None:
        """Tell how the run has ended, and wait a while for what has still to be sent."""
        total = sum(counts.values()) - counts.get("off", 0)
        text = (
            f"{counts.get('done', 0):,} of {counted(total, 'job')} done ({states(counts)}) in {span(seconds)}."
            f" {in_credits(charged)} spent, {credits_in_words(reserved)} reserved. Exit code {int(code)}."
        )
        self._put(ENDS.get(code, "ended"), text)

    def broken(self, code: Exit) -> None:
        """The run did not come to an end of its own."""
        self._put(ENDS.get(code, "stopped before anything was sent"), f"Exit code {int(code)}.")

    def close(self) -> None:
        """Wait a while for what has still to be sent."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(AT_THE_END_S)
            if self._thread.is_alive():
                self._fail("it took too long")

    def _once(self, key: str, title: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._put(title, text)

    def _put(self, title: str, text: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="notify", daemon=True)
            self._thread.start()
        self._queue.put((f"{self._name}: {title}", text + self._rehearsal))

    def _serve(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                sent = self._send(*message)
                why = "not all of --notify took it"
            except Exception as exc:  # whatever a service of messages may come up with
                sent, why = False, type(exc).__name__
            if not sent:
                self._fail(why)

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._announce(f"warning: a notification could not be sent ({why}); the run is not affected")


def through_apprise(urls: Sequence[str]) -> Send:
    """Return what sends to all of these addresses.

    Raises:
        UsageError: Apprise is not installed, or knows no such address. The address is not told: it holds secrets.
    """
    if importlib.util.find_spec("apprise") is None:
        raise UsageError("--notify needs Apprise", hint="pip install 'rivya-batch[notify]'")
    logging.getLogger("apprise").setLevel(
        logging.CRITICAL + 1
    )  # it names addresses, and addresses hold secrets
    import apprise

    receivers = apprise.Apprise()
    for number, url in enumerate(urls, 1):
        if not receivers.add(url):
            kind = url.partition("://")[0] if "://" in url[:30] else "no scheme"
            raise UsageError(
                f"address {number} of --notify ({kind}) is none that Apprise knows",
                hint="see https://github.com/caronc/apprise/wiki, for example ntfy://topic or mailto://…",
            )
    return lambda title, text: bool(receivers.notify(body=text, title=title))
