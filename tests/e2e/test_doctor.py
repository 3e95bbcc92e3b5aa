"""`doctor`: what a person types first. It spends nothing, names what is wrong, and ends as a run would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.imitation.faults import error_answer
from tests.imitation.fixtures import Bench, said
from tests.support import Command, Outcome, Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox.start(state=tmp_path / "service.db")
    yield running
    running.close()


def checks(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """What was found by its kind, the worst where there are several."""
    order = ("fine", "warning", "stop")
    found = sorted(outcome.json["checks"], key=lambda check: order.index(check["weight"]))
    return {check["what"]: check for check in found}


def test_all_is_well_with_the_sandbox_and_nothing_is_spent_or_written(command: Command) -> None:
    outcome = command("doctor", "--sandbox", "--json")

    found = checks(outcome)
    assert outcome.code == 0 == outcome.json["exit_code"], said(outcome)
    assert {check["weight"] for check in outcome.json["checks"]} == {"fine"}
    assert {"python", "sqlite", "mount", "folder", "room", "clock", "key", "scope", "models", "openapi"} <= {
        *found
    }
    assert "100,000 credits" in found["balance"]["found"]
    assert not (command.workspace / "state" / "sandbox.db").exists()


def test_lines_fit_eighty_columns_and_what_was_seen_comes_before_what_is_assumed(command: Command) -> None:
    env = {"COLUMNS": "80", "TEST_CLOCK_SPEED": "20"}
    looked = command("doctor", "--sandbox", env=env)
    tried = command("doctor", "--sandbox", "--spend", "5", "--sandbox-options", "--duration 0.1", env=env)

    assert (looked.code, tried.code) == (0, 0), said(tried)
    for outcome in (looked, tried):
        assert max(map(len, outcome.stdout.splitlines())) <= 80
    kinds = [line.split()[0] for line in tried.stdout.splitlines() if line.startswith(("seen ", "assumed "))]
    assert kinds.count("seen") > 10
    assert kinds == sorted(kinds, reverse=True)
    assert "1 credit (sandbox: nothing was paid)" in tried.stdout
    assert "36 things" in looked.stdout


def test_no_key_is_bad_usage_and_the_rest_is_looked_at_all_the_same(
    command: Command, sandbox: Sandbox
) -> None:
    outcome = command("doctor", "--json", env={"RIVYA_BASE_URL": sandbox.base_url})

    found = checks(outcome)
    assert outcome.code == 2, said(outcome)
    assert "RIVYA_API_KEY" in found["key"]["do"]
    assert found["models"]["weight"] == "fine"


def test_a_revoked_key_ends_with_4(bench: Bench) -> None:
    bench.service.refused_keys[bench.service.key] = error_answer(401, "api_key_revoked", "revoked")

    outcome = bench.command("doctor", "--json")

    assert outcome.code == 4, said(outcome)
    assert "api_key_revoked" in checks(outcome)["key"]["found"]


def test_a_key_without_a_scope_is_told_by_what_it_may_not_do(command: Command, sandbox: Sandbox) -> None:
    command.use(sandbox)
    sandbox.faults({"on": "poll", "do": "403"})

    outcome = command("doctor", "--json")

    assert outcome.code == 4, said(outcome)
    assert checks(outcome)["scope"]["weight"] == "stop"


def test_a_service_that_is_not_there_ends_with_5(command: Command) -> None:
    outcome = command(
        "doctor", "--json", env={"RIVYA_BASE_URL": "http://127.0.0.1:9", "RIVYA_API_KEY": "rvya_sk_x"}
    )

    assert outcome.code == 5, said(outcome)
    assert any(check["exit_code"] == 5 and "127.0.0.1" in check["found"] for check in outcome.json["checks"])


def test_a_wrong_address_is_bad_usage(command: Command) -> None:
    outcome = command(
        "doctor", "--json", env={"RIVYA_BASE_URL": "http://rivya.ai", "RIVYA_API_KEY": "rvya_sk_x"}
    )

    assert outcome.code == 2, said(outcome)
    assert "plain http" in checks(outcome)["environment"]["found"]


def test_a_clock_and_lists_that_differ_are_told_and_stop_nothing(bench: Bench) -> None:
    """The second imitation has neither a list of models nor a description of itself."""
    bench.service.ahead_s = 4000

    outcome = bench.command("doctor", "--json")

    found = checks(outcome)
    assert outcome.code == 0, said(outcome)
    assert [found[what]["weight"] for what in ("clock", "models", "openapi")] == ["warning"] * 3
    assert "67 minutes behind" in found["clock"]["found"]
    assert not bench.service.ledger.posts


def test_a_folder_that_cannot_be_written_is_told(command: Command) -> None:
    (command.workspace / "state").mkdir(exist_ok=True)
    (command.workspace / "state").chmod(0o500)
    if (command.workspace / "state").stat().st_uid == 0:
        pytest.skip("root may write anywhere")

    outcome = command("doctor", "--sandbox", "--json")

    assert outcome.code == 2, said(outcome)
    assert checks(outcome)["folder"]["weight"] == "stop"
