"""References: uploaded once per file and model, used while fresh, and only ever what was planned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.imitation.faults import On, error_answer
from tests.imitation.fixtures import Bench, said
from tests.imitation.ledger import sha256
from tests.imitation.wire import Request


def uploaded(bench: Bench) -> Counter[tuple[str, str]]:
    """How often each file was uploaded for each model."""
    return Counter((row.what, row.model) for row in bench.service.ledger.uploads if row.status)


def test_a_file_is_uploaded_once_for_each_model_and_again_only_when_it_is_old(bench: Bench) -> None:
    bench.picture("a.png", "a")
    bench.picture("b.png", "b")
    bench.picture("copy-of-a.png", "a")
    jobs: list[dict[str, Any]] = [
        {"id": "1", "references": ["a.png"]},
        {"id": "2", "references": ["b.png"]},
        {"id": "3", "references": ["copy-of-a.png"]},
        {"id": "4", "references": ["a.png", "b.png"], "model": "nano-banana", "params": {}},
        {"id": "5", "references": ["a.png"]},
    ]
    bench.service.rule("upload", "drop_after")
    bench.service.rule("upload", "answer_before", answer=error_answer(429, "rate_limited"))
    prompts = bench.write(jobs)

    first = bench.run()
    once = {row.sha256 + row.model for row in bench.service.ledger.uploads if row.sha256}
    number = len(bench.service.ledger.uploads)
    prompts += bench.write([*jobs, {"id": "6", "references": ["b.png"]}])[-1:]
    soon = bench.run()
    reused = len(bench.service.ledger.uploads)
    prompts += bench.write(
        [*jobs, {"id": "6", "references": ["b.png"]}, {"id": "7", "references": ["b.png"]}]
    )[-1:]
    later = bench.run(env={"TEST_CLOCK_SHIFT_S": "7200"})

    assert (first.code, soon.code, later.code) == (0, 0, 0), said(first) + said(soon) + said(later)
    assert len(once) == 4, "a and b, for each of two models"
    assert number == 4 + 2, "one lost answer and one 429 are asked again"
    assert reused == number
    assert len(bench.service.ledger.uploads) == reused + 1
    bench.assert_whole(prompts)
    for post in bench.service.ledger.posts:
        for item in post.data["params"].get("referenceMediaItems", []):
            assert item["kind"] == "image"
            assert item["url"].startswith("http://127.0.0.1:")


def test_an_expired_reference_url_leads_to_a_fresh_upload_under_a_new_key(bench: Bench) -> None:
    """The refusal names the url, and no send of the old bytes was ever unclear: a new revision, one payment."""
    bench.picture("a.png")
    service = bench.service
    prompts = bench.write([{"id": "a", "references": ["a.png"]}, {"id": "b"}])
    service.observer = lambda on, _: service.expire_uploads() if on is On.SUBMIT and not paid() else None

    def paid() -> bool:
        return any(post.status == 400 for post in service.ledger.posts)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    refused, created = service.ledger.of(prompts[0])
    assert (refused.outcome, created.outcome) == ("refused", "created")
    assert refused.key != created.key
    assert refused.body != created.body
    assert sum(uploaded(bench).values()) == 2
    bench.assert_whole(prompts)


def test_an_expired_reference_behind_a_lost_answer_is_for_a_person(bench: Bench) -> None:
    """The first send may have been accepted: a new body under a new key could pay twice."""
    bench.picture("a.png")
    bench.write([{"id": "a", "references": ["a.png"]}])
    bench.service.rule("submit", "drop_before")
    seen: list[Request] = []

    def expire_at_the_second(on: On, request: Request) -> None:
        if on is On.SUBMIT:
            seen.append(request)
            if len(seen) == 2:
                bench.service.expire_uploads()

    bench.service.observer = expire_at_the_second

    outcome = bench.run()

    assert outcome.code == 3, said(outcome)
    assert bench.states() == {"uncertain": 1}
    assert len({post.key for post in bench.service.ledger.posts}) == 1


def test_only_what_was_planned_is_uploaded(bench: Bench) -> None:
    """Jobs whose files change or vanish after the plan are not sent; the next run plans them as they are then."""
    for name in "abc":
        bench.picture(f"{name}.png", name)
    before = {sha256(bench.manifest.with_name(f"{name}.png").read_bytes()) for name in "abc"}
    jobs = [{"id": name, "references": [f"{name}.png"]} for name in "abc"]
    prompts = bench.write(jobs, limits={"uploads": 1})

    def meddle(on: On, _: Request) -> None:
        if on is On.UPLOAD and len(bench.service.ledger.uploads) == 1:
            bench.picture("b.png", "another picture")
            bench.manifest.with_name("c.png").unlink()

    bench.service.observer = meddle
    first = bench.run()
    bench.service.observer = None
    states = dict(bench.rows())
    sent = {row.sha256 for row in bench.service.ledger.uploads}
    gone = bench.run()
    bench.picture("c.png", "c")
    after = bench.run()

    assert first.code == 3, said(first)
    assert states["a"] == "done"
    assert {states["b"], states["c"]} <= {"planned", "uploading"}
    assert "next: rivya-batch run" in first.stderr
    assert "rivya-batch retry" not in first.stderr
    assert sent <= before
    assert (gone.code, "c.png" in gone.stderr) == (2, True), said(gone)
    assert after.code == 0, said(after)
    assert bench.service.ledger.paid == Counter(prompts)


def test_a_file_with_the_wrong_ending_is_uploaded_under_the_right_one(bench: Bench) -> None:
    webp = Path(__file__).parents[1] / "fixtures" / "media" / "still.webp"
    (bench.manifest.parent / "a.png").write_bytes(webp.read_bytes())
    bench.write([{"id": "a", "references": ["a.png"]}])

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    (item,) = bench.service.ledger.posts[0].data["params"]["referenceMediaItems"]
    assert (item["name"], item["mimeType"]) == ("a.webp", "image/webp")
