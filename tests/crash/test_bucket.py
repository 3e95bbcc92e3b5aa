"""Results in a bucket that speaks S3: killed at any request to it, cut off from it, refused by it. The books decide."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runner.model import ObjectPath
from runner.results import bucket as bucket_module
from runner.results.files import OutputFolder
from runner.results.storage import storage_of
from tests import buckets
from tests.buckets import DROP, Gate, S3Server, refusal
from tests.databases import close_all, empty_state, of_kind, server
from tests.imitation.fixtures import Bench, ended, said
from tests.support import Process, until_said, wait_for
from tests.unit.test_bucket import came

s3, gate = buckets.s3, buckets.gate

pytestmark = [pytest.mark.crash, pytest.mark.extra]

KILLS = 16  # `--crash-rounds=N` for more
JOBS = 12
REQUESTS = 40  # of a run, among which it is killed at one


def use(bench: Bench, gate: Gate, bucket: str) -> dict[str, Any]:
    """Make this the bucket of all later runs; return what a manifest has to say for that."""
    gate.server.make(bucket)
    bench.command.environment |= {**gate.server.environment, "AWS_ENDPOINT_URL": gate.url}
    return {"output": {"dir": f"s3://{bucket}/night", "name": "shots/${id}"}}


def assert_whole(bench: Bench, s3: S3Server, bucket: str, prompts: list[str]) -> None:
    """Each of these was paid once, and its result is in the bucket, whole, and nothing else is; nothing is left here."""
    store, contents = s3.store(bucket), bench.service.contents
    names = [
        name for name in s3.objects(bucket) if not name.startswith(("night/.marks/", "night/.parts/try-"))
    ]
    films = [name for name in names if name.endswith(".mp4")]
    found = [contents[hashlib.sha256(bytes(store.get(name).bytes())).hexdigest()] for name in films]

    assert Counter(prompts) == bench.service.ledger.paid
    assert sorted(found) == sorted(prompts)
    assert sorted(names) == sorted(
        ["night/report.html", *films, *(name.replace(".mp4", ".json") for name in films)]
    )
    assert bench.states() == {"done": len(prompts)}
    assert bench.rows("sum(amount)", "ledger")[0][0] == bench.service.ledger.charged
    arriving = bench.database.parent / "arriving"
    assert not [each for each in arriving.rglob("*") if each.is_file()]


def tried_again(gate: Gate) -> None:
    """Wait until a run has asked for its bucket once more; obstore does so three times before it says anything."""
    before = len(gate.seen)
    wait_for(lambda: len(gate.seen) > before + 3, within_s=60)


class Killer:
    """Kills a run at one of its requests to the bucket, before it is passed on or after."""

    def __init__(self, gate: Gate, *, at: int, after: bool) -> None:
        self.victim: Process | None = None
        self._gate, self._at, self._after = gate, len(gate.seen) + at, after
        gate.act = self

    def __call__(self, what: str, passed: bool) -> tuple[int, bytes] | None:
        if self.victim is None or passed != self._after or len(self._gate.seen) <= self._at:
            return None
        self.victim.kill()
        return DROP


def test_killed_at_any_request_to_the_bucket_nothing_is_lost_and_nothing_paid_twice(
    bench: Bench, gate: Gate, s3: S3Server, pytestconfig: pytest.Config
) -> None:
    kills = pytestconfig.getoption("--crash-rounds") or KILLS
    dice = random.Random(f"bucket {kills}")
    head = use(bench, gate, "killed")
    jobs = max(JOBS, kills)
    killed, listed = 0, 2
    killed_at: list[str] = []
    for _ in range(kills * 3):
        prompts = bench.write([{"id": f"j{n}"} for n in range(listed)], **head)
        killer = Killer(gate, at=dice.randrange(REQUESTS), after=dice.random() < 0.5)
        killer.victim = process = bench.start()
        outcome = ended(process)
        gate.act = lambda what, passed: None
        assert outcome.code in (-9, 0), said(outcome)
        if outcome.code == -9:
            killed += 1
            killed_at.append(re.sub(r"j\d+|[0-9a-f]{16}|\?.*", "…", gate.seen[-1]))
        if outcome.code == 0:
            listed += 2
        if killed >= kills or listed > jobs:
            break
    last, again = bench.run(), bench.run()
    print(f"{killed} kills at {dict(Counter(killed_at))}, {len(prompts)} jobs")

    assert killed >= kills // 2
    assert (last.code, again.code) == (0, 0), said(last)
    assert "nothing to send" in again.stdout
    assert_whole(bench, s3, "killed", prompts)


def test_a_bucket_that_is_away_for_a_while_holds_new_submits(bench: Bench, gate: Gate, s3: S3Server) -> None:
    head = use(bench, gate, "away")
    prompts = bench.write(20, limits={"in_flight": 4, "downloads": 2}, **head)
    begun = threading.Event()

    def away(what: str, passed: bool) -> tuple[int, bytes] | None:
        if ".mp4" in what:
            begun.set()
        return DROP if begun.is_set() else None

    gate.act = away
    process = bench.start()
    assert begun.wait(30)
    until_said(process, "no new jobs are submitted while results cannot be kept: s3://away")
    tried_again(gate)  # what was under way to the service by then has arrived
    sent = len(bench.service.ledger.posts)
    tried_again(gate)
    assert len(bench.service.ledger.posts) == sent < 20
    gate.act = lambda what, passed: None
    outcome = ended(process, timeout_s=120)

    assert outcome.code == 0, said(outcome)
    assert "results can be kept again" in outcome.stderr
    assert_whole(bench, s3, "away", prompts)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "these credentials may not write objects in s3://refused"),
        ("InvalidAccessKeyId", "the credentials for s3://refused are refused"),
        ("NoSuchBucket", "there is no bucket s3://refused"),
    ],
)
def test_a_refusal_is_one_line_before_anything_is_sent(
    code: str, words: str, bench: Bench, gate: Gate, s3: S3Server
) -> None:
    head = use(bench, gate, "refused")
    bench.write(2, **head)
    gate.act = lambda what, passed: (403, refusal(code, "no")) if what.startswith("PUT") else None

    outcome = bench.run()

    assert outcome.code == 2, said(outcome)
    assert words in outcome.stderr
    assert "a-secret" not in said(outcome)
    kept = [each.read_bytes() for each in bench.database.parent.rglob("*") if each.is_file()]
    assert kept
    assert not any(b"a-secret" in each for each in kept)
    assert not bench.service.ledger.posts


@pytest.mark.parametrize("how", ["no right to write any more", "away"])
def test_a_run_may_be_stopped_while_its_bucket_takes_nothing(
    how: str, bench: Bench, gate: Gate, s3: S3Server
) -> None:
    """What is paid is kept, and comes home once the bucket takes it."""
    bucket = "taken" if how == "away" else "refused-later"
    head = use(bench, gate, bucket)
    prompts = bench.write(6, **head)
    begun = threading.Event()

    def act(what: str, passed: bool) -> tuple[int, bytes] | None:
        if "PUT" in what and ".mp4" in what:
            begun.set()
            return DROP if how == "away" else (403, refusal("AccessDenied", "no"))
        return DROP if how == "away" and begun.is_set() else None

    gate.act = act
    process = bench.start()
    assert begun.wait(30)
    until_said(process, "results cannot be kept")
    process.send_signal(2)
    stopped = ended(process)
    gate.act = lambda what, passed: None
    outcome = bench.run()

    assert stopped.code == 130, said(stopped)
    assert "what is paid" in stopped.stdout + stopped.stderr or "continue" in said(stopped), said(stopped)
    assert outcome.code == 0, said(outcome)
    assert_whole(bench, s3, bucket, prompts)


def test_a_lost_database_takes_over_what_is_in_the_bucket(bench: Bench, gate: Gate, s3: S3Server) -> None:
    head = use(bench, gate, "adopted")
    prompts = bench.write(5, **head)
    assert bench.run().code == 0
    for path in bench.database.parent.glob("runner.db*"):
        path.unlink()

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert "already on disk, taken over for free" in outcome.stderr
    assert Counter(prompts) == bench.service.ledger.paid


def test_what_was_on_its_way_to_a_bucket_goes_when_results_go_to_a_folder(
    bench: Bench, gate: Gate, s3: S3Server
) -> None:
    head = use(bench, gate, "left")
    prompts = bench.write(3, **head)

    def kill(what: str, passed: bool) -> tuple[int, bytes] | None:
        if "PUT" in what and ".mp4" in what:
            process.kill()
            return DROP
        return None

    gate.act = kill
    process = bench.start()
    assert ended(process).code == -9
    arriving = bench.database.parent / "arriving"
    assert list(arriving.rglob("*.part"))
    gate.act = lambda what, passed: None
    bench.write(3)

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    bench.assert_whole(prompts)
    assert not [each for each in arriving.rglob("*") if each.is_file()]


def test_results_move_to_a_bucket_when_the_manifest_says_so(bench: Bench, gate: Gate, s3: S3Server) -> None:
    prompts = bench.write(3)
    assert bench.run().code == 0
    bench.write(3, **use(bench, gate, "moved"))

    outcome = bench.run()
    copied = bench.command("export", bench.manifest, "--copy-to", bench.command.workspace / "copy", env={})

    assert outcome.code == 0, said(outcome)
    assert "3 files moved to where the manifest wants them now" in outcome.stderr
    assert copied.code == 0, said(copied)
    shas = [
        hashlib.sha256(each.read_bytes()).hexdigest()
        for each in Path(bench.command.workspace / "copy").rglob("*.mp4")
    ]
    assert sorted(bench.service.contents[sha] for sha in shas) == sorted(prompts)
    assert Counter(prompts) == bench.service.ledger.paid


def test_several_runs_share_a_bucket_and_one_of_them_is_killed(
    bench: Bench, gate: Gate, s3: S3Server
) -> None:
    with of_kind("postgresql"):
        empty_state()
        close_all()
    head = use(bench, gate, "shared")
    bench.command.environment["RIVYA_STATE"] = server()
    jobs = [{"id": f"j{n}", "references": [bench.picture("a.png", "a")]} for n in range(40)]
    prompts = bench.write(jobs, limits={"requests_per_second": 30, "in_flight": 9}, **head)
    first = bench.start()
    wait_for(lambda: bench.service.ledger.posts)
    (bench.command.workspace / "a.png").unlink()
    others = [bench.start(), bench.start()]
    wait_for(lambda: len([each for each in s3.objects("shared") if each.endswith(".mp4")]) > 5)
    first.kill()
    ended(first)
    outcomes = [ended(each, timeout_s=120) for each in others]
    last = bench.run()

    assert [each.code for each in (*outcomes, last)] == [0, 0, 0], "\n".join(map(said, (*outcomes, last)))
    assert bench.command("state", "copy", "--to", bench.database).code == 0
    kept = [name for name in s3.objects("shared") if name.startswith("night/.references/")]
    assert len(kept) == 1
    s3.store("shared").delete(kept)
    assert_whole(bench, s3, "shared", prompts)


@pytest.mark.parametrize("root", ["s3://names", "s3://names/pre fix/50% #1"])
def test_any_name_that_a_file_may_have_is_a_name_in_a_bucket(
    root: str, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is so large that it goes in pieces; each is superseded once."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bucket_module, "_open", {})
    with suppress(OSError):
        s3.make("names")
    place = ObjectPath(root)
    folder, storage = OutputFolder(place, scratch=tmp_path), storage_of(place)
    folder.prepare()

    for stem in ("50% #1 [x]~^`{}|", "ü é 🎬", "a+b&c=d?e", "q'\"<>*", "sub/ä/x", "b\\c", "%41", "a..b"):
        for data in (b"first", b"x" * (17_000_000 if "ü" in stem else 6)):
            result = came(folder, data, stem)
            (made,) = folder.publish(stem, {1: result})

            assert storage.sizes(place)(str(made.path)) == len(data)
            assert made.path.name in storage.names_in(made.path.parent)
            assert storage.holds(made.path, result.sha256, len(data))
        assert storage.read(place / ".old" / f"{stem}.1.mp4", 100) == b"first"
