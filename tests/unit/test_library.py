"""As a library: whoever imports us keeps the process as it was."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import runner
from runner.api import programs
from runner.api.credits import balance
from runner.errors import TemporaryTrouble
from runner.store import manifests
from runner.store.database import open_database
from tests import typed_program
from tests.readme import README
from tests.support import KEY, Sandbox, clean_environment

FAST = ("--duration", "0.05:0.2")
QUICK = runner.Options(sandbox=True, sandbox_arguments=FAST)

LOOK = """
import gc, logging, os, pkgutil, signal, sys, warnings
from importlib import import_module

def about_the_process():
    signals = {each: signal.getsignal(each) for each in signal.valid_signals()}
    return dict(os.environ), signals, gc.get_freeze_count(), list(warnings.filters), logging.getLogger("httpx").level

before = about_the_process()
import runner
assert {name for name in sys.modules if name.startswith("runner")} == {"runner"}
for module in pkgutil.walk_packages(runner.__path__, "runner."):
    if not module.name.startswith(("runner.cli", "runner.sandbox", "runner.__main__")):
        try:
            import_module(module.name)
        except ModuleNotFoundError as exc:
            assert exc.name == "psycopg", exc.name  # an extra
from runner.service.transports import make_transport
make_transport("https://rivya.ai", 2)
assert about_the_process() == before
import httpx, httpx._main, ssl
from aiohttp import connector
assert httpx.main is httpx._main.main
assert connector._SSL_CONTEXT_VERIFIED.cert_store_stats() == ssl.create_default_context().cert_store_stats()
"""


def test_to_import_and_use_it_changes_nothing_about_the_process() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOOK], env=clean_environment(), capture_output=True, text=True, check=False
    )

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@pytest.fixture
def two(examples: Path) -> tuple[Path, Path]:
    """The first example, twice."""
    text = (examples / "01-first-steps.yaml").read_text("utf-8")
    for name in ("one", "two"):
        (examples / f"{name}.yaml").write_text(text.replace("name: first-steps", f"name: {name}"), "utf-8")
    return examples / "one.yaml", examples / "two.yaml"


def test_what_is_offered_is_there() -> None:
    assert runner.__all__ == programs.__all__
    assert not [name for name in runner.__all__ if getattr(runner, name) is not getattr(programs, name)]
    assert set(runner.__all__) <= set(dir(runner))
    with pytest.raises(AttributeError, match="no_such_thing"):
        getattr(runner, "no_such_thing")  # noqa: B009


def test_every_name_is_used_in_the_program_whose_types_are_checked() -> None:
    """And its wrong uses are marked: mypy, of `make check`, says so where they have become right."""
    tree = ast.parse(Path(typed_program.__file__).read_text("utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "runner"
    }

    assert used == set(runner.__all__)


def test_the_example_of_the_readme_runs_two_manifests_at_once(two: tuple[Path, Path]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    quick = program.replace("Options(sandbox=True)", f"Options(sandbox=True, sandbox_arguments={FAST})")
    assert quick != program

    told = subprocess.run(
        [sys.executable, "-c", quick],
        cwd=two[0].parents[1],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (told.returncode, told.stderr) == (0, "")
    *_, counts = told.stdout.splitlines()
    assert counts == "{'done': 7}"
    assert told.stdout.count("'type': 'plan'") == 2
    assert told.stdout.count("'type': 'done'") == 14


def about_the_process() -> tuple[object, ...]:
    signals = {each: signal.getsignal(each) for each in signal.valid_signals()}
    return signals, dict(os.environ), gc.get_threshold(), gc.isenabled(), Path.cwd()


@pytest.mark.slow
@pytest.mark.anyio
async def test_two_runs_in_one_event_loop_leave_the_process_alone(
    two: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    before, frozen = about_the_process(), gc.get_freeze_count()
    events: list[tuple[str, Mapping[str, Any]]] = []
    meanwhile: list[bool] = []
    results = {}

    async def one(path: Path) -> None:
        def take(event: Mapping[str, Any]) -> None:
            events.append((path.stem, event))
            meanwhile.append(about_the_process() == before)

        results[path.stem] = await runner.run(path, QUICK, take)

    async with anyio.create_task_group() as group:
        for path in two:
            group.start_soon(one, path)

    assert all(meanwhile)
    assert about_the_process() == before
    assert gc.get_freeze_count() <= frozen, "what the tests have frozen may go, and nothing is added to it"
    assert capfd.readouterr() == ("", "")
    assert {name: (result.ended.code, result.counts) for name, result in results.items()} == {
        name: (0, {"done": 7}) for name in ("one", "two")
    }
    done = [name for name, event in events if event["type"] == "done"]
    assert (done.count("one"), done.count("two")) == (7, 7)
    for path in two:
        standing = runner.status(path, sandbox=True)
        assert (standing.counts, standing.running) == ({"done": 7}, None)
        assert standing.charged == results[path.stem].charged > 0
        assert runner.plan(path, sandbox=True).submits == 0
        assert runner.report(path, sandbox=True) == results[path.stem].report
        assert len(runner.export(path, "csv", sandbox=True).splitlines()) == 8


@pytest.mark.anyio
async def test_one_manifest_is_run_once_at_a_time_in_one_process_too(two: tuple[Path, Path]) -> None:
    refused: list[str] = []

    async def again() -> None:
        with pytest.raises(runner.RunnerError) as caught:
            await runner.run(two[0], QUICK)
        refused.append(caught.value.message)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:

        def take(event: Mapping[str, Any]) -> None:
            if event["type"] == "plan":
                group.start_soon(again)

        await runner.run(two[0], QUICK, take)

    assert refused[0].startswith("another run holds one: `runner.run ")


@pytest.mark.slow
@pytest.mark.anyio
async def test_one_manifest_is_rehearsed_twice_at_once_in_two_databases(examples: Path) -> None:
    """Each has its own account and results: of what one has paid for, the other knows nothing."""
    manifest, states = examples / "01-first-steps.yaml", ("one.db", "two.db")
    results = {}

    async def one(state: str) -> None:
        options = replace(QUICK, state=examples.parent / state)
        results[state] = await runner.run(manifest, options)

    async with anyio.create_task_group() as group:
        for state in states:
            group.start_soon(one, state)

    reports = {result.report for result in results.values()}
    assert reports == {examples.parent / f"{name}-results/first-steps/report.html" for name in ("one", "two")}
    for state in states:
        standing = runner.status(manifest, sandbox=True, state=examples.parent / state)
        assert (standing.counts, standing.charged) == ({"done": 7}, results[state].charged)
        assert runner.plan(manifest, sandbox=True, state=examples.parent / state).submits == 0
    assert runner.plan(manifest, sandbox=True).submits == 7


def test_no_rehearsal_is_written_into_a_database_of_real_runs(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = two[0].parents[1] / "real.db"
    with closing(open_database(real)) as file, file.transaction() as conn:
        manifests.bind(
            conn, name="one", path=str(two[0]), base_url="https://a.example", key12="0" * 12,
            output_dir="/out", now="2026-11-29T00:00:00.000Z",
        )  # fmt: skip

    for state in (real, two[0].parents[1] / "state" / "runner.db"):
        with pytest.raises(runner.RunnerError, match=r"for real runs"):
            runner.run_sync(two[1], replace(QUICK, state=state))
    monkeypatch.setenv("RIVYA_STATE", str(real))
    assert Path(str(runner.plan(two[1], sandbox=True).database)).name == "sandbox.db"


@pytest.mark.anyio
async def test_a_run_that_is_cancelled_goes_on_later_and_pays_nothing_twice(two: tuple[Path, Path]) -> None:
    with anyio.CancelScope() as scope:

        def take(event: Mapping[str, Any]) -> None:
            if event["type"] == "submitted":
                scope.cancel()

        await runner.run(two[0], QUICK, take)
    assert scope.cancelled_caught
    last = runner.status(two[0], sandbox=True).last_run
    assert last is not None
    assert last["exit_code"] == runner.Exit.INTERRUPTED

    result = await runner.run(two[0], QUICK)

    assert (result.ended.code, result.counts) == (0, {"done": 7})
    assert len(runner.export(two[0], "jsonl", sandbox=True).splitlines()) == 7


SLOW = runner.Options(sandbox=True, sandbox_arguments=("--duration", "30:40"))


@pytest.mark.anyio
@pytest.mark.parametrize("make", [anyio.Event, asyncio.Event])
async def test_a_run_that_is_drained_begins_nothing_new_and_comes_to_its_end(
    two: tuple[Path, Path], make: Callable[[], anyio.Event | asyncio.Event]
) -> None:
    """Two at once, by one event: neither waits for its tasks, and each knows what was sent."""
    drain = make()
    submitted: Counter[str] = Counter()
    results: dict[str, runner.RunResult] = {}

    async def one(path: Path) -> None:
        def take(event: Mapping[str, Any]) -> None:
            if event["type"] == "submitted":
                submitted[path.stem] += 1
                if set(submitted) == {"one", "two"}:
                    drain.set()

        results[path.stem] = await runner.run(path, SLOW, take, drain=drain)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for path in two:
                group.start_soon(one, path)

    for path in two:
        result = results[path.stem]
        assert result.ended.code is runner.Exit.INTERRUPTED
        assert result.ended.reasons == (programs.DRAINED,)
        assert result.ended.stats["accepted"] == submitted[path.stem] == result.counts["waiting"]
        assert set(result.counts) <= {"planned", "uploading", "waiting"}
        standing = runner.status(path, sandbox=True)
        assert standing.running is None
        assert standing.last_run is not None
        assert standing.last_run["exit_code"] == runner.Exit.INTERRUPTED


@pytest.mark.anyio
async def test_of_a_run_that_is_to_drain_from_the_beginning_nothing_is_sent(two: tuple[Path, Path]) -> None:
    drain = anyio.Event()
    drain.set()

    result = await runner.run(two[0], QUICK, drain=drain)

    assert (result.ended.code, result.counts) == (runner.Exit.INTERRUPTED, {"planned": 7})
    assert result.ended.stats["submits"] == 0


@pytest.mark.slow
def test_without_an_event_loop_what_takes_the_events_may_drain_the_run(two: tuple[Path, Path]) -> None:
    drain = anyio.Event()

    def take(event: Mapping[str, Any]) -> None:
        if event["type"] == "done":
            drain.set()

    result = runner.run_sync(two[0], QUICK, take, drain=drain)

    assert result.ended.code is runner.Exit.INTERRUPTED
    assert runner.run_sync(two[0], QUICK).counts == {"done": 7}


@pytest.mark.anyio
async def test_what_the_program_raises_ends_the_run_in_order_and_is_raised(two: tuple[Path, Path]) -> None:
    def take(event: Mapping[str, Any]) -> None:
        if event["type"] == "submitted":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await runner.run(two[0], QUICK, take)

    last = runner.status(two[0], sandbox=True).last_run
    assert last is not None
    assert last["exit_code"] == runner.Exit.FAULT


def test_nothing_is_spent_that_nobody_said_yes_to(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_test")
    monkeypatch.setenv("RIVYA_BASE_URL", "http://127.0.0.1:9")
    asked: list[float] = []

    def no(plan: runner.Plan) -> bool:
        asked.append(plan.to_spend)
        return False

    with pytest.raises(runner.RunnerError, match="nobody said yes; nothing was sent"):
        runner.run_sync(two[0])
    with pytest.raises(runner.RunnerError, match="was not confirmed"):
        runner.run_sync(two[0], runner.Options(confirm=no))

    assert asked == [runner.plan(two[0]).to_spend]
    assert not (two[0].parents[1] / "state" / "runner.db").exists()


def test_jobs_that_have_got_mistakes_since_are_not_left_out_in_silence(examples: Path) -> None:
    read = runner.load_manifest(examples / "03-csv-rows.yaml")
    assert len(list(read.jobs())) == 8
    (table,) = (examples / "data").glob("*.jsonl")
    table.write_text("no row\n", "utf-8")

    with pytest.raises(runner.InvalidManifest):
        list(read.jobs())


@pytest.mark.parametrize("wrong", [{"max_credits": float("nan")}, {"limit": -1}, {"canary": 0}])
def test_a_cap_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(runner.RunnerError, match=next(iter(wrong))):
        runner.Options(**wrong)


def test_the_database_of_the_environment_is_the_one_of_the_commands(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else a program would pay for what a command has paid for."""
    monkeypatch.setenv("RIVYA_STATE", str(tmp_path / "other.db"))

    assert runner.plan(two[0]).database == tmp_path / "other.db"
    assert runner.plan(two[0], state=tmp_path / "third.db").database == tmp_path / "third.db"


def test_a_manifest_with_mistakes_is_refused_with_all_of_them(two: tuple[Path, Path]) -> None:
    read = runner.load_manifest(two[0])
    assert (read.settings.name, len(list(read.jobs())), read.warnings) == ("one", 7, ())
    two[0].write_text(
        two[0].read_text("utf-8").replace("mode: normal", "mode: odd").replace("duration: 6", "duration: 60"),
        "utf-8",
    )

    with pytest.raises(runner.InvalidManifest) as caught:
        runner.load_manifest(two[0])

    assert [problem.path for problem in caught.value.problems] == ["params.mode", "params.duration"]


@pytest.mark.slow
def test_another_round_is_told_with_its_price_and_begun_only_when_it_is_given(two: tuple[Path, Path]) -> None:
    failing = ("--faults", '{"on": "task", "do": "task_fails", "times": 2}')
    first = runner.run_sync(two[0], runner.Options(sandbox=True, sandbox_arguments=(*FAST, *failing)))
    assert first.counts == {"done": 5, "failed": 2}

    assert runner.retry(two[0], classes=("policy",), sandbox=True).jobs == ()
    rounds = runner.retry(two[0], sandbox=True)

    assert (len(rounds.jobs), len(rounds.rows), len(rounds.kinds)) == (2, 2, 1)
    assert rounds.credits > 0
    assert runner.status(two[0], sandbox=True).counts == first.counts
    assert runner.run_sync(two[0], QUICK).counts == first.counts
    second = runner.run_sync(two[0], replace(QUICK, rounds=rounds))
    assert second.counts == {"done": 7}
    assert second.charged - first.charged == pytest.approx(rounds.credits)
    again = runner.run_sync(two[0], replace(QUICK, rounds=rounds))
    assert (again.counts, again.charged) == (second.counts, second.charged)


@pytest.mark.slow
def test_with_money_rounds_that_are_given_are_agreed_to_and_nothing_else_is(
    two: tuple[Path, Path], start_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_sandbox(*FAST, "--faults", '{"on": "task", "do": "task_fails", "times": 2}')
    monkeypatch.setenv("RIVYA_API_KEY", KEY)
    monkeypatch.setenv("RIVYA_BASE_URL", service.base_url)
    agreed = runner.Options(confirm=lambda plan: True, limit=4)
    first = runner.run_sync(two[0], agreed)
    assert first.counts == {"done": 2, "failed": 2, "planned": 3}
    rounds = runner.retry(two[0])

    with pytest.raises(runner.RunnerError, match="nobody said yes"):
        runner.run_sync(two[0])
    assert runner.status(two[0]).counts == first.counts
    second = runner.run_sync(two[0], runner.Options(rounds=rounds))

    assert second.counts == {"done": 4, "planned": 3}
    assert second.charged - first.charged == pytest.approx(rounds.credits)


@pytest.mark.slow
def test_what_is_said_of_a_job_is_told_first_and_done_when_it_is_applied(two: tuple[Path, Path]) -> None:
    """A task that takes too long is given up, and begun again by its name: nothing else is sent."""
    drain = anyio.Event()

    def take(event: Mapping[str, Any]) -> None:
        if event["type"] == "submitted":
            drain.set()

    runner.run_sync(two[0], replace(SLOW, limit=1), take, drain=drain)
    (job,) = waiting(two[0])

    told = runner.resolve(two[0], job, "abandon", sandbox=True)
    assert told.words.startswith(f"job {job}, task ")
    assert "\nabandon gives the job up" in told.words
    assert told.credits > 0
    assert runner.status(two[0], sandbox=True).counts == {"planned": 6, "waiting": 1}
    told.apply()
    assert runner.status(two[0], sandbox=True).counts == {"planned": 6, "abandoned": 1}
    with pytest.raises(runner.RunnerError, match="is abandoned: there is nothing to resolve"):
        told.apply()

    assert runner.retry(two[0], sandbox=True).jobs == ()
    rounds = runner.retry(two[0], only=job, sandbox=True)
    assert rounds.jobs == (job,)
    result = runner.run_sync(two[0], replace(QUICK, rounds=rounds))
    assert result.counts == {"planned": 6, "done": 1}


@pytest.mark.slow
def test_a_word_about_an_earlier_round_is_not_heeded_in_the_next(two: tuple[Path, Path]) -> None:
    seconds = replace(SLOW, stop_after_s=1)
    runner.run_sync(two[0], replace(seconds, limit=1))
    (job,) = waiting(two[0])
    told = runner.resolve(two[0], job, "abandon", sandbox=True)
    told.apply()
    rounds = runner.retry(two[0], only=job, sandbox=True)
    runner.run_sync(two[0], replace(seconds, rounds=rounds))
    assert waiting(two[0]) == [job]

    with pytest.raises(runner.RunnerError, match="has changed since; nothing was done"):
        told.apply()

    assert waiting(two[0]) == [job]


def waiting(path: Path) -> list[str]:
    """Return the ids of the jobs with a task under way, in the sandbox."""
    rows = map(json.loads, runner.export(path, "jsonl", sandbox=True).splitlines())
    return [row["job"] for row in rows if row["state"] == "waiting"]


def test_rounds_of_another_manifest_are_refused(two: tuple[Path, Path]) -> None:
    """Their rows would be other jobs there."""
    for path in two:
        runner.run_sync(path, replace(QUICK, limit=0))
    rounds = runner.retry(two[0], sandbox=True)

    with pytest.raises(runner.RunnerError, match=r"these rounds are of one in .*, not of two in"):
        runner.run_sync(two[1], replace(QUICK, rounds=rounds))
    with pytest.raises(runner.RunnerError, match="confirm is given beside rounds"):
        runner.Options(rounds=rounds, confirm=lambda plan: True)
    with pytest.raises(runner.RunnerError, match="there is no class 'p'"):
        runner.retry(two[0], classes=("p",), sandbox=True)
    with pytest.raises(runner.RunnerError, match="classes is the text 'policy'"):
        runner.retry(two[0], classes="policy", sandbox=True)


def test_who_says_something_of_a_job_gets_the_errors_of_the_command(two: tuple[Path, Path]) -> None:
    with pytest.raises(runner.RunnerError, match="there is no state database"):
        runner.resolve(two[0], "cat", "abandon", sandbox=True)
    runner.run_sync(two[0], replace(QUICK, limit=0))
    with pytest.raises(runner.RunnerError, match="one has no job 'cat'"):
        runner.resolve(two[0], "cat", "abandon", sandbox=True)
    with pytest.raises(runner.RunnerError, match="task_id goes with attach"):
        runner.resolve(two[0], "cat", "attach", sandbox=True)
    with pytest.raises(runner.RunnerError, match="there is no choice 'give up'"):
        runner.resolve(two[0], "cat", "give up", sandbox=True)


@pytest.mark.anyio
async def test_no_event_loop_is_held_up_by_a_question_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_test")
    monkeypatch.setenv("RIVYA_BASE_URL", "http://127.0.0.1:9")

    with pytest.raises(runner.RunnerError, match="there is an event loop in this thread"):
        balance()
    with pytest.raises(TemporaryTrouble):
        await anyio.to_thread.run_sync(balance)


def test_a_plan_may_be_asked_of_some_jobs_only(two: tuple[Path, Path]) -> None:
    everything, none = runner.plan(two[0]), runner.plan(two[0], only="no job is called so")

    assert (everything.submits > 0, none.submits, none.to_spend) == (True, 0, 0)
    assert none.summary == everything.summary


@pytest.mark.anyio
async def test_no_event_loop_is_held_up_by_references_named_by_url(tmp_path: Path) -> None:
    manifest = tmp_path / "far.yaml"
    manifest.write_text(
        "version: 1\nmodel: seedance-2-0\njobs:\n  - {id: a, prompt: x, references: [https://a.example/b.png]}\n",
        encoding="utf-8",
    )

    with pytest.raises(runner.RunnerError, match="fetches files named by url, and there is an event loop"):
        runner.plan(manifest)
