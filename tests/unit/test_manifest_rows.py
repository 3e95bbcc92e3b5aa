"""Rows from files: what each becomes, and where what is wrong with them is."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from runner.manifest import lines, open_manifest
from runner.schemas import load_contracts
from tests.manifest_reading import HEAD, JOB, Loaded, Pictures, found, load, load_rows, prompts


def read(folder: Path, file: str, content: str | bytes) -> Loaded:
    return load_rows(folder, file, {file: content})


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("r.csv", 'id,text\na,one\nb,"two, ""2"""\n'),
        ("r.csv", '\ufeffid,text\r\na,one\r\n\r\nb,"two, ""2"""'),
        ("r.csv", 'text,id\none,a\n"two, ""2""",b\n'),
        ("r.jsonl", '{"id":"a","text":"one"}\n\n{"text":"two, \\"2\\"","id":"b"}'),
        ("r.ndjson", '\ufeff{"id":"a","text":"one"}\r\n{"id":"b","text":"two, \\"2\\""}\r\n'),
        ("r.json", '\ufeff[{"id":"a","text":"one"},\n {"id":"b","text":"two, \\"2\\""}]\n'),
        ("r.yaml", "- {id: a, text: one}\n- id: b\n  text: 'two, \"2\"'\n"),
        ("r.yml", "[{id: a, text: one}, {id: b, text: 'two, \"2\"'}]"),
    ],
    ids=["csv", "csv from Windows", "csv in other order", "jsonl", "ndjson", "json", "yaml", "yml"],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, file: str, content: str) -> None:
    loaded = read(tmp_path, file, content)

    assert prompts(loaded) == {"a": "one", "b": 'two, "2"'}
    assert loaded.problems == []


def test_a_cell_may_have_several_lines_and_rows_after_it_keep_their_line(tmp_path: Path) -> None:
    loaded = read(tmp_path, "r.csv", 'id,text\na,"one\ntwo"\nb,three\n')

    assert prompts(loaded) == {"a": "one\ntwo", "b": "three"}
    assert [job.place.line for job in loaded.jobs] == [2, 4]


def test_json_rows_know_their_place(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        "r.json",
        '[\n  {"id": "a", "text": "one"}, {"id": "b", "text": "x"},\n  {"id": "c/", "text": "y"}]',
    )

    assert [(job.place.line, job.place.column) for job in loaded.jobs] == [(2, 3), (2, 31)]
    assert found(loaded) == [("bad-id", 3, 4)]


def test_yaml_rows_know_the_place_of_their_values(tmp_path: Path) -> None:
    loaded = read(tmp_path, "r.yaml", "- {id: a, text: x}\n- {text: y, id: b/c}\n")

    assert found(loaded) == [("bad-id", 2, 17)]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("r.csv", "id,text\na\nb,x\nc,y,z\n", [("ragged-row", 2, 1), ("ragged-row", 4, 1)]),
        ("r.csv", "id,,text\na,b,c\n", [("empty-column", 1, 4)]),
        ("r.csv", "id,text,id\na,b,c\n", [("duplicate-column", 1, 9)]),
        ("r.csv", "", [("no-header", 1, 1)]),
        ("r.csv", "id,text\n", [("no-rows", 1, 1)]),
        ("r.csv", 'id,text\na,"x"y\nb,ok\n', [("csv-syntax", 2, 1)]),
        ("r.csv", 'id,text\na,x\nb,"never closed\n', [("csv-syntax", 3, 1)]),
        ("r.csv", b"id,text\na,\xe9\nb,ok\n", [("not-utf8", 2, 3)]),
        ("r.csv", b"id,text\na,\0\n", [("control-character", 2, 3)]),
        ("r.csv", "id,text\r\na,x\r\n".encode("utf-16-le"), [("control-character", 1, 2)]),
        ("r.jsonl", '{"id":"a","text":"x"}\n{"id":}\n[1]\n', [("json-syntax", 2, 7), ("wrong-type", 3, 1)]),
        ("r.jsonl", '{"id":"a","id":"b","text":"x"}\n', [("json-syntax", 1, 1)]),
        ("r.jsonl", '{"id":"a","text":NaN}\n', [("json-syntax", 1, 1)]),
        ("r.jsonl", '{"id":"a","text":' + "9" * 5000 + "}\n", [("json-syntax", 1, 1)]),
        ("r.jsonl", "[" * 100_000 + "\n", [("json-syntax", 1, 1)]),
        ("r.jsonl", '{"id":"a","text":"\\ud83d"}\n', [("lone-surrogate", 1, 1)]),
        ("r.jsonl", b'{"id":"a"\xff}\n{"id":"b","text":"x"}\n', [("not-utf8", 1, 10)]),
        ("r.jsonl", "", [("no-rows", 1, 1)]),
        ("r.jsonl", '{"id":"a"}\n', [("unknown-name", 1, 1)]),
        ("r.jsonl", '{"id":{"x":1},"text":"a"}\n', [("not-text", 1, 2)]),
        ("r.json", '{"id":"a"}', [("json-syntax", 1, 1)]),
        ("r.json", '[{"id":"a","text":"x"}\n{"id":"b"}]', [("json-syntax", 2, 1)]),
        ("r.json", '[{"id":"a","text":"x"},\n {"id"}]', [("json-syntax", 2, 7)]),
        ("r.json", '[{"id":"a","text":"x"}', [("json-syntax", 1, 23)]),
        ("r.json", "[] x", [("json-syntax", 1, 4)]),
        ("r.json", "[]", [("no-rows", 1, 1)]),
        ("r.json", "[" * 100_000, [("json-syntax", 1, 2)]),
        ("r.yaml", "a: b\n", [("wrong-type", 1, 1)]),
        ("r.yaml", "- {id: a, text: x}\n- z\n", [("wrong-type", 2, 3)]),
        ("r.yaml", "- {id: a, id: b}\n- [\n", [("duplicate-key", 1, 11), ("yaml-syntax", 2, 3)]),
    ],
)
def test_what_is_wrong_in_a_file_of_rows_has_its_file_and_line(
    tmp_path: Path, file: str, content: str | bytes, expected: list[tuple[str, int, int]]
) -> None:
    loaded = read(tmp_path, file, content)

    assert found(loaded) == expected
    assert {Path(problem.place.file).name for problem in loaded.problems} == {file}


def test_a_column_that_the_table_lacks_is_told_once_with_those_it_has(tmp_path: Path) -> None:
    loaded = read(tmp_path, "r.csv", "id,txt\na,x\nb,y\n")

    problem = loaded.only("unknown-name")
    assert (problem.place.line, problem.place.column) == (8, 13)
    assert problem.hint == "did you mean ${row.txt}? there are id, txt"


def test_a_key_that_one_json_row_lacks_is_told_for_that_row(tmp_path: Path) -> None:
    loaded = read(
        tmp_path, "r.jsonl", '{"id":"a","text":"x"}\n{"id":"b","txet":"y"}\n{"id":"c","text":"z"}\n'
    )

    problem = loaded.only("unknown-name")
    assert (problem.place.line, problem.job) == (2, "b")
    assert problem.source == '{"id":"b","txet":"y"}'
    assert loaded.ids == ["a", "c"]


def test_a_default_fills_a_key_that_a_json_row_lacks(tmp_path: Path) -> None:
    text = HEAD + "jobs: [{id: '${row.id}', rows: r.jsonl, prompt: \"x ${row.t | default('y')}\"}]\n"

    assert load(tmp_path, text, {"r.jsonl": '{"id":"a"}\n'}).jobs[0].prompt == "x y"


def test_the_columns_of_a_row_are_axes_unless_they_are_long(tmp_path: Path) -> None:
    loaded = read(
        tmp_path, "r.jsonl", '{"id":"a","text":"' + "x" * 201 + '","n":1.5,"deep":{"a":1},"none":null}\n'
    )

    assert dict(loaded.jobs[0].axes) == {"id": "a", "n": 1.5, "none": None}


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.csv")
    began = time.monotonic()

    loaded = load(tmp_path, HEAD + JOB.replace("FILE", "r.csv"))

    assert "not an ordinary file" in loaded.only("not-a-file").what
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["/dev/zero.csv", "sub.csv"])
def test_folders_and_what_is_not_there_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub.csv").mkdir()

    loaded = load(tmp_path, HEAD + JOB.replace("FILE", name))

    assert loaded.problems[0].code in ("not-a-file", "file-not-found")


def test_a_file_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    loaded = load(tmp_path, HEAD + JOB.replace("FILE", "d/no.csv"), {"d/shots.csv": ""})

    assert (
        loaded.only("file-not-found").hint
        == "paths are relative to the manifest's folder; beside it: shots.csv"
    )


def test_a_symlink_to_an_ordinary_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("id,text\na,x\n")
    (tmp_path / "r.csv").symlink_to("real.csv")

    assert load(tmp_path, HEAD + JOB.replace("FILE", "r.csv")).ids == ["a"]


def test_a_line_of_absurd_length_is_refused_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    row = '{"id":"b","text":"x"}\n'

    loaded = read(tmp_path, "r.jsonl", '{"id":"a","text":"' + "x" * 5000 + '"}\n' + row)

    assert found(loaded) == [("line-too-long", 1, 1)]
    assert loaded.ids == ["b"]


def test_a_quote_that_swallows_the_rest_is_one_problem(tmp_path: Path) -> None:
    loaded = read(tmp_path, "r.csv", 'id,text\na,"x\n' + "b,y\n" * 100_000)

    problem = loaded.only("csv-syntax")
    assert problem.place.line == 2
    assert "never closed" in problem.what + problem.hint


def test_a_file_that_vanishes_while_the_jobs_are_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        HEAD + "jobs: [{id: 'x${row.id}', matrix: {n: [1, 2]}, rows: r.csv, prompt: a}]\n"
    )
    (tmp_path / "r.csv").write_text("id\na\n")
    manifest = open_manifest(tmp_path / "m.yaml", contracts=load_contracts(), references=Pictures())
    jobs = manifest.jobs()
    next(jobs)
    (tmp_path / "r.csv").unlink()

    assert list(jobs) == []
    assert [problem.code for problem in manifest.problems] == ["file-unreadable"]


def test_files_are_named_as_the_manifest_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone who typed a relative path gets relative places, which an editor can open."""
    monkeypatch.chdir(tmp_path)
    load(tmp_path / "sub", "", {"d/r.csv": "id,text\na/b,x\n", "x": ""})
    Path("sub/m.yaml").write_text(HEAD + JOB.replace("FILE", "d/r.csv"))
    manifest = open_manifest("sub/m.yaml", contracts=load_contracts(), references=Pictures())

    assert list(manifest.jobs()) == []
    assert [str(problem.place) for problem in manifest.problems] == ["sub/d/r.csv:2:1"]


@pytest.mark.parametrize("link", ["link.yaml", "folder/m.yaml"])
def test_a_manifest_reached_by_a_link_has_the_same_files_and_results(tmp_path: Path, link: str) -> None:
    load(tmp_path / "real", "", {"r.csv": "id,text\na,x\nb/c,y\n", "x": ""})
    real = tmp_path / "real" / "m.yaml"
    real.write_text(HEAD + "output: {dir: results}\n" + JOB.replace("FILE", "r.csv"))
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link.yaml").symlink_to("real/m.yaml")
    manifest = open_manifest(tmp_path / link, contracts=load_contracts(), references=Pictures())

    assert [job.id for job in manifest.jobs()] == ["a"]
    assert [Path(problem.place.file).resolve() for problem in manifest.problems] == [real.with_name("r.csv")]
    assert manifest.settings is not None
    assert manifest.settings.output_dir == real.resolve().with_name("results")


def test_many_rows_take_little_memory_each(tmp_path: Path) -> None:
    """What stays of a row is what tells the next one that its id and its file are taken."""
    rows = "".join(
        f'{{"id":"shot-{n}","text":"number {n} {"x" * 200}","s":{6 + n % 20}}}\n' for n in range(5000)
    )
    (tmp_path / "r.jsonl").write_text(rows)
    (tmp_path / "m.yaml").write_text(
        HEAD + JOB.replace("FILE", "r.jsonl") + "    params: {duration: '${row.s}'}\n"
    )
    manifest = open_manifest(tmp_path / "m.yaml", contracts=load_contracts(), references=Pictures())
    jobs = manifest.jobs()
    next(jobs)
    tracemalloc.start()

    count = sum(1 for _ in jobs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (count, manifest.problems) == (4999, [])
    assert peak < 5000 * 500


def test_a_reference_made_of_empty_cells_is_none(tmp_path: Path) -> None:
    text = (
        HEAD
        + 'jobs:\n- {id: "${row.n}", rows: r.csv, prompt: "a ${row.n}", references: ["assets/${row.image}"]}\n'
    )
    loaded = load(tmp_path, text, {"r.csv": "n,image\n1,a.png\n2,\n3, \n"})

    assert loaded.problems == []
    assert [[reference.path for reference in job.references] for job in loaded.jobs] == [
        ["assets/a.png"],
        [],
        [],
    ]
