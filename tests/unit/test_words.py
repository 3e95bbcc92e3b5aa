"""Text of others, made fit to be printed."""

from __future__ import annotations

import json
import unicodedata

import pytest

from runner.words import harmless, harmless_lines, json_text


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
