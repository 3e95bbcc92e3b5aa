"""Each example says what it is, is valid for an editor, and stays small. `e2e/test_examples.py` runs them."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from runner.manifest.yaml12 import read_yaml
from runner.schemas import read_schema

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
EXAMPLES = sorted(MANIFESTS.glob("*.yaml"))


def name(path: Path) -> str:
    return path.stem


def test_there_are_nine_and_the_readme_lists_them() -> None:
    listed = re.findall(r"^\| `(.+?\.yaml)` \|", (MANIFESTS / "README.md").read_text(encoding="utf-8"), re.M)

    assert len(listed) == 9
    assert listed == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_the_first_comment_says_what_how_and_how_it_ends(path: Path) -> None:
    comment = re.match(r"(?:#.*\n)+", path.read_text(encoding="utf-8"))

    assert comment
    assert comment[0].startswith("# yaml-language-server: $schema=../schemas/manifest.schema.json\n")
    assert f"rivya-batch run manifests/{path.name}" in comment[0]
    assert re.search(r"^#\s+exit:\s+\d", comment[0], re.M)


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_an_editor_finds_nothing_to_underline(path: Path) -> None:
    document = read_yaml(path.read_text(encoding="utf-8"), file=path.name)
    validator = jsonschema.Draft202012Validator(read_schema("manifest.schema.json"))

    assert not document.problems
    assert not [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document.value)]


def test_each_name_is_used_once() -> None:
    """Examples share a workspace, and the name is what rows in the database belong to."""
    names = [read_yaml(path.read_text(encoding="utf-8"), file=path.name).value["name"] for path in EXAMPLES]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "path",
    sorted([*(MANIFESTS / "assets").iterdir(), *(MANIFESTS / "phone").iterdir()]),
    ids=lambda path: path.name,
)
def test_pictures_are_small(path: Path) -> None:
    assert 1_000 < path.stat().st_size < 15_000
