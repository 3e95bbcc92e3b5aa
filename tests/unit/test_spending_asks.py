"""Nothing is paid for that nobody was asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from runner.api.planning import Plan
from runner.api.running import RunRequest, run
from runner.errors import UsageError


def test_what_is_thought_to_be_free_is_asked_about_too(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `prices:` of 0 the run went ahead without a word; what the service charges is its own business."""
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_test")
    monkeypatch.setenv("RIVYA_BASE_URL", "http://127.0.0.1:1")
    manifest = workspace / "free.yaml"
    manifest.write_text(
        "version: 1\nname: free\nmodel: z-image\nprices: {z-image: 0}\njobs: [{id: a, prompt: A cat}]\n",
        encoding="utf-8",
    )
    asked: list[float] = []

    def no(plan: Plan) -> bool:
        asked.append(plan.to_spend)
        return False

    with pytest.raises(UsageError, match="nothing was sent"):
        run(RunRequest(path=manifest), confirm=no, announce=lambda _: None, progress=cast("Any", None))

    assert asked == [0.0]
