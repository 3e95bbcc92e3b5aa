"""`doctor --spend`: what it says of a service is true, for whatever a service may do, and it costs what it may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.imitation.tasks import Fate
from tests.support import Command, Outcome, Sandbox
from tests.warm import SPEED

PROMPT = "A red kite over a green hill"
QUICK = {SPEED: "20"}


@contextmanager
def sandbox(tmp_path: Path, *flags: str) -> Iterator[Sandbox]:
    running = Sandbox.start(*flags, state=tmp_path / "service.db")
    yield running
    running.close()


def doctor(command: Command, credits: float = 50, **env: str) -> Outcome:
    return command("doctor", "--spend", str(credits), "--yes", "--json", env={**QUICK, **env})


def values(outcome: Outcome) -> dict[str, str]:
    """What was seen, by the key of each fact."""
    return {fact["key"]: fact["value"] for fact in outcome.json["seen"] if fact["key"]}


def words(outcome: Outcome) -> dict[str, str]:
    return {fact["key"]: fact["words"] for fact in outcome.json["seen"] if fact["key"]}


def charged(sandbox: Sandbox) -> float:
    ledger = sandbox.ledger()
    return float(ledger["charged"] - ledger["refunded"])


def test_a_service_that_answers_200_and_repeats_with_what_is_now(command: Command, tmp_path: Path) -> None:
    """Sandbox: its status, another price, its replay, urls that end, no ranges, a word nobody documented."""
    odd = json.dumps({"on": "task", "do": "unknown_status", "status": "warming_up"})
    flags = ("--create-status", "200", "--replay", "current", "--no-ranges", "--result-ttl", "600")
    with sandbox(tmp_path, *flags, "--price-factor", "3", "--duration", "0.6", "--faults", odd) as running:
        command.use(running)
        outcome = doctor(command)

        assert outcome.code == 0, said(outcome)
        found, told = values(outcome), words(outcome)
        assert found["create_status"] == "200"
        assert told["price"] == "1 listed, 3 reserved, named at once, 3 charged"
        assert found["same_key"] == "same task"
        assert "as it is now" in told["same_key"]
        assert found["other_body"] == "409"
        assert found["ranges"] == "no"
        assert 580 <= float(found["url_life"]) <= 601, "its clock tells whole seconds"
        assert "warming_up" in told["states"]
        assert found["states"] == "other"
        assert told["result_type"] == "image/png, length told"
        assert "the balance did not move" in told["upload"]
        assert "rate_limit" not in found
        assert "failed_charge" not in found
        assert outcome.json["tried"]["credits"] == 3 == charged(running)
        kept = json.loads((command.workspace / "state" / "service.json").read_text())
        assert kept["services"][running.base_url]["ranges"]["value"] == "no"


def test_a_service_that_forgets_keys_is_paid_once_more_at_most_and_it_counts(
    command: Command, tmp_path: Path
) -> None:
    """Sandbox: keys that are forgotten, a charge that is not named, a 429 on the way, wrapped answers."""
    rules = [
        {"on": "submit", "do": "429", "times": 1, "seconds": 2},
        {"on": "task", "do": "final_absent"},
        {"on": ["submit", "poll"], "do": "wrapped"},
    ]
    flags = (
        "--create-status",
        "202",
        "--key-retention",
        "0.01",
        "--duration",
        "0.1",
        "--faults",
        json.dumps(rules),
    )
    with sandbox(tmp_path, *flags) as running:
        command.use(running)
        outcome = doctor(command)

        assert outcome.code == 0, said(outcome)
        found, told = values(outcome), words(outcome)
        assert found["create_status"] == "202"
        assert found["same_key"] == "another task"
        assert "other_body" not in found, "it might be paid for again"
        assert "key_life" not in found
        assert found["final_credits"] == "absent"
        assert "no charge was named" in told["price"]
        assert found["rate_limit"] == "time"
        assert "code rate_limited" in told["rate_limit"]
        assert outcome.json["tried"]["credits"] == 2 == charged(running)
        assert "another task was made" in outcome.json["tried"]["notes"][0]


@pytest.mark.slow
def test_what_could_cost_more_than_was_allowed_is_not_tried(command: Command, tmp_path: Path) -> None:
    """Sandbox: an answer that is lost, a charge of 0, and a cap that leaves no room for a repeat."""
    rules = [{"on": "submit", "do": "drop_after", "times": 1}, {"on": "task", "do": "final_zero"}]
    with sandbox(tmp_path, "--duration", "0.1", "--faults", json.dumps(rules)) as running:
        command.use(running)
        outcome = doctor(command, 1)

        assert outcome.code == 0, said(outcome)
        found = values(outcome)
        assert found["final_credits"] == "zero"
        assert not {"same_key", "other_body"} & {*found}
        assert "by the worst reading" in outcome.json["tried"]["notes"][0]
        assert outcome.json["tried"]["credits"] == 1
        assert len(running.ledger()["tasks"]) == 1


def test_too_little_for_any_job_sends_nothing(bench: Bench) -> None:
    outcome = doctor(bench.command, 0.5)

    assert outcome.code == 2, said(outcome)
    assert not bench.service.ledger.posts


def test_nothing_is_spent_without_a_word(bench: Bench) -> None:
    outcome = bench.command("doctor", "--spend", "5")

    assert outcome.code == 2, said(outcome)
    assert "--yes" in outcome.stderr
    assert not bench.service.ledger.posts


@pytest.mark.slow
def test_a_service_that_names_things_late_or_never(command: Command, start_service: StartService) -> None:
    """Second imitation: replays as at first, late reservations, no charge, no times, odd words, redirects, ranges."""
    service = start_service(
        Personality(
            create_status=201,
            replay_status=200,
            replays_show="then",
            result_ranges=True,
            result_redirects=2,
            reserved="late",
            final="null",
            times="absent",
            first_statuses=("PENDING", "rendering"),
            upload_shape="nested",
            task_s=(0.6, 0.6),
            price=2.0,
        )
    )
    bench = Bench(command, service)
    outcome = doctor(command)

    assert outcome.code == 0, said(outcome)
    found, told = values(outcome), words(outcome)
    assert found["create_status"] == "201"
    assert "as it was at first (HTTP 200)" in told["same_key"]
    assert found["other_body"] == "409"
    assert found["price"] == "late"
    assert found["final_credits"] == "absent"
    assert found["updated_at"] == "absent"
    assert "PENDING" in told["states"]
    assert found["states"] == "other"
    assert "after 2 redirects" in told["result_type"]
    assert "chunked" in told["result_type"]
    assert found["ranges"] == "yes"
    assert told["url_life"] == "60 s by its url; another url each time"
    assert "fields: file, deduplicated" in told["upload"]
    assert outcome.json["tried"]["credits"] == 2 == bench.service.ledger.taken


def test_a_service_without_idempotency_is_found_out_for_the_price_of_one_job(
    command: Command, start_service: StartService
) -> None:
    """Second imitation: every repeat is paid for. Runs then send nothing again, but ask a person."""
    service = start_service(Personality(idempotency="none", final="zero", dates=False, price=1.0))
    bench = Bench(command, service)
    outcome = doctor(command)

    assert outcome.code == 0, said(outcome)
    assert values(outcome)["same_key"] == "another task"
    assert values(outcome)["final_credits"] == "zero"
    assert outcome.json["tried"]["credits"] == 2 == service.ledger.taken
    assert any("does not tell its time" in check["found"] for check in outcome.json["checks"])

    bench.write(1)
    service.rule("submit", "drop_after")
    outcome = bench.run()

    assert outcome.code == 3, said(outcome)
    assert bench.rows("state", where="manifest = 'night'") == [("uncertain",)]
    assert len(service.ledger.payments) == 3
    assert "was seen to make another task" in said(outcome)


def test_a_service_that_looks_at_keys_only_and_moves_its_times(
    command: Command, start_service: StartService
) -> None:
    """Second imitation: another body brings the first task; times that move; a 429 without a word; bare paths."""
    service = start_service(
        Personality(strict_body=False, results_at="path", times="milliseconds", limit_body="empty", price=1.0)
    )
    Bench(command, service)

    def touched(view: dict[str, Any]) -> dict[str, Any]:
        moment = service.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {**view, "updated_at": moment}

    service.fates[PROMPT] = Fate(says=touched)
    service.rule("submit", "answer_before", answer=service._limited(1.0))
    outcome = doctor(command)

    assert outcome.code == 0, said(outcome)
    found, told = values(outcome), words(outcome)
    assert found["same_key"] == found["other_body"] == "same task"
    assert found["updated_at"] == "not the end"
    assert "moves after the end" in told["updated_at"]
    assert found["rate_limit"] == "no time"
    assert found["bare_429"] == "refused"
    assert found["result_key"] == "not needed"
    assert found["ranges"] == "no"
    assert found["final_credits"] == "named"
    assert outcome.json["tried"]["credits"] == 1 == service.ledger.taken


@pytest.mark.slow
def test_a_task_that_fails_tells_what_that_costs(command: Command, start_service: StartService) -> None:
    """Second imitation: no result, so no repeat is tried."""
    service = start_service(Personality(refunds=False, price=1.0))
    Bench(command, service)
    service.fates[PROMPT] = Fate(status="failed", final=1.0)
    outcome = doctor(command)

    assert outcome.code == 3, said(outcome)
    assert values(outcome)["failed_charge"] == "1"
    assert "same_key" not in values(outcome)
    assert len(service.ledger.posts) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("still", "value"), [(False, "the end"), (True, "not the end")])
def test_times_of_a_task_are_believed_only_where_they_were_looked_at_late(
    command: Command, start_service: StartService, still: bool, value: str
) -> None:
    """A task of 9.5 s is asked for after 8 s and 16 s."""
    service = start_service(Personality(task_s=(9.5, 9.5), times="milliseconds", price=1.0))
    Bench(command, service)
    if still:
        service.fates[PROMPT] = Fate(says=lambda view: {**view, "updated_at": view["created_at"]})
    outcome = doctor(command, **{SPEED: "1"})

    assert outcome.code == 0, said(outcome)
    assert values(outcome)["updated_at"] == value, words(outcome)


@pytest.mark.parametrize("when", [pytest.param("kill_before", marks=pytest.mark.slow), "kill_after"])
def test_a_try_that_was_killed_goes_on_with_its_key(bench: Bench, when: str) -> None:
    """Killed around its first submit: the next `doctor --spend` takes the same job up, and pays for it once."""
    service = bench.service
    service.become(price=1.0)
    service.rule("submit", when)
    process = service.doom(lambda: bench.command.start("doctor", "--spend", "5", "--yes", env=QUICK))
    process.wait(30)
    assert service.kills == 1

    outcome = doctor(bench.command, 5)

    assert outcome.code == 0, said(outcome)
    assert values(outcome)["same_key"] == "same task"
    assert len({post.key for post in service.ledger.posts}) == 1
    assert service.ledger.taken == 1 == outcome.json["tried"]["credits"]
    assert len(list((bench.command.workspace / "state" / "doctor").glob("*.yaml"))) == 1


@pytest.mark.slow
def test_a_repeat_that_was_killed_stays_counted_and_goes_out_again_with_the_same_bytes(bench: Bench) -> None:
    service = bench.service
    service.become(price=1.0)
    service.rule("submit", "kill_after", skip=1)
    process = service.doom(lambda: bench.command.start("doctor", "--spend", "5", "--yes", env=QUICK))
    process.wait(30)
    assert service.kills == 1
    name = bench.rows("name", "manifests")[0][0]
    assert bench.rows("charged, reserved", "credit_totals", f"manifest = '{name}'") == [(1, 1)]

    outcome = doctor(bench.command, 5)

    assert outcome.code == 0, said(outcome)
    assert values(outcome)["other_body"] == "409"
    assert bench.rows("charged, reserved", "credit_totals", f"manifest = '{name}'") == [(1, 0)]
    assert service.ledger.taken == 1
