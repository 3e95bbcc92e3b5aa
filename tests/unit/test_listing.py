"""When the rows of a manifest are taken for its jobs, and when it is expanded again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import runner
from runner.api.manifests import listing
from runner.api.manifests.expansion import Prices, stage
from runner.api.manifests.opened import read_manifest
from runner.model import Opinion, PickChange, State
from runner.store import diff, jobs, manifests, needs, picks, staging
from runner.store.listings import ListingSource
from runner.store.sqlite import StateFile
from tests.staged import put

MANIFEST = """version: 1
name: listed
model: grok-imagine-video
jobs:
  - {id: one, prompt: A bottle}
  - {id: "row-${row.n}", rows: rows.csv, prompt: "Bottle ${row.n}"}
"""
CHOOSING = """version: 1
name: listed
model: grok-imagine-video
jobs:
  - {id: take, model: z-image, prompt: A bottle, repeat: 2}
  - {id: film, prompt: A turn, references: [{job: take, pick: true}]}
"""
NOW = "2026-01-01T00:00:00.000Z"
SERVICE = "https://rivya.ai"
PACKAGE = Path(runner.__file__).parent


class Place:
    """A manifest, its rows, its database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / "listed.yaml"
        self.rows = folder / "rows.csv"
        self.manifest.write_text(MANIFEST, encoding="utf-8")
        self.rows.write_text("n\n1\n2\n", encoding="utf-8")
        self.file = StateFile.open(folder / "state" / "runner.db")
        self.source: ListingSource | None = None

    def stage(self) -> bool:
        """Stage the manifest; return whether that was done from the rows."""
        opened = read_manifest(self.manifest, state=None, sandbox=False, file=self.file)
        self.source = stage(opened, self.file, Prices(opened, self.file, SERVICE))
        return staging.is_restaged(self.file.conn)

    def apply(self) -> None:
        """Stage the manifest and apply it."""
        self.stage()
        with self.file.transaction() as conn:
            manifests.bind(
                conn,
                name="listed",
                path=str(self.manifest),
                base_url=SERVICE,
                key12="0",
                output_dir="out",
                now=NOW,
            )
            staging.apply(conn, "listed", NOW, source=self.source)

    def set(self, job: str, **columns: Any) -> None:
        """Change a job's row."""
        with self.file.transaction() as conn:
            found = jobs.find(conn, "listed", job)[0]
            put(conn, found, columns.pop("state", found.state), **columns)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.file.close()


def test_what_was_applied_is_not_expanded_again(place: Place) -> None:
    assert not place.stage()
    assert not place.stage(), "nothing was applied yet"
    place.apply()

    assert place.stage()

    assert diff.summary(place.file.conn, "listed") == {"planned": 3, "orphaned": 0}
    place.apply()
    assert place.stage()


def test_a_result_found_on_the_disk_is_taken_over_without_an_expansion(place: Place) -> None:
    place.apply()
    assert place.stage()
    conn = place.file.conn

    staging.adopt(conn, [1])

    assert diff.summary(conn, "listed") == {"planned": 2, "done": 1, "orphaned": 0}
    assert [position for position, *_ in diff.candidates(conn)] == [0, 2]
    assert diff.to_spend(conn)["listed"][0] == 2
    with place.file.transaction():
        done = staging.apply(conn, "listed", NOW, source=place.source)
        assert jobs.get(conn, staging.row_at(conn, "listed", 1)).id == "row-1"
    assert (done.inserted, done.dropped, done.renamed) == (0, 0, ())
    assert place.stage(), "what the jobs were read from is still known"


def test_another_contract_is_a_reason_to_expand(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.apply()

    monkeypatch.setattr(listing, "contracts_sha256", lambda *_, **__: "another")

    assert not place.stage()


def test_a_list_of_models_that_was_synced_is_a_reason_to_expand(place: Place) -> None:
    place.apply()

    (place.folder / "state" / "models.json").write_text('{"document": []}', encoding="utf-8")

    assert not place.stage()


def test_another_program_is_a_reason_to_expand(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.apply()

    monkeypatch.setattr(listing, "_program", lambda: "another")

    assert not place.stage()


def test_another_folder_is_a_reason_to_expand(place: Place, tmp_path: Path) -> None:
    place.apply()
    for path in (place.manifest, place.rows):
        (tmp_path / "moved").mkdir(exist_ok=True)
        path.rename(tmp_path / "moved" / path.name)
    place.manifest = tmp_path / "moved" / place.manifest.name

    assert not place.stage()


def test_a_row_taken_out_by_hand_is_a_reason_to_expand(place: Place) -> None:
    place.apply()
    with place.file.transaction() as conn:
        conn.execute("DELETE FROM jobs WHERE job = 'one'")

    assert not place.stage()

    assert diff.summary(place.file.conn, "listed") == {"new": 1, "planned": 2, "orphaned": 0}


def test_rows_that_change_while_they_are_read_are_not_trusted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = staging.stage

    def stage_slowly(*arguments: Any, **more: Any) -> int:
        found = at_once(*arguments, **more)
        place.rows.write_text("n\n1\n2\n3\n", encoding="utf-8")
        return found

    monkeypatch.setattr(staging, "stage", stage_slowly)
    place.apply()
    place.rows.write_text("n\n1\n2\n", encoding="utf-8")

    assert not place.stage()


def test_what_has_to_be_warned_of_is_read_each_time(place: Place) -> None:
    place.manifest.write_text(MANIFEST + "  - {id: twin, prompt: A bottle}\n", encoding="utf-8")
    place.apply()

    assert not place.stage()


@pytest.mark.parametrize(("state", "expanded"), [("waiting", True), ("done", False), ("planned", False)])
def test_a_payment_under_way_keeps_its_shape_and_is_held_against_its_manifest(
    place: Place, state: str, expanded: bool
) -> None:
    place.apply()
    place.set("one", state=state, shape="of another day")
    place.manifest.write_text(MANIFEST + "# edited\n", encoding="utf-8")
    place.apply()

    (one,) = jobs.find(place.file.conn, "listed", "one")
    assert (one.shape == "of another day") is expanded
    assert place.stage() is not expanded


def test_all_code_that_has_a_part_in_an_expansion_is_part_of_its_basis() -> None:
    """Another program may make other jobs; so may any module the manifest, contracts and prices stand on."""
    counted = set(listing.program_files())
    seen: set[Path] = set()
    starts = ("manifest", "manifest.reference_files", "contract", "money.pricing", "schemas")
    to_look_at = {_file(f"runner.{name}") for name in starts}
    assert None not in to_look_at
    while to_look_at:
        path = to_look_at.pop()
        if path is None or path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("runner"):
                if node.module == "runner.store.postgres":
                    continue  # whether a server has the tables: asked of a database, and of no manifest
                to_look_at |= {
                    _file(node.module),
                    *(_file(f"{node.module}.{name.name}") for name in node.names),
                }

    assert seen - counted == set()
    assert PACKAGE / "manifest" / "expansion.py" in seen


def _file(module: str) -> Path | None:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def test_what_is_picked_while_the_jobs_are_read_is_seen_the_next_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.manifest.write_text(CHOOSING, encoding="utf-8")
    place.apply()
    place.set("take-2", state=State.DONE)
    priced = Prices.of

    def picked_meanwhile(prices: Prices, spec: Any, shape: str) -> Any:
        if spec.id == "film":  # what was picked is known by now
            row = jobs.find(place.file.conn, "listed", "take-2")[0].row
            path = place.folder / "state" / "runner.db"
            with closing(StateFile.open(path)) as other, other.transaction() as conn:
                picks.put(conn, "listed", {(row, 1): PickChange(verdict=Opinion.PICKED)}, NOW)
        return priced(prices, spec, shape)

    place.manifest.write_text(f"{CHOOSING}  - {{id: more, prompt: More}}\n", encoding="utf-8")
    monkeypatch.setattr(Prices, "of", picked_meanwhile)
    place.apply()
    monkeypatch.undo()

    assert not place.stage()
    (needed,) = needs.staged(place.file.conn)
    assert not needed.need.undecided
