"""The best anybody could do who knows the limits and when every task ends. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def ideal_s(
    durations_s: Sequence[float], *, rate: float, burst: float | None = None, window: int | None = None
) -> float:
    """Return the shortest time from the first submit to the poll that finds the last end.

    One submit and one poll a task, no latency. Submits go first. Where `window` is a limit of our own
    (`limits.in_flight`), a slot is free only once its task's end was found, so with no slot free polls
    go first.

    Args:
        durations_s: Seconds each task takes, in the order of submission.
        rate: Requests a second that pass.
        burst: Requests that pass at once after a pause; one second's worth where None.
        window: Tasks at the service at once; None for no limit.

    >>> ideal_s([5.0] * 100, rate=20, window=50)
    14.0
    """
    size = max(1.0, rate if burst is None else burst)
    tokens, at = size, 0.0
    ends: list[float] = []
    submitted = found = 0
    now = last = 0.0
    while found < len(durations_s):
        tokens, at = min(size, tokens + (now - at) * rate), now
        room = window is None or len(ends) < window
        may_submit = submitted < len(durations_s) and room
        may_poll = bool(ends) and ends[0] <= now
        if not (may_submit or may_poll):
            now = ends[0]
            continue
        if tokens < 1 - 1e-9:
            now += (1 - tokens) / rate
            continue
        tokens -= 1
        if may_submit:
            heapq.heappush(ends, now + durations_s[submitted])
            submitted += 1
        else:
            heapq.heappop(ends)
            found += 1
            last = now
    return round(last, 6)
