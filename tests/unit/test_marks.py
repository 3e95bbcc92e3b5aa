"""What an earlier run has written down of its payments, held against a database that may be older or new."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from runner.api.plans.missing_payments import Missing, find_missing
from runner.store import ledger
from runner.store.copies import knows
from runner.store.marks import Mark, Marks, PaymentsBegun
from runner.store.sqlite import StateFile
from tests.world import NAME, World, accepted, job

SERVICE = "https://rivya.ai"
AT = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class OnDisk:
    """As much of a sidecar as matters here."""

    task_id: str


@pytest.fixture
async def world() -> World:
    """Three payments of `autumn` were begun, and accepted as t1, t2, t3."""
    world = World.of(*(job(name) for name in "abcd"))
    cast("Any", world.file).created = False
    for number, name in enumerate("abc", start=1):
        await world.submits(name, accepted(f"t{number}"))
    return world


def missing(
    world: World | None, tmp_path: Path, *marks: Mark, adopted: tuple[str, ...] = (), base_url: str = SERVICE
) -> Missing | None:
    file = world.file if world is not None else StateFile.in_memory()
    return find_missing(
        Marks(tmp_path / "runner.db", tmp_path, NAME),
        marks,
        file,
        database=tmp_path / "runner.db",
        manifest=NAME,
        base_url=base_url,
        adopted=cast("Any", [OnDisk(task_id) for task_id in adopted]),
    )


def mark(row: int, number: int, task_id: str | None, base_url: str = SERVICE) -> Mark:
    return Mark(
        manifest=NAME,
        base_url=base_url,
        database="/films/state/runner.db",
        begun=PaymentsBegun(row=row, number=number, task_id=task_id),
        at=AT,
    )


pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("marks", "adopted", "number"),
    [
        ([], (), None),
        ([mark(3, 3, "t3")], (), None),
        ([mark(2, 2, "t1")], (), None),  # a mark may lag behind what is committed
        ([mark(3, 3, None)], (), None),  # nothing was answered yet
        ([mark(5, 5, "t5")], (), 2),
        ([mark(5, 5, "t3")], (), 2),  # what was begun last was not answered yet
        ([mark(5, 5, "t5")], ("t4",), 1),
        ([mark(5, 5, "t5")], ("t4", "t5"), None),
        ([mark(9, 3, "t3")], (), None),  # the rows that are missing are another manifest's
        ([mark(3, 3, "other")], (), 1),  # as many payments, and others: of another machine
        ([mark(3, 3, "other")], ("other",), None),
        ([mark(3, 3, "t3"), mark(6, 6, "t6")], (), 3),
        ([mark(6, 6, "t6"), mark(4, 4, "t4")], (), 3),
        ([mark(6, 6, "t6", "https://other.example")], (), None),
    ],
)
async def test_how_many_payments_are_missing(
    world: World, tmp_path: Path, marks: list[Mark], adopted: tuple[str, ...], number: int | None
) -> None:
    found = missing(world, tmp_path, *marks, adopted=adopted)

    assert (found.number if found is not None else None) == number
    if found is not None:
        assert not found.lost
        assert "is older than the last run of autumn" in found.in_words()


async def test_a_new_database_where_there_was_one_is_a_lost_one(tmp_path: Path) -> None:
    found = missing(None, tmp_path, mark(30, 30, "t30"), adopted=("t1", "t2"))

    assert found is not None
    assert (found.number, found.lost) == (28, True)
    assert "autumn was run before: 30 payments" in found.in_words()
    assert "/films/state/runner.db) is gone" in found.in_words()
    assert "name the right one with --state (it was /films/state/runner.db)" in found.way_out()
    assert "--may-pay-twice" in found.error().hint


async def test_what_is_written_down_is_read_again_and_counts_only_what_is_new(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    marks = Marks(tmp_path / "runner.db", tmp_path / "out", NAME)
    first = ledger.begun(world.file.conn, NAME, None)
    marks.write(first, base_url=SERVICE, at=AT)
    await world.submits("d", accepted("t4"))

    then = ledger.begun(world.file.conn, NAME, marks.last)

    assert first == PaymentsBegun(row=3, number=3, task_id="t3")
    assert then == PaymentsBegun(row=4, number=4, task_id="t4")
    assert [found.begun for found in marks.read()] == [first, first]
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "runner.db.autumn.mark",
        "autumn.json",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 200,
        b"{",
        b"[]",
        b"null",
        b'{"rivya_batch_mark": 2}',
        b'{"rivya_batch_mark": 1, "manifest": "x"}',
    ],
)
async def test_a_mark_that_cannot_be_read_is_none(content: bytes, tmp_path: Path) -> None:
    """A power cut may leave it empty: it lags behind then, and raises no false alarm."""
    (tmp_path / "runner.db.autumn.mark").write_bytes(content)

    assert Marks(tmp_path / "runner.db", tmp_path / "out", NAME).read() == []


async def test_a_place_that_cannot_be_written_is_left(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be", encoding="utf-8")
    marks = Marks(tmp_path / "runner.db", tmp_path / "out", NAME)

    marks.write(PaymentsBegun(row=1, number=1, task_id="t1"), base_url=SERVICE, at=AT)

    assert len(marks.read()) == 1


async def test_the_copy_that_knows_of_all_is_found_among_others(tmp_path: Path) -> None:
    for name, row in (("runner.db.before-20260101T000000Z", 1), ("runner (1).db", 2)):
        file = StateFile.open(tmp_path / name)
        file.conn.execute("PRAGMA foreign_keys = OFF")
        for number in range(1, row + 1):
            file.conn.execute(
                "INSERT INTO ledger (job, manifest, round, model, shape, base_url, state, estimated, basis, amount,"
                " task_id, opened_at, minute) VALUES (?, ?, 1, '', '', ?, 'charged', 1, 'listed', 1, ?, '', 1)",
                (number, NAME, SERVICE, f"t{number}"),
            )
        file.close()

    found = missing(None, tmp_path, mark(2, 2, "t2"))

    assert found is not None
    assert "a complete copy is beside it" in found.way_out()
    assert "runner (1).db" in found.way_out()
    assert not knows(tmp_path / "runner (1).db", PaymentsBegun(row=3, number=3, task_id="t2"))
