"""YAML 1.2 with places: what is read, where it was, and what is refused."""

from __future__ import annotations

import math
import time
import tracemalloc

import pytest
import yaml

from runner.manifest import yaml12
from runner.manifest.yaml12 import decode
from runner.manifest.yaml_scalars import plain_value
from runner.manifest.yaml_tree import YamlList, YamlMap
from runner.model import Problem
from tests.manifest_reading import findings, read


@pytest.mark.parametrize(
    "plain",
    [
        "16:9",
        "9:16",
        "1:1",
        "2:3",
        "on",
        "off",
        "yes",
        "no",
        "NO",
        "y",
        "n",
        "0123",
        "-007",
        "1_000",
        "2024-01-01",
        "0o8",
        "0xg",
        "1e",
        "1.2.3",
        ".",
        "-",
        "+",
        "<<",
        "=",
        "nope",
        "None",
        "True!",
        "0b1",
        "12:30:45",
        "9" * 5000,
    ],
)
def test_a_plain_scalar_that_is_no_number_stays_text(plain: str) -> None:
    assert plain == plain_value(plain)


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("6", 6),
        ("-3", -3),
        ("+5", 5),
        ("0", 0),
        ("0o17", 15),
        ("0x1f", 31),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        (".INF", math.inf),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("Null", None),
    ],
)
def test_the_core_schema_decides_what_a_plain_scalar_is(plain: str, value: object) -> None:
    result = plain_value(plain)

    assert value == result
    assert type(value) is type(result)


def test_nan_is_a_number() -> None:
    assert math.isnan(plain_value(".nan"))


def test_quotes_make_text_of_anything() -> None:
    assert read("a: '6'\nb: \"true\"\nc: ''\nd: |\n  ~\n").value == {
        "a": "6",
        "b": "true",
        "c": "",
        "d": "~\n",
    }


def test_aspect_ratios_without_quotes_are_text_in_every_style() -> None:
    text = "a: 16:9\nb: {ratio: 9:16, all: [1:1, 2:3]}\n"

    assert read(text).value == {"a": "16:9", "b": {"ratio": "9:16", "all": ["1:1", "2:3"]}}


def test_every_key_value_and_item_knows_its_place() -> None:
    document = read(
        "\n# comment\nname: x\njobs:\n  - id: é日 \n    params: {mode: fun, duration: 6}\n  - b\n"
    )
    root = document.value
    jobs = root["jobs"]
    params = jobs[0]["params"]

    assert isinstance(root, YamlMap)
    assert isinstance(jobs, YamlList)
    assert (root.key_at("name"), root.value_at("name")) == ((3, 1), (3, 7))
    assert jobs.at == (5, 3)
    assert [jobs.item_at(0), jobs.item_at(1)] == [(5, 5), (7, 5)]
    assert (params.key_at("duration"), params.value_at("duration")) == ((6, 25), (6, 35))
    assert params.at == params.key_at("not there")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", [(3, 1, "duplicate-key")]),
        ("<<: [a]\nc: 1\n", [(1, 5, "merge-key")]),
        ("a: !!str 5\nb: !x {c: d}\n", [(1, 4, "tag"), (2, 4, "tag")]),
        ("a: ! x\n", [(1, 4, "tag")]),
        (
            "1: x\ntrue: y\nnull: z\n",
            [(1, 1, "key-not-text"), (2, 1, "key-not-text"), (3, 1, "key-not-text")],
        ),
        ("? [a]\n: b\n", [(1, 3, "key-not-text")]),
        ("a: {{ name }}\n", [(1, 5, "key-not-text")]),
        ("a: &x b\n*x : c\n", [(2, 1, "key-not-text")]),
        ("a: *x\n", [(1, 4, "unknown-alias")]),
        ("&a [*a]\n", [(1, 5, "alias-loop")]),
        ("a: &a {b: {c: *a}}\n", [(1, 15, "alias-loop")]),
        ("a: 1\n---\nb: 2\n", [(2, 1, "many-documents")]),
        ("", [(1, 1, "empty-file")]),
        ("# nothing\n", [(1, 1, "empty-file")]),
        ("\ufeff", [(1, 1, "empty-file")]),
        ("é: x\nb: \x07\n", [(2, 4, "control-character")]),
        ("a\n\x00", [(2, 1, "control-character")]),
        ("a: \ud800", [(1, 4, "control-character")]),
        ("a: 'x\n", [(1, 4, "yaml-syntax")]),
        ("a: [1, 2\n", [(1, 4, "yaml-syntax")]),
        ("a: b: c\n", [(1, 5, "yaml-syntax")]),
        ("a:\n\tb: c\n", [(2, 1, "yaml-syntax")]),
        ("a: @x\n", [(1, 4, "yaml-syntax")]),
        ("a: *.png\n", [(1, 5, "yaml-syntax")]),
        ('a: "\\q"\n', [(1, 5, "yaml-syntax")]),
    ],
)
def test_what_a_manifest_may_not_hold_is_a_problem_with_its_place(
    text: str, expected: list[tuple[int, int, str]]
) -> None:
    assert expected == findings(text)


def test_reading_goes_on_after_what_is_refused() -> None:
    document = read("a: 1\na: {b: [c]}\n2: {x: [y]}\n[z]: {w: v}\n<<: [q]\nlast: ok\n")

    assert document.value == {"a": 1, "last": "ok"}
    assert document.complete
    assert [p.code for p in document.problems] == [
        "duplicate-key",
        "key-not-text",
        "key-not-text",
        "merge-key",
    ]


def test_a_duplicate_key_says_where_the_first_one_is_and_its_path() -> None:
    [problem] = read("jobs:\n  - {id: a}\n  - id: b\n    id: c\n").problems

    assert "first on line 3" in problem.what
    assert problem.path == "jobs[1].id"
    assert problem.source == "    id: c"


def test_an_unquoted_placeholder_in_brackets_gets_the_hint_to_quote_it() -> None:
    [problem] = read("params: {duration: ${row.seconds}}\n").problems

    assert '"${name}"' in problem.hint


def test_aliases_repeat_small_values() -> None:
    document = read("a: &x [1, 2]\nb: *x\nc: {d: *x}\n")

    assert document.value == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}
    assert document.problems == ()


def alias_bomb() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (alias_bomb(), "alias-bomb"),
        ("[" * 100_000, "too-deep"),
        ("{a: " * 100_000, "too-deep"),
        ("- " * 100_000, "too-deep"),
        ("x: &a0 [1]\n" + "".join(f"x{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100)), "alias-bomb"),
    ],
    ids=["aliases", "brackets", "braces", "dashes", "deep by aliases"],
)
def test_a_bomb_is_refused_at_once(text: str, code: str) -> None:
    began = time.process_time()

    document = read(text)

    assert [code] == [p.code for p in document.problems]
    assert not document.complete
    assert time.process_time() - began < 1.0


def test_there_are_never_more_problems_than_a_person_reads() -> None:
    document = read("".join(f"{n}: x\n" for n in range(5000)))

    assert len(document.problems) == yaml12.MAX_PROBLEMS


def test_the_python_loader_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may be installed without its C part."""
    text = "a: 16:9\nb: {c: [on, 5]}\n3: x\n"
    with_c = read(text)
    monkeypatch.setattr(yaml12, "_LOADER", yaml.SafeLoader)

    document = read(text)

    assert (with_c.value, with_c.problems) == (document.value, document.problems)
    assert [p.code for p in read("a: [1").problems] == ["yaml-syntax"]


def test_a_byte_order_mark_is_dropped() -> None:
    assert decode(b"\xef\xbb\xbfa: b", file="m.yaml") == "a: b"
    assert read("\ufeffa: b").value == {"a": "b"}


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"a: b\nc: \xe9t\xe9\n", 2, 4), ("a: b".encode("utf-16"), 1, 1), (b"\xc3\xa9 \xff", 1, 3)],
)
def test_bytes_that_are_not_utf8_are_a_problem_with_its_place(data: bytes, line: int, column: int) -> None:
    problem = decode(data, file="m.yaml")

    assert isinstance(problem, Problem)
    assert ("not-utf8", line, column) == (problem.code, problem.place.line, problem.place.column)


def test_a_file_too_large_to_be_one_document_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "MAX_BYTES", 10)

    problem = decode(b"a: 123456789", file="m.yaml")

    assert isinstance(problem, Problem)
    assert problem.code == "too-large"


def test_ten_thousand_inline_jobs_are_read_quickly_and_in_little_memory() -> None:
    job = (
        "  - id: job-{n}\n    prompt: A bottle {n} turning in morning light\n"
        "    params: {{duration: 10, aspect_ratio: 16:9}}\n    references: [assets/hero.jpg]\n"
    )
    jobs = [job.format(n=n) for n in range(10_000)]
    began = time.process_time()
    document = read("jobs:\n" + "".join(jobs))
    took_s = time.process_time() - began
    # A fifth of them against a fifth of the memory: to trace all of it takes four times as long as to read it.
    few = "jobs:\n" + "".join(jobs[:2000])
    tracemalloc.start()
    fifth = read(few)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert (len(document.value["jobs"]), len(fifth.value["jobs"])) == (10_000, 2000)
    assert took_s < 3
    assert size < 20_000_000 / 5


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('prompt: "red"#ff0000\n', (1, 14)),
        ("prompt: 'red'# said so\n", (1, 14)),
        ("looks: [red,#blue\n  green]\n", (1, 13)),
        ("looks: [#red\n  green]\n", (1, 9)),
        ("looks: [red]#blue\n", (1, 13)),
        ("params: {mode: normal}# as always\n", (1, 23)),
        ("prompt: |# red\n  blue\n", (1, 10)),
        ("prompt: &p >-# red\n  blue\n", (1, 14)),
        ("a: 1\nlooks: # these\n  - x\nb: 'c'#\n", (4, 7)),
    ],
)
def test_what_would_be_lost_behind_a_hash_is_told(text: str, at: tuple[int, int]) -> None:
    """YAML 1.2 wants a space before it; the parser takes it for a comment."""
    assert findings(text) == [(*at, "comment-without-space")]


def test_a_hash_inside_of_a_text_and_a_comment_behind_a_space_are_fine() -> None:
    text = (
        'a: red#blue\nb: "x,# y" # c\'#\nc: [1, #,#\n  2] #]#\nd: | # x"#\n  k"#\n# "#\ne: &x x #,#\nf: *x\n'
    )

    document = read(text)

    assert document.problems == ()
    assert document.value == {"a": "red#blue", "b": "x,# y", "c": [1, 2], "d": 'k"#\n', "e": "x", "f": "x"}


@pytest.mark.parametrize("text", ["k: &an:chor value\n", "k:\n  &an:chor a: 1\n", "k: [&an?chor b]\n"])
def test_an_anchor_with_other_characters_does_not_become_text(text: str) -> None:
    """The parser ends the name there, and the rest would be a part of the prompt."""
    assert findings(text)[0][2] == "anchor-name"


def test_a_tab_that_is_the_first_line_of_a_block_of_text_belongs_to_it() -> None:
    assert read("a: |\n \t\nb: 1\n").value == {"a": "\t\n", "b": 1}
    assert read("a: |\n  \t\n  x\n").value == {"a": "\t\nx\n"}
    assert read("a: |\n     \t\n  x\n").value == {"a": "\nx\n"}
