"""Finds and opens what `rows:` names: a file of a known format, or the files of a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Final

from runner.contract.phrases import listed, shown
from runner.host.drives import DRIVES
from runner.manifest.csv_rows import CsvRows, TsvRows
from runner.manifest.file_formats import refuse_other_format
from runner.manifest.findings import Findings, Spot
from runner.manifest.inputs import Input, file_sha256, names_sha256
from runner.manifest.json_rows import JsonLinesRows, JsonRows
from runner.manifest.near_files import nearby
from runner.manifest.ordinary_files import Unreadable, open_regular
from runner.manifest.rows import Reading, Row, Rows, is_row
from runner.manifest.text_rows import TextRows
from runner.manifest.xlsx_rows import XlsxRows
from runner.manifest.yaml12 import read_yaml
from runner.manifest.yaml_tree import YamlList

MOST_FILES: Final = 1_000_000  # of one pattern
_WILD: Final = re.compile(r"[*?\[]")
FILE_NAMES: Final = ("name", "stem", "path")  # what `${file.…}` knows


class YamlRows(Rows):
    """A YAML list of mappings."""

    def _read(self) -> Iterator[Row]:
        text = self._whole_text()
        if text is None:
            return
        document = read_yaml(text, file=self.source.file)
        for problem in document.problems:
            self.findings.add(problem)
        root = document.value
        if not isinstance(root, YamlList):
            if document.complete:
                spot = Spot(self.source, document.at)
                self.findings.error(spot, "the file must be a list of mappings", "wrong-type")
            return
        for index, item in enumerate(root):
            spot = Spot(self.source, root.item_at(index), f"[{index}]")
            if is_row(item, spot, self.findings, ""):
                yield Row(item, spot)
        if not root:
            self.findings.warn(Spot(self.source, document.at), "this file has no rows", "no-rows")


class GlobRows(Rows):
    """One row for each file that matches a pattern, sorted by path."""

    scope = "file"

    def __init__(self, folder: Path, pattern: str, spot: Spot, findings: Findings) -> None:
        self._spot = spot
        self._pattern = pattern
        self._paths = _matches(folder, pattern)
        super().__init__(folder, spot.source.file, findings)

    def _input(self) -> Input:
        return Input(kind="glob", name=self._pattern, sha256=names_sha256(self._paths))

    @property
    def columns(self) -> Sequence[str] | None:
        """What is known of a file."""
        return FILE_NAMES

    def _read(self) -> Iterator[Row]:
        for path in self._paths:
            name = PurePosixPath(path)
            yield Row({"name": name.name, "stem": name.stem, "path": path}, self._spot)


_FORMATS: Final[Mapping[str, type[Rows]]] = {
    ".csv": CsvRows,
    ".tsv": TsvRows,
    ".tab": TsvRows,
    ".txt": TextRows,
    ".xlsx": XlsxRows,
    ".xlsm": XlsxRows,
    ".jsonl": JsonLinesRows,
    ".ndjson": JsonLinesRows,
    ".json": JsonRows,
    ".yaml": YamlRows,
    ".yml": YamlRows,
}


_HINTS: Final = {
    ".xls": "save it as .xlsx or as CSV UTF-8",
    ".ods": "save it as .xlsx or as CSV (UTF-8)",
    ".numbers": "export it as CSV (UTF-8) or .xlsx",
    ".md": "a text with one prompt a line is named .txt",
    ".text": "a text with one prompt a line is named .txt",
    ".docx": "save it as plain text, one prompt a line, named .txt",
    ".rtf": "save it as plain text, one prompt a line, named .txt",
    ".json5": "save it as .json",
    ".parquet": 'save it as .jsonl (pandas: `to_json(..., orient="records", lines=True)`)',
}


def holds_rows(name: str) -> bool:
    """Return whether a file with this name is of a format that rows are read from."""
    return PurePosixPath(name).suffix.lower() in _FORMATS


def open_rows(
    folder: Path, name: str, spot: Spot, findings: Findings, reading: Reading | None = None
) -> Rows | None:
    """Open a file of rows, or report at `spot` why not.

    Args:
        folder: The manifest's folder, which `name` is relative to.
        name: The path as written.
        spot: Where it was written.
        findings: Takes what is wrong, now and while the rows are read.
        reading: How to read it, where it does not tell by itself.
    """
    rows = _FORMATS.get(PurePosixPath(name).suffix.lower())
    if rows is None:
        known = ".csv, .tsv, .txt, .xlsx, .jsonl, .json, .yaml"
        hint = _HINTS.get(
            PurePosixPath(name).suffix.lower(), 'for a folder of files write {glob: "assets/*.png"}'
        )
        what = f"rows are read from {known} files; {shown(name)} is none"
        findings.error(spot, what, "unknown-format", hint)
        return None
    if rows is TextRows and reading is not None and reading.delimiter is not None:
        rows = CsvRows  # Excel calls a table with tabs a text
    if reading is not None and (option := _useless(rows, reading)):
        only = {
            "delimiter": ".csv, .tsv and .txt",
            "encoding": "text: .csv, .tsv, .txt and .jsonl",
            "sheet": ".xlsx",
        }
        what = f"`{option}` is for {only[option]} files, and means nothing for {shown(name)}"
        findings.error(spot, what, "row-option", "remove it")
        return None
    # The manifest may have been named by a relative path; so are the files beside it.
    beside = str(Path(spot.source.file).parent / name)
    try:
        path = folder / name
        with open_regular(path) as opened:
            refuse_other_format(
                opened.read(1024), as_text=rows is not XlsxRows, as_table=issubclass(rows, CsvRows)
            )
        return rows(path, beside, findings, reading)
    except (Unreadable, ValueError, OSError) as exc:
        what = exc.what if isinstance(exc, Unreadable) else f"cannot be read ({exc})"
        code = exc.code if isinstance(exc, Unreadable) else "file-unreadable"
        hints = [exc.hint if isinstance(exc, Unreadable) else ""]
        if code == "file-not-found":
            hints.append(nearby(folder, name) or _nearby(folder, name, Path(spot.source.file).name))
        findings.error(spot, f"the file of rows {shown(name)} {what}", code, "; ".join(filter(None, hints)))
        return None


def _useless(rows: type[Rows], reading: Reading) -> str | None:
    """Return an option for reading that a kind of file has no use for."""
    if reading.sheet is not None and rows is not XlsxRows:
        return "sheet"
    if reading.delimiter is not None and not issubclass(rows, CsvRows):
        return "delimiter"
    if reading.encoding is not None and not issubclass(rows, CsvRows | TextRows | JsonLinesRows):
        return "encoding"
    return None


def open_glob(folder: Path, pattern: str, spot: Spot, findings: Findings) -> Rows | None:
    """Find the files of a pattern, or report at `spot` why there are none."""
    try:
        rows = GlobRows(folder, pattern, spot, findings)
    except (ValueError, NotImplementedError, OSError, re.error) as exc:
        hint = "write a pattern relative to the manifest's folder, such as assets/*.png"
        findings.error(
            spot, f"{shown(pattern)} is not a pattern that can be searched for ({exc})", "bad-glob", hint
        )
        return None
    if not rows._paths:
        hint = "patterns are relative to the manifest's folder"
        findings.error(spot, f"no file matches {shown(pattern)}", "no-files", hint)
        return None
    return rows


def is_as_it_was(known: Input, folder: Path) -> bool:
    """Return whether an input still has the content it had."""
    try:
        if known.kind == "rows":
            return file_sha256(Path(known.name)) == known.sha256
        return names_sha256(_matches(folder, known.name)) == known.sha256
    except (Unreadable, ValueError, NotImplementedError, OSError, re.error):
        return False


def _matches(folder: Path, pattern: str) -> list[str]:
    if "\0" in pattern:
        raise ValueError("it has a NUL character in it")
    hidden = any(part.startswith(".") and part != ".." for part in PurePosixPath(pattern).parts)
    found = []
    DRIVES.wait_for(
        folder.joinpath(*takewhile(lambda part: not _WILD.search(part), PurePosixPath(pattern).parts))
    )
    for path in folder.glob(pattern):
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
        if not path.is_file() or (path.name.startswith(".") and not hidden):
            continue
        name.encode(
            "utf-8"
        )  # a name that is no text (UnicodeEncodeError is a ValueError) cannot be written anywhere
        found.append(name)
        if len(found) > MOST_FILES:
            raise ValueError(f"more than {MOST_FILES:,} files match")
    return sorted(found)


def _nearby(folder: Path, name: str, manifest: str) -> str:
    try:
        there = sorted(
            path.name
            for path in (folder / name).parent.iterdir()
            if holds_rows(path.name) and path.name != manifest
        )
    except (OSError, ValueError):
        return ""
    return f"beside it: {listed(there)}" if there else ""
