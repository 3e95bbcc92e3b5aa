"""runner/README.md leads a stranger to files, functions and folders that are there."""

from __future__ import annotations

import re

import pytest

from tests.package_source import top_entries
from tests.readme import MAP, ROOT

TEXT = MAP.read_text(encoding="utf-8")
PACKAGE = MAP.parent
QUOTED = sorted({*re.findall(r"`([^`\n]+)`", TEXT)})
FILES = [text for text in QUOTED if re.fullmatch(r"[\w/]+\.(py|typed)(:\w+)?", text)]
FOLDERS = [text for text in QUOTED if re.fullmatch(r"[\w/]+/", text)]


def test_each_entry_at_the_top_of_the_package_has_one_line_that_says_something() -> None:
    """The lines are generated: what has none begins without a word of what it is."""
    table = TEXT.partition("| at the top |")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([^`]+)` \| (.*\w.*) \|$", table, re.M)

    assert sorted([*(name for name, _ in told), "py.typed", MAP.name]) == top_entries()
    assert "`py.typed`" in TEXT


@pytest.mark.parametrize("named", FILES)
def test_each_file_and_name_is_there(named: str) -> None:
    name, _, inside = named.partition(":")
    file = next((place / name for place in (PACKAGE, ROOT) if (place / name).is_file()), None)

    assert file, f"{name} is not there"
    if inside:
        code = file.read_text(encoding="utf-8")
        assert re.search(rf"^(async def|def|class) {inside}\b", code, re.M), f"{file} has no {inside}"


@pytest.mark.parametrize("folder", ["results", "service"])
def test_the_page_of_a_folder_names_what_is_there(folder: str) -> None:
    page = PACKAGE / folder / "README.md"
    named = re.findall(r"`([\w/]+\.py)(?::(\w+))?`", page.read_text(encoding="utf-8"))

    assert named
    for name, inside in named:
        file = next(
            (place / name for place in (page.parent, PACKAGE, ROOT) if (place / name).is_file()), None
        )
        assert file, f"{name} is not there"
        assert not inside or re.search(rf"^(class|def) {inside}\b", file.read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("named", FOLDERS)
def test_each_folder_is_there(named: str) -> None:
    assert (PACKAGE / named).is_dir() or (ROOT / named).is_dir()


def test_what_the_figure_names_is_there() -> None:
    figures = "".join(re.findall(r"```text\n(.*?)```", TEXT.partition("## The floors")[0], re.S))
    named = re.findall(r"\b[\w/]+\.py\b", figures)

    assert named
    assert not [name for name in named if not (PACKAGE / name).is_file()]


def test_the_map_is_short_and_no_word_is_explained_twice() -> None:
    words = re.findall(r"^\| ([^|`]+) \|", TEXT.partition("\n## Words\n")[2], re.M)[2:]

    assert len(TEXT.splitlines()) < 200
    assert words == sorted(words, key=str.lower)
    assert len(words) == len(set(words)) >= 20
