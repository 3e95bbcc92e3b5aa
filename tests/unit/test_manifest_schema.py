"""The committed JSON Schema and the reader give the same verdict, so an editor and `validate` agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from runner.contract import minimal_job
from runner.fingerprint import canonical
from runner.manifest.yaml12 import read_yaml
from runner.schemas import load_contracts, read_schema
from tests.manifest_reading import load

VALIDATOR = Draft202012Validator(read_schema("manifest.schema.json"))
HEAD = "version: 1\nname: t\nmodel: grok-imagine-video\nprompt: x\n"
JOBS = "jobs: [{id: a}]\n"

GOOD_HEADS = [
    "params: {duration: 6}",
    "params: {duration: '6'}",
    "params: {duration: 6.0}",
    "params: {mode: null}",
    "params: {aspect_ratio: 16:9}",
    "params: {}",
    "vars: {a: 1, b-c: x, _d: null, e: true}",
    "vars: {}",
    "budget: {max_credits: 0}",
    "budget: {max_credits: 12.5}",
    "budget: {}",
    "limits: {requests_per_second: 0.1}",
    "limits: {requests_per_second: auto}",
    "limits: {in_flight: auto}",
    "limits: {in_flight: 1}",
    "limits: {in_flight: 2.0}",
    "limits: {uploads: 100}",
    "limits: {job_deadline: 1.5d}",
    "limits: {job_deadline: 0s}",
    "limits: {max_result_bytes: 1}",
    "limits: {max_result_bytes: 1.5 GiB}",
    "limits: {max_result_bytes: 7KB}",
    "limits: {max_result_bytes: 7kB}",
    "polling: {min_s: 0.05}",
    "polling: {}",
    "retry: {failed_rounds: 3}",
    "retry: {failed_rounds: {policy: 2}}",
    "retry: {failed_rounds: {generation: 1, policy: 2}}",
    "idempotency: {resend_within: 90s}",
    "uploads: {reuse_within: 2h}",
    "output: {dir: x, name: 'a/${id}'}",
    "prices: {z-image: 1}",
    "prices: {z-image: 0}",
    "prices: {}",
    "prices: {z-image: [{credits: 2, params: {aspect_ratio: 1:1}}]}",
    "references: []",
    "references: ['${f}']\nvars: {f: a.png}",
]
BAD_HEADS = [
    "prams: {}",
    "version: 2",
    "version: 0",
    "version: '1'",
    "version: true",
    "name: T",
    "name: -t",
    "name: ''",
    "name: 5",
    "name: t_1",
    "model: nope",
    "model: 5",
    "prompt: 5",
    "prompt: [x]",
    "prompt: null",
    "params: null",
    "params: [a]",
    "params: {duration: 5}",
    "params: {duration: 6.5}",
    "params: {duration: 31}",
    "params: {duration: six}",
    "params: {mode: grim}",
    "params: {mode: 1}",
    "params: {aspect_ratio: 16:10}",
    "params: {duraton: 6}",
    "params: {referenceMediaItems: []}",
    "vars: null",
    "vars: {a: [1]}",
    "vars: {a b: 1}",
    "vars: {1a: 1}",
    "budget: null",
    "budget: {max_credits: -1}",
    "budget: {max_credits: '5'}",
    "budget: {max_credits: true}",
    "budget: {max: 5}",
    "limits: {requests_per_second: 0}",
    "limits: {requests_per_second: fast}",
    "limits: {requests_per_second: null}",
    "limits: {in_flight: 0}",
    "limits: {in_flight: 1.5}",
    "limits: {uploads: 0}",
    "limits: {uploads: auto}",
    "limits: {job_deadline: 6}",
    "limits: {job_deadline: 6 h}",
    "limits: {job_deadline: 1w}",
    "limits: {max_result_bytes: 0}",
    "limits: {max_result_bytes: 2G}",
    "limits: {max_result_bytes: 1gb}",
    "limits: {speed: 1}",
    "polling: {min_s: 0.04}",
    "polling: {min_s: 5s}",
    "polling: {every: 5}",
    "retry: {failed_rounds: -1}",
    "retry: {failed_rounds: 0.5}",
    "retry: {failed_rounds: {policy: 0.5}}",
    "retry: {failed_rounds: {validation: 1}}",
    "retry: 2",
    "idempotency: {resend_within: 60}",
    "uploads: {reuse_within: ''}",
    "uploads: 4",
    "output: {dir: ''}",
    "output: {name: ''}",
    "output: {folder: x}",
    "output: films",
    "prices: {nope: 1}",
    "prices: {z-image: -1}",
    "prices: {z-image: free}",
    "prices: {z-image: [{params: {}}]}",
    "prices: {z-image: [{credits: 1, x: 2}]}",
    "references: a.png",
    "references: [5]",
    "references: ['']",
    "references: null",
]
GOOD_JOBS = [
    "{id: b, model: z-image, params: {aspect_ratio: 4:3}}",
    "{id: b, prompt: y}",
    "{id: '${x}', matrix: {x: [1, b, true]}}",
    "{id: 'n${x}', matrix: {x: [null, 1.5]}, prompt: 'p ${x}'}",
    "{id: '${x}', matrix: {x: [1, 2]}, exclude: [{x: 1}]}",
    "{id: '${x}', matrix: {x: [1]}, include: [{x: 2}]}",
    "{id: '${x}', include: [{x: 2}]}",
    "{id: b, repeat: 1}",
    "{id: b, repeat: 1000}",
    "{id: '${row.n}', rows: r.csv, prompt: '${row.n}', params: {duration: '${row.s}'}}",
    "{id: b, params: {duration: '${d}', mode: '${m}'}, matrix: {d: [6], m: [fun]}}",
    "{id: '${file.stem}', rows: {glob: 'r.*'}}",
    "{id: b, model: '${m}', matrix: {m: [z-image]}}",
    "{id: b, references: [a.png]}",
]
BAD_JOBS = [
    "x",
    "[]",
    "{}",
    "{prompt: y}",
    "{id: 5}",
    "{id: ''}",
    "{id: null}",
    "{id: b, model: nope}",
    "{id: b, modle: z-image}",
    "{id: b, prompt: null}",
    "{id: b, params: {mode: 5}}",
    "{id: b, params: {speed: 5}}",
    "{id: b, model: z-image, params: {duration: 6}}",
    "{id: b, references: a.png}",
    "{id: b, matrix: {}}",
    "{id: b, matrix: {x: []}}",
    "{id: b, matrix: {x: 5}}",
    "{id: b, matrix: {x: [[1]]}}",
    "{id: b, matrix: [x]}",
    "{id: b, matrix: {x y: [1]}}",
    "{id: b, exclude: [{x: 1}]}",
    "{id: b, matrix: {x: [1]}, exclude: {x: 1}}",
    "{id: b, matrix: {x: [1]}, exclude: [{}]}",
    "{id: b, matrix: {x: [1]}, include: [5]}",
    "{id: b, rows: 5}",
    "{id: b, rows: ''}",
    "{id: b, rows: {}}",
    "{id: b, rows: {glob: ''}}",
    "{id: b, rows: {glob: r.*, sort: name}}",
    "{id: b, rows: [a, b]}",
    "{id: b, repeat: 0}",
    "{id: b, repeat: 1001}",
    "{id: b, repeat: x}",
    "{id: b, repeat: 1.5}",
    "{id: b, output: c}",
    "{id: b, duration: 6}",
]
# What one place in the file cannot show: only the reader, which expands, can refuse these.
BEYOND_THE_SCHEMA = [
    "vars: {take: 1}\n" + JOBS,
    "vars: {a: '${b}'}\n" + JOBS,
    "polling: {min_s: 9, max_s: 8}\n" + JOBS,
    "output: {name: ../x}\n" + JOBS,
    "output: {dir: '~/x'}\n" + JOBS,
    "jobs: [{id: a}, {id: a, prompt: y}]\n",
    "jobs: [{id: a/b}]\n",
    "jobs: [{id: a, prompt: '${nope}'}]\n",
    "jobs: [{id: a, rows: nothere.csv}]\n",
    "jobs: [{id: '${x}', matrix: {x: [1, 1]}}]\n",
    "jobs: [{id: a, references: [missing.png]}]\n",
    "jobs: [{id: a, params: {mode: '${x}'}, matrix: {x: [grim]}}]\n",
]


def verdicts(folder: Path, text: str) -> tuple[bool, bool]:
    """Return whether the schema and the reader accept a manifest."""
    (folder / "r.csv").write_text("n,s\nq,6\nr,\n")
    read = load(folder, text)
    return VALIDATOR.is_valid(read_yaml(text, file="m.yaml").value), not read.errors


def with_head(line: str) -> str:
    key = line.partition(":")[0]
    kept = "".join(each + "\n" for each in HEAD.splitlines() if each.partition(":")[0] != key)
    return f"{kept}{line}\n{JOBS}"


@pytest.mark.parametrize("line", GOOD_HEADS)
def test_both_accept_a_good_head(tmp_path: Path, line: str) -> None:
    assert verdicts(tmp_path, with_head(line)) == (True, True)


@pytest.mark.parametrize("line", BAD_HEADS)
def test_both_refuse_a_bad_head(tmp_path: Path, line: str) -> None:
    assert verdicts(tmp_path, with_head(line)) == (False, False)


@pytest.mark.parametrize("job", GOOD_JOBS)
def test_both_accept_a_good_job(tmp_path: Path, job: str) -> None:
    assert verdicts(tmp_path, f"{HEAD}jobs:\n  - {job}\n") == (True, True)


@pytest.mark.parametrize("job", BAD_JOBS)
def test_both_refuse_a_bad_job(tmp_path: Path, job: str) -> None:
    assert verdicts(tmp_path, f"{HEAD}jobs:\n  - {job}\n") == (False, False)


@pytest.mark.parametrize("missing", ["version", "name", "jobs"])
def test_both_want_the_keys_that_are_needed(tmp_path: Path, missing: str) -> None:
    text = "".join(line + "\n" for line in (HEAD + JOBS).splitlines() if not line.startswith(missing))

    assert verdicts(tmp_path, text) == (False, False)


@pytest.mark.parametrize("rest", BEYOND_THE_SCHEMA)
def test_what_needs_expansion_only_the_reader_refuses(tmp_path: Path, rest: str) -> None:
    assert verdicts(tmp_path, HEAD + rest) == (True, False)


def test_the_smallest_job_of_every_model_is_accepted_by_both(tmp_path: Path) -> None:
    jobs = [{"id": model, **minimal_job(contract)} for model, contract in load_contracts().items()]

    read = load(tmp_path, f"version: 1\nname: t\njobs: {canonical(jobs)}\n")

    assert len(read.jobs) == len(jobs) == 52
    assert read.errors == []
    assert VALIDATOR.is_valid({"version": 1, "name": "t", "jobs": jobs})
