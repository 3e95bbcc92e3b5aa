"""Sidecars: what they say, what they prove, and that nothing broken can harm or be believed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.model import Artifact, Fingerprint, JobId, Kind, ModelId, Reference, Sha256, TaskId
from runner.results import sidecar as sidecars
from runner.results.files import OutputFolder
from runner.results.sidecar import Sidecar, SidecarIndex, find_adoptable, references_of

WHO = {"manifest": "autumn", "job": "hero", "fingerprint": "fp1:aa", "base_url": "https://rivya.ai"}


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    return OutputFolder(tmp_path / "out")


def artifact(path: Path, data: bytes, number: int = 1) -> Artifact:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    sha256 = Sha256(hashlib.sha256(data).hexdigest())
    return Artifact(number=number, path=path, sha256=sha256, size_bytes=len(data), mime="video/mp4")


def finished(folder: OutputFolder, stem: str = "hero", **changes: Any) -> Sidecar:
    made = Sidecar(
        manifest="autumn",
        job=JobId("hero"),
        fingerprint=Fingerprint("fp1:aa"),
        round=2,
        key="rb1-key",
        base_url="https://rivya.ai",
        sandbox=False,
        model=ModelId("grok-imagine-video"),
        prompt='a bottle; "quoted", 🍾 \x1b[31m',
        params={"aspect_ratio": "16:9", "duration": 6, "nested": [1, {"x": None}]},
        references=references_of(
            (
                Reference(
                    path="assets/a.png",
                    file=Path("/w/assets/a.png"),
                    kind=Kind.IMAGE,
                    mime="image/png",
                    size_bytes=3,
                    sha256=Sha256("b" * 64),
                ),
            )
        ),
        task_id=TaskId("task_1"),
        reserved_credits=12.5,
        final_credits=12.0,
        artifacts=(artifact(folder.path_of(stem, 1, "mp4"), b"film"),),
        submitted_at="2026-11-22T18:00:00.000Z",
        finished_at="2026-11-22T18:01:00.000Z",
    )
    return replace(made, **changes)


def test_what_is_written_is_read_back(folder: OutputFolder) -> None:
    wanted = finished(folder, "shots/hero")

    path = sidecars.write(folder, "shots/hero", wanted)

    assert path == folder.root / "shots/hero.json"
    assert sidecars.read(path) == wanted
    assert sorted(item.name for item in path.parent.iterdir()) == ["hero.json", "hero.mp4"]


def test_a_sidecar_is_readable_by_others(folder: OutputFolder) -> None:
    path = sidecars.write(folder, "hero", finished(folder))

    data = json.loads(path.read_text(encoding="utf-8"))

    assert data["rivya_batch_sidecar"] == 1
    assert data["job"] == "hero"
    assert data["credits"] == {"reserved": 12.5, "final": 12.0}
    assert data["artifacts"] == [
        {
            "index": 1,
            "path": "hero.mp4",
            "sha256": hashlib.sha256(b"film").hexdigest(),
            "size_bytes": 4,
            "mime": "video/mp4",
        }
    ]
    assert "🍾" in path.read_text(encoding="utf-8")


def test_a_finished_folder_may_be_moved_as_a_whole(folder: OutputFolder, tmp_path: Path) -> None:
    sidecars.write(folder, "hero", finished(folder))
    folder.root.rename(tmp_path / "archive")

    found = SidecarIndex(tmp_path / "archive").find_adoptable("hero", **WHO)

    assert found is not None
    assert found.files()[0].path == tmp_path / "archive" / "hero.mp4"


def test_a_matching_sidecar_is_adopted(folder: OutputFolder) -> None:
    wanted = finished(folder, "deep/er/hero")
    path = sidecars.write(folder, "deep/er/hero", wanted)

    assert find_adoptable(path, **WHO) == wanted
    assert SidecarIndex(folder.root).find_adoptable("deep/er/hero", **WHO) == wanted


@pytest.mark.parametrize(
    "other",
    [
        {"manifest": "winter"},
        {"job": "villain"},
        {"fingerprint": "fp1:bb"},
        {"base_url": "http://127.0.0.1:8000"},
    ],
)
def test_a_sidecar_of_something_else_is_not_adopted(folder: OutputFolder, other: dict[str, str]) -> None:
    sidecars.write(folder, "hero", finished(folder))

    assert SidecarIndex(folder.root).find_adoptable("hero", **{**WHO, **other}) is None


def test_a_sidecar_of_the_sandbox_is_not_adopted(folder: OutputFolder) -> None:
    sidecars.write(folder, "hero", finished(folder, sandbox=True))

    assert SidecarIndex(folder.root).find_adoptable("hero", **WHO) is None


@pytest.mark.parametrize("harm", ["gone", "cut", "changed", "folder"])
def test_a_sidecar_without_its_whole_files_is_not_adopted(folder: OutputFolder, harm: str) -> None:
    first = finished(folder)
    second = artifact(folder.path_of("hero", 2, "mp4"), b"more", 2)
    sidecars.write(folder, "hero", replace(first, artifacts=(*first.artifacts, second)))
    assert SidecarIndex(folder.root).find_adoptable("hero", **WHO) is not None
    match harm:
        case "gone":
            second.path.unlink()
        case "cut":
            second.path.write_bytes(b"mor")
        case "changed":
            second.path.write_bytes(b"mire")
        case "folder":
            second.path.unlink()
            second.path.mkdir()

    assert SidecarIndex(folder.root).find_adoptable("hero", **WHO) is None


def test_a_sidecar_without_files_proves_nothing(folder: OutputFolder) -> None:
    sidecars.write(folder, "hero", finished(folder, artifacts=()))

    assert SidecarIndex(folder.root).find_adoptable("hero", **WHO) is None


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert SidecarIndex(tmp_path / "nowhere").find_adoptable("a/b", **WHO) is None


def change(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: {**data, **changes}


def escape(path: str) -> Callable[[dict[str, Any]], Any]:
    return lambda data: {**data, "artifacts": [{**data["artifacts"][0], "path": path}]}


@pytest.mark.parametrize(
    "spoil",
    [
        *(lambda data, name=name: {key: data[key] for key in data if key != name} for name in
          ("rivya_batch_sidecar", "manifest", "job", "fingerprint", "round", "key", "base_url", "sandbox", "model",
           "prompt", "params", "references", "task_id", "credits", "artifacts", "submitted_at", "finished_at")),
        change(rivya_batch_sidecar=2),
        change(sandbox="no"),
        change(sandbox=None),
        change(manifest=None),
        change(round="1"),
        change(credits=[]),
        change(credits={"reserved": 10**400, "final": 0}),
        change(params=3),
        change(artifacts={}),
        change(artifacts=[None]),
        change(task_id=7),
        escape("../hero.mp4"),
        escape("/etc/passwd"),
        escape("a\0b"),
        escape(".."),
        escape(""),
        lambda data: [data],
        lambda data: None,
        lambda data: "text",
    ],
)  # fmt: skip
def test_a_malformed_sidecar_is_ignored(folder: OutputFolder, spoil: Callable[[Any], Any]) -> None:
    path = sidecars.write(folder, "hero", finished(folder))
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))

    assert SidecarIndex(folder.root).find_adoptable("hero", **WHO) is None


def test_a_sidecar_speaks_only_of_files_beside_it(folder: OutputFolder) -> None:
    """Even where the right content stands elsewhere."""
    path = sidecars.write(folder, "deep/hero", finished(folder, "deep/hero"))
    (folder.root / "hero.mp4").write_bytes(b"film")
    data = json.loads(path.read_text())
    data["artifacts"][0]["path"] = "../hero.mp4"
    path.write_text(json.dumps(data))

    assert find_adoptable(path, **WHO) is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe\0", b"[" * 200_000, b'{"a": ' * 5000, b" " * 4_000_001]
)
def test_a_file_that_is_no_json_is_ignored(folder: OutputFolder, data: bytes) -> None:
    folder.root.mkdir()
    (folder.root / "hero.json").write_bytes(data)

    assert SidecarIndex(folder.root).find_adoptable("hero", **WHO) is None


def test_a_pipe_or_a_folder_in_its_place_is_ignored(folder: OutputFolder) -> None:
    folder.root.mkdir()
    os.mkfifo(folder.root / "hero.json")
    (folder.root / "b.json").mkdir()

    index = SidecarIndex(folder.root)

    assert index.find_adoptable("hero", **WHO) is None
    assert index.find_adoptable("b", **WHO) is None


def test_rewriting_a_jobs_own_sidecar_leaves_no_old_one(folder: OutputFolder) -> None:
    sidecars.write(folder, "hero", finished(folder))
    sidecars.write(folder, "hero", finished(folder, round=3))

    assert not (folder.root / ".old").exists()
    assert sidecars.read(folder.root / "hero.json") == finished(folder, round=3)


def test_somebody_elses_file_of_that_name_is_kept(folder: OutputFolder) -> None:
    folder.root.mkdir()
    (folder.root / "hero.json").write_text('{"mine": true}')

    sidecars.write(folder, "hero", finished(folder))

    assert (folder.root / ".old" / "hero.1.json").read_text() == '{"mine": true}'


def test_a_sidecar_whose_files_moved_away_is_replaced(folder: OutputFolder) -> None:
    """Two jobs have swapped names: neither old sidecar describes anything any more."""
    sidecars.write(folder, "hero", finished(folder))
    folder.path_of("hero", 1, "mp4").write_bytes(b"another film")
    taken_over = finished(folder, job=JobId("villain"), fingerprint=Fingerprint("fp1:bb"))

    sidecars.write(folder, "hero", taken_over)

    assert sidecars.read(folder.root / "hero.json") == taken_over


def test_a_sidecar_is_dropped_only_when_its_files_are_gone(folder: OutputFolder) -> None:
    path = sidecars.write(folder, "hero", finished(folder))

    sidecars.drop(folder, "hero")
    assert path.exists()
    folder.path_of("hero", 1, "mp4").unlink()
    sidecars.drop(folder, "hero")
    assert not path.exists()

    path.write_text("somebody else's")
    sidecars.drop(folder, "hero")
    assert path.exists()


def test_a_prompt_that_is_no_unicode_still_has_its_sidecar(folder: OutputFolder) -> None:
    path = sidecars.write(folder, "hero", finished(folder, prompt="half a pair: \ud83c"))

    assert SidecarIndex(folder.root).find_adoptable("hero", **WHO) is not None
    assert path.read_bytes().decode("utf-8")


def test_a_gap_is_said_until_a_person_closes_it(folder: OutputFolder) -> None:
    """What is missing is asked for again by whoever takes the files over; what was accepted is not."""
    made = finished(folder)
    one = replace(made.artifacts[0], warning="odd")
    sidecars.write(folder, "hero", replace(made, artifacts=(one,), missing=(2, 4)))
    found = find_adoptable(folder.sidecar_path("hero"), **WHO)
    assert found is not None
    assert (found.missing, found.artifacts[0].warning) == ((2, 4), "odd")

    sidecars.close_gap(one, [replace(one, warning="odd; accepted")])

    after = find_adoptable(folder.sidecar_path("hero"), **WHO)
    assert after is not None
    assert (after.missing, after.artifacts[0].warning) == ((), "odd; accepted")


def test_whose_results_stand_at_a_place_is_seen_on_the_way(folder: OutputFolder) -> None:
    sidecars.write(folder, "hero", finished(folder))
    index = SidecarIndex(folder.root)

    found = [index.find_adoptable(stem, **{**WHO, "manifest": "winter"}) for stem in ("hero", "other")]

    assert found == [None, None]
    assert index.others == {"autumn": ["hero"]}


def test_the_names_of_results_and_sidecar_are_on_the_disk_once_it_is_written(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, set[str]]] = []
    fsync = os.fsync

    def remember(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, {path.name for path in (folder.root / "a").iterdir()}))
        fsync(descriptor)

    made = replace(finished(folder, "a/hero"), artifacts=(artifact(folder.root / "a" / "hero.mp4", b"film"),))
    monkeypatch.setattr(os, "fsync", remember)

    sidecars.write(folder, "a/hero", made)

    assert synced[-1] == ((folder.root / "a").stat().st_ino, {"hero.mp4", "hero.json"})
