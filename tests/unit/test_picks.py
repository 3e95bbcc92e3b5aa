"""What people think of results, in both kinds of database, and as the live page says and shows it."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import httpx
import pytest

from runner.api.picks import keep_said
from runner.model import Opinion, Pick, PickChange
from runner.reports.data import Invocation
from runner.store import picks
from runner.store.database import StateDatabase
from runner.store.sqlite import StateFile
from runner.web.app import live_app
from runner.web.feed import Feed
from runner.web.page_state import ControlState, PageReader, Target
from tests import report_rows
from tests.report_rows import Row, add, new_state

state = report_rows.state
NOW = "2026-11-30T09:00:00.000Z"
PICKED = PickChange(verdict=Opinion.PICKED)


def say(file: StateDatabase, row: int, change: PickChange, round_: int = 1) -> dict[int, Pick]:
    with file.transaction() as conn:
        return picks.put(conn, "night", {(row, round_): change}, NOW)


def rows_of(file: StateDatabase) -> dict[str, int]:
    return {id_: row for id_, (row, _) in picks.listed(file.conn, "night").items()}


def test_what_is_not_said_stays_and_what_changes_nothing_is_no_change(state: StateDatabase) -> None:
    add(state, "night", [Row(id="a"), Row(id="b")])
    row = rows_of(state)["a"]

    assert say(state, row, PICKED) == {row: Pick(verdict=Opinion.PICKED)}
    assert say(state, row, PickChange(rating=4, word="good")) == {
        row: Pick(verdict=Opinion.PICKED, rating=4, word="good")
    }
    last = picks.last(state.conn, "night")
    assert say(state, row, PICKED) == {}
    assert picks.changed(state.conn, "night", last) == ()
    assert say(state, row, PickChange(verdict="")) == {row: Pick(rating=4, word="good")}
    assert picks.changed(state.conn, "night", last) == (row,)
    assert picks.of_jobs(state.conn, "night") == {"a": Pick(rating=4, word="good")}


def test_one_of_several_results_is_picked_and_a_verdict_on_the_job_means_all(state: StateDatabase) -> None:
    add(state, "night", [Row(id="a")])
    row = rows_of(state)["a"]

    assert say(state, row, PickChange(verdict=Opinion.PICKED, results=(2, 3)))[row].results == (2, 3)
    assert say(state, row, PickChange(rating=4))[row].results == (2, 3)
    assert say(state, row, PICKED)[row].results == ()
    say(state, row, PickChange(verdict=Opinion.PICKED, results=(1,)))
    assert say(state, row, PickChange(verdict=Opinion.REJECTED, results=(1,)))[row].results == ()


def test_another_round_has_another_result_of_which_nothing_was_said(state: StateDatabase) -> None:
    add(state, "night", [Row(id="a", charges=(10.0, 10.0))])
    row = rows_of(state)["a"]

    assert say(state, row, PICKED, round_=1)
    assert picks.of_jobs(state.conn, "night") == {}
    assert say(state, row, PICKED, round_=2)
    assert say(state, row, PICKED, round_=3) == {}  # there is no such round
    assert say(state, row + 100, PICKED) == {}


def test_each_database_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = set()
    for name in ("a", "b"):
        file = StateFile.open(tmp_path / name / "runner.db")
        names.add(picks.workspace_id(file.conn))
        file.close()
        again = StateFile.open(tmp_path / name / "runner.db")
        names.add(picks.workspace_id(again.conn))
        again.close()

    assert len(names) == 2
    assert all(len(name) == 16 for name in names)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    place = tmp_path / "runner.db"
    file = new_state(place, manifest="night", manifest_path=tmp_path / "night.yaml", output_dir=tmp_path)
    add(file, "night", [Row(id="a"), Row(id="b")])
    file.close()
    return Target(
        database=place,
        folder=tmp_path,
        manifest="night",
        output_dir=tmp_path,
        invocation=Invocation(manifest="night.yaml"),
    )


def test_an_open_page_is_told_of_a_pick_made_elsewhere(target: Target) -> None:
    reader = PageReader(target, holder=lambda name: None)
    assert reader.look(ControlState()) is not None
    keep_said(target.database, "night", [{"row": 2, "round": 1, "verdict": "picked", "rating": 3}])

    delta = reader.look(ControlState())

    assert delta is not None
    assert delta.text is not None
    told = json.loads(delta.text)
    assert delta.rows == (2,)
    assert [each[:4] for each in told["picks"]] == [[0, "picked", 3, ""]]
    assert reader.look(ControlState()) is None
    reader.close()


@pytest.mark.anyio
async def test_the_page_says_it_and_nobody_else_may(target: Target) -> None:
    reader = PageReader(target, holder=lambda name: None)
    app = live_app(
        Feed(reader),
        title="night",
        token="secret",
        hosts=frozenset({"127.0.0.1:8000"}),
        keep_picks=lambda said: keep_said(target.database, "night", said),
    )
    own = {"origin": "http://127.0.0.1:8000"}
    said = {"picks": [{"row": 1, "round": 1, "verdict": "rejected", "word": "dark"}]}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        with anyio.fail_after(20):
            assert (await client.post("/t/secret/picks", json=said, headers=own)).status_code == 200
            assert (await client.post("/t/secret/picks", json=said)).status_code == 403
            evil = {"origin": "https://evil.example"}
            assert (await client.post("/t/secret/picks", json=said, headers=evil)).status_code == 403
            assert (await client.post("/t/wrong/picks", json=said, headers=own)).status_code == 404
            wrongs: list[object] = [
                [],
                {"picks": 1},
                {"picks": [1]},
                {"picks": [{}]},
                {"picks": [{"row": "x", "round": 1}]},
                {"picks": [{"row": 1, "round": 1, "verdict": "maybe"}]},
                {"picks": [{"row": 1, "round": 1, "rating": 6}]},
            ]
            for wrong in wrongs:
                answer = await client.post("/t/secret/picks", json=wrong, headers=own)
                assert answer.status_code == 400, wrong
    reader.close()

    file = StateFile.open_readonly(target.folder / "runner.db")
    assert picks.of_jobs(file.conn, "night") == {"a": Pick(verdict=Opinion.REJECTED, word="dark")}
    file.close()
