"""Results in a bucket: named once, whole or not at all, nothing of anybody's overwritten, trouble told in one line."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.errors import UsageError
from runner.model import Artifact, Fingerprint, JobId, ModelId, ObjectPath, Sha256, path_of
from runner.results import bucket as buckets
from runner.results import sidecar as sidecars
from runner.results.bucket import s3_config
from runner.results.bucket_errors import BucketTrouble, error_of
from runner.results.files import Move, OutputFolder
from runner.results.media import FileType
from runner.results.parts import FolderUnusable, PlaceTrouble, Result
from runner.results.sidecar import Sidecar, SidecarIndex
from runner.results.storage import storage_of
from runner.web.objects import range_of
from tests import buckets as fixtures
from tests.buckets import ROOT, Flaky, generic, in_bucket

flaky = fixtures.flaky

WHO = {"manifest": "autumn", "job": "hero", "fingerprint": "fp1:aa", "base_url": "https://rivya.ai"}
MP4 = FileType(mime="video/mp4", extension="mp4", kind=None)


def came(folder: OutputFolder, data: bytes, stem: str = "shots/hero", number: int = 1) -> Result:
    part = folder.part(stem, number)
    part.begin()
    part.write(data)
    part.close()
    return Result(
        part=part,
        file=MP4,
        sha256=Sha256(hashlib.sha256(data).hexdigest()),
        size_bytes=len(data),
        host="host",
    )


def beside(artifacts: tuple[Artifact, ...], **changes: Any) -> Sidecar:
    made = Sidecar(
        manifest="autumn",
        job=JobId("hero"),
        fingerprint=Fingerprint("fp1:aa"),
        round=1,
        key="rb1-key",
        base_url="https://rivya.ai",
        sandbox=False,
        model=ModelId("grok-imagine-video"),
        prompt="a bottle",
        params={},
        references=(),
        task_id=None,
        reserved_credits=None,
        final_credits=10.0,
        artifacts=artifacts,
        submitted_at=None,
        finished_at=None,
    )
    return replace(made, **changes)


def publish(
    folder: OutputFolder, data: bytes, stem: str = "shots/hero", **changes: Any
) -> tuple[Artifact, ...]:
    there = sidecars.read(folder.sidecar_path(stem))
    earlier = [item.path for item in there.artifacts] if there else []
    artifacts = folder.publish(stem, {1: came(folder, data, stem)}, earlier=earlier)
    sidecars.write(folder, stem, beside(artifacts, **changes))
    return artifacts


@pytest.fixture
def folder(flaky: Flaky, tmp_path: Path) -> OutputFolder:
    found = in_bucket(tmp_path)
    found.prepare()
    flaky.calls.clear()
    return found


def test_a_path_of_an_object_is_written_as_people_write_it_and_is_on_no_disk() -> None:
    path = path_of("s3://films/night one/shots/hero.mp4")

    assert isinstance(path, ObjectPath)
    assert (str(path), path.name, path.key) == (
        "s3://films/night one/shots/hero.mp4",
        "hero.mp4",
        "night one/shots/hero.mp4",
    )
    assert str(path.parent / "x.json") == "s3://films/night one/shots/x.json"
    assert path.relative_to(path_of("s3://films/night one")).as_posix() == "shots/hero.mp4"
    assert path == path_of(str(path))
    assert path.as_uri() == "s3://films/night%20one/shots/hero.mp4"
    with pytest.raises(TypeError):
        path.__fspath__()


def test_a_result_gets_its_name_when_it_is_whole_and_leaves_nothing_behind(
    flaky: Flaky, folder: OutputFolder, tmp_path: Path
) -> None:
    artifacts = publish(folder, b"film")

    assert [str(item.path) for item in artifacts] == [f"{ROOT}/shots/hero.mp4"]
    assert flaky.names() == ["night/shots/hero.json", "night/shots/hero.mp4"]
    assert flaky.get_bytes("night/shots/hero.mp4") == b"film"
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]
    assert SidecarIndex(ROOT).find_adoptable("shots/hero", **WHO) == beside(artifacts)


def test_the_same_again_after_a_crash_costs_one_question(flaky: Flaky, folder: OutputFolder) -> None:
    publish(folder, b"film")
    flaky.calls.clear()

    folder.publish("shots/hero", {1: came(folder, b"film")})

    assert [name for name, _ in flaky.calls].count("put") == 0


def test_what_another_has_put_there_goes_aside(flaky: Flaky, folder: OutputFolder) -> None:
    flaky.put_as_somebody("night/shots/hero.mp4", b"precious")
    flaky.put_as_somebody("night/shots/hero.json", b"{}")

    publish(folder, b"film")

    assert flaky.get_bytes("night/.old/shots/hero.1.mp4") == b"precious"
    assert flaky.get_bytes("night/.old/shots/hero.1.json") == b"{}"
    assert flaky.get_bytes("night/shots/hero.mp4") == b"film"


def test_a_newer_round_with_another_ending_takes_the_place(flaky: Flaky, folder: OutputFolder) -> None:
    first = publish(folder, b"film")
    there = came(folder, b"moving")

    folder.publish(
        "shots/hero",
        {1: replace(there, file=replace(MP4, extension="webm"))},
        earlier=[item.path for item in first],
    )

    assert "night/shots/hero.mp4" not in flaky.names()
    assert flaky.get_bytes("night/.old/shots/hero.1.mp4") == b"film"
    assert flaky.get_bytes("night/shots/hero.webm") == b"moving"


def test_a_name_that_somebody_takes_at_the_last_moment_is_not_taken_back(
    flaky: Flaky, folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was free when it was looked at."""
    put = flaky.store.put

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(flaky.__dict__["real"], name)

        def put(self, key: str, *args: Any, **options: Any) -> Any:
            if key.endswith("hero.mp4"):
                put(key, b"precious")
            return put(key, *args, **options)

    flaky.__dict__["real"] = flaky.store
    flaky.store = Racing()

    with pytest.raises(PlaceTrouble, match="something else is where a result should go"):
        folder.publish("shots/hero", {1: came(folder, b"film")})

    assert flaky.get_bytes("night/shots/hero.mp4") == b"precious"


def test_an_answer_that_is_lost_after_the_object_came_is_not_a_stranger(
    flaky: Flaky, folder: OutputFolder
) -> None:
    flaky.after = True
    flaky.fails["put"] = [generic("HTTP error: error sending request")]

    with pytest.raises(BucketTrouble, match="cannot be reached"):
        folder.publish("shots/hero", {1: came(folder, b"film")})
    artifacts = folder.publish("shots/hero", {1: came(folder, b"film")})

    assert len(artifacts) == 1
    assert flaky.names() == ["night/shots/hero.mp4"]


def test_a_part_stays_until_the_object_is_seen_to_be_there(
    flaky: Flaky, folder: OutputFolder, tmp_path: Path
) -> None:
    result = came(folder, b"film")
    flaky.fails["put"] = [generic("HTTP error: error sending request")]

    with pytest.raises(BucketTrouble):
        folder.publish("shots/hero", {1: result})

    assert result.part.path.read_bytes() == b"film"
    assert flaky.names() == []


def test_a_large_result_goes_in_pieces_and_never_over_another(
    flaky: Flaky, folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "CLAIMED_BYTES", 10)
    folder.publish("shots/hero", {1: came(folder, b"a long film" * 10)})
    flaky.put_as_somebody("night/shots/other.mp4", b"precious")

    folder.publish("shots/other", {1: came(folder, b"another film", "shots/other")})

    assert flaky.get_bytes("night/shots/hero.mp4") == b"a long film" * 10
    assert flaky.get_bytes("night/.old/shots/other.1.mp4") == b"precious"


def test_jobs_that_swap_names_swap_their_results(flaky: Flaky, folder: OutputFolder) -> None:
    (one,), (two,) = publish(folder, b"one", "a"), publish(folder, b"two", "b", job=JobId("two"))
    moves = [
        Move(source=here.path, target=there.path, sha256=here.sha256, size_bytes=here.size_bytes)
        for here, there in ((one, two), (two, one))
    ]

    assert folder.relocate(moves) == ()
    assert folder.relocate(moves) == ()

    assert flaky.get_bytes("night/a.mp4") == b"two"
    assert flaky.get_bytes("night/b.mp4") == b"one"
    assert not [key for key in flaky.names() if ".moving" in key]


@pytest.mark.parametrize("failing", ["copy", "delete", "get"])
def test_a_move_that_is_broken_off_is_finished_later(
    flaky: Flaky, folder: OutputFolder, failing: str
) -> None:
    (one,) = publish(folder, b"one", "a")
    moves = [Move(source=one.path, target=ROOT / "c.mp4", sha256=one.sha256, size_bytes=3)]
    for at in range(6):
        flaky.fails[failing] = [*[None] * at, generic("HTTP error: error sending request")]
        try:
            folder.relocate(moves)
        except BucketTrouble:
            continue
    flaky.fails.clear()

    assert folder.relocate(moves) == ()

    assert flaky.get_bytes("night/c.mp4") == b"one"


def test_results_move_from_a_folder_to_a_bucket_and_back(
    flaky: Flaky, folder: OutputFolder, tmp_path: Path
) -> None:
    local = OutputFolder(tmp_path / "out")
    (one,) = local.publish("a", {1: came(local, b"one", "a")})
    there = Move(source=one.path, target=ROOT / "a.mp4", sha256=one.sha256, size_bytes=3)

    assert folder.relocate([there]) == ()
    assert (flaky.get_bytes("night/a.mp4"), Path(str(one.path)).exists()) == (b"one", False)
    assert local.relocate([replace(there, source=there.target, target=there.source)]) == ()

    assert (Path(str(one.path)).read_bytes(), flaky.names()) == (b"one", [])


def test_half_of_a_file_that_was_on_its_way_to_a_folder_is_taken_for_nothing(
    flaky: Flaky, folder: OutputFolder, tmp_path: Path
) -> None:
    (one,) = publish(folder, b"one", "a")
    local = OutputFolder(tmp_path / "out")
    local.prepare()
    moves = [Move(source=one.path, target=tmp_path / "out/a.mp4", sha256=one.sha256, size_bytes=3)]
    real = flaky.store

    class Cut:
        """Killed in the middle."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def get(self, key: str, **options: Any) -> Any:
            found = real.get(key, **options)
            if options:
                return found
            return SimpleNamespace(meta=found.meta, stream=lambda **_: iter([b"o"]))

    flaky.store = Cut()
    with pytest.raises(BucketTrouble, match="in part only"):
        local.relocate(moves)
    flaky.store = real

    assert local.relocate(moves) == ()

    assert (tmp_path / "out/a.mp4").read_bytes() == b"one"
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["a.mp4"]


def test_a_bucket_that_does_not_know_conditions_is_asked_before_each_name(
    flaky: Flaky, tmp_path: Path
) -> None:
    real = flaky.store

    class Simple:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def put(self, key: str, data: Any, *, mode: str = "overwrite", **options: Any) -> Any:
            if mode == "create":
                raise generic(SAID.format("501 Not Implemented", "NotImplemented", "If-None-Match"))
            return real.put(key, data, **options)

    flaky.store = Simple()
    folder = in_bucket(tmp_path)
    folder.prepare()
    flaky.put_as_somebody("night/shots/hero.mp4", b"precious")

    publish(folder, b"film")

    assert flaky.names() == [
        "night/.old/shots/hero.1.mp4",
        "night/shots/hero.json",
        "night/shots/hero.mp4",
    ]


def test_only_what_is_whole_in_the_bucket_is_taken_for_done(flaky: Flaky, folder: OutputFolder) -> None:
    publish(folder, b"film")
    flaky.put_as_somebody("night/shots/hero.mp4", b"FILM")

    assert SidecarIndex(ROOT).find_adoptable("shots/hero", **WHO) is None

    flaky.put_as_somebody("night/shots/hero.mp4", b"film")  # as a copy of a bucket has it, without metadata
    assert SidecarIndex(ROOT).find_adoptable("shots/hero", **WHO) is not None


def test_a_bucket_that_does_not_answer_proves_nothing(flaky: Flaky, folder: OutputFolder) -> None:
    """Else a job that is done would be paid for again."""
    publish(folder, b"film")
    for call in ("list_with_delimiter", "get"):
        flaky.fails[call] = [generic("HTTP error: error sending request")]
        with pytest.raises(BucketTrouble):
            SidecarIndex(ROOT).find_adoptable("shots/hero", **WHO)
    flaky.fails["list"] = [generic("HTTP error: error sending request")]
    with pytest.raises(BucketTrouble):
        storage_of(ROOT).sizes(ROOT)


def test_the_sizes_of_all_results_are_one_list(flaky: Flaky, folder: OutputFolder) -> None:
    for stem in "abc":
        publish(folder, b"film", stem)
    flaky.calls.clear()

    size = storage_of(ROOT).sizes(ROOT)

    assert [size(f"{ROOT}/{name}.mp4") for name in "abcd"] == [4, 4, 4, None]
    assert flaky.calls == [("list", "night")]


def test_to_prepare_leaves_nothing_and_finds_a_bucket_that_claims_no_names(
    flaky: Flaky, tmp_path: Path
) -> None:
    real = flaky.store

    class Careless:
        """Takes `create` for `overwrite`, as some do that speak like S3."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def put(self, key: str, data: Any, *, mode: str = "overwrite", **options: Any) -> Any:
            return real.put(key, data, **options)

    flaky.store = Careless()
    folder = in_bucket(tmp_path)
    folder.prepare()
    assert flaky.names() == []
    flaky.put_as_somebody("night/shots/hero.mp4", b"precious")
    (there,) = [came(folder, b"film")]

    with pytest.raises(PlaceTrouble):
        storage_of(ROOT).take(there.part, ROOT / "shots/hero.mp4", there)
    assert flaky.get_bytes("night/shots/hero.mp4") == b"precious"


NETWORK = "Error performing PUT http://127.0.0.1:5/films/x in 102ms, after 1 retries - HTTP error: error sending request"
SAID = (
    "Error performing PUT http://h/x in 1ms - Server returned non-2xx status code: {}:"
    " <Error><Code>{}</Code><Message>{}</Message></Error>"
)


@pytest.mark.parametrize(
    ("text", "words", "lasts"),
    [
        (SAID.format("404 Not Found", "NoSuchBucket", "no"), "there is no bucket s3://films", True),
        (
            SAID.format("403 Forbidden", "AccessDenied", "Access Denied"),
            "may not write objects in s3://films",
            True,
        ),
        (
            SAID.format("403 Forbidden", "InvalidAccessKeyId", "no"),
            "the credentials for s3://films are refused",
            True,
        ),
        (
            SAID.format("403 Forbidden", "SignatureDoesNotMatch", "no"),
            "are refused (SignatureDoesNotMatch",
            True,
        ),
        (SAID.format("301 Moved", "PermanentRedirect", "use eu-west-1"), "is in another region", True),
        (SAID.format("507 Full", "XMinioStorageFull", "no space"), "s3://films is full", False),
        ("Error performing PUT http://169.254.169.254/latest/api/token", "there are no credentials", True),
        (
            f"{NETWORK} tcp connect error Connection refused",
            "cannot be reached: nothing answers there",
            False,
        ),
        (f"{NETWORK} dns error", "cannot be reached: its host name cannot be found", False),
        (f"{NETWORK} operation timed out", "cannot be reached: it does not answer in time", False),
        (
            "Server returned non-2xx status code: 502 Bad Gateway: <html>",
            "s3://films does not work: it answers 502 Bad Gateway",
            False,
        ),
        (
            SAID.format("500 Internal", "InternalError", "try again"),
            "does not work: InternalError: try again",
            False,
        ),
    ],
)
def test_trouble_is_one_line_and_what_a_person_must_change_ends_before_money_moves(
    flaky: Flaky, tmp_path: Path, text: str, words: str, lasts: bool
) -> None:
    flaky.fails["put"] = [generic(text)]

    with pytest.raises(FolderUnusable if lasts else BucketTrouble) as caught:
        in_bucket(tmp_path).prepare()

    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_no_error_tells_a_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-nobody-may-see")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-that-nobody-may-see")
    found = error_of(
        generic(
            "odd a-secret-that-nobody-may-see <Code>Odd</Code><Message>a-token-that-nobody-may-see</Message>"
        ),
        ROOT,
    )

    assert "nobody-may-see" not in f"{found} {found.hint} {found!r}"


def test_without_obstore_one_line_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(buckets, "_open", {})
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)

    with pytest.raises(UsageError) as caught:
        in_bucket(tmp_path)

    assert caught.value.hint == "pip install 'rivya-batch[s3]'"


def test_keys_come_from_a_profile_where_the_environment_has_none(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[work]\naws_access_key_id = AKIA\naws_secret_access_key = shh\n", encoding="utf-8"
    )
    (tmp_path / ".aws/config").write_text(
        "[profile work]\nregion = eu-west-1\nendpoint_url = http://minio:9000\n", encoding="utf-8"
    )
    home = {"HOME": str(tmp_path)}

    assert s3_config({**home, "AWS_PROFILE": "work"}) == {
        "access_key_id": "AKIA",
        "secret_access_key": "shh",
        "region": "eu-west-1",
        "endpoint": "http://minio:9000",
    }
    assert s3_config({**home, "AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "mine"}) == {}
    assert s3_config(home) == {}
    with pytest.raises(UsageError, match="has no keys of its own"):
        s3_config({**home, "AWS_PROFILE": "other"})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, (0, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=10-", None),
        ("bytes=5-2", None),
        ("bytes=-0", None),
        ("bytes=0-1,3-4", (0, 10)),
        ("bytes=-", (0, 10)),
        ("rows=1-2", (0, 10)),
    ],
)
def test_a_range_is_what_a_browser_asks_for(asked: str | None, expected: tuple[int, int] | None) -> None:
    assert range_of(asked, 10) == expected


def test_a_result_is_five_requests(flaky: Flaky, folder: OutputFolder) -> None:
    publish(folder, b"film")

    assert flaky.calls == [
        (
            "get",
            "night/shots/hero.json",
        ),  # in `publish` of these tests, as in the step: what was there before
        ("get", "night/shots/hero.mp4"),
        ("put", "night/shots/hero.mp4"),
        ("get", "night/shots/hero.mp4"),
        ("put", "night/shots/hero.json"),
    ]
