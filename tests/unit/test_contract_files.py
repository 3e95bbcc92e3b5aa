"""Where the contracts are found: beside an installed package or in a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.schemas import load_contracts, read_schema

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The modules that read contracts, copied away from the checkout and its schemas."""
    for name in ("__init__.py", "errors.py", "model.py", "schemas.py", "contract"):
        source, copy = ROOT / "runner" / name, tmp_path / "runner" / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    return tmp_path


def ask(package: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from runner.schemas import *; {code}"],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("place", ["schemas", "runner/_schemas"], ids=["checkout", "wheel"])
def test_contracts_are_found_and_only_the_one_asked_for_is_read(package: Path, place: str) -> None:
    """Every other file is broken: reading any of them would fail."""
    folder = package / place
    shutil.copytree(ROOT / "schemas", folder)
    for file in (folder / "contracts").glob("*.json"):
        if file.stem != "z-image":
            file.write_text("{", encoding="utf-8")

    answer = ask(
        package, "print(schemas_dir(), len(load_contracts()), load_contracts()['z-image'].base_credits)"
    )

    assert answer.stdout.split() == [str(folder), "52", "1"], answer.stderr


def test_the_packaged_copy_wins_over_a_folder_that_happens_to_be_beside_it(package: Path) -> None:
    for place in ("schemas", "runner/_schemas"):
        (package / place / "contracts").mkdir(parents=True)

    assert ask(package, "print(schemas_dir())").stdout.strip() == str(package / "runner" / "_schemas")


def test_a_broken_installation_says_so(package: Path) -> None:
    answer = ask(package, "schemas_dir()")

    assert answer.returncode == 1
    assert "RunnerError: the schemas that belong to rivya-batch are not beside" in answer.stderr


def test_an_unknown_model_is_a_key_error() -> None:
    assert "grok" not in load_contracts()
    assert load_contracts().get("grok") is None  # type: ignore[call-overload]  # a plain text, on purpose
    with pytest.raises(KeyError):
        load_contracts()["grok"]  # type: ignore[index]  # the same


def test_a_schema_is_read_by_its_file_name() -> None:
    assert read_schema("manifest.schema.json")["title"] == "rivya-batch manifest, version 1"
