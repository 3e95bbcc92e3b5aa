"""What holds of every manifest: reading never raises, and what a job is does not depend on where it stands."""

from __future__ import annotations

import hashlib
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.fingerprint import canonical, fingerprint
from runner.manifest import problem_json, problem_text
from runner.manifest.names import file_key, id_trouble, output_trouble
from runner.manifest.placeholders import BadPlaceholder, compile_template, slug
from runner.manifest.yaml12 import read_yaml
from runner.manifest.yaml_scalars import plain_value
from runner.model import JobSpec
from tests.manifest_reading import HEAD, load

quick = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))

# Pieces that meet the grammar more often than random characters do.
PIECES = st.sampled_from(
    [
        "a",
        "é",
        "16:9",
        "${a}",
        "${",
        "}",
        "{",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "  ",
        "#",
        "&a ",
        "*a",
        "!t ",
        "<<",
        "|",
        ">",
        "'",
        '"',
        "\\",
        "?",
        "? ",
        ",",
        "---",
        "...",
        "%",
        "\t",
        "0",
        "-1",
        "1e9",
        ".inf",
        "null",
        "~",
        "\ufeff",
        "\u2028",
        "\x85",
        "\x00",
        "\x1b",
        "😀",
        "\ud800",
        "version: 1\n",
        "name: t\n",
        "jobs:\n",
        "id: ",
        "model: z-image\n",
        "rows: ",
        "matrix: ",
        "repeat: ",
        "params: ",
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map("".join))
KEYS = ["id", "model", "prompt", "params", "references", "matrix", "exclude", "include", "rows", "repeat"]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@quick
@given(TEXTS)
def test_no_text_makes_the_yaml_reader_raise(text: str) -> None:
    document = read_yaml(text, file="m.yaml")

    for problem in document.problems:
        assert problem.place.line >= 1
        assert problem.place.column >= 1
        assert problem_text(problem).count("\n") == 1 + 3 * bool(problem.source.strip()) + bool(problem.hint)
    assert document.problems or document.complete


@quick
@given(st.text(alphabet="0123456789+-.eExXoOabfNnULl~_:TrueFalse ", max_size=12))
def test_no_plain_scalar_raises_and_only_numbers_become_numbers(text: str) -> None:
    value = plain_value(text)

    if isinstance(value, str):
        assert value == text
    elif isinstance(value, int | float) and not isinstance(value, bool):
        assert ":" not in text
        assert "_" not in text


@quick
@given(TEXTS)
def test_no_text_makes_a_template_raise_anything_else(text: str) -> None:
    try:
        result = compile_template(text).render({"a": "x"})
    except BadPlaceholder as exc:
        assert 0 <= exc.offset < len(text)
    else:
        assert "${" in text or result == text


@quick
@given(st.text(max_size=30))
def test_a_slug_can_always_be_an_id_unless_it_is_empty(text: str) -> None:
    result = slug(text)[:200]

    assert slug(slug(text)) == slug(text)
    assert not result or id_trouble(result) is None


@quick
@given(st.text(max_size=20))
def test_an_output_name_that_passes_stays_in_its_folder(name: str) -> None:
    if output_trouble(name) is None:
        root = Path("/out")
        assert root in (root / name).parents
        assert ".." not in Path(name).parts
        assert "\x00" not in name
    assert file_key(file_key(name)) == file_key(name)


@few
@given(
    st.lists(PIECES, max_size=30).map("".join),
    st.binary(max_size=60),
    st.sampled_from(["csv", "jsonl", "json", "yaml"]),
)
def test_no_manifest_and_no_rows_make_the_reader_raise(rest: str, rows: bytes, kind: str) -> None:
    text = HEAD + f"jobs: [{{id: '${{row.a}}', rows: r.{kind}}}]\n" + rest.replace("\ud800", "")
    with tempfile.TemporaryDirectory() as folder:
        read = load(Path(folder), text, {f"r.{kind}": b"a\n" + rows})

    assert all(problem_json(problem)["what"] for problem in read.problems)


@few
@given(
    st.dictionaries(
        st.sampled_from(["id", "model", "prompt", "params", "references", "matrix", "rows", "repeat"]), VALUES
    )
)
def test_no_job_however_odd_makes_the_reader_raise(job: dict[str, object]) -> None:
    text = HEAD + f"jobs: [{_yaml({'id': 'a', **job})}]\n"
    with tempfile.TemporaryDirectory() as folder:
        read = load(Path(folder), text)

    assert read.jobs or read.problems


@few
@given(st.permutations(range(8)), st.integers(0, 2**32))
def test_reordering_jobs_axes_and_rows_keeps_ids_and_fingerprints(order: list[int], seed: int) -> None:
    entries = [
        f"  - {{id: job-{n}, prompt: number {n}, params: {{duration: {6 + n}, mode: fun}}}}\n"
        for n in range(6)
    ]
    entries.append("  - {id: 'm-${x}-${y}', prompt: '${x} ${y}', matrix: {AXES}}\n")
    entries.append("  - {id: 'r-${row.n}', prompt: 'row ${row.n}', rows: r.csv}\n")
    axes, swapped = "x: [1, 2], y: [a, b]", "y: [b, a], x: [2, 1]"
    rows = [f"{n}\n" for n in range(5)]
    shuffled = random.Random(seed).sample(rows, len(rows))

    first = _what(HEAD + "jobs:\n" + "".join(entries).replace("AXES", axes), rows)
    second = _what(HEAD + "jobs:\n" + "".join(entries[n] for n in order).replace("AXES", swapped), shuffled)

    assert first == second
    assert len(first) == 15


@few
@given(st.sampled_from(["prompt", "params", "model", "references"]), st.integers(0, 4))
def test_changing_one_job_changes_one_fingerprint(what: str, which: int) -> None:
    base = {
        "prompt": "x",
        "params": {"aspect_ratio": "2:3"},
        "model": "grok-imagine",
        "references": ["a.png"],
    }
    change = {
        "prompt": "y",
        "params": {"aspect_ratio": "3:2"},
        "model": "grok-imagine-video",
        "references": ["b.png"],
    }
    jobs = [{"id": f"j{n}", **base} for n in range(5)]
    changed = [{**job, **({what: change[what]} if n == which else {})} for n, job in enumerate(jobs)]

    before = _what(HEAD + f"jobs: {_yaml(jobs)}\n", [])
    after = _what(HEAD + f"jobs: {_yaml(changed)}\n", [])

    assert [key for key in before if before[key] != after[key]] == [f"j{which}"]


def _what(text: str, rows: list[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        read = load(Path(folder), text, {"r.csv": "n\n" + "".join(rows)})
    assert read.errors == [], read.errors

    def key(job: JobSpec) -> str:
        return str(job.id)

    return {job.id: job.fingerprint for job in sorted(read.jobs, key=key)}


def _yaml(value: object) -> str:
    """Return a value in flow style; texts in double quotes, so that every character survives or is refused."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str):
        return (
            '"'
            + "".join(c if (c.isalnum() and c.isascii()) or c in " ${}.|:/-" else _escape(c) for c in value)
            + '"'
        )
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _escape(char: str) -> str:
    return f"\\U{ord(char):08X}" if not 0xD800 <= ord(char) < 0xE000 else "?"


@quick
@given(TEXTS, st.none() | TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3), st.lists(TEXTS, max_size=2))
def test_a_fingerprint_is_the_hash_of_one_canonical_text(
    model: str, prompt: str | None, params: dict[str, Any], references: list[str]
) -> None:
    try:
        text = canonical({"model": model, "prompt": prompt, "params": params, "references": references})
    except ValueError:
        return  # nan and infinity are no JSON
    digest = hashlib.sha256(f"fp1\n{text}".encode("utf-8", "surrogatepass")).hexdigest()

    assert fingerprint(model=model, prompt=prompt, params=params, references=references) == f"fp1:{digest}"
