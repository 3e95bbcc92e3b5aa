"""The head of a manifest: what it sets, and every way to get it wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.manifest import open_manifest
from runner.manifest.quantities import duration_s, size_bytes
from runner.model import Budget, FailedRounds, Limits, ModelId, Polling, PriceRule
from runner.schemas import load_contracts
from tests.manifest_reading import HEAD, Pictures, load

JOBS = "jobs: [{id: a}]\n"


def test_everything_that_is_written_arrives_in_the_settings(tmp_path: Path) -> None:
    text = (
        HEAD
        + JOBS
        + (
            "budget: {max_credits: 2000, max_credits_per_job: 20.5, max_credits_per_day: 5000}\n"
            "limits: {requests_per_second: 12.5, in_flight: 100, uploads: 2, downloads: 3, job_deadline: 90m,"
            " max_result_bytes: 1.5GiB}\n"
            "polling: {first_s: 0.2, min_s: 0.1, max_s: 2}\n"
            "retry: {failed_rounds: 2}\n"
            "idempotency: {resend_within: 30m, resend_after: 0.05s}\nuploads: {reuse_within: 2h}\noutput: {dir: films/x}\n"
            "prices: {z-image: 1.5, grok-imagine-video: [{params: {duration: '10'}, credits: 20}, {credits: 10}]}\n"
        )
    )

    read = load(tmp_path, text)

    settings = read.settings
    assert read.problems == []
    assert settings is not None
    assert settings.name == "test"
    assert settings.path == tmp_path / "m.yaml"
    assert settings.output_dir == tmp_path / "films" / "x"
    assert settings.budget == Budget(max_credits=2000, max_credits_per_job=20.5, max_credits_per_day=5000)
    assert settings.limits == Limits(
        requests_per_second=12.5,
        in_flight=100,
        uploads=2,
        downloads=3,
        job_deadline_s=5400,
        max_result_bytes=1_610_612_736,
    )
    assert settings.polling == Polling(first_s=0.2, min_s=0.1, max_s=2)
    assert (settings.failed_rounds, settings.reuse_uploads_within_s) == (FailedRounds(generation=2), 7200)
    assert (settings.resend_within_s, settings.resend_after_s) == (1800, 0.05)
    grok = ModelId("grok-imagine-video")
    assert settings.prices == (
        PriceRule(model=ModelId("z-image"), credits=1.5),
        PriceRule(model=grok, credits=20, params={"duration": 10}),
        PriceRule(model=grok, credits=10),
    )


def test_what_is_not_written_has_the_defaults_of_the_design(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD + JOBS + "limits: {requests_per_second: auto, in_flight: auto}\n")

    settings = read.settings
    assert settings is not None
    assert (settings.budget, settings.limits, settings.polling) == (Budget(), Limits(), Polling())
    assert settings.limits.max_result_bytes == 2_000_000_000
    assert (settings.reuse_uploads_within_s, settings.failed_rounds) == (3600, FailedRounds())
    assert (settings.resend_within_s, settings.resend_after_s) == (3600, 20)


def test_rounds_of_failed_tasks_may_be_allowed_by_why_they_failed(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD + JOBS + "retry: {failed_rounds: {policy: 2}}\n")

    assert read.settings is not None
    assert read.settings.failed_rounds == FailedRounds(generation=0, policy=2)


def test_the_default_output_is_in_the_workspace(tmp_path: Path) -> None:
    path = tmp_path / "manifests" / "m.yaml"
    path.parent.mkdir()
    path.write_text(HEAD + JOBS)
    manifest = open_manifest(path, contracts=load_contracts(), references=Pictures(), workspace=tmp_path)

    assert manifest.settings is not None
    assert manifest.settings.output_dir == tmp_path / "out" / "test"


@pytest.mark.parametrize(("low", "high"), [("min_s: 90", (90, 90)), ("max_s: 2", (2, 2))])
def test_one_bound_of_polling_moves_the_default_of_the_other(
    tmp_path: Path, low: str, high: tuple[int, int]
) -> None:
    read = load(tmp_path, HEAD + JOBS + f"polling: {{{low}}}\n")

    assert read.problems == []
    assert read.settings is not None
    assert (read.settings.polling.min_s, read.settings.polling.max_s) == high


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("^bugdet: {max_credits: 1}", "unknown-key"),
        ("^duration: 6", "unknown-key"),
        ("budget: ^5", "wrong-type"),
        ("budget: {max_credits: ^-1}", "out-of-range"),
        ("budget: {max_credits: ^'20'}", "wrong-type"),
        ("budget: {max_credits: ^.inf}", "out-of-range"),
        ("budget: {^max_credit: 1}", "unknown-key"),
        ("limits: {requests_per_second: ^0}", "out-of-range"),
        ("limits: {requests_per_second: ^fast}", "wrong-type"),
        ("limits: {in_flight: ^1.5}", "wrong-type"),
        ("limits: {in_flight: ^0}", "out-of-range"),
        ("limits: {uploads: ^auto}", "wrong-type"),
        ("limits: {job_deadline: ^6}", "bad-duration"),
        ("limits: {job_deadline: ^6 hours}", "bad-duration"),
        ("limits: {max_result_bytes: ^2G}", "bad-size"),
        ("limits: {max_result_bytes: ^0}", "out-of-range"),
        ("limits: {max_result_bytes: ^true}", "wrong-type"),
        ("polling: {min_s: ^0.01}", "out-of-range"),
        ("polling: {min_s: 9, max_s: ^3}", "out-of-range"),
        ("polling: {^min: 9}", "unknown-key"),
        ("retry: {failed_rounds: ^-1}", "out-of-range"),
        ("retry: {failed_rounds: {policy: ^-1}}", "out-of-range"),
        ("retry: {failed_rounds: {^moderation: 1}}", "unknown-key"),
        ("retry: {failed_rounds: ^often}", "wrong-type"),
        ("retry: ^3", "wrong-type"),
        ("idempotency: {resend_within: ^2h}", "long-resend"),
        ("idempotency: {resend_within: ^20s}", "no-resend"),
        ("idempotency: {resend_within: 10m, resend_after: ^1h}", "no-resend"),
        ("idempotency: {resend_after: ^0.04s}", "out-of-range"),
        ("idempotency: {resend_after: ^0s}", "out-of-range"),
        ("idempotency: {resend_after: ^20}", "bad-duration"),
        ("uploads: {reuse_within: ^soon}", "bad-duration"),
        ("output: {name: ^5}", "wrong-type"),
        ("output: {name: ^''}", "empty-value"),
        ("output: {name: '^${idd}'}", "unknown-name"),
        ("output: {dir: ^~/films}", "bad-folder"),
        ("output: {dir: ^m.yaml}", "bad-folder"),
        ("output: {dir: ^s3:/films/night}", "bad-folder"),
        ("output: {dir: ^'GS:films'}", "bad-folder"),
        ('output: {dir: ^"a\\0b"}', "bad-folder"),
        ("output: {dir: 'x/^${nope}'}", "unknown-name"),
        ("vars: {^take: 1}", "reserved-name"),
        ("vars: {^a b: 1}", "bad-name"),
        ("vars: {a: ^[1]}", "wrong-type"),
        ("vars: {a: '^${b}', b: 1}", "unknown-name"),
        ("vars:^", "wrong-type"),
        ("references: ^a.png", "wrong-type"),
        ("params: ^[a]", "wrong-type"),
        ("prices: {^z-imge: 1}", "unknown-model"),
        ("prices: {z-image: ^cheap}", "wrong-type"),
        ("prices: {z-image: [^{params: {}}]}", "missing-key"),
        ("prices: {z-image: [{credits: 1, params: {^size: 1}}]}", "unknown-param"),
        ("prices: {z-image: [^5]}", "wrong-type"),
    ],
)
def test_a_mistake_in_the_head_is_told_with_its_place(tmp_path: Path, line: str, code: str) -> None:
    read = load(tmp_path, HEAD + JOBS + line.replace("^", "") + "\n")

    problem = read.only(code)
    assert problem.place.line == 6
    assert problem.place.column == line.index("^") + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: t\nmodel: z-image\nprompt: x\n" + JOBS, [("missing-key", 1, 1)]),
        ("version: 2\nname: t\nmodel: z-image\nprompt: x\n" + JOBS, [("future-version", 1, 10)]),
        ("version: 0\nname: t\nmodel: z-image\nprompt: x\n" + JOBS, [("bad-version", 1, 10)]),
        ("version: '1'\nname: t\nmodel: z-image\nprompt: x\n" + JOBS, [("wrong-type", 1, 10)]),
        ("version: 1\nmodel: z-image\nprompt: x\n" + JOBS, [("missing-key", 1, 1)]),
        ("version: 1\nname: Autumn 1\nmodel: z-image\nprompt: x\n" + JOBS, [("bad-name", 2, 7)]),
        ("version: 1\nname: 5\nmodel: z-image\nprompt: x\n" + JOBS, [("wrong-type", 2, 7)]),
        ("version: 1\nname: t\nprompt: x\n" + JOBS, [("missing-key", 4, 8)]),
        ("version: 1\nname: t\nmodel: z-imge\nprompt: x\n" + JOBS, [("unknown-model", 3, 8)]),
        ("version: 1\nname: t\nmodel: z-image\n", [("missing-key", 1, 1)]),
        ("version: 1\nname: t\nmodel: z-image\njobs: []\n", [("empty-value", 4, 7)]),
        ("version: 1\nname: t\nmodel: z-image\njobs: {id: a}\n", [("wrong-type", 4, 7)]),
        ("version: 1\nname: t\nmodel: z-image\njobs:\n", [("wrong-type", 4, 6)]),
        ("- a\n", [("wrong-type", 1, 1)]),
        ("", [("empty-file", 1, 1)]),
        ("a: [", [("yaml-syntax", 1, 4)]),
    ],
)
def test_what_a_manifest_must_say(tmp_path: Path, text: str, expected: list[tuple[str, int, int]]) -> None:
    read = load(tmp_path, text)

    assert [(p.code, p.place.line, p.place.column) for p in read.problems] == expected


def test_a_version_of_the_future_names_the_way_out(tmp_path: Path) -> None:
    read = load(tmp_path, "version: 3\nname: t\nmodel: z-image\nprompt: x\n" + JOBS)

    assert "made for a newer rivya-batch" in read.only("future-version").what


def test_misspelt_things_are_met_with_the_right_ones(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD.replace("grok-imagine-video", "grok-imagine-vidoe") + JOBS + "budgte: {}\n")

    assert [problem.hint for problem in read.problems] == [
        "did you mean `budget`?",
        "did you mean `grok-imagine-video`?",
    ]


def test_a_file_that_is_not_there_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    manifest = open_manifest(tmp_path / "no.yaml", contracts=load_contracts(), references=Pictures())

    assert manifest.settings is None
    assert list(manifest.jobs()) == []
    assert [problem.code for problem in manifest.problems] == ["file-not-found"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "latin-1"])
def test_a_file_that_is_no_text_is_a_problem(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"version: 1\nprompt: caf\xe9\n")

    manifest = open_manifest(path, contracts=load_contracts(), references=Pictures())

    assert [problem.code for problem in manifest.problems] == [
        "not-utf8" if kind == "latin-1" else "not-a-file"
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("0s", 0),
        ("5", None),
        ("1h30m", None),
        ("-1s", None),
        ("1 h", None),
        ("٣s", None),
        ("9" * 99 + "d", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("1.5MiB", 1_572_864),
        ("7 kB", 7000),
        ("7KB", 7000),
        ("5B", 5),
        ("5", None),
        ("GB", None),
        ("1gb", None),
        ("1e3B", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert size_bytes(text) == size


def test_keys_that_begin_with_x_are_the_users_own(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: test\nx-wide: &wide {prompt: a cat, params: {duration: 6}}\nx-: [1, {id: 2}]\n"
        "model: grok-imagine-video\njobs:\n- {id: a, <<: *wide}\n- {<<: *wide, id: b, prompt: a dog}\n"
    )
    read = load(tmp_path, text)

    assert read.problems == []
    assert [(job.id, job.prompt, job.params["duration"]) for job in read.jobs] == [
        ("a", "a cat", 6),
        ("b", "a dog", 6),
    ]


def test_only_the_top_level_has_keys_of_the_users_own(tmp_path: Path) -> None:
    read = load(tmp_path, HEAD + "X-a: 1\nx_a: 1\njobs: [{id: a, x-b: 1, params: {x-c: 1}}]\n")

    assert sorted(read.codes) == ["unknown-key", "unknown-key", "unknown-key", "unknown-param"]


def test_a_mistake_in_what_is_merged_is_told_once_where_it_was_written(tmp_path: Path) -> None:
    text = HEAD + "x-bad: &bad {params: {duration: 99}}\njobs:\n- {id: a, <<: *bad}\n- {id: b, <<: *bad}\n"

    problem = load(tmp_path, text).only("out-of-range")

    assert (problem.place.line, problem.place.column) == (5, 33)


def test_a_misspelt_model_does_not_hide_what_else_is_wrong(tmp_path: Path) -> None:
    text = HEAD.replace("grok-imagine-video", "grok-imagine-vidoe") + (
        "params: {mode: nromal}\njobs:\n- {id: a, params: {duration: 99}}\n"
        "- {id: b, model: z-imgae, params: {duration: 6}}\n"
    )

    read = load(tmp_path, text)

    assert {problem.code for problem in read.problems} == {
        "unknown-model",
        "not-an-option",
        "out-of-range",
        "unknown-param",
    }


def test_a_bucket_that_lacks_a_slash_is_no_folder(tmp_path: Path) -> None:
    slipped = load(tmp_path, HEAD + JOBS + "output: {dir: 's3:/films/night'}\n")
    folder = load(tmp_path, HEAD + JOBS + "output: {dir: './s3:/films'}\n")

    assert slipped.only("bad-folder").hint == "write s3://films/night, or ./s3:/films/night for the folder"
    assert folder.problems == []


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("500 credits", "write the number alone: 500"),
        ("1_000", "write the number alone: 1000"),
        ("12,000", "write 12000"),
        ("'1,000'", "write the number alone: 1000"),
        ("'500'", "write it without quotes: 500"),
        ("a lot", ""),
    ],
)
def test_a_number_that_is_written_for_people_is_told_as_it_is_to_be_written(
    tmp_path: Path, written: str, hint: str
) -> None:
    loaded = load(tmp_path, HEAD + JOBS + f"budget: {{max_credits: {written}}}\n")

    assert [problem.hint for problem in loaded.problems] == [hint]
