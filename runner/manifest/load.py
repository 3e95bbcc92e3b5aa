"""Opens a manifest: the head at once, the jobs as a stream, and every problem of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.contract import Contract
from runner.manifest.expansion import Expander
from runner.manifest.findings import Findings, Source, Spot
from runner.manifest.head import Head, read_head
from runner.manifest.reading import read_text
from runner.manifest.references import ReferenceReader, References
from runner.manifest.section import said
from runner.model import JobSpec, ModelId, Problem, Settings
from runner.yaml12 import YamlMap, read_yaml


class Manifest:
    """An opened manifest.

    `settings` is None where the file is so broken that nothing could be made of it; where it is
    there, it means something only as long as no problem is an error.
    """

    def __init__(
        self,
        findings: Findings,
        head: Head | None,
        *,
        folder: Path,
        contracts: Mapping[ModelId, Contract],
        references: References,
    ) -> None:
        self._findings = findings
        self._of_the_head = findings.snapshot()
        self._head = head
        self._folder = folder
        self._contracts = contracts
        self._references = references
        self.settings: Settings | None = head.settings if head is not None else None

    @property
    def problems(self) -> list[Problem]:
        """What is wrong, as far as it has been read: all of it once `jobs()` has come to its end.

        At most 200 errors and 200 warnings; a last one counts the rest.
        """
        return self._findings.problems()

    @property
    def errors(self) -> int:
        """How many errors there are, also those that `problems` only counts."""
        return self._findings.errors

    def jobs(self) -> Iterator[JobSpec]:
        """Yield the jobs in order, leaving out those with errors, which go to `problems`.

        Jobs stream: rows are read as they are wanted. Each call begins anew, and so do the problems.
        """
        if self._head is not None:
            self._findings.restore(self._of_the_head)
            yield from Expander(
                self._head,
                self._findings,
                folder=self._folder,
                contracts=self._contracts,
                references=self._references,
            ).jobs()


def open_manifest(
    path: Path | str,
    *,
    contracts: Mapping[ModelId, Contract],
    references: ReferenceReader,
    workspace: Path | None = None,
) -> Manifest:
    """Open a manifest and read its head. Never raises for what is in the file, or for a file that is not there.

    Args:
        path: The file; problems name it as given here.
        contracts: The models there are.
        references: Looks at input files.
        workspace: The folder whose `out/<name>` is the default output; the manifest's own by default.
    """
    shown = str(path)
    absolute = Path(path).absolute()
    folder = absolute.parent
    findings = Findings()
    head = _head(absolute, shown, findings, workspace or folder, contracts)
    return Manifest(
        findings, head, folder=folder, contracts=contracts, references=References(references, folder)
    )


def _head(
    path: Path, shown: str, findings: Findings, workspace: Path, contracts: Mapping[ModelId, Contract]
) -> Head | None:
    text = read_text(path, shown=shown)
    if isinstance(text, Problem):
        findings.add(text)
        return None
    document = read_yaml(text, file=shown)
    for problem in document.problems:
        findings.add(problem)
    spot = Spot(Source(shown, text.removeprefix("\ufeff")), document.at)
    if not isinstance(document.value, YamlMap):
        if not document.problems:
            what = f"a manifest is a mapping, not {said(document.value)}"
            findings.error(
                spot, what, "wrong-type", "begin with `version: 1`; `rivya-batch init` writes an example"
            )
        return None
    return read_head(document.value, spot, findings, path=path, workspace=workspace, contracts=contracts)
