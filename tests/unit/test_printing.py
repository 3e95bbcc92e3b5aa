"""What a service says is printed through one function, and everything that is printed through one of three.

The rule is read off the code, as the layers are: a line that prints in another way fails here.
"""

from __future__ import annotations

import ast
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.words import harmless, harmless_lines, json_text
from tests.unit.test_layers import PACKAGE, dotted, modules, tree

PRINTING = ("cli", "progress", "api", "web", "report")
# Where bytes reach a stream: the one door, lines of progress, and what other programs read as it is.
DOORS = {
    "cli.output": "show, show_json, complain",
    "cli.init": "the path of a file",
    "cli.report": "the path of a file",
    "cli.export": "rows for other programs",
    "cli.plan": "JSON, piece by piece",
    "api.reporting": "one line, made harmless",
}
# Fields whose words are the service's.
THEIRS = frozenset({"task_id", "message", "what", "code", "request_id", "word", "reason", "note"})
HARMLESS = frozenset({"harmless", "harmless_lines", "json_text", "said"})


def printing() -> list[Path]:
    return [path for path in modules() if dotted(path).split(".")[0] in PRINTING]


def named(call: ast.Call) -> str:
    return ast.unparse(call.func)


@pytest.mark.parametrize("path", printing(), ids=dotted)
def test_nobody_prints_past_the_doors(path: Path) -> None:
    here = dotted(path)
    if here in DOORS:
        return
    past = [
        f"line {node.lineno}: {named(node)}; use show, show_json or complain of runner.cli.output"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and named(node) in {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}
    ]

    assert not past


@pytest.mark.parametrize(
    "path", [path for path in printing() if dotted(path).startswith(("cli", "progress"))], ids=dotted
)
def test_json_is_written_by_one_function(path: Path) -> None:
    past = [
        f"line {node.lineno}: use json_text of runner.words"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and named(node) == "json.dumps"
        and "ensure_ascii=True" not in ast.unparse(node)
    ]

    assert not past


def naked(node: ast.AST) -> Iterator[str]:
    """Yield the names of the service's fields in an expression that pass through no function made for them."""
    if isinstance(node, ast.Call) and named(node).rpartition(".")[2] in HARMLESS:
        return
    match node:
        case ast.Attribute(attr=name) if name in THEIRS:
            yield name
        case ast.Subscript(slice=ast.Constant(value=str(name))) if name in THEIRS:
            yield name
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]) if (
            name in THEIRS
        ):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from naked(child)


@pytest.mark.parametrize(
    "path", [path for path in printing() if dotted(path).startswith(("cli", "progress"))], ids=dotted
)
def test_the_words_of_the_service_go_into_no_line_as_they_are(path: Path) -> None:
    found = [
        f"line {node.lineno}: {name} is put into text as it is; use harmless of runner.words"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FormattedValue)
        for name in naked(node.value)
    ]

    assert not found


# --- the functions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\r\nand\ttabs", "two lines  and tabs"),
        ("\x1b[2Jclear", "\ufffd[2Jclear"),
        ("\x9b2Jin one byte\x85next", "\ufffd2Jin one byte next"),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("\u202etxt.exe\u202c \u2066a\u2069 \u200fb", "txt.exe a b"),
        ("line\u2028paragraph\u2029end", "line paragraph end"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("\ufeffmark\u00adsoft\U000e0041tag", "marksofttag"),
        ("Zürich 東京 👩‍🚀 می‌خواهم", "Zürich 東京 👩‍🚀 می‌خواهم"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 299 + "…"),
        ("\u202e" * 100_000 + "x", ""),
    ],
)  # fmt: skip
def test_a_line_of_somebody_elses_words(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_several_lines_stay_several_and_long_ones_stay_long() -> None:
    assert harmless_lines(f"one\x1b[1m\n{'x' * 5000}\ttwo\n") == f"one\ufffd[1m\n{'x' * 5000} two\n"


def test_json_for_programs_is_the_same_value_without_anything_a_terminal_obeys() -> None:
    value = {"a": ["".join(map(chr, (*range(0x250), *range(0x2000, 0x2070), 0xFEFF))), "東京 é"]}

    text = json_text(value)

    assert json.loads(text) == value
    assert "東京 é" in text
    assert not [char for char in text if unicodedata.category(char) in ("Cc", "Zl", "Zp")]
    assert "\u202e" not in text


def test_the_doors_are_where_they_are_said_to_be() -> None:
    assert not {name for name in DOORS if not (PACKAGE / f"{name.replace('.', '/')}.py").is_file()}
