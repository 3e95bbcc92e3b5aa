"""The run loop: which job's next step is taken now, and when a run ends.

`loop` is the loop itself, `backlog` holds what waits, `admission` says whether something new may
begin, `health` watches the service, `reasons` collects why a run ends, `view` is what others see.
"""

from runner.engine.loop import Engine
from runner.engine.view import Ended, Progress, RunOptions, Snapshot

__all__ = ["Ended", "Engine", "Progress", "RunOptions", "Snapshot"]
