"""When the service counts as away, how it is asked whether it is back, and when a run gives up."""

from __future__ import annotations

import pytest

from runner.engine.health import FIRST_PATIENCE_S, PATIENCE_S, Health
from runner.machine import Answer, Reply, understand

OFF = understand(Reply(status=503, data={"error": {"code": "public_api_disabled", "message": "down"}}))
GOOD = understand(Reply(status=200, data={"id": "t1", "status": "queued"}))


def told(health: Health, answer: Answer, now: float) -> None:
    health.answered(answer, now, 0.5, sent_at=now)


@pytest.mark.parametrize(
    ("patience_s", "answered", "given_up_after_s"),
    [
        (None, False, FIRST_PATIENCE_S),
        (None, True, PATIENCE_S),
        (600.0, False, 600.0),  # ended after 30 s, whatever had been said
        (600.0, True, 600.0),
        (5.0, False, 5.0),
        (5.0, True, 5.0),
    ],
)
def test_patience_is_what_was_said(patience_s: float | None, answered: bool, given_up_after_s: float) -> None:
    health = Health(patience_s)
    if answered:
        told(health, GOOD, 0.0)

    told(health, OFF, 100.0)

    assert health.gives_up_at == 100.0 + given_up_after_s
    assert health.verdict(99.9 + given_up_after_s) is None
    assert "public_api_disabled" in (health.verdict(100.0 + given_up_after_s) or "")
