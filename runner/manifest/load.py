"""Opens a manifest: the head at once, the jobs as a stream, and every problem of both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from runner.contract import Contract
from runner.contract.judging import Judge
from runner.manifest.chains import NOTHING_KNOWN, Outcomes
from runner.manifest.expansion import Expander, needs_results
from runner.manifest.findings import SHOWN, Findings, Snapshot, SourceText, Spot
from runner.manifest.head import Head, read_head
from runner.manifest.inputs import Input
from runner.manifest.json_schema import schema_of_manifests, schema_of_prices
from runner.manifest.left_out import LeftOut
from runner.manifest.misspelt import Misspelt
from runner.manifest.ordinary_files import read_text
from runner.manifest.prices import NO_SHARED_PRICES, SharedPrices, read_shared_prices
from runner.manifest.references import ReferenceReader, References, UrlCollector
from runner.manifest.refusals import judge_manifest
from runner.manifest.row_files import is_as_it_was
from runner.manifest.section import said
from runner.manifest.what_if import Change, apply_changes
from runner.manifest.yaml12 import read_yaml
from runner.manifest.yaml_tree import YamlMap
from runner.model import JobSpec, ModelId, Problem, Reference, Settings, Severity

OutcomesOf = Callable[[str], Outcomes]


class OpenManifest:
    """An opened manifest.

    `settings` is None where the file is so broken that nothing could be made of it; where it is
    there, it means something only as long as no problem is an error.
    """

    def __init__(
        self,
        findings: Findings,
        head: Head | None,
        *,
        sha256: str,
        folder: Path,
        contracts: Mapping[ModelId, Contract],
        references: References,
        shared_prices: SharedPrices = NO_SHARED_PRICES,
        outcomes: OutcomesOf = lambda name: NOTHING_KNOWN,
    ) -> None:
        self.outcomes = outcomes
        self._findings = findings
        self._shared_prices = shared_prices
        self._head = head
        self._read: Snapshot | None = None  # all that was wrong before the schema had its say
        self._judged: tuple[Snapshot, frozenset[int]] | None = None
        self._contracts = contracts
        self._references = references
        references.urls = self._urls
        self._inputs: tuple[Input, ...] | None = None
        self._expander: Expander | None = None
        self.folder = folder
        self.sha256 = sha256  # of the file's text
        self.prices_sha256 = shared_prices.sha256  # of the text of the workspace's file of prices
        self.settings: Settings | None = None
        if head is not None:
            settings = head.settings
            self.settings = replace(settings, prices=(*settings.prices, *shared_prices.rules))

    @property
    def has_name(self) -> bool:
        """Whether `name:` can be read; else that of `settings` is a stand-in, and means no rows."""
        return self._head is not None and self._head.has_name

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

    @property
    def warnings(self) -> int:
        """How many warnings there are, also those that `problems` only counts."""
        return self._findings.warnings

    @property
    def left_out(self) -> LeftOut:
        """Which jobs have mistakes, as far as they have been read."""
        if self._expander is None or self._judged is None:
            return LeftOut(stops=self.errors > 0)
        (shown, counts, *_), _ = self._judged
        of_the_head = counts[Severity.ERROR] > SHOWN or any(
            problem.severity is Severity.ERROR and not problem.path.startswith("jobs[") for problem in shown
        )
        found = self._expander.left_out
        return replace(found, stops=found.stops or of_the_head)

    @property
    def odd_jobs(self) -> Collection[str]:
        """Ids of jobs, as far as they were read, with a cell that looks like no text anybody meant."""
        return self._expander.odd_jobs if self._expander is not None else ()

    def jobs(self) -> Iterator[JobSpec]:
        """Yield the jobs in order, leaving out those with errors, which go to `problems`.

        Jobs stream: rows are read as they are wanted. Each call begins anew, and so do the problems.
        """
        self._inputs = None
        if self._head is not None:
            of_the_head, refused = self._judge(self._head)
            self._findings.restore(of_the_head)
            self._expander = expander = Expander(
                self._head,
                self._findings,
                folder=self.folder,
                contracts=self._contracts,
                references=self._references,
                refused=refused,
                outcomes=self.outcomes(self._head.settings.name),
            )
            yield from expander.jobs()
            if self._findings.snapshot() == of_the_head == self._read:
                self._inputs = tuple(expander.inputs)

    def _urls(self) -> set[str]:
        """Return the urls that all jobs name as references; their files are not looked at."""
        collector = UrlCollector()
        if self._head is not None:
            expander = Expander(
                self._head,
                Findings(),
                folder=self.folder,
                contracts=self._contracts,
                references=References(collector, self.folder),
            )
            for _ in expander.jobs():
                pass
        return collector.urls

    def _judge(self, head: Head) -> tuple[Snapshot, frozenset[int]]:
        """Have the schema judge the document, once; return all that is wrong so far, and which jobs are.

        Not before the jobs are wanted: a manifest that lists what it listed before has been judged.
        """
        if self._judged is None:
            self._read = self._findings.snapshot()
            judge = Judge(schema_of_manifests(self._contracts))
            refused = judge_manifest(
                head.document, head.spot, self._findings, judge=judge, contracts=self._contracts
            )
            prices = self._shared_prices
            if prices.document is not None and prices.spot is not None:
                judge_manifest(
                    prices.document,
                    prices.spot,
                    self._findings,
                    judge=Judge(schema_of_prices(self._contracts)),
                    contracts=self._contracts,
                )
            self._judged = self._findings.snapshot(), refused | head.misspelt
        return self._judged

    def read_from(self) -> tuple[Input, ...] | None:
        """Return what the rows of all jobs were read from; None where it does not tell the jobs.

        So it is before `jobs()` has come to its end, where that had anything to report (which has to
        be reported again the next time), and where a file was changed while it was read. Beside these
        the jobs are told by `sha256`, the contracts, and the reference files.
        """
        if self._inputs is None or not self.reads_the_same(self._inputs):
            return None
        return self._inputs

    def reads_the_same(self, inputs: Iterable[Input]) -> bool:
        """Return whether the inputs of an earlier reading have the content they had."""
        return all(is_as_it_was(known, self.folder) for known in dict.fromkeys(inputs))

    @property
    def needs_results(self) -> bool:
        """Whether any job takes another one's result."""
        return self._head is not None and needs_results(self._head)

    @property
    def uses_references(self) -> bool:
        """Whether any job, as far as they were read, has a reference file."""
        return self._references.any

    @property
    def mended(self) -> tuple[Reference, ...]:
        """The copies of pictures that are sent in their place, as far as the jobs were read."""
        return tuple(self._references.mended.values())

    def has_the_same(self, reference: Reference) -> bool:
        """Return whether a reference file is, in all that is known of it, what it was."""
        return self._references.has_the_same(reference)


def open_manifest(
    path: Path | str,
    *,
    contracts: Mapping[ModelId, Contract],
    references: ReferenceReader,
    workspace: Path | None = None,
    changes: Sequence[Change] = (),
    outcomes: OutcomesOf = lambda name: NOTHING_KNOWN,
) -> OpenManifest:
    """Open a manifest and read its head. Never raises for what is in the file, or for a file that is not there.

    Args:
        path: The file; problems name it as given here.
        contracts: The models there are.
        references: Looks at input files.
        workspace: The folder whose `out/<name>` is the default output, and which may have a file of prices; the
            manifest's own by default.
        changes: What it is read with as if it stood there.
        outcomes: Says what is known of the jobs of a manifest that were run, by its name.
    """
    # By its real place: whichever link a manifest is reached by, its files and results are the same.
    absolute = Path(os.path.realpath(path))
    shown = str(absolute if os.path.islink(path) else path)  # noqa: PTH114 (a str may come here too)
    folder = absolute.parent
    findings = Findings()
    text, prices = read_text(absolute, shown=shown), NO_SHARED_PRICES
    if isinstance(text, Problem):
        findings.add(text)
        head, text = None, ""
    else:
        head = _head(text, absolute, shown, findings, workspace or folder, contracts, changes)
        prices = read_shared_prices(workspace or folder, findings, contracts)
    return OpenManifest(
        findings,
        head,
        sha256=_sha256(text, changes),
        folder=folder,
        contracts=contracts,
        references=References(references, folder),
        shared_prices=prices,
        outcomes=outcomes,
    )


def _sha256(text: str, changes: Sequence[Change]) -> str:
    found = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for change in changes:
        found.update(repr(change).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def _head(
    text: str,
    path: Path,
    shown: str,
    findings: Findings,
    workspace: Path,
    contracts: Mapping[ModelId, Contract],
    changes: Sequence[Change],
) -> Head | None:
    document = read_yaml(text, file=shown)
    for problem in document.problems:
        findings.add(problem)
    spot = Spot(SourceText(shown, text.removeprefix("\ufeff")), document.at)
    if not isinstance(document.value, YamlMap):
        if not document.problems:
            what = f"a manifest is a mapping, not {said(document.value)}"
            findings.error(
                spot, what, "wrong-type", "begin with `version: 1`; `rivya-batch init` writes an example"
            )
        return None
    apply_changes(document.value, changes)
    misspelt = Misspelt(findings, contracts)
    root = misspelt.read(document.value, spot)
    head = read_head(root, spot, findings, path=path, workspace=workspace, contracts=contracts)
    return replace(head, misspelt=frozenset(misspelt.jobs)) if misspelt.jobs else head
