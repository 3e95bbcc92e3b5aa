"""Problems as people and programs see them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.manifest import (
    in_order,
    open_manifest,
    picture,
    problem_json,
    problem_line,
    problem_text,
    problems_text,
)
from runner.model import Place, Problem, Severity
from runner.schemas import load_contracts
from tests.manifest_reading import Pictures


def problem(source: str = "", column: int = 1, **more: object) -> Problem:
    place = Place(file="m.yaml", line=12, column=column)
    values = {
        "what": "duration is 99",
        "code": "out-of-range",
        "hint": "nearest: 30",
        "source": source,
        **more,
    }
    return Problem(place=place, **values)  # type: ignore[arg-type]


def test_a_problem_is_a_picture_of_its_place_with_its_hint_in_a_line_of_its_own() -> None:
    assert problem_text(problem("    params: {duration: 99}", 24, job="hero")).split("\n") == [
        "error: duration is 99",
        "  --> m.yaml:12:24 (job hero)",
        "   |",
        "12 |     params: {duration: 99}",
        "   |                        ^^",
        "   = hint: nearest: 30",
    ]


def test_for_programs_a_problem_is_one_line() -> None:
    found = problem("    params: {duration: 99}", 24, job="hero")

    assert problem_line(found) == "m.yaml:12:24: duration is 99; nearest: 30 [job hero]"


def test_without_a_source_line_there_is_no_caret() -> None:
    assert problem_text(problem(hint="")) == "error: duration is 99\n  --> m.yaml:12:1"


def test_a_warning_says_so() -> None:
    assert problem_text(problem(severity=Severity.WARNING)).startswith("warning: duration is 99\n")
    assert "m.yaml:12:1: warning: duration" in problem_line(problem(severity=Severity.WARNING))


@pytest.mark.parametrize(
    ("source", "column", "marked"),
    [
        ("a: {b: 99, c: 1}", 8, "99"),
        ('a: "two words" # x', 4, '"two words"'),
        ("a: 'it, or [this]'", 4, "'it, or [this]'"),
        ('p: "x ${row.a b | slug} y"', 7, "${row.a b | slug}"),
        ("- id: a", 3, "id"),
        ("a: “hello", 4, "“hello"),
        ("a: [1, 2", 4, "["),
        ('a: "never closed', 4, '"'),
        ("a:", 9, " "),
        ("one,two,three", 5, "two"),
    ],
)
def test_the_carets_stand_below_what_is_wrong(source: str, column: int, marked: str) -> None:
    shown, carets = problem_text(problem(source, column)).split("\n")[3:5]
    start = carets.index("^")

    assert carets.count("^") == len(marked)
    assert shown[start : start + len(marked)].ljust(1) == marked


GROK = "version: 1\nname: test\nmodel: grok-imagine-video\n"
PICTURES = [
    (
        "a misspelt key",
        "version: 1\nname: test\nmodel: grok-imagine-video\nprompt: a cat\nbudgt: {max_credits: 5}\njobs: [{id: a}]\n",
        """\
error: the top level has no key "budgt"
 --> m.yaml:5:1
  |
5 | budgt: {max_credits: 5}
  | ^^^^^
  = hint: did you mean `budget`?""",
    ),
    (
        "a value out of range",
        "version: 1\nname: test\nmodel: grok-imagine-video\nprompt: a cat\njobs:\n  - {id: a, params: {duration: 99}}\n",
        """\
error: duration is 99; it takes 6 to 30 in steps of 1
 --> m.yaml:6:32 (job a)
  |
6 |   - {id: a, params: {duration: 99}}
  |                                ^^
  = hint: nearest: 30""",
    ),
    (
        "a quote that is never closed",
        'version: 1\nname: "test\njobs: []\n',
        """\
error: the quote opened here is never closed
 --> m.yaml:2:7
  |
2 | name: "test
  |       ^""",
    ),
    (
        "a no-break space",
        "version: 1\nname:\u00a0test\njobs: []\n",
        """\
error: there is a no-break space (U+00A0) here, not an ordinary space
 --> m.yaml:2:6
  |
2 | name:\\u00a0test
  |      ^^^^^^
  = hint: type an ordinary space instead; text that needs it goes in quotes""",
    ),
    (
        "a placeholder without a column",
        GROK + 'jobs:\n  - {id: "${row.n}", rows: r.csv, prompt: "a ${row.txt}"}\n',
        """\
error: there is no column "txt" here
 --> m.yaml:5:46 (job ${row.n})
  |
5 |   - {id: "${row.n}", rows: r.csv, prompt: "a ${row.txt}"}
  |                                              ^^^^^^^^^^
  = hint: did you mean ${row.text}? there are n, text""",
    ),
    (
        "a cell",
        GROK + 'jobs:\n  - {id: "${row.n}", rows: r.csv, prompt: "${row.text}"}\n',
        """\
error: ${row.text} is empty here, and with it the prompt
 --> r.csv:2:3 (job 1)
  |
2 | 1,
  |   ^
  = hint: fill it in, or remove the row""",
    ),
]


@pytest.mark.parametrize(
    ("text", "expected"), [each[1:] for each in PICTURES], ids=[each[0] for each in PICTURES]
)
def test_each_kind_of_mistake_has_its_picture(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.csv").write_text("n,text\n1,\n", encoding="utf-8")
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    manifest = open_manifest("m.yaml", contracts=load_contracts(), references=Pictures())
    list(manifest.jobs())

    assert problem_text(in_order(manifest.problems)[0]) == expected


def test_nothing_in_it_moves_the_cursor_or_changes_a_colour() -> None:
    evil = "\x1b[31mred\x07\r\u202e\u2028[/red]"
    text = problem_text(problem(f"id: {evil}", 5, what=evil, hint=evil, job=evil))

    assert all(line.isprintable() for line in text.split("\n"))
    assert "\\u001b[31mred\\u0007\\u000d\\u202e\\u2028[/red]" in text


def test_the_caret_stands_below_its_character_also_after_wide_ones() -> None:
    text = problem_text(problem("東京\u0301\t: x", 7))

    assert text.split("\n")[3].endswith("| 東京\u0301 : x")
    assert text.split("\n")[4] == "   | " + " " * 7 + "^"


def test_a_long_line_is_cut_round_the_place() -> None:
    line, caret = problem_text(problem("a" * 5000 + "HERE" + "b" * 5000, 5001)).split("\n")[3:5]

    assert len(line) < 130
    assert line[caret.index("^") :].startswith("HERE")
    assert line.endswith("…")
    assert "| …" in line


def test_errors_come_before_warnings_each_file_from_top_to_bottom() -> None:
    def at(line: int, file: str, severity: Severity) -> Problem:
        return Problem(place=Place(file=file, line=line, column=1), what="x", code="c", severity=severity)

    text = problems_text(
        [
            at(9, "a", Severity.WARNING),
            at(8, "a", Severity.ERROR),
            at(1, "b", Severity.ERROR),
            at(2, "a", Severity.ERROR),
        ]
    )

    assert re.findall("--> (.*)", text) == ["a:2:1", "a:8:1", "b:1:1", "a:9:1"]


def test_the_object_has_everything_a_program_wants() -> None:
    assert problem_json(problem("x", path="jobs[3].params.duration", job="hero")) == {
        "file": "m.yaml",
        "line": 12,
        "column": 1,
        "what": "duration is 99",
        "hint": "nearest: 30",
        "code": "out-of-range",
        "path": "jobs[3].params.duration",
        "job": "hero",
        "severity": "error",
    }


def test_what_is_said_is_folded_between_words_below_its_first_word() -> None:
    problem = Problem(
        place=Place(file="m.yaml", line=12, column=3),
        what="one two three four five six seven eight nine",
        hint="ten eleven twelve thirteen fourteen",
        code="x",
        path="",
    )

    lines = ["".join(text for _, text in line) for line in picture(problem, fold=34)]

    assert lines == [
        "error: one two three four five six",
        "       seven eight nine",
        "  --> m.yaml:12:3",
        "   = hint: ten eleven twelve",
        "           thirteen fourteen",
    ]
