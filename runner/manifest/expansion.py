"""Expands the entries of a manifest into jobs, one at a time, checking each against its model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

from runner.contract import (
    Contract,
    ParamProblem,
    canonical_params,
    check_prompt,
    check_references,
    picture_limits,
)
from runner.contract.phrases import shown
from runner.fingerprint import canonical, fingerprint_of
from runner.manifest.chains import NOTHING_KNOWN, AskedResult, Chains, Draft, Outcomes
from runner.manifest.entry import Entry, read_entry
from runner.manifest.findings import Findings, Spot
from runner.manifest.head import Head, takes_results
from runner.manifest.hints import id_hint, is_written, reference_hint, twice_hint
from runner.manifest.inputs import Input
from runner.manifest.left_out import LeftOut
from runner.manifest.mending import Wanted
from runner.manifest.model_names import find_contract
from runner.manifest.names import LEAVE_ROOM, LONGEST_ID, id_trouble, output_trouble
from runner.manifest.odd_cells import OddCells, is_odd, why_odd
from runner.manifest.odd_pictures import OddPictures
from runner.manifest.placeholders import BadPlaceholder, Scope
from runner.manifest.references import References
from runner.manifest.registry import Registry
from runner.manifest.rows import Row, axes_of
from runner.manifest.texts import ResultText, Text, spot_of
from runner.manifest.yaml_tree import YamlMap
from runner.model import Fingerprint, JobId, JobSpec, Json, ModelId, Place, Reference, Severity

MOST_JOBS: Final = 1_000_000
_SHORTEST: Final = 4  # a path this short may be one whose cell is empty: it is looked at
_REMEMBERED: Final = 4096  # different params kept checked
_TEXTS: Final = ("prompt", "id", "reference")

Checked = tuple[dict[str, Json], list[ParamProblem], str]  # canonical values, what is wrong, canonical text


class Expander:
    """Turns the head and the entries into jobs; one for each pass over them."""

    def __init__(
        self,
        head: Head,
        findings: Findings,
        *,
        folder: Path,
        contracts: Mapping[ModelId, Contract],
        references: References,
        refused: Collection[int] = (),
        outcomes: Outcomes = NOTHING_KNOWN,
    ) -> None:
        self._head = head
        self._refused = refused  # indices of entries that the schema has something against
        self._findings = findings
        self._folder = folder
        self._contracts = contracts
        self._references = references
        self._registry = Registry()
        self._checked: dict[object, Checked] = {}
        self._odd_cells = OddCells()
        self._odd_pictures = OddPictures()
        self.inputs: list[Input] = []  # what rows were read from, so far
        self._begun_at = findings.reported
        self._placed = 0  # errors that are known to be about one job or one entry
        self._without: dict[str, None] = {}  # ids of jobs with mistakes
        self._nameless = 0
        self._stops = False
        self._number = 0  # of the jobs that are right, where some need others
        self._chains = Chains(outcomes, self._without) if needs_results(head) else None
        # Of the job at hand:
        self._is_later = False
        self._row: Row | None = None
        self._job = ""
        self._fine = True
        self._known_id = ""

    @property
    def left_out(self) -> LeftOut:
        """The jobs with mistakes, so far."""
        elsewhere = self._findings.reported - self._begun_at - self._placed  # of rows that could not be read
        return LeftOut(ids=self._without, nameless=self._nameless + elsewhere, stops=self._stops)

    @property
    def odd_jobs(self) -> Collection[str]:
        """Ids of jobs, so far, with a cell that looks like no text anybody meant."""
        return self._odd_cells.jobs

    def jobs(self) -> Iterator[JobSpec]:
        """Yield the jobs that have no errors, in the order written: matrix, then rows, then takes.

        Jobs that need one that is written further down come last; `number` is their place.
        """
        yield from self._jobs()
        if self._chains is not None:
            yield from self._rest(self._chains)
            for job, each in self._chains.behind():
                self._job = job
                self._error(each.spot, each.what, each.code)
                self._placed += 1
        self._odd_cells.report(self._findings)
        self._odd_pictures.report(self._findings)

    def _jobs(self) -> Iterator[JobSpec]:
        head = self._head
        for index, item in enumerate(head.jobs):
            spot = head.jobs_spot.inside(head.jobs.item_at(index), index)
            before = self._findings.reported
            entry = read_entry(
                item,
                spot,
                self._findings,
                head=head,
                folder=self._folder,
                contracts=self._contracts,
                refused=index in self._refused,
            )
            self._placed += self._findings.reported - before
            self._nameless += entry is None or not entry.usable
            if entry is not None:
                if entry.rows is not None:
                    self.inputs.append(entry.rows.input)
                yield from self._expand(entry)
            if self._registry.count > MOST_JOBS:
                what = f"the manifest has more than {MOST_JOBS:,} jobs"
                self._findings.error(spot, what, "too-many-jobs", "split it into several")
                self._stops = True
                return

    def _expand(self, entry: Entry) -> Iterator[JobSpec]:
        takes = (None,) if entry.repeat is None else range(1, entry.repeat + 1)
        for combination in entry.matrix.combinations() if entry.matrix is not None else ({},):
            base: dict[str, Any] = {**self._head.variables, **combination}
            for row in entry.rows.read() if entry.rows is not None else (None,):
                scope = base
                axes = dict(combination)
                if row is not None and entry.rows is not None:
                    scope = {**base, entry.rows.scope: row.values}
                    axes |= axes_of(row) if entry.rows.scope == "row" else {"file": row.values["path"]}
                # A row of a glob is written nowhere but in the manifest.
                self._row = (
                    row if row is not None and entry.rows is not None and entry.rows.scope == "row" else None
                )
                for take in takes:
                    if take is not None:
                        scope = {**scope, "take": take}
                        axes = {**axes, "take": take}
                    job = self._make(entry, scope, axes, take)
                    if job is not None:
                        yield job
                    if self._registry.count > MOST_JOBS:
                        return

    def _make(self, entry: Entry, scope: Scope, axes: Mapping[str, Json], take: int | None) -> JobSpec | None:
        before = self._findings.reported
        self._known_id = ""
        self._is_later = False
        job = self._job_of(entry, scope, axes, take)
        self._placed += self._findings.reported - before
        if self._is_later:
            return None
        if job is None and self._known_id:
            self._without[self._known_id] = None
        elif job is None and entry.usable:
            self._nameless += 1
        return job

    def _job_of(
        self, entry: Entry, scope: Scope, axes: Mapping[str, Json], take: int | None
    ) -> JobSpec | None:
        self._fine = entry.usable
        self._job = entry.id.template.text if entry.id is not None else ""
        id_ = self._id(entry, scope, take)
        contract = entry.contract or self._contract(entry, scope)
        prompt = self._prompt(entry, scope, contract)
        params, text = self._params(entry, scope, contract)
        references, spots = self._read_references(entry, scope, contract)
        if id_ is None or contract is None:
            return None
        output = self._output(entry, scope, id_, contract, params)
        if not self._fine:
            return None
        number = None
        if self._chains is not None:
            number = self._number
            self._number += 1
        files = [reference for reference in references if isinstance(reference, Reference)]
        waits = len(files) != len(references)
        job = JobSpec(
            id=JobId(id_),
            model=contract.id,
            prompt=prompt,
            params=params,
            references=tuple(files),
            output=output,
            fingerprint=Fingerprint("")
            if waits
            else fingerprint_of(
                model=contract.id, prompt=prompt, params=text, references=[each.sha256 for each in files]
            ),
            axes=axes,
            place=self._place(entry),
            number=number,
        )
        if waits and self._chains is not None:
            return self._linked(entry, self._chains, job, contract, text, references, spots, take)
        self._warn_of_twin(entry.id, id_, job.fingerprint, take, None if entry.id is not None else entry.spot)
        if self._chains is not None:
            self._chains.add(job, _base(id_, take), take or 0, contract)
        return job

    # Jobs that need others, and those that others may need.

    def _linked(
        self,
        entry: Entry,
        chains: Chains,
        job: JobSpec,
        contract: Contract,
        params: str,
        references: Sequence[Reference | AskedResult],
        spots: Sequence[Spot],
        take: int | None,
    ) -> JobSpec | None:
        draft = Draft(
            spec=job,
            base=_base(job.id, take),
            take=take or 0,
            contract=contract,
            params=params,
            references=references,
            spots=spots,
            spot=self._where(entry.id) if entry.id is not None else entry.spot,
            template=entry.id,
        )
        if not chains.is_there(draft):
            self._is_later = True
            return None
        return self._made(chains, draft)

    def _made(self, chains: Chains, draft: Draft) -> JobSpec | None:
        job, wrong = chains.made(draft)
        for each in wrong:
            if each.behind:
                continue  # of all of them it is told once
            severity = Severity.WARNING if each.warns else Severity.ERROR
            self._report_as(each.spot, each.what, each.code, each.hint, severity)
        if not all(each.warns for each in wrong):
            return None
        self._warn_of_twin(draft.template, job.id, job.fingerprint, draft.take or None, draft.spot)
        chains.add(job, draft.base, draft.take, draft.contract)
        return job

    def _rest(self, chains: Chains) -> Iterator[JobSpec]:
        """Yield the jobs that need one that was written further down."""
        ordered, lost = chains.rest()
        for draft, wrong in lost:
            self._job = draft.spec.id
            self._without[self._job] = None
            if wrong is not None:
                self._placed += 1
                self._error(wrong.spot, wrong.what, wrong.code, wrong.hint)
        for draft in ordered:
            before = self._findings.reported
            self._job = draft.spec.id
            job = self._made(chains, draft)
            self._placed += self._findings.reported - before
            if job is None:
                self._without[draft.spec.id] = None
            else:
                yield job

    # Parts of a job; each reports what is wrong with it and says so in `_fine`.

    def _id(self, entry: Entry, scope: Scope, take: int | None) -> str | None:
        if entry.id is None:
            return None
        id_ = self._fill(entry.id, scope)
        if id_ is None:
            return None
        trouble = id_trouble(id_)
        if trouble is None and take is not None:
            id_ = f"{id_}-{take}"
            if len(id_) > LONGEST_ID:
                trouble = f"has {len(id_)} characters with its take; at most {LONGEST_ID} are allowed"
        if trouble is not None:
            self._error(
                self._where(entry.id),
                f"the id {shown(id_)} {trouble}",
                "bad-id",
                id_hint(entry.id, trouble, id_),
            )
            return None
        self._job = self._known_id = id_
        self._look_at(id_, "id", entry.id)
        spot = self._row.spot if self._row is not None else entry.id.spot
        before = self._registry.take_id(id_, spot.at[0])
        if before is not None:
            here = self._where(entry.id)
            rows = f" of {spot.source.file}" if spot.source.file != here.source.file else ""
            what = f"the id {shown(id_)} is used twice (first on line {before}{rows})"
            self._error(here, what, "duplicate-id", twice_hint(entry))
            return None
        return id_

    def _contract(self, entry: Entry, scope: Scope) -> Contract | None:
        if entry.model is None or entry.model.template.constant:
            self._fine = False  # that is reported for the entry
            return None
        model = self._fill(entry.model, scope)
        if model is None:
            return None
        before = self._findings.reported
        contract = find_contract(
            model, self._where(entry.model), self._findings, self._contracts, job=self._job
        )
        self._fine = self._fine and self._findings.reported == before
        return contract

    def _prompt(self, entry: Entry, scope: Scope, contract: Contract | None) -> str | None:
        prompt = None
        if entry.prompt is not None:
            prompt = self._fill(entry.prompt, scope)
            if prompt is None:
                return None
            if entry.prompt.template.whole and not prompt.strip():
                prompt = None  # an empty cell
            else:
                self._look_at(prompt, "prompt", entry.prompt)
        elif entry.prompt_wrong:
            return None
        problem = check_prompt(contract, prompt) if contract is not None else None
        if problem is not None and prompt is None and entry.prompt is not None:
            what = f"{entry.prompt.template.text} is empty here, and with it the prompt"
            problem = replace(problem, what=what, hint="fill it in, or remove the row")
        if problem is not None:
            spot = entry.id.spot if entry.id is not None else entry.spot
            self._report(self._where(entry.prompt) if entry.prompt is not None else spot, problem)
        return prompt

    def _params(self, entry: Entry, scope: Scope, contract: Contract | None) -> tuple[dict[str, Json], str]:
        values: dict[str, Json] = {}
        for key, value in entry.params.items():
            try:
                values[key] = value.render(scope)
            except BadPlaceholder as exc:
                self._bad_placeholder(exc, value.texts[0])
        if contract is None:
            return values, ""
        params, problems, text = self._check_params(contract, values)
        for problem in problems:
            self._param_problem(entry, problem)
        wrong = {problem.key for problem in problems}
        for key, value in entry.params.items():
            filled = values.get(key)
            if type(filled) is str and value.text is not None and key not in wrong:
                self._look_at(filled, key, value.text)
        return params, text

    def _check_params(self, contract: Contract, values: dict[str, Json]) -> Checked:
        # Types are part of the key: 1, 1.0 and True are equal to a dict, but not to a contract.
        key = (contract.id, *((name, value.__class__, value) for name, value in values.items()))
        try:
            checked = self._checked.get(key)
        except TypeError:  # a list or a mapping
            return _checked(contract, values)
        if checked is None:
            if len(self._checked) >= _REMEMBERED:
                self._checked.clear()
            checked = self._checked[key] = _checked(contract, values)
        return checked

    def _param_problem(self, entry: Entry, problem: ParamProblem) -> None:
        value = entry.params.get(problem.key)
        if value is None:
            if problem.code == "missing-param" and not entry.usable:
                self._fine = False  # it may be there, but could not be filled in
                return
            self._report(entry.params_spot, problem)
            return
        if problem.code in ("unknown-param", "reserved-param"):
            hint = problem.hint
            if problem.key in entry.inherited:
                drop = f"it comes from the defaults: `{problem.key}: null` in this job drops it"
                hint = f"{hint} {drop}" if hint.endswith("?") else f"{hint}; {drop}".removeprefix("; ")
            self._report(value.key_spot, problem, hint)
        else:
            self._report(self._where(*value.texts) if value.texts else value.spot, problem)

    def _read_references(
        self, entry: Entry, scope: Scope, contract: Contract | None
    ) -> tuple[Sequence[Reference | AskedResult], Sequence[Spot]]:
        """Return the references of a job, and where they are written; of files it is told here what is wrong."""
        if not entry.references:
            return (), ()
        limits = picture_limits(contract) if contract is not None else None
        wanted = Wanted(most_bytes=limits[0], mimes=limits[1]) if limits is not None else None
        references: list[Reference | AskedResult] = []
        texts: list[Text] = []
        for text in entry.references:
            if isinstance(text, ResultText):
                for job in self._paths(text, scope):
                    references.append(AskedResult(job, text.result, text.frame, text.pick))
                    texts.append(text)
                continue
            for path in self._paths(text, scope):
                found = self._references.read(path, wanted if text.mend else None)
                if isinstance(found, Reference):
                    self._look_at(path, "reference", text)
                    references.append(found)
                    if found.odd:
                        self._odd_pictures.take(found.path, found.odd, self._where(text), self._job)
                    texts.append(text)
                else:
                    hint = found.hint if self._row is None else reference_hint(path) or found.hint
                    if self._registry.has(path) or is_written(path, self._head.jobs):
                        hint = f"for the result of that job write {{job: {path}}}"
                    self._error(self._where(text), found.what, found.code, hint)
        files = [each for each in references if isinstance(each, Reference)]
        if len(files) != len(references):
            return references, [
                self._where(text) for text in texts
            ]  # what is wrong is told once all are known
        if files and contract is not None:
            for problem in check_references(contract, files):
                index = problem.key[len("references[") : -1]
                self._report(self._where(texts[int(index)] if index.isdecimal() else texts[0]), problem)
        return files, ()

    def _paths(self, text: Text, scope: Scope) -> list[str]:
        """Return the paths one written reference stands for: none for an empty cell, more for a list."""
        if text.template.constant:
            return [text.template.render_text({})]
        if not text.template.whole:
            path = self._fill(text, scope)
            if (
                path is not None
                and len(path) < text.template.fixed + _SHORTEST
                and self._are_empty(text, scope)
            ):
                return []  # `assets/${row.image}` of a row without an image
            return [path] if path else []
        try:
            value = text.template.render(scope)
        except BadPlaceholder as exc:
            self._bad_placeholder(exc, text)
            return []
        if value is None or (isinstance(value, str) and not value.strip()):
            return []
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) and item for item in items):
            what = f"a reference is the path of a file, not {shown(value)}"
            self._error(self._where(text), what, "wrong-type")
            return []
        return items

    def _are_empty(self, text: Text, scope: Scope) -> bool:
        """Return whether a text takes something from the row, and all that it takes is empty."""
        if self._row is None or not text.template.uses("row"):
            return False
        return not any(expression.text(scope).strip() for expression in text.template.expressions)

    def _output(
        self, entry: Entry, scope: Scope, id_: str, contract: Contract, params: Mapping[str, Json]
    ) -> str:
        text = entry.output_name
        if text.template.text == "${id}":
            name: str | None = id_
        elif not entry.usable:
            return ""
        else:
            name = self._fill(text, {**scope, "id": id_, "model": contract.id, "params": params})
        if name is None:
            return ""
        if trouble := output_trouble(name):
            what = f"the output name {shown(name)} {trouble}"
            hint = "change the id" if name is id_ else "write ${… | slug} around free text"
            if trouble.endswith(LEAVE_ROOM):
                hint = "cut it: ${… | slug | fit} takes what fits and keeps ids apart"
            self._error(
                self._where(entry.id or text) if name is id_ else text.spot, what, "bad-output-name", hint
            )
            return ""
        if other := self._registry.take_output(name, id_):
            what = f"the output name {shown(name)} is also that of the job {shown(other)}"
            if name is id_:
                what += ", to many disks at least"
            hint = (
                "ids that differ only in case or Unicode form are one file"
                if name is id_
                else "put ${id} into output.name"
            )
            self._error(self._where(entry.id or text), what, "output-collision", hint)
        return name

    def _warn_of_twin(
        self, id_text: Text | None, id_: str, digest: str, take: int | None, spot: Spot | None
    ) -> None:
        other = self._registry.take_fingerprint(digest, base := _base(id_, take))
        if other is None or (take is not None and other == base):
            return
        what = f"this job asks for the same as {shown(other)}: both are paid for"
        hint = "for several takes of one job write `repeat:`"
        if id_text is not None and id_text.template.uses("take"):
            hint = "leave ${take} out of the id: takes are numbered automatically"
        where = spot if spot is not None else self._where(id_text) if id_text is not None else None
        assert where is not None
        self._report_as(where, what, "same-job", hint, Severity.WARNING)

    # Where things are, and saying what is wrong there.

    def _look_at(self, value: str, became: str, text: Text) -> None:
        """Take note of what looks like no text anybody meant, in a value or in the cells that it is made of."""
        template, row = text.template, self._row
        odd = where = None
        whole = True
        if row is not None and (not template.whole or template.expressions[0].filters):
            for expression in template.expressions:
                cell = row.values.get(expression.rest) if expression.head == "row" else None
                if type(cell) is str and is_odd(cell, inside=True):
                    odd, where, whole = why_odd(cell, "id", inside=True), row.spot_of(expression.rest), False
                    break
        if odd is None or value.strip() == odd[0]:
            odd = why_odd(value, became, inside=row is None or became not in _TEXTS)
            whole = odd is not None and odd[0] == value.strip()
        if odd is not None and not template.uses("file"):  # that a person named, on a disk
            of_row = row is not None and not template.constant
            spot = where or self._where(text)
            self._odd_cells.take(odd, became, spot, self._job, whole=whole, row=of_row)

    def _fill(self, text: Text, scope: Scope) -> str | None:
        try:
            return text.template.render_text(scope)
        except BadPlaceholder as exc:
            self._bad_placeholder(exc, text)
            return None

    def _bad_placeholder(self, exc: BadPlaceholder, text: Text) -> None:
        if self._row is not None and exc.column:
            spot = self._row.spot_of(exc.column)
        elif self._row is not None and text.template.uses("row"):
            spot = self._row.spot
        else:
            spot = spot_of(exc, text.template.text, text.spot)
        self._error(spot, exc.what, exc.code, exc.hint)

    def _where(self, *texts: Text) -> Spot:
        """Return where a value comes from: the cell of the row, else the manifest."""
        if self._row is not None:
            for expression in chain.from_iterable(text.template.expressions for text in texts):
                if expression.head == "row":
                    return self._row.spot_of(expression.rest)
        return texts[0].spot

    def _place(self, entry: Entry) -> Place:
        if self._row is not None:
            return self._row.spot.place
        return (entry.id.spot if entry.id is not None else entry.spot).place

    def _report(self, spot: Spot, problem: ParamProblem, hint: str | None = None) -> None:
        self._report_as(
            spot, problem.what, problem.code, problem.hint if hint is None else hint, problem.severity
        )

    def _error(self, spot: Spot, what: str, code: str, hint: str = "") -> None:
        self._report_as(spot, what, code, hint, Severity.ERROR)

    def _report_as(self, spot: Spot, what: str, code: str, hint: str, severity: Severity) -> None:
        if severity is Severity.ERROR:
            self._fine = False
        self._findings.report(spot, what, code, hint, job=self._job, severity=severity)


def _base(id_: str, take: int | None) -> str:
    """Return an id without the number of its take."""
    return id_ if take is None else id_[: id_.rindex("-")]


def needs_results(head: Head) -> bool:
    """Return whether any job takes another one's result."""
    written = (head.document, *(item for item in head.jobs if isinstance(item, YamlMap)))
    return any(takes_results(each.get("references")) for each in written)


def _checked(contract: Contract, values: dict[str, Json]) -> Checked:
    params, problems = canonical_params(contract, values)
    # What is wrong may be no JSON at all, and no job is made of it.
    text = "" if any(problem.severity is Severity.ERROR for problem in problems) else canonical(params)
    return params, problems, text
