"""What the shell is offered at a Tab."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import BashComplete, CompletionItem

from runner.cli import COMMANDS, cli
from tests.report_rows import Row, add, new_state


def offered(*words: str) -> list[CompletionItem]:
    """Return what is offered for the last word, behind the others."""
    *before, last = words
    return BashComplete(cli, {}, "rivya-batch", "_RIVYA_BATCH_COMPLETE").get_completions(before, last)


def values(*words: str) -> list[str]:
    return [item.value for item in offered(*words)]


@pytest.fixture(autouse=True)
def here(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    for name in ("night.yaml", "manifests/a.yaml", "manifests/b.yml", "manifests/notes.txt", ".hidden.yaml"):
        path = workspace / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("name: night\n", encoding="utf-8")
    return workspace


def known(workspace: Path, *rows: Row, path: str = "night.yaml") -> None:
    file = new_state(
        workspace / "state" / "runner.db",
        manifest="night",
        manifest_path=workspace / path,
        output_dir=workspace,
    )
    add(file, "night", rows)
    file.close()


def test_commands_and_options() -> None:
    assert values("") == list(COMMANDS)
    assert sorted(values("re")) == ["report", "resolve", "retry"]
    assert "--sandbox" in values("run", "--sa")
    assert values("export", "night.yaml", "--format", "x") == ["xspf"]


@pytest.mark.parametrize(
    "command", ["run", "plan", "validate", "status", "retry", "report", "serve", "export"]
)
def test_manifests_here_and_in_folders(command: str) -> None:
    assert values(command, "") == ["night.yaml", "manifests/a.yaml", "manifests/b.yml"]
    assert values(command, "man") == ["manifests/a.yaml", "manifests/b.yml"]
    assert values(command, "manifests/b") == ["manifests/b.yml"]
    assert values(command, "./ni") == ["./night.yaml"]


@pytest.mark.parametrize("word", ["nothing", "no/such/folder/", "state/"])
def test_where_there_is_no_manifest_the_shell_looks_for_files(word: str) -> None:
    assert [(item.type, item.value) for item in offered("run", word)] == [("file", word)]


def test_uncertain_jobs_are_offered_to_be_resolved(here: Path) -> None:
    known(here, Row(id="cat-1"), Row(id="cat-2", state="uncertain"), Row(id="dog", state="uncertain"))

    assert values("resolve", "night.yaml", "") == ["cat-2", "dog"]
    assert values("resolve", "night.yaml", "c") == ["cat-2"]
    assert offered("resolve", "night.yaml", "d")[0].help == "uncertain"


def test_other_jobs_are_offered_where_none_is_uncertain(here: Path) -> None:
    known(here, Row(id="cat_1"), Row(id="cat%2"), Row(id="gone", listed=False), path="moved.yaml")

    assert values("resolve", "night.yaml", "cat") == ["cat_1", "cat%2"]
    assert values("resolve", "night.yaml", "cat%") == ["cat%2"]
    assert values("resolve", "night.yaml", "g") == []


@pytest.mark.parametrize("manifest", ["night.yaml", "no-such.yaml", "manifests", "\0"])
def test_whatever_is_wrong_a_tab_says_nothing(
    here: Path, manifest: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "state" / "runner.db").write_bytes(b"no database at all, but long enough to look at" * 50)

    assert values("resolve", manifest, "c") == []
    assert capfd.readouterr() == ("", "")
