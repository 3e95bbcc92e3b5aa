"""What keyboards, office programs and libraries put into YAML: read where YAML 1.2 reads it, else named."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from runner.manifest import yaml12, yaml_text
from runner.manifest.yaml_text import fitted, lines_of
from runner.model import Severity
from tests.manifest_reading import findings, read

# --- line breaks of YAML 1.1 ---


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a: 1 # x{}b: 2\n", 1, 9), ("a: 1\r\nb: |\r\n  x{}y\r\n", 3, 4), ('a: "{}"\n', 1, 5), ("é\n{}", 2, 1)],
)
def test_what_only_yaml_1_1_takes_for_a_line_break_is_refused_by_name_and_place(
    char: str, text: str, line: int, column: int
) -> None:
    document = read(text.replace("{}", char))

    [problem] = document.problems
    assert (problem.place.line, problem.place.column, problem.code) == (line, column, "odd-line-break")
    assert f"U+{ord(char):04X}" in problem.what
    assert document.value is None


@pytest.mark.parametrize(("escape", "char"), [("\\N", "\x85"), ("\\L", "\u2028"), ("\\P", "\u2029")])
def test_the_escape_that_is_advised_is_read(escape: str, char: str) -> None:
    assert read(f'a: "x{escape}y"\n').value == {"a": f"x{char}y"}


def test_lines_end_where_editors_say() -> None:
    assert lines_of("a\r\nb\rc\nd\x0be\u2028f\n\n") == ["a", "b", "c", "d\x0be\u2028f", ""]


# --- blanks, quotes and colons that are none ---


@pytest.mark.parametrize("char", ["\u00a0", "\u202f", "\u3000", "\u2003"])
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a:\n_ b: 1\n", 2, 1),
        ("a:\n  b: 1\n__c: 2\n", 3, 1),
        ("a:\n  b: 1\n  _c: 2\n", 3, 3),
        ("jobs:\n  - id: a\n____prompt: b\n", 3, 1),
        ("a:_b\n", 1, 3),
        ("a: 1\nb:_c\nd: 3\n", 2, 3),
        ("a:\n  b:_c\n", 2, 5),
        ("a: _b\n", 1, 4),
        ("a:\n  -_b\n", 2, 4),
        ("- a:_b\n", 1, 5),
        ("a: {b:_c}\n", 1, 7),
        ("a: {x: 1, b:_c, d: 2}\n", 1, 13),
        ("a_: b\n", 1, 2),
        ("a: 6_\n", 1, 5),
        ("a: 480p_\n", 1, 8),
        ("a: b_# c\n", 1, 5),
        ("a: |_\n  x\n", 1, 5),
        ('a: "x"_\nb: 1\n', 1, 7),
        ("a: &x_{b: 1}\n", 1, 6),
        ("---_\na: b\nc: d\n", 1, 4),
        ("a: 1\n_\nb: 2\n", 2, 1),
        ("jobs:\n- id:_a\n  prompt: b\n", 2, 6),
        ("jobs:\n-_id: a\n  prompt: b\n", 2, 2),
    ],
)
def test_a_blank_that_is_none_is_named_at_its_place(char: str, text: str, line: int, column: int) -> None:
    [problem] = read(text.replace("_", char)).problems

    assert (problem.place.line, problem.place.column, problem.code) == (line, column, "odd-blank")
    assert f"U+{ord(char):04X}" in problem.what
    assert "type an ordinary space" in problem.hint


@pytest.mark.parametrize(
    "text",
    [
        "a: b_c d\n",
        "a: Un chat_: roux\n".replace(": r", ":_r"),
        'a: "_b"\n',
        "a: '_'\n",
        "a: |\n  _b:_c\n",
        "a: b c_\n",
    ],
)
def test_a_no_break_space_inside_a_text_is_text(text: str) -> None:
    text = text.replace("_", "\u00a0")

    assert read(text).problems == ()
    assert "\u00a0" in read(text).value["a"]


def test_an_invisible_character_in_a_key_is_named() -> None:
    [problem] = read("\u200bname: x\n").problems

    assert (problem.code, problem.place.column) == ("odd-blank", 1)
    assert "zero width space (U+200B)" in problem.what


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("a: “hello”\n", 4, 'type straight ones: "hello"'),
        ("a: ‘hello’\n", 4, 'type straight ones: "hello"'),
        ("a: „hallo“\n", 4, 'type straight ones: "hallo"'),
        ('a: “say "x" twice”\n', 4, "type straight ones: 'say \"x\" twice'"),
        ("a: “hello: x”\n", 4, "type straight quotes"),
        ("a: [“b, c”]\n", 5, "type straight quotes"),
        ("- “a”\n", 3, 'type straight ones: "a"'),
        ("“a”: b\n", 1, "type a without quotes"),
        ("x: {“a”: b}\n", 5, "type a without quotes"),
        ("“a: x”: b\n", 1, "type straight quotes"),
        ("- “a: b”\n", 3, "type straight quotes"),
    ],
)
def test_curly_quotes_round_a_value_are_named(text: str, column: int, hint: str) -> None:
    problem = read(text).problems[0]

    assert (problem.code, problem.place.line, problem.place.column) == ("curly-quotes", 1, column)
    assert problem.hint.startswith(hint)


@pytest.mark.parametrize(
    "text", ["he said “hello”", "“Hello” she said, “bye”", "“Hello” she said", "it’s", "‘90s neon"]
)
def test_curly_quotes_inside_a_text_are_text(text: str) -> None:
    assert read(f"a: {text}\n").value == {"a": text}
    assert read(f"a: {text}\n").problems == ()


def test_a_straight_quote_that_a_curly_one_should_close_says_so() -> None:
    [problem] = read('a: 1\nb: "hello”\nc: 2\n').problems

    assert (problem.place.line, problem.place.column) == (2, 4)
    assert problem.hint == 'a curly quote closes nothing: type a straight one, `"`'


@pytest.mark.parametrize("dash", ["–", "—", "•"])
def test_a_dash_that_is_no_hyphen_is_named(dash: str) -> None:
    assert findings(f"jobs:\n  {dash} id: a\n    prompt: b\n") == [(2, 3, "odd-dash")]
    assert findings(f"a: 1\n{dash} b: 2\n") == [(2, 1, "odd-dash")]
    assert read(f"a:\n  {dash} Bonjour, dit-il\n").value == {"a": f"{dash} Bonjour, dit-il"}


def test_a_full_width_colon_is_named() -> None:
    assert findings("a: 1\nname：x\nb: 2\n") == [(2, 5, "odd-colon")]
    assert findings("name：x\n") == [(1, 5, "odd-colon")]
    assert read("a: 名前：x\n").value == {"a": "名前：x"}


@pytest.mark.parametrize(
    ("text", "column"),
    [("x: { ?a: 1 }\n", 6), ("x: {b: 2, ?a: 1}\n", 11), ("x: [ ?a ]\n", 6), ('x: {?"a": 1}\n', 5)],
)
def test_a_question_mark_before_a_key_in_brackets_is_refused(text: str, column: int) -> None:
    assert findings(text) == [(1, column, "key-question")]


def test_a_question_mark_elsewhere_is_what_it_was() -> None:
    assert read("? a\n: 1\n").value == {"a": 1}
    assert read("x: { ? a : 1, b: what?, c: '?d' }\n").value == {"x": {"a": 1, "b": "what?", "c": "?d"}}
    assert read("x: [a ?b, http://x/?y]\n").value == {"x": ["a ?b", "http://x/?y"]}


# --- characters as two escapes ---


def test_what_json_dumps_writes_is_read() -> None:
    value = {"a": "😀 and 𝄞\n\\ud83d", "b": ["\U0010ffff", "😀"], "😀": "é"}

    assert read(json.dumps(value)).value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\uD83D\\ude00"', "😀"),
        ('"x\\\\\\ud83d\\ude00"', "x\\😀"),
        ('"\\\\ud83d\\\\ude00"', "\\ud83d\\ude00"),
        ("'\\ud83d\\ude00'", "\\ud83d\\ude00"),
        ("\\ud83d\\uDE00 plain", "\\ud83d\\uDE00 plain"),
        ('|-\n  "\\ud83d\\ude00"', '"\\ud83d\\ude00"'),
        ('"\\U000F0000"', "\U000f0000"),
    ],
)
def test_only_in_double_quotes_two_escapes_are_a_character(text: str, value: str) -> None:
    document = read(f'first: "\\ud83d\\ude00"\na: {text}\nat: 1\n')

    assert document.problems == ()
    assert document.value["first"] == "😀"
    assert document.value["a"] == value


def test_places_behind_two_escapes_are_those_of_the_file() -> None:
    document = read('{a: "\\ud83d\\ude00", b: 1, b: 2}\n')

    assert [(p.place.column, p.source) for p in document.problems] == [
        (27, '{a: "\\ud83d\\ude00", b: 1, b: 2}')
    ]


@pytest.mark.parametrize(
    "text", ['a: "x\\ud83d"\n', 'a: "x\\ude00"\n', 'a: "x\\ude00\\ud83d"\n', 'a: "x\\ud83d\\\\ude00"\n']
)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_half_a_character_is_named(text: str, loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "_LOADER", getattr(yaml, loader))

    assert findings(text) == [(1, 6, "lone-surrogate")]


# --- tabs ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a:\n  b: 1\n\t\n  c: 2\n", {"a": {"b": 1, "c": 2}}),
        ("a:\n  - b\n  \t \n  - c\n", {"a": ["b", "c"]}),
        ("a: 1\n\t# comment\nb: 2\n", {"a": 1, "b": 2}),
        ("a: 1\r\n\t\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: |\n  \tx\n  y\n", {"a": "\tx\ny\n"}),
        ("a: |\n  \t\tx\n  \ty\n", {"a": "\t\tx\n\ty\n"}),
        ("a: >-\n\n  \tx\n", {"a": "\n\tx"}),
        ("- a: |  # why\n      \tx\n  b: 1\n", [{"a": "\tx\n", "b": 1}]),
        ("a: |2\n   \tx\n", {"a": " \tx\n"}),
        ("a: |\n  x\n \t\n  y\n", {"a": "x\n\ny\n"}),
        ("a: |\n\t\n  x\n", {"a": "\nx\n"}),
        ("a: |\n  x\n  \t\n  y\nb:\n\t\n  c: 1\n", {"a": "x\n\t\ny\n", "b": {"c": 1}}),
        ("a: |\n  x\n  \t# y\nb:\n\t\n  c: 1\n", {"a": "x\n\t# y\n", "b": {"c": 1}}),
        ("-\ta\n-\t\tb\n", ["a", "b"]),
        ("a: [\n\t1,\n\t2\n\t]\n", {"a": [1, 2]}),
        ("a: 'x |\n \ty'\nb:\n\t\n  c: 1\n", {"a": "x | y", "b": {"c": 1}}),
    ],
)
def test_a_tab_where_yaml_1_2_allows_one_is_read(text: str, value: object) -> None:
    document = read(text)

    assert document.problems == ()
    assert document.value == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a:\n\tb: c\n", 2),
        ("a:\n  b: 1\n\tc: 2\n", 3),
        ("a: |\n\tx\n", 2),
        ("a:\n\t- b\n", 2),
        ("\t\na:\n\tb: c\n", 3),
        ("# why |\n \ta: b\n", 2),
    ],
)
def test_a_tab_as_indentation_is_refused(text: str, line: int) -> None:
    [problem] = read(text).problems

    assert (problem.place.line, problem.what) == (line, "a tab is used for indentation")


def test_json_indented_by_tabs_is_read() -> None:
    value = {"a": [1, {"b": ["x", "y"]}], "c": {}, "d": "😀"}

    assert read(json.dumps(value, indent="\t")).value == value


def test_a_text_the_parser_reads_is_never_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "fitted", lambda text: pytest.fail(f"rewritten: {text}"))

    assert read("a: |\n  x\n  \ty\nb: '\\ud83d\\ude00'\n").value == {"a": "x\n\ty\n", "b": "\\ud83d\\ude00"}


def test_what_needs_nothing_is_not_rewritten() -> None:
    assert fitted('a: "\\\\ud83d"\nb: x\ty\n') is None


# --- merge keys ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n  c: 4\n", {"a": 1, "b": 3, "c": 4}),
        ("x: &x {a: 1, b: 2}\ny:\n  b: 3\n  <<: *x\n", {"a": 1, "b": 3}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", {"a": 1, "b": 3}),
        ("x: [&x {a: 1, b: 2}, &z {a: 5, c: 6}]\ny: {<<: [*x, *z]}\n", {"a": 1, "b": 2, "c": 6}),
        (
            "x: [&x {a: 1, b: 2}, &z {a: 5, c: 6}]\ny:\n  <<:\n    - *z\n    - *x\n  c: 7\n",
            {"a": 5, "b": 2, "c": 7},
        ),
        ("x: &x {a: 1}\nz: &z {<<: *x, b: 2}\ny: {<<: *z}\n", {"a": 1, "b": 2}),
        ("y: {<<: {a: 1}, b: 2}\n", {"a": 1, "b": 2}),
        ("y: {<<: [], b: 2}\n", {"b": 2}),
        ("x: &x {a: {b: 1, c: 2}}\ny: {<<: *x, a: {b: 3}}\n", {"a": {"b": 3}}),
        ("y: {'<<': 1}\n", {"<<": 1}),
    ],
)
def test_merge_keys_merge(text: str, value: object) -> None:
    document = read(text)

    assert document.problems == ()
    assert document.value["y"] == value


def test_merge_keys_merge_as_pyyaml_does() -> None:
    text = "- &a {p: 1, q: 2}\n- &b {q: 3, r: 4}\n- {<<: [*b, *a], r: 5, s: 6}\n- {q: 7, <<: *a}\n"

    assert read(text).value == yaml.safe_load(text)


def test_what_is_merged_keeps_the_place_where_it_was_written() -> None:
    value = read("x: &x\n  a: 1\n  b: 2\ny:\n  c: 3\n  <<: *x\n").value["y"]

    assert (value.key_at("a"), value.value_at("b"), value.key_at("c")) == ((2, 3), (3, 6), (5, 3))
    assert value.at == (5, 3)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: {<<: 1, b: 2}\n", (1, 9, "merge-key")),
        ("x: &x [1]\na: {<<: *x, b: 2}\n", (2, 9, "merge-key")),
        ("a: {<<: , b: 2}\n", (1, 9, "merge-key")),
        ("x: &x {}\na: {<<: *x, b: 2, <<: *x}\n", (2, 19, "duplicate-key")),
        ("x: &x {}\na: {<<: [*x, 1], b: 2}\n", (2, 9, "merge-key")),
    ],
)
def test_what_cannot_be_merged_is_told_and_the_rest_is_read(text: str, place: tuple[int, int, str]) -> None:
    document = read(text)

    assert findings(text) == [place]
    assert document.value["a"] == {"b": 2}


def test_ten_thousand_mappings_may_merge_the_same_one() -> None:
    text = "x: &x {a: 1, b: 2, c: 3, d: [4, 5]}\njobs:\n" + "".join(
        f"- {{<<: *x, id: {n}}}\n" for n in range(10_000)
    )
    began = time.process_time()
    document = read(text)

    assert document.problems == ()
    assert document.value["jobs"][9999] == {"a": 1, "b": 2, "c": 3, "d": [4, 5], "id": 9999}
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        "x: &x {"
        + ", ".join(f"k{n}: 1" for n in range(1000))
        + "}\n"
        + "".join(f"y{n}: {{<<: *x}}\n" for n in range(1000)),
        "a0: &a0 {k: [1, 2, 3, 4, 5, 6, 7, 8]}\n"
        + "".join(
            f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)
        ),
        "x: &x {<<: *x}\n",
    ],
    ids=["wide", "deep", "itself"],
)
def test_a_bomb_of_merge_keys_is_refused_at_once(text: str) -> None:
    began = time.process_time()

    assert [problem.code for problem in read(text).problems][-1] in ("alias-bomb", "alias-loop")
    assert time.process_time() - began < 0.6


def test_ten_thousand_foreign_prompts_are_read_quickly() -> None:
    jobs = "".join(
        f"- id: a{n}\n  prompt: Un chat «\u00a0roux\u00a0», n°\u00a0{n}, l’été\n" for n in range(10_000)
    )
    began = time.process_time()

    assert len(read(jobs).value) == 10_000
    assert time.process_time() - began < 2


JOBS = "jobs:\n  - id: a\n____prompt: b\n____params:\n____  duration: 6\n  - id: c\n____prompt: d\n"
INDENTED = {"jobs": [{"id": "a", "prompt": "b", "params": {"duration": 6}}, {"id": "c", "prompt": "d"}]}


@pytest.mark.parametrize("char", ["\u00a0", "\u2003", "\u3000"])
def test_lines_indented_with_other_blanks_are_one_problem_and_are_read_as_meant(char: str) -> None:
    document = read(JOBS.replace("_", char))

    [problem] = document.problems
    assert (problem.place.line, problem.place.column, problem.code) == (3, 1, "odd-blank")
    assert "and in 3 other lines" in problem.what
    assert document.value == INDENTED


@pytest.mark.parametrize("text", ["{a: 1,_b: 2}\n", "{a: 1, ?b: 2}\n"])
def test_a_key_behind_something_that_does_not_belong_there_is_the_key(text: str) -> None:
    document = read(text.replace("_", "\u00a0"))

    assert len(document.problems) == 1
    assert document.value == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("value", "what", "hint"),
    [
        ('"say "hi""', 'behind the closing `"`', 'is written \\"'),
        ("'it's'", "behind the closing `'`", "written twice"),
        ("[wide] shot", "behind the closing `]`", "begins with `[` goes in quotes"),
        ("| x", "something stands behind `|`", "goes in quotes"),
        ("- x", "a `- ` is not expected here", "begins with `- ` goes in quotes"),
        ("? x", "a `? ` is not expected here", "begins with `? ` goes in quotes"),
        ("`x`", "begin with a backtick", "quotes"),
        ('"C:\\Users\\a.png"', "this escape", "in the path of a file write `/`"),
    ],
)
def test_a_text_that_needs_quotes_or_other_ones_says_so(value: str, what: str, hint: str) -> None:
    [problem] = read(f"jobs:\n  - id: a\n    prompt: {value}\n    take: 1\n").problems

    assert what in problem.what
    assert hint in problem.hint
    assert problem.place.line == 3


def test_a_manifest_copied_with_its_fence_says_so() -> None:
    [problem] = read("```yaml\na: 1\n```\n").problems

    assert problem.hint == "remove the lines with ```"


# --- text that somebody wrote and nobody gets ---


@pytest.mark.parametrize(
    ("text", "found", "value"),
    [
        ("prompt: item #1 of two\n", ("cut-by-comment", 1, 14), "item"),
        ("prompt: two\n  lines\t#b\r\n", ("cut-by-comment", 2, 9), "two lines"),
        ("prompt: 7 #1\n", ("cut-by-comment", 1, 11), 7),
        ("prompt: &co logo\n", ("unused-anchor", 1, 9), "logo"),
        ("prompt: a cat # a draft\n", None, "a cat"),
        ("prompt: a cat ##\n", None, "a cat"),
        ("prompt: 'item #1'\n", None, "item #1"),
        ("prompt: item#1\n", None, "item#1"),
        ("prompt: a\nmodel: b #c\n", None, "a"),
        ("prompt: &a x\nother: *a\n", None, "x"),
        ("x-own: &a x\nprompt: y\n", None, "y"),
    ],
)
def test_a_prompt_that_yaml_cuts_is_warned_of(
    text: str, found: tuple[str, int, int] | None, value: object
) -> None:
    document = read(text)

    assert [(each.code, each.place.line, each.place.column) for each in document.problems] == (
        [found] if found else []
    )
    assert all(each.severity is Severity.WARNING for each in document.problems)
    assert document.value["prompt"] == value


def test_many_such_warnings_end_no_reading() -> None:
    document = read("".join(f"- {{id: a{n}}}\n- prompt: item #{n}\n" for n in range(500)))

    assert document.complete
    assert (len(document.value), len(document.problems)) == (1000, 200)


@pytest.mark.parametrize(
    ("text", "at", "hint"),
    [
        ("a: 1\nparams: duration: 6\n", (2, 17), "write `params: {duration: 6}`"),
        ("- id:a\n  prompt: x\n", (2, 9), "write `id: a`"),
        ("prompt: note: x\n", (1, 13), "put text that contains `: ` in quotes, or check the indentation"),
        ("a: 1\nprompt: see https://x\n  b: c\n", (3, 4), "put text that contains `: ` in quotes"),
    ],
)
def test_a_colon_that_is_not_expected_is_told_with_what_was_meant(
    text: str, at: tuple[int, int], hint: str
) -> None:
    [problem] = read(text).problems

    assert (problem.place.line, problem.place.column) == at
    assert problem.hint.startswith(hint)
