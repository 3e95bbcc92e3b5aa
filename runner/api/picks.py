"""`pick`: what a person thinks of results, kept in the database; and which jobs are meant by it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.api.manifests.opened import manifest_name
from runner.errors import UsageError
from runner.host.clock import rfc3339
from runner.host.workspace import DatabasePlace, find_workspace, no_database
from runner.lifecycle.selection import fits
from runner.model import Opinion, Pick, PickChange
from runner.store import manifests, picks
from runner.store.database import StateDatabase, open_database

FORMAT = "rivya_batch_picks"
LONGEST_WORD = 2000  # letters of what a person writes about one result
MOST_RESULTS = 100  # of one job


@dataclass(frozen=True, slots=True, kw_only=True)
class PicksChanged:
    """What became of a choice: the ids whose pick is another now, and all that is picked, rejected or rated."""

    manifest: str
    changed: Mapping[str, Pick]
    picks: Mapping[str, Pick]
    unknown: tuple[str, ...] = ()  # ids of a file that the manifest does not list
    older: tuple[str, ...] = ()  # ids of a file that speaks of a result since replaced by another round


@dataclass(frozen=True, slots=True, kw_only=True)
class PickFile:
    """What a report, or a client's page, has saved: by id, the round it speaks of (None: not said) and the change."""

    manifest: str | None
    picks: Mapping[str, tuple[int | None, PickChange]] = field(default_factory=dict)


def pick_ids(
    path: Path, patterns: Sequence[str], change: PickChange, *, state: str | None, sandbox: bool
) -> PicksChanged:
    """Say of jobs what a person thinks of them; nothing is changed where one of the ids is unknown.

    Args:
        path: The manifest.
        patterns: Ids, or patterns of ids: `cat-*`.
        change: What is thought of them.
        state: Another database.
        sandbox: The database of rehearsals.

    Raises:
        UsageError: An id is unknown, or nothing was ever run here.
    """
    with closing(_open(path, state, sandbox=sandbox)) as file:
        name = manifest_name(path)
        listed = _listed(file, name)
        wanted: dict[str, PickChange] = {}
        pictures: dict[str, list[int]] = {}
        for pattern in patterns:
            found = [pattern] if pattern in listed else [id_ for id_ in listed if fits(pattern, id_)]
            if not found and (one := _picture(pattern, listed)) is not None:
                for id_ in one[0]:
                    pictures.setdefault(id_, []).append(one[1])
                continue
            if not found:
                raise UsageError(
                    f"{name} has no job {pattern}", hint="`rivya-batch plan --all` and the page show its ids"
                )
            wanted.update(dict.fromkeys(found, change))
        if pictures:
            wanted |= _of_pictures(file, name, pictures, change)
        return _put(file, name, listed, wanted)


def _picture(pattern: str, ids: Iterable[str]) -> tuple[list[str], int] | None:
    """Return whose picture is meant by `cat-1:2`, and its number."""
    before, colon, number = pattern.rpartition(":")
    if not colon or not (number.isascii() and number.isdigit()):
        return None
    found = [id_ for id_ in ids if id_ == before] or [id_ for id_ in ids if fits(before, id_)]
    return (found, int(number)) if found else None


def _of_pictures(
    file: StateDatabase, name: str, pictures: Mapping[str, Sequence[int]], change: PickChange
) -> dict[str, PickChange]:
    """Return what picking or clearing single pictures means for their jobs.

    Raises:
        UsageError: There is no such picture, or it cannot be said of a single one.
    """
    if change.verdict is Opinion.REJECTED or change.rating or change.word:
        raise UsageError(
            "a single picture can be picked, or cleared", hint="rejecting, stars and words are about the job"
        )
    made, known = picks.numbers_of(file.conn, name), picks.of_jobs(file.conn, name)
    wanted = {}
    for id_, numbers in pictures.items():
        there = made.get(id_, ())
        if gone := [number for number in numbers if number not in there]:
            raise UsageError(f"{id_} has no result {gone[0]}", hint=f"it has {len(there)}")
        before = known.get(id_, Pick())
        now = set((before.results or there) if before.verdict is Opinion.PICKED else ())
        if change.verdict is Opinion.PICKED:
            # Of a job that was picked as a whole, naming one means just that one.
            now = {*(before.results if before.verdict is Opinion.PICKED else ()), *numbers}
        else:
            now -= set(numbers)
        wanted[id_] = PickChange(
            verdict=Opinion.PICKED if now else "", results=tuple(sorted(now)) if len(now) < len(there) else ()
        )
    return wanted


def pick_from(path: Path, source: str, *, state: str | None, sandbox: bool) -> PicksChanged:
    """Take over what a report or a client's page has saved.

    Raises:
        UsageError: The file is none of these, or of another manifest.
    """
    told = read_picks(source)
    with closing(_open(path, state, sandbox=sandbox)) as file:
        name = manifest_name(path)
        if told.manifest is not None and told.manifest != name:
            raise UsageError(f"{source} is about {told.manifest}, not about {name}")
        listed = _listed(file, name)
        older = tuple(
            id_
            for id_, (round_, _) in told.picks.items()
            if id_ in listed and round_ not in (None, listed[id_][1])
        )
        wanted = {
            id_: change for id_, (_, change) in told.picks.items() if id_ in listed and id_ not in older
        }
        unknown = tuple(id_ for id_ in told.picks if id_ not in listed)
        if told.picks and not (wanted or older):
            raise UsageError(f"{name} has none of the jobs in {source}")
        done = _put(file, name, listed, wanted)
        return PicksChanged(
            manifest=name, changed=done.changed, picks=done.picks, unknown=unknown, older=older
        )


def known_picks(path: Path, *, state: str | None, sandbox: bool) -> PicksChanged:
    """Return what was said so far, changing nothing."""
    with closing(_open(path, state, sandbox=sandbox)) as file:
        name = manifest_name(path)
        return PicksChanged(manifest=name, changed={}, picks=picks.of_jobs(file.conn, name))


def ids_with(path: Path, verdict: Opinion, *, state: str | None, sandbox: bool) -> dict[str, tuple[int, ...]]:
    """Return the ids of the jobs that are picked, or rejected, with which of their results; empty for all.

    Raises:
        UsageError: There is none.
    """
    known = known_picks(path, state=state, sandbox=sandbox)
    found = {id_: pick.results for id_, pick in known.picks.items() if pick.verdict is verdict}
    if not found:
        key, how = (
            ("x", "pick MANIFEST ID… --reject") if verdict is Opinion.REJECTED else ("p", "pick MANIFEST ID…")
        )
        raise UsageError(
            f"no job of {known.manifest} is {verdict.value}",
            hint=f"press {key} on the page (`rivya-batch serve`), or use `rivya-batch {how}`",
        )
    return found


def ids_in(source: str) -> dict[str, tuple[int, ...]]:
    """Return the ids in a file: one a line, or of the picked ones in what a report has saved, with which of their results.

    Raises:
        UsageError: It cannot be read, or names none.
    """
    told = read_picks(source)
    found = {
        id_: change.results or ()
        for id_, (_, change) in told.picks.items()
        if change.verdict is Opinion.PICKED
    }
    if not found:
        raise UsageError(f"{source} names no job")
    return found


def read_picks(source: str) -> PickFile:
    """Read a file of picks: what a report has saved (JSON), or ids, one a line; `-` is stdin.

    Raises:
        UsageError: It cannot be read, or is something else.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise UsageError(f"{source} cannot be read: {why}") from exc
    if not text.lstrip().startswith("{"):
        lines = (line.rstrip("\r") for line in text.split("\n"))
        picked = PickChange(verdict=Opinion.PICKED)
        return PickFile(manifest=None, picks={line: (None, picked) for line in lines if line.strip()})
    try:
        told = json.loads(text)
        if told[FORMAT] != 1:
            raise UsageError(f"{source} is of a newer version of rivya-batch", hint="update rivya-batch")
        return PickFile(
            manifest=str(told["manifest"]),
            picks={
                str(each["id"]): (int(each["round"]) if "round" in each else None, change_of(each))
                for each in told["picks"]
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise UsageError(
            f"{source} holds no picks", hint="it takes what a report has saved, or ids, one a line"
        ) from exc


def change_of(said: Mapping[str, Any]) -> PickChange:
    """Read `{"verdict": "picked", "rating": 4, "word": "…"}`; what it does not name stays.

    Raises:
        ValueError: It says something else.
    """
    verdict, rating, word = said.get("verdict"), said.get("rating"), said.get("word")
    if rating is not None and not (type(rating) is int and 0 <= rating <= 5):
        raise ValueError("a rating is 0 to 5")
    if word is not None and not (isinstance(word, str) and len(word) <= LONGEST_WORD):
        raise ValueError("a word is a short text")
    results = said.get("results")
    if results is not None and not (
        isinstance(results, list)
        and len(results) <= MOST_RESULTS
        and all(type(each) is int and each > 0 for each in results)
    ):
        raise ValueError("results are a list of numbers")
    return PickChange(
        results=None if results is None else tuple(sorted(set(results))),
        verdict=None if verdict is None else Opinion(verdict) if verdict else "",
        rating=rating,
        word=None if word is None else word.replace("\0", "").strip(),
    )


def keep_said(place: DatabasePlace, manifest: str, said: Sequence[Mapping[str, Any]]) -> None:
    """Write what was said on a page: `[{"row": 1, "round": 1, "verdict": "picked"}]`.

    Raises:
        ValueError: It means nothing.
        RunnerError: The database cannot be written now.
    """
    try:
        changes = {(int(each["row"]), int(each["round"])): change_of(each) for each in said}
    except (KeyError, TypeError, OverflowError) as exc:
        raise ValueError("each names a row, a round and what is thought of it") from exc
    with closing(open_database(place)) as file, file.transaction() as conn:
        picks.put(conn, manifest, changes, rfc3339(time.time()))


def _open(path: Path, state: str | None, *, sandbox: bool) -> StateDatabase:
    workspace = find_workspace(path, state=state, sandbox=sandbox)
    if not workspace.has_database:
        raise no_database(workspace, sandbox=sandbox)
    return open_database(workspace.database)


def _listed(file: StateDatabase, name: str) -> dict[str, tuple[int, int]]:
    if manifests.binding(file.conn, name) is None:
        raise UsageError(
            f"{name} has never been run with {file.place}",
            hint="`rivya-batch plan` shows what a run would do",
        )
    return picks.listed(file.conn, name)


def _put(
    file: StateDatabase,
    name: str,
    listed: Mapping[str, tuple[int, int]],
    wanted: Mapping[str, PickChange],
) -> PicksChanged:
    with file.transaction() as conn:
        changes = {listed[id_]: change for id_, change in wanted.items()}
        changed = picks.put(conn, name, changes, rfc3339(time.time()))
    by_row = {row: id_ for id_, (row, _) in listed.items()}
    return PicksChanged(
        manifest=name,
        changed={by_row[row]: pick for row, pick in changed.items()},
        picks=picks.of_jobs(file.conn, name),
    )
