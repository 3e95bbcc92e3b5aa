"""`again`: jobs that were picked, as a manifest of their own, with what is to be different this time."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.api.init import manifest_name_of
from runner.api.manifests.opened import InvalidManifest, manifest_name
from runner.api.plan import Plan, planned
from runner.errors import UsageError
from runner.host.workspace import find_workspace, no_database
from runner.lifecycle.selection import Only, fits
from runner.manifest.what_if import Change, read_change
from runner.model import Json
from runner.results.parts import disk_errors
from runner.store import reporting
from runner.store.database import open_to_read

SCHEMA_LINE = "# yaml-language-server: $schema=manifest.schema.json"
_MODELINE = "# yaml-language-server:"
_PLAIN = re.compile(r"[A-Za-z][\w .-]*(?<! )|\d+:\d+|\d+p")
_AXIS = re.compile(r"[a-z][a-z0-9_-]*")
LONGEST_AXIS = 40  # letters
_WORDS = frozenset({"true", "false", "null", "True", "False", "Null", "TRUE", "FALSE", "NULL"})

ROOM = 2.0  # times the list prices, where nothing else is known


@dataclass(frozen=True, slots=True)
class AgainJob:
    """A job as it is to be written. References are as a manifest in the new place names them."""

    id: str
    model: str
    prompt: str | None
    params: Mapping[str, Json]
    references: tuple[Json, ...]
    axes: Mapping[str, Json]  # by which the page groups it: a matrix of one value each


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainManifest:
    """What was written: the file, how many jobs it names, and what it would do and cost."""

    file: Path
    jobs: int
    plan: Plan


def write_again(
    manifest: Path,
    out: Path,
    *,
    only: Only,
    changes: Sequence[str],
    repeat: int | None,
    state: str | None,
    sandbox: bool,
) -> AgainManifest:
    """Write a manifest of jobs of another one, price it, and set its budget.

    Args:
        manifest: Where the jobs are from.
        out: The new file; nothing may be there.
        only: Which jobs.
        changes: `resolution=720p`, `model=…`, `prompt=…`; an empty value takes a param out.
        repeat: Takes of each.
        state: Another database.
        sandbox: Jobs of rehearsals.

    Raises:
        UsageError: There is no such job, or the file is there.
        InvalidManifest: The changes fit the model of no or not all jobs; nothing is left behind.
    """
    if out.exists():
        raise UsageError(f"{out} already exists", hint="name another file with -o")
    found = [_changed(job, changes) for job in _jobs(manifest, out, only, state=state, sandbox=sandbox)]
    found, takes = _one_of_each(found, repeat)
    name = manifest_name_of(out)
    if name == manifest_name(manifest):
        raise UsageError(
            f"the new manifest would be called {name} as the old one is: they would share their rows",
            hint="name another file with -o",
        )
    head = _schema_line(manifest, out)

    def write(credits: float | None) -> None:
        lines = _lines(found, name, manifest, out, head, takes, credits)
        out.write_text("\n".join([*lines, ""]), encoding="utf-8")

    with disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(None)
            with planned(out, state=state, sandbox=sandbox) as (plan, _):
                high = plan.totals.all.high
                # A list price is the least it can be: a cap at just that would end the run early.
                credits = max(plan.to_spend, high) if high is not None else ROOM * plan.to_spend
                write(credits)
        except BaseException as exc:
            with suppress(OSError):
                out.unlink()
            if isinstance(exc, InvalidManifest):
                # Its problems name lines of a file that nobody will find.
                exc.message = f"{out} was not written: as it would be, it has {exc.errors} problem{'s' * (exc.errors != 1)}"
                exc.hint = "change what is set, or leave these jobs out"
            raise
    return AgainManifest(file=out, jobs=len(found), plan=plan)


def _jobs(manifest: Path, out: Path, only: Only, *, state: str | None, sandbox: bool) -> list[AgainJob]:
    workspace = find_workspace(manifest, state=state, sandbox=sandbox)
    if not workspace.has_database:
        raise no_database(workspace, sandbox=sandbox)
    name = manifest_name(manifest)
    with closing(open_to_read(workspace.database)) as file:
        found = [
            AgainJob(
                job.job,
                job.model,
                job.prompt,
                json.loads(job.params),
                tuple(_reference(each, manifest, out) for each in reporting.references(job.refs)),
                _axes(json.loads(job.axes)),
            )
            for job in reporting.job_rows(file.conn, name)
            if job.listed and fits(only, job.job) and not job.off
        ]
    if not found:
        raise UsageError(f"{name} has none of these jobs", hint="`rivya-batch pick` shows what is picked")
    return found


def _axes(axes: Mapping[str, Json]) -> dict[str, Json]:
    """Return what of the axes of a job a matrix can hold; takes are made anew, and a text is no axis."""
    return {
        name: value
        for name, value in axes.items()
        if name != "take"
        and _AXIS.fullmatch(name)
        and isinstance(value, (str, int, float))
        and len(str(value)) <= LONGEST_AXIS
    }


def _reference(item: reporting.ReferenceRow, manifest: Path, out: Path) -> Json:
    """Return a reference as a manifest at another place names the same file."""
    if item.is_result:  # which is a file now: the new manifest does not list the job that has made it
        if not item.file:
            raise UsageError(
                f"what is chosen takes a result that is not there yet ({item.path})",
                hint="run it first, or pick others",
            )
        if "://" in item.file:
            raise UsageError(
                f"what is chosen takes a result that lies in a bucket, where no manifest finds it: {item.file}",
                hint="fetch it, and name the file yourself",
            )
        return _literal(os.path.relpath(item.file, os.path.realpath(out.absolute().parent)))
    if "://" in item.path:
        return item.path
    there = os.path.normpath(manifest.absolute().parent / item.path)
    path = item.path
    if not Path(item.path).is_absolute() and out.absolute().parent != manifest.absolute().parent:
        path = os.path.relpath(there, out.absolute().parent)
    mended = os.path.realpath(there) != os.path.realpath(item.file)
    return {"file": _literal(path), "mend": True} if mended and item.file else _literal(path)


def _one_of_each(jobs: Sequence[AgainJob], repeat: int | None) -> tuple[list[AgainJob], dict[str, int]]:
    """Return jobs that ask for different things, and how many takes are made of each, by its id.

    Takes of one combination ask for the same: they are one job with as many takes.
    """
    same: dict[str, list[AgainJob]] = {}
    for job in jobs:
        asks = [job.model, job.prompt, job.params, job.references]
        same.setdefault(json.dumps(asks, sort_keys=True, ensure_ascii=False), []).append(job)
    used = {each[0].id for each in same.values() if len(each) == 1}
    found, takes = list[AgainJob](), dict[str, int]()
    for each in same.values():
        id_ = each[0].id
        plain = re.sub(r"-\d+$", "", id_)
        if len(each) > 1 and plain and plain not in used | takes.keys():
            id_ = plain
        number = len(each) * (repeat or 1)
        shared = {
            name: value
            for name, value in each[0].axes.items()
            if all(other.axes.get(name) == value for other in each)
        }
        found.append(replace(each[0], id=id_, axes=shared))
        takes[id_] = number if number > 1 or repeat else 0
    return found, takes


def _changed(job: AgainJob, changes: Sequence[str]) -> AgainJob:
    for text in changes:
        key, _, value = text.partition("=")
        name = key.strip().removeprefix("params.")
        if name == "model" and value:
            job = replace(job, model=value)
        elif name == "prompt" and value:
            job = replace(job, prompt=value)
        elif "=" in text and not value:
            job = replace(job, params={each: old for each, old in job.params.items() if each != name})
        else:
            change: Change = read_change(text)
            path = change.path[1:] if change.path[0] == "params" else change.path
            if len(path) != 1:
                raise UsageError(
                    f"--set {text} is no change of a job", hint="write it as --set resolution=720p"
                )
            job = replace(job, params={**job.params, path[0]: change.value})
    return job


def _lines(
    jobs: Sequence[AgainJob],
    name: str,
    manifest: Path,
    out: Path,
    head: str,
    takes: Mapping[str, int],
    credits: float | None,
) -> Iterator[str]:
    typed = shlex.quote(out.as_posix())
    number = f"{len(jobs):,} job" + ("" if len(jobs) == 1 else "s")
    many = set(takes.values())
    each = f", {max(many)} takes of each" if len(many) == 1 and max(many) > 1 else ""
    yield head
    yield f"# {number} chosen from {json.dumps(manifest.name, ensure_ascii=False)}{each}."
    yield "#"
    yield f"#   rivya-batch plan {typed}    what would run and what it would cost; sends nothing"
    yield f"#   rivya-batch run {typed}     for real; type it again to continue after anything"
    yield "version: 1"
    yield f"name: {name}   # names its rows in the database and its output folder; keep it"
    model = _common([job.model for job in jobs])
    prompt = _common([job.prompt for job in jobs]) if len(jobs) > 1 else None
    references = _common([list(job.references) for job in jobs]) if len(jobs) > 1 else None
    shared = {
        key: value
        for key, value in jobs[0].params.items()
        if all(
            key in job.params and job.params[key] == value and type(job.params[key]) is type(value)
            for job in jobs
        )
    }
    if model is not None:
        yield f"model: {_flow(model)}"
    if prompt is not None:
        yield f"prompt: {_flow(_literal(prompt))}"
    if references:
        yield f"references: {_flow(references)}"
    if shared:
        yield "params:   # of every job"
        yield from (f"  {_flow(key)}: {_flow(_literals(value))}" for key, value in shared.items())
    if credits is not None:
        yield ""
        yield "budget:"
        yield "  # A cap over all runs of this name: what these jobs are estimated to cost, or twice their list"
        yield "  # prices where nothing else is known."
        yield f"  max_credits: {math.ceil(credits)}"
    yield ""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for name, value in job.axes.items():
            values.setdefault(name, set()).add(json.dumps(value))
    telling = {name for name, different in values.items() if len(different) > 1}
    yield "jobs:" + ("   # each matrix has one value: the page groups by it" if telling else "")
    for job in jobs:
        yield f"  - id: {_flow(_literal(job.id))}"
        if model is None:
            yield f"    model: {_flow(job.model)}"
        if job.prompt is not None and prompt is None:
            yield f"    prompt: {_flow(_literal(job.prompt))}"
        own = {key: _literals(value) for key, value in job.params.items() if key not in shared}
        if own:
            yield f"    params: {_flow(own)}"
        if job.references and not references:
            yield f"    references: {_flow(list(job.references))}"
        if axes := {name: value for name, value in job.axes.items() if name in telling}:
            yield f"    matrix: {_flow({name: [_literals(value)] for name, value in axes.items()})}"
        if takes[job.id]:
            yield f"    repeat: {takes[job.id]}"


def _common(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None


def _schema_line(manifest: Path, out: Path) -> str:
    """Return the line that leads editors to the schema, as the old manifest has it."""
    with suppress(OSError, UnicodeDecodeError):
        first = manifest.read_text(encoding="utf-8-sig").split("\n", 1)[0].rstrip()
        before, equals, place = first.partition("$schema=")
        if first.startswith(_MODELINE) and equals:
            if "://" not in place and not os.path.isabs(place):  # noqa: PTH117
                place = os.path.relpath(manifest.absolute().parent / place, out.absolute().parent)
            return f"{before}$schema={place}"
    return SCHEMA_LINE


def _literal(text: str) -> str:
    """Return a text in which `${` is meant as it stands: of dollars before a brace, a manifest reads two as one."""
    return re.sub(r"\$+(?=\{)", lambda dollars: dollars[0] * 2, text)


def _literals(value: Json) -> Json:
    if isinstance(value, str):
        return _literal(value)
    if isinstance(value, Mapping):
        return {key: _literals(each) for key, each in value.items()}
    return [_literals(each) for each in value] if isinstance(value, Sequence) else value


def _flow(value: Json) -> str:
    """Return a value as YAML on one line: text without quotes where it stays what it is."""
    if isinstance(value, str):
        return (
            value if _PLAIN.fullmatch(value) and value.isascii() and value not in _WORDS else _quoted(value)
        )
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_flow, value))}]"
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Return a text in double quotes; what cannot be printed is escaped."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}

    def shown(char: str) -> str:
        if char in escapes:
            return escapes[char]
        if char.isprintable():
            return char
        code = ord(char)
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"

    return f'"{"".join(map(shown, text))}"'
