"""The manifest that is drafted for a table: what is guessed, what the guesses say, and that it runs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runner.api.init import manifest_from
from runner.errors import UsageError
from runner.manifest import open_manifest
from runner.manifest.reference_files import DiskReferences
from runner.manifest.yaml12 import read_yaml
from runner.manifest.yaml_tree import YamlMap
from runner.model import JobSpec, Severity
from runner.schemas import load_contracts
from tests.support import ROOT

PNG = (ROOT / "manifests" / "assets" / "bottle.png").read_bytes()
MODEL = "grok-imagine-video"


def draft(
    folder: Path, name: str, content: str | bytes, *, model: str = MODEL, manifest: str = "m.yaml"
) -> str:
    """Write a table and draft a manifest for it."""
    table = folder / name
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    text = manifest_from(folder / manifest, table, model)
    (folder / manifest).write_text(text, encoding="utf-8")
    return text


def job_of(text: str) -> YamlMap:
    """Return the one job that a draft has."""
    document = read_yaml(text, file="m.yaml")
    assert document.problems == ()
    [job] = document.value["jobs"]
    assert isinstance(job, YamlMap)
    return job


def jobs_of(folder: Path, *, errors: int = 0) -> list[JobSpec]:
    """Return the jobs of the drafted manifest, which has so many errors."""
    opened = open_manifest(folder / "m.yaml", contracts=load_contracts(), references=DiskReferences())
    jobs = list(opened.jobs())
    assert sum(problem.severity is Severity.ERROR for problem in opened.problems) == errors, opened.problems
    return jobs


def test_a_table_with_telling_names_becomes_a_manifest_that_is_right(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    text = draft(
        tmp_path,
        "shots.csv",
        "sku,text,seconds,aspect ratio,image,price\nA-1,a red cat,6,16:9,a.png,10\nA-2,a blue dog,,9:16,,12\n",
    )

    job = job_of(text)
    assert job == {
        "id": "${row.sku}",
        "rows": "shots.csv",
        "prompt": "${row.text}",
        "params": {"duration": "${row.seconds | default(6)}", "aspect_ratio": "${row.aspect ratio}"},
        "references": ["${row.image}"],
    }
    assert "# not used: price" in text
    assert all("# guessed" in line for line in text.splitlines() if "${row." in line)
    first, second = jobs_of(tmp_path)
    assert (first.id, first.prompt, first.params["duration"], second.params["duration"]) == (
        "A-1",
        "a red cat",
        6,
        6,
    )
    assert (len(first.references), len(second.references)) == (1, 0)


def test_what_excel_exports_runs_after_one_mended_row(tmp_path: Path) -> None:
    header = "Artikel-Nr;Beschreibung;Sekunden;Seitenverhältnis;Bild;;;"
    rows = [f"A-{n};Große Flasche {n}, süß;{6 + n % 3};16:9;{'a.png' if n == 2 else ''};;;" for n in range(8)]
    rows[5] = rows[5].replace("Große Flasche 5, süß", "#REF!")
    lines = [header, *rows[:4], header, *rows[4:], ";;;;;;;", ";;;;;;;"]
    (tmp_path / "Bilder").mkdir()
    (tmp_path / "Bilder" / "a.png").write_bytes(PNG)

    text = draft(tmp_path, "Export.csv", "\r\n".join(lines).encode("cp1252"))

    job = job_of(text)
    assert job["rows"] == {"file": "Export.csv", "encoding": "windows-1252"}
    assert (job["id"], job["prompt"]) == ("${row.Artikel-Nr}", "${row.Beschreibung}")
    assert job["references"] == ["Bilder/${row.Bild}"]
    assert len(jobs_of(tmp_path, errors=1)) == 8
    del lines[5]
    (tmp_path / "Export.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    jobs = jobs_of(tmp_path)
    assert [job.id for job in jobs] == [f"A-{n}" for n in range(8)]
    assert (jobs[2].prompt, jobs[2].params["duration"], len(jobs[2].references)) == (
        "Große Flasche 2, süß",
        8,
        1,
    )


def test_a_workbook_is_drafted_too(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["Nr", "Prompt", "Dauer (s)"], [1, "a cat", 6], [2, "a dog", 10]):
        book.active.append(row)
    data = io.BytesIO()
    book.save(data)

    job = job_of(draft(tmp_path, "shots.xlsx", data.getvalue()))

    assert (job["id"], job["prompt"]) == ("${row.Nr}", "${row.Prompt}")
    assert job["params"] == {"duration": "${row.Dauer (s)}"}
    assert [job.params["duration"] for job in jobs_of(tmp_path)] == [6, 10]


def test_of_several_sheets_the_first_is_taken_and_named(tmp_path: Path) -> None:
    text = draft(tmp_path, "autumn.xlsx", (ROOT / "manifests" / "data" / "autumn.xlsx").read_bytes())

    assert job_of(text)["rows"] == {"file": "autumn.xlsx", "sheet": "Herbst"}
    assert "# guessed: the first of 2 sheets" in text


def test_lines_of_a_text_are_named_by_what_they_say(tmp_path: Path) -> None:
    job = job_of(draft(tmp_path, "ideas.txt", "A cat, in snow\n\nA dog\n"))

    assert job == {"id": "${row.text | slug | fit(60)}", "rows": "ideas.txt", "prompt": "${row.text}"}
    assert [job.id for job in jobs_of(tmp_path)] == ["a-cat-in-snow", "a-dog"]


def test_lines_that_are_there_twice_are_numbered(tmp_path: Path) -> None:
    assert job_of(draft(tmp_path, "ideas.txt", "A cat\nA dog\nA cat\n"))["id"] == "${row.line}"
    assert [job.id for job in jobs_of(tmp_path)] == ["1", "2", "3"]


def test_json_lines_may_lack_what_others_have(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "prompt": "a cat", "model": "z-image", "more": {"a": 1}},
        {"id": 2, "prompt": "a dog", "image": "a.png"},
    ]
    (tmp_path / "a.png").write_bytes(PNG)
    job = job_of(draft(tmp_path, "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))

    assert job["model"] == "${row.model | default('grok-imagine-video')}"
    assert job["references"] == ["${row.image | default('')}"]
    assert [(job.id, job.model, len(job.references)) for job in jobs_of(tmp_path)] == [
        ("1", "z-image", 0),
        ("2", MODEL, 1),
    ]


def test_titles_that_repeat_are_no_ids(tmp_path: Path) -> None:
    job = job_of(draft(tmp_path, "t.tsv", "title\tprompt\nOne\ta cat, slowly\nOne\ta dog, slowly\n"))

    assert job["id"] == "${row.prompt | slug | fit(60)}"
    assert len(jobs_of(tmp_path)) == 2


def test_two_columns_together_may_be_an_id(tmp_path: Path) -> None:
    text = "scene,take,prompt\n" + "".join(f"s{n // 3},{n % 3},the same\n" for n in range(9))
    job = job_of(draft(tmp_path, "t.csv", text))

    assert job["id"] == "${row.scene | slug | fit(60)}-${row.take | slug | fit(60)}"
    assert len(jobs_of(tmp_path)) == 9


def test_ids_of_free_text_are_made_fit(tmp_path: Path) -> None:
    names = [f"{'ชื่อยาวมาก' * 30} {n}" for n in range(3)]
    job = job_of(
        draft(tmp_path, "t.csv", "name,prompt\n" + "".join(f"{name},a cat {name}\n" for name in names))
    )

    assert job["id"] == "${row.name | slug | fit(60)}"
    assert len(jobs_of(tmp_path)) == 3


def test_columns_are_known_by_what_they_hold(tmp_path: Path) -> None:
    text = "x,y,z\n16:9,q-1,A very long text about a cat\n9:16,q-2,Another long text about a dog\n"
    job = job_of(draft(tmp_path, "t.csv", text))

    assert (job["id"], job["prompt"], job["params"]) == ("${row.y}", "${row.z}", {"aspect_ratio": "${row.x}"})


def test_the_table_may_be_in_another_folder_and_its_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "img").mkdir(parents=True)
    (tmp_path / "data" / "img" / "a.png").write_bytes(PNG)
    job = job_of(draft(tmp_path, "data/t.csv", "id,prompt,image\n1,a cat,a.png\n"))

    assert (job["rows"], job["references"]) == ("data/t.csv", ["data/img/${row.image}"])
    assert len(jobs_of(tmp_path)) == 1


def test_what_the_model_needs_and_no_column_has_is_there(tmp_path: Path) -> None:
    needy = next(
        c for c in load_contracts().values() if c.callable and any(p.required for p in c.params.values())
    )
    text = draft(tmp_path, "t.csv", "id,prompt\n1,a cat\n", model=needy.id)

    assert "# the model needs it" in text
    assert len(jobs_of(tmp_path)) == 1


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    text = draft(
        tmp_path,
        "t.csv",
        "id,prompt,photo,link,seconds,odd}name\n1,a cat,a.png,https://x/a.png,six,a\n2,a dog,b.png,https://x/b.png,ten,b\n",
        model="google-imagen4",
    )

    assert "photo (google-imagen4 takes no files)" in text
    assert "link (google-imagen4 takes no files)" in text
    assert "odd}name" in text
    assert set(job_of(text)) == {"id", "rows", "prompt"}


def test_a_column_of_urls_names_files_where_it_looks_like_pictures(tmp_path: Path) -> None:
    rows = "".join(f"{n},a cat,https://x/{n}.jpg?v=1,https://x/p/{n},https://cdn/{n}\n" for n in (1, 2))

    text = draft(tmp_path, "t.csv", f"id,prompt,large,page,Image URL\n{rows}")

    assert job_of(text)["references"] == ["${row.large}"]
    assert f"Image URL ({MODEL} takes no more files)" in text
    assert "`plan` fetches them once" in text
    assert "page (URLs, of pages it seems" in text


def test_a_text_of_tabs_is_a_table_and_one_without_is_not(tmp_path: Path) -> None:
    """Excel calls a table with tabs, in UTF-16, a text."""
    (tmp_path / "x.txt").write_bytes("id\tprompt\r\n1\ta cat\r\n2\ta dog\r\n".encode("utf-16"))

    table = job_of(manifest_from(tmp_path / "m.yaml", tmp_path / "x.txt", "grok-imagine-video"))

    assert (table["rows"], table["id"]) == ({"file": "x.txt", "delimiter": "tab"}, "${row.id}")
    assert job_of(draft(tmp_path, "y.txt", "a cat\na\tdog\n"))["rows"] == "y.txt"


def test_a_param_that_takes_none_of_the_values_is_left_out(tmp_path: Path) -> None:
    text = draft(tmp_path, "t.csv", 'id,prompt,seconds\n1,a cat,"6,5"\n2,a dog,"7,5"\n')

    assert 'seconds (duration does not take "6,5")' in text
    assert len(jobs_of(tmp_path)) == 2


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("t.csv", "a,a\n1,2\n", "two columns are named"),
        ("t.csv", "a,b\n", "has no rows"),
        ("t.csv", "", "the first line must name the columns"),
        ("t.csv", "id,n\n1,2\n", "no column of the table has texts"),
        ("t.xlsx", "no workbook", "is not a workbook but text"),
        ("t.docx", "x", "rows are read from"),
    ],
)
def test_a_table_that_makes_no_jobs_is_refused(tmp_path: Path, name: str, content: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        draft(tmp_path, name, content)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        manifest_from(tmp_path / "m.yaml", tmp_path / "t.csv", MODEL)


@pytest.mark.parametrize(
    "header", ['a"b', "a: b", "#a", "a'b", "a\\b", "ä b", "a${b", "a|b", "a}b", "\u2028a", "-"]
)
def test_any_name_of_a_column_gives_a_manifest_that_can_be_read(tmp_path: Path, header: str) -> None:
    quoted = '"' + header.replace('"', '""') + '"'
    text = draft(
        tmp_path, "t.csv", f"id,{quoted},other\n1,some text of this row,x\n2,some text of that row,y\n"
    )

    assert job_of(text)["id"] == "${row.id}"
    assert len(jobs_of(tmp_path)) == 2


@pytest.mark.parametrize(
    ("name", "content", "prompts"),
    [
        # What is called a prompt is one, however long the others are.
        ("t.csv", f"Name,Prompt,Notes\nS1,A cat,{'x' * 99}\nS2,A dog,{'y' * 99}\n", ["A cat", "A dog"]),
        # As Airtable writes attachments.
        ("t.csv", 'Name,Idea,Files\nS1,A cat,"a.png (https://e.com/a),b.png (https://e.com/b)"\n', ["A cat"]),
        ("t.csv", "id,prompt\ra,café\rb,y\r".encode("mac-roman"), ["café", "y"]),
        ("t.csv", "id,prompt\na,日本の猫\nb,犬が走る\n".encode("shift_jis"), ["日本の猫", "犬が走る"]),
        ("t.txt", "id;prompt\na;A cat\nb;A dog\n", ["A cat", "A dog"]),
    ],
)
def test_the_prompts_of_an_export_are_found(
    tmp_path: Path, name: str, content: str | bytes, prompts: list[str]
) -> None:
    draft(tmp_path, name, content)

    assert [job.prompt for job in jobs_of(tmp_path)] == prompts


def test_a_table_of_one_column_without_a_header_says_what_its_first_line_is_taken_for(tmp_path: Path) -> None:
    assert "if it is a prompt, name the file .txt" in draft(tmp_path, "t.csv", "A cat\nA dog\n")
    assert "name the file .txt" not in draft(tmp_path, "u.csv", "Prompt\nA dog\n")
