"""What is lost on our side: databases deleted, or restored from an old copy. What is on disk is not paid for again."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.personality import Personality
from tests.support import Command


@pytest.mark.parametrize("copy", ["none", "old"])
def test_without_idempotency_the_sidecars_alone_keep_results_from_being_paid_again(
    copy: str, command: Command, start_service: StartService
) -> None:
    """The database is gone, or an old copy of it came back that knows one job of four."""
    bench = Bench(command, start_service(Personality(idempotency="none")))
    backup = command.workspace / "backup"
    bench.picture()
    prompts = bench.write([{"id": "a"}])
    assert bench.run().code == 0
    shutil.copytree(bench.database.parent, backup)
    jobs: list[dict[str, Any]] = [
        {"id": "a"},
        {"id": "b", "references": ["ref.png"]},
        {"id": "c", "repeat": 2},
    ]
    prompts = [*prompts, *bench.write(jobs)[1:], "prompt of c"]
    assert bench.run().code == 0
    sha = bench.results()

    shutil.rmtree(bench.database.parent)
    if copy == "old":
        shutil.copytree(backup, bench.database.parent)
    else:
        bench.database.parent.mkdir()
    restored = bench.run()
    bench.write([*jobs, {"id": "d"}])
    more = bench.run()

    assert (restored.code, more.code) == (0, 0), said(restored) + said(more)
    assert ("with a new database" in restored.stderr) == (copy == "none")
    assert "taken over" in restored.stderr
    assert "for free" in restored.stderr
    assert len(bench.service.ledger.payments) == 5
    assert sha.items() <= bench.results().items()
    bench.assert_whole([*prompts, "prompt of d"])


def test_what_was_paid_after_the_database_was_copied_is_not_paid_again(
    command: Command, start_service: StartService
) -> None:
    """A second round, and a submit whose answer was lost: both had brought their results home since the copy."""
    from tests.imitation.tasks import Fate

    service = start_service(Personality())
    bench = Bench(command, service)
    backup = command.workspace / "backup"
    bench.write([{"id": "failed"}, {"id": "lost"}], limits={"in_flight": 1})
    service.fates["prompt of failed"] = Fate(status="failed", times=1)
    service.rule("submit", "kill_after", where=lambda request: b"prompt of lost" in request.body)
    assert bench.run().code == -9
    shutil.copytree(bench.database.parent, backup)
    service.rules.clear()
    service.victim = None
    assert bench.run().code == 3
    assert bench.command("retry", bench.manifest, "--yes").code == 0
    payments, results = len(service.ledger.payments), bench.results()
    assert (payments, len(results)) == (3, 2)
    shutil.rmtree(bench.database.parent)
    shutil.copytree(backup, bench.database.parent)
    service.forget_keys()

    again = bench.command("retry", bench.manifest, "--yes")

    assert again.code == 0, said(again)
    assert "the results of 2 jobs" in again.stderr
    assert (len(service.ledger.payments), bench.results()) == (payments, results)
    assert dict(bench.rows("job, round")) == {"failed": 2, "lost": 1}
    assert bench.rows("charged, reserved", "credit_totals") == [(20, 0)]


@pytest.mark.parametrize("cap", ["max_credits", "max_credits_per_day"])
def test_a_cap_counts_what_is_on_disk_though_the_database_is_lost(cap: str, bench: Bench) -> None:
    """Four were paid under a cap of six; with the database gone the cap was as good as new."""
    budget = {cap: 60}
    bench.write(4, budget=budget)
    assert bench.run().code == 0
    shutil.rmtree(bench.database.parent)
    bench.database.parent.mkdir()
    bench.write(9, budget=budget)

    outcome = bench.run()
    again = bench.run()

    assert (outcome.code, again.code) == (8, 8), said(outcome)
    assert bench.service.ledger.taken == 60
    assert bench.states() == {"done": 6, "planned": 3}
    assert bench.rows("sum(charged)", "v_credits") == [(60,)]


def test_an_old_copy_from_the_middle_of_a_night_sends_the_same_bytes_again(bench: Bench) -> None:
    """Tasks it does not know of were paid; their keys find them again while the service remembers."""
    prompts = bench.write(3)
    bench.service.rule("submit", "kill_answered", skip=2)
    assert bench.run().code == -9
    shutil.copytree(bench.database.parent, bench.command.workspace / "backup")
    bench.service.rules.clear()
    prompts += bench.write(6)[3:]
    bench.service.become(task_s=(600.0, 600.0))
    assert bench.run("--stop-after", "1s").code == 10
    for task in bench.service.tasks.values():
        task.ends = 0.0

    shutil.rmtree(bench.database.parent)
    shutil.copytree(bench.command.workspace / "backup", bench.database.parent)
    refused = bench.run()
    outcome = bench.run("--may-pay-twice")

    assert refused.code == 2, said(refused)
    assert "knew 6 payments, this database knows 3" in refused.stderr
    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)


@pytest.mark.parametrize("lost", ["the file", "the folder", "the file and the films"])
def test_a_database_older_than_the_last_run_is_told_before_anything_is_paid_again(
    lost: str, command: Command, start_service: StartService
) -> None:
    """A backup from before the night was put back; the films had been archived, so nothing on the disk told of them."""
    bench = Bench(command, start_service(Personality(idempotency="none")))
    bench.write(2)
    assert bench.run().code == 0
    backup = command.workspace / "backup"
    shutil.copytree(bench.database.parent, backup)
    prompts = bench.write(6)
    assert bench.run().code == 0
    night = command.workspace / "night.db"
    shutil.copy(bench.database, night)
    archive = command.workspace / "archive"
    if lost == "the file and the films":
        bench.out.rename(archive)
    else:
        archive.mkdir()
        for film in [*bench.out.glob("*.mp4"), *bench.out.glob("*.json")]:
            film.rename(archive / film.name)
    if lost == "the folder":
        shutil.rmtree(bench.database.parent)
        shutil.copytree(backup, bench.database.parent)
    else:
        shutil.copy(backup / "runner.db", bench.database)

    plan = command("plan", bench.manifest)
    refused = bench.run()
    retried = command("retry", bench.manifest, "--yes")
    night.rename(bench.database.with_name("runner (1).db"))
    with_copy = bench.run()
    paid = len(bench.service.ledger.payments)
    bench.database.with_name("runner (1).db").replace(bench.database)
    right = bench.run()

    words = "knew 6 payments, this database knows 2; 4 cannot be found on disk either"
    assert f"{words}; put the right database back" in plan.stdout
    assert (refused.code, with_copy.code) == (2, 2), said(refused) + said(with_copy)
    assert words in refused.stderr
    assert "--may-pay-twice" in refused.stderr
    assert retried.code == 0, said(retried)
    assert "a complete copy is beside it: `mv " in with_copy.stderr
    assert paid == 6
    assert right.code == 0, said(right)
    assert "is older than" not in right.stderr
    assert {prompt: len(bench.service.ledger.of(prompt)) for prompt in prompts} == dict.fromkeys(prompts, 1)


def test_to_go_on_without_what_is_lost_takes_a_word_and_is_asked_once(bench: Bench) -> None:
    bench.write(3)
    assert bench.run().code == 0
    shutil.rmtree(bench.database.parent)
    bench.database.parent.mkdir()
    (bench.out / "job-2.mp4").unlink()

    plan = bench.command("plan", bench.manifest)
    refused = bench.run()
    made = bench.database.exists()
    went_on = bench.run("--may-pay-twice")
    bench.write(4)
    after = bench.run()

    lost = "night was run before: 3 payments"
    assert lost in plan.stdout
    assert refused.code == 2, said(refused)
    assert f"error: {lost}" in refused.stderr
    assert "is gone; 1 of them cannot be found on disk either" in refused.stderr
    assert not made
    assert (went_on.code, after.code) == (0, 0), said(went_on) + said(after)
    assert f"warning: {lost}" in went_on.stderr
    assert "warning" not in after.stderr
