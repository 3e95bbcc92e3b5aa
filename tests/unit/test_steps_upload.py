"""The upload step: what an answer to an upload means, and what it leaves behind."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.lifecycle.rules import Failure
from runner.model import Kind, Reference, Sha256, State
from runner.service.protocol import FailureClass, Meaning
from runner.service.rivya.answers import read_upload
from runner.steps import upload as uploading
from runner.store import jobs
from tests.world import LOST, MODEL, NO_CONNECTION, Said, World, accepted, job, reference, refused, rows

pytestmark = pytest.mark.anyio

CONTENT = b"\x89PNG\r\n\x1a\n a picture"


@pytest.fixture
def picture(tmp_path: Path) -> Reference:
    file = tmp_path / "a.png"
    file.write_bytes(CONTENT)
    return Reference(
        path="a.png",
        file=file,
        kind=Kind.IMAGE,
        mime="image/png",
        size_bytes=len(CONTENT),
        sha256=Sha256(hashlib.sha256(CONTENT).hexdigest()),
    )


async def uploads(world: World, item: Reference, answer: Said) -> uploading.Uploaded:
    found = world.job("a")
    # Uploads are no submits: the world keeps those by their key.
    world.says(answer)
    world.sent.clear()
    result: uploading.Uploaded | BaseException
    async with world.context() as context:
        try:
            result = await uploading.upload(context, item, uploading.needed(item, found))
        except Exception as exc:
            result = exc
    if isinstance(result, BaseException):
        raise result
    return result


async def fresh(world: World) -> bool:
    async with world.context() as context:
        return uploading.fresh_copies(world.file.conn, context, world.job("a")) is not None


def told(**fields: Any) -> httpx.Response:
    return httpx.Response(201, json=fields)


async def test_an_uploaded_file_is_remembered_for_the_job(picture: Reference) -> None:
    world = World.of(job("a", references=[picture]))
    assert not await fresh(world)

    done = await uploads(world, picture, told(url="https://f/1", id="file_1", duration_token="tok"))

    assert done.copy is not None
    assert (done.copy.url, done.copy.file_id, done.copy.duration_token) == ("https://f/1", "file_1", "tok")
    assert await fresh(world)
    assert CONTENT in world.last_body


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (LOST, Meaning.UNCLEAR),
        (NO_CONNECTION, Meaning.NEVER_LEFT),
        (refused(429), Meaning.RATE_LIMITED),
        (refused(401, "api_key_revoked"), Meaning.KEY_REFUSED),
        (refused(503, "public_api_disabled"), Meaning.DISABLED),
        (httpx.Response(502), Meaning.UNCLEAR),
        (httpx.Response(200, text="<html>"), Meaning.UNCLEAR),
        (told(), Meaning.UNCLEAR),
        (told(url=None), Meaning.UNCLEAR),
        (told(url="http://f/1"), Meaning.UNCLEAR),
        (told(url="file:///etc/passwd"), Meaning.UNCLEAR),
        (told(url="https://[oops"), Meaning.UNCLEAR),
        (told(url="https://"), Meaning.UNCLEAR),
    ],
)
async def test_an_upload_without_a_usable_answer_is_no_copy_and_no_failure(
    picture: Reference, answer: Said, meaning: Meaning
) -> None:
    world = World.of(job("a", references=[picture]))

    done = await uploads(world, picture, answer)

    assert (done.copy, done.failure, done.answer.meaning) == (None, None, meaning)
    assert rows(world.file, "SELECT * FROM uploads") == []


@pytest.mark.parametrize(("status", "cls"), [(400, "validation"), (413, "validation"), (415, "validation")])
async def test_a_refused_file_is_a_failure_in_plain_words(picture: Reference, status: int, cls: str) -> None:
    world = World.of(job("a", references=[picture]))

    done = await uploads(world, picture, refused(status, "validation_failed", "too blue"))

    assert done.failure is not None
    assert done.failure.cls == FailureClass(cls)
    assert "a.png" in done.failure.message
    assert "too blue" in done.failure.message


@pytest.mark.parametrize("status", [413, 415])
async def test_a_file_that_a_gateway_does_not_let_through_is_not_sent_for_ever(
    picture: Reference, status: int
) -> None:
    world = World.of(job("a", references=[picture]))

    done = await uploads(world, picture, httpx.Response(status, html="<h1>Request Entity Too Large</h1>"))

    assert done.failure is not None
    assert f"a.png was refused at upload: HTTP {status}" in done.failure.message


async def test_a_file_that_changed_since_it_was_planned_is_not_sent(picture: Reference) -> None:
    world = World.of(job("a", references=[picture]))
    picture.file.write_bytes(CONTENT[::-1])

    with pytest.raises(uploading.REFERENCE_ERRORS):
        await uploads(world, picture, told(url="https://f/1"))

    assert world.script, "nothing was asked of the service"


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ({"duration_seconds": 6.5}, 6.5),
        ({"duration_seconds": "6.5"}, None),
        ({"duration_seconds": True}, None),
        ({"duration_seconds": float("nan")}, None),
        ({"duration_seconds": float("inf")}, None),
        ({"duration_seconds": 10**400}, None),
        ({"duration_seconds": -1}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_duration_is_taken_only_where_a_body_can_hold_it(
    data: dict[str, Any], seconds: float | None
) -> None:
    found = read_upload({"url": "https://f/1", **data}, base_url="https://rivya.ai", now="")

    assert found is not None
    assert found.duration_s == seconds


@pytest.mark.parametrize(
    ("data", "url"),
    [
        ({"url": "https://f/1"}, "https://f/1"),
        ({"file": {"url": "https://f/1"}}, "https://f/1"),
        ({"file": "x", "url": "https://f/1"}, "https://f/1"),
        ({"file": None, "data": {"url": "https://f/1"}}, "https://f/1"),
        ({"file": {"url": "https://inner"}, "url": "https://outer"}, "https://outer"),
        ({"url": ["https://f/1"]}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_file_object_is_read_leniently(data: Any, url: str | None) -> None:
    found = read_upload(data, base_url="https://rivya.ai", now="")

    assert (found.url if found else None) == url


def test_plain_http_is_for_loopback() -> None:
    data = {"url": "http://127.0.0.1:1/f"}

    assert read_upload(data, base_url="http://127.0.0.1:1", now="") is not None
    assert read_upload(data, base_url="https://rivya.ai", now="") is None


async def test_a_reference_that_cannot_be_uploaded_ends_only_what_was_never_sent() -> None:
    item = reference("a.png")
    world = World.of(job("a", references=[item]), job("b", references=[item]))
    world.uploaded(item, "https://f/1")
    await world.submits("b", accepted("t1"))
    failure = Failure(cls=FailureClass.VALIDATION, code="file_too_large", message="a.png is too large")
    async with world.context() as context:
        for name in ("a", "b"):
            await context.writer.write(
                partial(
                    uploading.fail_for_reference, context=context, row=world.job(name).row, failure=failure
                )
            )

    assert (world.state("a"), world.state("b")) == (State.FAILED, State.WAITING)
    assert world.job("a").error_code == "file_too_large"
    assert world.credits() == (0, 10)


async def test_a_copy_serves_every_job_with_the_same_content_and_model() -> None:
    here, there = reference("here.png", "same"), reference("there.png", "same")
    world = World.of(
        job("a", references=[here]), job("b", references=[there]), job("c", references=[here], model="m")
    )
    world.uploaded(here, "https://f/1")

    async with world.context() as context:
        missing = {name: uploading.missing(world.file.conn, context, world.job(name)) for name in "abc"}

    assert missing == {"a": [], "b": [], "c": [here]}
    assert jobs.find(world.file.conn, "autumn", "c")[0].model != MODEL
