"""Rows of jobs for other programs: csv, jsonl, json, and playlists of results. Streams.

The columns are a promise (README of `runner/reports`); a new one is added at the end. Credits are sums over
all rounds of a job. In csv, a list or an object is JSON, and a text that a spreadsheet would take for a
formula gets a leading apostrophe; jsonl and json hold every value as it is.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any, assert_never

from runner.lifecycle.selection import Only, fits, means_result
from runner.model import path_of
from runner.results.storage import storage_of
from runner.store import reporting
from runner.store.connection import Connection
from runner.words import json_text

COLUMNS = (
    "manifest",
    "job",
    "state",
    "listed",
    "model",
    "prompt",
    "params",
    "axes",
    "references",
    "round",
    "task_id",
    "estimated",
    "reserved",
    "charged",
    "submitted_at",
    "finished_at",
    "duration_s",
    "attempts",
    "polls",
    "overdue",
    "error_class",
    "error_code",
    "error_message",
    "artifact",
    "artifacts",
    "fingerprint",
    "warning",
    "pick",
    "rating",
    "word",
    "picked_results",
)

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # obeyed by the terminal it is looked at in
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Format(StrEnum):
    """What `export` can write."""

    CSV = "csv"  # for spreadsheets
    JSONL = "jsonl"  # one object a line
    JSON = "json"  # one array
    XSPF = "xspf"  # a playlist of the results, with prompts
    M3U = "m3u"  # a plain playlist


def export_rows(conn: Connection, manifest: str, format: Format, only: Only | None = None) -> Iterator[str]:
    """Yield the text of an export piece by piece; the pieces end their own lines.

    Args:
        conn: A connection that may be read-only.
        manifest: The manifest's name; all its jobs are exported, also those no longer listed.
        only: Only these jobs.
        format: What to write. A playlist holds every result file of the finished jobs.
    """
    match format:
        case Format.CSV:
            yield from _csv(rows(conn, manifest, only))
        case Format.JSONL:
            for row in rows(conn, manifest, only):
                yield json_text(row) + "\n"
        case Format.JSON:
            yield from _json(rows(conn, manifest, only))
        case Format.XSPF:
            yield from _xspf(manifest, rows(conn, manifest, only))
        case Format.M3U:
            yield from _m3u(rows(conn, manifest, only))
        case _:
            assert_never(format)


def rows(conn: Connection, manifest: str, only: Only | None = None) -> Iterator[dict[str, Any]]:
    """Yield each job as `{column: value}` in the order of `COLUMNS`."""
    with reporting.snapshot(conn):
        files: dict[int, list[tuple[int, str]]] = {}
        warnings: dict[int, list[str]] = {}
        for item in reporting.artifact_rows(conn, manifest):
            files.setdefault(item.row, []).append((item.number, item.path))
            if item.warning:
                warnings.setdefault(item.row, []).append(f"{Path(item.path).name}: {item.warning}")
        for job in reporting.job_rows(conn, manifest):
            if not fits(only, job.job):
                continue
            mine = [path for number, path in files.get(job.row, ()) if means_result(only, job.job, number)]
            yield _row(job, mine, warnings.get(job.row, []))


def _row(job: reporting.JobRow, files: list[str], warnings: list[str]) -> dict[str, Any]:
    values = job._asdict() | {
        "listed": bool(job.listed),
        "overdue": bool(job.overdue),
        "params": json.loads(job.params),
        "axes": json.loads(job.axes),
        "references": [item.path for item in reporting.references(job.refs)],
        "artifact": files[0] if files else None,
        "artifacts": files,
        "warning": "; ".join(warnings) or None,
        "pick": job.verdict or None,
        "rating": job.rating or None,
        "word": job.word or None,
        "picked_results": json.loads(job.picked or "[]"),
    }
    return {name: values[name] for name in COLUMNS}


def _csv(found: Iterator[dict[str, Any]]) -> Iterator[str]:
    return csv_lines(COLUMNS, (row.values() for row in found))


def csv_lines(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield a table as lines of csv that a spreadsheet opens as it is meant, and computes nothing of.

    Args:
        header: The names of the columns.
        rows: The cells; a list or a mapping is written as JSON, None as nothing.
    """
    buffer = io.StringIO()
    # The writer quotes only the line ends it knows; a lone \r in a prompt would break its row.
    writer = csv.writer(buffer, lineterminator="\r\n")
    for cells in chain([header], rows):
        writer.writerow([_cell(value) for value in cells])
        yield buffer.getvalue().removesuffix("\r\n") + "\n"
        buffer.seek(0)
        buffer.truncate()


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case bool():
            return int(value)
        case list() | dict():
            return json_text(value)
        case str() if value.startswith(_FORMULA):
            return f"'{_cell_text(value)}"
        case str():
            return _cell_text(value)
        case _:
            return value


def _cell_text(text: str) -> str:
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def _json(found: Iterator[dict[str, Any]]) -> Iterator[str]:
    before = "[\n"
    for row in found:
        yield before + json_text(row)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _xspf(manifest: str, found: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/">\n'
    yield f" <title>{_xml(manifest)}</title>\n <trackList>\n"
    for row, path in _results(found):
        yield (
            f"  <track><location>{_xml(_link(path))}</location><title>{_xml(row['job'])}</title>"
            f"<annotation>{_xml(row['prompt'] or '')}</annotation></track>\n"
        )
    yield " </trackList>\n</playlist>\n"


def _m3u(found: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield "#EXTM3U\n"
    for row, path in _results(found):
        yield f"#EXTINF:-1,{row['job']}\n{_link(path)}\n"


def _link(path: str) -> str:
    place = path_of(path)
    return storage_of(place).link(place)


def _results(found: Iterator[dict[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    for row in found:
        if row["listed"]:
            for path in row["artifacts"]:
                yield row, path


def _xml(text: str) -> str:
    """Return text for XML 1.0, which has no way to write most control characters."""
    kept = "".join(char for char in text if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff"))
    return html.escape(kept, quote=False)
