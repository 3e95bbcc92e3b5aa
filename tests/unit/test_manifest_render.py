"""Problems as people and programs see them."""

from __future__ import annotations

from runner.manifest import problem_json, problem_text, problems_text
from runner.model import Place, Problem, Severity


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


def test_a_problem_has_its_place_its_hint_its_line_and_a_caret() -> None:
    text = problem_text(problem("    params: {duration: 99}", 24, job="hero"))

    assert text == (
        "m.yaml:12:24: duration is 99; nearest: 30 [job hero]\n"
        "  12 |     params: {duration: 99}\n"
        "     |                        ^"
    )


def test_without_a_source_line_there_is_no_caret() -> None:
    assert problem_text(problem(hint="")) == "m.yaml:12:1: duration is 99"


def test_a_warning_says_so() -> None:
    assert "m.yaml:12:1: warning: duration" in problem_text(problem(severity=Severity.WARNING))


def test_nothing_in_it_moves_the_cursor_or_changes_a_colour() -> None:
    evil = "\x1b[31mred\x07\r\u202e\u2028[/red]"
    text = problem_text(problem(f"id: {evil}", 5, what=evil, hint=evil, job=evil))

    assert all(line.isprintable() for line in text.split("\n"))
    assert "\\u001b[31mred\\u0007\\u000d\\u202e\\u2028[/red]" in text


def test_the_caret_stands_below_its_character_also_after_wide_ones() -> None:
    text = problem_text(problem("東京\u0301\t: x", 7))

    assert text.split("\n")[1].endswith("| 東京\u0301 : x")
    assert text.split("\n")[2] == "     | " + " " * 7 + "^"


def test_a_long_line_is_cut_round_the_place() -> None:
    _, line, caret = problem_text(problem("a" * 5000 + "HERE" + "b" * 5000, 5001)).split("\n")

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

    assert [line.split(": ")[0] for line in text.split("\n")] == ["a:2:1", "a:8:1", "b:1:1", "a:9:1"]


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
