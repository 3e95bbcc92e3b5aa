"""The key is nowhere but in the header of requests to the API, whatever fails."""

from __future__ import annotations

from pathlib import Path

from tests.imitation.faults import error_answer, page, prompt_is
from tests.imitation.fixtures import Bench, said
from tests.imitation.tasks import Fate


def holding(folder: Path, secret: str) -> list[str]:
    """Return the files below a folder whose bytes hold a secret, the database's among them."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_the_key_is_in_no_file_and_no_output_after_runs_that_fail_in_many_ways(bench: Bench) -> None:
    """Also where the service itself says it back to us: in messages, ids, urls and pages."""
    service = bench.service
    key = service.key
    bench.picture()
    names = ("echoed", "page", "task", "lost", "upload", "fine", "result")
    bench.write([{"id": name, "references": ["ref.png"] * (name == "upload")} for name in names])
    echo = error_answer(400, "validation_failed", f"Bearer {key} may not do this")
    service.rule("submit", "answer_before", answer=echo, where=prompt_is("prompt of echoed"))
    service.rule(
        "submit", "answer_after", answer=page(502, f"<pre>Authorization: Bearer {key}</pre>"), times=2,
        where=prompt_is("prompt of page"),
    )  # fmt: skip
    service.rule("submit", "drop_after", where=prompt_is("prompt of lost"))
    service.rule("upload", "answer_before", answer=error_answer(400, "validation_failed", f"key {key}"))
    service.rule(
        "result", "answer_before", answer=page(403, key), where=service.result_of("prompt of result")
    )
    service.fates["prompt of task"] = Fate(status="failed", message=f"key {key} is out of quota")
    outcomes = [bench.run("-v", "--json"), bench.run("-vv")]
    service.refused_keys[key] = error_answer(401, "api_key_revoked", f"{key} was revoked")
    bench.write([{"id": name} for name in (*names, "more")])
    outcomes.append(bench.run("-v"))
    outcomes += [
        bench.command(*arguments, bench.manifest)
        for arguments in (("status",), ("report",), ("export", "--format", "jsonl"), ("plan", "--json"))
    ]
    outcomes.append(bench.command("credits"))

    assert [outcome.code for outcome in outcomes[:3]] == [3, 3, 4], "".join(map(said, outcomes))
    assert not [said(outcome) for outcome in outcomes if key in said(outcome)]
    assert not holding(bench.command.workspace, key)
    assert not [row for row in service.ledger.results if key in str(row.headers)]
