"""A program as a user would write it, whose types mypy checks; it is never run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import anyio

import runner


def few(plan: runner.Plan) -> bool:
    return assert_type(plan.to_spend, float) <= 100


def take(event: Mapping[str, Any]) -> None:
    print(event["type"])


async def waiting_for_it(manifest: Path, drain: anyio.Event | asyncio.Event) -> None:
    options = runner.Options(confirm=few, max_credits=100, state=Path("other.db"), only="cat-*")
    result = assert_type(await runner.run(manifest, options, take, drain=drain), runner.RunResult)
    assert_type(result.ended.code, runner.Exit)
    assert_type(result.counts, Mapping[str, int])
    assert_type(result.charged, float)

    await runner.run(manifest, options, "print")  # type: ignore[arg-type]
    await runner.run(manifest, options, take, drain=True)  # type: ignore[arg-type]
    await runner.run(manifest, max_credits=100)  # type: ignore[call-arg]
    runner.Options(confirm=True)  # type: ignore[arg-type]


def at_once(manifest: str) -> None:
    try:
        read = assert_type(runner.load_manifest(manifest), runner.Manifest)
    except runner.InvalidManifest as exc:
        print(*(problem.path for problem in exc.problems))
        return
    except runner.RunnerError as exc:
        print(assert_type(exc.message, str), assert_type(exc.hint, str), exc.exit_code)
        return
    print(read.settings.name, *(job.id for job in read.jobs()))
    assert_type(runner.plan(manifest, max_credits=5), runner.Plan)
    assert_type(runner.run_sync(manifest, runner.Options(sandbox=True), take), runner.RunResult)
    assert_type(runner.status(manifest, sandbox=True), runner.Standing)
    assert_type(runner.report(manifest, sandbox=True), Path | runner.ObjectPath)
    assert_type(runner.export(manifest, "jsonl", sandbox=True), str)

    rounds = assert_type(runner.retry(manifest, only="cat-*", classes=("generation",)), runner.Rounds)
    assert_type(rounds.jobs, tuple[str, ...])
    assert_type(rounds.credits, float)
    runner.run_sync(manifest, runner.Options(rounds=rounds))

    told = assert_type(runner.resolve(manifest, "cat-1", "attach", task_id="task_1"), runner.Resolution)
    print(assert_type(told.words, str), assert_type(told.credits, float))
    told.apply()

    runner.export(manifest, "xml")  # type: ignore[arg-type]
    runner.resolve(manifest, "cat-1", "give up")  # type: ignore[arg-type]
    runner.Options(rounds=True)  # type: ignore[arg-type]
    rounds.jobs = ()  # type: ignore[misc]
