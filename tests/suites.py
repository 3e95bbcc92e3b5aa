"""The public suites of YAML, JSON and CSV, against our readers; what these do otherwise on purpose is listed here.

python -m tests.suites            the copies in tests/fixtures/suites
python -m tests.suites FOLDER     a suite as it is published: yaml/yaml-test-suite (branch `data`),
                                  nst/JSONTestSuite, or maxogden/csv-spectrum (npm: csv-spectrum)
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runner.manifest.csv_rows import CsvRows
from runner.manifest.findings import Findings
from runner.manifest.json_rows import JsonRows
from runner.manifest.rows import Rows
from runner.manifest.yaml12 import read_yaml
from runner.model import Severity

COPIES = Path(__file__).parent / "fixtures" / "suites"
SUITES = ("yaml-test-suite", "json-test-suite", "csv-spectrum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """Cases of a suite that our readers answer otherwise, and why."""

    suite: str
    reason: str
    cases: tuple[str, ...]


def _deviation(suite: str, reason: str, cases: str) -> Deviation:
    return Deviation(suite=suite, reason=reason, cases=tuple(cases.split()))


DEVIATIONS: Final = (
    _deviation(
        "yaml-test-suite",
        "refused: a tag (`!!str`) makes another thing of what one reads, and quotes do as well",
        "2AUY 2XXW 33X3 35KP 52DL 565N 57H4 5TYM 6CK3 6JWB 6WLZ 735Y 74H7 7FWL 8MK2 9KAX 9WXW "
        "BU8L C4HZ CC74 CUP7 EHF6 F2C7 FH7J HMQ5 J7PZ L94M LE5A M5C3 P76L S4JQ U3C3 UGM3 UKK6/02 "
        "WZ62 Z67P Z9M4",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: a key is a list, a mapping, an alias, or nothing, and no key of a manifest is",
        "26DV 2JQS 2SXE 4ABK 4FJ6 6BFJ 6M2F 6PBE 9MMW CFD4 DFF7 E76Z FRK4 KK5P LX3P M2N8/00 "
        "M2N8/01 M5DY NHX8 NKF9 PW8X Q9WF RZP5 S3PD SBG9 SM9W/01 UKK6/00 V9D5 X38W XW4D",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: one file holds one manifest, and a second document is probably a mistake",
        "6XDY 6ZKB 7Z25 9DXL JHB9 KSS4 L383 M7A3 PUW8 RZT7 U9NS W4TN",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: an empty file is no manifest",
        "8G76 98YD AVM7 HWV9 QT73",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: the parser behind it wants the colon in the line in which its key ends, inside "
        "of brackets, too",
        "4MUZ/00 4MUZ/01 4MUZ/02 5MUD 9SA2 K3WX NJ66 UT92 VJP3/01",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: to the parser a text in brackets cannot begin with `:`; quotes help",
        "58MP 5T43 DBG4 HM87/00",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: a tab before what is not blank looks like indentation, and its width is not known",
        "6CA3 A2M4 DK95/00 Q5MG",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: directives other than `%YAML 1.2` and `%YAML 1.1`; nobody writes them into a manifest",
        "2LFX 6LVF BEC7 MUS6/05 MUS6/06",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: to the parser the name of an anchor has letters of ASCII, digits, `-` and `_` only",
        "8XYN W5VH Y2GN",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: a block of text behind `---` has to be indented; a manifest is a mapping there",
        "DK3J FP8R",
    ),
    _deviation(
        "yaml-test-suite",
        "refused: `?a` in brackets, where the `?` is a part of the key to some readers and none to others",
        "652Z HM87/01",
    ),
    _deviation(
        "yaml-test-suite",
        "read: lists, mappings and quoted texts may go on at the margin or behind a tab, as "
        "pasted JSON does; it can mean one thing only",
        "9C9N DK95/01 QB6E Y79Y/003",
    ),
    _deviation(
        "yaml-test-suite",
        "read: `-` alone in brackets, as the text that it is",
        "G5U8 YJV2",
    ),
    _deviation(
        "yaml-test-suite",
        "read: blanks and tabs in blank lines before a block of text are nothing",
        "R4YG S98Z Y79Y/000",
    ),
    _deviation(
        "yaml-test-suite",
        "read: a block of text that the end of the file cuts has no line end there",
        "JEF9/02 L24T/01",
    ),
    _deviation(
        "yaml-test-suite",
        "read: a comment right behind the version of YAML; nothing of the manifest is lost with it",
        "MUS6/00",
    ),
    _deviation(
        "json-test-suite",
        "refused: a key that is there twice, since one of the two would be lost without a word",
        "y_object_duplicated_key y_object_duplicated_key_and_value",
    ),
    _deviation(
        "csv-spectrum",
        "read: the answer of the suite is about another telephone number than its table",
        "location_coordinates",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case: what is read, and what has to come of it.

    `expected` is the values, or `REFUSED`, or `OPEN` where the suite has none.
    """

    suite: str
    id: str
    data: bytes
    expected: Any


OPEN: Final = object()
REFUSED: Final = object()


def copies(suite: str) -> list[Case]:
    """Return the cases of the copy of a suite."""
    cases = []
    for entry in json.loads((COPIES / f"{suite}.json").read_text(encoding="utf-8")):
        if suite == "yaml-test-suite":
            # Where there is no JSON, the value has keys that JSON cannot have: neither can a manifest.
            expected = REFUSED if entry.get("refused") else entry.get("documents", OPEN)
            data = entry["yaml"].encode()
        elif suite == "json-test-suite":
            unit, times = entry.get("repeat", ("", 0))
            data = (unit * times + entry["bytes"]).encode("latin-1")
            expected = _json_expected(entry["id"], data)
        else:
            expected, data = entry["rows"], entry["csv"].encode()
        cases.append(Case(suite=suite, id=entry["id"], data=data, expected=expected))
    return cases


def published(folder: Path) -> Iterator[Case]:
    """Yield the cases of the suites that are in a folder, as they are published."""
    for path in sorted(folder.rglob("in.yaml")):
        values: Any = REFUSED
        if not (path.parent / "error").exists():
            answer = path.parent / "in.json"
            values = _documents(answer.read_text(encoding="utf-8")) if answer.exists() else OPEN
        name = "/".join(part for part in path.parent.parts[-2:] if part not in ("data", folder.name))
        yield Case(suite="yaml-test-suite", id=name, data=path.read_bytes(), expected=values)
    for path in sorted(folder.rglob("test_parsing/*.json")):
        data = path.read_bytes()
        yield Case(suite="json-test-suite", id=path.stem, data=data, expected=_json_expected(path.stem, data))
    for path in sorted(folder.rglob("csvs/*.csv")):
        rows = json.loads((path.parents[1] / "json" / f"{path.stem}.json").read_text(encoding="utf-8"))
        yield Case(suite="csv-spectrum", id=path.stem, data=path.read_bytes(), expected=rows)


def differs(case: Case) -> str | None:
    """Return how our reader answers a case otherwise than its suite; None where they agree."""
    read = {"yaml-test-suite": _yaml, "json-test-suite": _json, "csv-spectrum": _csv}[case.suite]
    value, codes = read(case.data)
    if case.expected is REFUSED:
        return None if codes else f"is read, as {value!r}"
    if codes:
        return None if case.expected is OPEN and case.suite == "json-test-suite" else f"is refused: {codes}"
    if case.expected is not OPEN and not _same(value, case.expected):
        return f"is read otherwise, as {value!r}"
    return None


def _yaml(data: bytes) -> tuple[Any, str]:
    document = read_yaml(data.decode("utf-8"), file="in.yaml")
    refused = {problem.code for problem in document.problems if problem.severity is Severity.ERROR}
    return [document.value], ", ".join(sorted(refused))


def _json(data: bytes) -> tuple[Any, str]:
    """Read a JSON value as the value of a column, since a row is an object."""
    rows, codes = _rows(JsonRows, "r.json", b'[{"value": ' + data + b"}]")
    return (rows[0].get("value") if len(rows) == 1 and len(rows[0]) == 1 else rows), codes


def _csv(data: bytes) -> tuple[Any, str]:
    return _rows(CsvRows, "r.csv", data)


def _rows(kind: type[Rows], name: str, data: bytes) -> tuple[list[Mapping[str, Any]], str]:
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        rows = [row.values for row in kind(path, name, findings).read()]
    return rows, ", ".join(sorted({p.code for p in findings.problems() if p.severity is Severity.ERROR}))


def _json_expected(name: str, data: bytes) -> Any:
    """Return what has to come of a case: its name says whether it has to be read."""
    if name.startswith("n_"):
        return REFUSED
    return json.loads(data) if name.startswith("y_") else OPEN


def _documents(text: str) -> list[Any]:
    decoder, position, found = json.JSONDecoder(), 0, []
    while position < len(text):
        if text[position].isspace():
            position += 1
        else:
            value, position = decoder.raw_decode(text, position)
            found.append(value)
    return found


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, `true` and 1 being two."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def main(arguments: list[str]) -> int:
    """Print what is answered otherwise; return 1 if any of it is not listed."""
    cases = list(published(Path(arguments[0]))) if arguments else [c for s in SUITES for c in copies(s)]
    listed = {(d.suite, case): d.reason for d in DEVIATIONS for case in d.cases}
    unlisted = 0
    for case in cases:
        how, why = differs(case), listed.get((case.suite, case.id))
        if how is not None:
            unlisted += why is None
            print(f"{case.suite} {case.id} {how}; {why or 'NOT LISTED'}")
        elif why is not None:
            unlisted += 1
            print(f"{case.suite} {case.id} is listed, and answered as the suite has it")
    print(f"{len(cases)} cases, {unlisted} not as listed")
    return 1 if unlisted or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
