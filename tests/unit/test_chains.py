"""Jobs that take other jobs' results: the rules as tables, and what is told of a manifest before anything is paid."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.lifecycle.chains import HeldBack, Need, Stand, circles, depth, held, in_order, stand_of
from runner.manifest import open_manifest
from runner.manifest.chains import NothingKnown, Outcomes
from runner.model import JobSpec, Opinion, PickChange, Reference, State
from runner.schemas import load_contracts
from runner.store import causes as store_causes
from runner.store import jobs, moves, needs, picks
from runner.store.database import StateDatabase
from tests.databases import close, each_database, empty_state
from tests.manifest_reading import Loaded, Pictures
from tests.staged import NOW, row_of, set_state
from tests.world import NAME, apply, bind

__all__ = ["each_database"]
STILL = {"model": "z-image", "prompt": "a still"}
MIXED = {"model": "nano-banana-2", "prompt": "a mixture"}
FILM = {"model": "grok-imagine-video", "prompt": "a film"}


class Known(NothingKnown):
    """What tests say of jobs, by their ids."""

    def __init__(
        self, *picked: str, editions: dict[str, int] | None = None, results: int | None = None
    ) -> None:
        self.known = picked
        self.editions = editions or {}
        self.number = results
        self.sent: set[tuple[str, str]] = set()

    def edition(self, job: str, fingerprint: str, output: str) -> int:
        return self.editions.get(job, 0)

    def picked(self, job: str, fingerprint: str) -> tuple[int, ...] | None:
        found = [each.partition(":")[2] for each in self.known if each.partition(":")[0] == job]
        return tuple(int(number) for number in found if number) if found else None

    def was_sent(self, job: str, fingerprint: str) -> bool:
        return (job, fingerprint) in self.sent

    def results(self, job: str, fingerprint: str) -> int | None:
        return self.number


def read(tmp_path: Path, *entries: dict[str, Any], known: Outcomes | None = None) -> Loaded:
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps({"version": 1, "name": "test", "jobs": entries}), encoding="utf-8")
    manifest = open_manifest(
        path,
        contracts=load_contracts(),
        references=Pictures(),
        outcomes=(lambda name: known) if known is not None else lambda name: NothingKnown(),
    )
    found = list(manifest.jobs())
    return Loaded(jobs=found, problems=manifest.problems, settings=manifest.settings)


def fingerprints(found: Loaded) -> dict[str, str]:
    return {job.id: job.fingerprint for job in found.jobs}


# --- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "order", "stuck"),
    [
        ({}, [], []),
        ({"b": ["a"]}, ["b"], []),
        ({"c": ["b"], "b": ["a"], "d": ["b", "c"]}, ["b", "c", "d"], []),
        ({"a": ["a"]}, [], ["a"]),
        ({"a": ["b"], "b": ["a"], "c": ["b"], "d": ["x"]}, ["d"], ["a", "b", "c"]),
        ({"a": ["b", "b"], "b": ["x"]}, ["b", "a"], []),
    ],
)
def test_what_is_needed_comes_first(wanted: dict[str, list[str]], order: list[str], stuck: list[str]) -> None:
    assert in_order(wanted) == (order, stuck)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"a": ["a"]}, [["a"]]),
        ({"c": ["b"], "a": ["b"], "b": ["a"]}, [["b", "a"]]),
        ({"a": ["b"], "b": ["c"], "c": ["a"], "x": ["y"], "y": ["x"]}, [["a", "b", "c"], ["x", "y"]]),
    ],
)
def test_circles_are_told_once(wanted: dict[str, list[str]], found: list[list[str]]) -> None:
    assert circles(wanted, in_order(wanted)[1]) == found


def test_a_chain_of_a_hundred_thousand_is_no_matter_of_depth() -> None:
    wanted = {number: [number - 1] for number in range(100_000, 0, -1)}

    assert depth(wanted) == 100_001
    assert circles({**wanted, 0: [100_000]}, range(100_001))


T, C, N = Stand.THERE, Stand.COMES, Stand.NOT


@pytest.mark.parametrize(
    ("wanted", "stands", "found"),
    [
        ({"f": [Need("s")]}, {"s": T}, {}),
        ({"f": [Need("s")]}, {"s": C}, {}),
        ({"f": [Need("s")]}, {"s": N}, {"f": HeldBack("s", choice=False)}),
        ({"f": [Need("s")]}, {"s": N, "f": T}, {}),  # it was made before the other was lost
        ({"f": [Need("s"), Need("t", 1)]}, {"s": T, "t": N}, {"f": HeldBack("t", choice=False)}),
        (
            {"f": [Need("s")], "g": [Need("f")]},
            {"s": N},
            {"f": HeldBack("s", choice=False), "g": HeldBack("s", choice=False)},
        ),
        (
            {"g": [Need("f")], "f": [Need("s1", 0, True), Need("s2", 0, True)]},
            {"s1": T, "s2": N},
            {"f": HeldBack("f", choice=True), "g": HeldBack("f", choice=True)},
        ),
        (
            {"f": [Need("s1", 0, True), Need("s2", 0, True)]},
            {"s1": C, "s2": C},
            {"f": HeldBack("f", choice=True)},
        ),
        (
            {"f": [Need("s1", 0, True), Need("s2", 0, True)]},
            {"s1": N, "s2": N},
            {"f": HeldBack("s1", choice=False)},
        ),
        ({"f": [Need("s1", 0, True), Need("x", 1)]}, {"s1": T, "x": N}, {"f": HeldBack("f", choice=True)}),
    ],
)
def test_what_a_run_cannot_send_and_why(
    wanted: dict[str, list[Need[str]]], stands: dict[str, Stand], found: dict[str, HeldBack[str]]
) -> None:
    assert held(wanted, lambda job: stands.get(job, C)) == found


def test_each_state_stands_somewhere() -> None:
    asked_for = {state: stand_of(state, made=True) for state in State}
    left_out = {state: stand_of(state, made=False) for state in State}

    assert {state for state, stand in asked_for.items() if stand is T} == {State.DONE}
    assert {state for state, stand in asked_for.items() if stand is N} == {
        State.FAILED, State.UNCERTAIN, State.ABANDONED,
    }  # fmt: skip
    assert {state for state in State if asked_for[state] is not left_out[state]} == {
        State.PLANNED,
        State.UPLOADING,
    }


# --- a manifest ---------------------------------------------------------------------------------------------------


def test_the_place_of_a_job_is_where_it_is_written_not_where_it_is_known(tmp_path: Path) -> None:
    found = read(tmp_path, {"id": "f", **FILM, "references": [{"job": "s"}]}, {"id": "s", **STILL})

    assert not found.problems
    assert [(job.id, job.number) for job in found.jobs] == [("s", 1), ("f", 0)]
    (reference,) = found.job("f").references
    assert (reference.path, reference.kind.value, reference.is_to_come) == ("job: s", "image", True)


def test_without_other_jobs_results_no_fingerprint_and_no_place_is_another(tmp_path: Path) -> None:
    plain = read(tmp_path, {"id": "s", **STILL}, {"id": "f", **FILM, "references": ["a.png"]})
    chained = read(
        tmp_path,
        {"id": "s", **STILL},
        {"id": "f", **FILM, "references": ["a.png"]},
        {"id": "g", **FILM, "references": [{"job": "s"}]},
    )

    assert [job.number for job in plain.jobs] == [None, None]
    assert fingerprints(plain).items() <= fingerprints(chained).items()


@pytest.mark.parametrize(
    ("reference", "code", "words"),
    [
        ({"job": "stil"}, "unknown-job", "did you mean still?"),
        ({"job": "film"}, "job-circle", 'the job "film" needs its own result'),
        ({"job": "takes"}, "several-takes", '"takes" has 2 takes'),
        ({"job": "clip"}, "reference-kind", '"job: clip" is a video; grok-imagine-video takes image files'),
        (
            {"job": "still", "frame": "last"},
            "no-frames",
            '"still" makes a picture (z-image), which has no frames',
        ),
        ({"job": "still", "file": "a.png"}, "refused", "neither or both"),
        ({"result": 1}, "refused", "neither or both"),
        ({"job": "still", "frame": "middle"}, "not-an-option", "frame is"),
        ({"job": "still", "picks": True}, "unknown-key", "did you mean `pick`?"),
        ({"job": "still", "result": 0}, "out-of-range", "result is 0"),
        ({"job": "takes-3"}, "unknown-job", "the takes of takes are takes-1 to takes-2"),
        ({"job": "broken"}, "job-with-mistakes", 'needs the result of "broken", which has mistakes itself'),
    ],
)
def test_what_is_wrong_with_a_reference_is_told_with_its_place(
    tmp_path: Path, reference: dict[str, Any], code: str, words: str
) -> None:
    pytest.importorskip("av")
    found = read(
        tmp_path,
        {"id": "still", **STILL},
        {"id": "clip", **FILM},
        {"id": "takes", **STILL, "repeat": 2},
        {"id": "broken", **STILL, "params": {"aspect_ratio": "x"}},
        {"id": "film", **FILM, "references": [reference]},
    )

    told = [problem for problem in found.errors if problem.job == "film"]
    assert code in [problem.code for problem in told], found.problems
    assert any(words in str(problem) for problem in told), told
    assert all(".references[0]" in problem.path for problem in told)
    assert "film" not in found.ids


def test_what_one_job_with_mistakes_keeps_back_is_told_in_one_line(tmp_path: Path) -> None:
    films = [{"id": f"f{number}", **FILM, "references": [{"job": "bad"}]} for number in range(199)]
    found = read(
        tmp_path,
        {"id": "g", "model": "nano-banana-2", "prompt": "p", "references": [{"job": "f3"}, {"job": "bad"}]},
        *films,
        {"id": "bad", **STILL, "params": {"aspect_ratio": "x"}},
    )

    (told,) = [problem for problem in found.problems if problem.code == "job-with-mistakes"]
    assert told.job == "f0"
    assert told.what.startswith("200 jobs (")
    assert told.what.endswith(', …) need the result of "bad", which has mistakes itself')
    assert len(found.errors) == 2
    assert not found.ids


def test_a_circle_is_told_once_and_takes_along_what_needs_it(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"id": "a", "model": "nano-banana-2", "prompt": "p", "references": [{"job": "b"}]},
        {"id": "b", "model": "nano-banana-2", "prompt": "q", "references": [{"job": "a"}]},
        {"id": "c", **FILM, "references": [{"job": "b"}]},
        {"id": "fine", **STILL},
    )

    assert (
        found.only("job-circle").what
        == 'these jobs need each other\'s results, in a circle: "a" needs "b" needs "a"'
    )
    assert found.ids == ["fine"]


def test_a_limit_of_each_kind_holds_for_results_too(tmp_path: Path) -> None:
    stills = [{"id": f"s{number}", "model": "z-image", "prompt": f"still {number}"} for number in range(8)]
    found = read(
        tmp_path,
        *stills,
        {"id": "film", **FILM, "references": [{"job": f"s{number}"} for number in range(8)]},
    )

    assert found.only("too-many-references").job == "film"


def test_a_frame_needs_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.manifest.chains.find_spec", lambda name: None)

    found = read(
        tmp_path,
        {"id": "clip", **FILM},
        {"id": "next", **FILM, "references": [{"job": "clip", "frame": "last"}]},
    )

    assert found.only("no-frames").hint == "pip install 'rivya-batch[frames]'"


def test_a_result_that_there_cannot_be_is_told_where_that_is_known(tmp_path: Path) -> None:
    entries = {"id": "s", **STILL}, {"id": "f", **FILM, "references": [{"job": "s", "result": 3}]}

    assert not read(tmp_path, *entries).problems
    assert (
        read(tmp_path, *entries, known=Known(results=2)).only("no-such-result").hint == "`result` is 1 to 2"
    )


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {id_ for id_ in before if before[id_] != after[id_]}


def test_what_makes_another_fingerprint(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = [
        {"id": "s", **STILL, "repeat": 2},
        {"id": "f", **FILM, "references": [{"job": "s-1"}]},
        {"id": "p", **FILM, "references": [{"job": "s", "pick": True}]},
    ]
    before = fingerprints(read(tmp_path, *entries))

    def with_(known: Known | None = None, **edited: dict[str, Any]) -> set[str]:
        written = [{**entry, **edited.get(str(entry["id"]), {})} for entry in entries]
        return changed(before, fingerprints(read(tmp_path, *written, known=known)))

    assert with_() == set()
    assert with_(s={"prompt": "another"}) == {"s-1", "s-2", "f", "p"}
    assert with_(f={"references": [{"job": "s-2"}]}) == {"f"}
    assert with_(f={"references": [{"job": "s-1", "result": 2}]}) == {"f"}
    assert with_(known=Known(editions={"s-1": 1})) == {"f", "p"}
    assert with_(known=Known("s-2")) == {"p"}
    assert with_(known=Known("s-1", "s-2")) == set()  # two are no choice
    assert with_(known=Known("s-2:1", "s-2:3")) == set()  # nor are two pictures of one


def test_a_picked_picture_is_the_one_that_is_taken(tmp_path: Path) -> None:
    entries = (
        {"id": "s", **STILL, "repeat": 2},
        {"id": "p", **FILM, "references": [{"job": "s", "pick": True}]},
    )
    made = [
        read(tmp_path, *entries, known=known).job("p")
        for known in (Known("s-2"), Known("s-2:1"), Known("s-2:3"))
    ]
    later = Known(results=4)
    later.sent.add(("p", made[2].fingerprint))
    kept = read(tmp_path, *entries, known=later).job("p")

    assert made[0].fingerprint == made[1].fingerprint != made[2].fingerprint
    assert [each.references[0].result_of.result for each in (*made, kept) if each.references[0].result_of] == [
        1, 1, 3, 3,
    ]  # fmt: skip
    assert kept.fingerprint == made[2].fingerprint


def test_what_was_made_with_a_choice_stays_as_it_is_while_there_is_no_other(tmp_path: Path) -> None:
    entries = (
        {"id": "s", **STILL, "repeat": 2},
        {"id": "p", **FILM, "references": [{"job": "s", "pick": True}]},
    )
    made = fingerprints(read(tmp_path, *entries, known=Known("s-2")))["p"]
    known = Known()
    known.sent.add(("p", made))

    found = read(tmp_path, *entries, known=known).job("p")

    assert found.fingerprint == made
    assert found.references[0].result_of is not None
    assert found.references[0].result_of.jobs == ("s-2",)


def test_thousands_that_need_one_are_read_in_no_time(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("n\n" + "\n".join(map(str, range(3_000))), encoding="utf-8")
    rows = {"id": "f-${row.n}", "model": "grok-imagine-video", "prompt": "p ${row.n}", "rows": "rows.csv"}
    began = time.process_time()

    found = read(tmp_path, {**rows, "references": [{"job": "s"}]}, {"id": "s", **STILL})

    assert len(found.jobs) == 3_001
    assert not found.problems
    assert time.process_time() - began < 5.0


# --- the database -------------------------------------------------------------------------------------------------


@pytest.fixture
def file(each_database: str) -> Iterator[StateDatabase]:
    found = empty_state()
    bind(found)
    yield found
    close(found)


def specs(tmp_path: Path, *entries: dict[str, Any], known: Outcomes | None = None) -> list[JobSpec]:
    found = read(tmp_path, *entries, known=known)
    assert not found.errors, found.errors
    return found.jobs


def test_what_a_job_waits_for_is_counted_anew(tmp_path: Path, file: StateDatabase) -> None:
    apply(
        file,
        *specs(
            tmp_path,
            {"id": "s", **STILL},
            {"id": "t", "model": "z-image", "prompt": "other"},
            {"id": "f", **FILM, "references": [{"job": "s"}]},
            {"id": "g", **MIXED, "references": [{"job": "s"}, {"job": "t"}]},
        ),
    )

    def to_send() -> list[str]:
        return [job.id for job in jobs.page_to_send(file.conn, NAME, after=(-1, -1), limit=9)]

    assert needs.any_of(file.conn, NAME)
    assert to_send() == ["s", "t"]
    set_state(file, "s", State.DONE)
    with file.transaction() as conn:
        freed = needs.made(conn, row_of(file, "s"))
    assert freed == [(2, row_of(file, "f"))]
    assert to_send() == ["t", "f"]
    set_state(file, "s", State.DOWNLOADING)  # its file is gone from the disk
    set_state(file, "t", State.DONE)
    with file.transaction() as conn:
        needs.count(conn, NAME)
    assert to_send() == []


def test_a_job_is_bound_whole_and_only_before_it_was_sent(tmp_path: Path, file: StateDatabase) -> None:
    apply(file, *specs(tmp_path, {"id": "s", **STILL}, {"id": "f", **FILM, "references": [{"job": "s"}]}))
    job = jobs.get(file.conn, row_of(file, "f"))
    there = Pictures().read(tmp_path, "s.png")
    assert isinstance(there, Reference)
    bound = [there]

    with file.transaction() as conn, pytest.raises(RunnerError):
        moves.bind(conn, job, NOW, job.references)
    with file.transaction() as conn:
        after = moves.bind(conn, job, NOW, bound)
    assert after.references[0].sha256 == bound[0].sha256
    assert after.fingerprint == job.fingerprint
    set_state(file, "f", State.SUBMITTING)
    with file.transaction() as conn, pytest.raises(RunnerError):
        moves.bind(conn, jobs.get(conn, job.row), NOW, bound)


def test_a_round_that_replaces_a_result_is_another_edition_and_one_after_a_failure_is_not(
    tmp_path: Path, file: StateDatabase
) -> None:
    apply(file, *specs(tmp_path, {"id": "s", **STILL}))
    row = row_of(file, "s")

    def begin_again(state: State, finished_at: str | None) -> int:
        set_state(file, "s", state)
        with file.transaction() as conn:
            conn.execute("UPDATE jobs SET finished_at = ? WHERE id = ?", (finished_at, row))
            return moves.begin_round(conn, jobs.get(conn, row), NOW).edition

    assert begin_again(State.FAILED, NOW) == 0
    assert begin_again(State.DOWNLOADING, None) == 0
    assert begin_again(State.DOWNLOADING, NOW) == 1
    assert begin_again(State.ABANDONED, NOW) == 2


def test_picks_and_editions_are_found_also_after_a_rename(tmp_path: Path, file: StateDatabase) -> None:
    of_s: list[dict[str, Any]] = [
        {"id": "s", **STILL, "repeat": 2},
        {"id": "f", **FILM, "references": [{"job": "s", "pick": True}]},
        {"id": "e", **MIXED, "references": [{"job": "s-2"}]},
    ]
    twin: list[dict[str, Any]] = [
        {"id": "t", **STILL, "repeat": 2},
        {"id": "g", **FILM, "references": [{"job": "t", "pick": True}]},
        {"id": "h", **MIXED, "references": [{"job": "t-2"}]},
    ]
    apply(file, *specs(tmp_path, *of_s))
    row = row_of(file, "s-2")
    with file.transaction() as conn:
        picks.put(conn, NAME, {(row, 1): PickChange(verdict=Opinion.PICKED, results=(2,))}, NOW)
        conn.execute("UPDATE jobs SET edition = 3 WHERE id = ?", (row,))

    def read_now(*entries: dict[str, Any]) -> dict[str, str]:
        known = needs.StoredOutcomes(file.conn, NAME)
        return {job.id: job.fingerprint for job in specs(tmp_path, *entries, known=known)}

    kept, renamed = read_now(*of_s), read_now(*twin)
    assert (kept["f"], kept["e"]) == (renamed["g"], renamed["h"])
    # A job that is still there is not the one renamed, wherever it is written; nor is each of two twins.
    for entries in ([*of_s, *twin], [*twin, *of_s]):
        both = read_now(*entries)
        assert (both["f"], both["e"]) == (kept["f"], kept["e"])
        assert both["g"] != kept["f"]
        assert both["h"] != kept["e"]
    third = [{**entry, "id": f"3{entry['id']}"} for entry in twin]
    two = read_now(*third, *twin)
    assert two["h"] == two["3h"] != kept["e"]  # of the twins, the first takes over; its takes are 3t


def test_of_new_twins_one_takes_over_what_is_known_of_an_old_one(tmp_path: Path, file: StateDatabase) -> None:
    def written(*names: str) -> list[dict[str, Any]]:
        return [
            entry
            for name in names
            for entry in (
                {
                    "id": f"film-{name}",
                    "model": "grok-imagine-video",
                    "prompt": name,
                    "references": [{"job": name}],
                },
                {"id": name, **STILL},
            )
        ]

    def editions(*names: str) -> list[bool]:
        """Whether the film of each is that of a later edition."""
        found = specs(tmp_path, *written(*names), known=needs.StoredOutcomes(file.conn, NAME))
        plain = fingerprints(read(tmp_path, *written(*names)))
        return [
            next(job for job in found if job.id == f"film-{name}").fingerprint != plain[f"film-{name}"]
            for name in names
        ]

    apply(file, *specs(tmp_path, *written("s")))
    set_state(file, "s", State.DONE)
    with file.transaction() as conn:
        conn.execute("UPDATE jobs SET edition = 1 WHERE id = ?", (row_of(file, "s"),))

    assert editions("s") == editions("a") == [True]
    assert editions("a", "s") == [False, True]
    assert editions("a", "b") == [True, False]
    assert editions("b", "a", "s") == [False, False, True]


def test_a_choice_that_a_chain_of_thousands_waits_for_is_followed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reference(job: str, undecided: bool) -> str:
        of = {"jobs": [job], "undecided": undecided}
        return json.dumps([{"path": f"job: {job}", "sha256": "", "of": of}])

    rows: list[Any] = [
        {
            **dict.fromkeys(("model", "prompt", "params", "old_model", "old_prompt", "old_params"), "{}"),
            "job": f"m{number}",
            "unsent": 1,
            "old_refs": reference(f"m{number - 1}", undecided=number == 0),
            "refs": reference(f"m{number - 1}", undecided=False),
        }
        for number in range(2_000)
    ]
    asked: list[object] = []
    real = store_causes._is_chosen

    def counting(old: list[Any], new: list[Any], chosen: set[str]) -> bool:
        asked.append(new)
        return real(old, new, chosen)

    monkeypatch.setattr(store_causes, "_is_chosen", counting)

    assert len(store_causes.only_chosen([*reversed(rows)])) == 2_000
    assert store_causes.only_chosen(rows[1:]) == set()
    assert len(asked) < 7_000


def test_what_many_jobs_take_is_read_in_parts(
    tmp_path: Path, file: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = [
        {"id": f"f{number}", **MIXED, "references": [{"job": "s"}, {"job": "t"}, {"job": "s"}][: number + 1]}
        for number in range(3)
    ]
    apply(
        file,
        *specs(tmp_path, {"id": "s", **STILL}, {"id": "t", "model": "z-image", "prompt": "other"}, *films),
    )
    rows = [row_of(file, f"f{number}") for number in range(3)]
    monkeypatch.setattr(needs, "_AT_ONCE", 2)

    found = needs.sources(file.conn, rows)

    assert {place: job.id for place, job in found.items()} == {
        (rows[0], 0): "s",
        (rows[1], 0): "s", (rows[1], 1): "t",
        (rows[2], 0): "s", (rows[2], 1): "t", (rows[2], 2): "s",
    }  # fmt: skip
    assert needs.sources(file.conn, []) == {}
