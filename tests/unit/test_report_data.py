"""What a report says of a manifest, and the urls it finds the results by."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from runner.errors import UsageError
from runner.reports.data import Invocation, Report, collect, relative_url
from runner.store.database import StateDatabase
from tests import report_rows
from tests.report_rows import AUDIO, BEGAN_S, Row, add

FAILED = ("generation", "internal_error", "the task failed")

state = report_rows.state


def report_of(state: StateDatabase, tmp_path: Path, *rows: Row) -> Report:
    add(state, "night", rows)
    return collect(
        state.conn,
        "night",
        output_dir=tmp_path / "out",
        written_at="2026-11-22T20:00:00Z",
        invocation=Invocation(manifest="my night.yaml"),
    )


def test_counts_are_of_listed_jobs_and_credits_of_everything_ever_paid(
    state: StateDatabase, tmp_path: Path
) -> None:
    report = report_of(
        state,
        tmp_path,
        Row(id="a", charges=(10.0, 12.0)),
        Row(id="b", model=AUDIO, charges=(1.5,)),
        Row(id="c", state="waiting", duration_s=None),
        Row(id="d", state="planned", charges=(), submitted_s=None, duration_s=None),
        Row(id="gone", listed=False, charges=(7.0,)),
    )

    assert report.counts == {"done": 2, "waiting": 1, "planned": 1}
    assert report.orphaned == 1
    assert (report.charged, report.reserved) == (30.5, 10.0)
    assert {line.model: line.charged for line in report.credits} == {"grok-imagine-video": 29.0, AUDIO: 1.5}
    assert report.categories == {"grok-imagine-video": "video", AUDIO: "audio"}
    by_id = {job.id: job for job in report.jobs}
    assert (by_id["a"].charged, by_id["a"].round) == (22.0, 2)
    assert by_id["d"].charged is None
    assert by_id["a"].finished_s == BEGAN_S + 60


def test_a_run_tells_its_requests_and_rejections(state: StateDatabase, tmp_path: Path) -> None:
    [run] = report_of(state, tmp_path).runs

    assert (run.requests, run.rejections, run.seconds, run.exit_code) == (203, 2, 3600.5, 3)


def test_a_run_that_was_killed_tells_nothing_it_does_not_know(state: StateDatabase, tmp_path: Path) -> None:
    with state.transaction() as conn:
        conn.execute("UPDATE runs SET stats = '{}', ended_at = NULL, exit_code = NULL")

    [run] = report_of(state, tmp_path).runs

    assert (run.requests, run.seconds, run.exit_code) == (None, None, None)


def test_failures_are_grouped_and_each_group_names_the_command_for_it(
    state: StateDatabase, tmp_path: Path
) -> None:
    report = report_of(
        state,
        tmp_path,
        Row(id="a", state="failed", error=FAILED),
        Row(id="b", state="failed", error=FAILED),
        Row(id="c", state="failed", error=("policy", "moderation", "refused")),
        Row(id="d", state="failed", error=FAILED, listed=False),
        Row(id="f", state="downloading", error=("stuck", "no_result", "the service names no result")),
        Row(id="g", state="waiting", overdue=True),
        Row(id="e", state="uncertain", listed=False, error=("other", "removed", "removed while being sent")),
    )

    told = [(group.state, group.error_class, group.count, group.command) for group in report.failures]
    assert told == [
        ("failed", "generation", 2, "rivya-batch retry 'my night.yaml' --class generation"),
        (
            "downloading",
            "no_result",
            1,
            "rivya-batch run 'my night.yaml', or rivya-batch resolve 'my night.yaml' JOB --accept | --abandon,"
            " or rivya-batch retry 'my night.yaml' --only JOB",
        ),
        ("failed", "policy", 1, "rivya-batch retry 'my night.yaml' --class policy"),
        (
            "uncertain",
            "other",
            1,
            "rivya-batch resolve 'my night.yaml' JOB --resend | --attach TASK_ID | --abandon",
        ),
    ]


def test_options_end_up_in_every_command() -> None:
    invocation = Invocation(manifest="a.yaml", options=("--sandbox",))

    assert invocation.command("retry", "--only", "x y") == "rivya-batch retry a.yaml --only 'x y' --sandbox"


@pytest.mark.parametrize(
    "name",
    [
        "plain.mp4",
        "a b.mp4",
        "50%.mp4",
        "a#1?.mp4",
        "c:d.mp4",
        "Schöne Grüße/雪.png",
        "x'\"<>&.mp4",
        "-+2.mp4",
    ],
)
def test_a_url_leads_back_to_the_file_whatever_its_name(tmp_path: Path, name: str) -> None:
    url = relative_url(str(tmp_path / name), tmp_path)

    assert unquote(url) == name
    assert not set(url) & set(" #?:%\"'<>&") - {"%"}
    assert "%%" not in url


def test_files_elsewhere_are_reached_by_a_relative_url(state: StateDatabase, tmp_path: Path) -> None:
    reference = {
        "path": "assets/my hero.png",
        "file": str(tmp_path / "assets" / "my hero.png"),
        "kind": "image",
        "mime": "image/png",
        "size_bytes": 12,
        "sha256": "0" * 64,
    }
    [job] = report_of(
        state,
        tmp_path,
        Row(id="a", files=[(tmp_path / "out" / "a.mp4", "video/mp4")], references=[reference]),
    ).jobs

    assert [item.url for item in job.files] == ["a.mp4"]
    assert [(item.url, item.name) for item in job.references] == [
        ("../assets/my%20hero.png", "assets/my hero.png")
    ]


def test_a_result_that_was_superseded_is_not_shown(state: StateDatabase, tmp_path: Path) -> None:
    [job] = report_of(state, tmp_path, Row(id="a", files=[(Path("/gone.mp4"), "video/mp4")])).jobs[:1]
    with state.transaction() as conn:
        conn.execute("UPDATE artifacts SET path = ''")

    after = collect(state.conn, "night", output_dir=tmp_path, written_at="")

    assert job.files
    assert not after.jobs[0].files


def test_numbers_a_browser_would_change_become_text(state: StateDatabase, tmp_path: Path) -> None:
    [job] = report_of(
        state, tmp_path, Row(id="a", params={"seed": 12345678901234567890, "n": 7, "strength": float("nan")})
    ).jobs

    assert job.params == {"seed": "12345678901234567890", "n": 7, "strength": "NaN"}


def test_a_manifest_that_was_never_run_is_said_to_be_so(state: StateDatabase, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="never been run"):
        collect(state.conn, "other", output_dir=tmp_path, written_at="")
