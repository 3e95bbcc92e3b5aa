"""What the live page is told: everything once, then what changes, and nothing is lost when it connects again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.host.clock import rfc3339
from runner.host.workspace import Holder
from runner.reports.data import Invocation
from runner.store.sqlite import StateFile
from runner.web.feed import Feed
from runner.web.page_state import ControlState, Numbers, PageReader, Target
from tests.report_rows import BEGAN_S, Row, add, new_state

pytestmark = pytest.mark.anyio
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event as a browser takes it."""

    id: str
    kind: str
    data: dict[str, Any]

    @property
    def jobs(self) -> dict[str, str]:
        """The state of each job it tells of."""
        states = self.data["tables"]["state"]
        return {
            id_: states[number]
            for id_, number in zip(self.data["jobs"]["id"], self.data["jobs"]["state"], strict=True)
        }

    @property
    def now(self) -> dict[str, Any]:
        return self.data["head"]["now"]


class Browser:
    """Takes server-sent events from a feed."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    async def next(self) -> Told:
        with anyio.fail_after(10):
            while True:
                lines = (await anext(self._pieces)).decode().strip().split("\n")
                fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
                if "event" in fields:
                    return Told(
                        id=fields.get("id", ""), kind=fields["event"], data=json.loads(fields["data"])
                    )


HOLDER = Holder(pid=None, host="", since="", command="")


class Paused(Holder):
    """Somebody whose process was stopped by Ctrl-Z."""

    paused = "type `fg`"


class Night:
    """A state database, and a feed of it whose poller looks only when it is poked."""

    def __init__(self, folder: Path, *, piece: int = 100) -> None:
        self.file = new_state(
            folder / "runner.db", manifest="night", manifest_path=folder / "night.yaml", output_dir=folder
        )
        add(self.file, "night", [Row(id=name, state="waiting", duration_s=None) for name in "abc"])
        self.control = ControlState()
        self.holder: Holder | None = HOLDER
        target = Target(
            database=folder / "runner.db",
            folder=folder,
            manifest="night",
            output_dir=folder,
            invocation=Invocation(manifest="night.yaml"),
        )
        self.reader = PageReader(target, holder=lambda name: self.holder, wall_s=lambda: BEGAN_S, piece=piece)
        self.feed = Feed(self.reader, control=lambda: self.control, every_s=HOUR_S)

    def change(self, sql: str, *values: object) -> None:
        with self.file.transaction() as conn:
            conn.execute(sql, values)

    def becomes(self, job: str, state: str, *, at_s: float = BEGAN_S) -> None:
        self.change(
            "UPDATE jobs SET state = ?, version = version + 1, updated_at = ? WHERE job = ?",
            state,
            rfc3339(at_s),
            job,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.feed.run)
            yield
            group.cancel_scope.cancel()

    @asynccontextmanager
    async def browser(self, last_id: str | None = None) -> AsyncIterator[Browser]:
        async with aclosing(self.feed.listen(last_id)) as pieces:  # type: ignore[type-var]
            yield Browser(pieces)


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    night = Night(tmp_path)
    yield night
    night.reader.close()
    night.file.close()


async def test_a_browser_is_told_everything_and_then_what_changes(night: Night) -> None:
    async with night.serving(), night.browser() as browser:
        first = await browser.next()
        night.becomes("b", "done")
        night.feed.poke()
        second = await browser.next()

    assert (first.kind, first.jobs) == ("report", dict.fromkeys("abc", "waiting"))
    assert (second.kind, second.jobs) == ("jobs", {"b": "done"})
    assert second.data["head"]["counts"] == {"waiting": 2, "done": 1}
    assert first.id != second.id


async def test_what_comes_in_while_a_browser_is_away_is_told_when_it_is_back(night: Night) -> None:
    async with night.serving(), night.browser() as stays:
        await stays.next()
        async with night.browser() as goes:
            last = (await goes.next()).id
        for job in "abca":
            night.becomes(job, "downloading")
            night.feed.poke()
            await stays.next()
        async with night.browser(last) as back:
            told = await back.next()

    assert (told.kind, told.jobs) == ("jobs", dict.fromkeys("abc", "downloading"))


async def test_what_changed_while_nobody_looked_is_told_too(night: Night) -> None:
    async with night.serving():
        async with night.browser() as goes:
            last = (await goes.next()).id
        night.becomes("c", "failed")
        async with night.browser(last) as back:
            told = await back.next()

    assert (told.kind, told.jobs) == ("jobs", {"c": "failed"})


@pytest.mark.parametrize("last_id", ["", "x", "0.0.0", "deadbeef.1.0", "..", "a.1.99999999999999999999"])
async def test_the_id_of_another_server_brings_everything(night: Night, last_id: str) -> None:
    async with night.serving(), night.browser(last_id) as browser:
        told = await browser.next()

    assert told.kind == "report"
    assert len(told.jobs) == 3


async def test_an_id_from_the_future_of_this_server_brings_everything(night: Night) -> None:
    async with night.serving():
        async with night.browser() as browser:
            name, generation, number = (await browser.next()).id.split(".")
        async with night.browser(f"{name}.{generation}.{int(number) + 5}") as browser:
            told = await browser.next()

    assert told.kind == "report"


async def test_another_run_with_other_jobs_is_told_whole(night: Night) -> None:
    async with night.serving(), night.browser() as browser:
        await browser.next()
        night.change("UPDATE jobs SET listed = 0 WHERE job = 'a'")
        night.change(
            "INSERT INTO runs (manifest, command, pid, host, version, started_at, seen_at)"
            " VALUES ('night', 'run', 1, 'here', '0', ?, ?)",
            rfc3339(BEGAN_S),
            rfc3339(BEGAN_S),
        )
        night.feed.poke()
        told = await browser.next()

    assert told.kind == "report"
    assert told.data["head"]["orphaned"] == 1


async def test_a_step_that_was_committed_late_is_told(night: Night) -> None:
    async with night.serving(), night.browser() as browser:
        await browser.next()
        night.becomes("a", "done", at_s=BEGAN_S + 4)
        night.feed.poke()
        await browser.next()
        night.becomes("b", "done", at_s=BEGAN_S + 1)
        night.feed.poke()
        told = await browser.next()

    assert told.jobs == {"b": "done"}


async def test_a_clock_that_was_set_back_hides_no_step_that_has_an_event(night: Night) -> None:
    async with night.serving(), night.browser() as browser:
        await browser.next()
        night.change(
            "INSERT INTO events (at, manifest, job, kind) VALUES (?, 'night', 'b', 'done')",
            rfc3339(BEGAN_S - HOUR_S),
        )
        night.becomes("b", "done", at_s=BEGAN_S - HOUR_S)
        night.feed.poke()
        told = await browser.next()

    assert told.jobs == {"b": "done"}


async def test_nothing_is_read_while_nobody_listens(night: Night) -> None:
    async with night.serving():
        for _ in range(5):
            night.feed.poke()
            await anyio.wait_all_tasks_blocked()
        assert night.feed.looks == 0
        async with night.browser() as browser:
            await browser.next()
        night.feed.poke()
        await anyio.wait_all_tasks_blocked()
        looks = night.feed.looks
        night.feed.poke()
        await anyio.wait_all_tasks_blocked()

    assert looks == night.feed.looks > 0


async def test_many_browsers_are_served_by_one_look(night: Night) -> None:
    async with night.serving(), night.browser() as a, night.browser() as b, night.browser() as c:
        browsers = (a, b, c)
        for browser in browsers:
            await browser.next()
        await anyio.wait_all_tasks_blocked()
        looks = night.feed.looks
        night.becomes("a", "done")
        night.feed.poke()
        told = [await browser.next() for browser in browsers]

    assert night.feed.looks == looks + 1
    assert len({each.id for each in told}) == 1
    assert all(each.jobs == {"a": "done"} for each in told)


async def test_a_new_head_alone_is_told_without_jobs(night: Night) -> None:
    async with night.serving(), night.browser() as browser:
        await browser.next()
        stats = json.dumps({"rate_per_s": 4.5, "in_flight": 12, "eta_s": 60, "cap": 900})
        night.change("UPDATE runs SET ended_at = NULL, exit_code = NULL, stats = ?", stats)
        night.feed.poke()
        told = await browser.next()

    assert (told.kind, set(told.data)) == ("head", {"head"})
    assert told.now | {"phase": "running", "rate_per_s": 4.5, "in_flight": 3, "cap": 900} == told.now


async def test_a_commit_of_no_concern_is_not_told(night: Night) -> None:
    async with night.serving(), night.browser() as browser:
        await browser.next()
        night.change(
            "INSERT INTO rates (account, per_s, found_at) VALUES ('somebody', 1.0, ?)", rfc3339(BEGAN_S)
        )
        night.feed.poke()
        await anyio.wait_all_tasks_blocked()
        night.becomes("a", "done")
        night.feed.poke()
        told = await browser.next()

    assert told.jobs == {"a": "done"}
    assert told.id.endswith(".1")


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        (lambda night: None, "running"),
        (lambda night: setattr(night, "holder", None), "killed"),
        (lambda night: setattr(night, "holder", replace(HOLDER, pid=7, host="elsewhere")), "killed"),
        (lambda night: setattr(night, "holder", Paused(pid=None, host="", since="", command="")), "paused"),
        (lambda night: setattr(night, "control", ControlState(on_it=True, held=True)), "held"),
        (
            lambda night: setattr(night, "control", ControlState(on_it=True, held=True, stopping=True)),
            "stopping",
        ),
        (lambda night: night.change("UPDATE runs SET stats = '{\"held\": true}'"), "held"),
        (lambda night: night.change("UPDATE runs SET ended_at = '2026', exit_code = 3"), "ended"),
        (lambda night: night.change("DELETE FROM runs"), "none"),
    ],
)
async def test_it_says_what_is_going_on(night: Night, change: Callable[[Night], object], phase: str) -> None:
    night.change("UPDATE runs SET ended_at = NULL, exit_code = NULL")
    change(night)

    async with night.serving(), night.browser() as browser:
        told = await browser.next()

    assert told.now["phase"] == phase


@pytest.fixture
def huge(tmp_path: Path) -> Iterator[Night]:
    """A night whose three jobs are too many to be told at once."""
    night = Night(tmp_path, piece=2)
    yield night
    night.reader.close()
    night.file.close()


async def test_a_huge_manifest_is_told_in_pieces_and_has_a_place_at_the_last(huge: Night) -> None:
    async with huge.serving(), huge.browser() as browser:
        told = [await browser.next(), await browser.next()]
        huge.becomes("c", "done")
        huge.feed.poke()
        after = await browser.next()

    assert [(each.kind, list(each.jobs), bool(each.id)) for each in told] == [
        ("report", ["a", "b"], False),
        ("jobs", ["c"], True),
    ]
    assert (after.kind, after.jobs) == ("jobs", {"c": "done"})


async def test_more_changes_than_can_be_told_at_once_are_told_as_everything(huge: Night) -> None:
    async with huge.serving(), huge.browser() as stays:
        last = [await stays.next(), await stays.next()][-1].id
        for job in "abc":
            huge.becomes(job, "done")
            huge.feed.poke()
            await stays.next()
        async with huge.browser(last) as back:
            told = [await back.next(), await back.next()]

    assert [each.kind for each in told] == ["report", "jobs"]
    assert told[0].jobs | told[1].jobs == dict.fromkeys("abc", "done")


async def test_everything_at_once_is_told_as_everything(huge: Night) -> None:
    async with huge.serving(), huge.browser() as browser:
        await browser.next()
        await browser.next()
        huge.change("UPDATE jobs SET state = 'failed', version = version + 1")
        huge.feed.poke()
        told = [await browser.next(), await browser.next()]

    assert [each.kind for each in told] == ["report", "jobs"]
    assert set((told[0].jobs | told[1].jobs).values()) == {"failed"}


async def test_the_last_errors_are_told(night: Night) -> None:
    night.change(
        "UPDATE jobs SET state = 'failed', error_class = 'policy', error_message = 'no' WHERE job = 'b'"
    )

    async with night.serving(), night.browser() as browser:
        told = await browser.next()

    assert [(error["job"], error["class"], error["message"]) for error in told.now["errors"]] == [
        ("b", "policy", "no")
    ]


async def test_the_end_is_told_and_ends_every_stream(night: Night) -> None:
    night.change("UPDATE runs SET ended_at = NULL, exit_code = NULL")
    night.control = ControlState(on_it=True)
    async with night.serving(), night.browser() as browser:
        first = await browser.next()
        night.becomes("a", "done")
        await night.feed.finish()
        last = await browser.next()
        end = await browser.next()
        with pytest.raises(StopAsyncIteration):
            await browser.next()

    assert (first.now["phase"], last.now["phase"]) == ("running", "ended")
    assert last.jobs == {"a": "done"}
    assert end.kind == "end"


async def test_texts_of_others_come_through_as_they_are(night: Night) -> None:
    text = "one\ntwo\r\n\ndata: three </script> \u2028 \U0001f600"
    night.change("UPDATE jobs SET prompt = ? WHERE job = 'a'", text)

    async with night.serving(), night.browser() as browser:
        told = await browser.next()

    assert told.data["tables"]["prompt"][0] == text


async def test_a_database_that_cannot_be_read_is_tried_again(night: Night, tmp_path: Path) -> None:
    away = tmp_path / "away.db"
    async with night.serving(), night.browser() as browser:
        await browser.next()
        night.reader.close()
        (tmp_path / "runner.db").rename(away)
        night.feed.poke()
        await anyio.wait_all_tasks_blocked()
        away.rename(tmp_path / "runner.db")
        night.becomes("a", "done")
        night.feed.poke()
        told = await browser.next()

    assert told.jobs == {"a": "done"}


def test_a_file_is_named_by_its_row_and_found_again(night: Night, tmp_path: Path) -> None:
    result = tmp_path / "a b%2F.mp4"
    add(night.file, "night", [Row(id="d", files=[(result, "video/mp4")])])
    row = night.file.conn.execute("SELECT id FROM jobs WHERE job = 'd'").fetchone()[0]

    data = json.loads(next(night.reader.whole(ControlState())))
    url = data["jobs"]["files"][data["jobs"]["row"].index(row)][0][0]

    assert url == f"result/{row}/1/a%20b%252F.mp4"
    assert night.reader.find("result", row, 1) == (result, "video/mp4")
    assert night.reader.find("result", row, 2) is None
    assert night.reader.find("reference", row, 1) is None
    assert night.reader.find("result", 2**70, 1) is None


def test_a_page_that_is_only_looked_at_writes_nothing(night: Night, tmp_path: Path) -> None:
    night.file.checkpoint(force=True)
    before = StateFile.open_readonly(tmp_path / "runner.db")
    version = before.conn.execute("PRAGMA data_version").fetchone()[0]

    night.reader.look(ControlState())
    list(night.reader.whole(ControlState()))
    night.reader.close()

    assert before.conn.execute("PRAGMA data_version").fetchone()[0] == version
    before.close()


RUNNING = Numbers(rate_per_s=7.5, in_flight=2, eta_s=40.0, cap=500.0, note="")


async def test_the_numbers_of_the_run_beside_it_are_told_as_it_knows_them(night: Night) -> None:
    """The database is told of them only now and then."""
    night.change("UPDATE runs SET ended_at = NULL, exit_code = NULL, stats = ?", '{"rate_per_s": 1}')
    night.control = ControlState(on_it=True, numbers=RUNNING)

    async with night.serving(), night.browser() as browser:
        first = await browser.next()
        night.control = ControlState(on_it=True, numbers=replace(RUNNING, in_flight=1, eta_s=39.0))
        night.feed.nudge()
        then = await browser.next()

    assert (first.now["rate_per_s"], first.now["in_flight"], first.now["eta_s"]) == (7.5, 2, 40.0)
    assert (then.kind, then.now["in_flight"], then.now["eta_s"]) == ("head", 1, 39.0)


async def test_the_numbers_of_a_run_elsewhere_are_brought_up_to_now(night: Night) -> None:
    stats = json.dumps({"rate_per_s": 4.5, "in_flight": 12, "eta_s": 60})
    night.change(
        "UPDATE runs SET ended_at = NULL, exit_code = NULL, seen_at = ?, stats = ?",
        rfc3339(BEGAN_S - 4),
        stats,
    )
    night.becomes("a", "done")

    async with night.serving(), night.browser() as browser:
        told = await browser.next()

    assert told.now["in_flight"] == 2
    assert told.now["eta_s"] == pytest.approx(56.0)


async def test_a_feed_that_is_nudged_all_the_time_rests_all_the_same(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at a huge run takes its time; most of the time is the run's."""
    monkeypatch.setattr("runner.web.feed.REST_SHARE", 1e9)
    async with night.serving(), night.browser() as browser:
        await browser.next()
        await anyio.wait_all_tasks_blocked()
        looks = night.feed.looks
        night.becomes("a", "done")
        night.feed.nudge()
        await anyio.wait_all_tasks_blocked()
        assert night.feed.looks == looks
        night.feed.poke()
        told = await browser.next()

    assert told.jobs == {"a": "done"}
