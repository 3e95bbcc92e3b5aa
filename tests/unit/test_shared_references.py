"""Input files kept by their content beside the results: for machines that have not got them, and proven when read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.host.drives import DriveAway
from runner.manifest.reference_files import DiskReferences, ReferenceChanged, ReferenceMissing, open_verified
from runner.manifest.references import ReferenceProblem
from runner.model import Kind, Reference, Sha256
from runner.results.files import OutputFolder
from runner.results.shared_references import SharedReferences
from tests import buckets
from tests.buckets import ROOT, Flaky, generic

flaky = buckets.flaky
DATA = b"\x89PNG and more"


def reference(data: bytes = DATA, file: Path = Path("/nonexistent/a.png")) -> Reference:
    return Reference(
        path="assets/a.png",
        file=file,
        kind=Kind.IMAGE,
        mime="image/png",
        size_bytes=len(data),
        sha256=Sha256(hashlib.sha256(data).hexdigest()),
    )


@pytest.fixture(params=["folder", "bucket"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SharedReferences]:
    root = tmp_path / "out"
    if request.param == "bucket":
        request.getfixturevalue("flaky")
        return lambda: SharedReferences(ROOT)
    return lambda: SharedReferences(root)


def test_what_one_machine_has_another_sends(shared: Callable[[], SharedReferences]) -> None:
    mine, other = shared(), shared()
    assert not mine.has(reference().sha256)

    mine.keep(reference(), io.BytesIO(DATA))
    mine.keep(reference(), io.BytesIO(DATA))

    assert mine.has(reference().sha256)
    assert other.has(reference().sha256)
    with open_verified(reference(), other) as content:
        assert content.read() == DATA


def test_a_file_that_is_here_is_not_looked_for_elsewhere(
    shared: Callable[[], SharedReferences], tmp_path: Path
) -> None:
    """And one that was changed is not sent, whatever is kept of what it was."""
    store = shared()
    store.keep(reference(), io.BytesIO(DATA))
    here = tmp_path / "a.png"
    here.write_bytes(DATA[::-1])

    with pytest.raises(ReferenceChanged):
        open_verified(reference(file=here), store)


def test_what_is_nowhere_is_missing(shared: Callable[[], SharedReferences]) -> None:
    with pytest.raises(ReferenceMissing, match=r"assets/a.png does not exist"):
        open_verified(reference(), shared())


def test_what_was_spoilt_there_is_not_sent(flaky: Flaky) -> None:
    flaky.put_as_somebody(f"night/.references/{reference().sha256}", DATA[::-1])

    with pytest.raises(ReferenceChanged):
        open_verified(reference(), SharedReferences(ROOT))


def test_a_bucket_that_is_away_is_no_reason_to_take_a_file_for_missing(flaky: Flaky) -> None:
    flaky.fails["get"] = [generic("HTTP error: error sending request")]

    with pytest.raises(DriveAway, match="cannot be reached"):
        open_verified(reference(), SharedReferences(ROOT))


def test_a_path_with_nothing_at_it_is_what_another_machine_had_there(tmp_path: Path) -> None:
    here = DiskReferences(elsewhere=lambda text: reference() if text == "assets/a.png" else None)

    assert here.read(tmp_path, "assets/a.png") == reference()
    assert isinstance(here.read(tmp_path, "assets/b.png"), ReferenceProblem)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/a.png").write_bytes(b"")
    assert isinstance(here.read(tmp_path, "assets/a.png"), ReferenceProblem)  # it is there, and empty


def test_half_of_a_copy_that_a_kill_has_left_goes_at_the_end_of_a_run(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "out")
    shared = SharedReferences(folder.root)
    shared.keep(reference(), io.BytesIO(DATA))
    half = tmp_path / "out/.references/.abc.new"
    half.write_bytes(b"hal")

    folder.clean_parts()

    assert [each.name for each in half.parent.iterdir()] == [reference().sha256]
