"""A first run makes its database once its plan is agreed to, not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.api.plan import Plan
from runner.api.run import RunRequest
from runner.api.runs.end import get_ready_for_the_end
from runner.cli.process import run
from runner.errors import Exit, RunnerError, UsageError
from runner.store.sqlite import StateFile

MANIFEST = """version: 1
name: first
model: grok-imagine-video
jobs:
  - {id: one, prompt: A bottle}
"""


class Silent:
    """Progress that nobody looks at."""

    def snapshot(self, snapshot: object) -> None:
        """Take where the run stands."""

    def event(self, kind: str, **data: object) -> None:
        """Take what happens."""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_nobody")
    monkeypatch.setenv("RIVYA_BASE_URL", "http://127.0.0.1:9")
    path = tmp_path / "first.yaml"
    path.write_text(MANIFEST, encoding="utf-8")
    return path


def test_a_plan_that_is_not_agreed_to_leaves_nothing_behind(manifest: Path) -> None:
    said: list[str] = []

    with pytest.raises(UsageError, match="not confirmed"):
        run(RunRequest(path=manifest), confirm=lambda _: False, announce=said.append, progress=Silent())

    assert [path.name for path in manifest.parent.iterdir()] == ["first.yaml"]
    assert "first run with a new database" in said[0], "that is said before it is asked"


def test_a_database_that_comes_into_being_meanwhile_is_planned_with(manifest: Path) -> None:
    """Another run made it while a person thought about this one's plan: they are asked again."""
    database = manifest.parent / "state" / "runner.db"
    plans: list[Plan] = []

    def confirm(plan: Plan) -> bool:
        plans.append(plan)
        StateFile.open(database).close()
        return len(plans) == 1

    with pytest.raises(UsageError, match="not confirmed"):
        run(RunRequest(path=manifest), confirm=confirm, announce=lambda _: None, progress=Silent())

    assert [plan.database_exists for plan in plans] == [False, True]


def test_mistakes_of_the_manifest_are_told_before_a_missing_key(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RIVYA_API_KEY")

    def refused() -> str:
        with pytest.raises(RunnerError) as caught:
            run(RunRequest(path=manifest), confirm=agreed, announce=lambda _: None, progress=Silent())
        assert caught.value.exit_code is Exit.USAGE
        assert [path.name for path in manifest.parent.iterdir()] == ["first.yaml"]
        return str(caught.value)

    def agreed(_: Plan) -> bool:
        raise AssertionError("asked although there is no key")

    assert "no API key" in refused()
    manifest.write_text(MANIFEST.replace("prompt:", "promt:"), encoding="utf-8")
    assert "1 problem;" in refused(), "a misspelt key, which is meant all the same"


@pytest.mark.anyio
async def test_what_cannot_be_imported_for_the_end_hurts_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.api.runs.end.END_IMPORTS", ("runner.no_such_module",))
    monkeypatch.setattr("runner.api.runs.end.END_IMPORTS_AFTER_S", 0.0)

    await get_ready_for_the_end()
