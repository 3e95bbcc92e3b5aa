"""Nothing is paid for that nobody was asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click
import pytest

from runner.api.manifests.opened import check_all, read_manifest
from runner.api.plan import Plan
from runner.api.run import RunRequest
from runner.cli.process import run
from runner.cli.run_options import CREDITS
from runner.errors import UsageError
from runner.model import Budget


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


NOT_CREDITS = ("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e400", "-1", "1e16", "", "ten")


@pytest.mark.parametrize("text", NOT_CREDITS)
def test_a_cap_that_is_no_amount_is_refused(text: str) -> None:
    """`--max-credits nan` was no cap at all: nothing is above it."""
    with pytest.raises(click.BadParameter, match="not a number of credits"):
        CREDITS.convert(text, None, None)


@pytest.mark.parametrize(("text", "credits"), [("0", 0), ("12.5", 12.5), ("1e3", 1000), ("2000", 2000)])
def test_a_cap_is_a_number_of_credits(text: str, credits: float) -> None:
    assert CREDITS.convert(text, None, None) == credits


@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf", "1e400", "-1", "1e16", "nan"])
@pytest.mark.parametrize(
    "line",
    [
        "budget: {{max_credits: {}}}",
        "budget: {{max_credits_per_job: {}}}",
        "budget: {{max_credits_per_day: {}}}",
        "prices: {{z-image: {}}}",
        "prices: {{z-image: [{{credits: {}}}]}}",
        "limits: {{in_flight: {}}}",
    ],
)
def test_a_manifest_takes_no_number_that_is_no_amount(line: str, text: str, workspace: Path) -> None:
    manifest = workspace / "odd.yaml"
    manifest.write_text(
        f"version: 1\nname: odd\nmodel: z-image\n{line.format(text)}\njobs: [{{id: a, prompt: A cat}}]\n",
        encoding="utf-8",
    )

    opened = read_manifest(manifest, state=None, sandbox=False)
    check_all(opened)

    assert opened.manifest.errors
    assert opened.manifest.settings is not None
    assert opened.manifest.settings.budget == Budget()
