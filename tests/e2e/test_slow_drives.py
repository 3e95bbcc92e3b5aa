"""Files on a drive that does not answer: they are named, nothing else waits for them, and a person can leave."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imitation.faults import On
from tests.imitation.fixtures import PNG, Bench, ended, said
from tests.slow_drive import SlowDrive

SOON = {"TEST_CLOCK_SPEED": "25"}


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[SlowDrive]:
    """A drive with one picture."""
    drive = SlowDrive(tmp_path / "cloud", PNG)
    if not drive.mounted:
        pytest.skip("this machine lets nobody mount a drive of their own")
    yield drive
    drive.close()


def test_a_file_that_does_not_come_is_named_and_one_ctrl_c_leaves(bench: Bench, drive: SlowDrive) -> None:
    """The system lets no signal end such a read, not even kill -9: it has to be another process that waits."""
    (bench.manifest.parent / "assets").symlink_to(drive.point)
    bench.write([{"id": "a", "references": ["assets/ref.png"]}])
    drive.hold()
    for command in (
        ("plan", bench.manifest),
        ("run", bench.manifest, "--yes"),
        ("validate", drive.point / "x.yaml"),
    ):
        process = bench.command.start(*command, env=SOON)
        assert process.stderr is not None
        line = next(line for line in process.stderr if "waiting for" in line)
        process.send_signal(signal.SIGINT)

        assert ended(process, timeout_s=20).code == 130
        assert ("x.yaml" if command[0] == "validate" else "assets/ref.png") in line
    assert bench.service.ledger.requests == 0

    drive.go()
    assert bench.run().code == 0


def test_a_drive_that_goes_away_under_a_run_holds_up_its_own_jobs_only(
    bench: Bench, drive: SlowDrive
) -> None:
    bench.write(
        [{"id": "a", "references": [str(drive.point / "ref.png")]}, *({"id": f"b{n}"} for n in range(5))]
    )
    assert bench.run("--limit", "0").code == 0  # looked at and hashed
    bench.service.observer = lambda on, _: drive.hold() if on is On.SUBMIT else None
    bench.service.rule("upload", "drop_before")
    outcome = bench.run(env={"TEST_CLOCK_SPEED": "120"})

    assert outcome.code == 5, said(outcome)
    assert "ref.png cannot be read: its drive has not answered for 30 s" in outcome.stderr
    assert bench.states() == {"done": 5, "uploading": 1}

    drive.go()
    bench.service.observer = None
    assert bench.run().code == 0
