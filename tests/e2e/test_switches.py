"""Jobs that are switched off, by the real command: not paid for, told apart, and on again by another word."""

from __future__ import annotations

from tests.imitation.fixtures import Bench, ended, said
from tests.imitation.tasks import Fate
from tests.support import wait_for
from tests.warm import SPEED


def switch(bench: Bench, *words: str) -> None:
    done = bench.command("switch", bench.manifest, *words)
    assert done.code == 0, said(done)


def test_what_is_off_is_not_sent_and_the_rest_is_the_whole_night(bench: Bench) -> None:
    """It is switched off before there is a database, and on again after the run."""
    prompts = bench.write(5)

    switch(bench, "job-[24]", "--off")
    plan = bench.command("plan", bench.manifest)
    first = bench.run()

    assert "night: 5 jobs: 3 new, 2 switched off" in plan.stdout
    assert "2 switched off: job-2, job-4" in plan.stdout
    assert first.code == 0, said(first)
    assert "night: all 3 jobs are done; 2 switched off" in first.stdout
    assert "switched off, so not submitted: 2 jobs" in first.stderr
    assert bench.states() == {"done": 3, "planned": 2}
    assert len(bench.service.ledger.posts) == 3
    assert "3 done, 2 switched off" in bench.command("status", bench.manifest).stdout
    listed = bench.command("switch", bench.manifest)
    assert listed.stdout.split() == ["job-2", "job-4"]
    assert bench.run("--only", "job-2").code == 0, "off is off, also for who is named"
    assert len(bench.service.ledger.posts) == 3

    switch(bench, "job-4", "--on")
    assert bench.run().code == 0
    assert len(bench.service.ledger.posts) == 4
    switch(bench, "*", "--on")
    assert bench.run().code == 0
    bench.assert_whole(prompts)


def test_an_edited_job_stays_off_and_what_was_sent_cannot_be(bench: Bench) -> None:
    bench.write([{"id": "a"}, {"id": "b"}])
    switch(bench, "b", "--off")
    assert bench.run().code == 0

    refused = bench.command("switch", bench.manifest, "a", "--off")
    bench.write([{"id": "a"}, {"id": "b", "prompt": "another"}])
    assert bench.run().code == 0

    assert "left on: 1 job that was sent already (a)" in refused.stderr
    assert len(bench.service.ledger.posts) == 1
    bench.write([{"id": "a", "prompt": "edited"}, {"id": "b"}])
    switch(bench, "a", "--off")  # its new version is not sent yet
    assert bench.run().code == 0
    assert len(bench.service.ledger.posts) == 1


def test_a_run_that_goes_on_obeys_both_ways(bench: Bench) -> None:
    """One at a time: the last is switched off while the first is out, and one that was off is switched on."""
    service = bench.service
    prompts = bench.write(5, limits={"in_flight": 1})
    service.become(task_s=(0.6, 0.6))
    switch(bench, "job-2", "--off")
    process = bench.start(env={SPEED: "5"})
    wait_for(lambda: len(service.ledger.posts) >= 1)

    switch(bench, "job-5", "--off")
    switch(bench, "job-2", "--on")
    sent = bench.command("switch", bench.manifest, "job-1", "--off")

    outcome = ended(process)
    assert outcome.code == 0, said(outcome)
    assert "0 switched off; 1 job off now" in sent.stderr
    assert sorted(job for job, state in bench.rows() if state == "done") == [
        "job-1",
        "job-2",
        "job-3",
        "job-4",
    ]
    assert len(service.ledger.posts) == 4
    switch(bench, "job-5", "--on")
    assert bench.run().code == 0
    bench.assert_whole(prompts)


def test_a_saved_plan_is_not_run_otherwise(bench: Bench) -> None:
    bench.write(3)
    assert bench.command("plan", bench.manifest, "--out", "plan.json").code == 0
    switch(bench, "job-2", "--off")

    refused = bench.command("run", "plan.json", "--yes")

    assert refused.code == 2
    assert "1 job switched off since: job-2" in refused.stderr
    assert bench.command("plan", bench.manifest, "--out", "plan.json").code == 0
    switch(bench, "job-2", "--on")
    more = bench.command("run", "plan.json", "--yes")
    assert more.code == 2
    assert "1 job not in it: job-2" in more.stderr
    assert not bench.service.ledger.posts


def test_who_asks_for_another_round_switches_it_on(bench: Bench) -> None:
    """A failed job cannot be switched off: it was sent. That it was off before its last round says nothing."""
    bench.write(2)
    bench.service.fates |= {"prompt of job-1": Fate(status="failed", times=1)}
    assert bench.run().code == 3

    refused = bench.command("switch", bench.manifest, "job-1", "--off")

    assert "left on: 1 job" in refused.stderr
    assert bench.command("retry", bench.manifest, "--yes").code == 0
    assert bench.states() == {"done": 2}


def test_what_takes_the_result_of_a_job_that_is_off_waits_and_is_told(bench: Bench) -> None:
    bench.write(
        [
            {"id": "still", "model": "z-image"},
            {"id": "film", "references": [{"job": "still"}]},
            {"id": "alone"},
        ]
    )
    switch(bench, "still", "--off")

    plan = bench.command("plan", bench.manifest)
    first = bench.run()

    assert "1 job needs jobs that are switched off (still)" in plan.stdout
    assert first.code == 3, said(first)
    assert "1 job was not sent, since jobs that it needs are switched off (still)" in first.stderr
    assert bench.states() == {"done": 1, "planned": 2}
    switch(bench, "film", "--off")
    assert bench.run().code == 0, "all that is on is done"
    switch(bench, "*", "--on")
    assert bench.run().code == 0
    assert bench.states() == {"done": 3}
