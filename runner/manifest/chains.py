"""References that are other jobs' results: which job is meant, what it makes, and what that makes of a fingerprint."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from runner.contract import Contract, check_references
from runner.contract.phrases import shown, suggest
from runner.fingerprint import choice_token, fingerprint_of, result_token
from runner.lifecycle.chains import circles, in_order
from runner.manifest.findings import Spot
from runner.manifest.texts import Text
from runner.model import Fingerprint, Frame, JobId, JobSpec, Kind, Reference, ResultOf, Sha256

FRAMES_PACKAGE: Final = "av"
_KINDS: Final = {kind.value: kind for kind in Kind}
_ASKED_IDS: Final = 500_000  # ids that are compared with misspelt ones in all: it must not take minutes
_NAMED: Final = 5


class Outcomes(Protocol):
    """What is known of jobs that were run: a job is told by its id and its fingerprint."""

    def names(self, fingerprint: str) -> Sequence[str]:
        """Return the ids of all known jobs of this fingerprint if `edition` or `picked` knows one of them.

        In the order in which jobs with another id take them over.
        """
        ...

    def edition(self, job: str, fingerprint: str, output: str) -> int:
        """Return how many of its earlier rounds had a result; `output` is where the last of them is."""
        ...

    def picked(self, job: str, fingerprint: str) -> tuple[int, ...] | None:
        """Return which results of its last round a person has picked, empty for all of it; None if it is not picked."""
        ...

    def was_sent(self, job: str, fingerprint: str) -> bool:
        """Return whether the job that is listed under this id is this one, and was submitted."""
        ...

    def results(self, job: str, fingerprint: str) -> int | None:
        """Return how many results it has made; None where that is not known."""
        ...


class NothingKnown:
    """No job was ever run."""

    def names(self, fingerprint: str) -> Sequence[str]:
        """Return no name."""
        return ()

    def edition(self, job: str, fingerprint: str, output: str) -> int:
        """Return 0."""
        return 0

    def picked(self, job: str, fingerprint: str) -> tuple[int, ...] | None:
        """Return None."""
        return None

    def was_sent(self, job: str, fingerprint: str) -> bool:
        """Return False."""
        return False

    def results(self, job: str, fingerprint: str) -> int | None:
        """Return None."""
        return None


class AskedResult(NamedTuple):
    """A reference to another job's result, as it is written."""

    job: str
    result: int
    frame: Frame | None
    pick: bool

    def words(self, job: str) -> str:
        """Return it as a manifest says it, of the job that is meant."""
        parts = [f"job: {job}"]
        if self.pick:
            parts.append("pick: true")
        if self.result != 1:
            parts.append(f"result: {self.result}")
        if self.frame is not None:
            parts.append(f"frame: {self.frame.value}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A job that needs others. `spec` lacks its references and its fingerprint; `base` is its id without its take."""

    spec: JobSpec
    base: str
    take: int
    contract: Contract
    params: str  # canonical
    references: Sequence[Reference | AskedResult]
    spots: Sequence[Spot]  # of each of them
    spot: Spot  # of its id
    template: Text | None  # the id as it is written

    @property
    def asked(self) -> Iterator[tuple[AskedResult, Spot]]:
        """What it asks of other jobs, and where."""
        for each, spot in zip(self.references, self.spots, strict=True):
            if isinstance(each, AskedResult):
                yield each, spot


class _Known(NamedTuple):
    """A job that others may need."""

    fingerprint: str
    contract: Contract
    take: int
    number: int  # its place in the manifest
    output: str


class Wrong(NamedTuple):
    """One thing that is wrong with a job."""

    spot: Spot
    what: str
    code: str
    hint: str = ""
    warns: bool = False
    behind: str = ""  # a job with mistakes itself, which is behind it


class _Behind(NamedTuple):
    """What a job with mistakes keeps from being made: the first, where it needs that one, and a few of all."""

    spot: Spot
    jobs: list[str]
    number: int


class Chains:
    """The jobs of one manifest that others may need, and those of which what they need is written further down.

    Args:
        outcomes: What is known of jobs that were run.
        without: Ids of jobs with mistakes, so far.
    """

    def __init__(self, outcomes: Outcomes, without: Collection[str]) -> None:
        self._outcomes = outcomes
        self._without = without
        self._known: dict[str, _Known] = {}
        self._takes: dict[str, list[str]] = {}
        self._alike: dict[str, list[str]] = {}  # jobs of a fingerprint of which there are `names`
        self._later: dict[str, Draft] = {}
        self._later_bases: set[str] = set()  # of the takes among them
        self._asked_ids = 0
        self._root: dict[str, str] = {}  # of a job that lacks another's result: the one that has the mistakes
        self._behind: dict[str, _Behind] = {}
        self._frames = find_spec(FRAMES_PACKAGE) is not None

    def add(self, job: JobSpec, base: str, take: int, contract: Contract) -> None:
        """Take a job that others may need."""
        assert job.number is not None
        self._known[job.id] = _Known(job.fingerprint, contract, take, job.number, job.output)
        if take:
            self._takes.setdefault(base, []).append(job.id)
        if self._outcomes.names(job.fingerprint):
            self._alike.setdefault(job.fingerprint, []).append(job.id)

    def is_there(self, draft: Draft) -> bool:
        """Return whether all that a job needs is known; else it is kept until all jobs were read."""
        if all(self._has(each.job) and not self._earlier(each.job) for each, _ in draft.asked):
            return True
        self._later[draft.spec.id] = draft
        if draft.take:
            self._later_bases.add(draft.base)
        return False

    def _has(self, job: str) -> bool:
        return job in self._known or (job in self._takes and job not in self._later_bases)

    def _earlier(self, job: str) -> list[str]:
        """Return the names that a job, or its takes, may have had: which it is is known once all ids are read."""
        found: list[str] = []
        for each in [job] if job in self._known else self._takes.get(job, []):
            names = self._outcomes.names(self._known[each].fingerprint)
            if each not in names:
                found += names
        return found

    def _name_of(self, job: str, known: _Known) -> str:
        """Return the name under which a job is known: if it is about to be renamed, that of the row it takes over.

        Rows that no job of the manifest is are taken over in the order that `store.staging` has.
        """
        names = self._outcomes.names(known.fingerprint)
        if not names or job in names:
            return job
        free = [name for name in names if not self._is_listed(name, known.fingerprint)]
        heirs = [each for each in self._alike[known.fingerprint] if each not in names]
        heirs.sort(key=lambda each: self._known[each].number)
        place = heirs.index(job)
        return free[place] if place < len(free) else job

    def _is_listed(self, job: str, fingerprint: str) -> bool:
        """Return whether a row is that of a job of the manifest; of one with mistakes it stays as it is."""
        known = self._known.get(job)
        return job in self._without if known is None else known.fingerprint == fingerprint

    def rest(self) -> tuple[Iterator[Draft], list[tuple[Draft, Wrong | None]]]:
        """Return the jobs that were kept, in an order in which each may be made; and those that cannot be, with why.

        Each has to be made, and added, before the next one is asked for. Those without a reason need one of the others.
        """
        later, self._later = self._later, {}
        takes: dict[str, list[str]] = {}
        for id_, draft in later.items():
            if draft.take:
                takes.setdefault(draft.base, []).append(id_)
        needs = {
            id_: [
                source
                for asked, _ in draft.asked
                for source in ([asked.job] if asked.job in later else takes.get(asked.job, [asked.job]))
            ]
            for id_, draft in later.items()
        }
        ordered, stuck = in_order(needs)
        why = {circle[0]: circle for circle in circles(needs, stuck)}
        lost = [(later[id_], _circle(later[id_], why[id_]) if id_ in why else None) for id_ in stuck]
        return self._in_turn([later[id_] for id_ in ordered], needs), lost

    def _in_turn(self, drafts: Sequence[Draft], needs: Mapping[str, Sequence[str]]) -> Iterator[Draft]:
        """Yield each once what it needs was made, and the jobs whose names that may have had."""
        left = {draft.spec.id: draft for draft in drafts}
        while left:
            before = len(left)
            for id_, draft in [*left.items()]:
                if left.keys().isdisjoint(needs[id_]) and not any(
                    name in left and name != id_
                    for asked, _ in draft.asked
                    for name in self._earlier(asked.job)
                ):
                    yield left.pop(id_)
            if len(left) == before:  # what such a name is now was itself made of this one: it is another job
                yield left.pop(next(id_ for id_ in left if left.keys().isdisjoint(needs[id_])))

    def made(self, draft: Draft) -> tuple[JobSpec, list[Wrong]]:
        """Return a job with its references and its fingerprint, and what is wrong with it."""
        references: list[Reference] = []
        options: list[list[str]] = []
        wrong: list[Wrong] = []
        for each, spot in zip(draft.references, draft.spots, strict=True):
            if not isinstance(each, AskedResult):
                references.append(each)
                options.append([each.sha256])
                continue
            found = self._reference(each, spot, draft)
            if isinstance(found, Wrong):
                wrong.append(found)
            else:
                references.append(found[0])
                options.append(found[1])
        if not wrong:
            wrong += _unfit(draft, references)
        references, tokens = self._settled(draft, references, options)
        fingerprint = _fingerprint(draft, tokens)
        spec = draft.spec
        job = JobSpec(  # in full: `replace` takes five times as long, and there may be a hundred thousand
            id=spec.id,
            model=spec.model,
            prompt=spec.prompt,
            params=spec.params,
            references=tuple(references),
            output=spec.output,
            fingerprint=fingerprint,
            axes=spec.axes,
            place=spec.place,
            number=spec.number,
        )
        return job, wrong

    def _settled(
        self, draft: Draft, references: list[Reference], options: Sequence[Sequence[str]]
    ) -> tuple[list[Reference], list[str]]:
        """Return references and what stands for them in the fingerprint.

        Of what nobody picks any more, but a job was made with, that take is meant for as long as it is what it was.
        """
        tokens = [each[0] if len(each) == 1 else choice_token(each) for each in options]
        open_ = [place for place, each in enumerate(options) if len(each) > 1]
        if len(open_) != 1:
            return references, tokens
        place = open_[0]
        asked = draft.references[place]
        assert isinstance(asked, AskedResult)
        for job, one, token in self._choices(asked, _takes_of(references[place])):
            tried = [*tokens[:place], token, *tokens[place + 1 :]]
            if self._outcomes.was_sent(draft.spec.id, _fingerprint(draft, tried)):
                references = [*references]
                references[place] = _unbound(one, references[place].kind, (job,))
                return references, tried
        return references, tokens

    def _choices(
        self, asked: AskedResult, takes: Sequence[JobId]
    ) -> Iterator[tuple[JobId, AskedResult, str]]:
        """Yield what a person can choose: the take, what is asked of it then, and its token."""
        for job in takes:
            known = self._known[job]
            yield job, asked, self._token(asked, job, known)
            for result in range(1, 1 + (self._outcomes.results(job, known.fingerprint) or 0)):
                if result != asked.result:
                    one = asked._replace(result=result)
                    yield job, one, self._token(one, job, known)

    def _reference(self, asked: AskedResult, spot: Spot, draft: Draft) -> tuple[Reference, list[str]] | Wrong:
        """Return a reference, and what may stand for it in the fingerprint: several where it is not decided."""
        if asked.job == draft.spec.id or (asked.pick and asked.job == draft.base):
            return Wrong(spot, f"the job {shown(draft.spec.id)} needs its own result", "job-circle")
        takes = self._takes.get(asked.job, []) if asked.pick or asked.job not in self._known else []
        if takes and not asked.pick:
            hint = (
                f"write {{job: {takes[0]}}} for one of them, or add `pick: true` to pick one yourself later"
            )
            return Wrong(
                spot,
                f"{shown(asked.job)} has {len(takes)} takes, and a reference is one",
                "several-takes",
                hint,
            )
        jobs = takes or [asked.job]
        sources = [self._known.get(job) for job in jobs]
        known = [each for each in sources if each is not None]
        if len(known) != len(sources):
            return self._unknown(asked.job, spot, draft.spec.id)
        trouble = self._unsuited(asked, spot, draft, jobs[0], known[0])
        if trouble is not None:
            return trouble
        kind = Kind.IMAGE if asked.frame is not None else _kind_of(known[0].contract, draft.contract)
        tokens = [self._token(asked, job, each) for job, each in zip(jobs, known, strict=True)]
        if not asked.pick:
            return _unbound(asked, kind, (JobId(jobs[0]),)), tokens
        picked = [
            (job, each, results)
            for job, each in zip(jobs, known, strict=True)
            if (results := self._outcomes.picked(self._name_of(job, each), each.fingerprint)) is not None
        ]
        if len(picked) == 1 and len(picked[0][2]) <= 1:
            job, each, results = picked[0]
            one = asked._replace(result=results[0]) if results and asked.result == 1 else asked
            return _unbound(one, kind, (JobId(job),)), [self._token(one, job, each)]
        ids = tuple(map(JobId, jobs))
        # One token would be that of a choice made.
        return _unbound(asked, kind, ids, undecided=True), tokens if len(tokens) > 1 else [*tokens, ""]

    def _token(self, asked: AskedResult, job: str, known: _Known) -> str:
        edition = self._outcomes.edition(self._name_of(job, known), known.fingerprint, known.output)
        frame = asked.frame.value if asked.frame is not None else None
        return result_token(
            known.fingerprint, edition=edition, take=known.take, result=asked.result, frame=frame
        )

    def _unsuited(
        self, asked: AskedResult, spot: Spot, draft: Draft, job: str, source: _Known
    ) -> Wrong | None:
        """Return why what a job makes cannot be had as it is asked for."""
        if asked.frame is not None and source.contract.category not in ("", Kind.VIDEO.value):
            what = f"{shown(job)} makes {_a(source.contract.category)} ({source.contract.id}), which has no frames"
            return Wrong(spot, what, "no-frames", "leave `frame` out")
        if asked.frame is not None and not self._frames:
            return Wrong(
                spot,
                "a frame of a film is taken by PyAV, which is not installed",
                "no-frames",
                "pip install 'rivya-batch[frames]'",
            )
        number = self._outcomes.results(job, source.fingerprint) if asked.result > 1 else None
        if number is not None and asked.result > number:
            what = f"{shown(job)} has made {number} result{'' if number == 1 else 's'}, not {asked.result}"
            return Wrong(
                spot,
                what,
                "no-such-result",
                f"`result` is 1 to {number}" if number > 1 else "leave `result` out",
            )
        return None

    def behind(self) -> Iterator[tuple[str, Wrong]]:
        """Yield, for each job with mistakes that others need, the first of these and what to tell of them all."""
        for root, (spot, jobs, number) in self._behind.items():
            needs = f"the result of {shown(root)}, which has mistakes itself"
            some = ", ".join(map(shown, jobs)) + (", …" if number > len(jobs) else "")
            what = f"it needs {needs}" if number == 1 else f"{number:,} jobs ({some}) need {needs}"
            yield jobs[0], Wrong(spot, what, "job-with-mistakes")

    def _unknown(self, job: str, spot: Spot, asker: str) -> Wrong:
        if job in self._without:
            root = self._root.get(job, job)
            if asker not in self._root:
                self._root[asker] = root
                first, jobs, number = self._behind.get(root, (spot, [], 0))
                if number < _NAMED:
                    jobs.append(asker)
                self._behind[root] = _Behind(first, jobs, number + 1)
            return Wrong(spot, "", "job-with-mistakes", behind=root)
        base, _, take = job.rpartition("-")
        if take.isdecimal() and (takes := self._takes.get(base)):
            of = f"{takes[0]} to {takes[-1]}" if len(takes) > 1 else f"{takes[0]} only"
            what = f"there is no job {shown(job)} in this manifest"
            return Wrong(spot, what, "unknown-job", f"the takes of {base} are {of}")
        like = None
        if self._asked_ids < _ASKED_IDS:
            self._asked_ids += len(self._known)
            like = suggest(job, (*self._takes, *self._known))
        hint = f"did you mean {like}?" if like else "a reference names the id of a job of the same manifest"
        return Wrong(spot, f"there is no job {shown(job)} in this manifest", "unknown-job", hint)


def _takes_of(reference: Reference) -> tuple[JobId, ...]:
    return reference.result_of.jobs if reference.result_of is not None else ()


def _unbound(
    asked: AskedResult, kind: Kind, jobs: tuple[JobId, ...], *, undecided: bool = False
) -> Reference:
    return Reference(
        path=asked.words(asked.job if undecided else jobs[0]),
        file=Path(),
        kind=kind,
        mime="",
        size_bytes=0,
        sha256=Sha256(""),
        result_of=ResultOf(
            jobs=jobs, result=asked.result, frame=asked.frame, pick=asked.pick, undecided=undecided
        ),
    )


def _fingerprint(draft: Draft, tokens: Sequence[str]) -> Fingerprint:
    return fingerprint_of(
        model=draft.spec.model, prompt=draft.spec.prompt, params=draft.params, references=tokens
    )


def _kind_of(source: Contract, taker: Contract) -> Kind:
    """Return what a model makes; where that is not documented, what the other one takes."""
    kind = _KINDS.get(source.category)
    if kind is None:
        kind = next((rule.kind for rule in taker.uploads.kinds), Kind.IMAGE)
    return kind


def _unfit(draft: Draft, references: Sequence[Reference]) -> Iterator[Wrong]:
    for problem in check_references(draft.contract, references):
        index = problem.key[len("references[") : -1]
        spot = draft.spots[int(index)] if index.isdecimal() else draft.spots[0]
        yield Wrong(spot, problem.what, problem.code, problem.hint, warns=problem.severity.value == "warning")


def _circle(draft: Draft, circle: Sequence[str]) -> Wrong:
    spot = next(draft.asked)[1]
    if len(circle) == 1:
        return Wrong(spot, f"the job {shown(circle[0])} needs its own result", "job-circle")
    some = [*circle[:_NAMED], "…"] if len(circle) > _NAMED else [*circle, circle[0]]
    what = f"these jobs need each other's results, in a circle: {' needs '.join(map(shown, some))}"
    return Wrong(spot, what.replace('"…"', "…"), "job-circle", "one of them has to begin")


def _a(category: str) -> str:
    return {"image": "a picture", "video": "a film", "audio": "sound"}.get(category, category)


NOTHING_KNOWN: Final[Outcomes] = NothingKnown()
