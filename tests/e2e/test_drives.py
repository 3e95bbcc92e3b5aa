"""A drive that goes away between two commands: each says so in one line, and all goes on once it is back."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.imitation.fixtures import Bench, said
from tests.support import Outcome

Unplug = Callable[[Path], None]
PlugIn = Callable[[], None]


@pytest.fixture
def drive() -> Iterator[tuple[Unplug, PlugIn]]:
    """Cover a folder by a FUSE mount whose server has gone: whatever is asked there, the answer is ENOTCONN."""
    covered: list[Path] = []

    def unplug(folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            server = os.open("/dev/fuse", os.O_RDWR)
        except OSError:
            pytest.skip("no FUSE here")
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
        failed = libc.mount(b"gone", os.fsencode(folder), b"fuse", 0, options)
        os.close(server)
        if failed:
            pytest.skip("only root may mount")
        covered.append(folder)

    def plug_in() -> None:
        while covered:
            subprocess.run(["umount", "-l", str(covered.pop())], check=True)

    yield unplug, plug_in
    plug_in()


def typed(bench: Bench, name: str, *more: str) -> Outcome:
    """Type a command about the manifest, from a folder that is always there."""
    return bench.command(name, bench.manifest, *more, cwd=Path("/"))


def test_a_drive_that_is_away_is_one_line_and_5_and_all_goes_on_once_it_is_back(
    bench: Bench, drive: tuple[Unplug, PlugIn]
) -> None:
    unplug, plug_in = drive
    bench.write(2)
    assert bench.run().code == 0
    prompts = bench.write(3)
    told: dict[str, Outcome] = {}

    for where, commands in {
        bench.out: ("plan", "run --yes", "report"),
        bench.database.parent: ("plan", "run --yes", "status", "retry --yes", "export"),
        bench.manifest.parent: ("plan", "run --yes", "serve", "resolve job-1 --abandon --yes"),
    }.items():
        unplug(where)
        told |= {f"{where.name}: {command}": typed(bench, *command.split()) for command in commands}
        # What does not need it works without it.
        if where == bench.out:
            assert typed(bench, "status").code == typed(bench, "export").code == 0
        plug_in()
    paid = len(bench.service.ledger.payments)
    after = bench.run()

    for command, outcome in told.items():
        lines = [line for line in outcome.stderr.splitlines() if not line.startswith("state database")]
        assert outcome.code == 5, f"{command}: {said(outcome)}"
        assert "Transport endpoint is not connected" in lines[0], f"{command}: {said(outcome)}"
        assert [line.partition(":")[0] for line in lines] == ["error", "hint"], f"{command}: {said(outcome)}"
    assert paid == 2
    assert after.code == 0, said(after)
    bench.assert_whole(prompts)
