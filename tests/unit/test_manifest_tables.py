"""Tables as people have them: out of spreadsheets, put together by hand, in the encodings of their programs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runner.manifest.csv_rows import sniffed_delimiter
from tests.manifest_reading import HEAD, found, load, prompts
from tests.manifest_reading import load_rows as read

# --- as text ---


@pytest.mark.parametrize(
    ("rows", "content"),
    [
        ("r.csv", "id;text\na;one, or 1,5\nb;two\n"),
        ("r.csv", "id\ttext\r\na\tone, or 1,5\r\nb\ttwo\r\n"),
        ("r.csv", "id|text\na|one, or 1,5\nb|two\n"),
        ("r.csv", 'id,text\ra,"one, or 1,5"\rb,two\r'),
        ("r.csv", "sep=;\r\nid;text\r\na;one, or 1,5\r\nb;two\r\n"),
        ("r.csv", '"sep=;"\r\nid;text\r\na;one, or 1,5\r\nb;two\r\n'),
        ("r.csv", '"id";"text"\n"a";"one, or 1,5"\n"b";"two"\n'),
        ("r.tsv", "id\ttext\na\tone, or 1,5\nb\ttwo\n"),
        ("{file: r.csv, delimiter: ';'}", "id;text\na;one, or 1,5\nb;two\n"),
        ("{file: r.csv, delimiter: tab}", "id\ttext\na\tone, or 1,5\nb\ttwo\n"),
        ("r.csv", '\n,,,\n ,\nid,text,,\na,"one, or 1,5",,\nb,two,,\n'),
        ("r.csv", '\n;;\nsep=;\nid;text\na;"one, or 1,5"\nb;two\n'),
        ("r.csv", '\u200bid,text\u2060\na,"one, or 1,5"\nb,two\n'),
        ("r.csv", 'id,text,,\na,"one, or 1,5",,\nb,two,,\n,,,\n,,,\n'),
        ("r.csv", 'id,text\na,"one, or 1,5",,,\nb,two\n,\n  ,  \n'),
        ("r.csv", "id;text\r\na;one, or 1,5\r\nb;two\r\n".encode("utf-16")),
        ("r.csv", b"\xfe\xff" + "id;text\na;one, or 1,5\nb;two\n".encode("utf-16-be")),
        ("{file: r.csv, encoding: windows-1252}", "id;text\na;one, or 1,5\nb;two\n".encode("cp1252")),
    ],
)
def test_a_table_is_read_however_it_was_saved(tmp_path: Path, rows: str, content: str | bytes) -> None:
    name = "r.tsv" if "tsv" in rows else "r.csv"

    loaded = read(tmp_path, rows, {name: content})

    assert prompts(loaded) == {"a": "one, or 1,5", "b": "two"}
    assert loaded.problems == []


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16_without_a_mark_is_named_and_what_is_named_reads_it(tmp_path: Path, order: str) -> None:
    table = "id,text\na,x\n".encode(f"utf-16-{order}")

    refused = read(tmp_path, "r.csv", {"r.csv": table})
    loaded = read(tmp_path, f"{{file: r.csv, encoding: utf-16-{order}}}", {"r.csv": table})

    assert refused.problems[0].hint.endswith(f"write `encoding: utf-16-{order}`")
    assert prompts(loaded) == {"a": "x"}


def test_a_code_page_is_read_when_it_is_named_and_else_told_how(tmp_path: Path) -> None:
    table = "id;text\nä;Käse für 5 €\n".encode("cp1252")

    refused = read(tmp_path, "r.csv", {"r.csv": table})
    loaded = read(tmp_path, "{file: r.csv, encoding: windows-1252}", {"r.csv": table})

    assert found(refused) == [("not-utf8", 2, 1)]
    assert "encoding: windows-1252" in refused.problems[0].hint
    assert prompts(loaded) == {"ä": "Käse für 5 €"}


def test_a_byte_that_the_named_code_page_does_not_have_is_told_with_its_place(tmp_path: Path) -> None:
    loaded = read(tmp_path, "{file: r.csv, encoding: windows-1252}", {"r.csv": b"id,text\na,x\x81y\nb,z\n"})

    assert found(loaded) == [("not-utf8", 2, 4)]
    assert prompts(loaded) == {"b": "z"}


def test_the_mark_of_a_file_wins_over_what_was_said_of_it(tmp_path: Path) -> None:
    table = "id,text\na,één\n".encode("utf-8-sig")

    assert prompts(read(tmp_path, "{file: r.csv, encoding: windows-1252}", {"r.csv": table})) == {"a": "één"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id,text\na,x\nid,text\nb,y\n", [("header-again", 3, 1)]),
        ("id,text\na,x\n\ufeffid,text\nb,y\n", [("header-again", 3, 1)]),
        ("id;text\na;x\n id ; text\nb;y\n", [("header-again", 3, 1)]),
        ("id,text,\na,x,note\nb,y,\n", [("empty-column", 1, 9)]),
        ("id,,text\na,1,x\nb,,y\n", [("empty-column", 1, 4)]),
        (",id,text\n0,a,x\n1,b,y\n2,c,z\n", [("empty-column", 1, 1)]),
        ("sep=;\nid;text\na;x\nsep=;\nid;text\nb;y\n", [("header-again", 4, 1), ("header-again", 5, 1)]),
        ('id,text\na, "hello"\nb,y\n', [("blank-before-quote", 2, 3)]),
        ("id,text\na,x,y\nb,z\n", [("ragged-row", 2, 1)]),
        ("id,text\na\nb,z\n", [("ragged-row", 2, 1)]),
        ('id,text\na, "x, y"\nb,z\n', [("blank-before-quote", 2, 3)]),
        ('id,text\na,\t"x"\nb,z\n', [("blank-before-quote", 2, 3)]),
        ("id,text,id\na,b,c\n", [("duplicate-column", 1, 9)]),
    ],
)
def test_what_is_surely_wrong_is_told_with_its_place(
    tmp_path: Path, content: str, expected: list[tuple[str, int, int]]
) -> None:
    loaded = read(tmp_path, "r.csv", {"r.csv": content})

    assert found(loaded) == expected
    assert len(loaded.errors) == len(expected)


@pytest.mark.parametrize(
    "again",
    ["id,text", "ID,Text", " Id , TEXT ", '"id","text"', "\ufeffid,text", "id,text,", "text,id", "TEXT, Id"],
)
def test_a_header_in_the_middle_is_told_however_it_is_written(tmp_path: Path, again: str) -> None:
    loaded = read(tmp_path, "r.csv", {"r.csv": f"id,text\na,x\n{again}\nb,y\n"})

    assert found(loaded) == [("header-again", 3, 1)]
    assert ("another order" in loaded.problems[0].what) == again.lower().startswith("text")


def test_rows_with_some_names_of_columns_in_them_are_rows(tmp_path: Path) -> None:
    loaded = read(tmp_path, "r.csv", {"r.csv": "id,text\na,text\nb,id\ntext,text\n"})

    assert prompts(loaded) == {"a": "text", "b": "id", "text": "text"}


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("id,text", ","),
        ("id;text, long;seconds", ";"),
        ('"a;b",c', ","),
        ("id", ","),
        ("a\tb\tc,d", "\t"),
        ("", ","),
        ("a|b", "|"),
    ],
)
def test_the_header_tells_the_delimiter(header: str, delimiter: str) -> None:
    assert sniffed_delimiter(header) == delimiter


def test_a_decimal_comma_is_named(tmp_path: Path) -> None:
    text = HEAD + "jobs: [{id: '${row.id}', rows: r.csv, params: {duration: '${row.s}'}}]\n"

    problem = load(tmp_path, text, {"r.csv": "id;s\na;6,5\n"}).only("wrong-type")

    assert problem.hint == "write 6.5: the comma is read as text"
    assert (problem.place.line, problem.place.column) == (2, 3)


def test_very_many_columns_are_read_at_once(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(16_384)]
    table = ",".join(["id", "text", *names]) + "\n" + ",".join(["a", "x", *names]) + "\n"
    began = time.process_time()

    loaded = read(tmp_path, "r.csv", {"r.csv": table})

    assert prompts(loaded) == {"a": "x"}
    assert time.process_time() - began < 4  # it was a minute; a busy machine may take its time


def test_rows_may_be_chosen_by_their_cells(tmp_path: Path) -> None:
    rows = "{file: r.csv, where: {status: [ready, ''], n: 1}}"
    table = "id,text,status,n\na,x,ready,1\nb,y,draft,1\nc,z,,1\nd,w,ready,2\n"

    loaded = read(tmp_path, rows, {"r.csv": table})

    assert (prompts(loaded), loaded.problems) == ({"a": "x", "c": "z"}, [])


def test_a_column_to_choose_by_that_is_not_there_is_told(tmp_path: Path) -> None:
    loaded = read(tmp_path, "{file: r.csv, where: {stauts: ready}}", {"r.csv": "id,text,status\na,x,ready\n"})

    assert loaded.only("unknown-column").hint == "did you mean `status`?"


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ("{file: r.csv, delimiter: '::'}", "bad-delimiter"),
        ("{file: r.csv, encoding: klingon}", "unknown-encoding"),
        ("{file: r.csv, encoding: base64}", "unknown-encoding"),
        ("{file: r.csv, speed: 1}", "unknown-key"),
        ("{file: r.csv, glob: '*.png'}", "refused"),
        ("{delimiter: ';'}", "missing-key"),
        ("{file: ''}", "empty-value"),
        ("r.ods", "unknown-format"),
    ],
)
def test_rows_that_cannot_be_read_so_are_told(tmp_path: Path, rows: str, code: str) -> None:
    assert code in read(tmp_path, rows, {"r.csv": "id,text\na,x\n"}).codes


# --- one prompt a line ---


def test_a_text_file_is_one_prompt_a_line(tmp_path: Path) -> None:
    text = HEAD + "jobs: [{id: 'p-${row.line}', rows: prompts.txt, prompt: '${row.text}, at night'}]\n"
    lines = '\ufeff# drafts of Tuesday\na red fox\n\n  a blue bird, "singing"  \r\n#2\n'

    loaded = load(tmp_path, text, {"prompts.txt": lines})

    assert prompts(loaded) == {"p-2": "a red fox, at night", "p-4": 'a blue bird, "singing", at night'}
    assert [(p.code, p.severity, p.place.line) for p in loaded.problems] == [("comment-line", "warning", 1)]
    assert "2 lines" in loaded.problems[0].what


def test_a_text_file_of_tabs_is_a_table_where_the_delimiter_is_named(tmp_path: Path) -> None:
    """Excel's "Unicode Text": UTF-16 and tabs, with the name of a text."""
    content = "id\ttext\r\na\tone\r\nb\ttwo\r\n".encode("utf-16")

    loaded = read(tmp_path, "{file: r.txt, delimiter: tab}", {"r.txt": content})
    as_text = load(tmp_path, HEAD + "jobs: [{id: 'l-${row.line}', rows: r.txt, prompt: '${row.text}'}]\n", {})

    assert prompts(loaded) == {"a": "one", "b": "two"}
    assert as_text.only("table-as-text").severity == "warning"
    assert len(as_text.jobs) == 3


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("r.csv", "sheet: A"),
        ("r.xlsx", "delimiter: tab"),
        ("r.xlsx", "encoding: utf-16"),
        ("r.jsonl", "delimiter: ';'"),
        ("r.json", "encoding: latin-1"),
    ],
)
def test_an_option_that_means_nothing_for_a_kind_of_file_is_told(
    tmp_path: Path, name: str, option: str
) -> None:
    loaded = read(tmp_path, f"{{file: {name}, {option}}}", {name: "id,text\na,x\n"})

    assert [code for code, _, _ in found(loaded)] == ["row-option"]


def test_a_text_file_in_utf16_is_read_too(tmp_path: Path) -> None:
    text = HEAD + "jobs: [{id: '${row.text | slug}', rows: prompts.txt, prompt: '${row.text}'}]\n"

    assert prompts(load(tmp_path, text, {"prompts.txt": "नमस्ते दुनिया\n".encode("utf-16")})) == {
        "नमस्ते-दुनिया": "नमस्ते दुनिया"
    }


# --- cells nobody meant ---


@pytest.mark.parametrize(
    "cell",
    ["#REF!", "#N/A", "#NAME?", "nan", "NaN", "None", "null", "undefined", "[object Object]", " #VALUE! ",
     "#BEZUG!", "#NV", "#VALEUR!", "#¡REF!", "#¿NOMBRE?", "#RIF!", "#¡DIV/0!", "#AANTAL!", "#DIV/0!", "#NULL!", "#NUM!",
     "#SPILL!", "#CALC!", "#WERT!", "#NOMBRE?", "#ÜBERLAUF!", "#DESBORDAMIENTO!", "#ДЕЛ/0!", "#Н/Д", "#DĚLENÍ_NULOU!",
     "#BAŞV!", "#I/T", "#GETTING_DATA", "Err:502", "#####", "(null)", "\\N", "-nan", "Loading..."],
)  # fmt: skip
def test_a_prompt_that_looks_broken_is_a_warning_with_the_first_place(tmp_path: Path, cell: str) -> None:
    loaded = read(tmp_path, "r.csv", {"r.csv": f"id,text\na,x\nb,{cell}\nc,{cell}\n"})

    (problem,) = [problem for problem in loaded.problems if problem.code == "odd-cell"]
    assert (problem.severity, problem.place.line, problem.place.column) == ("warning", 3, 3)
    assert f"2 prompts are `{cell.strip()}`" in problem.what


@pytest.mark.parametrize(
    "cell",
    [
        "#wow!",
        "#A cat!",
        "none of it",
        "#1",
        "Nancy",
        "= 3 cats",
        "voilà\u00a0»",
        "l'été—“oui”",
        "🐈",
        "ESPAÑA…",
        "nil desperandum",
        "Err: 5",
    ],
)
def test_a_prompt_that_only_begins_so_is_one(tmp_path: Path, cell: str) -> None:
    assert read(tmp_path, "r.csv", {"r.csv": f"id,text\na,x\nb,{cell}\n"}).problems == []


@pytest.mark.parametrize(
    ("cells", "odd"),
    [("#REF!,x", 1), ("nan,x", 1), (" null ,x", 1), ("None,x", 0), ("n/a,x", 0), ("a,#N/A", 1)],
)
def test_a_cell_that_becomes_a_part_of_a_prompt_or_an_id_is_looked_at_too(
    tmp_path: Path, cells: str, odd: int
) -> None:
    job = "jobs: [{id: 'shot-${row.id | slug}', rows: r.csv, prompt: 'A cat, ${row.text}, slow'}]\n"

    loaded = load(tmp_path, HEAD + job, {"r.csv": f"text,id\n{cells}\n"})

    assert [problem.code for problem in loaded.problems] == ["odd-cell"] * odd
    assert all("in it, which looks like" in problem.what for problem in loaded.problems)


@pytest.mark.parametrize("content", ["Spring 2026\n\nid,text\na,x\n", "Spring;;\n;;\nid;text;n\na;x;1\n"])
def test_a_title_above_the_header_is_guessed(tmp_path: Path, content: str) -> None:
    loaded = load(tmp_path, HEAD + "jobs: [{id: a, rows: r.csv, prompt: x}]\n", {"r.csv": content})

    assert any("if the first line is a title, delete it" in problem.hint for problem in loaded.problems)


def test_a_word_in_a_sentence_is_no_odd_cell(tmp_path: Path) -> None:
    text = HEAD + "jobs: [{id: none, prompt: null and void}, {id: b, prompt: none}]\n"

    assert load(tmp_path, text).problems == []


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("nan", "a prompt is `nan`, which looks like a missing value; fix the manifest"),
        ("A cat [object Object] in rain", "a prompt has `[object Object]` in it"),
        ("A cat, #DIV/0!, in the rain", "a prompt has `#DIV/0!` in it, which looks like a broken formula"),
        ("=A1&B2", "a formula that was not computed"),
        ("-", "a prompt is `-`, which looks like a missing value"),
        ("0", "what a formula gives"),
        ("un cafÃ© noir", "a prompt has `Ã©` in it, which looks like text read in the wrong encoding"),
        ("donâ€™t", "wrong encoding"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "wrong encoding"),
        ("caf√©", "wrong encoding"),
        ("caf\ufffd", "a prompt has `\ufffd` in it, which looks like letters that were lost"),
    ],
)
def test_a_prompt_nobody_meant_is_told_in_a_table_and_in_a_job(
    tmp_path: Path, prompt: str, said: str
) -> None:
    inline = load(tmp_path, HEAD + f"jobs: [{{id: a, prompt: '{prompt}'}}]\n").only("odd-cell")
    table = read(tmp_path, "r.csv", {"r.csv": f'id,text\na,"{prompt}"\n'}).only("odd-cell")

    assert said in f"{inline.what}; {inline.hint}"
    assert (table.what, table.place.line, table.place.column) == (inline.what, 2, 3)


def test_a_text_param_nobody_meant_is_told_with_its_cell(tmp_path: Path) -> None:
    params = "{negative_prompt: '${row.no}'}"
    job = f"jobs: [{{id: '${{row.id}}', rows: r.csv, model: google-imagen4, params: {params}}}]\n"

    loaded = load(tmp_path, HEAD + job, {"r.csv": "id,no\na,nan\nb,blurry\nc,none\nd, nan\n"})

    problem = loaded.only("odd-cell")
    assert problem.what.startswith("2 values of negative_prompt are `nan`")
    assert (problem.place.line, problem.place.column) == (2, 3)


def test_no_number_of_warnings_of_one_kind_hides_another_kind(tmp_path: Path) -> None:
    rows = "".join(f"a{number},nan\n" for number in range(300))

    loaded = read(tmp_path, "r.csv", {"r.csv": f"id,text\n{rows}"})

    codes = [problem.code for problem in loaded.problems]
    assert (codes.count("same-job"), codes.count("odd-cell")) == (200, 1)
    assert loaded.problems[codes.index("odd-cell")].what.startswith("300 prompts are `nan`")


# --- JSON Lines ---


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id":"a","text":"x"},', "there is a comma after this object; JSON Lines has none: remove it"),
        (',{"id":"a","text":"x"}', "there is a comma before this object; JSON Lines has none: remove it"),
        ('[{"id":"a","text":"x"},', "a file that holds one list of them is named .json"),
        ('{"id":"a","text":1e999}', 'the number "1e999" is too large'),
    ],
)
def test_what_is_wrong_with_a_line_of_json_is_named(tmp_path: Path, line: str, said: str) -> None:
    loaded = read(tmp_path, "r.jsonl", {"r.jsonl": f'{line}\n{{"id":"b","text":"y"}}\n'})

    problem = loaded.only("json-syntax")
    assert said in f"{problem.what}; {problem.hint}"
    assert problem.place.line == 1


@pytest.mark.parametrize("half", ["\\ud83d", "\\udc00", "\\uDFFF"])
def test_half_a_character_is_refused_with_its_place(tmp_path: Path, half: str) -> None:
    assert (
        read(tmp_path, "r.jsonl", {"r.jsonl": f'{{"id":"a","text":"x{half}y"}}\n'})
        .only("lone-surrogate")
        .place.line
        == 1
    )


@pytest.mark.parametrize(
    ("name", "content", "what", "hint"),
    [
        ("r.csv", b"PK\x03\x04....", "is a workbook", "named .xlsx"),
        ("r.csv", b"\xd0\xcf\x11\xe0....", "an old format (.xls)", "save it as .xlsx"),
        ("r.txt", b"{\\rtf1 A cat}", "a text with formatting", "plain text"),
        ("r.csv", b"<!DOCTYPE html><html>", "a page of HTML", "download or save the table again"),
        ("r.csv", b'{"id":"a","text":"x"}\n', "is JSON", "name it .jsonl"),
        ("r.csv", b'[{"id":"a"}]', "is JSON", "name it .json:"),
        ("r.xlsx", b"id,text\na,x\n", "not a workbook but text", "named .csv"),
        ("r.xlsx", b"<html><table>", "a page of HTML", "download or save the table again"),
        ("r.json", b"\x89PNG\r\n", "is a picture", "glob"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_once(
    tmp_path: Path, name: str, content: bytes, what: str, hint: str
) -> None:
    problem = read(tmp_path, name, {name: content}).only("other-format")

    assert what in problem.what
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("table", "right"),
    [
        ("d;Käse".encode("cp1252"), "Käse"),
        ("d;Käse".encode("mac-roman"), "Käse"),
        ("d;日本".encode("shift_jis"), "日本"),
    ],
)
def test_text_that_is_not_utf8_is_shown_as_it_may_be_meant(tmp_path: Path, table: bytes, right: str) -> None:
    assert f"d;{right}`" in read(tmp_path, "r.csv", {"r.csv": b"id;text\n" + table}).only("not-utf8").hint


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("- A cat\n- A dog\nA cow\n", "list-marks"),
        ("1. A cat\n2) A dog\n", "list-marks"),
        ('"A cat",\n"A dog"\n', "quoted-lines"),
        ('{"id": "a"}\n{"id": "b"}\n', "table-as-text"),
        ("id;text\na;x\n", "table-as-text"),
        ("prompt\nA cat\n", "table-as-text"),
        ("A cat\n- it says - meow\n24 dogs\n3.5 cows\n", ""),
        ("A cat; a dog\nA cow\n", ""),
    ],
)
def test_lines_that_are_something_else_than_prompts_are_a_warning(
    tmp_path: Path, lines: str, code: str
) -> None:
    job = "jobs: [{id: 'a${row.line}', rows: r.txt, prompt: '${row.text}'}]\n"

    assert load(tmp_path, HEAD + job, {"r.txt": lines}).codes == [code] * bool(code)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.jsonl", '{"id":"a","text":None}', "write null in its place"),
        ("r.jsonl", '{"id":"a","text":True}', "write true in its place"),
        ("r.jsonl", "{'id':'a'}", "JSON has double quotes only"),
        ("r.jsonl", '{id:"a"}', "names of columns stand in double quotes"),
        ("r.jsonl", '// rows\n{"id":"a","text":"x"}', "no comments"),
        ("r.jsonl", '{"id":"a","text":“x”}', "straight quotes"),
        ("r.jsonl", '{"id":"a"} {"id":"b"}', "one object on each line"),
        ("r.jsonl", '{"id":"a",\n"text":"x"\n}', "this object does not end in its line"),
        ("r.jsonl", '{"id":"id","text":"Text"}', "this row is a header"),
        ("r.json", '[{"id":"a","text":"x"},]', "remove"),
        ("r.json", '{"data":[{"id":"a"}]}', 'below "data"'),
        ("r.json", '{"id":{"0":"a"},"text":{"0":"x"}}', 'orient="records"'),
        ("r.json", '["A cat"]', "named .txt"),
    ],
)
def test_what_is_not_quite_json_is_told_once_with_what_to_do(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (problem,) = read(tmp_path, name, {name: content}).problems

    assert said in f"{problem.what}; {problem.hint}"


@pytest.mark.parametrize(
    ("cell", "hint"),
    [("1.23E+12", "has shortened this number"), ("", "fill it in"), ("a/b", "${row.id | slug}")],
)
def test_an_id_that_is_none_says_what_to_do(tmp_path: Path, cell: str, hint: str) -> None:
    assert hint in read(tmp_path, "r.csv", {"r.csv": f"id,text\n{cell},x\n"}).only("bad-id").hint


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("r.csv", '"id, text"\n"a, x"\n', "save it again with a cell for each column"),
        ("r.tsv", "id,text\na,x\n", 'write `delimiter: ","`'),
        ("r.csv", '"Text, in English"\na cat\n', ""),
    ],
)
def test_a_table_that_should_have_more_than_one_column_says_why_it_has_not(
    tmp_path: Path, name: str, content: str, hint: str
) -> None:
    warned = [p.hint for p in read(tmp_path, name, {name: content}).problems if p.code == "one-column"]

    assert len(warned) == bool(hint)
    assert all(hint in said for said in warned)


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("b.png", ""),
        ("nan", "leave the cell empty"),
        ("pics/#N/A.png", "leave the cell empty"),
        ('"a.png, b.png"', "make a column for each"),
        ("\"['a.png', 'b.png']\"", "make a column for each"),
    ],
)
def test_a_cell_that_names_no_file_says_what_it_is_and_is_one_problem(
    tmp_path: Path, cell: str, hint: str
) -> None:
    job = "jobs: [{id: '${row.id}', rows: r.csv, references: ['missing/${row.file}']}]\n"

    assert (
        hint in load(tmp_path, HEAD + job, {"r.csv": f"id,file\na,{cell}\n"}).only("reference-missing").hint
    )
