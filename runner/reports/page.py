"""The report as one HTML file that opens from the disk: no server, no network, no other file of ours.

What people wrote travels as JSON in a block that no browser executes, with `<` escaped, and reaches the page
as text only. The page's own script and style are allowed by their hashes; everything else is forbidden.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import html
import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

from runner import __version__
from runner.contract.once import OncePerObject
from runner.errors import UsageError
from runner.host.processes import is_alive
from runner.model import ObjectPath, ResultPath
from runner.reports.data import Report, ReportFile, ReportJob
from runner.results.parts import disk_errors, sync_folder
from runner.results.storage import storage_of

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = (
    "words",
    "model",
    "source",
    "media",
    "switches",
    "tiles",
    "gallery",
    "grid",
    "table",
    "charts",
    "numbers",
    "lightbox",
    "room",
    "picks",
    "app",
)
"""The page's script, in the order in which its parts are joined."""

NO_CONNECTION = "'none'"

VERSION = 1
_OURS = re.compile(r'<meta name="rivya-manifest" content="([^"]*)">')
_HEAD_BYTES = 4096


def page_path(folder: ResultPath, manifest: str, *, look: bool = True) -> ResultPath:
    """Return where a manifest's page goes: `report.html`, unless another manifest's stands there.

    Args:
        folder: Where its results are.
        manifest: Its name.
        look: Look also where that is a question to a bucket.
    """
    path = folder / "report.html"
    if not look and isinstance(path, ObjectPath):
        return path
    owner = _owner(path)
    return path if owner in (None, "", manifest) else folder / f"report-{manifest}.html"


def write_report(report: Report, path: ResultPath) -> int:
    """Write the page, whole or not at all, and return its size in bytes.

    Raises:
        UsageError: A file that is no report of ours stands there, or the folder cannot be written to.
        DiskTrouble: The disk is full or fails.
    """
    if isinstance(path, Path):
        with disk_errors(path.parent), suppress(FileNotFoundError, NotADirectoryError):
            path.parent.stat()  # a drive that is away holds no report of anybody
    if _owner(path) == "":
        raise UsageError(
            f"{path} is not a rivya-batch report; it was left as it is",
            hint="move it away, then run it again",
        )
    data = render(report)
    if isinstance(path, ObjectPath):
        storage_of(path).write(path, data, mime="text/html; charset=utf-8")
        return len(data)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_halves(path)
        try:
            new.write_bytes(data)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
        sync_folder(path.parent)
    return len(data)


def _forget_halves(path: Path) -> None:
    """Remove what processes have left that were killed while they wrote this page."""
    for half in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        writer = half.name.removesuffix(".new").rpartition(".")[2]
        if writer.isdigit() and not is_alive(int(writer)):
            half.unlink(missing_ok=True)


def render(report: Report) -> bytes:
    """Return the page of a report."""
    return page(report.manifest, json.dumps(payload(report), ensure_ascii=False, separators=(",", ":")))


def page(title: str, data: str, *, connect: str = NO_CONNECTION) -> bytes:
    """Return the page around its data.

    Args:
        title: What the browser's tab shows: the manifest's name.
        data: A JSON document, `payload` of a report or `{"v": 1, "live": url}` of a source of events.
        connect: The `connect-src` of the policy; a page fed live needs `'self'`, and gets the parts that
            only such a page has.
    """
    live = connect != NO_CONNECTION
    parts = {
        "policy": html.escape(policy(connect=connect)),
        "version": html.escape(__version__),
        "title": html.escape(title),
        "style": _style(live),
        "data": data.replace("<", "\\u003c"),
        "script": _script(live),
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], asset("page.html"))
    # A lone surrogate cannot be written as UTF-8; as \udXXX it is good JSON.
    return text.encode("utf-8", "backslashreplace")


def policy(*, connect: str = NO_CONNECTION) -> str:
    """Return the page's Content-Security-Policy."""
    live = connect != NO_CONNECTION
    return policy_for(_script(live), _style(live), connect=connect)


def policy_for(script: str, style: str, *, connect: str = NO_CONNECTION) -> str:
    """Return the policy of a page with this script and style, and no other."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}';"
        " img-src 'self' file: blob: data:; media-src 'self' file: blob:;"
        f" connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def payload(report: Report) -> dict[str, Any]:
    """Return a report as the page reads it: columns, with everything that repeats told once.

    {"v": 1, "head": {…}, "tables": {"state": […], "prompt": […], …}, "jobs": {"row": […], "id": […], …}}
    """
    jobs = [*report.jobs]
    return {"v": VERSION, "head": head(report), **columns(jobs)}


def head(report: Report) -> dict[str, Any]:
    """Return what a report says of the manifest as a whole."""
    ask = "{job}"
    return {
        "manifest": report.manifest,
        "workspace": report.workspace,
        "sandbox": report.sandbox,
        "written_at": report.written_at,
        "version": __version__,
        "counts": dict(report.counts),
        "orphaned": report.orphaned,
        "charged": report.charged,
        "reserved": report.reserved,
        "categories": dict(report.categories),
        "credits": [asdict(line) for line in report.credits],
        "runs": [asdict(line) for line in report.runs],
        "failures": [asdict(line) for line in report.failures],
        # The page puts the job's id, quoted for a shell, in the place of {job}.
        "commands": {
            "run": report.invocation.command("run"),
            "retry": _open(report.invocation.command("retry", "--only", ask), ask),
            "validate": shlex.join(["rivya-batch", "validate", report.invocation.manifest]),
            "switch": report.invocation.command("switch"),
            "pick": report.invocation.command("pick"),
            "resolve": _open(report.invocation.command("resolve", ask), ask),
        },
        "manifest_file": report.invocation.manifest,
    }


def columns(jobs: Sequence[ReportJob]) -> dict[str, Any]:
    """Return jobs as columns, and the tables their numbers point into."""
    start = min((job.submitted_s for job in jobs if job.submitted_s is not None), default=0.0)
    tables = {name: _Table() for name in ("state", "model", "prompt", "params", "refs", "error", "price")}
    names: dict[str, _Table] = {}
    for job in jobs:
        for name in job.axes:
            names.setdefault(name, _Table())
    axes: dict[str, list[int]] = {name: [] for name in names}
    for job in jobs:
        for name, numbers in axes.items():
            numbers.append(names[name].add(job.axes[name]) if name in job.axes else -1)
    return {
        "start": start,
        "jobs": {
            "row": [job.row for job in jobs],
            "id": [job.id for job in jobs],
            "listed": [int(job.listed) for job in jobs],
            "state": [tables["state"].add(job.state) for job in jobs],
            "model": [tables["model"].add(job.model) for job in jobs],
            "prompt": [tables["prompt"].add(job.prompt) for job in jobs],
            "params": [tables["params"].add_object(job.params) for job in jobs],
            "refs": [tables["refs"].add_object(job.references, _files) for job in jobs],
            "round": [job.round for job in jobs],
            "task": [job.task_id for job in jobs],
            "estimated": [_number(job.estimated) for job in jobs],
            "reserved": [_number(job.reserved) for job in jobs],
            "charged": [_number(job.charged) for job in jobs],
            "submitted": [_since(job.submitted_s, start) for job in jobs],
            "finished": [_since(job.finished_s, start) for job in jobs],
            "duration": [_number(job.duration_s, 2) for job in jobs],
            "attempts": [job.attempts for job in jobs],
            "polls": [job.polls for job in jobs],
            "overdue": [int(job.overdue) for job in jobs],
            "error": [
                tables["error"].add((job.error_class, job.error_code, job.error_message)) for job in jobs
            ],
            "files": [_files(job.files) for job in jobs],
        },
        # Of most nothing was said: [place in the columns, verdict, rating, word, when, which of its results].
        "picks": [
            [at, job.pick.verdict or "", job.pick.rating, job.pick.word, job.marked_s, job.pick.results]
            for at, job in enumerate(jobs)
            if job.marked_s is not None
        ],
        "off": [at for at, job in enumerate(jobs) if job.off],
        # Of jobs that are not sent yet, where somebody has asked: [place in the columns, number in the table].
        "prices": [
            [at, tables["price"].add(tuple(job.price))]
            for at, job in enumerate(jobs)
            if job.price is not None
        ],
        "axes": [{"name": name, "values": names[name].values, "jobs": axes[name]} for name in names],
        "tables": {name: table.values for name, table in tables.items()},
    }


class _Table:
    """Distinct values in the order in which they came, each with its number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[object, int] = {}
        self._objects = OncePerObject[int]()

    def add(self, value: Any) -> int:
        """Return the number of a text, number, list, …; `1` and `true` are two values."""
        if isinstance(value, (list, dict)):
            return self.add_object(value, lambda form: form)
        return self._number((type(value), value), value)

    def add_object(self, value: Any, shown: Any = None) -> int:
        """Return the number of a mapping or a sequence; equal ones have one number."""
        return self._objects.get(value, partial(self._add_form, value, shown))

    def _add_form(self, value: Any, shown: Any) -> int:
        form = shown(value) if shown else dict(value)
        return self._number(("json", json.dumps(form, ensure_ascii=False)), form)

    def _number(self, key: object, value: Any) -> int:
        number = self._numbers.setdefault(key, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


def _files(files: Iterable[ReportFile]) -> list[Any]:
    """Return files as `[url, mime, bytes]`, with the name where the url does not tell it, what is odd, and `again`."""

    def more(item: ReportFile) -> list[Any]:
        name = None if item.url == item.name else item.name
        if item.again is not None:
            return [name, item.warning, item.again]
        return [name, item.warning] if item.warning else [name] if name else []

    return [[item.url, item.mime, item.size_bytes, *more(item)] for item in files]


def _open(command: str, ask: str) -> str:
    """Take the shell's quotes off the place of the job; the page quotes what it puts there."""
    return command.replace(f"'{ask}'", ask)


def _number(value: float | None, digits: int = 4) -> float | int | None:
    if value is None:
        return None
    return int(value) if float(value).is_integer() else round(value, digits)


def _since(moment: float | None, start: float) -> float | int | None:
    return None if moment is None else _number(moment - start, 1)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def asset(name: str) -> str:
    """Return the text of a part of our pages."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _style(live: bool) -> str:
    return asset("page.css") + (asset("live.css") if live else "")


@cache
def _script(live: bool) -> str:
    names = [*SCRIPTS[:-1], "live", SCRIPTS[-1]] if live else SCRIPTS
    parts = "\n".join(asset(f"{name}.js") for name in names)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def _owner(path: ResultPath) -> str | None:
    """Return whose report stands at a path: None for no file, an empty text for a file that is no report."""
    storage = storage_of(path)
    data = storage.read(path, _HEAD_BYTES)
    if data is None:
        return "" if storage.exists(path) else None
    start = data.decode("utf-8", "replace")
    found = _OURS.search(start)
    return html.unescape(found[1]) if found else ""
