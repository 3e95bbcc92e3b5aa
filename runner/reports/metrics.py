"""Numbers of runs in Prometheus' text format: a file that is written at each beat, or an answer of `serve --metrics`.

Source:
    "Exposition formats", https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runner.engine import Snapshot
from runner.model import State

PREFIX: Final = "rivya_batch_"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# name without the prefix: (type, help)
METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "jobs": ("gauge", "Jobs of the manifest, by state."),
    "jobs_orphaned": (
        "gauge",
        "Jobs that the manifest no longer lists and that still mean money or a result.",
    ),
    "credits_spent": ("gauge", "Credits charged for the manifest, over all its runs."),
    "credits_reserved": ("gauge", "Credits held by jobs that have not ended."),
    "credits_cap": ("gauge", "The cap of the run in credits; missing where there is none."),
    "running": ("gauge", "1 while a run of the manifest goes on."),
    "run": ("gauge", "Number of the latest run."),
    "requests_total": ("counter", "Requests of the run to the API."),
    "rejections_total": ("counter", "429 answers of the run."),
    "polls_total": ("counter", "Polls of the run."),
    "in_flight": ("gauge", "Tasks that run at the service, as far as is known."),
    "rate_per_second": ("gauge", "Requests a second that the run allows itself."),
    "elapsed_seconds": ("gauge", "How long the run has worked."),
    "eta_seconds": ("gauge", "Time left; missing while nothing tells."),
    "seen_timestamp_seconds": ("gauge", "When the run gave its last sign of life."),
    "exit_code": ("gauge", "Exit code of the latest run, once it has ended."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number of one manifest; `name` is one of METRICS."""

    name: str
    manifest: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def exposition(samples: Iterable[Sample]) -> str:
    """Return numbers as Prometheus reads them, grouped by metric."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.name, []).append(sample)
    lines = []
    for name, (kind, words) in METRICS.items():
        if name not in groups:
            continue
        lines += [f"# HELP {PREFIX}{name} {words}", f"# TYPE {PREFIX}{name} {kind}"]
        for each in groups[name]:
            labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in _labels(each).items())
            lines.append(f"{PREFIX}{name}{{{labels}}} {each.value:.15g}")
    return "\n".join(lines) + "\n"


def _labels(sample: Sample) -> dict[str, str]:
    return {"manifest": sample.manifest, **sample.labels}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def samples_of(manifest: str, numbers: Mapping[str, Any], counts: Mapping[str, int]) -> list[Sample]:
    """Return the numbers of a manifest; what is None is left out, and states without a job are 0.

    Args:
        manifest: Its name.
        numbers: By the names of METRICS.
        counts: Its jobs by state.
    """
    found = [
        Sample(
            name="jobs", manifest=manifest, value=counts.get(state.value, 0), labels={"state": state.value}
        )
        for state in State
    ]
    return found + [
        Sample(name=name, manifest=manifest, value=float(value))
        for name, value in numbers.items()
        if value is not None
    ]


class MetricsFile:
    """Writes the numbers of a run to a file at each beat; readers see all of them, old or new.

    A file that cannot be written is told once, and is no trouble of the run's.

    Args:
        path: The file; its folder must be there.
        announce: Takes plain lines for people.
    """

    def __init__(self, path: Path, announce: Callable[[str], None]) -> None:
        self._path = path
        self._announce = announce
        self._failed = False
        self._name = ""
        self._run: int | None = None
        self._view: Snapshot | None = None

    def begin(self, name: str, run: int | None) -> None:
        """The run of a manifest begins."""
        self._name, self._run = name, run

    def event(self, kind: str, **data: Any) -> None:
        """What happens is counted elsewhere."""

    def snapshot(self, view: Snapshot) -> None:
        """Write how it goes."""
        self._view = view
        self._write(view, running=True)

    def ended(self, code: int) -> None:
        """Write how it has ended."""
        if self._view is not None:
            self._write(self._view, running=False, code=code)

    def close(self) -> None:
        """The last numbers stay."""

    def _write(self, view: Snapshot, *, running: bool, code: int | None = None) -> None:
        numbers = {
            "jobs_orphaned": view.orphans,
            "credits_spent": view.charged,
            "credits_reserved": view.reserved,
            "credits_cap": view.cap,
            "running": int(running),
            "run": self._run,
            "requests_total": view.requests,
            "rejections_total": view.rejections,
            "polls_total": view.polls,
            "in_flight": view.in_flight,
            "rate_per_second": view.rate_per_s,
            "elapsed_seconds": view.elapsed_s,
            "eta_seconds": view.eta_s,
            "seen_timestamp_seconds": time.time(),
            "exit_code": code,
        }
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            new.write_text(exposition(samples_of(self._name, numbers, view.counts)), encoding="utf-8")
            os.replace(new, self._path)  # noqa: PTH105
        except OSError as exc:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            if not self._failed:
                self._failed = True
                self._announce(
                    f"warning: {self._path} cannot be written ({exc.strerror}); the run is not affected"
                )
