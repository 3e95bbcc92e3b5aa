"""The run loop: which job's next step is taken now, and when a run ends.

`loop` is the loop itself. What follows from an answer is in `submits`, `polls`, `uploads` and `results`, one for
each kind of request; `intents` commits those of submits a moment ahead. What they share is the `run_state`: the queues
(`backlog`), the gates (`admission`), how the service does (`health`), whether it takes our key (`key`) and what it asked
us to wait for (`waits`), and why the run ends (`reasons`). `connections` counts what is open, `heartbeat` counts, shows
and records, `ending` looks at the ledger once more; `view` is what others see.
"""

from runner.engine.loop import Engine
from runner.engine.view import Ended, Progress, RunOptions, Snapshot

__all__ = ["Ended", "Engine", "Progress", "RunOptions", "Snapshot"]
