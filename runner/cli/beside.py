"""What goes on beside a run if it is asked for: notifications, a command for each job that is done, a bell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from runner.cli.output import ring
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.api.runs.end import RunResult
    from runner.engine import Snapshot
    from runner.errors import RunnerError
    from runner.progress.notifying import Notifier
    from runner.reports.metrics import MetricsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Besides:
    """What was asked for beside a run."""

    notify: tuple[str, ...] = ()
    on_done: str | None = None
    bell: bool = True
    log_json: bool = False
    metrics_file: Path | None = None

    def open(self, path: Path, announce: Callable[[str], None], *, rehearsal: bool) -> BesideRun:
        """Make ready what was asked for.

        Raises:
            UsageError: Something of it cannot be used.
        """
        found = BesideRun(bell=self.bell)
        if self.on_done is not None:
            from runner.progress.on_done import OnDone, command_words

            found.listeners.append(OnDone(command_words(self.on_done), announce))
        if self.notify:
            from runner.progress.notifying import Notifier, through_apprise

            found.notifier = Notifier(through_apprise(self.notify), announce, rehearsal=rehearsal)
            found.notifier.begin(path.stem, None)
            found.listeners.append(found.notifier)
        if self.metrics_file is not None:
            from runner.reports.metrics import MetricsFile

            if not self.metrics_file.absolute().parent.is_dir():
                raise UsageError(f"--metrics-file: there is no folder {self.metrics_file.absolute().parent}")
            found.metrics = MetricsFile(self.metrics_file, announce)
            found.listeners.append(found.metrics)
        return found


class RunListener(Protocol):
    """Whoever hears what happens in a run."""

    def begin(self, name: str, run: int | None) -> None:
        """The run of a manifest begins; `run` is its number."""
        ...

    def event(self, kind: str, **data: Any) -> None:
        """Take one thing that happened."""
        ...

    def snapshot(self, view: Snapshot) -> None:
        """Take how it goes."""
        ...

    def close(self) -> None:
        """Finish what was begun."""
        ...


@dataclass(slots=True, kw_only=True)
class BesideRun:
    """What goes on beside one run."""

    listeners: list[RunListener] = field(default_factory=list)
    notifier: Notifier | None = None
    metrics: MetricsFile | None = None
    bell: bool = True

    def begin(self, name: str, run: int | None) -> None:
        """The run of a manifest begins; `run` is its number."""
        for each in self.listeners:
            each.begin(name, run)

    def ended(self, result: RunResult) -> None:
        """The run has ended."""
        if self.metrics is not None:
            self.metrics.ended(int(result.ended.code))
        if self.notifier is not None:
            self.notifier.ended(
                result.ended.code,
                counts=result.counts,
                charged=result.charged,
                reserved=result.reserved,
                seconds=float(result.ended.stats.get("seconds", 0.0)),
            )

    def broken(self, error: RunnerError) -> None:
        """The run did not come to an end of its own."""
        if self.notifier is not None:
            self.notifier.broken(error.exit_code)

    def close(self) -> None:
        """Finish what was begun."""
        for each in self.listeners:
            each.close()

    def ring(self, title: str) -> None:
        """Ring the bell of a terminal, and say in its title how the run has ended; nothing without a terminal."""
        if self.bell:
            ring(title)
