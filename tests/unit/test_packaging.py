"""What is shipped, and what is locked, agree with what pyproject.toml says."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling import build
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import runner
from tests.support import clean_environment

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-extra.lock")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build_sdist", tmp_path_factory.mktemp("sdist"))


def built(what: str, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / getattr(build, what)(str(folder))


def pins(lock: str) -> dict[str, Version]:
    """Return the version of each package that a lock file pins."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", (ROOT / lock).read_text(encoding="utf-8"), re.M)
    return {canonicalize_name(name): Version(version) for name, version in found}


def requirements(project: dict[str, Any], *groups: str) -> list[Requirement]:
    texts = list(project["project"]["dependencies"])
    for group in groups:
        texts += project["dependency-groups"][group]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.lock", ("build",)),
        ("requirements-dev.lock", ("build", "dev")),
        ("requirements-extra.lock", ("build", "dev", "extra")),
    ],
)
def test_a_lock_pins_everything_the_project_asks_for(
    project: dict[str, Any], lock: str, groups: tuple[str, ...]
) -> None:
    pinned = pins(lock)
    astray = [
        str(wanted)
        for wanted in requirements(project, *groups)
        if (version := pinned.get(canonicalize_name(wanted.name))) is None or version not in wanted.specifier
    ]

    assert not astray, "run `make lock`"


def test_the_larger_locks_hold_the_smaller_ones() -> None:
    runtime, dev, extra = (pins(lock) for lock in LOCKS)

    assert runtime.items() <= dev.items()
    assert dev.items() <= extra.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_lock_names_a_host_or_a_folder(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    bare = [pin for pin in re.split(r"\n(?=[A-Za-z])", text)[1:] if pin.count("--hash=sha256:") < 1]

    assert not bare
    assert not re.search(r"://|file:|--(extra-)?index|find-links|/home/|/tmp/", text)


def test_the_build_backend_is_locked_with_the_rest(project: dict[str, Any]) -> None:
    """`make install` builds without isolation, so the backend has to be there already."""
    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]


def test_the_supported_pythons_are_told_once_each(project: dict[str, Any]) -> None:
    told = [
        text.rpartition(" ")[2]
        for text in project["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", text)
    ]

    assert told == ["3.11", "3.12", "3.13", "3.14"]
    assert project["project"]["requires-python"] == f">={told[0]}"
    assert project["tool"]["mypy"]["python_version"] == told[0]


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(rf"^## \[{re.escape(runner.__version__)}\]", changelog, re.M)


def test_the_wheel_carries_schemas_and_the_sandboxs_media(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    schemas = {
        f"runner/_schemas/{path.relative_to(ROOT / 'schemas').as_posix()}"
        for path in (ROOT / "schemas").rglob("*.json")
    }
    media = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "runner/sandbox/media").iterdir()
        if path.suffix in {".mp4", ".png", ".jpg", ".mp3", ".wav"}
    }

    assert len(schemas) > 52
    assert media
    assert not (schemas | media | {"runner/py.typed"}) - names
    assert not [name for name in names if not re.match(r"(runner/|rivya_batch-[^/]+\.dist-info/)", name)]


def test_the_wheel_says_what_the_project_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = next(name.rpartition("/")[0] for name in archive.namelist() if name.endswith("/METADATA"))
    metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))

    assert metadata["Name"] == "rivya-batch"
    assert metadata["Version"] == runner.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "rivya-batch = runner.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_schemas_are_found_in_an_unpacked_wheel(wheel: Path, tmp_path: Path) -> None:
    """Away from the checkout, so only the packaged copy can be meant."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    look = (
        "import runner.schemas as s; "
        "print(len(s.load_contracts()), s.schemas_dir().name, s.read_schema('manifest.schema.json')['type'])"
    )

    told = subprocess.run(
        [sys.executable, "-c", look],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(tmp_path / "site")),
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.split() == ["52", "_schemas", "object"]


def test_the_source_archive_is_complete(sdist: Path) -> None:
    """From it alone one can install, test and run the examples."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    wanted = {
        name
        for name in filter(None, tracked)
        if name.split("/")[0] in {"runner", "schemas", "tests", "manifests", "state", ".ci"}
        and (ROOT / name).is_file()
    }

    assert {"pyproject.toml", "Makefile", "LICENSE", "README.md", "CHANGELOG.md", *LOCKS} <= names
    assert not wanted - names
    assert not [name for name in names if name.endswith((".db", ".db-wal", ".part")) or "/out/" in name]
