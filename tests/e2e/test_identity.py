"""What a change of the manifest costs; and whose database, service and account a manifest belongs to."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tests.imitation.fixtures import Bench, StartService, said
from tests.imitation.service import OTHER_KEY, STRANGER_KEY
from tests.support import Command


def sent(bench: Bench) -> int:
    """Run, and return how many jobs that paid for."""
    before = len(bench.service.ledger.payments)
    outcome = bench.run()
    assert outcome.code == 0, said(outcome)
    return len(bench.service.ledger.payments) - before


def test_what_each_change_of_a_manifest_costs(bench: Bench) -> None:
    a, b, c = ({"id": name} for name in "abc")
    bench.write([a, b])
    assert sent(bench) == 2
    requests = bench.service.ledger.requests

    assert sent(bench) == 0
    assert bench.service.ledger.requests == requests, "a finished manifest asks nothing at all"
    bench.write([b, c, a])
    assert sent(bench) == 1, "adding one and moving the others"
    bench.write([b, {"id": "c", "prompt": "another prompt"}, a])
    assert sent(bench) == 1, "editing one"
    bench.write([{"id": "b2", "prompt": "prompt of b"}, {"id": "c", "prompt": "another prompt"}, a])
    assert sent(bench) == 0, "a new id for the same work"
    bench.write([a, {"id": "c"}])
    assert sent(bench) == 0, "taking one away, and an edit taken back"
    assert {"a.mp4", "c.mp4"} <= set(bench.results())
    assert bench.service.contents[bench.results()["c.mp4"]] == "prompt of c"
    assert bench.service.ledger.paid_twice == {}


def test_what_an_edit_taken_back_supersedes_keeps_its_own_description(bench: Bench) -> None:
    """A file in `.old/` had beside it the sidecar of the one that had left it."""
    for jobs in ([{"id": "a"}], [{"id": "a", "prompt": "edited"}], [{"id": "b"}], [{"id": "a"}]):
        bench.write(jobs)
        assert bench.run().code == 0

    old = bench.out / ".old"
    described = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in old.glob("*.json")}
    files = {path.stem: bench.service.contents[sha256_of(path)] for path in old.glob("*.mp4")}

    assert {f"{stem}.json": prompt for stem, prompt in files.items()} == {
        name: told["prompt"] for name, told in described.items()
    }
    assert list(files.values()) == ["edited"]
    assert bench.service.contents[bench.results()["a.mp4"]] == "prompt of a"
    assert len(bench.service.ledger.payments) == 3


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_takes_taken_away_and_wanted_again_cost_nothing(bench: Bench) -> None:
    paid = []
    for takes in (3, 2, 3, 4):
        bench.write([{"id": "take", "repeat": takes}])
        paid.append(sent(bench))

    assert paid == [3, 0, 0, 1]
    assert sorted(bench.results()) == [f"take-{number}.mp4" for number in (1, 2, 3, 4)]
    assert len(set(bench.results().values())) == 4


def test_another_service_or_another_file_of_the_same_name_is_refused(
    bench: Bench, start_service: StartService
) -> None:
    bench.write(1)
    assert sent(bench) == 1
    other = start_service()
    copied = shutil.copy(bench.manifest, bench.manifest.with_name("copy.yaml"))

    elsewhere = bench.command("run", bench.manifest, "--yes", env={"RIVYA_BASE_URL": other.base_url})
    twin = bench.command("run", copied, "--yes")

    assert (elsewhere.code, twin.code) == (2, 2), said(elsewhere) + said(twin)
    assert other.ledger.requests == 0
    assert len(bench.service.ledger.payments) == 1


def test_with_another_key_an_unclear_submit_is_for_a_person_and_a_foreign_task_stops_the_run(
    bench: Bench,
) -> None:
    bench.write(2)
    bench.service.rule("submit", "kill_after", skip=1)
    assert bench.run().code == -9
    bench.service.rules.clear()
    posts = len(bench.service.ledger.posts)

    bench.use(bench.service, OTHER_KEY)
    rotated = bench.run()
    bench.use(bench.service, STRANGER_KEY)
    bench.write(3)
    stranger = bench.run("--limit", "0")

    assert rotated.code == 3, said(rotated)
    assert bench.states()["uncertain"] >= 1
    assert len(bench.service.ledger.posts) == posts
    assert stranger.code == 3, said(stranger)


def test_a_foreign_account_is_told_so_instead_of_polling_for_ever(bench: Bench) -> None:
    bench.write(2)
    bench.service.become(task_s=(600.0, 600.0))
    assert bench.run("--stop-after", "1s").code == 10
    bench.use(bench.service, STRANGER_KEY)

    outcome = bench.run()

    assert outcome.code == 4, said(outcome)
    assert bench.states() == {"waiting": 2}
    assert len(bench.service.ledger.payments) == 2


def test_after_the_database_is_lost_what_is_on_disk_is_not_paid_for_again(bench: Bench) -> None:
    prompts = bench.write(3)
    assert sent(bench) == 3
    for file in bench.database.parent.iterdir():
        file.unlink()
    (bench.out / "job-3.mp4").write_bytes(b"not what was made")

    outcome = bench.run("--may-pay-twice")

    assert outcome.code == 0, said(outcome)
    assert "new" in outcome.stderr
    assert "state" in outcome.stderr
    assert dict(bench.service.ledger.paid) == {prompts[0]: 1, prompts[1]: 1, prompts[2]: 1}
    assert len(bench.service.ledger.of(prompts[2])) == 2, (
        "its bytes are the same, so its key finds the old task"
    )
    bench.assert_whole(prompts)


def test_a_finished_file_that_is_gone_is_fetched_again_unpaid(bench: Bench) -> None:
    prompts = bench.write(3)
    assert sent(bench) == 3
    posts, polls = len(bench.service.ledger.posts), len(bench.service.ledger.polls)
    (bench.out / "job-2.mp4").unlink()

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert "trouble" not in outcome.stderr, "what it does about it is all there is to say"
    assert len(bench.service.ledger.payments) == 3
    assert len(bench.service.ledger.posts) == posts
    assert len(bench.service.ledger.polls) == polls + 1
    bench.assert_whole(prompts)


def test_a_file_that_is_gone_and_whose_task_nobody_knows_is_said_to_be_lost(bench: Bench) -> None:
    bench.write(1)
    assert sent(bench) == 1
    bench.database.unlink()
    beside = bench.out / "job-1.json"
    told = json.loads(beside.read_text(encoding="utf-8"))
    beside.write_text(json.dumps({**told, "task_id": None}), encoding="utf-8")
    assert sent(bench) == 0, "adopted from the disk"
    (bench.out / "job-1.mp4").unlink()

    outcome = bench.run()

    assert outcome.code == 0
    assert "missing on disk, and their tasks are unknown" in said(outcome)
    assert len(bench.service.ledger.payments) == 1


def test_two_manifests_share_a_database_at_the_same_time(bench: Bench, command: Command) -> None:
    first = bench.write(4)
    twin = bench.manifest.with_name("twin.yaml")
    twin.write_text(
        bench.manifest.read_text().replace('"night"', '"twin"').replace("prompt of", "twin of"),
        encoding="utf-8",
    )

    processes = [command.start("run", path, "--yes") for path in (bench.manifest, twin)]
    ended = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], ended
    assert bench.service.ledger.paid_twice == {}
    assert len(bench.service.ledger.payments) == 8
    assert len(bench.results()) == len(first)


def test_a_second_run_of_the_same_manifest_is_told_who_holds_it(bench: Bench, command: Command) -> None:
    bench.write(1)
    bench.service.become(task_s=(600.0, 600.0))
    going = command.start("run", bench.manifest, "--yes", "--json")
    assert going.stdout is not None
    while '"submitted"' not in going.stdout.readline():
        pass

    second = command("run", bench.manifest, "--yes")
    status = command("status", bench.manifest)
    going.kill()

    assert second.code == 11, said(second)
    assert str(going.pid) in second.stderr
    assert status.code == 0, said(status)
    assert "1 waiting" in status.stdout
    assert len(bench.service.ledger.posts) == 1


def test_the_old_id_of_a_renamed_job_is_a_job_of_its_own(bench: Bench) -> None:
    """Its key must not be that of the renamed one: the service would answer with the task that one holds."""
    same = {"prompt": "one prompt"}
    bench.write([{"id": "a", **same}])
    assert sent(bench) == 1
    bench.write([{"id": "b", **same}])
    assert sent(bench) == 0
    bench.write([{"id": "b", **same}, {"id": "a", **same}])

    assert sent(bench) == 1
    assert sorted(bench.results()) == ["a.mp4", "b.mp4"]
    assert len(set(bench.results().values())) == 2
    assert len(bench.service.ledger.bodies_by_key()) == 2


def test_after_a_rotated_key_a_person_may_send_the_unclear_submit_again(bench: Bench) -> None:
    """The same idempotency key and bytes, under the new API key: the account is the same, so it is paid once."""
    prompts = bench.write(1)
    bench.service.rule("submit", "kill_after")
    assert bench.run().code == -9
    bench.use(bench.service, OTHER_KEY)
    rotated = bench.run()
    resolved = bench.command("resolve", bench.manifest, "job-1", "--resend", "--yes")
    after = bench.run()

    assert (rotated.code, resolved.code, after.code) == (3, 0, 0), (
        said(rotated) + said(resolved) + said(after)
    )
    assert [post.outcome for post in bench.service.ledger.posts] == ["created", "replayed"]
    bench.assert_whole(prompts)


def test_work_done_under_another_name_is_told_before_it_is_paid_again(bench: Bench) -> None:
    """The `name:` was edited, or the file copied: all looked new, and all was paid again without a word."""
    prompts = bench.write(3)
    assert sent(bench) == 3
    before = bench.manifest.read_text(encoding="utf-8")
    bench.write([{"id": f"job-{number}"} for number in range(1, 5)], name="day")

    plan = bench.command("plan", bench.manifest)
    told = bench.command("plan", bench.manifest, "--json").json
    asked = bench.command("run", bench.manifest)
    bench.manifest.write_text(before, encoding="utf-8")
    back = bench.run()
    bench.write([{"id": f"job-{number}"} for number in range(1, 5)], name="day")
    meant = bench.run()
    again = bench.command("plan", bench.manifest)

    line = "3 of these are finished under the name `night` and would be paid again"
    assert f"warning    {line}" in plan.stdout
    assert "put `name: night` back" in plan.stdout
    assert told["attention"][0].startswith(line)
    assert asked.code == 2
    assert f"warning: {line}" in asked.stderr
    assert (back.code, meant.code) == (0, 0), said(back) + said(meant)
    assert f"warning: {line}" in meant.stderr
    assert "warning" not in again.stdout, "nothing of it is to be paid any more"
    assert [len(bench.service.ledger.of(prompt)) for prompt in prompts] == [2, 2, 2]


def test_another_version_beside_the_database_is_named_before_money_moves(bench: Bench) -> None:
    """A sync program that met two versions keeps one under another name, and nobody looks."""
    bench.write(3)
    assert sent(bench) == 3
    bench.database.rename(bench.database.with_name("runner (conflicted copy 2026-01-01).db"))
    (bench.command.workspace / ".stfolder").mkdir()
    shutil.rmtree(bench.out)
    bench.write(2)

    plan = bench.command("plan", bench.manifest)
    asked = bench.command("run", bench.manifest, "--may-pay-twice")

    for outcome, text in ((plan, plan.stdout), (asked, asked.stderr)):
        assert (
            "runner (conflicted copy 2026-01-01).db, which knows 3 payments of night that are unknown" in text
        ), said(outcome)
        assert "a folder that Syncthing syncs" in text
    assert len(bench.service.ledger.payments) == 3
