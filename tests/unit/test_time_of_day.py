"""`--start-at`: the next time it is this late here, also across a change of clocks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from runner.cli.run import time_to_start
from runner.errors import UsageError
from runner.host.clock import next_time_of_day


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine elsewhere."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    if time.tzname == ("UTC", "UTC"):
        pytest.skip("this machine knows no time zones")
    yield
    monkeypatch.undo()
    time.tzset()


def at(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("zone", "now", "wanted", "starts", "note"),
    [
        (BERLIN, "2026-07-01T23:00+02:00", "06:00", "2026-07-02T06:00+02:00", ""),
        (BERLIN, "2026-07-01T05:59:59+02:00", "06:00", "2026-07-01T06:00+02:00", ""),
        (BERLIN, "2026-07-01T06:00+02:00", "06:00", "2026-07-02T06:00+02:00", ""),
        # The clocks go forward in that night, and back.
        (BERLIN, "2026-03-28T23:00+01:00", "06:00", "2026-03-29T06:00+02:00", ""),
        (BERLIN, "2026-10-24T23:00+02:00", "06:00", "2026-10-25T06:00+01:00", ""),
        (NEW_YORK, "2026-03-07T20:00-05:00", "06:00", "2026-03-08T06:00-04:00", ""),
        (NEW_YORK, "2026-10-31T20:00-04:00", "23:00", "2026-10-31T23:00-04:00", ""),
        # A time that does not exist in that night.
        (BERLIN, "2026-03-28T23:00+01:00", "02:30", "2026-03-29T03:30+02:00", "02:30 is skipped"),
        (LORD_HOWE, "2026-10-03T23:00+10:30", "02:15", "2026-10-04T02:45+11:00", "02:15 is skipped"),
        (BERLIN, "2026-03-29T03:40+02:00", "02:30", "2026-03-30T02:30+02:00", ""),
        # One that comes twice.
        (BERLIN, "2026-10-24T23:00+02:00", "02:30", "2026-10-25T02:30+02:00", "this is the first"),
        (BERLIN, "2026-10-25T02:45+02:00", "02:30", "2026-10-25T02:30+01:00", "this is the second"),
        (BERLIN, "2026-10-25T02:45+01:00", "02:30", "2026-10-26T02:30+01:00", ""),
    ],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_it_starts_when_the_clock_on_the_wall_shows_the_time(
    now: str, wanted: str, starts: str, note: str
) -> None:
    hour, minute = time_to_start(wanted)

    found = next_time_of_day(hour, minute, now_s=at(now))

    assert found.epoch_s == at(starts)
    assert note in found.note
    assert bool(note) == bool(found.note)
    assert str(found).startswith(starts[:16].replace("T", " "))


@pytest.mark.parametrize(
    "text", ["", "6", "6:0", "24:00", "23:60", "²3:00", "6:00 ", "-1:00", "06:00:00", "٠٦:٠٠"]
)
def test_what_is_no_time_of_day_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="not a time of day"):
        time_to_start(text)
