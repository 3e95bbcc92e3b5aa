"""The sandbox behaves as the documentation of the API says, and keeps its ledger right."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from runner.sandbox import options as options_module
from runner.sandbox.options import Price, SandboxOptions, parse_options
from tests.contract.sandbox_inside import GROK, MP4, PNG, code, inside

pytestmark = pytest.mark.anyio

OTHER = "rvya_sk_someone_else"
VOICE = "TX3LPaxmHKxFdv7VOQHJ"


async def test_a_task_lives_from_queued_to_succeeded_and_is_charged_once() -> None:
    async with inside(durations_s=(10, 10)) as sandbox:
        created = await sandbox.submit(key="k")
        body = created.json()
        assert created.status_code == 201
        assert set(body) == {
            "id", "status", "model", "reserved_credits", "final_credits", "created_at", "updated_at",
            "result", "error",
        }  # fmt: skip
        assert (body["status"], body["reserved_credits"], body["final_credits"]) == ("queued", 10, 0)
        assert body["created_at"].endswith("Z")

        await sandbox.control("advance", {"seconds": 5})
        assert (await sandbox.poll(body["id"])).json()["status"] == "processing"
        await sandbox.control("advance", {"seconds": 6})
        ended = (await sandbox.poll(body["id"])).json()

        assert (ended["status"], ended["final_credits"], ended["error"]) == ("succeeded", 10, None)
        assert ended["result"]["primary_url"] == ended["result"]["urls"][0]
        assert await sandbox.credits() == 99_990
        ledger = await sandbox.control("ledger")
        assert (ledger["charged"], ledger["refunded"], ledger["paid_twice"]) == (10, 0, [])


async def test_the_same_key_and_body_is_the_same_task_and_another_body_a_conflict() -> None:
    async with inside() as sandbox:
        first = await sandbox.submit(key="k")
        again = await sandbox.submit(key="k")
        other = await sandbox.submit({**GROK, "prompt": "another"}, key="k")
        elsewhere = await sandbox.submit(key="k", account=OTHER)

        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert code(other) == (409, "idempotency_conflict")
        assert elsewhere.json()["id"] != first.json()["id"], "keys belong to an account"
        ledger = await sandbox.control("ledger")
        assert [(t["submits_seen"], t["reserved"]) for t in ledger["tasks"]] == [(2, 10), (1, 10)]


async def test_a_replay_can_answer_with_the_present_state() -> None:
    async with inside(replay="current") as sandbox:
        await sandbox.submit(key="k")
        await sandbox.control("advance", {"seconds": 60})
        assert (await sandbox.submit(key="k")).json()["status"] == "succeeded"


async def test_a_forgotten_key_is_charged_again_and_the_ledger_says_so() -> None:
    async with inside(key_retention_s=3600) as sandbox:
        body = {**GROK, "client_request_id": "job-1"}
        await sandbox.submit(body, key="k")
        await sandbox.control("advance", {"seconds": 3601})
        assert (await sandbox.submit(body, key="k")).status_code == 201

        ledger = await sandbox.control("ledger")
        assert ledger["paid_twice"] == ["job-1"]
        assert list(ledger["same_content"].values()) == [2]


async def test_without_a_key_every_send_is_a_task() -> None:
    async with inside() as sandbox:
        assert (await sandbox.submit()).json()["id"] != (await sandbox.submit()).json()["id"]


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, "api_key_missing"),
        ("Bearer ", "api_key_missing"),
        ("Basic abc", "api_key_missing"),
        ("Bearer nonsense", "api_key_invalid"),
        ("Bearer rvya_sk_", "api_key_invalid"),
    ],
)
async def test_a_missing_or_malformed_key_is_refused(authorization: str | None, expected: str) -> None:
    async with inside() as sandbox:
        headers = {} if authorization is None else {"authorization": authorization}
        for method, path in (
            ("GET", "credits"),
            ("POST", "generations"),
            ("POST", "files"),
            ("GET", "files/x"),
        ):
            answer = await sandbox.http.request(method, f"/api/v1/{path}", headers=headers)
            assert code(answer) == (401, expected)


async def test_named_keys_shut_out_others_and_can_share_an_account() -> None:
    async with inside(keys={"rvya_sk_a": "acme", "rvya_sk_b": "acme"}) as sandbox:
        task = (await sandbox.submit(account="rvya_sk_a")).json()
        assert (await sandbox.poll(task["id"], account="rvya_sk_b")).status_code == 200
        assert code(await sandbox.submit(account=OTHER)) == (401, "api_key_invalid")


async def test_a_task_or_file_of_another_account_is_not_found() -> None:
    async with inside() as sandbox:
        task, file = (await sandbox.submit()).json(), (await sandbox.upload()).json()
        assert code(await sandbox.poll(task["id"], account=OTHER)) == (404, "not_found")
        assert code(await sandbox.get(f"/api/v1/files/{file['id']}", account=OTHER)) == (404, "not_found")
        assert code(await sandbox.poll("task_unknown")) == (404, "not_found")
        assert (await sandbox.get(f"/api/v1/files/{file['id']}")).json() == file


async def test_what_is_not_imitated_is_not_found() -> None:
    async with inside() as sandbox:
        assert code(await sandbox.get("/api/v1/webhooks")) == (404, "not_found")
        assert code(await sandbox.get("/api/v1/chat/sessions")) == (404, "not_found")
        assert (await sandbox.get("/api/v1/generations")).status_code == 405


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"model": "grok-imagine-vide", "prompt": "a"},
        {"model": 1, "prompt": "a"},
        {"model": "grok-imagine-video"},
        {**GROK, "prompt": " "},
        {**GROK, "prompt": None},
        {**GROK, "prompt": "a" * 5001},
        {**GROK, "files": []},
        {**GROK, "extra": 1},
        {**GROK, "client_request_id": 5},
        {**GROK, "params": []},
        {**GROK, "params": {"aspect_ratio": 969}},
        {**GROK, "params": {"aspect_ratio": "5:4"}},
        {**GROK, "params": {"duration": "6"}},
        {**GROK, "params": {"duration": True}},
        {**GROK, "params": {"duration": 5}},
        {**GROK, "params": {"duration": 6.5}},
        {**GROK, "params": {"duration": 31}},
        {**GROK, "params": {"lighting": "soft"}},
        {"model": "kling-3-0", "prompt": "a", "params": {"duration": 5}},
        {"model": "elevenlabs-turbo-2-5", "prompt": "a"},
        {"model": "elevenlabs-turbo-2-5", "prompt": "a", "params": {}},
        {"model": "elevenlabs-dialogue-v3", "params": {"dialogue": []}},
        {"model": "elevenlabs-dialogue-v3", "params": {"dialogue": [{"voice": "Adam"}]}},
        {**GROK, "params": {"referenceMediaItems": {}}},
        {**GROK, "params": {"referenceMediaItems": ["https://x.example/a.png"]}},
        {**GROK, "params": {"referenceMediaItems": [{"url": "https://x.example/a.png", "kind": "image"}]}},
    ],
)
async def test_an_invalid_body_is_refused_and_costs_nothing(body: object) -> None:
    async with inside() as sandbox:
        answer = await sandbox.http.post(
            "/api/v1/generations", json=body, headers={"authorization": "Bearer rvya_sk_a"}
        )
        assert code(answer) == (400, "validation_failed")
        assert (await sandbox.control("ledger"))["charged"] == 0


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b'{"model": NaN}', b"[" * 100_000, b'{"model":"z-image","prompt":"\\ud800"}'],
)
async def test_a_body_that_is_not_json_is_refused(raw: bytes) -> None:
    async with inside() as sandbox:
        headers = {"authorization": "Bearer rvya_sk_a", "content-type": "application/json"}
        answer = await sandbox.http.post("/api/v1/generations", content=raw, headers=headers)
        assert code(answer) == (400, "validation_failed")


@pytest.mark.parametrize(
    "body",
    [
        {"model": "z-image", "prompt": "ü" * 1000},
        {"model": "seedance-1-0-pro", "prompt": "a", "params": {"unheard_of": 1}},  # an incomplete contract
        {"model": "elevenlabs-dialogue-v3", "params": {"dialogue": [{"voice": "Adam", "text": "Hello"}]}},
        {"model": "elevenlabs-turbo-2-5", "prompt": "a", "params": {"voice": VOICE, "speed": 0.85}},
        {**GROK, "params": {"duration": 6.0}, "client_request_id": "x"},
    ],
)  # fmt: skip
async def test_a_valid_body_is_accepted(body: dict[str, object]) -> None:
    async with inside() as sandbox:
        answer = await sandbox.submit(body)
        assert answer.status_code == 201, answer.text


async def test_a_reference_must_be_an_unexpired_upload_of_the_same_account_and_kind() -> None:
    async with inside(file_ttl_s=60) as sandbox:
        mine = (await sandbox.upload(model="grok-imagine-video")).json()
        theirs = (await sandbox.upload(account=OTHER)).json()

        def body(url: str, kind: str = "image", number: int = 1) -> dict[str, object]:
            return {**GROK, "params": {"referenceMediaItems": [{"url": url, "kind": kind}] * number}}

        assert (await sandbox.submit(body(mine["url"]))).status_code == 201
        for wrong in (body(theirs["url"]), body(mine["url"], "video"), body(mine["url"], number=2)):
            assert code(await sandbox.submit(wrong)) == (400, "validation_failed")
        await sandbox.control("advance", {"seconds": 61})
        expired = await sandbox.submit(body(mine["url"]))
        assert code(expired) == (400, "validation_failed")
        assert "url" in expired.json()["error"]["message"]


async def test_a_video_reference_needs_its_duration_token() -> None:
    async with inside() as sandbox:
        file = (await sandbox.upload(MP4, "video", model="wan-2-6")).json()
        item = {"url": file["url"], "kind": "video"}
        body = {"model": "wan-2-6", "prompt": "a", "params": {"referenceMediaItems": [item]}}
        assert code(await sandbox.submit(body)) == (400, "validation_failed")
        item["durationToken"] = file["duration_token"]
        assert (await sandbox.submit(body)).status_code == 201


@pytest.mark.parametrize(
    ("content", "kind", "fields"),
    [
        (b"", "image", {}),
        (b"just text, whatever its name", "image", {}),
        (MP4, "image", {}),
        (PNG, "video", {}),
        (PNG, "picture", {}),
        (PNG, "image", {"model": "unknown"}),
        (PNG, "image", {"model": "z-image"}),  # takes no files
        (MP4, "video", {"model": "grok-imagine-video"}),
        (PNG, "image", {"client_request_id": "x" * 129}),
        (PNG, "image", {"colour": "red"}),
        (PNG + bytes(10 * 1024 * 1024), "image", {"model": "grok-imagine-video"}),
    ],
)
async def test_an_unfit_upload_is_refused(content: bytes, kind: str, fields: dict[str, str]) -> None:
    async with inside() as sandbox:
        assert code(await sandbox.upload(content, kind, **fields)) == (400, "validation_failed")
        assert await sandbox.control("files") == []


async def test_the_hash_of_an_upload_can_be_looked_up() -> None:
    async with inside() as sandbox:
        await sandbox.upload(PNG)
        (file,) = await sandbox.control("files")
        assert (file["size_bytes"], file["mime_type"]) == (len(PNG), "image/png")
        assert file["sha256"] == hashlib.sha256(PNG).hexdigest()


async def test_prices_factors_and_rules_decide_what_is_reserved() -> None:
    prices = (
        Price(model="z-image", credits=3),
        Price(model="z-image", credits=7.5, params={"aspect_ratio": "16:9"}),
    )
    async with inside(prices=prices, price_factor=2) as sandbox:
        plain = await sandbox.submit({"model": "z-image", "prompt": "a"})
        wide = await sandbox.submit({"model": "z-image", "prompt": "a", "params": {"aspect_ratio": "16:9"}})
        assert [a.json()["reserved_credits"] for a in (plain, wide)] == [6, 15]


@pytest.mark.parametrize(("kept", "balance"), [(False, 100), (True, 90)])
async def test_a_failed_task_is_refunded_unless_told_otherwise(kept: bool, balance: int) -> None:
    rule = {"on": "task", "do": "task_fails", "code": "moderated"}
    async with inside(credits=100, faults=(rule,), failed_charge=kept) as sandbox:
        ended = await sandbox.finished()
        assert (ended["status"], ended["error"]["code"], ended["result"]) == ("failed", "moderated", None)
        assert ended["final_credits"] == 100 - balance
        assert await sandbox.credits() == balance


@pytest.mark.parametrize("status", ["402", "400", "403", "409"])
async def test_an_empty_account_is_refused_until_it_is_topped_up(status: str) -> None:
    async with inside(credits=15, insufficient=status) as sandbox:
        await sandbox.submit(key="a")
        assert code(await sandbox.submit(key="b")) == (int(status), "insufficient_credits")
        await sandbox.control("topup", {"credits": 5})
        assert (await sandbox.submit(key="b")).status_code == 201
        assert await sandbox.credits() == 0


async def test_an_empty_account_can_answer_with_a_failed_task_for_ever() -> None:
    async with inside(credits=5, insufficient="task") as sandbox:
        first = (await sandbox.submit(key="a")).json()
        assert (first["status"], first["error"]["code"]) == ("failed", "insufficient_credits")
        await sandbox.control("topup", {"credits": 100})
        assert (await sandbox.submit(key="a")).json() == first
        assert (await sandbox.control("ledger"))["charged"] == 0


async def test_credits_add_up_whatever_happens() -> None:
    rules = (
        {"on": "task", "do": "task_fails", "times": 2},
        {"on": "task", "do": "price", "factor": 4, "after": 2, "times": 1},
        {"on": "task", "do": "final_price", "factor": 1.5, "after": 3, "times": 1},
    )
    async with inside(faults=rules) as sandbox:
        for number in range(6):
            await sandbox.submit(key=str(number))
        await sandbox.control("advance", {"seconds": 60})
        ledger = await sandbox.control("ledger")
        assert [task["final"] for task in ledger["tasks"]] == [0, 0, 40, 15, 10, 10]
        assert ledger["granted"] - ledger["charged"] + ledger["refunded"] == ledger["balance"] == 99_925


async def test_what_is_told_of_a_price_may_have_little_to_do_with_it() -> None:
    rules = (
        {"on": "task", "do": "told_reserved", "times": 1},
        {"on": "task", "do": "price", "credits": 40, "times": 1},
        {"on": "task", "do": "final_zero", "after": 1},
    )
    async with inside(faults=rules) as sandbox:
        told = [(await sandbox.submit(key=str(number))).json() for number in range(2)]
        await sandbox.control("advance", {"seconds": 60})
        ends = [(await sandbox.poll(task["id"])).json() for task in told]
        ledger = await sandbox.control("ledger")
    assert [task["reserved_credits"] for task in (*told, *ends)] == [1, 10, 1, 10]
    assert [task["final_credits"] for task in ends] == [40, 0]
    assert [task["final"] for task in ledger["tasks"]] == [40, 10]


async def test_too_many_tasks_at_once_are_refused_and_the_most_is_remembered() -> None:
    async with inside(max_in_flight=2, durations_s=(10, 10)) as sandbox:
        answers = [await sandbox.submit() for _ in range(3)]
        assert code(answers[2]) == (429, "rate_limited")
        await sandbox.control("advance", {"seconds": 11})
        assert (await sandbox.submit()).status_code == 201
        assert (await sandbox.control("ledger"))["max_in_flight_seen"] == 2


async def test_the_rate_limit_counts_submits_polls_and_uploads_together_but_not_downloads() -> None:
    async with inside(rate=3 / 36_000, rate_kind="log", rate_window_s=36_000) as sandbox:
        task = (await sandbox.submit()).json()
        sandbox.service.advance(60)
        url = (await sandbox.poll(task["id"])).json()["result"]["primary_url"]
        await sandbox.upload()
        refused = await sandbox.get("/api/v1/credits")
        assert code(refused) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await sandbox.get("/api/v1/credits", account=OTHER)).status_code == 200
        assert (await sandbox.http.get(url)).status_code == 200
        assert (await sandbox.http.get("/api/v1/models")).status_code == 200


async def test_reset_begins_anew() -> None:
    async with inside() as sandbox:
        await sandbox.submit(key="a")
        await sandbox.control("faults", {"on": "submit", "do": "500"})
        await sandbox.control("reset", {})
        assert (await sandbox.submit(key="a")).status_code == 201
        assert len((await sandbox.control("ledger"))["tasks"]) == 1


async def test_control_does_not_answer_a_page_from_elsewhere() -> None:
    async with inside() as sandbox:
        for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
            answer = await sandbox.http.get("/_sandbox/ledger", headers=headers)
            assert answer.status_code == 403


async def test_durations_follow_the_seed() -> None:
    ends = []
    for seed in (1, 1, 2):
        async with inside(seed=seed, durations_s=(0, 1000)) as sandbox:
            await sandbox.submit(key="a")
            (task,) = sandbox.service.storage.tasks()
            ends.append(round(task.ends_at - task.created_at, 6))
    assert ends[0] == ends[1] != ends[2]


async def test_hostile_keys_and_texts_are_kept_as_they_are() -> None:
    async with inside() as sandbox:
        text = "a\x00b</script>\u202e" + "😀" * 300
        answer = await sandbox.submit({**GROK, "prompt": text, "client_request_id": text}, key="k" * 300)
        assert answer.status_code == 201
        (task,) = (await sandbox.control("ledger"))["tasks"]
        assert (task["prompt"], task["client_request_id"]) == (text, text)


async def test_flags_become_options() -> None:
    flags = (
        "--duration 3 --duration z-image=1:2 --price z-image[aspect_ratio=16:9]=4 --key rvya_sk_a=acme "
        "--rate 20 --faults lost-answers --chaos 0.2"
    )
    options = parse_options(flags.split())
    assert options.durations_s == (3, 3)
    assert options.model_durations_s == {"z-image": (1, 2)}
    assert options.prices == (Price(model="z-image", credits=4, params={"aspect_ratio": "16:9"}),)
    assert (options.keys, options.rate, options.chaos) == ({"rvya_sk_a": "acme"}, 20, 0.2)
    assert options.faults[0]["do"] == "drop_after"
    assert parse_options([]) == SandboxOptions()


@pytest.mark.parametrize(
    "flags",
    ["--duration 3:1", "--chaos 2", "--faults nonsense", "--price z-image", "--rat 2", "--port 99999"],
)
async def test_a_wrong_flag_is_a_usage_error(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_options(flags.split())
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


async def test_the_readme_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    told = (Path(options_module.__file__).parent / "README.md").read_text("utf-8")
    assert len(flags) > 20
    assert not [flag for flag in sorted(flags) if flag not in told]
