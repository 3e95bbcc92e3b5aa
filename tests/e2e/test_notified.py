"""The night calls you, through Apprise, at a receiver of this test; and a command of the user's is started."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.imitation.faults import error_answer
from tests.imitation.fixtures import Bench, said


class Receiving(HTTPServer):
    """Takes what Apprise posts as JSON."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Taking)

    @property
    def url(self) -> str:
        return f"json://user:s3cret-token@127.0.0.1:{self.server_port}/"


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiving)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.messages.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiving]:
    pytest.importorskip("apprise", reason="`make test-extra` installs it")
    server = Receiving()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def secrets_in(bench: Bench, receiver: Receiving) -> list[str]:
    words = [bench.service.key, "prompt of", "s3cret-token"]
    return [word for word in words if word in json.dumps(receiver.messages)]


def test_a_run_tells_when_it_needs_a_person_and_how_it_ended(bench: Bench, receiver: Receiving) -> None:
    service = bench.service
    bench.write(4, idempotency={"resend_within": "0.1s", "resend_after": "0.3s"})
    service.rule("submit", "drop_after", times=2, where=lambda request: b"prompt of job-4" in request.body)

    outcome = bench.run("--notify", receiver.url)

    assert outcome.code == 3, said(outcome)
    titles = [message["title"] for message in receiver.messages]
    assert titles == ["night: needs you", "night: finished; some jobs need you"]
    assert "3 of 4 jobs done" in receiver.messages[1]["message"]
    assert not secrets_in(bench, receiver)
    assert "s3cret-token" not in said(outcome)
    state = bench.command.workspace / "state"
    assert not [path for path in state.rglob("*") if path.is_file() and b"s3cret-token" in path.read_bytes()]


def test_a_run_tells_once_when_most_of_its_budget_is_used(bench: Bench, receiver: Receiving) -> None:
    bench.write(4, budget={"max_credits": 45})

    outcome = bench.run("--notify", receiver.url)

    assert outcome.code == 0, said(outcome)
    assert [message["title"] for message in receiver.messages] == [
        "night: 80% of the budget",
        "night: finished",
    ]
    assert not secrets_in(bench, receiver)


def test_a_run_that_stops_tells_why_by_the_address_of_the_environment(
    bench: Bench, receiver: Receiving
) -> None:
    service = bench.service
    service.refused_keys[service.key] = error_answer(401, "api_key_revoked", f"{service.key} was revoked")
    bench.write(2)

    outcome = bench.run(env={"RIVYA_NOTIFY": f"{receiver.url} {receiver.url}second"})

    assert outcome.code == 4, said(outcome)
    assert [each["title"] for each in receiver.messages] == [
        "night: stopped: the service rejects the API key"
    ] * 2
    assert not secrets_in(bench, receiver)


def test_a_receiver_that_is_not_there_is_told_once_and_changes_nothing(bench: Bench) -> None:
    pytest.importorskip("apprise", reason="`make test-extra` installs it")
    bench.write(2)

    outcome = bench.run("--notify", "json://user:s3cret-token@127.0.0.1:9/")

    assert outcome.code == 0, said(outcome)
    assert outcome.stderr.count("a notification could not be sent") == 1
    assert "s3cret-token" not in said(outcome)


@pytest.mark.parametrize("url", ["no-such://s3cret-token", "s3cret-token"])
def test_an_address_that_is_none_is_bad_usage_before_anything_is_sent(bench: Bench, url: str) -> None:
    """So it is without the extra: then the hint is what to install."""
    bench.write(1)

    outcome = bench.run("--notify", url)

    assert outcome.code == 2, said(outcome)
    assert "Apprise" in outcome.stderr
    assert "s3cret-token" not in said(outcome)
    assert not bench.service.ledger.posts


def test_a_command_is_started_for_each_job_and_awaited(bench: Bench) -> None:
    """With words of a prompt in an id it is no shell that reads them; one that fails is told."""
    service = bench.service
    bench.write([{"id": "one"}, {"id": "two"}, {"id": "odd"}])
    script = bench.command.write(
        "take.sh",
        'sleep 0.3\n[ "$RIVYA_BATCH_JOB" != odd ] || exit 7\n'
        '{ cat; env; ls "$RIVYA_BATCH_FILE"; } >"taken-$RIVYA_BATCH_JOB"\n',
    )

    outcome = bench.run("--on-done", f"sh '{script}'")

    assert outcome.code == 0, said(outcome)
    taken = {path.name: path.read_text() for path in bench.command.workspace.glob("taken-*")}
    assert {*taken} == {"taken-one", "taken-two"}
    assert all(service.key not in text for text in taken.values())
    assert json.loads(taken["taken-one"].splitlines()[0].partition("}")[0] + "}")["job"] == "one"
    assert "--on-done for odd: exit 7" in outcome.stderr


def test_a_command_that_is_not_there_is_bad_usage(bench: Bench) -> None:
    bench.write(1)

    outcome = bench.run("--on-done", "no-such-program-here")

    assert outcome.code == 2, said(outcome)
    assert not bench.service.ledger.posts
