"""`plan` as people read it who answer for a budget: groups, what was edited, and sums at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.progress.figures import columns
from tests.support import HURRIED, HURRIED_TASKS, Command

MANIFEST = """version: 1
name: autumn
model: grok-imagine-video
prompt: "${product} on ${surface} in the ${light}, as if somebody had just left the room, slow push-in, further on"
params: {duration: 6}
budget: {max_credits: 20000}
jobs:
  - {id: hero, prompt: A bottle, params: {duration: 10}}
  - id: "${product}-${surface}-${light}"
    matrix: {product: [cup, jug], surface: [wood, stone, glass], light: [dawn, dusk]}
    repeat: 2
  - id: "film-${length}"
    matrix: {length: [6, 10]}
    prompt: A film of ${length} seconds
    params: {duration: "${length}"}
  - {id: "row-${row.sku}", rows: rows.csv, prompt: "${row.text}"}
"""
ROWS = "sku,text\n" + "".join(f"{n},picture {n} of 鮮やかな夕焼けの海岸を歩く犬\n" for n in range(30))


@pytest.fixture
def manifest(command: Command) -> Path:
    command.write("rows.csv", ROWS)
    return command.write("autumn.yaml", MANIFEST)


def plan(command: Command, manifest: Path, *options: str) -> str:
    found = command("plan", manifest.relative_to(command.workspace), "--sandbox", *options)
    assert found.code == 0, found.stderr
    assert all(columns(line) <= 80 for line in found.stdout.splitlines()), found.stdout
    return found.stdout


def test_jobs_are_grouped_by_block_with_an_example_and_what_differs(command: Command, manifest: Path) -> None:
    words = plan(command, manifest)

    assert "+ 1 new: hero, at least 10 credits\n" in words
    assert "+ 24 new: product(2) × surface(3) × light(2) × 2 takes, at least 10 credits each\n" in words
    assert "    cup-wood-dawn-1: grok-imagine-video, duration 6\n" in words
    assert "+ 30 new: 30 rows, at least 10 credits each\n" in words
    assert "    differ in: prompt, duration (6, 10)\n" in words
    assert (
        "“cup on wood in the dawn, as if somebody had just left the room, slow push-in, further on”"
        in " ".join(words.split())
    )


def test_the_sums_come_last_and_a_rehearsal_says_that_nothing_is_paid(
    command: Command, manifest: Path
) -> None:
    *_, name, credits, price, more, _, sandbox, _, hint, probe = plan(command, manifest).splitlines()

    assert name == "autumn: 57 jobs: 57 new"
    assert credits == "credits    at least 570 to spend, cap 20,000"
    assert f"{price} {more.strip()}".startswith("price      listed: never paid here")
    assert hint == "hint       pay for one job of each price never seen, and know them:"
    assert probe == "           `rivya-batch run autumn.yaml --probe --sandbox`"
    assert sandbox == "sandbox    nothing is paid: these are credits of the sandbox"


@pytest.mark.slow
def test_what_was_edited_is_shown_before_and_after_and_what_is_paid_again(
    command: Command, manifest: Path
) -> None:
    options = ("--sandbox-options", HURRIED_TASKS[1])
    assert command("run", manifest, "--sandbox", *options, env=HURRIED).code == 0
    text = MANIFEST.replace("further on", "further away").replace("duration: 10", "duration: 12")
    manifest.write_text("\n".join(line for line in text.splitlines() if "film" not in line), "utf-8")
    text = text.replace('  - id: "film-${length}"\n', "").replace("    matrix: {length: [6, 10]}\n", "")
    text = text.replace('    prompt: A film of ${length} seconds\n    params: {duration: "${length}"}\n', "")
    manifest.write_text(text, "utf-8")

    words = plan(command, manifest)

    assert "~ 24 changed: product(2) × surface(3) × light(2) × 2 takes, 10 credits each\n" in words
    assert "    25 jobs made again: 250 credits paid again\n" in words
    assert "    hero: params changed\n      - duration 10\n      + duration 12\n" in words
    assert "further on\n" in words
    assert "further away\n" in words
    assert "    … and 22 more changed jobs\n" in words
    assert "o kept: 25 old versions of edited jobs, 2 jobs no longer in the manifest; --all\n" in words
    assert "✓ 30 done: 30 rows\n" in words
    assert "autumn: 55 jobs: 25 changed, 30 done\n" in words
    assert "price      seen 20 times or more, last today (24 jobs, 10 credits each)\n" in words
    assert words.index("paid again") < words.index("30 done"), "beside what was edited"


def test_axes_that_make_a_difference_are_summed(command: Command, manifest: Path) -> None:
    command.write("state/prices.yaml", "prices: {grok-imagine-video: {per: {duration: 2}}}\n")

    words = plan(command, manifest)

    assert "credits    700 to spend, cap 20,000\n" in words
    assert "by axis    length: 6 = 12, 10 = 20\n" in words
    assert "product:" not in words, "all cost the same"
    assert "price      given in state/prices.yaml (12 to 20 credits each)\n" in words


def test_what_if_plans_as_if_something_else_stood_there(command: Command, manifest: Path) -> None:
    command.write(
        "state/prices.yaml",
        "prices: {grok-imagine-video: {per: {duration: 2}, factors: {resolution: {720p: 2}}}}\n",
    )
    before = manifest.read_text("utf-8")

    words = plan(command, manifest, "--set", "params.resolution=720p", "--set", "params.duration=20")
    compared = plan(command, manifest, "--set", "params.resolution=720p", "--compare", str(manifest))
    document = command(
        "plan", manifest, "--sandbox", "--json", "--set", "params.resolution=720p", "--compare", manifest
    ).json
    wrong = command("plan", manifest, "--sandbox", "--set", "params.resolution=9000p")
    no_change = command("plan", manifest, "--sandbox", "--set", "resolution")

    assert "credits    4,560 to spend" in words, (
        "57 jobs of 20 s at 720p, also those with a duration of their own"
    )
    assert "what if    params.resolution = 720p; no file is changed\n" in words
    assert f"compare    with {manifest.name}: 57 jobs, 700 credits\n" in compared
    assert "           here 57 jobs, 1,400 credits: +700 (+100%)\n" in compared
    assert "           57 dearer here, 0 cheaper: hero, " in compared
    assert document["compare"]["credits"] == {"at_least": 700, "expected": 700, "up_to": 700}
    assert (document["compare"]["dearer"], document["what_if"]) == (57, ["params.resolution=720p"])
    assert (wrong.code, no_change.code) == (2, 2)
    assert "not one of 480p, 720p" in wrong.stderr
    assert manifest.read_text("utf-8") == before


def test_a_comparison_tells_which_jobs_are_on_one_side_only(command: Command, manifest: Path) -> None:
    draft = MANIFEST.replace("name: autumn", "name: draft").replace("repeat: 2", "repeat: 1")
    command.write("draft.yaml", draft.replace("id: hero", "id: villain"))

    words = plan(command, manifest, "--compare", "draft.yaml")

    assert "compare    with draft.yaml: 45 jobs, at least 450 credits\n" in words
    assert "13 jobs only here: hero, cup-wood-dawn-2, cup-wood-dusk-2, …\n" in words
    assert "1 job only there: villain\n" in words


def test_blocks_of_many_jobs_are_told_from_some_of_them(command: Command) -> None:
    command.write("rows.csv", "sku,text\n" + "".join(f"{n},picture {n}\n" for n in range(21_000)))
    many = command.write(
        "many.yaml",
        "version: 1\nname: many\nmodel: grok-imagine-video\njobs:\n"
        "  - {id: hero, prompt: A bottle}\n"
        '  - {id: "row-${row.sku}", rows: rows.csv, prompt: "${row.text}"}\n'
        "  - {id: end, prompt: The end}\n  - {id: credits, prompt: Credits}\n",
    )

    words = plan(command, many)

    assert "+ 1 new: hero, " in words
    assert "+ 21,000 new: for each sku, text, at least 10 credits each\n" in words
    assert "+ 2 new: end, credits, at least 10 credits each\n" in words


def test_models_are_summed_and_combinations_left_out_are_counted(command: Command) -> None:
    mixed = command.write(
        "mixed.yaml",
        "version: 1\nname: mixed\nprompt: A bottle\njobs:\n"
        "  - {id: film, model: grok-imagine-video, params: {duration: 6}}\n"
        "  - {id: still, model: z-image, params: {aspect_ratio: 16:9}}\n"
        '  - {id: "${a}-${b}", model: z-image, prompt: "${a} ${b}", matrix: {a: [x, y], b: [x, y]},'
        " exclude: [{a: x, b: x}]}\n",
    )

    words = plan(command, mixed)

    assert "+ 2 new: film, still, at least 1 to 10 credits each\n" in words
    assert "    differ in: model (grok-imagine-video, z-image), params\n" in words
    assert "+ 3 new: 3 of a(2) × b(2), at least 1 credit each\n" in words
    assert (
        "by model   grok-imagine-video: at least 10 (1 job)\n           z-image: at least 4 (4 jobs)\n"
        in words
    )
