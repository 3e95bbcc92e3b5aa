"""README.md says what is so: its tables, its example and its links are compared with the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from runner.errors import EXIT_PRECEDENCE, Exit
from runner.manifest.yaml12 import read_yaml
from runner.model import State
from runner.schemas import load_contracts, read_schema
from tests.manifest_reading import HEAD, load
from tests.readme import PAGES, PART, PARTS, README, filled

TEXT = README.read_text(encoding="utf-8")
ROOT = README.parent


def section(title: str, page: Path = README) -> str:
    return page.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `?([^|`]+?)`? \|", text, re.M)[2:]


def test_the_generated_parts_are_up_to_date() -> None:
    pages = [page.read_text(encoding="utf-8") for page in PAGES]

    assert {part["name"] for text in pages for part in PART.finditer(text)} == PARTS.keys()
    for text in pages:
        assert filled(text) == text, "run `make readme`"


def test_the_exit_codes_are_those_of_the_code() -> None:
    text = section("Exit codes")

    assert [int(code) for code in first_column(text)] == [int(code) for code in Exit]
    assert ", ".join(str(int(code)) for code in EXIT_PRECEDENCE) in text


def test_every_variable_of_the_environment_is_told() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "runner").rglob("*.py"))
    read = {*re.findall(r"\b(?:RIVYA_(?!BATCH)[A-Z_]+|NO_COLOR)\b", code)}

    assert set(first_column(section("Environment", ROOT / "runner" / "cli" / "README.md"))) == read


def test_the_defaults_are_those_of_a_manifest_that_says_nothing(tmp_path: Path) -> None:
    """The table is written as a manifest: what it shows as the default changes nothing."""
    table = "\n".join(
        re.findall(
            r"^\| `(\w+: (?:\{[^`]*\}|true))` \|",
            section("What a manifest may say", ROOT / "manifests" / "README.md"),
            re.M,
        )
    )
    shown = [line for line in table.splitlines() if re.search(r"\w: \d", line) and "prices" not in line]
    keys = {line.partition(":")[0] for line in table.splitlines()}
    silent = load(tmp_path, HEAD + "jobs: [{id: a}]\n").settings
    assert silent is not None

    for line in shown:
        settings = load(tmp_path, HEAD + f"{line}\njobs: [{{id: a}}]\n").settings
        assert settings == silent, line
    assert len(shown) >= 7
    head = {"version", "name", "model", "prompt", "params", "references", "vars", "jobs"}
    assert keys == set(read_schema("manifest.schema.json")["properties"]) - head


def test_every_state_says_what_to_type() -> None:
    states = section("When something breaks")

    assert first_column(states) == [state.value for state in State]


def test_the_example_is_a_valid_manifest() -> None:
    example = re.search(r"```yaml\n(.*?)```", section("The manifest"), re.S)
    assert example

    document = read_yaml(example[1], file="README.md")

    assert not document.problems
    jsonschema.Draft202012Validator(read_schema("manifest.schema.json")).validate(document.value)


def test_links_lead_to_files_and_headings() -> None:
    pages = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = [ROOT / name for name in pages.stdout.split()] or [README]
    links = [
        (page, each)
        for page in found
        for each in re.findall(r"\]\((?!https?:)([^)`]+)\)", page.read_text("utf-8"))
    ]
    for page, target in links:
        name, _, heading = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), (page, target)
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            assert heading in {title.lower().replace(" ", "-") for title in titles}, target


def test_the_number_of_models_is_right() -> None:
    others = re.search(r"the other (\d+) documented", TEXT)

    assert others
    assert int(others[1]) == len(load_contracts()) - 1


def test_every_readme_of_a_top_folder_is_linked() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/README.md") if not path.parent.name.startswith(".")}

    assert {name for name in folders if f"({name}/README.md)" in TEXT} == folders


def test_no_page_names_a_folder_of_somebodys_machine() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md")]

    assert not [page for page in pages if re.search(r"/(home|root|Users|tmp)/", page.read_text("utf-8"))]


def texts() -> list[Path]:
    folders = ("runner", "tests", "schemas", "manifests", "state", "docs", ".ci")
    found = [path for name in folders for path in (ROOT / name).rglob("*")] + list(ROOT.glob("*"))
    kinds = {".py", ".md", ".js", ".css", ".html", ".toml", ".yaml", ".yml", ".json"}
    return [
        path
        for path in found
        if path.is_file() and "out" not in path.parts and (path.suffix in kinds or path.name == "Makefile")
    ]


def citations(text: str, pages: frozenset[str]) -> list[str]:
    """Return the lines that point a reader to a text that is not here."""
    found = []
    for line in text.splitlines():
        named = re.findall(r"\b([\w-]+\.md)\b", line)
        section = "\u00a7" in line and "RFC" not in line
        if section or not pages.issuperset(named):
            found.append(line.strip())
    return found


def test_nothing_cites_a_text_that_is_not_in_the_repository() -> None:
    every = texts()
    pages = frozenset(path.name for path in every if path.suffix == ".md")
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for path in every
        if (lines := citations(path.read_text(encoding="utf-8"), pages))
    }

    assert not found, "say it in words, or point to runner/README.md"


@pytest.mark.parametrize(
    ("line", "cites"),
    [
        ("a cut answer is never definite (design \u00a75)", True),
        ("the largest documented upload (`notes." + "md`)", True),
        ("RFC 9110 \u00a78.8", False),
        ("see runner/README.md, rule 2", False),
        ("hashlib.md5(whole)", False),
    ],
)
def test_what_a_citation_looks_like(line: str, cites: bool) -> None:
    assert bool(citations(line, frozenset({"README.md"}))) is cites
