"""`plan --web`: a plan as a wall of empty frames."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.api.manifests.opened import Announce, Without
from runner.api.plan import Plan, planned
from runner.api.plans.groups import range_of
from runner.api.report import invocation_of
from runner.host.workspace import find_workspace
from runner.model import NEVER_SENT, Estimate, Pick, State
from runner.reports.data import FilePlace, JobPrice, ReportFile, ReportJob
from runner.store import diff, needs, reporting
from runner.store.diff import PlannedFrame
from runner.store.switches import Switchable
from runner.web.page_state import Target, file_url
from runner.web.wall import FIRST_FRAME, Wall, WallFrame


def make_wall(
    path: Path,
    *,
    state: str | None,
    sandbox: bool,
    max_credits: float | None = None,
    without: Without,
    balance: float | None = None,
    announce: Announce,
) -> Wall:
    """Plan a manifest for its page; arguments as for `planned`.

    Raises:
        InvalidManifest: With every problem of it.
    """
    workspace = find_workspace(path, state=state, sandbox=sandbox)
    seen = _stamps([path])
    with planned(
        path,
        state=state,
        sandbox=sandbox,
        max_credits=max_credits,
        without=without,
        announce=announce,
    ) as (plan, file):
        frames = [_frame(each, plan.prices, without) for each in diff.frames(file.conn)]
        seen |= _stamps(list(_rows_read(plan)))
        return Wall(
            target=Target(
                database=plan.database,
                folder=plan.folder,
                manifest=plan.name,
                output_dir=plan.settings.output_dir,
                invocation=invocation_of(path, state, sandbox=sandbox),
            ),
            sandbox=sandbox,
            has_database=lambda: workspace.has_database,
            frames=frames,
            credits={
                **{name: plan.credits[name] for name in ("spent", "reserved", "last_day")},
                **{name: plan.credits[name] for name in ("max_credits", "max_credits_per_day")},
                "balance": balance,
                "seconds": plan.seconds,
            },
            warnings=plan.attention,
            chained=needs.any_staged(file.conn),
            inputs=seen,
        )


def inputs_of(wall: Wall) -> object:
    """Return how the files look now that a plan was read from."""
    assert isinstance(wall.inputs, dict)
    return _stamps([Path(path) for path in wall.inputs])


def _rows_read(plan: Plan) -> Iterator[Path]:
    if plan.source is not None:
        read = json.loads(plan.source.inputs)["rows"]
        yield from (plan.path.parent / item["name"] for item in read if item["kind"] == "rows")


def _stamps(paths: list[Path]) -> dict[str, tuple[int, int] | None]:
    found: dict[str, tuple[int, int] | None] = {}
    for path in paths:
        try:
            about = os.stat(path)  # noqa: PTH116
        except OSError:
            found[str(path)] = None
        else:
            found[str(path)] = (about.st_mtime_ns, about.st_size)
    return found


def _frame(each: PlannedFrame, prices: Mapping[str, Estimate], without: Without) -> WallFrame:
    row = each.row if each.row is not None else FIRST_FRAME + each.position
    references = reporting.references(each.refs)
    sends = bool(each.sends or (each.off and without.wants(each.job)))
    estimate = prices.get(each.shape) if sends else None
    price = None
    if estimate is not None:
        range_ = range_of(estimate)
        price = JobPrice(range_.low, range_.expected, range_.high)
    return WallFrame(
        job=ReportJob(
            row=row,
            id=each.job,
            listed=True,
            state=State.PLANNED.value,
            model=each.model,
            prompt=each.prompt,
            params=json.loads(each.params),
            references=tuple(
                ReportFile(
                    url=file_url(FilePlace(kind="reference", row=row, number=number, path=item.file)),
                    name=item.path,
                    mime=item.mime,
                    size_bytes=item.size_bytes,
                )
                for number, item in enumerate(references, start=1)
            ),
            axes=json.loads(each.axes),
            round=1,
            task_id=None,
            estimated=None,
            reserved=None,
            charged=None,
            submitted_s=None,
            finished_s=None,
            duration_s=None,
            attempts=0,
            polls=0,
            overdue=False,
            error_class=None,
            error_code=None,
            error_message=None,
            files=(),
            pick=Pick(),
            marked_s=None,
        ),
        known=Switchable(each.job, each.fingerprint, each.row),
        sends=sends,
        waits=not sends and State(each.state) in NEVER_SENT,
        price=price,
        files=tuple((Path(item.file), item.mime) for item in references),
    )
