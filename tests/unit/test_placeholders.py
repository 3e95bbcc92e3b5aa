"""Placeholders: what they become, and what is said about those that become nothing."""

from __future__ import annotations

import pytest

from runner.contract.graphemes import graphemes
from runner.manifest.placeholders import BadPlaceholder, as_text, compile_template, fit, slug

SCOPE = {
    "brand": "Acme",
    "count": 3,
    "half": 0.5,
    "whole": 6.0,
    "loud": True,
    "nothing": None,
    "row": {
        "name": "Red Fox",
        "Product Name": "Tea & Co.",
        "a.b": "dotted",
        "deep": {"er": 7},
        "list": [1, 2],
    },
    "file": {"stem": "bottle"},
    "take": 2,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no placeholder, $5, {x}, $", "no placeholder, $5, {x}, $"),
        ("${brand}!", "Acme!"),
        ("${ brand }-${take}", "Acme-2"),
        ("${row.name | slug}", "red-fox"),
        ("${row.name|upper|truncate(3)}", "RED"),
        ("${row.Product Name | lower}", "tea & co."),
        ("${row.a.b} ${row.deep.er}", "dotted 7"),
        ("<${nothing}>", "<>"),
        ("${whole} ${half} ${loud}", "6 0.5 true"),
        ("$${brand}", "${brand}"),
        ("$$${brand}", "$Acme"),
        ("$$$${brand}", "$${brand}"),
        ("${nothing | default('a } | b')}", "a } | b"),
        ('${row.missing | default("x") | upper}', "X"),
        ("${file.stem}.${row.name}", "bottle.Red Fox"),
    ],
)
def test_a_placeholder_becomes_its_value(text: str, expected: str) -> None:
    assert expected == compile_template(text).render(SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${count}", 3),
        ("${half}", 0.5),
        ("${loud}", True),
        ("${nothing}", None),
        ("${row.list}", [1, 2]),
        ("${nothing | default(4)}", 4),
    ],
)
def test_a_text_that_is_one_placeholder_keeps_the_type(text: str, value: object) -> None:
    result = compile_template(text).render(SCOPE)

    assert value == result
    assert type(value) is type(result)


def test_a_value_that_looks_like_a_placeholder_is_not_filled_in_again() -> None:
    template = compile_template("${row.text}, ${row.text}")

    assert template.render({"brand": "Acme", "row": {"text": "${brand}"}}) == "${brand}, ${brand}"


@pytest.mark.parametrize(
    ("text", "code", "offset"),
    [
        ("ab ${brand", "bad-placeholder", 3),
        ("${brand\n}", "bad-placeholder", 0),
        ("${}", "bad-placeholder", 0),
        ("${ | lower}", "bad-placeholder", 0),
        ("${brand | shout}", "bad-filter", 0),
        ("${brand | truncate}", "bad-filter", 0),
        ("${brand | truncate(0)}", "bad-filter", 0),
        ("${brand | slug(1)}", "bad-filter", 0),
        ("${brand | }", "bad-filter", 0),
        ("${" + "'" * 100_000, "bad-placeholder", 0),
        ("${a|" + "'" * 100_000, "bad-placeholder", 0),
    ],
)
def test_what_cannot_be_read_is_said_with_its_offset(text: str, code: str, offset: int) -> None:
    with pytest.raises(BadPlaceholder) as caught:
        compile_template(text)

    assert (code, offset) == (caught.value.code, caught.value.offset)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("${brnd}", "did you mean ${brand}? there are brand, take, row.…, file.…"),
        ("${row.nam}", "did you mean ${row.name}? there are name, sku"),
        ("${row.zzz}", "there are name, sku"),
        ("${sku}", "did you mean ${row.sku}?"),
        ("${row}", "write ${row.name}"),
        ("${rwo.sku}", "did you mean ${row.sku}? there are brand, take, row.…, file.…"),
        ("${__import__('os')}", "there are brand, take, row.…, file.…"),
        ("${1+1}", "there are brand, take, row.…, file.…"),
    ],
)
def test_an_unknown_name_is_found_before_there_are_values(text: str, hint: str) -> None:
    names, groups = ["brand", "take"], {"row": ["name", "sku"], "file": ["stem"]}

    [problem] = compile_template(f"x {text}").unknown(names, groups)

    assert ("unknown-name", hint, 2) == (problem.code, problem.hint, problem.offset)


def test_known_names_are_no_problem() -> None:
    template = compile_template("${brand} ${row.a.b} ${params.mode} ${row.x | default('')}")

    assert template.unknown(["brand"], {"row": ["a", "x"], "params": None}) == []


def test_a_column_that_a_row_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(BadPlaceholder) as caught:
        compile_template("${row.text}").render({"row": {"txt": "x", "sku": "y"}})

    assert caught.value.what == 'there is no column "text" here'
    assert caught.value.hint == "did you mean ${row.txt}? there are txt, sku"


def test_a_list_cannot_stand_inside_text() -> None:
    with pytest.raises(BadPlaceholder) as caught:
        compile_template("a ${row.list}").render(SCOPE)

    assert (caught.value.code, caught.value.column) == ("not-text", "list")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red Fox, no. 5!", "red-fox-no-5"),
        ("  --a__b--  ", "a__b"),
        ("Über Straße", "über-straße"),
        ("नमस्ते दुनिया", "नमस्ते-दुनिया"),
        ("東京 タワー", "東京-タワー"),
        ("a\u200bb\u202ec", "abc"),
        ("../../etc/passwd\x00", "etc-passwd"),
        ("①²", "12"),
        ("😀", ""),
    ],
)
def test_slug_keeps_letters_of_any_script(text: str, expected: str) -> None:
    assert expected == slug(text)
    assert expected == slug(expected)


@pytest.mark.parametrize(
    ("value", "text"), [(6.0, "6"), (True, "true"), (None, ""), ("x", "x"), (0.1, "0.1")]
)
def test_values_become_text_as_people_write_them(value: object, text: str) -> None:
    assert text == as_text(value)


@pytest.mark.parametrize("text", ["a", "x" * 160, "ที่" * 17, ""])
def test_what_fits_is_left_as_it_is(text: str) -> None:
    assert fit(text) == text


@pytest.mark.parametrize(
    "unit", ["a", "é", "e\u0301", "ที่", "क्षि", "น้ำ", "👩‍👩‍👧", "👍🏽", "🇩🇪", "각", "\u1112\u1161\u11ab", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
)
@pytest.mark.parametrize("most", [16, 60, 160])
def test_what_is_cut_fits_and_ends_where_a_character_does(unit: str, most: int) -> None:
    cut = fit(unit * 300, most)
    kept, _, mark = cut.rpartition("-")

    assert len(cut.encode()) <= most
    assert kept == unit * (len(kept) // len(unit))
    assert len(mark) == 8
    assert most - len(cut.encode()) <= len(unit.encode())  # nor is more cut than has to be


@pytest.mark.parametrize("unit", ["ที่", "क्षि", "น้ำ", "👩‍👩‍👧", "🇩🇪", "\u1112\u1161\u11ab", "e\u0301\u0323"])
def test_characters_are_what_people_see(unit: str) -> None:
    text = unit * 3 + "a" + unit

    assert [text[start:stop] for start, stop in graphemes(text)] == [unit, unit, unit, "a", unit]


def test_texts_that_begin_alike_stay_two() -> None:
    titles = [f"{'สวัสดีชาวโลก' * 20} {number}" for number in range(100)]
    template = compile_template("shot-${row.title | slug | fit}")
    ids = {template.render({"row": {"title": title}}) for title in titles}

    assert len(ids) == 100
    assert all(len(id_.encode()) <= 165 for id_ in ids)
    assert compile_template("${row.title | fit(60)}").render({"row": {"title": titles[7]}}) == fit(
        titles[7], 60
    )


@pytest.mark.parametrize("text", ["${a | fit(15)}", "${a | fit()}", "${a | fit('x')}"])
def test_a_fit_that_leaves_no_room_is_refused(text: str) -> None:
    with pytest.raises(BadPlaceholder) as caught:
        compile_template(text)
    assert caught.value.hint == "write `fit(60)`"
