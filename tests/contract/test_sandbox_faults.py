"""Every fault does what its name says, and the ledger knows what happened behind it."""

from __future__ import annotations

import gzip
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from runner.sandbox import presets
from runner.sandbox.answers import Dropped
from runner.sandbox.faults import ANSWER_KINDS, RESULT_KINDS, TASK_KINDS, BadRule, Faults, parse_rule
from runner.sandbox.presets import PRESETS
from tests.contract.sandbox_inside import GROK, code, inside

pytestmark = pytest.mark.anyio


def rule(do: str, on: str = "submit", **more: Any) -> dict[str, Any]:
    return {"on": on, "do": do, **more}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (rule("401"), (401, "api_key_invalid")),
        (rule("api_key_revoked"), (401, "api_key_revoked")),
        (rule("api_key_expired"), (401, "api_key_expired")),
        (rule("api_key_missing"), (401, "api_key_missing")),
        (rule("403"), (403, "api_scope_denied")),
        (rule("404"), (404, "not_found")),
        (rule("409"), (409, "idempotency_conflict")),
        (rule("429"), (429, "rate_limited")),
        (rule("500"), (500, "internal_error")),
        (rule("503"), (503, "public_api_disabled")),
        (rule("refuse"), (400, "validation_failed")),
        (rule("refuse", code="content_policy"), (400, "content_policy")),
        (rule("refuse_reference_url"), (400, "validation_failed")),
        (rule("insufficient_credits"), (402, "insufficient_credits")),
        (rule("insufficient_credits", status=403), (403, "insufficient_credits")),
        (rule("error", status=418, code="teapot"), (418, "teapot")),
    ],
)
async def test_a_refusal_before_processing_costs_nothing_and_the_same_key_works_later(
    fault: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with inside(faults=({**fault, "times": 1},)) as sandbox:
        assert code(await sandbox.submit(key="k")) == expected
        assert (await sandbox.control("ledger"))["tasks"] == []
        assert (await sandbox.submit(key="k")).status_code == 201


@pytest.mark.parametrize("do", ["500", "503", "409", "429", "error"])
async def test_a_refusal_after_processing_has_been_charged(do: str) -> None:
    async with inside(faults=(rule(do, when="after", times=1, status=500),)) as sandbox:
        assert (await sandbox.submit(key="k")).status_code >= 400
        assert (await sandbox.control("ledger"))["charged"] == 10
        assert (await sandbox.submit(key="k")).status_code == 201
        assert (await sandbox.control("ledger"))["charged"] == 10


async def test_a_gateway_gives_up_on_a_submit_that_is_accepted_later_and_twice_if_it_came_again() -> None:
    async with inside(faults=(rule("gives_up", times=1, seconds=0.05),)) as sandbox:
        assert (await sandbox.submit(key="k")).status_code == 504
        assert (await sandbox.control("ledger"))["tasks"] == []
        again = await sandbox.submit(key="k")
        with anyio.fail_after(5):
            while len((await sandbox.control("ledger"))["tasks"]) < 2:
                await anyio.sleep(0.01)

        assert again.status_code == 201
        assert (await sandbox.control("ledger"))["paid_twice"]
        assert (await sandbox.submit(key="k")).json()["id"] != again.json()["id"]


async def test_an_answer_can_be_wrapped_beside_the_id_of_its_request() -> None:
    async with inside(faults=(rule("wrapped", on=["submit", "poll"], by="generation"),)) as sandbox:
        said = (await sandbox.submit(key="k")).json()

        assert said["id"].startswith("req_")
        assert said["generation"]["status"] == "queued"


@pytest.mark.parametrize("do", ["502", "504"])
async def test_a_gateway_answers_with_a_page(do: str) -> None:
    async with inside(faults=(rule(do),)) as sandbox:
        answer = await sandbox.submit()
        assert (answer.status_code, answer.headers["content-type"]) == (int(do), "text/html; charset=utf-8")


async def test_a_page_names_its_title_and_its_server() -> None:
    async with inside(
        faults=(rule("page", on="poll"), rule("page", status=503, title="Back soon", server="nginx"))
    ) as (sandbox):
        poll, submit = await sandbox.poll("x"), await sandbox.submit()
        assert (poll.status_code, poll.headers["server"]) == (403, "cloudflare")
        assert "<title>Just a moment...</title>" in poll.text
        assert (submit.status_code, submit.headers["server"]) == (503, "nginx")
        assert "<title>Back soon</title>" in submit.text


async def test_a_quota_has_a_code_of_its_own_and_says_until_when() -> None:
    async with inside(faults=(rule("429", code="daily_limit", seconds=30_000),)) as sandbox:
        answer = await sandbox.submit()
        assert code(answer) == (429, "daily_limit")
        assert answer.headers["retry-after"] == "30000"


def test_a_rule_lasts_from_its_first_time_on_and_then_never_again() -> None:
    now = 0.0
    faults = Faults([rule("503", after=1, lasts=20)], now=lambda: now)
    fired = []
    for now in (0.0, 100.0, 110.0, 119.9, 120.0, 1000.0):  # noqa: B007  # read through the closure
        fired.append(faults.pick("submit", {}) is not None)

    assert fired == [False, True, True, True, False, False]
    assert faults.rules[0].describe()["lasts"] == 20


async def test_a_refusal_can_say_the_key_back_in_letters_that_no_search_finds() -> None:
    async with inside(faults=(rule("echo_key"),)) as sandbox:
        answer = await sandbox.submit()
        key = answer.request.headers["authorization"].removeprefix("Bearer ")
        assert code(answer) == (400, "validation_failed")
        assert key in answer.json()["error"]["message"]
        assert key not in answer.text
        assert key in answer.headers["x-request-id"]


@pytest.mark.parametrize(("do", "charged"), [("drop", 0), ("drop_before", 0), ("drop_after", 10)])
async def test_an_answer_can_be_lost_before_and_after_accepting(do: str, charged: int) -> None:
    async with inside(faults=(rule(do, times=1),)) as sandbox:
        with pytest.raises(Dropped):
            await sandbox.submit(key="k")
        ledger = await sandbox.control("ledger")
        assert (ledger["charged"], ledger["requests"]["submit"]) == (charged, {"dropped": 1})
        assert (await sandbox.submit(key="k")).status_code == 201
        assert (await sandbox.control("ledger"))["charged"] == 10


async def test_answers_can_be_spoilt() -> None:
    faults = [rule(do, times=1) for do in ("garbage", "empty", "wrong_content_type", "no_id")]
    async with inside(faults=tuple(faults)) as sandbox:
        garbage, empty, mistyped, nameless = [await sandbox.submit(key=str(n)) for n in range(4)]
        with pytest.raises(ValueError, match=r".*"):
            garbage.json()
        assert (empty.status_code, empty.content) == (201, b"")
        assert mistyped.json()["id"]
        assert mistyped.headers["content-type"].startswith("text/plain")
        assert (nameless.status_code, "id" in nameless.json()) == (201, False)
        assert (await sandbox.control("ledger"))["charged"] == 40


async def test_a_redirect_leads_to_another_host() -> None:
    async with inside(
        faults=(rule("redirect", times=1), rule("redirect", to="https://x.example/"))
    ) as sandbox:
        first, second = await sandbox.submit(), await sandbox.submit()
        assert (first.status_code, first.headers["location"]) == (307, "http://localhost/api/v1/generations")
        assert second.headers["location"] == "https://x.example/"
        assert (await sandbox.control("ledger"))["charged"] == 0


@pytest.mark.parametrize(
    ("form", "lowest_s", "highest_s"),
    [("seconds", 0, 1.5), ("date", -1, 2.5), ("past", -4000, -3000), ("none", None, None), ("17", 17, 17)],
)
async def test_retry_after_comes_in_every_form(
    form: str, lowest_s: float | None, highest_s: float | None
) -> None:
    async with inside(faults=(rule("429", retry_after=form),)) as sandbox:
        value = (await sandbox.submit()).headers.get("retry-after")
        if lowest_s is None or highest_s is None:
            assert value is None
            return
        wait_s = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - time.time()
        assert lowest_s <= wait_s <= highest_s


async def test_while_a_send_is_slow_the_same_key_is_in_conflict() -> None:
    async with (
        inside(faults=(rule("slow", seconds=0.2, times=1),)) as sandbox,
        anyio.create_task_group() as group,
    ):
        answers = []

        async def send() -> None:
            answers.append(await sandbox.submit(key="k"))

        group.start_soon(send)
        while not sandbox.service.faults.rules[0].fired:
            await anyio.lowlevel.checkpoint()
        assert code(await sandbox.submit(key="k")) == (409, "idempotency_conflict")
        assert (await sandbox.submit(key="other")).status_code == 201
        while not answers:
            await anyio.sleep(0.01)
        assert answers[0].status_code == 201


async def test_a_hang_ends_without_an_answer() -> None:
    async with inside(
        faults=(rule("hang", seconds=0.01, times=1), rule("hang_after", seconds=0.01))
    ) as sandbox:
        for charged in (0, 10):
            with pytest.raises(Dropped):
                await sandbox.submit(key="k")
            assert (await sandbox.control("ledger"))["charged"] == charged


async def test_a_fault_can_wait_and_end_and_pick_its_victims() -> None:
    faults = (
        rule("500", after=1, times=2),
        rule("503", match={"prompt_contains": "red"}),
        rule("502", nth=5),
    )
    async with inside(faults=faults) as sandbox:
        statuses = [(await sandbox.submit()).status_code for _ in range(4)]
        assert statuses == [201, 500, 500, 201]
        assert (await sandbox.submit({**GROK, "prompt": "a red car"})).status_code == 503
        shown = (await sandbox.control("faults"))["rules"]
        assert [(r["seen"], r["fired"]) for r in shown][:2] == [(3, 2), (1, 1)]


async def test_faults_can_be_set_shown_and_cleared_while_it_runs() -> None:
    async with inside() as sandbox:
        await sandbox.control("faults", [rule("500", "api"), rule("404", "poll")])
        assert (await sandbox.submit()).status_code == 500
        await sandbox.http.delete("/_sandbox/faults")
        assert (await sandbox.submit()).status_code == 201


async def test_a_fault_on_a_poll_knows_the_task_behind_it() -> None:
    async with inside() as sandbox:
        first, second = [(await sandbox.submit({**GROK, "client_request_id": n})).json()["id"] for n in "ab"]
        await sandbox.control("faults", rule("404", "poll", match={"client_request_id": "b"}))
        assert (await sandbox.poll(first)).status_code == 200
        assert (await sandbox.poll(second)).status_code == 404


@pytest.mark.parametrize(
    "bad",
    [
        {"on": "submit"},
        {"on": "submit", "do": "explode"},
        {"on": "nowhere", "do": "500"},
        {"do": "500"},
        {"on": "submit", "do": "500", "when": "later"},
        {"on": "submit", "do": "500", "times": "often"},
        {"on": "submit", "do": "slow", "seconds": "long"},
        {"on": "submit", "do": "expired"},
        {"on": "task", "do": "500"},
        {"on": "task", "do": "succeed_without_urls", "form": "odd"},
        {"on": "submit", "do": "kill_client"},
        {"on": "submit", "do": "kill_client", "pid": 1},
        {"on": "submit", "do": "kill_client", "pid": True},
        "500",
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_and_none_of_its_list_is_kept(bad: Any) -> None:
    async with inside() as sandbox:
        answer = await sandbox.http.post("/_sandbox/faults", json=[rule("500"), bad])
        assert code(answer) == (400, "validation_failed")
        assert (await sandbox.submit()).status_code == 201


@pytest.mark.parametrize("form", ["null", "empty", "list"])
async def test_a_task_can_succeed_without_urls_for_a_while(form: str) -> None:
    fault = rule("succeed_without_urls", "task", polls=2, form=form)
    async with inside(faults=(fault,)) as sandbox:
        ended = await sandbox.finished()
        assert ended["status"] == "succeeded"
        assert not (ended["result"] or {}).get("urls")
        assert not ((await sandbox.poll(ended["id"])).json()["result"] or {}).get("urls")
        assert (await sandbox.poll(ended["id"])).json()["result"]["urls"]


async def test_a_task_can_be_in_a_state_nobody_documented() -> None:
    async with inside(faults=(rule("unknown_status", "task", status="paused"),)) as sandbox:
        task = (await sandbox.submit()).json()
        assert task["status"] == "paused"
        await sandbox.control("advance", {"seconds": 60})
        assert (await sandbox.poll(task["id"])).json()["status"] == "succeeded"


async def test_a_task_can_end_in_a_way_nobody_documented() -> None:
    faults = (
        rule("odd_end", "task", code="provider_error", message="it broke", times=1),
        rule("odd_end", "task", status="completed", result=True, after=1, times=1),
        rule("odd_end", "task", status="", result=True, after=2, times=1),
    )
    async with inside(faults=faults) as sandbox:
        broken, completed, silent = [await sandbox.finished() for _ in range(3)]
        assert (broken["status"], broken["result"]) == ("canceled", None)
        assert broken["error"] == {"code": "provider_error", "message": "it broke"}
        assert (completed["status"], completed["error"]) == ("completed", None)
        assert completed["result"]["urls"]
        assert "status" not in silent
        assert silent["result"]["urls"]


async def test_a_task_can_be_forgotten() -> None:
    async with inside(faults=(rule("vanishes", "task", seconds=30),)) as sandbox:
        task = (await sandbox.submit()).json()
        assert (await sandbox.poll(task["id"])).status_code == 200
        await sandbox.control("advance", {"seconds": 31})
        assert code(await sandbox.poll(task["id"])) == (404, "not_found")


async def test_a_task_can_take_longer_or_for_ever() -> None:
    faults = (rule("slow_task", "task", seconds=1000, times=1), rule("stuck", "task", after=1))
    async with inside(faults=faults) as sandbox:
        slow, stuck = (await sandbox.finished()), (await sandbox.finished())
        assert (slow["status"], stuck["status"]) == ("processing", "processing")
        await sandbox.control("advance", {"seconds": 100_000})
        assert (await sandbox.poll(slow["id"])).json()["status"] == "succeeded"
        assert (await sandbox.poll(stuck["id"])).json()["status"] == "processing"


async def test_a_failed_task_may_carry_no_error_and_final_credits_may_be_missing() -> None:
    faults = (
        rule("fails_without_error", "task", times=1),
        rule("final_null", "task", after=1, times=1),
        rule("final_absent", "task", after=2, times=1),
    )
    async with inside(faults=faults) as sandbox:
        failed, null, absent = [await sandbox.finished() for _ in range(3)]
        assert (failed["status"], failed["error"]) == ("failed", None)
        assert null["final_credits"] is None
        assert "final_credits" not in absent


async def test_a_surprise_price_is_what_the_ledger_charges() -> None:
    faults = (rule("price", "task", factor=4, times=1), rule("price", "task", credits=33, after=1))
    async with inside(faults=faults) as sandbox:
        assert [(await sandbox.submit()).json()["reserved_credits"] for _ in range(2)] == [40, 33]
        assert await sandbox.credits() == 100_000 - 73


async def test_results_can_go_wrong_in_every_way_once() -> None:
    kinds = ("expired", "html", "empty", "no_ranges", "wrong_range", "404", "500", "redirect")
    async with inside(faults=tuple(rule(do, "result", times=1) for do in kinds)) as sandbox:
        url = (await sandbox.finished())["result"]["primary_url"]
        answers = [await sandbox.http.get(url, headers={"range": "bytes=10-"}) for _ in kinds]
        whole = (await sandbox.http.get(url)).content
        expired, html, empty, no_ranges, wrong_range, missing, broken, moved = answers
        assert (expired.status_code, b"expired" in expired.content) == (403, True)
        assert (html.status_code, html.content[:6]) == (200, b"<html>")
        assert (empty.status_code, empty.content) == (206, b"")
        assert (no_ranges.status_code, no_ranges.content) == (200, whole)
        assert (wrong_range.status_code, wrong_range.headers["content-range"][:8]) == (206, "bytes 0-")
        assert (missing.status_code, broken.status_code, moved.status_code) == (404, 500, 307)


async def test_results_can_be_odd_the_same_way_each_time() -> None:
    kinds = ("gzip", "said_gzip", "extra_bytes", "zip")
    async with inside() as sandbox:
        url = (await sandbox.finished())["result"]["primary_url"]
        whole = (await sandbox.http.get(url)).content
    for kind in kinds:
        async with inside(faults=(rule(kind, "result"),)) as sandbox:
            url = (await sandbox.finished())["result"]["primary_url"]
            raw = []
            for _ in range(2):
                async with sandbox.http.stream("GET", url) as answer:
                    raw.append((b"".join([piece async for piece in answer.aiter_raw()]), answer.headers))
            (first, headers), (second, _) = raw
        assert first == second
        assert int(headers["content-length"]) == len(first)
        assert (headers.get("content-encoding") == "gzip") == ("gzip" in kind)
        start = {"gzip": b"\x1f\x8b", "zip": b"PK\x03\x04"}.get(kind, whole[:4])
        assert first.startswith(start)


async def test_a_compressed_bomb_unpacks_to_what_it_says() -> None:
    async with inside(faults=(rule("gzip_bomb", "result", megabytes=5),)) as sandbox:
        url = (await sandbox.finished())["result"]["primary_url"]
        async with sandbox.http.stream("GET", url) as answer:
            packed = b"".join([piece async for piece in answer.aiter_raw()])
        assert len(packed) < 20_000
        assert len(gzip.decompress(packed)) == 5 * 1024 * 1024


async def test_chaos_is_frequent_harmless_and_the_same_for_the_same_seed() -> None:
    async def night(seed: int) -> tuple[list[int], dict[str, Any]]:
        async with inside(chaos=0.5, seed=seed) as sandbox:
            sandbox.misbehaviour.stopping.set()  # nothing waits any more
            statuses = []
            for number in range(60):
                for _ in range(50):
                    try:
                        status = (await sandbox.submit(key=str(number))).status_code
                    except Dropped:
                        status = 0
                    statuses.append(status)
                    if status == 201:
                        break
            return statuses, await sandbox.control("ledger")

    (first, ledger), (second, _), (third, _) = await night(1), await night(1), await night(2)
    assert first == second != third
    assert ledger["charged"] == 600
    assert set(first) <= {0, 201, 429, 500, 502, 503, 504}
    assert len(set(first)) > 4


def test_presets_and_lists_of_kinds_can_be_read() -> None:
    for preset in PRESETS.values():
        assert preset.about
        Faults(preset.rules, chaos=preset.chaos)
    for do in (*ANSWER_KINDS, *RESULT_KINDS):
        parse_rule(rule(do, "result", pid=999_999))
    for do in TASK_KINDS:
        assert parse_rule(rule(do, "submit")).on == {"task"}
    with pytest.raises(BadRule, match="do: 'nothing' is unknown; use one of error"):
        parse_rule(rule("nothing"))


def test_the_readme_names_every_kind_and_preset() -> None:
    told = (Path(presets.__file__).parent / "README.md").read_text("utf-8")
    missing = [
        name for name in (*ANSWER_KINDS, *RESULT_KINDS, *TASK_KINDS, *PRESETS) if f"`{name}`" not in told
    ]
    assert not missing
