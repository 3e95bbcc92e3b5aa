"""A job that takes another one's result, killed at each effect of both, then run again: the service's own book decides."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any

import pytest

from tests.crash.test_each_effect import EFFECTS, is_killed
from tests.crash.test_each_system_call import strace
from tests.imitation.fixtures import Bench, StartService, ended, said
from tests.imitation.personality import Personality
from tests.support import Command

__all__ = ["strace"]
pytestmark = pytest.mark.crash

JOBS: list[dict[str, Any]] = [
    {"id": "film", "references": [{"job": "still"}]},
    {"id": "still", "model": "z-image"},
    {"id": "last", "references": [{"job": "chosen", "pick": True}]},
    {"id": "chosen", "model": "z-image", "repeat": 1},
]


def assert_sent_with_the_still(bench: Bench, film: str, still: str) -> None:
    """Each submit of a film named the file that is on the disk."""
    on_disk = hashlib.sha256((bench.out / f"{still}.png").read_bytes()).hexdigest()
    (row,) = bench.rows("refs", where=f"job = '{film}' AND listed")
    assert on_disk in row[0]
    assert {upload.sha256 for upload in bench.service.ledger.uploads} >= {on_disk}
    assert len({post.body for post in bench.service.ledger.of(f"prompt of {film}")}) == 1


@pytest.mark.parametrize(
    ("effect", "when"),
    [
        ("upload", "before"),
        ("submit", "after"),
        *(
            pytest.param(effect, when, marks=pytest.mark.slow)
            for effect in EFFECTS
            for when in ("before", "after", "answered")
            if (effect, when) not in (("upload", "before"), ("submit", "after"))
        ),
    ],
)
def test_killed_at_each_request_of_both_each_is_paid_once(effect: str, when: str, bench: Bench) -> None:
    """At the first request of a kind, then at the second of the run after, and so on until none is left to kill at."""
    prompts = bench.write(JOBS)
    kills = 0
    for skip in (0, 0, 1, 1, 0):
        if bench.database.exists() and bench.states()["done"] == 3:
            break
        rule = bench.service.rule(effect, f"kill_{when}", skip=skip)
        outcome = bench.run()
        bench.service.rules.remove(rule)
        kills += rule.seen > skip
        assert outcome.code == (-9 if rule.seen > skip else 3), said(outcome)
    waits = bench.run()
    picked = bench.command("pick", bench.manifest, "chosen-1")
    killed = is_killed(bench, effect, when, 0)
    last = bench.run()

    assert kills >= 1
    assert killed
    assert (waits.code, picked.code, last.code) == (3, 0, 0), said(last)
    bench.assert_whole(prompts)
    assert bench.states() == {"done": 4}
    assert_sent_with_the_still(bench, "film", "still")
    assert_sent_with_the_still(bench, "last", "chosen-1")


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fdatasync", "rename", "sendto"])
def test_killed_at_each_system_call_of_both_each_is_paid_once(
    call: str, strace: str, command: Command, start_service: StartService
) -> None:
    """Between a still that is home and the film that is to be sent there are only writes of the database."""
    kills = 0
    for number in range(1, 120, 2 if call == "sendto" else 1):
        folder = command.workspace / f"{call}-{number}"
        (folder / "state").mkdir(parents=True)
        bench = Bench(Command(workspace=folder, warm=command.warm), start_service(Personality(task_s=(0, 0))))
        prompts = bench.write(JOBS[:2])
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        wrapper = (strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        first = ended(bench.start(wrapper=wrapper))
        last = bench.run()

        assert first.code in (-9, 137, 0), said(first)
        assert last.code == 0, f"{call} {number}: {said(last)}"
        bench.assert_whole(prompts)
        assert_sent_with_the_still(bench, "film", "still")
        bench.service.close()
        bench.command.close()
        shutil.rmtree(folder)
        if first.code == 0:
            break
        kills += 1
    assert kills, f"no life of two jobs calls {call}"
