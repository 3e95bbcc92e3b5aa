"""The page: one file, no network, nobody's text becomes code, and not too large."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UsageError
from runner.reports import page
from runner.reports.data import Invocation, Report, collect
from tests.report_rows import Row, add, new_state, night

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "]]>",
    "\u2028\u2029\x00\x7f",
    "{{script}} {{data}}",
    '\\u003c "quoted" \\',
]

Reports = Callable[..., Report]


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[Reports]:
    file = new_state(
        tmp_path / "runner.db",
        manifest="night",
        manifest_path=tmp_path / "night.yaml",
        output_dir=tmp_path / "out",
    )

    def of(*rows: Row) -> Report:
        add(file, "night", rows)
        return collect(
            file.conn,
            "night",
            output_dir=tmp_path / "out",
            written_at="2026-11-22T20:00:00Z",
            invocation=Invocation(manifest="night.yaml", options=("--sandbox",)),
        )

    yield of
    file.close()


class Looked(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in self.texts:
            self.texts[self.inside][-1] += data

    @property
    def data(self) -> Any:
        return json.loads(self.texts["script"][0])

    @property
    def policy(self) -> dict[str, list[str]]:
        content = next(
            attrs["content"]
            for tag, attrs in self.elements
            if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
        )
        assert content is not None
        return {name: words for name, *words in (part.split() for part in content.split(";"))}


def looked(report: Report) -> Looked:
    return Looked(page.render(report).decode())


def test_no_text_of_a_job_gets_out_of_its_block(reports: Reports) -> None:
    rows = [
        Row(
            id=f"job-{n}",
            prompt=text,
            params={text: text},
            axes={text: text},
            error=("other", text, text),
            state="failed",
            files=[(Path(f"/out/{text}"), "image/png")],
        )
        for n, text in enumerate(HOSTILE)
    ]
    plain = Looked(page.render(reports()).decode())

    seen = looked(reports(*rows))

    assert [tag for tag, _ in seen.elements] == [tag for tag, _ in plain.elements]
    assert seen.data["tables"]["prompt"] == HOSTILE
    assert seen.data["tables"]["params"] == [{text: text} for text in HOSTILE]


def test_the_name_of_a_manifest_cannot_get_out_of_its_place(reports: Reports) -> None:
    report = replace(reports(), manifest='"><script>x</script>')

    seen = looked(report)

    assert [tag for tag, _ in seen.elements].count("script") == 2
    assert seen.data["head"]["manifest"] == '"><script>x</script>'


def test_only_the_pages_own_script_and_style_are_allowed(reports: Reports) -> None:
    seen = looked(reports(Row(id="a")))

    def allowed(text: str) -> list[str]:
        return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"]

    assert seen.policy["default-src"] == ["'none'"]
    assert seen.policy["connect-src"] == ["'none'"]
    assert seen.policy["script-src"] == allowed(seen.texts["script"][1])
    assert seen.policy["style-src"] == allowed(seen.texts["style"][0])


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_from_an_attribute(reports: Reports) -> None:
    seen = looked(reports(Row(id="a")))

    for tag, attrs in seen.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        for name in ("src", "href"):
            assert not attrs.get(name, "") or re.match(r"#|data:", attrs[name] or ""), (tag, attrs)
    script, style = seen.texts["script"][1], seen.texts["style"][0]
    assert re.findall(r"https?://[^\"'`\s]+", script) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"url\(|@import|@font-face", style)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script
    )


def test_a_lone_surrogate_does_not_keep_the_page_from_being_written(reports: Reports) -> None:
    report = reports(Row(id="a"))
    job = replace(report.jobs[0], prompt="half a \ud83d face")

    seen = looked(replace(report, jobs=(job,)))

    assert seen.data["tables"]["prompt"] == ["half a \ud83d face"]


def test_what_repeats_is_told_once(reports: Reports) -> None:
    rows = [Row(id=f"j{n}", prompt="same", axes={"take": n % 2, "odd": n % 2 == 1}) for n in range(50)]

    data = looked(reports(*rows)).data

    assert data["tables"]["prompt"] == ["same"]
    assert len(data["tables"]["params"]) == 1
    assert data["jobs"]["prompt"] == [0] * 50
    assert [(axis["name"], axis["values"]) for axis in data["axes"]] == [
        ("take", [0, 1]),
        ("odd", [False, True]),
    ]


def test_an_axis_that_some_jobs_do_not_have_is_told_apart(reports: Reports) -> None:
    data = looked(
        reports(Row(id="a", axes={"look": None}), Row(id="b"), Row(id="c", axes={"look": [1, 2]}))
    ).data

    assert data["axes"] == [{"name": "look", "values": [None, [1, 2]], "jobs": [0, -1, 1]}]


def test_commands_leave_a_place_for_the_job(reports: Reports) -> None:
    commands = looked(reports(Row(id="a"))).data["head"]["commands"]

    assert (
        commands.items()
        >= {
            "run": "rivya-batch run night.yaml --sandbox",
            "retry": "rivya-batch retry night.yaml --only {job} --sandbox",
            "resolve": "rivya-batch resolve night.yaml {job} --sandbox",
        }.items()
    )


def test_ten_thousand_jobs_stay_within_six_megabytes(reports: Reports) -> None:
    """A tenth of them within a tenth of it: everything but the page itself grows with their number."""
    clip = (Path("/out/a-place-of-some-length.mp4"), "video/mp4")
    rows = [replace(row, files=[clip]) for row in night(1000, {"video": []})]

    size = len(page.render(reports(*rows)))

    assert size <= 600_000


def test_the_page_is_written_whole_and_renewed(reports: Reports, tmp_path: Path) -> None:
    path = tmp_path / "out" / "report.html"

    page.write_report(reports(), path)
    size = page.write_report(reports(Row(id="a")), path)

    assert path.stat().st_size == size
    assert Looked(path.read_text("utf-8")).data["jobs"]["id"] == ["a"]
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_a_file_that_is_no_report_of_ours_is_left_alone(reports: Reports, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("<h1>mine</h1>")

    with pytest.raises(UsageError, match="not a rivya-batch report"):
        page.write_report(reports(), path)

    assert path.read_text() == "<h1>mine</h1>"


def test_two_manifests_that_share_a_folder_have_a_page_each(reports: Reports, tmp_path: Path) -> None:
    page.write_report(reports(), page.page_path(tmp_path, "night"))

    assert page.page_path(tmp_path, "night") == tmp_path / "report.html"
    assert page.page_path(tmp_path, "other") == tmp_path / "report-other.html"


def test_every_part_of_the_script_is_in_the_page() -> None:
    kept_apart = {"live.js", "client.js"}  # of a page that is fed live, and of one for a client

    assert {path.name for path in page.ASSETS.glob("*.js")} - kept_apart == {
        f"{name}.js" for name in page.SCRIPTS
    }


def test_a_page_fed_live_may_talk_to_where_it_came_from(reports: Reports) -> None:
    seen = Looked(page.page("night", json.dumps({"v": 1, "live": "events"}), connect="'self'").decode())

    assert seen.policy["connect-src"] == ["'self'"]
    assert seen.data == {"v": 1, "live": "events"}
    assert "night" in [attrs.get("content") for _, attrs in seen.elements]
