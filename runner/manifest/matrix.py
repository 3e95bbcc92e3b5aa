"""The combinations of a job's matrix: every axis with every other, less some, plus some."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runner.contract.phrases import listed, shown, suggest
from runner.manifest.section import Section
from runner.manifest.texts import check_variable_name, filled_in, is_scalar
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import Json

MOST: Final = 1_000_000  # combinations of one job

Combination = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Axes with their values, and the combinations to leave out and to add."""

    axes: Mapping[str, Sequence[Json]]
    exclude: Sequence[Combination] = ()
    include: Sequence[Combination] = ()

    def combinations(self) -> Iterator[Combination]:
        """Yield the combinations: the last axis changes fastest; added ones come last."""
        names = list(self.axes)
        if any(self.axes.values()):
            for values in itertools.product(*self.axes.values()):
                combination = dict(zip(names, values, strict=True))
                if not any(_covers(each, combination) for each in self.exclude):
                    yield combination
        yield from self.include


def read_matrix(job: Section, variables: Mapping[str, Json], *, refused: bool = False) -> Matrix | None:
    """Return the matrix of a job, or None where it is wrong, which is reported.

    Of a job that the schema has `refused`, what is left may have no combination: that tells nothing more.

    A job with only `include` has those combinations; its axes are those of the first.
    """
    findings = job.findings
    before = findings.reported
    axes = _axes(job, variables) if job.has("matrix") else {}
    if findings.reported > before:
        return None
    exclude = _combinations(job, "exclude", variables)
    include = _combinations(job, "include", variables)
    if not job.has("matrix") and include:
        section, first = next(_written(job, "include", include))
        for name in first:
            check_variable_name(section, name)
        axes = {name: [] for name in first}
    _check_exclude(job, axes, exclude)
    _check_include(job, axes, include)
    matrix = Matrix(axes=axes, exclude=exclude, include=include)
    count = math.prod(len(values) for values in axes.values()) if axes else 0
    if count > MOST:
        what = f"this matrix has {count:,} combinations; at most {MOST:,} are read"
        findings.error(job.at("matrix"), what, "too-many-jobs")
    elif findings.reported == before and next(matrix.combinations(), None) is None:
        if refused:
            return None
        key = "exclude" if job.has("exclude") else "include"
        findings.error(job.at(key), "the matrix has no combination left", "empty-matrix")
    _check_added(job, matrix, twice=findings.reported == before)
    return matrix if findings.reported == before else None


def same(one: Json, other: Json) -> bool:
    """Return whether two values are the same to a person: `1` is not `true`, nor `"1"`."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _covers(part: Combination, whole: Combination) -> bool:
    return all(same(whole[name], value) for name, value in part.items())


def _axes(job: Section, variables: Mapping[str, Json]) -> dict[str, list[Json]]:
    section = job.section("matrix")
    if section is None:
        return {}
    axes: dict[str, list[Json]] = {}
    for name, values in section.node.items():
        check_variable_name(section, name)
        if isinstance(values, YamlList):
            axes[name] = _values(section, name, values, variables)
    return axes


def _values(section: Section, name: str, values: YamlList, variables: Mapping[str, Json]) -> list[Json]:
    result: list[Json] = []
    for index, value in enumerate(values):
        spot = section.at(name).inside(values.item_at(index), index)
        if not is_scalar(value):
            continue
        filled = filled_in(value, spot, variables, section.findings) if isinstance(value, str) else value
        if any(same(filled, other) for other in result):
            what = f"the axis {name} has the value {shown(filled)} twice"
            section.findings.error(spot, what, "duplicate-value")
        result.append(filled)
    return result


def _combinations(job: Section, key: str, variables: Mapping[str, Json]) -> list[Combination]:
    if not job.has(key):
        return []
    written = job.node[key]
    if not isinstance(written, YamlList):
        return []
    result: list[Combination] = []
    for index, item in enumerate(written):
        spot = job.at(key).inside(written.item_at(index), index)
        if not isinstance(item, YamlMap) or not item:
            continue
        section = Section(item, spot, job.findings)
        combination: dict[str, Json] = {}
        for name, value in item.items():
            if isinstance(value, str):
                combination[name] = filled_in(value, section.at(name), variables, job.findings)
            elif is_scalar(value):
                combination[name] = value
        result.append(combination)
    return result


def _check_exclude(job: Section, axes: Mapping[str, Sequence[Json]], exclude: Sequence[Combination]) -> None:
    if not axes or not isinstance(job.node.get("exclude"), YamlList):
        return
    for section, combination in _written(job, "exclude", exclude):
        _unknown_axes(section, axes)
        for name, value in combination.items():
            if name in axes and not any(same(value, other) for other in axes[name]):
                like = suggest(str(value), [str(other) for other in axes[name]])
                hint = f"did you mean {like}?" if like else f"it has {listed([str(v) for v in axes[name]])}"
                what = f"this excludes nothing: the axis {name} has no value {shown(value)}"
                job.findings.warn(section.at(name), what, "excludes-nothing", hint)


def _check_include(job: Section, axes: Mapping[str, Sequence[Json]], include: Sequence[Combination]) -> None:
    if not axes:
        return
    for section, combination in _written(job, "include", include):
        _unknown_axes(section, axes)
        missing = [name for name in axes if name not in combination]
        if missing:
            what = f"this combination says nothing of {listed(missing)}"
            job.findings.error(section.spot, what, "missing-axis", "name every axis of the matrix")


def _check_added(job: Section, matrix: Matrix, *, twice: bool) -> None:
    """Report combinations that are added although they are there already."""
    if not twice:
        return
    for index, (section, combination) in enumerate(_written(job, "include", matrix.include)):
        in_axes = all(any(same(combination[n], v) for v in values) for n, values in matrix.axes.items())
        left_out = any(_covers(each, combination) for each in matrix.exclude)
        again = any(_covers(each, combination) for each in matrix.include[:index])
        if (in_axes and not left_out) or again:
            what = "this combination is there already"
            job.findings.error(section.spot, what, "duplicate-combination", "remove it")


def _unknown_axes(section: Section, axes: Mapping[str, Sequence[Json]]) -> None:
    for name in section.node:
        if name not in axes:
            like = suggest(name, axes)
            hint = f"did you mean `{like}`?" if like else f"there are {listed([*axes])}"
            spot = section.spot.inside(section.node.key_at(name), name)
            section.findings.error(spot, f"the matrix has no axis {shown(name)}", "unknown-axis", hint)


def _written(
    job: Section, key: str, combinations: Sequence[Combination]
) -> Iterator[tuple[Section, Combination]]:
    """Yield each combination with the mapping it was written as."""
    items = [
        Section(item, job.at(key).inside(job.node[key].item_at(index), index), job.findings)
        for index, item in enumerate(job.node.get(key, ()))
        if isinstance(item, YamlMap) and item
    ]
    yield from zip(items, combinations, strict=True)
