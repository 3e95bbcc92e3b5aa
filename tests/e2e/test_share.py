"""What goes to a client, by the real command: the clips and nothing of ours; and what comes back."""

from __future__ import annotations

import json
import re
import zipfile

from tests.imitation.fixtures import Bench, said


def night(bench: Bench) -> None:
    bench.write([{"id": f"green-bottle-{n}", "prompt": f"the secret recipe {n}"} for n in (1, 2, 3)])
    assert bench.run().code == 0
    assert bench.command("pick", bench.manifest, "green-bottle-1", "green-bottle-3").code == 0


def test_a_folder_for_a_client_tells_nothing_of_ours(bench: Bench) -> None:
    night(bench)
    place = bench.command.workspace / "for-acme"

    done = bench.command("share", bench.manifest, "--picked", "--title", "Acme <spring>", "-o", place)

    assert done.code == 0, said(done)
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == [
        "0001.mp4",
        "0002.mp4",
        "index.html",
    ]
    page = (place / "index.html").read_text("utf-8")
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert [item["title"] for item in data["items"]] == ["Green bottle 1", "Green bottle 3"]
    assert set(data) == {"v", "manifest", "workspace", "items"}
    assert set(data["items"][0]) == {"id", "round", "title", "files"}
    assert "<title>Acme &lt;spring&gt;</title>" in page
    for ours in (
        "secret recipe",
        str(bench.command.workspace),
        bench.service.key,
        "credit",
        "gen_",
        "charged",
    ):
        assert ours not in page.partition("<body>")[2].partition('<script type="application/json"')[
            0
        ] + json.dumps(data), ours
    assert "default-src 'none'" in re.sub("&#x27;", "'", page)
    again = bench.command("share", bench.manifest, "--picked", "-o", place)
    assert again.code == 2, "what is there is left as it is"


def test_a_zip_holds_the_same_and_prompts_if_asked_for(bench: Bench) -> None:
    night(bench)
    place = bench.command.workspace / "acme.zip"

    assert bench.command("share", bench.manifest, "--picked", "--with-prompts", "-o", place).code == 0

    with zipfile.ZipFile(place) as archive:
        assert archive.namelist() == ["acme/index.html", "acme/media/0001.mp4", "acme/media/0002.mp4"]
        assert b"secret recipe 1" in archive.read("acme/index.html")
    assert bench.command("share", bench.manifest, "-o", "x").code == 2
    for name in ("sheet.html", "sheet.txt"):
        page = bench.command("share", bench.manifest, "--picked", "-o", f"for anna/{name}")
        assert page.code == 2
        assert f"not one {name[5:]} file" in page.stderr
        assert "`-o 'for anna/sheet.zip'`" in page.stderr
        assert not (bench.command.workspace / "for anna").exists()
    assert bench.command("share", bench.manifest, "--picked", "-o", "ACME.ZIP").code == 0
    assert zipfile.is_zipfile(bench.command.workspace / "ACME.ZIP")


def test_what_a_client_says_of_one_leaves_the_rest(bench: Bench) -> None:
    night(bench)
    answer = bench.command.workspace / "night-answer.json"
    told = [
        {"id": "green-bottle-3", "round": 1, "word": "warmer, please"},
        {"id": "green-bottle-2", "round": 1, "verdict": "picked"},
    ]
    answer.write_text(
        json.dumps({"rivya_batch_picks": 1, "manifest": "night", "workspace": "x", "picks": told})
    )

    assert bench.command("pick", bench.manifest, "--from", answer).code == 0

    picks = {each["id"]: each for each in bench.command("pick", bench.manifest, "--json").json["picks"]}
    assert picks["green-bottle-3"]["verdict"] == "picked"
    assert picks["green-bottle-3"]["word"] == "warmer, please"
    assert picks["green-bottle-2"]["verdict"] == "picked"


def test_a_contact_sheet_is_one_file_and_overwrites_nothing(bench: Bench) -> None:
    bench.write(3)
    assert bench.run().code == 0
    bench.command("pick", bench.manifest, "job-1", "job-2")
    sheet = bench.command.workspace / "sheet.pdf"

    done = bench.command("share", bench.manifest, "--picked", "-o", sheet)
    again = bench.command("share", bench.manifest, "--picked", "-o", sheet)

    assert done.code == 0, said(done)
    assert sheet.read_bytes().startswith(b"%PDF")
    assert "a contact sheet of 2 results of 2 jobs" in done.stderr
    assert (again.code, list(bench.command.workspace.glob(".sheet*"))) == (2, [])
