"""What was seen of a service: kept whole, read leniently, and acted on only where it is known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.api.checks.verdicts import life_of, updated_at
from runner.api.checks.watch import Exchange
from runner.service.protocol import Answer, Meaning, TaskStatus, TaskView
from runner.service.rivya.open_questions import OPEN_QUESTIONS
from runner.service.seen import FILE, Fact, SeenService, read, save

AT = "2026-11-30T08:00:00Z"
NOW_S = 1_790_000_000.0


def fact(key: str, value: str) -> Fact:
    return Fact(key=key, value=value, words=f"{value} it is", at=AT)


def test_nothing_is_acted_on_before_it_was_seen(tmp_path: Path) -> None:
    seen = read(tmp_path, "https://rivya.ai")

    assert (seen.repeats_are_paid, seen.tells_ends, seen.has_ranges) == (False, True, True)


def test_what_is_saved_is_kept_beside_what_was_and_beside_other_services(tmp_path: Path) -> None:
    save(tmp_path, "https://rivya.ai", [fact("same_key", "another task"), fact("ranges", "yes")])
    save(tmp_path, "sandbox:", [fact("ranges", "no")])
    path = save(tmp_path, "https://rivya.ai", [fact("ranges", "no"), fact("updated_at", "not the end")])

    seen = read(tmp_path, "https://rivya.ai")
    assert (seen.repeats_are_paid, seen.tells_ends, seen.has_ranges) == (True, False, False)
    assert seen.facts["same_key"] == fact("same_key", "another task")
    assert [*read(tmp_path, "sandbox:").facts] == ["ranges"]
    assert [each.name for each in path.parent.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"services": 3}', '{"services": {"s": {"ranges": 1, "x": {}}}}']
)
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)

    assert read(tmp_path, "s") == SeenService({})


def test_each_open_question_has_a_key_of_its_own() -> None:
    assert len({question.key for question in OPEN_QUESTIONS}) == len(OPEN_QUESTIONS)


@pytest.mark.parametrize(
    ("query", "life_s"),
    [
        ("X-Amz-Date=20261130T080000Z&X-Amz-Expires=900&X-Amz-Signature=aa", 900.0),
        ("x-goog-expires=60", 60.0),
        (f"Expires={int(NOW_S) + 30}&Signature=b", 30.0),
        (f"exp={int(NOW_S + 120) * 1000}", 120.0),
        (f"exp={int(NOW_S) - 5}", 0.0),
        ("se=" + datetime.fromtimestamp(NOW_S + 45, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), 45.0),
        ("sig=123456789", None),
        ("X-Amz-Expires=soon&e=7", None),
        ("", None),
    ],
)
def test_how_long_a_url_lives_is_read_from_itself(query: str, life_s: float | None) -> None:
    assert life_of(f"https://media.example/a.mp4?{query}", NOW_S) == life_s


def test_a_url_that_is_none_names_no_end() -> None:
    assert life_of("http://[", NOW_S) is None


def told(at_s: float, status: TaskStatus, updated_s: float | None) -> Exchange:
    """A poll answered `at_s` seconds after a beginning, by which a task was changed `updated_s` seconds after it."""
    stamp = None if updated_s is None else datetime.fromtimestamp(NOW_S + updated_s, UTC).isoformat()
    ended = status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
    task = TaskView(
        id="t", status=status, word=status.value, model=None, reserved=None, final=None, urls=(), code="",
        message="", created_at=None, updated_at=stamp, under_way=not ended,
    )  # fmt: skip
    at = NOW_S + at_s
    return Exchange(call="poll", answer=Answer(meaning=Meaning.OK, task=task), began_s=at, ended_s=at)


RUNS, ENDED = TaskStatus.PROCESSING, TaskStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("end", "again", "value"),
    [
        (told(20, ENDED, 12), told(23, ENDED, 12), "the end"),
        (told(20, ENDED, 19), told(23, ENDED, 19), None),  # as if it was made up by the question
        (told(20, ENDED, 19), told(23, ENDED, 22), "not the end"),
        (told(20, ENDED, 3), told(23, ENDED, 3), "not the end"),  # it was under way after 10 s
        (told(20, ENDED, 30), told(23, ENDED, 30), "not the end"),
        (told(20, ENDED, None), told(23, ENDED, None), "absent"),
        (told(20, ENDED, 12), None, None),
    ],
)
def test_when_a_time_is_that_of_the_end(end: Exchange, again: Exchange | None, value: str | None) -> None:
    found = updated_at([told(2, RUNS, 1), told(10, RUNS, 1), end], again)

    assert (found and found[0]) == value
