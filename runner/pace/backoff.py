"""How long to wait before asking again after a fault."""

from __future__ import annotations


def retry_delay_s(attempt: int, *, base_s: float, cap_s: float, draw: float) -> float:
    """Return the wait before retry number `attempt`.

    Full jitter: anywhere between zero and the capped exponential.

    Args:
        attempt: 1 for the first retry.
        base_s: Longest first wait, in seconds.
        cap_s: Longest wait of all, in seconds.
        draw: A number from [0, 1). The caller owns the randomness.

    Returns:
        Seconds, within `[0, cap_s]`.

    Raises:
        ValueError: `attempt` is below 1.

    Source:
        "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    >>> retry_delay_s(3, base_s=1.0, cap_s=60.0, draw=0.5)
    2.0
    """
    if attempt < 1:
        msg = f"attempt counts from 1, got {attempt}"
        raise ValueError(msg)
    # 2.0**1024 overflows; past 62 doublings every sane cap has won.
    ceiling_s = min(cap_s, base_s * 2.0 ** min(attempt - 1, 62))
    return draw * ceiling_s
