"""Killed before and after each effect on the network, then run again: the service's own book decides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.imitation.fixtures import Bench, StartService, ended, said
from tests.imitation.personality import PERSONALITIES
from tests.imitation.tasks import Fate
from tests.support import Command

pytestmark = pytest.mark.crash

EFFECTS = ("upload", "submit", "poll", "result")
JOBS: list[dict[str, Any]] = [
    {"id": "plain"},
    {"id": "one", "references": ["a.png"]},
    {"id": "two", "references": ["a.png"]},
    {"id": "three", "references": ["b.png"]},
    {"id": "four", "references": ["c.png"]},
]


def is_killed(bench: Bench, effect: str, when: str, skip: int) -> bool:
    """Run up to a kill at this request; return whether it came to that: the run may need fewer of its kind."""
    rule = bench.service.rule(effect, f"kill_{when}", skip=skip)
    outcome = bench.run()
    bench.service.rules.remove(rule)
    reached = rule.seen > skip
    assert outcome.code == (-9 if reached else 0), said(outcome)
    return reached


@pytest.mark.parametrize(
    ("who", "when"),
    [
        ("usual", "before"),
        ("terse", "after"),
        *(
            pytest.param(who, when, marks=pytest.mark.slow)
            for who in PERSONALITIES
            for when in ("before", "after", "answered")
            if (who, when) not in (("usual", "before"), ("terse", "after"))
        ),
    ],
)
@pytest.mark.parametrize("effect", EFFECTS)
def test_killed_at_an_effect_each_job_is_paid_once(
    effect: str, who: str, when: str, command: Command, start_service: StartService
) -> None:
    """At the first that comes, and at the second of the run after."""
    bench = Bench(command, start_service(PERSONALITIES[who]))
    bench.picture("a.png", "a")
    bench.picture("b.png", "b")
    bench.picture("c.png", "c")
    prompts = bench.write(JOBS, limits={"downloads": 2})

    # Not both at once: what else is on its way when the first kills would count for the second.
    first, second = (is_killed(bench, effect, when, skip) for skip in (0, 1))
    last = bench.run()

    assert first
    assert last.code == 0, said(last)
    assert bench.service.kills == first + second
    bench.assert_whole(prompts)
    assert bench.states() == {"done": 5}


def test_killed_as_the_answer_arrives_each_job_is_paid_once(bench: Bench) -> None:
    """The answer has left the service; whether its id was committed is a matter of microseconds."""
    prompts = bench.write(8)

    kills = [is_killed(bench, "submit", "answered", skip) for skip in (0, 1, 1)]
    last = bench.run()

    assert kills[0]
    assert last.code == 0, said(last)
    assert bench.service.kills == sum(kills)
    bench.assert_whole(prompts)


def test_after_a_kill_the_same_bytes_are_sent_although_the_manifest_has_changed(bench: Bench) -> None:
    """An edited job is another job; what was under way is brought home, or left to a person, never forgotten."""
    bench.write([{"id": "a", "prompt": "before"}, {"id": "b"}])
    bench.service.rule("submit", "kill_after")
    assert bench.run().code == -9
    lost = list(bench.service.ledger.posts)  # the second may have been on its way when the first killed
    bench.write(
        [{"id": "b", "prompt": "prompt of b"}, {"id": "a", "prompt": "before"}, {"id": "c"}], params={}
    )

    outcome = bench.run()

    assert outcome.code == 0, said(outcome)
    assert lost[0].status is None
    for post in lost:
        assert {again.body for again in bench.service.ledger.of(post.prompt)} == {post.body}
    assert bench.service.ledger.paid_twice == {}
    bench.assert_whole(["before", "prompt of b", "prompt of c"])


def test_a_retry_that_was_killed_is_gone_on_with_and_not_begun_again(bench: Bench) -> None:
    """The round is committed with its key: `run` after it sends the same bytes, and pays for no third round."""
    bench.service.fates["prompt of a"] = Fate(status="failed", times=1)
    bench.write([{"id": "a"}])
    assert bench.run().code == 3
    bench.service.rule("submit", "kill_after")
    process = bench.service.doom(lambda: bench.command.start("retry", bench.manifest, "--yes"))
    killed = ended(process)
    again = bench.run()

    assert (killed.code, again.code) == (-9, 0), said(again)
    assert [post.outcome for post in bench.service.ledger.posts] == ["created", "created", "replayed"]
    assert len(bench.service.ledger.bodies_by_key()) == 2
    assert bench.rows("round, state") == [(2, "done")]
