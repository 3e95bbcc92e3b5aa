"""Results: how a download goes on where it was cut off."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import anyio
import httpx
import pytest

from runner.results.fetch_errors import ResultRefused, ResultTooLarge, ResultUnavailable
from runner.results.parts import PartFile
from tests import result_hosts
from tests.result_hosts import CLIP, LARGE, URL, Body, FakeClock, Host, answer, fetch, left, trouble

pytestmark = pytest.mark.anyio


part = result_hosts.part


# --- going on ------------------------------------------------------------------------------------


def cut(at: int = 700_000, **headers: str) -> httpx.Response:
    """Return the first answer of a download that breaks off."""
    headers = {"etag": '"v1"', "content_length": str(len(LARGE)), **headers}
    return answer(body=[LARGE[:at], httpx.ReadError("gone")], **headers)


def rest(at: int = 700_000, *, body: bytes | None = None, **headers: str) -> httpx.Response:
    headers = {"content_range": f"bytes {at}-{len(LARGE) - 1}/{len(LARGE)}", "etag": '"v1"', **headers}
    return answer(206, LARGE[at:] if body is None else body, **headers)


async def began(part: PartFile, **headers: str) -> None:
    await trouble(ResultUnavailable, Host([cut(**headers)]), part)


async def test_a_download_goes_on_where_it_broke_off(part: PartFile) -> None:
    """In another process, with a url renewed in the meantime."""
    await began(part)
    assert part.size() == 700_000
    host = Host([rest()])

    result = await fetch(host, part, URL.replace("SECRET", "RENEWED"))

    assert host.asked[0].headers["range"] == "bytes=700000-"
    assert host.asked[0].headers["if-range"] == '"v1"'
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_it_goes_on_as_often_as_it_breaks_off(part: PartFile) -> None:
    await began(part)
    again = answer(
        206,
        [LARGE[700_000:1_300_000], httpx.ReadError("")],
        content_range=f"bytes 700000-{len(LARGE) - 1}/{len(LARGE)}",
    )
    await trouble(ResultUnavailable, Host([again]), part)
    host = Host([rest(1_300_000)])

    result = await fetch(host, part)

    assert host.asked[0].headers["range"] == "bytes=1300000-"
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


@pytest.mark.parametrize(
    "reply",
    [
        lambda: answer(body=LARGE),  # no ranges here, or another file by now
        lambda: rest(at=600_000),
        lambda: rest(content_range="bytes 700000-800000/2000000"),
        lambda: rest(content_range=f"bytes 700000-{len(LARGE) - 1}/{len(LARGE) + 1}"),
        lambda: rest(content_range=f"bytes 700000-{len(LARGE)}/{len(LARGE) + 1}"),
        lambda: rest(content_range="nonsense"),
        lambda: rest(content_type="multipart/byteranges; boundary=x", content_range=""),
        lambda: rest(content_length="5"),
        lambda: answer(416, b"", content_range="bytes */5"),
        lambda: answer(412, b""),
    ],
)
async def test_a_host_that_does_not_go_on_exactly_there_starts_over(
    part: PartFile, reply: Callable[[], httpx.Response]
) -> None:
    await began(part)
    host = Host([reply(), answer(body=LARGE)])

    result = await fetch(host, part)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert "range" in host.asked[0].headers
    assert all("range" not in request.headers for request in host.asked[1:])


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": 'W/"weak"'}, None),
        ({"etag": ""}, None),
        ({"etag": '"v1"', "accept_ranges": "none"}, None),
        ({"etag": "", "last_modified": "long ago"}, None),
        ({"etag": "", "last_modified": format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True)}, None),
        (
            {
                "etag": "",
                "last_modified": "Thu, 01 Jan 2026 00:00:00 GMT",
                "date": "Thu, 01 Jan 2026 00:10:00 GMT",
            },
            "Thu, 01 Jan 2026 00:00:00 GMT",
        ),
        (
            {
                "etag": "",
                "last_modified": "Thu, 01 Jan 2026 00:00:00 GMT",
                "date": "Thu, 01 Jan 2026 00:00:01 GMT",
            },
            None,
        ),
    ],
)
async def test_only_a_strong_validator_lets_a_download_go_on(
    part: PartFile, headers: dict[str, str], validator: str | None
) -> None:
    await began(part, **headers)
    host = Host([rest() if validator else answer(body=LARGE)])

    await fetch(host, part)

    assert host.asked[0].headers.get("if-range") == validator


ELSEWHERE = "https://93.184.216.35/fresh/path.mp4?sig=SECRET"


async def test_a_download_goes_on_at_another_address_of_the_same_file(part: PartFile) -> None:
    """A fresh url often has another path or host; a strong ETag and the length say that the file is the same."""
    await began(part)
    host = Host([rest()])

    result = await fetch(host, part, ELSEWHERE)

    assert host.asked[0].headers["range"] == "bytes=700000-"
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_what_had_all_come_from_elsewhere_is_asked_for_its_last_byte(part: PartFile) -> None:
    await began(part)
    with part.path.open("ab") as file:
        file.write(LARGE[700_000:])
    host = Host([rest(len(LARGE) - 1)])

    result = await fetch(host, part, ELSEWHERE)

    assert host.asked[0].headers["range"] == f"bytes={len(LARGE) - 1}-"
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


@pytest.mark.parametrize(
    "reply",
    [
        lambda: answer(body=LARGE),
        lambda: rest(etag='"v2"'),
        lambda: rest(etag=""),
        lambda: rest(content_range=f"bytes 700000-{len(LARGE) - 2}/{len(LARGE) - 1}"),
    ],
)
async def test_another_file_elsewhere_is_fetched_from_its_beginning(
    part: PartFile, reply: Callable[[], httpx.Response]
) -> None:
    await began(part)

    result = await fetch(Host([reply(), answer(body=LARGE)]), part, ELSEWHERE)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {
            "etag": "",
            "last_modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "date": "Thu, 01 Jan 2026 00:10:00 GMT",
        },
        {"content_length": ""},  # its length was never said
    ],
)
async def test_a_date_or_an_unknown_length_proves_nothing_elsewhere(
    part: PartFile, headers: dict[str, str]
) -> None:
    await began(part, **headers)
    host = Host([answer(body=LARGE)])

    await fetch(host, part, ELSEWHERE)

    assert "range" not in host.asked[0].headers


@pytest.mark.parametrize("boot", ["boot-2", None])
async def test_after_a_power_cut_a_part_is_fetched_anew(part: PartFile, boot: str | None) -> None:
    """Its length survives sooner than its bytes."""
    await began(part)
    host = Host([answer(body=LARGE)])

    await fetch(host, part, clock=FakeClock(boot=boot))

    assert "range" not in host.asked[0].headers


async def test_a_part_that_had_arrived_whole_is_not_fetched_again(part: PartFile) -> None:
    """We were killed between the last byte and the trial."""
    await began(part)
    with part.path.open("ab") as file:
        file.write(LARGE[700_000:])
    host = Host([])

    result = await fetch(host, part)

    assert host.asked == []
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_a_part_longer_than_its_file_is_fetched_anew(part: PartFile) -> None:
    await began(part)
    with part.path.open("ab") as file:
        file.write(LARGE)
    host = Host([answer(body=LARGE)])

    result = await fetch(host, part)

    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_small_results_leave_no_notes(part: PartFile) -> None:
    reply = answer(body=[CLIP[:100], httpx.ReadError("")], etag='"v1"', content_length=str(len(CLIP)))

    await trouble(ResultUnavailable, Host([reply]), part)

    assert "hero.part.json" not in left(part)


async def test_a_refused_url_keeps_what_is_there(part: PartFile) -> None:
    await began(part)

    await trouble(ResultRefused, Host([answer(403, b"")]), part)

    assert part.size() == 700_000


async def test_a_result_too_large_in_its_rest_is_given_up(part: PartFile) -> None:
    await began(part)

    await trouble(ResultTooLarge, Host([rest()]), part, max_bytes=1_500_000)

    assert left(part) == []


@pytest.mark.parametrize("headers", [{}, {"etag": '"v1"', "content-length": str(len(LARGE))}])
async def test_a_cancelled_download_closes_its_connection_and_keeps_what_can_be_gone_on_with(
    part: PartFile, headers: dict[str, str]
) -> None:
    class Endless(Body):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield LARGE[:700_000]
            started.set()
            await anyio.sleep_forever()

    started = anyio.Event()
    body = Endless([])
    host = Host([httpx.Response(200, headers=headers, stream=body)])

    async with anyio.create_task_group() as group:
        group.start_soon(fetch, host, part)
        await started.wait()
        group.cancel_scope.cancel()

    assert body.closed
    if headers:
        result = await fetch(Host([rest()]), part)
        assert result.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_where_a_host_gives_no_parts_a_download_begins_anew_without_asking(part: PartFile) -> None:
    await began(part)
    host = Host([answer(body=LARGE, etag='"v1"')])

    result = await fetch(host, part, URL, continues=False)

    assert "range" not in host.asked[0].headers
    assert result.sha256 == hashlib.sha256(LARGE).hexdigest()
