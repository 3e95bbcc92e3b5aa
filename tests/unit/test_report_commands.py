"""`report` and `export` as typed, in this process; and the page a run writes at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.api.report import write_report_for
from runner.cli import invoke
from runner.manifest import open_manifest
from runner.manifest.reference_files import DiskReferences
from runner.model import Settings
from runner.schemas import load_contracts
from runner.store.sqlite import StateFile
from tests.report_rows import Row, add, new_state

MANIFEST = """\
version: 1
name: night
model: grok-imagine-video
jobs: [{id: a, prompt: a lighthouse}]
"""


@pytest.fixture
def manifest(workspace: Path) -> Path:
    path = workspace / "night.yaml"
    path.write_text(MANIFEST, encoding="utf-8")
    return path


@pytest.fixture
def state(manifest: Path) -> Iterator[StateFile]:
    file = new_state(
        manifest.parent / "state" / "runner.db",
        manifest="night",
        manifest_path=manifest,
        output_dir=manifest.parent / "out" / "night",
    )
    add(file, "night", [Row(id="a"), Row(id="b", state="failed", error=("policy", "x", "refused"))])
    yield file
    file.close()


@pytest.fixture
def settings(manifest: Path) -> Settings:
    opened = open_manifest(
        manifest, contracts=load_contracts(), references=DiskReferences(), workspace=manifest.parent
    )
    assert opened.settings is not None
    return opened.settings


def test_report_says_where_the_page_is(
    state: StateFile, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["report", str(manifest)]) == 0
    path = Path(capsys.readouterr().out.strip())

    assert path == manifest.parent / "out" / "night" / "report.html"
    assert "rivya-batch" in path.read_text("utf-8")


def test_report_tells_programs_the_same(
    state: StateFile, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["report", str(manifest), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    path = Path(told["path"])
    assert (told["v"], told["type"], told["jobs"], told["counts"]) == (
        1,
        "report",
        2,
        {"done": 1, "failed": 1},
    )
    assert (told["size_bytes"], told["url"]) == (path.stat().st_size, path.as_uri())


@pytest.mark.parametrize("arguments", [["report"], ["export"], ["export", "--format", "m3u"]])
def test_before_anything_was_run_there_is_nothing_to_tell(
    manifest: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([*arguments, str(manifest)]) == 2
    assert "nothing has been run here yet" in capsys.readouterr().err
    assert [path.name for path in manifest.parent.iterdir() if path.name != "night.yaml"] == ["state"]


def test_export_writes_to_stdout_or_to_a_file(
    state: StateFile, manifest: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert invoke(["export", str(manifest), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert invoke(["export", str(manifest), "--format", "json", "--output", str(tmp_path / "rows.json")]) == 0

    assert [row["job"] for row in told] == ["a", "b"]
    assert json.loads((tmp_path / "rows.json").read_text("utf-8")) == told


def test_an_unknown_format_is_bad_usage(manifest: Path) -> None:
    assert invoke(["export", str(manifest), "--format", "xml"]) == 2


def test_a_run_leaves_a_page_that_names_its_commands(
    state: StateFile, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(settings.path.parent)

    path, _ = write_report_for(state, settings)

    assert path is not None
    assert "rivya-batch retry night.yaml --only {job}" in path.read_text("utf-8")


def test_another_database_is_named_in_the_commands(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(settings.path.parent)
    elsewhere = tmp_path / "elsewhere.db"
    file = new_state(elsewhere, manifest="night", manifest_path=settings.path, output_dir=settings.output_dir)

    path, _ = write_report_for(file, settings)
    file.close()

    assert path is not None
    assert f"rivya-batch run night.yaml --state {elsewhere}" in path.read_text("utf-8")


def test_a_page_that_cannot_be_written_fails_no_run(
    state: StateFile, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.output_dir.parent.mkdir(parents=True)
    settings.output_dir.write_text("a file where the folder should be")

    path, why = write_report_for(state, settings)

    assert path is None
    assert str(settings.output_dir) in why
    assert capsys.readouterr() == ("", "")


def test_a_table_in_a_file_is_one_that_excel_reads_and_in_a_pipe_one_without_a_mark(
    state: StateFile, manifest: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert invoke(["export", str(manifest)]) == 0
    piped = capfd.readouterr().out
    for format_name in ("csv", "jsonl"):
        file = tmp_path / f"rows.{format_name}"
        assert invoke(["export", str(manifest), "--format", format_name, "-o", str(file)]) == 0

    assert piped.startswith("manifest,job,")
    assert (tmp_path / "rows.csv").read_bytes() == b"\xef\xbb\xbf" + piped.encode()
    assert (tmp_path / "rows.jsonl").read_bytes().startswith(b"{")


@pytest.mark.parametrize(
    "command",
    ["status", "report", "export", "retry", "serve", "resolve --abandon"],
    ids=lambda each: each.split()[0],
)
def test_a_manifest_without_a_name_means_no_rows(
    state: StateFile, manifest: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(MANIFEST.replace("name: night\n", ""), encoding="utf-8")
    name, *more = command.split()

    assert invoke([name, str(manifest), *(["a"] if name == "resolve" else []), *more]) == 2
    assert "the manifest has no name" in capsys.readouterr().err
