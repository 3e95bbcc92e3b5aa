"""Reads manifests in tests: the text alone, or with the files beside it and input files that need not exist."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.manifest import open_manifest
from runner.manifest.mending import Wanted
from runner.manifest.references import ReferenceProblem
from runner.manifest.yaml12 import read_yaml
from runner.manifest.yaml_tree import YamlDocument
from runner.model import JobSpec, Kind, Problem, Reference, Settings, Severity, Sha256
from runner.schemas import load_contracts

HEAD = "version: 1\nname: test\nmodel: grok-imagine-video\nprompt: a cat\n"
JOB = "jobs:\n  - id: ${row.id}\n    rows: FILE\n    prompt: ${row.text}\n"


@dataclass(slots=True)
class Pictures:
    """Input files by name: everything is a small PNG, but for names that begin with `missing`."""

    reads: list[str] = field(default_factory=list)
    size_bytes: int = 1000

    def read_url(
        self, url: str, mend: Wanted | None, others: Callable[[], Collection[str]]
    ) -> Reference | ReferenceProblem:
        return self.read(Path("/fetched"), url, mend)

    def still_has(self, reference: Reference) -> bool:
        return True

    def read(self, root: Path, text: str, mend: Wanted | None = None) -> Reference | ReferenceProblem:
        self.reads.append(text)
        if text.startswith("missing"):
            return ReferenceProblem(what=f"{text} does not exist", hint="", code="reference-missing")
        return Reference(
            path=text,
            file=root / text,
            kind=Kind.VIDEO if text.endswith(".mp4") else Kind.IMAGE,
            mime="video/mp4" if text.endswith(".mp4") else "image/png",
            size_bytes=self.size_bytes,
            sha256=Sha256(hashlib.sha256(text.encode()).hexdigest()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A manifest read to its end."""

    jobs: list[JobSpec]
    problems: list[Problem]
    settings: Settings | None

    @property
    def ids(self) -> list[str]:
        return [job.id for job in self.jobs]

    @property
    def codes(self) -> list[str]:
        return [problem.code for problem in self.problems]

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity is Severity.ERROR]

    def job(self, id_: str) -> JobSpec:
        return next(job for job in self.jobs if job.id == id_)

    def only(self, code: str) -> Problem:
        """Return the one problem there is, which has this code."""
        assert self.codes == [code], "\n".join(map(str, self.problems))
        return self.problems[0]


def load(
    folder: Path, text: str, files: Mapping[str, str | bytes] | None = None, pictures: Pictures | None = None
) -> Loaded:
    """Write a manifest (and the files it names) into a folder, and read it to its end."""
    for name, content in (files or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    path = folder / "m.yaml"
    path.write_bytes(text.encode())
    manifest = open_manifest(path, contracts=load_contracts(), references=pictures or Pictures())
    jobs = list(manifest.jobs())
    return Loaded(jobs=jobs, problems=manifest.problems, settings=manifest.settings)


def load_rows(folder: Path, rows: str, files: Mapping[str, str | bytes]) -> Loaded:
    """Read a manifest with one job for each row: `rows` is what its `rows:` says."""
    return load(folder, HEAD + JOB.replace("FILE", rows), files)


def prompts(loaded: Loaded) -> dict[str, str | None]:
    """Return {id: prompt} of the jobs."""
    return {job.id: job.prompt for job in loaded.jobs}


def found(loaded: Loaded) -> list[tuple[str, int, int]]:
    """Return (code, line, column) of what is wrong."""
    return [(p.code, p.place.line, p.place.column) for p in loaded.problems]


def read(text: str) -> YamlDocument:
    """Read the text of a manifest as YAML alone."""
    return read_yaml(text, file="m.yaml")


def findings(text: str) -> list[tuple[int, int, str]]:
    """Return (line, column, code) of what is wrong with a text by YAML alone."""
    return [(p.place.line, p.place.column, p.code) for p in read(text).problems]
