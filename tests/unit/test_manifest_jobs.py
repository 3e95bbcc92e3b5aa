"""What the entries of a manifest become: which jobs, in which order, with which values."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.manifest import open_manifest, problem_line
from runner.manifest.render import problem_text
from runner.schemas import load_contracts
from tests.manifest_reading import HEAD, Pictures, load


def test_params_are_merged_key_by_key_and_null_removes_one(tmp_path: Path) -> None:
    text = (
        HEAD
        + "params: {mode: normal, duration: 6, aspect_ratio: 16:9}\n"
        + "jobs: [{id: a, params: {duration: '10', mode: null}}, {id: b}]\n"
    )

    read = load(tmp_path, text)

    assert dict(read.job("a").params) == {"duration": 10, "aspect_ratio": "16:9"}
    assert dict(read.job("b").params) == {"mode": "normal", "duration": 6, "aspect_ratio": "16:9"}
    assert read.problems == []


def test_a_job_may_name_its_own_model_prompt_and_references(tmp_path: Path) -> None:
    text = (
        HEAD
        + "references: [a.png]\njobs:\n  - {id: x}\n"
        + "  - {id: y, model: z-image, prompt: a dog, references: []}\n"
    )

    read = load(tmp_path, text)

    assert [(job.model, job.prompt, len(job.references)) for job in read.jobs] == [
        ("grok-imagine-video", "a cat", 1),
        ("z-image", "a dog", 0),
    ]


def test_the_order_is_as_written_then_matrix_then_rows_then_takes(tmp_path: Path) -> None:
    text = (
        HEAD
        + "jobs:\n  - id: first\n  - id: '${look}-${row.n}'\n    matrix: {look: [b, a]}\n    rows: r.csv\n    repeat: 2\n"
        + "    prompt: '${look} ${row.n} ${take}'\n  - {id: last, prompt: other}\n"
    )

    read = load(tmp_path, text, {"r.csv": "n\n2\n1\n"})

    assert read.ids == [
        "first", "b-2-1", "b-2-2", "b-1-1", "b-1-2", "a-2-1", "a-2-2", "a-1-1", "a-1-2", "last",
    ]  # fmt: skip
    assert read.job("a-2-2").prompt == "a 2 2"
    assert dict(read.job("a-2-2").axes) == {"look": "a", "n": "2", "take": 2}
    assert read.problems == []


def test_a_matrix_makes_every_combination_less_some_plus_some(tmp_path: Path) -> None:
    text = HEAD + (
        "jobs:\n  - id: ${subject}-${look}\n    matrix: {subject: [cat, dog], look: [film, anime]}\n"
        "    exclude: [{subject: dog, look: anime}, {look: film, subject: cat}]\n"
        "    include: [{subject: owl, look: ink}]\n"
    )

    read = load(tmp_path, text)

    assert read.ids == ["cat-anime", "dog-film", "owl-ink"]
    assert dict(read.jobs[2].axes) == {"subject": "owl", "look": "ink"}


def test_include_alone_names_whole_combinations(tmp_path: Path) -> None:
    text = HEAD + "jobs: [{id: '${a}-${b}', include: [{a: 1, b: 2}, {b: 4, a: 3}]}]\n"

    assert load(tmp_path, text).ids == ["1-2", "3-4"]


def test_an_axis_wins_over_a_variable_of_the_same_name(tmp_path: Path) -> None:
    text = HEAD + "vars: {who: nobody}\njobs: [{id: 'x-${who}', matrix: {who: [cat]}}, {id: 'y-${who}'}]\n"

    assert load(tmp_path, text).ids == ["x-cat", "y-nobody"]


def test_a_variable_may_use_those_before_it(tmp_path: Path) -> None:
    text = HEAD + "vars: {brand: Acme, tag: 'by ${brand}'}\njobs: [{id: a, prompt: 'shoes ${tag}'}]\n"

    assert load(tmp_path, text).jobs[0].prompt == "shoes by Acme"


def test_repeat_of_one_has_a_suffix_and_none_has_not(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD + "jobs: [{id: a, repeat: 1}, {id: b, prompt: other}]\n")

    assert read.ids == ["a-1", "b"]


def test_takes_share_their_fingerprint_without_a_warning(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD + "jobs: [{id: a, repeat: 3}]\n")

    assert len({job.fingerprint for job in read.jobs}) == 1
    assert read.problems == []


def test_the_same_job_under_two_ids_is_a_warning(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD + "jobs:\n  - id: a\n  - id: b\n")

    problem = read.only("same-job")
    assert (problem.severity, problem.place.line, problem.job) == ("warning", 7, "b")
    assert read.ids == ["a", "b"]


def test_numbers_in_rows_take_the_type_the_model_wants_and_empty_cells_go(tmp_path: Path) -> None:
    text = HEAD + (
        "params: {mode: fun}\n"
        "jobs:\n  - id: ${row.id}\n    rows: r.csv\n"
        "    params: {duration: '${row.seconds}', aspect_ratio: '${row.ratio}', mode: '${row.mode}'}\n"
    )

    read = load(tmp_path, text, {"r.csv": "id,seconds,ratio,mode\na,10,16:9,spicy\nb, , ,\n"})

    assert dict(read.job("a").params) == {"duration": 10, "aspect_ratio": "16:9", "mode": "spicy"}
    assert dict(read.job("b").params) == {}
    assert read.errors == []


def test_placeholders_work_inside_lists_and_mappings_of_params(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: t\nmodel: elevenlabs-dialogue-v3\nvars: {who: Adam}\n"
        "jobs: [{id: a, params: {dialogue: [{voice: '${who}', text: 'I am ${who}'}]}}]\n"
    )

    read = load(tmp_path, text)

    assert read.problems == []
    assert read.jobs[0].params["dialogue"] == [{"voice": "Adam", "text": "I am Adam"}]
    assert read.jobs[0].prompt is None


def test_references_from_rows_may_be_empty_or_a_list(tmp_path: Path) -> None:
    rows = '{"id":"a","pics":["1.png","2.png"]}\n{"id":"b","pics":null}\n{"id":"c","pics":"3.png"}\n'
    text = "version: 1\nname: t\nmodel: midjourney\nprompt: x ${row.id}\n" + (
        "jobs: [{id: '${row.id}', rows: r.jsonl, references: ['${row.pics}']}]\n"
    )

    read = load(tmp_path, text, {"r.jsonl": rows})

    assert [[ref.path for ref in job.references] for job in read.jobs] == [["1.png", "2.png"], [], ["3.png"]]


def test_a_file_is_looked_at_once_however_often_it_is_named(tmp_path: Path) -> None:
    pictures = Pictures()

    load(tmp_path, HEAD + "references: [a.png]\njobs: [{id: a, repeat: 50}]\n", pictures=pictures)

    assert pictures.reads == ["a.png"]


def test_a_glob_makes_one_job_for_each_file_sorted(tmp_path: Path) -> None:
    text = HEAD + (
        "jobs:\n  - id: ${file.stem}\n    rows: {glob: 'in/*.png'}\n"
        "    prompt: ${file.name}\n    references: ['${file.path}']\n"
    )
    files = {"in/b.png": "", "in/a.png": "", "in/.c.png": "", "in/d.jpg": "", "in/e.png/x": ""}

    read = load(tmp_path, text, files)

    assert [(job.id, job.prompt, job.references[0].path) for job in read.jobs] == [
        ("a", "a.png", "in/a.png"),
        ("b", "b.png", "in/b.png"),
    ]


def test_output_names_are_filled_in_from_the_job(tmp_path: Path) -> None:
    text = HEAD + (
        "output: {dir: films, name: '${model}/${params.mode}/${id}'}\njobs: [{id: a, params: {mode: fun}}]\n"
    )

    read = load(tmp_path, text)

    assert read.jobs[0].output == "grok-imagine-video/fun/a"
    assert read.settings is not None
    assert read.settings.output_dir == tmp_path / "films"


def test_a_literal_dollar_brace_and_a_value_that_looks_like_one(tmp_path: Path) -> None:
    text = HEAD + "jobs: [{id: '${row.id}', rows: r.csv, prompt: '$${x} ${row.p}'}]\n"

    read = load(tmp_path, text, {"r.csv": "id,p\na,${id}\n"})

    assert read.jobs[0].prompt == "${x} ${id}"


def test_the_place_of_a_job_is_where_it_was_written(tmp_path: Path) -> None:
    text = HEAD + "jobs:\n  - id: a\n  - id: r-${row.id}\n    rows: data/r.csv\n    prompt: ${row.id}\n"

    read = load(tmp_path, text, {"data/r.csv": 'id\n"x\ny"\nb\n'.replace("x\ny", "x")})

    places = [str(job.place).removeprefix(f"{tmp_path}/") for job in read.jobs]
    assert places == ["m.yaml:6:9", "data/r.csv:2:1", "data/r.csv:3:1"]


@pytest.mark.parametrize(
    ("job", "code"),
    [
        ("{id: a, params: {duration: ^99}}", "out-of-range"),
        ("{id: a, params: {^duraton: 9}}", "unknown-param"),
        ("{id: a, params: {mode: 'x^${who}'}}", "unknown-name"),
        ("{id: a, params: {mode: ^grim}}", "not-an-option"),
        ("{id: a, params: ^[mode]}", "wrong-type"),
        ("{id: a, model: ^grok}", "unknown-model"),
        ("{id: a, prompt: ^'  '}", "blank-prompt"),
        ("{id: a, prompt: 'x ^${brnd}'}", "unknown-name"),
        ("{id: a, prompt: '^${brand | shout}'}", "bad-filter"),
        ("{id: a, references: [^missing.png]}", "reference-missing"),
        ("{id: a, references: [^'ftp://a.example/b.png']}", "url-reference"),
        ("{id: a, references: [^'http://a.example/b.png']}", "url-reference"),
        ("{id: a, references: [^a.png, b.png]}", "too-many-references"),
        ("{id: a, references: [^a.mp4]}", "reference-kind"),
        ("{id: a, references: ^a.png}", "wrong-type"),
        ("{id: a, references: [^5]}", "wrong-type"),
        ("{id: ^a/b}", "bad-id"),
        ("{id: ^''}", "empty-value"),
        ("{id: ^5}", "wrong-type"),
        ("^{prompt: x}", "missing-key"),
        ("{id: a, ^promt: x}", "unknown-key"),
        ("{id: a, ^duration: 6}", "unknown-key"),
        ("{id: a, repeat: ^0}", "out-of-range"),
        ("{id: a, repeat: ^1001}", "out-of-range"),
        ("{id: a, repeat: ^yes}", "wrong-type"),
        ("{id: a, rows: ^no.csv}", "file-not-found"),
        ("{id: a, rows: ^x.xlsx}", "file-not-found"),
        ("{id: a, rows: ^x.ods}", "unknown-format"),
        ("{id: a, rows: ^'x/*.csv'}", "file-not-found"),
        ("{id: a, rows: {glob: ^'no/*.png'}}", "no-files"),
        ("{id: a, rows: {glob: ^/etc/*}}", "bad-glob"),
        ("{id: a, rows: ^{}}", "missing-key"),
        ("{id: a, matrix: ^{}}", "empty-matrix"),
        ("{id: a, matrix: {x: ^[]}}", "empty-matrix"),
        ("{id: a, matrix: {x: ^y}}", "wrong-type"),
        ("{id: a, matrix: {^row: [1]}}", "reserved-name"),
        ("{id: a, matrix: {^x.y: [1]}}", "bad-name"),
        ("{id: '${x}', matrix: {x: [1, ^1]}}", "duplicate-value"),
        ("{id: '${x}', matrix: {x: [1]}, exclude: [{^y: 1}]}", "unknown-axis"),
        ("{id: '${x}', matrix: {x: [1]}, include: [{^y: 1, x: 2}]}", "unknown-axis"),
        ("{id: '${x}', matrix: {x: [1], y: [2]}, include: [^{x: 3}]}", "missing-axis"),
        ("{id: '${x}', matrix: {x: [1]}, include: [^{x: 1}]}", "duplicate-combination"),
        ("{id: '${x}', matrix: {x: [1]}, exclude: ^[{x: 1}]}", "empty-matrix"),
        ("{id: a, exclude: ^[{x: 1}]}", "no-matrix"),
        ("^text", "wrong-type"),
    ],
)
def test_a_mistake_in_a_job_is_told_with_its_place(tmp_path: Path, job: str, code: str) -> None:
    line = f"  - {job}"

    read = load(tmp_path, HEAD + f"jobs:\n{line.replace('^', '')}\n")

    problem = read.only(code)
    assert (problem.place.line, problem.place.column) == (6, line.index("^") + 1)
    assert read.jobs == []


@pytest.mark.parametrize(
    ("job", "hint"),
    [
        ("{id: a, params: 6}", "write `params: {duration: 6}`"),
        (
            "{id: a, prompt: }",
            "remove the key, or write the text after it; one that begins with `#` needs quotes",
        ),
        (
            "{id: a, prompt: {brand}}",
            "a text that begins with a bracket needs quotes; a placeholder is written ${name}",
        ),
        ("{id: a, repeat: '3'}", "write it without quotes: 3"),
        ("{id: 'a-${take}', repeat: 2}", "leave ${take} out of the id: takes are numbered automatically"),
        ("{id: a, prompt: 'a {{ row.x }}'}", "a placeholder is written ${row.x}"),
    ],
)
def test_a_mistake_in_a_job_is_told_with_what_to_write(tmp_path: Path, job: str, hint: str) -> None:
    read = load(tmp_path, HEAD + f"jobs:\n  - {job}\n")

    assert [problem.hint for problem in read.problems] == [hint]


def test_an_empty_cell_is_told_as_the_reason_for_a_missing_prompt(tmp_path: Path) -> None:
    text = HEAD + 'jobs:\n  - {id: "${row.id}", rows: r.csv, prompt: "${row.text}"}\n'

    problem = load(tmp_path, text, {"r.csv": "id,text\na,x\nb,\n"}).only("missing-prompt")

    assert problem.what == "${row.text} is empty here, and with it the prompt"
    assert (Path(problem.place.file).name, problem.place.line) == ("r.csv", 3)


def test_an_endless_id_does_not_fill_the_screen(tmp_path: Path) -> None:
    problem = load(tmp_path, HEAD + f"jobs:\n  - id: {'x' * 300}\n").problems[0]

    assert "x" * 80 not in problem_line(problem)
    assert problem.job == "x" * 300


def test_excluding_what_is_not_there_is_a_warning(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD + "jobs:\n  - {id: '${x}', matrix: {x: [cat]}, exclude: [{x: cta}]}\n")

    assert read.only("excludes-nothing").hint == "did you mean cat?"
    assert read.ids == ["cat"]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = HEAD + (
        "budget: {max_credit: 5}\n"
        "jobs:\n  - {id: a, params: {duration: 99, mode: grim}, references: [missing.png], prompt: 'a ${b}'}\n"
        "  - {id: c/d, params: {duration: 5}}\n  - {id: e, colour: red}\n"
    )

    read = load(tmp_path, text)

    assert sorted(read.codes) == [
        "bad-id", "not-an-option", "out-of-range", "out-of-range", "reference-missing", "unknown-key",
        "unknown-key", "unknown-name",
    ]  # fmt: skip


def test_a_default_that_does_not_fit_another_model_says_how_to_drop_it(tmp_path: Path) -> None:
    text = HEAD + "params: {mode: fun}\njobs:\n  - {id: a, model: z-image}\n"

    problem = load(tmp_path, text).only("unknown-param")

    assert (problem.place.line, problem.place.column) == (5, 10)
    assert "`mode: null` in this job drops it" in problem.hint


def test_a_mistake_in_a_default_is_told_once(tmp_path: Path) -> None:
    text = HEAD + "params: {duration: 99}\njobs: [{id: a, prompt: x}, {id: b}, {id: c, prompt: y}]\n"

    read = load(tmp_path, text)

    assert read.codes == ["out-of-range"]
    assert read.jobs == []


def test_a_mistake_in_a_row_has_the_place_of_the_cell(tmp_path: Path) -> None:
    text = HEAD + (
        "jobs:\n  - id: ${row.id}\n    rows: r.csv\n    prompt: ${row.p}\n    params: {duration: '${row.s}'}\n"
    )

    read = load(tmp_path, text, {"r.csv": 'id,p,s\na,"x, y",6\nb,z,99\nb/c,z,6\n'})

    found = [(p.code, p.place.line, p.place.column, p.job) for p in read.problems]
    assert found == [("out-of-range", 3, 5, "b"), ("bad-id", 4, 1, "${row.id}")]
    assert read.problems[0].source == "b,z,99"
    assert read.problems[0].place.file.endswith("r.csv")
    assert read.problems[1].hint == "write ${row.id | slug}"
    assert read.ids == ["a"]


def test_ids_used_twice_are_told_with_the_way_out(tmp_path: Path) -> None:
    text = HEAD + (
        "jobs:\n  - id: a\n  - {id: a, prompt: b}\n  - {id: x, matrix: {look: [p, q]}, prompt: '${look}'}\n"
        "  - {id: y, rows: r.csv, prompt: '${row.n}'}\n"
    )

    read = load(tmp_path, text, {"r.csv": "n\n1\n2\n"})

    assert [(p.code, p.hint) for p in read.problems] == [
        ("duplicate-id", "ids are unique; change one of them"),
        ("duplicate-id", "put ${look} into the id"),
        ("duplicate-id", "put something into the id that no other row has, such as ${row.…}"),
    ]
    assert "first on line 6" in read.problems[0].what


@pytest.mark.parametrize(
    ("one", "other"),
    [("Cat", "cat"), ("\u00c4rger", "A\u0308rger"), ("\u00e4", "A\u0308"), ("stra\u00dfe", "STRASSE")],
)
def test_names_that_are_one_file_on_some_disks_collide(tmp_path: Path, one: str, other: str) -> None:
    read = load(tmp_path, HEAD + f"jobs:\n  - id: '{one}'\n  - {{id: '{other}', prompt: b}}\n")

    problem = read.only("output-collision")
    assert problem.job == other


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../${id}", "leaves the output folder"),
        ("a/../${id}", "leaves the output folder"),
        ("/tmp/${id}", "stay inside the output folder"),
        ("a//${id}", "empty part"),
        ("${id}/", "empty part"),
        ("./${id}", "empty part"),
        (".hidden/${id}", "begins with a dot"),
        ("${id}+2", "`+`"),
        ("con", "Windows reserves"),
        ("x/LPT1.txt", "Windows reserves"),
        ("a:b", '":"'),
        ("a\\\\b", '"\\"'),
        ("a\\0b", "U+0000"),
        ("a\\x1b[31m", "U+001B"),
        ("${id}.", "ends with a dot"),
        ("${id} ", "ends with a space"),
        ("a.mp4/${id}", "named like a file"),
        ("é" * 101, "202 bytes"),
    ],
)
def test_an_output_name_that_is_no_file_inside_the_folder_is_refused(
    tmp_path: Path, name: str, said: str
) -> None:
    escaped = name.replace('"', '\\"')

    read = load(tmp_path, HEAD + f'output: {{name: "{escaped}"}}\njobs: [{{id: a}}]\n')

    assert said in read.only("bad-output-name").what


@pytest.mark.parametrize("id_", ["a", "日本語", "नमस्ते दुनिया", "A-1_b.c", "x" * 200])
def test_ids_may_be_of_any_script(tmp_path: Path, id_: str) -> None:
    text = HEAD + f"output: {{name: '${{id | slug | truncate(60)}}'}}\njobs: [{{id: '{id_}'}}]\n"

    assert load(tmp_path, text).ids == [id_]


@pytest.mark.parametrize(
    "id_", ["a/b", "a\\\\b", "a\\nb", "\\u202e", "😀", "a+b", " ", "x" * 201, "a:b", "\\e[0m"]
)
def test_ids_may_not_hold_anything_else(tmp_path: Path, id_: str) -> None:
    assert load(tmp_path, HEAD + f'jobs: [{{id: "{id_}"}}]\n').only("bad-id").place.line == 5


@pytest.mark.parametrize("id_", ["..", ".", "con", "a.", " a", "nul.x"])
def test_an_id_that_is_no_file_name_is_refused_by_the_output_name(tmp_path: Path, id_: str) -> None:
    assert load(tmp_path, HEAD + f'jobs: [{{id: "{id_}"}}]\n').only("bad-output-name").job == id_


def test_an_unknown_name_in_a_default_says_for_which_job(tmp_path: Path) -> None:
    text = "version: 1\nname: t\nmodel: z-image\nprompt: 'a ${look}'\njobs: [{id: a}, {id: b, prompt: c}]\n"

    problem = load(tmp_path, text).only("unknown-name")

    assert 'for the job "a"' in problem.what
    assert "[job" not in problem_line(problem)  # it is said once
    assert "(job" not in problem_text(problem)
    assert (problem.place.line, problem.place.column) == (4, 12)


def test_a_broken_default_is_no_reason_to_say_that_it_is_missing(tmp_path: Path) -> None:
    text = "version: 1\nname: t\nmodel: z-image\nprompt: 'a ${look'\njobs: [{id: a}]\n"

    load(tmp_path, text).only("bad-placeholder")


def test_only_the_first_problems_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    rows = "".join(f"{n}/x\n" for n in range(1000))

    read = load(tmp_path, HEAD + "jobs: [{id: '${row.n}', rows: r.csv}]\n", {"r.csv": "n\n" + rows})

    assert len(read.problems) == 201
    assert read.problems[-1].what == "800 more problems not shown"
    assert read.problems[-1].severity == "error"


def test_many_warnings_do_not_hide_an_error(tmp_path: Path) -> None:
    rows = "".join(f"{n}\n" for n in range(1000))
    text = HEAD + "jobs: [{id: '${row.n}', rows: r.csv}, {id: a/b}]\n"

    read = load(tmp_path, text, {"r.csv": "n\n" + rows})

    assert [problem.code for problem in read.errors] == ["bad-id"]


def test_reading_the_jobs_again_gives_the_same_and_says_nothing_twice(tmp_path: Path) -> None:
    bad = (
        "{id: c/d, matrix: {x: y}}, {id: e/f}, {id: '${n}/', matrix: {n: ["
        + ",".join(map(str, range(500)))
        + "]}}"
    )
    (tmp_path / "m.yaml").write_text(HEAD + f"colour: red\njobs: [{{id: a}}, {{id: b}}, {bad}]\n")
    manifest = open_manifest(tmp_path / "m.yaml", contracts=load_contracts(), references=Pictures())
    first = list(manifest.jobs())
    said = manifest.problems

    again = list(manifest.jobs())

    assert again == first
    assert manifest.problems == said
    assert said[-1].what.endswith("more problems not shown")


def test_a_matrix_of_millions_is_refused_at_once(tmp_path: Path) -> None:
    axis = "[" + ",".join(map(str, range(200))) + "]"

    read = load(tmp_path, HEAD + f"jobs: [{{id: a, matrix: {{x: {axis}, y: {axis}, z: {axis}}}}}]\n")

    assert "8,000,000 combinations" in read.only("too-many-jobs").what
