"""What end-to-end and crash tests share: services of any personality, a command that uses one, small manifests."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.imitation.personality import USUAL, Personality
from tests.imitation.service import Imitation
from tests.support import Command, Outcome, Process, clean_environment
from tests.warm import WarmStart

StartService = Callable[..., Imitation]
QUICK = {"first_s": 0.05, "min_s": 0.05, "max_s": 0.3}
PNG = (Path(__file__).parents[1] / "fixtures" / "media" / "still.png").read_bytes()


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmStart]:
    """Starts the command without importing it each time."""
    start = WarmStart(clean_environment())
    yield start
    start.close()


@pytest.fixture
def command(workspace: Path, warm: WarmStart) -> Iterator[Command]:
    """The command in a workspace of its own, without any account: `command("plan", "a.yaml")`."""
    command = Command(workspace=workspace, warm=warm)
    yield command
    command.close()


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Start imitations: `start_service(Personality(...))`. All stop with the test."""
    running: list[Imitation] = []

    def start(personality: Personality = USUAL) -> Imitation:
        running.append(Imitation(personality).start())
        return running[-1]

    yield start
    for service in running:
        service.close()


@pytest.fixture
def service(start_service: StartService) -> Imitation:
    """A service of the usual personality."""
    return start_service()


@pytest.fixture
def bench(command: Command, service: Imitation) -> Bench:
    """The command, with that service as its own."""
    return Bench(command, service)


class Bench:
    """A command, a service, a manifest, and ways to look at what became of them."""

    name = "night"

    def __init__(self, command: Command, service: Imitation) -> None:
        self.command = command
        self.service = service
        self.manifest = command.workspace / "night.yaml"
        self.use(service)

    def use(self, service: Imitation, key: str | None = None) -> None:
        """Make this service, and perhaps another key, that of all later invocations."""
        self.service = service
        self.command.environment |= {"RIVYA_BASE_URL": service.base_url, "RIVYA_API_KEY": key or service.key}

    def write(self, jobs: int | Sequence[dict[str, Any]] = 3, **head: Any) -> list[str]:
        """Write the manifest, with so many jobs or with these; return their prompts.

        YAML reads JSON, and nobody has to indent it.
        """
        if isinstance(jobs, int):
            jobs = [{"id": f"job-{number}"} for number in range(1, jobs + 1)]
        jobs = [{"prompt": f"prompt of {job['id']}", **job} for job in jobs]
        document = {
            "version": 1,
            "name": self.name,
            "model": "grok-imagine-video",
            "polling": QUICK,
            "limits": {"requests_per_second": 200, **head.pop("limits", {})},
            "idempotency": {"resend_after": "0.05s", **head.pop("idempotency", {})},
            **head,
            "jobs": jobs,
        }
        document = {key: value for key, value in document.items() if value is not None}
        self.manifest.write_text(json.dumps(document, indent=1), encoding="utf-8")
        return [job["prompt"] for job in jobs]

    def picture(self, name: str = "ref.png", mark: str = "") -> str:
        """Write a small picture beside the manifest, like no other with another mark; return its name."""
        path = self.manifest.parent / name
        path.write_bytes(PNG + mark.encode())
        return name

    def run(self, *options: str, **more: Any) -> Outcome:
        """Run the manifest, and let the service know whom to kill."""
        if self.service.victim is None and not any(rule.kills for rule in self.service.rules):
            return self.command("run", self.manifest, "--yes", *options, **more)
        return ended(self.service.doom(lambda: self.start(*options, **more)))

    def start(self, *options: str, **more: Any) -> Process:
        """Start a run of the manifest, and let it go on."""
        return self.command.start("run", self.manifest, "--yes", *options, **more)

    @property
    def database(self) -> Path:
        return self.command.workspace / "state" / "runner.db"

    @property
    def out(self) -> Path:
        return self.command.workspace / "out" / self.name

    def rows(
        self, columns: str = "job, state", table: str = "jobs", where: str = "1"
    ) -> list[tuple[Any, ...]]:
        """Read the state database as a person would."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as state:
            return state.execute(f"SELECT {columns} FROM {table} WHERE {where}").fetchall()

    def states(self) -> Counter[str]:
        """How many listed jobs are in each state."""
        return Counter(state for (state,) in self.rows("state", where="listed"))

    def results(self) -> dict[str, str]:
        """{file: sha256} of all finished files."""
        if not self.out.exists():
            return {}
        return {
            path.relative_to(self.out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.out.rglob("*"))
            if path.is_file()
            and path.suffix not in {".json", ".part", ".html", ".new"}
            and not {".old", ".references"}.intersection(path.parts)
        }

    def parts(self) -> list[Path]:
        """What is left of downloads that never ended."""
        return [
            path
            for path in self.out.rglob("*")
            if path.name.endswith((".part", ".json.new")) or ".part." in path.name
        ]

    def assert_whole(self, prompts: Sequence[str]) -> None:
        """Each of these was paid once, and its results are on the disk, whole, and nothing else is."""
        ledger = self.service.ledger
        assert Counter(prompts) == ledger.paid
        contents = self.service.contents
        expected = sorted([*prompts] * self.service.be.results)
        assert expected == sorted(contents[sha] for sha in self.results().values())
        assert not self.parts()
        assert all(len(bodies) == 1 for bodies in ledger.bodies_by_key().values())


def ended(process: Process, timeout_s: float = 60.0) -> Outcome:
    """Wait for the end of a command that was started."""
    stdout, stderr = process.communicate(timeout=timeout_s)
    return Outcome(code=process.wait(timeout=timeout_s), stdout=stdout, stderr=stderr)


def said(outcome: Outcome) -> str:
    """All that a person was told; for the message of a failed assertion."""
    return f"exit {outcome.code}\n{outcome.stdout}\n{outcome.stderr}"
