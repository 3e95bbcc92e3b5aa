"""The key is nowhere but in the header of requests to the API, whatever fails and whatever the service says."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

from tests.imitation.faults import error_answer, page, prompt_is
from tests.imitation.fixtures import Bench, said
from tests.imitation.tasks import Fate
from tests.imitation.wire import Answer

KEY = "rvya_sk_test/echoed+0123456789=="


def in_codes(text: str) -> str:
    """Return a text as a program may escape it that trusts no letter."""
    return "".join(f"\\u{ord(char):04X}" for char in text)


SPELLINGS = {
    "plain": KEY,
    "slashes": KEY.replace("/", "\\/"),
    "codes": in_codes(KEY),
    "percent": quote(KEY, safe=""),
    "html": "".join(f"&#{ord(char)};" for char in KEY),
    "base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "cut": KEY[:20],
    "invisible": f"{KEY[:9]}\u00ad{KEY[9:15]}\u200b{KEY[15:]}",
    "all invisible": "\u202a".join(KEY),
    "broken": f"{KEY[:20]}\r\n{KEY[20:]}",
    "hex": KEY.encode().hex(),
    "codes in a row": " ".join(str(ord(char)) for char in KEY),
    "end": KEY[13:],
}
# What of each of them nobody can have written by chance; the first of base64 spells `Bearer`.
TRACES = {text[:20] for name, text in SPELLINGS.items() if name != "base64"} | {
    SPELLINGS["base64"][12:32],
    KEY[10:22],
    KEY[20:],
}


def traces(data: bytes) -> list[str]:
    """Return which spellings of the key are in some bytes, in whatever case."""
    return [trace for trace in sorted(TRACES) if trace.lower().encode() in data.lower()]


def holding(folder: Path) -> dict[str, list[str]]:
    """Return the files below a folder that hold the key, the database's among them.

    Not the results: those are the service's own bytes, kept as they came, and this one marks them with the id.
    """
    found = {
        str(path.relative_to(folder)): traces(path.read_bytes() + str(path).encode())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".mp4", ".png")
    }
    return {name: spellings for name, spellings in found.items() if spellings}


def echoing(answer: Answer) -> Answer:
    """Return an answer that says the key in all the ways there are, in names, values and headers.

    In the body, every letter of it is a code of JSON's: no search in the bytes that came finds it.
    """
    data = json.loads(answer.body)
    echo = {f"{name} {text}": [{"said": f"key {text}"}] for name, text in SPELLINGS.items()}
    data |= {"echo": echo, "message": KEY, "created_at": KEY, "model": f"model {KEY}", "duration_token": KEY}
    if data.get("status") in ("queued", "processing"):
        data["status"] = f"waiting for {KEY}"
    text = json.dumps(data)
    body = text.replace(KEY, in_codes(KEY)).replace(quote(KEY), in_codes(quote(KEY))).encode()
    headers = (*answer.headers, ("X-Request-Id", f"{KEY} {SPELLINGS['percent']}"), ("X-Echo", KEY))
    return Answer(status=answer.status, headers=headers, body=body)


def test_the_key_is_in_no_file_and_no_output_of_a_service_that_echoes_it_everywhere(bench: Bench) -> None:
    """Also not where it says it in ids and urls; those still work, at the service itself."""
    service = bench.service
    service.accounts[KEY] = "ours"
    bench.use(service, KEY)
    service.become(make_id=lambda number: f"gen {KEY} {number}", results_at="path", task_s=(0.3, 0.4))
    bench.picture()
    names = ("fine", "upload", "page", "lost", "task", "page of results", *SPELLINGS)
    bench.write([{"id": name, "references": ["ref.png"] * (name == "upload")} for name in names])
    for on in ("submit", "poll", "upload", "credits"):
        service.rule(on, "twist", answer=echoing, times=20)
    for name, text in SPELLINGS.items():
        refusal = error_answer(400, f"invalid {text}", f"Bearer {text} may not", requestId=f"req {text}")
        service.rules.insert(
            0, service.rule("submit", "answer_before", answer=refusal, where=prompt_is(f"prompt of {name}"))
        )
    gateway = page(502, f"<pre>Authorization: Bearer {KEY}</pre>")
    service.rule("submit", "answer_after", answer=gateway, times=2, where=prompt_is("prompt of page"))
    service.rule("submit", "drop_after", where=prompt_is("prompt of lost"))
    service.rule(
        "result", "answer_before", answer=page(403, KEY), where=service.result_of("prompt of page of results")
    )
    service.fates["prompt of task"] = Fate(
        status="failed", code=f"failed {KEY}", message=f"for {in_codes(KEY)}"
    )
    outcomes = [bench.run("-v", "--json"), bench.run("-vv")]
    assert [outcome.code for outcome in outcomes] == [3, 3], "".join(map(said, outcomes))
    assert {name for name, state in bench.rows() if state == "done"} == {*names} - {"task", *SPELLINGS}

    service.refused_keys[KEY] = error_answer(401, "api_key_revoked", f"{KEY} {in_codes(KEY)} was revoked")
    bench.write([{"id": name} for name in (*names, "more")])
    outcomes.append(bench.run("-v"))
    outcomes += [
        bench.command(*arguments, bench.manifest)
        for arguments in (("status",), ("report",), ("export", "--format", "jsonl"), ("plan", "--json"))
    ]
    outcomes.append(bench.command("credits"))

    assert outcomes[2].code == 4, said(outcomes[2])
    assert not [said(outcome) for outcome in outcomes if traces(said(outcome).encode())]
    assert not holding(bench.command.workspace)


def test_a_result_url_with_the_key_in_it_is_asked_for_at_no_other_host(bench: Bench) -> None:
    """The job is paid and kept, the person is told why; the key goes to the service alone."""
    service = bench.service
    service.accounts[KEY] = "ours"
    bench.use(service, KEY)
    bench.write(1, polling={"first_s": 0.05, "min_s": 0.05, "max_s": 0.1})

    def with_key(answer: Answer) -> Answer:
        body = answer.body.replace(b"?X-Sig", b"?key=" + quote(KEY, safe="").encode() + b"&X-Sig")
        return Answer(status=answer.status, headers=answer.headers, body=body)

    service.rule("poll", "twist", answer=with_key, times=float("inf"))
    outcome = bench.run(env={"TEST_CLOCK_SPEED": "20"})

    assert outcome.code == 5, said(outcome)
    assert "holds our API key" in outcome.stderr
    assert not service.ledger.results
    assert not holding(bench.command.workspace)
    assert not traces(said(outcome).encode())


def test_the_key_is_in_nothing_that_doctor_says_or_keeps(bench: Bench) -> None:
    service = bench.service
    service.accounts[KEY] = "ours"
    bench.use(service, KEY)
    service.become(make_id=lambda number: f"gen {KEY} {number}", results_at="path", price=1.0)
    for on in ("submit", "poll", "upload", "credits"):
        service.rule(on, "twist", answer=echoing, times=float("inf"))
    outcomes = [
        bench.command("doctor", "--spend", "5", "--yes", *more, env={"TEST_CLOCK_SPEED": "20"})
        for more in ((), ("--json",))
    ]
    service.refused_keys[KEY] = error_answer(401, "api_key_revoked", f"{KEY} {in_codes(KEY)} was revoked")
    outcomes.append(bench.command("doctor"))

    assert [outcome.code for outcome in outcomes] == [0, 0, 4], "".join(map(said, outcomes))
    assert not [said(outcome) for outcome in outcomes if traces(said(outcome).encode())]
    assert (bench.command.workspace / "state" / "service.json").is_file()
    assert not holding(bench.command.workspace)
