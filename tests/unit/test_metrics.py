"""Numbers as Prometheus reads them."""

from __future__ import annotations

import re
from pathlib import Path

from runner.engine import Snapshot
from runner.reports.metrics import METRICS, MetricsFile, exposition, samples_of

LINE = re.compile(r'[a-z_]+\{manifest="(?:[^"\\]|\\.)*"(,state="[a-z]+")?\} -?[0-9.e+]+')


def snapshot(done: int = 1) -> Snapshot:
    return Snapshot(
        counts={"done": done, "planned": 2}, orphans=0, charged=12.5, reserved=0, cap=None, rate_per_s=2.0,
        requests=3, rejections=1, polls=1, in_flight=1, elapsed_s=4.0, eta_s=None,
    )  # fmt: skip


def test_each_line_is_one_that_prometheus_reads() -> None:
    text = exposition(samples_of('a"b\\c\nd', {"credits_spent": 1e15, "eta_seconds": None}, {"done": 3}))

    lines = text.splitlines()
    assert text.endswith("\n")
    assert all(line.startswith("#") or LINE.fullmatch(line) for line in lines), text
    assert 'rivya_batch_jobs{manifest="a\\"b\\\\c\\nd",state="done"} 3' in lines
    assert "rivya_batch_credits_spent" in text
    assert "eta" not in text


def test_metrics_of_one_name_stand_together_below_their_type() -> None:
    samples = [*samples_of("a", {"run": 1}, {}), *samples_of("b", {"run": 2}, {})]

    lines = exposition(samples).splitlines()

    at = lines.index("# TYPE rivya_batch_run gauge")
    assert lines[at + 1 :] == ['rivya_batch_run{manifest="a"} 1', 'rivya_batch_run{manifest="b"} 2']
    assert all(kind in ("gauge", "counter") for kind, _ in METRICS.values())


def test_a_file_is_written_whole_at_each_beat_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "night.prom"
    said: list[str] = []
    file = MetricsFile(path, said.append)
    file.begin("night", 7)
    for done in (1, 2):
        file.snapshot(snapshot(done))
        assert f'state="done"}} {done}\n' in path.read_text()
        assert 'rivya_batch_running{manifest="night"} 1' in path.read_text()
    file.ended(3)

    assert 'rivya_batch_exit_code{manifest="night"} 3' in path.read_text()
    assert 'rivya_batch_running{manifest="night"} 0' in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["night.prom"]
    assert said == []


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    file = MetricsFile(tmp_path / "gone" / "night.prom", said.append)
    for _ in range(3):
        file.snapshot(snapshot())

    assert len(said) == 1
