"""The page of a plan: frames before there is a database, what a switch changes, and a manifest that is edited meanwhile."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.api.manifests.opened import Without
from runner.api.plans.wall import inputs_of, make_wall
from runner.api.switches import keep_switches
from runner.web.page_state import ControlState
from runner.web.wall import FIRST_FRAME, WallReader
from tests.report_rows import Row, add, new_state

MANIFEST = """\
version: 1
name: night
model: grok-imagine-video
params: {duration: 6}
budget: {max_credits: 100}
jobs:
  - {id: "cup-${light}", matrix: {light: [noon, dusk, night]}, prompt: "a cup, ${light}"}
  - {id: made, prompt: a cup, references: [cup.png]}
"""
PNG = Path(__file__).parents[1] / "fixtures" / "media" / "still.png"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "cup.png").write_bytes(PNG.read_bytes())
    path = tmp_path / "night.yaml"
    path.write_text(MANIFEST, "utf-8")
    return path


@pytest.fixture
def reader(manifest: Path) -> WallReader:
    plan = partial(make_wall, manifest, state=None, sandbox=True, without=Without(), announce=lambda _: None)
    return WallReader(plan(), again=plan, inputs=inputs_of)


def told(text: str | None) -> dict[str, Any]:
    assert text is not None
    return json.loads(text)


def switch(reader: WallReader, rows: list[int], *, off: bool) -> tuple[str, ...]:
    target = reader._wall.target
    return keep_switches(target.database, target.manifest, {"rows": rows, "off": off}, find=reader.switchable)


def test_frames_have_prices_and_references_before_there_is_a_database(reader: WallReader) -> None:
    first = reader.look(ControlState())
    (whole,) = map(told, reader.whole(ControlState()))

    assert first is not None
    assert first.text is None
    assert reader.look(ControlState()) is None
    assert whole["jobs"]["id"] == ["cup-noon", "cup-dusk", "cup-night", "made"]
    assert [at for at, _ in whole["prices"]] == [0, 1, 2, 3]
    assert whole["tables"]["price"] == [[10, 10, None]], "a list price is the lowest there is"
    assert (whole["head"]["now"]["phase"], whole["head"]["plan"]["max_credits"]) == ("planned", 100)
    found = reader.find("reference", FIRST_FRAME + 3, 1)
    assert found is not None
    assert (found[0].name, found[1]) == ("cup.png", "image/png")
    assert reader.find("reference", FIRST_FRAME + 3, 2) is None
    assert reader.find("result", FIRST_FRAME, 1) is None


def test_a_switch_makes_the_database_and_only_what_it_changes_is_told(reader: WallReader) -> None:
    reader.look(ControlState())

    assert switch(reader, [FIRST_FRAME + 1], off=True) == ()
    delta = reader.look(ControlState())

    assert delta is not None
    assert delta.rows == (FIRST_FRAME + 1,)
    news = told(delta.text)
    assert (news["jobs"]["id"], news["off"]) == (["cup-dusk"], [0])
    assert news["head"]["counts"] == {"planned": 3, "off": 1}
    assert reader.look(ControlState()) is None
    switch(reader, [FIRST_FRAME + 1], off=False)
    delta = reader.look(ControlState())
    assert delta is not None
    assert told(delta.text)["off"] == []
    reader.close()


def test_an_edited_manifest_is_planned_anew_and_mistakes_leave_the_plan(
    reader: WallReader, manifest: Path
) -> None:
    reader.look(ControlState())
    switch(reader, [FIRST_FRAME], off=True)
    manifest.write_text(MANIFEST.replace("a cup, ${light}", "another cup, ${light}"), "utf-8")

    again = reader.look(ControlState())
    (whole,) = map(told, reader.whole(ControlState()))
    manifest.write_text(MANIFEST.replace("matrix", "matrx"), "utf-8")
    reader.look(ControlState())
    (broken,) = map(told, reader.whole(ControlState()))

    assert again is not None
    assert whole["tables"]["prompt"][0] == "another cup, noon"
    assert whole["off"] == [0], "an edited job stays off"
    assert "problem" in broken["head"]["plan"]["trouble"]
    assert broken["jobs"] == whole["jobs"]
    reader.close()


def test_frames_keep_their_prices_once_a_run_has_taken_them_up(reader: WallReader, manifest: Path) -> None:
    """What is reserved or charged is in the row of a job: the plan's price is for those that are still to be sent."""
    reader.look(ControlState())
    target = reader._wall.target
    assert isinstance(target.database, Path)
    file = new_state(
        target.database,
        manifest="night",
        manifest_path=manifest,
        output_dir=manifest.parent / "out",
        sandbox=True,
    )
    waiting = Row(id="cup-noon", state="waiting", duration_s=None)
    planned = Row(id="cup-dusk", state="planned", charges=(), submitted_s=None)
    gone = Row(id="an-older-one", state="planned", charges=(), submitted_s=None, listed=False)
    add(file, "night", [waiting, planned, gone])
    file.close()

    reader.look(ControlState())
    (whole,) = map(told, reader.whole(ControlState()))
    some = told(reader.some(whole["jobs"]["row"][1:2], ControlState()))

    assert whole["jobs"]["id"][:2] == ["cup-noon", "cup-dusk"]
    assert whole["jobs"]["reserved"][0] == 10
    assert [at for at, _ in whole["prices"]] == [1]
    assert [some["tables"]["price"][number] for _, number in some["prices"]] == [[10, 10, None]]
    reader.close()


def test_a_plan_warns_of_a_bucket_that_no_run_could_use(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    manifest.write_text(f"{MANIFEST}output: {{dir: 's3://no-films-{manifest.parent.name}/night'}}\n", "utf-8")

    plan = make_wall(manifest, state=None, sandbox=True, without=Without(), announce=lambda _: None)

    (warning,) = plan.warnings
    assert warning.startswith("a run will send nothing: results in a bucket")
    assert warning.endswith("pip install 'rivya-batch[s3]'")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"rows": 1, "off": True},
        {"rows": [1], "off": 1},
        {"rows": ["1"], "off": True},
        {"rows": [2**63], "off": True},
    ],
)
def test_what_means_nothing_is_refused(reader: WallReader, said: dict[str, Any]) -> None:
    target = reader._wall.target
    with pytest.raises(ValueError, match=r"say|number"):
        keep_switches(target.database, target.manifest, said)
