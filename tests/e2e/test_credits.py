"""Caps hold, whatever the service charges; an empty account is a pause."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.imitation.fixtures import Bench, StartService, ended, said
from tests.imitation.personality import Personality
from tests.support import Command

slow = partial(pytest.param, marks=pytest.mark.slow)
OPEN = {"requests_per_second": 500, "in_flight": 50}


@pytest.mark.parametrize(
    ("reserved", "budget", "most"),
    [
        ("number", {"max_credits": 100}, 80),
        ("zero", {"max_credits": 100}, 80),
        ("late", {"max_credits": 100}, 80),
        ("number", {"max_credits_per_day": 100}, 80),
        ("number", {"max_credits_per_job": 30}, 40),
        ("number", {"max_credits": 9}, 0),
    ],
)
def test_a_cap_holds_within_one_probe_when_everything_costs_four_times_its_list_price(
    command: Command, start_service: StartService, reserved: Any, budget: dict[str, Any], most: float
) -> None:
    """Listed 10, charged 40, fifty allowed at once: only the first of each shape can surprise."""
    bench = Bench(command, start_service(Personality(price=40.0, reserved=reserved)))
    bench.write(40, budget=budget, limits=OPEN)

    outcome = bench.run()

    assert outcome.code == 8, said(outcome)
    assert f"budget.{next(iter(budget))} " in said(outcome).replace(";", " "), "which cap it was"
    assert bench.service.ledger.taken <= most
    assert bench.service.ledger.most_running <= max(most // 40, 1)
    assert bench.service.ledger.paid_twice == {}


@pytest.mark.parametrize("reserved", ["number", slow("late"), slow("zero")])
def test_a_price_that_has_risen_since_it_was_seen_surprises_once(
    command: Command, start_service: StartService, reserved: Any
) -> None:
    """Ten were charged yesterday, forty today; answers are slow, so that a wave would be on its way."""
    service = start_service(Personality(reserved=reserved, latency_s=0.05, task_s=(0.2, 0.2)))
    bench = Bench(command, service)
    bench.write(2)
    assert bench.run().code == 0
    service.become(price=40.0)
    bench.write(42, budget={"max_credits": 120}, limits=OPEN)

    outcome = bench.run()

    assert outcome.code == 8, said(outcome)
    assert service.ledger.taken == 20 + 2 * 40


@pytest.mark.parametrize(
    ("be", "cap", "most"),
    [
        # Reserved as 1, charged 40 in the end; a reservation that grows.
        (Personality(price=40.0, reserved="one"), 200, 200),
        slow(Personality(price=40.0, reserved="grows"), 200, 200),
        # A result for nothing, of which ten were reserved: what was taken is what was reserved.
        (Personality(reserved="number", final="zero"), 95, 90),
        slow(Personality(reserved="null", final="zero"), 95, 90),
    ],
)
def test_a_cap_holds_whatever_the_end_of_a_task_says_of_its_cost(
    be: Personality, cap: float, most: float, command: Command, start_service: StartService
) -> None:
    """Sixty jobs, fifty at once: what was on its way counted as 1 each, or as nothing once it had ended."""
    bench = Bench(command, start_service(be))
    bench.write(60, budget={"max_credits": cap}, limits=OPEN)

    outcome = bench.run()

    assert outcome.code == 8, said(outcome)
    assert most - 40 <= bench.service.ledger.taken <= most
    assert said(outcome).count("cost 0 credits") == (be.final == "zero"), "said once"


@pytest.mark.parametrize("reserved", ["number", slow("null")])
def test_a_twentyfold_rise_in_mid_run_surprises_once_and_stops(
    reserved: Any, command: Command, start_service: StartService
) -> None:
    """Ten credits for the first twenty-four jobs, two hundred for the rest, under a cap of four hundred."""
    taken: list[float] = []

    def price(body: Any) -> float:
        taken.append(10.0 if len(taken) < 24 else 200.0)
        return taken[-1]

    bench = Bench(command, start_service(Personality(price=price, reserved=reserved)))
    bench.write(60, budget={"max_credits": 400}, limits=OPEN)

    outcome = bench.run()

    assert outcome.code == 8, said(outcome)
    assert "200 credits where about 10 were expected" in said(outcome)
    assert bench.service.ledger.taken == 240 + 200


def test_a_charge_many_times_its_estimate_holds_new_submits_until_a_person_has_seen_it(
    command: Command, start_service: StartService
) -> None:
    """One job was charged 40,500 where 12 were reserved: nobody was told, and the next plan expected that of all."""
    be = Personality(
        price=lambda body: 40_500.0 if body["prompt"] == "prompt of job-3" else 12.0, reserved="twelve"
    )
    bench = Bench(command, start_service(be))
    bench.write(30, limits={"requests_per_second": 500, "in_flight": 3})

    surprised = bench.run()
    first = len(bench.service.ledger.payments)
    plan = bench.command("plan", bench.manifest, "--json").json
    words = bench.command("plan", bench.manifest).stdout + bench.command("status", bench.manifest).stdout
    held = bench.command("run", bench.manifest)  # no terminal, and nobody says yes
    seen = bench.run("--json")
    after = bench.command("plan", bench.manifest).stdout

    named = "job job-3: 40,500 credits where 12 were reserved"
    assert surprised.code == 8, said(surprised)
    assert named in surprised.stderr
    assert "accepts the charge and continues" in surprised.stderr
    assert first < 10
    assert plan["credits"]["to_spend"] == 12 * plan["submits"] == 12 * (30 - first)
    assert words.count(named) == 2
    assert held.code == 2
    assert named in held.stderr
    assert len(bench.service.ledger.payments) == 30
    assert seen.code == 0, said(seen)
    assert any(named in event.get("message", "") for event in seen.events)
    assert named not in after


def test_a_price_that_was_seen_counts_though_less_is_reserved_the_next_night(
    command: Command, start_service: StartService
) -> None:
    """The plan said 2,400 against a cap of 200, and the run charged 1,400: each counted as the 1 it reserved."""
    bench = Bench(command, start_service(Personality(price=40.0)))
    bench.write(2)
    assert bench.run().code == 0
    bench.service.become(reserved="one")
    bench.write(60, budget={"max_credits": 200, "max_credits_per_job": 40}, limits=OPEN)

    plan = bench.command("plan", bench.manifest, "--json").json["credits"]
    outcome = bench.run()

    assert (plan["to_spend"], plan["margin"], plan["jobs_above_cap"]) == (58 * 40, 0, 0)
    assert outcome.code == 8, said(outcome)
    assert bench.service.ledger.taken == 200


def test_caps_hold_for_several_shapes_of_unknown_price_at_once(
    command: Command, start_service: StartService
) -> None:
    """The price grows with the seconds; each duration is a price of its own."""
    service = start_service(Personality(price=lambda body: 10.0 * body["params"]["duration"]))
    bench = Bench(command, service)
    seconds = [6 + number % 6 for number in range(36)]
    jobs = [{"id": f"j{n}", "params": {"duration": s}} for n, s in enumerate(seconds)]
    bench.write(jobs, budget={"max_credits": 600}, limits=OPEN)

    outcome = bench.run()
    raised = bench.run("--max-credits", "700")

    assert (outcome.code, raised.code) == (8, 8), said(outcome) + said(raised)
    assert service.ledger.taken <= 700 + 110
    first = [payment for payment in service.ledger.payments if payment.taken]
    assert first
    assert service.ledger.paid_twice == {}


def test_a_service_that_names_no_amounts_is_not_tried_one_job_at_a_time_for_ever(
    command: Command, start_service: StartService
) -> None:
    """There is nothing to be learned; what is counted against the cap is the estimate, in full."""
    be = Personality(reserved="null", final="absent", task_s=(0.3, 0.3))
    bench = Bench(command, start_service(be))
    jobs = [{"id": f"j{n}", "params": {"duration": 6 + n}} for n in range(14)]
    prompts = bench.write(jobs, budget={"max_credits": 140}, limits=OPEN)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    began = sorted(payment.at for payment in bench.service.ledger.payments)
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(began[:4])), "one by one at first"
    assert bench.service.ledger.most_running > 5


def test_two_manifests_under_one_cap_for_the_day_try_one_price_never_seen_at_a_time(
    command: Command, start_service: StartService
) -> None:
    """Each alone would fit at the listed price; together with both surprises they would not."""
    service = start_service(Personality(price=40.0, reserved="late", task_s=(1.5, 1.5)))
    bench = Bench(command, service)
    nights = []
    for name, seconds in (("left", 6), ("right", 8)):
        bench.name, bench.manifest = name, command.workspace / f"{name}.yaml"
        bench.write(2, params={"duration": seconds}, budget={"max_credits_per_day": 30}, limits=OPEN)
        nights.append(bench.start())

    outcomes = [ended(night) for night in nights]

    assert [outcome.code for outcome in outcomes] == [8, 8], said(outcomes[0]) + said(outcomes[1])
    assert service.ledger.taken == 40


def test_a_probe_of_a_manifest_that_does_not_run_is_named_instead_of_waited_for(
    command: Command, start_service: StartService
) -> None:
    service = start_service(Personality(price=40.0, reserved="late"))
    service.rule("submit", "kill_after")
    bench = Bench(command, service)
    bench.name, bench.manifest = "left", command.workspace / "left.yaml"
    bench.write(1, params={"duration": 6}, budget={"max_credits_per_day": 100})
    killed = bench.run()
    service.rules.clear()
    service.victim = None
    bench.name, bench.manifest = "right", command.workspace / "right.yaml"
    bench.write(1, params={"duration": 8}, budget={"max_credits_per_day": 100})

    right = bench.run()
    bench.command("run", command.workspace / "left.yaml", "--yes")
    again = bench.run()

    assert killed.code == -9
    assert right.code == 3, said(right)
    assert "an unclear payment of another manifest" in said(right)
    assert again.code == 0, said(again)
    assert service.ledger.taken == 80


def test_a_plan_tells_which_jobs_the_cap_of_a_job_will_hold_back(bench: Bench) -> None:
    """Without it a night of such jobs was planned, agreed to, and not one of them sent."""
    jobs = [{"id": "short"}, {"id": "long", "params": {"duration": 30}}]
    prices = {"grok-imagine-video": [{"params": {"duration": 30}, "credits": 50}]}
    bench.write(jobs, budget={"max_credits_per_job": 20}, prices=prices)

    told = bench.command("plan", bench.manifest)
    plan = bench.command("plan", bench.manifest, "--json").json
    outcome = bench.run()

    assert "1 job of these costs more than max_credits_per_job (20)" in told.stdout
    assert plan["credits"]["jobs_above_cap"] == 1
    assert outcome.code == 8, said(outcome)
    assert len(bench.service.ledger.payments) == 1


def test_a_known_price_needs_no_probe_and_fills_the_cap_exactly(bench: Bench) -> None:
    bench.write(4)
    assert bench.run().code == 0
    bench.write(30, budget={"max_credits": 200}, limits=OPEN)
    bench.service.ledger.most_running = 0
    bench.service.become(task_s=(0.3, 0.3))

    outcome = bench.run()

    assert outcome.code == 8, said(outcome)
    assert bench.service.ledger.taken == 200
    assert bench.service.ledger.most_running > 2
    assert bench.states() == {"done": 20, "planned": 10}


@pytest.mark.parametrize("how", [402, slow(400), slow(403), 409, "task", "task-null"])
def test_an_empty_account_is_a_pause_in_each_disguise(
    command: Command, start_service: StartService, how: Any
) -> None:
    """Room for three; then a top-up, and the rest is made without paying for anything twice."""
    bench = Bench(command, start_service(Personality(empty_account=how)))
    bench.service.wallets["ours"].balance = 30.0
    prompts = bench.write(20)

    empty = bench.run()
    posts = len(bench.service.ledger.posts)
    states = bench.states()
    bench.service.wallets["ours"].balance = 1000.0
    after = bench.run()

    assert empty.code == 8, said(empty)
    assert posts <= 3 + 10 + 2  # as many as may be open at once when the first is refused
    assert states["done"] == 3
    if how == "task-null":
        # Nobody said that nothing was charged: paying once more is for a person to decide.
        assert after.code == 3, said(after)
        after = bench.command("retry", bench.manifest, "--yes")
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)


def test_what_the_service_gives_back_is_released_and_what_it_does_not_say_is_charged(bench: Bench) -> None:
    from tests.imitation.tasks import Fate

    bench.write([{"id": "fine"}, {"id": "back"}])
    bench.service.fates["prompt of back"] = Fate(status="failed")
    assert bench.run().code == 3
    bench.service.become(final="absent", refunds=False)
    bench.service.fates["prompt of kept"] = Fate(status="failed")
    bench.write([{"id": "fine"}, {"id": "back"}, {"id": "kept"}])

    outcome = bench.run()

    assert outcome.code == 3, said(outcome)
    kept = dict(bench.rows("j.job, l.amount", "ledger l JOIN jobs j ON j.id = l.job"))
    assert kept == {"fine": 10, "back": 0, "kept": 10}
    assert bench.service.ledger.charged == 20


def test_a_service_that_names_no_amounts_is_held_by_what_its_balance_says(
    command: Command, start_service: StartService
) -> None:
    """A cap of 400 was charged 1,200 for jobs that were counted at the listed price."""
    bench = Bench(
        command, start_service(Personality(price=lambda body: 60.0, reserved="absent", final="absent"))
    )
    bench.write(20, budget={"max_credits": 400}, limits=OPEN)

    first = bench.run()
    second = bench.run()

    assert (first.code, second.code) == (8, 8), said(first)
    assert "the service names no amounts, and its balance has fallen by 180 credits" in first.stderr
    assert "once the price is given" in first.stderr
    assert "just as expected" not in said(first)
    assert len(bench.service.ledger.payments) == 6, "three in each run"
