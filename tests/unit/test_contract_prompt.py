"""What a model accepts as a prompt."""

from __future__ import annotations

import pytest

from runner.contract import check_prompt, contract_from_json
from runner.model import Severity
from tests.bundled import load_contract

Z_IMAGE = load_contract("z-image")  # takes 1000 characters


@pytest.mark.parametrize(
    "prompt", ["A red kite", "x" * 1000, "é" * 1000, "漢" * 1000, "🎈" * 500, "\u0301" * 9]
)
def test_a_prompt_up_to_the_limit_is_fine(prompt: str) -> None:
    assert check_prompt(Z_IMAGE, prompt) is None


def test_a_prompt_over_the_limit_says_both_numbers() -> None:
    problem = check_prompt(Z_IMAGE, "x" * 1234)

    assert problem is not None
    assert (problem.key, problem.code, problem.severity) == ("prompt", "prompt-too-long", Severity.ERROR)
    assert "1,234" in problem.what
    assert "1,000" in problem.what
    assert problem.hint == "shorten it by 234"


def test_emoji_that_only_some_count_as_two_are_a_warning() -> None:
    problem = check_prompt(Z_IMAGE, "🎈" * 501)

    assert problem is not None
    assert problem.severity is Severity.WARNING
    assert "1,002" in problem.what


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        (None, "missing-prompt"),
        ("", "blank-prompt"),
        (" \n\t\u2003", "blank-prompt"),
        ("a\0b", "control-character"),
    ],
)
def test_a_prompt_that_says_nothing_is_refused(prompt: str | None, code: str) -> None:
    problem = check_prompt(Z_IMAGE, prompt)

    assert problem is not None
    assert (code, Severity.ERROR) == (problem.code, problem.severity)


def test_a_dialogue_needs_no_prompt() -> None:
    assert check_prompt(load_contract("elevenlabs-dialogue-v3"), None) is None


def test_a_model_of_which_only_the_live_list_tells_warns_about_a_missing_prompt() -> None:
    problem = check_prompt(contract_from_json({"id": "new"}), None)

    assert problem is not None
    assert problem.severity is Severity.WARNING


def test_without_a_documented_limit_any_length_passes() -> None:
    assert check_prompt(load_contract("4o-image"), "x" * 1_000_000) is None
