"""The download step: what came has its name and is recorded, whatever happens a moment later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from runner.model import State
from runner.results import sidecar
from runner.results.files import OutputFolder
from runner.results.parts import DiskTrouble
from runner.service.transports import ResultTransport
from runner.steps.download import DownloadHandle, DownloadResult, Downloads, Fetched
from tests.result_hosts import CLIP, HOST, Body, Host, answer
from tests.world import World, accepted, job, task

pytestmark = pytest.mark.anyio

URL = f"{HOST}/clip.mp4"


async def succeeded(*urls: str) -> World:
    """Return a world in which the task of a job has succeeded, with these results."""
    world = World.of(job("a"))
    await world.submits("a", accepted("t1"))
    result = {"primary_url": urls[0], "urls": list(urls)}
    world.says(httpx.Response(200, json=task("t1", status="succeeded", final=10, result=result)))
    await world.poll("a")
    assert world.job("a").urls == urls
    return world


async def fetched(
    world: World,
    folder: OutputFolder,
    host: Host,
    *,
    handle: DownloadHandle | None = None,
    then: Callable[[Downloads], Awaitable[None]] | None = None,
) -> DownloadResult:
    """Take one download step of the job."""
    way = ResultTransport(httpx.MockTransport(host), proxied=False, allowed=lambda name, address: True)
    done: DownloadResult | BaseException
    async with world.context() as context:
        downloads = Downloads.create(context, folder, way)
        try:
            done = await downloads.fetch(context, world.job("a").row, handle=handle)
        except Exception as exc:
            done = exc
            if then is not None:
                await then(downloads)
    if isinstance(done, BaseException):
        raise done
    return done


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    made = OutputFolder(tmp_path / "out", owner="autumn")
    made.prepare()
    return made


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is done on worker threads."""
    found: list[object] = []
    run_sync = anyio.to_thread.run_sync

    async def noted(func: Callable[..., object], *args: object, **options: object) -> object:
        found.append(func)
        return await run_sync(func, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(anyio.to_thread, "run_sync", noted)
    return found


def names(folder: OutputFolder) -> list[str]:
    return sorted(
        path.relative_to(folder.root).as_posix() for path in folder.root.rglob("*") if path.is_file()
    )


async def test_the_only_result_of_a_job_comes_home_in_one_trip_to_a_thread(
    folder: OutputFolder, trips: list[object]
) -> None:
    world = await succeeded(URL)

    done = await fetched(world, folder, Host([answer()]))

    assert (done.fetched, world.state("a")) == (Fetched.DONE, State.DONE)
    assert len(trips) == 1
    assert names(folder) == ["a.json", "a.mp4"]
    found = sidecar.read(folder.root / "a.json")
    assert found is not None
    assert [(item.path, item.size_bytes) for item in found.artifacts] == [(folder.root / "a.mp4", len(CLIP))]


async def test_several_results_are_named_together(folder: OutputFolder) -> None:
    world = await succeeded(URL, f"{URL}?2")

    done = await fetched(world, folder, Host([answer(), answer()]))

    assert (done.fetched, world.state("a")) == (Fetched.DONE, State.DONE)
    assert names(folder) == ["a+2.mp4", "a.json", "a.mp4"]


async def test_a_result_that_is_odd_gets_no_name_before_it_came_twice(folder: OutputFolder) -> None:
    world = await succeeded(URL)

    done = await fetched(world, folder, Host([answer(body=CLIP[:-5])]))

    assert (done.fetched, world.state("a")) == (Fetched.LATER, State.DOWNLOADING)
    assert names(folder) == [".parts/autumn/a.part"]


@pytest.mark.parametrize("ends", ["cancelled", "broken"])
async def test_what_has_its_name_is_recorded_also_where_the_fetch_ends_badly_behind_it(
    folder: OutputFolder, ends: str
) -> None:
    world = await succeeded(URL)
    handle = DownloadHandle()

    class EndsBadly(Body):
        async def aclose(self) -> None:
            if ends == "broken":
                raise httpx.ReadError("reset")
            handle.scope.cancel()
            await anyio.lowlevel.checkpoint()

    reply = httpx.Response(200, headers={"content-length": str(len(CLIP))}, stream=EndsBadly([CLIP]))

    done = await fetched(world, folder, Host([reply]), handle=handle)

    assert (done.fetched, world.state("a")) == (Fetched.DONE, State.DONE)
    assert done.files == (folder.root / "a.mp4",)
    assert names(folder) == ["a.json", "a.mp4"]


async def test_a_name_that_cannot_be_given_is_told_and_what_came_is_kept(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await succeeded(URL)
    kept: list[bytes] = []

    def full(*_: object, **__: object) -> None:
        raise DiskTrouble("the disk is full")

    async def look(downloads: Downloads) -> None:
        kept.extend(each.part.path.read_bytes() for each in downloads.came[world.job("a").row].values())

    monkeypatch.setattr(type(folder.storage), "take", full)

    with pytest.raises(DiskTrouble, match="the disk is full"):
        await fetched(world, folder, Host([answer()]), then=look)

    assert world.state("a") is State.DOWNLOADING
    assert kept == [CLIP]


async def test_a_sidecar_that_cannot_be_written_leaves_the_job_open_and_another_run_ends_it(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await succeeded(URL)

    def full(*_: object, **__: object) -> None:
        raise DiskTrouble("the disk is full")

    monkeypatch.setattr(type(folder.storage), "write_new", full)
    with pytest.raises(DiskTrouble, match="the disk is full"):
        await fetched(world, folder, Host([answer()]))
    monkeypatch.undo()
    between = world.state("a"), names(folder)

    await fetched(world, OutputFolder(folder.root, owner="autumn"), Host([answer()]))

    assert between == (State.DOWNLOADING, ["a.mp4"])
    assert (world.state("a"), names(folder)) == (State.DONE, ["a.json", "a.mp4"])
