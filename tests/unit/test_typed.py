"""A command that a message advises can be typed as it stands there."""

from __future__ import annotations

import pytest

from runner.cli import cli
from runner.cli.typed import Advice


@pytest.mark.parametrize(
    ("advised", "arguments", "told"),
    [
        ("plan --all", ["pick", "my film.yaml", "nope", "--sandbox"], "plan 'my film.yaml' --all --sandbox"),
        ("resolve --abandon", ["retry", "a.yaml"], "resolve a.yaml JOB --abandon"),
        ("share", ["pick", "a.yaml"], "share a.yaml"),
        ("go", ["hold", "a.yaml", "--sandbox"], "go a.yaml --sandbox"),
        ("status", ["hold", "a.yaml", "--sandbox"], "status --sandbox"),
        ("serve", ["again", "a.yaml", "--picked"], "serve a.yaml"),
        ("pick MANIFEST ID… --reject", ["share", "a.yaml", "-o", "x"], "pick a.yaml ID… --reject"),
        (
            "retry --only ID",
            ["resolve", "a.yaml", "b", "--state", "s.db"],
            "retry a.yaml --only ID --state s.db",
        ),
        ("plan b.yaml", ["run", "a.yaml", "--sandbox"], "plan b.yaml --sandbox"),
        ("plan", ["run", "saved.json"], "plan"),
        ("models", ["models", "nope"], "models"),
        ("init", ["plan", "nope.yaml", "--sandbox"], "init"),
        ("run", ["plan"], "run"),
        ("nothing of ours", ["plan", "a.yaml"], "nothing of ours"),
        ("run 'open", ["plan", "a.yaml"], "run 'open"),
    ],
)
def test_a_command_in_a_message_is_about_the_same_manifest_and_database(
    advised: str, arguments: list[str], told: str
) -> None:
    assert Advice.of(cli, arguments).typed(f"see `rivya-batch {advised}`.") == f"see `rivya-batch {told}`."


def test_a_database_that_the_environment_names_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVYA_STATE", "postgresql://user:secret@host/nights")

    assert Advice.of(cli, ["pick", "a.yaml"]).typed("`rivya-batch run`") == "`rivya-batch run a.yaml`"
