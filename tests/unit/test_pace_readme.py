"""runner/pace/README.md names the numbers that stand in the code."""

from __future__ import annotations

from tests.ablation import named, settings

MOST = 40


def test_the_readme_names_the_numbers_of_the_code() -> None:
    assert named() == {str(one): f"{one.number.value:g} {one.number.unit}" for one in settings()}


def test_each_number_says_what_it_serves_and_they_do_not_become_more() -> None:
    found = settings()

    assert all(one.number.serves and one.number.unit for one in found)
    assert len(found) <= MOST
