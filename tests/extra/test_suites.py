"""The public suites of YAML, JSON and CSV: our readers agree with them, but for what is listed with its reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from runner.manifest.findings import Findings
from runner.manifest.json_rows import JsonLinesRows, JsonRows
from tests.suites import COPIES, DEVIATIONS, SUITES, copies, differs, published


@pytest.mark.extra
@pytest.mark.parametrize(
    ("suite", "cases", "otherwise"),
    [("yaml-test-suite", 402, 125), ("json-test-suite", 318, 2), ("csv-spectrum", 12, 1)],
)
def test_what_is_read_otherwise_is_what_the_table_lists(suite: str, cases: int, otherwise: int) -> None:
    read = copies(suite)
    listed = [case for deviation in DEVIATIONS if deviation.suite == suite for case in deviation.cases]

    found = {case.id: how for case in read if (how := differs(case)) is not None}

    assert {case: how for case, how in found.items() if case not in listed} == {}
    assert sorted(listed) == sorted(found)
    assert (len(read), len(found)) == (cases, otherwise)


@pytest.mark.extra
def test_no_case_of_json_as_a_whole_file_ends_in_a_crash(tmp_path: Path) -> None:
    for case in copies("json-test-suite"):
        for kind, name in ((JsonRows, "r.json"), (JsonLinesRows, "r.jsonl")):
            (tmp_path / name).write_bytes(case.data)
            findings = Findings()

            rows = list(kind(tmp_path / name, name, findings).read())

            assert rows or findings.problems(), case.id


@pytest.mark.extra
def test_a_folder_as_it_is_published_is_run_alike(tmp_path: Path) -> None:
    for entry in json.loads((COPIES / "yaml-test-suite.json").read_text(encoding="utf-8")):
        folder = tmp_path / "data" / entry["id"]
        folder.mkdir(parents=True)
        (folder / "in.yaml").write_text(entry["yaml"], encoding="utf-8", newline="")
        if entry.get("refused"):
            (folder / "error").touch()
        elif "documents" in entry:
            (folder / "in.json").write_text("\n".join(map(json.dumps, entry["documents"])), encoding="utf-8")
    for entry in json.loads((COPIES / "csv-spectrum.json").read_text(encoding="utf-8")):
        for folder, suffix, content in (
            ("csvs", "csv", entry["csv"]),
            ("json", "json", json.dumps(entry["rows"])),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{entry['id']}.{suffix}").write_text(content, encoding="utf-8", newline="")
    (tmp_path / "test_parsing").mkdir()
    for case in copies("json-test-suite"):
        (tmp_path / "test_parsing" / f"{case.id}.json").write_bytes(case.data)

    found = {(case.suite, case.id, differs(case)) for case in published(tmp_path)}

    assert found == {(case.suite, case.id, differs(case)) for suite in SUITES for case in copies(suite)}
    assert Counter(suite for suite, _, _ in found)["yaml-test-suite"] == 402
