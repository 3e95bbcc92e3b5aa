"""What the workspace has learned of a service is found again under its name, and under no other's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.store import rates
from runner.store.database import StateDatabase
from tests.databases import close, empty_state

NOW, LATER = "2026-11-29T00:00:00.000Z", "2026-11-30T00:00:00.000Z"
KEY, OTHER_KEY = "0123456789ab", "ba9876543210"


@pytest.fixture
def file(each_database: str) -> Iterator[StateDatabase]:
    opened = empty_state()
    yield opened
    close(opened)


@pytest.mark.parametrize(
    ("service", "other"),
    [
        ("https://a_b.example", "https://a-b.example"),
        ("https://rivya.ai/a%2Fb", "https://rivya.ai/a-2Fb"),
        ("https://rivya.ai", "https://rivya.ai.example"),
        ("https://rivya.ai/a", "https://rivya.ai/A"),
    ],
)
def test_a_rate_is_that_of_the_very_service(file: StateDatabase, service: str, other: str) -> None:
    with file.transaction() as conn:
        rates.save(conn, f"{other} {KEY}", 9.0, LATER)
    assert rates.latest_of_service(file.conn, service) is None

    with file.transaction() as conn:
        rates.save(conn, f"{service} {KEY}", 4.0, NOW)
    assert rates.latest_of_service(file.conn, service) == 4.0


def test_of_several_keys_the_latest_rate_counts(file: StateDatabase) -> None:
    with file.transaction() as conn:
        rates.save(conn, f"https://rivya.ai {OTHER_KEY}", 4.0, LATER)
        rates.save(conn, f"https://rivya.ai {KEY}", 9.0, NOW)

    assert rates.latest_of_service(file.conn, "https://rivya.ai") == 4.0
