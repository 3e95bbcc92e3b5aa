"""What a worker may rely on: until when nobody takes its jobs, and among how many the account is shared."""

from __future__ import annotations

import contextlib
import os
import socket

from runner.errors import RunnerError
from runner.host.clock import ServerClock, rfc3339
from runner.store import late_answers, workers
from runner.store.database import StateDatabase
from runner.store.postgres import ServerDatabase

USED = 0.75  # of the time until it is fenced: later nothing is sent


class Lease:
    """The right of one worker to send, which each of its beats renews.

    Args:
        file: The database, which it writes as `worker`.
        clock: The server's.
        worker: Its number.
        stall_s: After how many seconds without a beat it is fenced; None: as all.
    """

    def __init__(
        self, file: ServerDatabase, clock: ServerClock, worker: int, *, stall_s: float | None = None
    ) -> None:
        self.file = file
        self.clock = clock
        self.worker = worker
        self.stall_s = workers.STALL_S if stall_s is None else stall_s
        self.sharers = 1  # workers of the account, this one included
        self._renewed_s = clock.steady_s()

    @classmethod
    def begin(
        cls,
        file: StateDatabase,
        clock: ServerClock,
        *,
        manifest: str,
        account: str,
        run: int,
        terms: str,
        sign: str,
        session: int,
    ) -> Lease:
        """Record this process as a worker, as which it writes from now on (see `store.workers.Worker`)."""
        assert isinstance(file, ServerDatabase)
        with file.transaction() as conn:
            worker = workers.register(
                conn,
                manifest=manifest,
                account=account,
                run=run,
                host=socket.gethostname(),
                pid=os.getpid(),
                terms=terms,
                sign=sign,
                session=session,
            )
            file.write_as(worker)
        return cls(file, clock, worker)

    def end(self) -> None:
        """Leave what is not finished to others; who was shut out has left it already."""
        with contextlib.suppress(RunnerError), self.file.transaction() as conn:
            workers.end(conn, self.worker, rfc3339(self.clock.wall_s()))

    def renewed(self, at_s: float) -> None:
        """A beat is committed that was begun at this reading of the clock that nobody can set."""
        self._renewed_s = at_s

    def is_good(self) -> bool:
        """Whether nobody can have taken over our jobs by now: asked when bytes that may cost money leave."""
        return self.clock.steady_s() - self._renewed_s < USED * self.stall_s

    def keep_late_answer(self, *, base_url: str, key: str, task_id: str) -> None:
        """Keep an answer that could not be written into its row; where that fails, the key is asked about again."""
        at = rfc3339(self.clock.wall_s())
        with contextlib.suppress(RunnerError):
            self.file.write_beside(
                lambda conn: late_answers.keep(conn, base_url=base_url, key=key, task_id=task_id, at=at)
            )
