"""Paths that lead to no file: the file that was meant, and how its name differs."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from runner.manifest.near_files import nearby
from runner.manifest.reference_files import DiskReferences
from tests.manifest_reading import HEAD, load

CAFE = "assets/" + unicodedata.normalize("NFD", "café.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("assets/new/take.png", "assets/01.png", "assets/Hero.PNG", "assets/blank.png ", CAFE, "a/a"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("assets\new\take.png", "write `/` in paths, not a backslash: assets/new/take.png"),
        (r"assets\new\take.png", "write `/` in paths, not a backslash: assets/new/take.png"),
        ("assets\x001.png", "write `/` in paths, not a backslash: assets/01.png"),
        ("assets/new\take.jpg", "write `/` in paths, not a backslash; did you mean assets/new/take.png?"),
        (r"C:\nowhere\x.png", "write `/` in paths, not a backslash"),
        ("assets/hero.png", 'there is "assets/Hero.PNG", which differs in capital letters'),
        ("ASSETS/New/take.png", 'there is "assets/new/take.png", which differs in capital letters'),
        ("assets/blank.png", 'there is "assets/blank.png ", which differs in a space at its end'),
        ("assets/new/take.png ", 'there is "assets/new/take.png", which differs in a space at its end'),
        (
            "assets/café.png",
            'there is "assets/cafe\\u0301.png", which differs in its Unicode form'
            " (letters with accents as one character, or as two)",
        ),
        ("assets/hero.jpg", "did you mean assets/Hero.PNG?"),
        ("a/b", ""),
        ("nowhere/take.png", ""),
        ("asset/01.png", "did you mean assets/01.png?"),
        ("assets/mew/take.png", "did you mean assets/new/take.png?"),
        ("asset/02.png", ""),
        ("assets.png", ""),  # a folder is no file
        ("~/take.png", "`~` is not expanded; write the whole path"),
    ],
)
def test_a_path_to_no_file_gets_the_hint_that_mends_it(folder: Path, written: str, hint: str) -> None:
    assert hint == nearby(folder, written)


def test_the_hint_is_there_for_references_and_for_files_of_rows(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "take.csv").write_text("sku\na\n")
    loaded = load(
        tmp_path,
        HEAD
        + 'jobs:\n- {id: a, references: ["new\\take.csv"]}\n- {id: "${row.sku}", rows: "new\\take.csv"}\n',
        pictures=DiskReferences(),  # type: ignore[arg-type]
    )

    assert loaded.codes == ["reference-missing", "file-not-found"]
    assert all(
        "write `/` in paths, not a backslash: new/take.csv" in problem.hint for problem in loaded.problems
    )


def test_a_column_in_another_unicode_form_is_told(tmp_path: Path) -> None:
    text = HEAD + 'jobs:\n- {id: "a-${row.n}", prompt: "${row.café}", rows: rows.csv}\n'
    loaded = load(tmp_path, text, {"rows.csv": unicodedata.normalize("NFD", "n,café\n1,x\n")})

    assert "differs in its Unicode form" in loaded.only("unknown-name").hint


@pytest.mark.parametrize("leads_to", ["hero.png", "nowhere.png", "round.png"])
def test_a_link_to_nowhere_is_not_taken_for_a_file_that_was_meant(tmp_path: Path, leads_to: str) -> None:
    (tmp_path / "hero.png").symlink_to(leads_to)
    (tmp_path / "round.png").symlink_to("hero.png")

    loaded = load(
        tmp_path,
        HEAD + "jobs:\n- {id: a, prompt: a, references: [hero.png]}\n",
        pictures=DiskReferences(),  # type: ignore[arg-type]
    )

    assert loaded.codes == ["reference-missing"]
    assert "hero.png" in loaded.problems[0].what
    assert "did you mean" not in loaded.problems[0].hint
