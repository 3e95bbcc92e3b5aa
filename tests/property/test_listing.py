"""A manifest that is not expanded again gives the same plan, and the same rows, as one that is."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.api.manifests import listing
from runner.api.manifests.opened import InvalidManifest, read_manifest
from runner.api.plan import Plan, make_plan, plan_lines
from runner.fingerprint import canonical
from runner.store import manifests, staging
from runner.store.listings import ListingSource
from runner.store.sqlite import StateFile

SERVICE = "https://rivya.ai"
NOW, NOW_S = "2026-01-01T00:00:00.000Z", 1_767_225_600.0
PICTURE = (Path(__file__).resolve().parents[2] / "tests/fixtures/media/still.png").read_bytes()
HEAD = """version: 1
name: edited
model: grok-imagine-video
params: {mode: normal, duration: 6}
output: {name: "%(output)s"}
%(prices)s
vars: {look: %(look)s}
jobs:
"""
ENTRIES = {
    "plain": "  - {id: plain, prompt: 'A bottle, ${look}'}\n",
    "matrix": "  - {id: 'm-${a}', matrix: {a: [x, y]}, prompt: '${a} in ${look} light', repeat: %(repeat)d}\n",
    "csv": "  - {id: 'c-${row.n}', rows: rows.csv, prompt: '${row.text}', params: {duration: '${row.s}'}}\n",
    "jsonl": "  - {id: 'j-${row.n}', rows: rows.jsonl, prompt: 'Line ${row.text}'}\n",
    "glob": "  - {id: 'g-${file.stem}', rows: {glob: 'assets/*.png'}, prompt: P, references: ['${file.path}']}\n",
    "picture": "  - {id: r, prompt: A picture, references: [one.png]}\n",
    "twin": "  - {id: twin, prompt: 'A bottle, ${look}'}\n",  # warned of
}
STATES = (
    "planned",
    "submitting",
    "waiting",
    "downloading",
    "done",
    "failed",
    "uncertain",
    "abandoned",
)


class Writer:
    """A person who edits a manifest and what belongs to it."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.folder = folder
        self.draw = draw
        self.rows = [{"n": n, "text": f"Row {n}", "s": 6 + n % 3} for n in range(5)]
        self.head: dict[str, Any] = {"output": "${id}", "prices": "", "look": "warm", "repeat": 2}
        self.entries = ["plain", "matrix", "csv", "glob", "picture"]
        self.pictures = ["a", "b"]
        (folder / "assets").mkdir()
        self.save()
        self.picture("one.png")
        for name in self.pictures:
            self.picture(f"assets/{name}.png")

    @property
    def manifest(self) -> Path:
        return self.folder / "edited.yaml"

    def save(self) -> None:
        text = HEAD % self.head + "".join(ENTRIES[name] for name in self.entries).replace(
            "%(repeat)d", str(self.head["repeat"])
        )
        self.manifest.write_text(text, encoding="utf-8")
        lines = ["n,text,s", *(f"{row['n']},{row['text']},{row['s']}" for row in self.rows)]
        (self.folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")

    def picture(self, name: str) -> None:
        # What follows the end of a PNG is another content and the same picture.
        (self.folder / name).write_bytes(PICTURE + bytes([self.draw.randrange(256)]) * 4)

    def edit(self) -> None:
        """Change one thing."""
        draw = self.draw
        chosen: Callable[[], object] = draw.choice(
            [
                lambda: draw.shuffle(self.rows),
                lambda: self.rows.append(
                    {"n": (n := draw.randrange(9, 10**6)), "text": f"Later {n}", "s": 7}
                ),
                lambda: self.rows.pop() if len(self.rows) > 1 else None,
                lambda: draw.choice(self.rows).update(text=f"Edited {draw.random()}"),
                self.same_looks,
                lambda: self.picture("one.png"),
                lambda: self.picture(f"assets/{draw.choice('abcd')}.png"),
                lambda: draw.shuffle(self.entries),
                lambda: self.toggle(draw.choice(list(ENTRIES))),
                lambda: self.head.update(look=draw.choice(["warm", "cold"])),
                lambda: self.head.update(repeat=draw.choice([1, 2, 3])),
                lambda: self.head.update(output=draw.choice(["${id}", "x/${id}", "${model}-${id}"])),
                lambda: self.head.update(prices=f"prices: {{grok-imagine-video: {draw.randrange(9)}}}"),
                lambda: os.utime(self.folder / "rows.csv", (1, 1)),
                lambda: None,
            ]
        )
        chosen()
        if chosen != self.same_looks:
            self.save()

    def toggle(self, name: str) -> None:
        if name not in self.entries:
            self.entries.append(name)
        elif len(self.entries) > 1:
            self.entries.remove(name)

    def same_looks(self) -> None:
        """Write other rows of the same length, at the same time as it seems, in the same file."""
        self.save()
        path = self.folder / "rows.csv"
        before = path.stat()
        for row in self.rows:
            row["text"] = str(row["text"])[::-1]
        self.save()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Workspace:
    """One database of the manifest's folder."""

    def __init__(self, writer: Writer, name: str) -> None:
        self.path = writer.manifest
        self.database = writer.folder / "state" / name
        self.file = StateFile.open(self.database)
        self.staged_from_rows = False
        self.source: ListingSource | None = None

    def plan(self, *, expand: bool = False) -> tuple[Plan, list[dict[str, Any]]] | list[str]:
        """Return the plan and its lines; the problems where there are any."""
        opened = read_manifest(self.path, state=str(self.database), sandbox=False, file=self.file)
        with pytest.MonkeyPatch.context() as patch:
            if expand:
                patch.setattr(listing, "listed_from", lambda *_: None)
            try:
                found = make_plan(opened, self.file, base_url=SERVICE, now_s=NOW_S)
            except InvalidManifest as exc:
                return [problem.what for problem in exc.problems]
        opened.hashes.save(self.file)
        self.source = found.source
        self.staged_from_rows = staging.is_restaged(self.file.conn)
        lines = list(plan_lines(self.file, found))
        for line in lines:
            line["params"] = canonical(line["params"])
        # What is gone for good stands in no order that means anything.
        return replace(found, database=Path()), lines

    def apply(self) -> staging.Applied:
        with self.file.transaction() as conn:
            manifests.bind(
                conn,
                name="edited",
                path=str(self.path),
                base_url=SERVICE,
                key12="0" * 12,
                output_dir="out",
                now=NOW,
            )
            return staging.apply(conn, "edited", NOW, source=self.source)

    def rows(self) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.file.conn.execute("SELECT * FROM jobs ORDER BY id")]

    def live(self, seed: int) -> None:
        """Let time pass: jobs change their states, payments are made, prices are seen."""
        draw = random.Random(seed)
        with self.file.transaction() as conn:
            for row in conn.execute("SELECT id, manifest, model, shape FROM jobs ORDER BY id").fetchall():
                if draw.random() < 0.3:
                    conn.execute(
                        "UPDATE jobs SET state = ?, version = version + 1, in_doubt = ? WHERE id = ?",
                        (draw.choice(STATES), draw.randrange(2), row["id"]),
                    )
                if draw.random() < 0.3:
                    conn.execute(
                        "INSERT OR IGNORE INTO ledger (job, manifest, round, model, shape, base_url, state, estimated,"
                        " basis, amount, opened_at, minute) VALUES (?, ?, 1, ?, ?, ?, ?, 10, 'listed', 10, ?, 0)",
                        (*tuple(row), SERVICE, draw.choice(("reserved", "charged", "released")), NOW),
                    )
                if draw.random() < 0.1:
                    conn.execute(
                        "INSERT OR REPLACE INTO prices (base_url, shape, model, reserved, ends, seen_at)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        (SERVICE, row["shape"], row["model"], 7, f"[{draw.randrange(5, 9)}]", NOW),
                    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "state").mkdir()
    yield tmp_path


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 12))]
)
def test_a_plan_from_the_rows_is_the_plan_of_an_expansion_after_any_edits(folder: Path, seed: int) -> None:
    """Two databases live the same life; one of them expands the manifest every time."""
    draw = random.Random(seed)
    writer = Writer(folder, draw)
    quick, thorough = Workspace(writer, "quick.db"), Workspace(writer, "thorough.db")
    from_rows = 0
    for step in range(20):
        if draw.random() < 0.5:
            writer.edit()
        for one in (quick, thorough):
            one.live(1000 * seed + step)
        plans = quick.plan(), thorough.plan(expand=True)
        from_rows += quick.staged_from_rows
        assert plans[0] == plans[1]
        if isinstance(plans[0], tuple) and draw.random() < 0.8:
            done = quick.apply(), thorough.apply()
            assert done[0] == done[1]
            assert quick.rows() == thorough.rows()
    assert from_rows > 2
    quick.file.close()
    thorough.file.close()
