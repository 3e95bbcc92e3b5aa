"""Which paths lead to drives that may not answer, and how one is waited for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runner.host.drives import CopyFailed, DriveAway, Drives, ReaderProcess

HERE = "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


def table(served: Path) -> str:
    return f"{HERE}90 25 0:50 / {served} rw - fuse.rclone cloud: rw\n91 90 8:2 / {served}/disk rw - ext4 /dev/sdb rw\n"


class Silent(ReaderProcess):
    """Somebody else who waits for a drive that never answers, or answers after so many seconds of a false clock."""

    def __init__(self, clock: list[float], answers_at_s: float = float("inf")) -> None:
        self.read: list[tuple[str, bool]] = []
        self.gone = False
        self._clock, self._answers_at_s = clock, answers_at_s

    def begin(self, path: str, *, whole: bool, copy: str = "") -> None:
        self.read.append((path, whole))

    def hears(self, wait_s: float) -> bool:
        self._clock[0] = min(self._clock[0] + wait_s, max(self._answers_at_s, self._clock[0]))
        return self._clock[0] >= self._answers_at_s

    @property
    def ended(self) -> int | None:
        return 0 if self._clock[0] >= self._answers_at_s else None

    def leave(self) -> None:
        self.gone = True


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("cloud/a/b.png", "cloud/a/b.png"),
        ("cloud", "cloud"),
        ("cloudy/b.png", None),
        ("cloud/disk/b.png", "cloud/disk/b.png"),  # reached by way of the cloud drive's own folder
        ("here/b.png", None),
        ("link/a/b.png", "cloud/a/b.png"),
        ("file.png", "cloud/real.png"),
        ("twice/b.png", "cloud/a/b.png"),
        ("loop/b.png", None),
        ("out/b.png", None),
    ],
)  # fmt: skip
def test_which_paths_lead_to_a_drive_that_may_not_answer(
    path: str, leads: str | None, tmp_path: Path
) -> None:
    """Nothing on the drive itself is looked at: it would have to answer for that."""
    root = tmp_path.resolve()
    (root / "here").mkdir()
    links = {
        "link": "cloud",
        "file.png": root / "cloud/real.png",
        "twice": "here/../link/a",
        "loop": "loop",
        "out": "here",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    drives = Drives(lambda _: None, mounts=lambda: table(root / "cloud"))

    assert drives.leads_away(str(root / path)) == (None if leads is None else str(root / leads))


def test_without_such_drives_nobody_else_is_asked_to_read(tmp_path: Path) -> None:
    drives = Drives(lambda _: None, mounts=lambda: HERE, start=lambda: pytest.fail("nobody is needed"))

    drives.wait_for(tmp_path / "x.png", whole=True)


def test_a_drive_that_does_not_answer_is_named_after_five_seconds_and_each_minute(tmp_path: Path) -> None:
    clock, told = [100.0], list[str]()
    reader = Silent(clock, answers_at_s=230.0)
    drives = Drives(told.append, mounts=lambda: table(tmp_path), start=lambda: reader, clock=lambda: clock[0])

    drives.wait_for(tmp_path / "x.png", whole=True)
    drives.wait_for(tmp_path / "x.png")  # by the same reader

    assert reader.read == [(str(tmp_path / "x.png"), True), (str(tmp_path / "x.png"), False)]
    assert [line.partition("; ")[0] for line in told] == [
        f"waiting for {tmp_path}/x.png: its drive has not answered for {seconds} s"
        for seconds in (5, 65, 125)
    ]
    assert not reader.gone


def test_who_has_other_things_to_do_waits_so_long_only(tmp_path: Path) -> None:
    clock, told = [0.0], list[str]()
    started = [Silent(clock), Silent(clock, answers_at_s=0.0)]
    drives = Drives(
        told.append, mounts=lambda: table(tmp_path), start=lambda: started.pop(0), clock=lambda: clock[0]
    )
    first = started[0]

    with pytest.raises(DriveAway, match="has not answered for 30 s"):
        drives.wait_for(tmp_path / "x.png", most_s=30.0)
    drives.wait_for(tmp_path / "y.png", most_s=30.0)

    assert first.gone
    assert not told
    assert not started, "whoever waits for the first file is not asked to read another"


def test_a_real_reader_reads_and_a_dead_one_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x" * 2_000_000)
    reader = ReaderProcess()
    drives = Drives(pytest.fail, mounts=lambda: table(tmp_path.resolve()), start=lambda: reader)

    drives.wait_for(tmp_path / "x.png", whole=True)
    drives.wait_for(tmp_path)
    drives.wait_for(tmp_path / "gone\n'\".png")
    os.kill(reader._process.pid, signal.SIGKILL)
    drives.wait_for(tmp_path / "x.png")


def test_a_drive_that_is_slow_and_goes_on_answering_is_waited_for_until_all_has_come(tmp_path: Path) -> None:
    clock = [0.0]

    class Slow(Silent):
        pieces = 5

        def hears(self, wait_s: float) -> bool:
            self.pieces -= 1
            clock[0] += 20.0
            return True

        @property
        def ended(self) -> int | None:
            return None if self.pieces else 0

    drives = Drives(
        pytest.fail, mounts=lambda: table(tmp_path), start=lambda: Slow(clock), clock=lambda: clock[0]
    )

    drives.wait_for(tmp_path / "x.png", whole=True, most_s=30.0)

    assert clock == [100.0]


def test_a_copy_comes_from_the_other_process_and_says_what_went_wrong(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content := os.urandom(2_500_000))
    (copy := tmp_path / "copy").touch()
    reader = ReaderProcess()
    drives = Drives(pytest.fail, mounts=lambda: table(tmp_path.resolve()), start=lambda: reader)
    of_our_own = Drives(pytest.fail, mounts=lambda: HERE)

    assert not of_our_own.copy_of(tmp_path / "x.png", str(copy))
    assert drives.copy_of(tmp_path / "x.png", str(copy))
    assert copy.read_bytes() == content
    with pytest.raises(FileNotFoundError):
        drives.copy_of(tmp_path / "gone.png", str(copy))
    with pytest.raises(IsADirectoryError):
        drives.copy_of(tmp_path, str(copy))
    with pytest.raises(CopyFailed):
        drives.copy_of(tmp_path / "x.png", str(tmp_path))
    reader.leave()


def test_a_pipe_is_waited_for_and_named(tmp_path: Path) -> None:
    """A key may come from a program: `RIVYA_API_KEY_FILE=<(pass show rivya)`."""
    clock, told = [0.0], list[str]()
    reading, writing = os.pipe()

    def later() -> float:
        clock[0] += 6.0
        return clock[0]

    def tell(line: str) -> None:
        told.append(line)
        os.write(writing, b"key")

    Drives(tell, mounts=lambda: HERE, clock=later).wait_for_pipe(reading, "key")

    assert told == ["waiting for key: nothing has come from it for 12 s; Ctrl-C quits"]
    os.close(reading)
    os.close(writing)
