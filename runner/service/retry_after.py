"""How long an answer asks us to wait, and the times it tells. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

# Longer than a month no quota lasts: an epoch time in the wrong field, a wrong unit, a wrong clock.
ABSURD_S = 31 * 86_400.0

_SECONDS = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)


def parse_retry_after(text: str | None, *, now_epoch_s: float, date: str | None = None) -> float | None:
    """Return the seconds a `Retry-After` header asks for.

    Args:
        text: The header as sent: seconds (decimals are tolerated) or an HTTP date; None when absent.
        now_epoch_s: Our wall clock, seconds since 1970. Needed for a date only.
        date: The `Date` header of the same answer. Both dates are read from one clock, so the wait between
            them is right although ours is wrong.

    Returns:
        Seconds from now, at least 0: a time in the past or a negative number is 0. None when there
        is no header or it cannot be read. Infinite for more than a month: to be waited for, but
        nobody can mean that long.

    Source:
        RFC 9110, sections 6.6.1 and 10.2.3.

    >>> parse_retry_after("1.5", now_epoch_s=0.0)
    1.5
    >>> parse_retry_after("Thu, 01 Jan 1970 00:00:30 GMT", now_epoch_s=10.0)
    20.0
    """
    if text is None:
        return None
    text = text.strip()
    if len(text) > 64:
        return None
    wait_s: float | None
    if _SECONDS.fullmatch(text):
        wait_s = float(text)
    elif (until_s := http_date_s(text)) is not None:
        said_s = http_date_s(date)
        wait_s = until_s - (said_s if said_s is not None else now_epoch_s)
    else:
        return None
    return math.inf if wait_s > ABSURD_S else max(wait_s, 0.0)


@lru_cache(maxsize=4)  # a `Date` changes once a second
def http_date_s(text: str | None) -> float | None:
    """Return the time an HTTP date says, in seconds since 1970; None where it says none."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # "-0000" and a missing zone both come without one; HTTP dates are in GMT.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
