"""Whether something new may begin: limits, canaries, caps that are full, prices being tried."""

from __future__ import annotations

import math
from collections import deque

from runner.engine.view import RunOptions
from runner.money.budget import Verdict
from runner.store.begun_jobs import Begun

PROBE_LOOKAHEAD = 200  # jobs set aside until the credits of what is on its way are known


class Admission:
    """What keeps new submits back in this run, apart from reasons to stop.

    `paused` is a person's hand on the gate; `full` says why the head of the queue does not fit under a cap now.
    """

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self.paused = False
        self.full: Verdict | None = None
        self.elsewhere = False  # the probe belongs to another manifest, so nothing here tells when it is back
        self._sending: set[int] = set()  # first sends on their way: they count before they are answered
        self._sent: set[int] = set()
        self.aside: deque[tuple[int, str]] = deque()  # (row, shape), waiting for a probe to come back
        self._unseen: set[str] = set()
        self._canaries: set[int] = set()
        self._canaries_done = 0
        self._canary_open = options.canary is not None
        # Where several runs have one limit, or canaries, together: as it was seen last.
        self.shared_room = math.inf
        self.shared_canaries: int | None = None  # done of those that the rest waits for
        self.shared_looks = 0

    def open(self) -> bool:
        """Whether a new job may be submitted now."""
        return not self.paused and self.has_room()

    def has_room(self) -> bool:
        """Whether there is room for one more job under the caps, the limit and the canary."""
        if self.full or len(self.aside) >= PROBE_LOOKAHEAD:
            return False
        return self.allowance(0) > 0

    def allowance(self, prepared: int) -> int:
        """Return how many more jobs may be prepared, when so many are already."""
        room = 1_000_000
        if self.shared_room < room:
            room = int(self.shared_room) - len(self._sending)
        if self._options.limit is not None:
            room = min(room, self._options.limit - len(self._sent) - len(self._sending))
        if self._canary_open:
            room = min(room, (self._options.canary or 0) - len(self._canaries) - len(self._sending))
        return max(room - prepared, 0)

    def shared(self, begun: Begun) -> int | None:
        """Take what all runs have begun together; return the number of canaries where the last of them is done."""
        before, self.shared_canaries = self.shared_canaries, begun.canaries
        self.shared_room = begun.room
        self.shared_looks += 1
        return begun.jobs if before is not None and begun.canaries is None else None

    def sending(self, row: int) -> None:
        """A new job is about to be sent."""
        self._sending.add(row)

    def sent(self, row: int, *, first: bool) -> None:
        """A step that was to send a job is over; `first` says that its first send was made."""
        self._sending.discard(row)
        if first and self._options.limit is not None:
            self._sent.add(row)
        if first and self._canary_open:
            self._canaries.add(row)

    def returned(self, row: int) -> None:
        """A job that was sent is to be sent anew, with another body or in another round: it counts once."""
        self._sent.discard(row)
        if self._canary_open:
            self._canaries.discard(row)

    def is_canary(self, row: int) -> bool:
        """Whether the rest waits for this job."""
        return self._canary_open and row in self._canaries

    def canary_done(self, row: int) -> int | None:
        """A job is done; return the number of canaries when it was the last of them."""
        if not self.is_canary(row):
            return None
        self._canaries_done += 1
        if self._canaries_done < (self._options.canary or 0):
            return None
        self._canary_open = False
        return self._canaries_done

    def set_aside(self, row: int, shape: str) -> None:
        """There may be no room for it before the credits of another payment are known."""
        self._unseen.add(shape)
        self.aside.append((row, shape))

    def waits_for_probe(self, shape: str) -> bool:
        """Whether asking for this shape again would only be told to wait."""
        return bool(self.aside) and shape in self._unseen

    def set_aside_for_another(self, row: int, shape: str) -> None:
        """The same, and the payment is of another manifest of the workspace."""
        self.elsewhere = True
        self.set_aside(row, shape)

    def has_no_room(self, verdict: Verdict, *, shared: bool = False) -> None:
        """The head of the queue does not fit now; nor would another, but for the little it is cheaper."""
        self.full = verdict
        self.elsewhere = (
            self.elsewhere or verdict is Verdict.WAIT_ELSEWHERE or (shared and verdict is Verdict.WAIT)
        )

    @property
    def waits(self) -> bool:
        """Whether jobs are held back until it is known what is on its way costs."""
        return bool(self.aside) or self.full in (Verdict.WAIT, Verdict.WAIT_ELSEWHERE)

    def credits_moved(self) -> list[tuple[int, str]]:
        """A payment was corrected or settled: what did not fit may fit now. Return what was set aside."""
        self.full, self.elsewhere = None, False
        self._unseen.clear()
        back = list(self.aside)
        self.aside.clear()
        return back
