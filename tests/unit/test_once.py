"""What is computed once for each object."""

from __future__ import annotations

from runner.contract.once import OncePerObject


class Counted:
    """Computes the text of a list, and counts how often."""

    def __init__(self, most: int = 100) -> None:
        self.known = OncePerObject[str](most)
        self.times = 0

    def of(self, item: list[int], *more: object) -> str:
        def compute() -> str:
            self.times += 1
            return f"{item} {more}"

        return self.known.get(item, compute, *more)


def test_the_same_object_is_computed_once_and_an_equal_one_for_itself() -> None:
    counted = Counted()
    one, twin = [1], [1]

    assert [counted.of(one), counted.of(one), counted.of(twin)] == ["[1] ()"] * 3
    assert counted.times == 2


def test_what_it_depends_on_besides_makes_another_value() -> None:
    counted = Counted()
    one = [1]

    assert [counted.of(one, "a"), counted.of(one, "b"), counted.of(one, "a")] == [
        "[1] ('a',)",
        "[1] ('b',)",
        "[1] ('a',)",
    ]


def test_an_object_that_nobody_holds_any_more_lends_its_value_to_no_other() -> None:
    counted = Counted()

    assert [counted.of([number]) for number in range(100)] == [f"[{number}] ()" for number in range(100)]


def test_no_more_is_kept_than_is_worth_it_and_what_comes_last_is() -> None:
    counted = Counted(most=2)
    one, two, three = [1], [2], [3]

    asked = [one, two, one, three, three, one]
    assert [counted.of(each) for each in asked] == [f"{each} ()" for each in asked]
    assert counted.times == 4
