"""When trouble counts as settled, when a run goes on without a job, and the table of what to type."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.lifecycle.ways import FEW_TRIES, PATIENCE_S, WAYS, Trouble, is_given_up, is_settled, lasts_s
from runner.model import State

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN, ODD, NONE, REST = Trouble.UNKNOWN_TASK, Trouble.ODD_END, Trouble.NO_RESULT, Trouble.NOT_FETCHED


@pytest.mark.parametrize(("trouble", "lasts"), [(UNKNOWN, 86_400), (ODD, 3_600), (NONE, 300), (REST, 0)])
def test_trouble_is_settled_once_it_has_lasted(trouble: Trouble, lasts: float) -> None:
    assert lasts_s(trouble) == lasts
    assert is_settled(trouble, age_s=lasts)
    assert not is_settled(trouble, age_s=lasts - 0.1)


@pytest.mark.parametrize(
    ("trouble", "age_s", "tries", "given_up"),
    [
        (UNKNOWN, 0.0, 100, False),
        (UNKNOWN, PATIENCE_S - 1, 100, False),
        (UNKNOWN, PATIENCE_S, FEW_TRIES, True),
        # A later run asks a few times, however long it has lasted.
        (UNKNOWN, 1e9, FEW_TRIES - 1, False),
        (UNKNOWN, 1e9, FEW_TRIES, True),
        (ODD, PATIENCE_S, FEW_TRIES, True),
        (NONE, 299, 100, False),
        (NONE, 300, FEW_TRIES, True),
        (REST, 0.0, FEW_TRIES, True),
    ],
)
def test_a_run_waits_some_minutes_and_a_later_one_asks_a_few_times(
    trouble: Trouble, age_s: float, tries: int, given_up: bool
) -> None:
    assert is_given_up(trouble, age_s=age_s, tries=tries) is given_up


def test_the_readme_says_for_each_state_what_to_type() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| state | what is known | after a crash | what to type |") :].partition("\n\n")[
        0
    ]
    rows = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", table, re.M)

    assert {State(state): tuple(re.findall(r"`(\w+)`", typed)) for state, typed in rows} == WAYS


@pytest.mark.parametrize("trouble", Trouble)
def test_the_readme_says_how_long_each_trouble_has_to_last(trouble: Trouble) -> None:
    text = (ROOT / "state" / "README.md").read_text(encoding="utf-8")
    words = {86_400: "a day", 3_600: "an hour", 300: "five minutes", 0: "a run that tried"}

    assert re.search(rf"^\|[^|]*\| {words[round(lasts_s(trouble))]}", text, re.M)
