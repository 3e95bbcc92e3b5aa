"""The choices the public documentation leaves open: every field is one of them, and none is the sandbox's.

What the documentation does state holds for all personalities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Price = float | Callable[[Mapping[str, Any]], float]


def plain_id(number: int) -> str:
    return f"gen-{number:06d}"


def odd_id(number: int) -> str:
    """An id that is no single path segment and no plain word."""
    return f"gen/ü?{number}#%2F..&=+ x"


def long_id(number: int) -> str:
    return f"{number}-" + "z" * 400


def digits_id(number: int) -> str:
    """An id that looks like a number too large for a double."""
    return str(9_007_199_254_740_993 + number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    """How this service answers where nobody has said how it should."""

    # Submits.
    create_status: int = 202
    replay_status: int = 200
    make_id: Callable[[int], str] = plain_id
    first_statuses: tuple[str, ...] = ("queued", "processing")  # words before the end, in turn
    replays_show: Literal["now", "then"] = "now"  # the task as it is, or as it was when it was created
    idempotency: Literal["replay", "none", "forgets", "account"] = "replay"
    strict_body: bool = True  # same key, different body: 409
    wrap: Callable[[Mapping[str, Any]], Any] = dict  # what a task is answered in

    # Money.
    price: Price = 10.0
    # "one", "twelve": the same placeholder for all; "grows": 1, then half, then all of it.
    reserved: Literal["number", "float", "zero", "absent", "null", "late", "one", "twelve", "grows"] = (
        "number"
    )
    final: Literal["number", "float", "absent", "null", "zero"] = "number"
    refunds: bool = True  # a failed task costs nothing
    empty_account: Literal[402, 400, 403, 409, "task", "task-null"] = 402

    # Times.
    task_s: tuple[float, float] = (0.05, 0.15)
    times: Literal["milliseconds", "seconds", "offset", "absent"] = "seconds"
    latency_s: float = 0.0
    early_404_s: float = 0.0  # a task cannot be seen for so long

    # Limits.
    window_requests: int | None = None
    window_s: float = 1.0
    in_flight: int | None = None
    retry_after: Literal["seconds", "decimal", "date", "past", "absurd", "absent", "text"] = "absent"
    limit_body: Literal["json", "text", "empty", "page", "other json"] = "text"

    # Errors.
    errors: Literal["documented", "extra", "bare"] = "extra"

    # Uploads.
    upload_status: int = 200
    upload_shape: Literal["id", "file_id", "nested"] = "file_id"
    upload_url_lives_s: float = 3600.0

    # Results.
    result_name: str = "download"  # no extension
    result_type: str = "application/octet-stream"
    result_chunked: bool = True
    result_ranges: bool = False
    result_redirects: int = 0
    result_lives_s: float = 3600.0
    result_moves: bool = (
        False  # each time they are asked for, urls have another path, and by turns another host
    )
    result_bytes: int = 0  # at least so large
    results: int = 1
    primary_only: bool = False  # `urls` missing
    results_at: Literal["host", "path"] = "host"  # a host of their own, or a bare path under the API's

    # Connections.
    certificate: str = ""  # https, with this one of tests/fixtures/tls
    close_each: bool = False
    head_pause_s: float = 0.0
    dates: bool = True  # answers carry `Date`

    extra: Mapping[str, Any] = field(
        default_factory=lambda: {"object": "generation", "links": {"self": "/x"}}
    )


USUAL = Personality()

# One table for tests that hold for any service at all.
PERSONALITIES: Mapping[str, Personality] = {
    "usual": USUAL,
    "terse": Personality(
        create_status=200,
        make_id=digits_id,
        reserved="late",
        final="null",
        times="absent",
        errors="bare",
        upload_shape="nested",
        result_chunked=False,
        primary_only=True,
        close_each=True,
        replays_show="then",
        wrap=lambda view: {"code": 0, "data": {"taskId" if key == "id" else key: view[key] for key in view}},
        dates=False,
        extra={},
    ),
    "baroque": Personality(
        create_status=201,
        replay_status=201,
        make_id=odd_id,
        first_statuses=("PENDING", "queued", "rendering", "Processing"),
        reserved="float",
        final="absent",
        times="offset",
        early_404_s=0.25,
        upload_shape="id",
        upload_status=201,
        result_redirects=2,
        results=2,
        result_ranges=True,
        head_pause_s=0.01,
        wrap=lambda view: {"id": "req_of_this_answer", "status": "ok", "data": [{"generation": view}]},
    ),
    "stingy": Personality(
        make_id=long_id,
        reserved="zero",
        times="milliseconds",
        window_requests=12,
        window_s=0.5,
        retry_after="decimal",
        in_flight=4,
        limit_body="empty",
        latency_s=0.01,
    ),
}
